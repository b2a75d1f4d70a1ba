"""The only room that talks to LLVM.

- `engine`: the host, LLVM text → optimised text, assembly or object code, and object code → addresses.
- `gate`: the intrinsics anytile emits and the CPU feature each needs, checked before LLVM sees the text.
- `softfloat`: conversions of half-precision floats that LLVM calls by name on machines without the instructions.

Nothing here imports llvmlite at import time.
"""
