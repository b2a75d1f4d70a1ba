"""Launches by native code: one function of Python's C API, written in LLVM's language, that launches kernels as entries tell it."""
