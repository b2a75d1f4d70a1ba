"""What torch's compiler, Inductor, needs beyond the names of the `triton` face.

    settings.py  what is set in each release of torch so that its CPU code goes through Triton, as data
    reach.py     child processes (compile workers) get the face too
    account.py   what `anytile.torch.enable()` did, as lines that can be printed and compared

torch is imported inside functions: `import anytile.torch` costs nothing before `enable()` is called.
"""
