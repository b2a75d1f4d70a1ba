"""NVIDIA GPUs.  `target.NvidiaTarget` compiles and loads kernels, `driver_api` asks for drivers and GPUs.

Nothing is imported here: every process asks for a GPU, few compile for one.
"""
