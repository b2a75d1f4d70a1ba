"""What torch's compile workers share.

torch forks all of its compile workers from one process, and asks there for `triton_key` before it does: what is loaded then, they
all have.  A worker that loads the compiler for itself spends four times as long on its first kernel as on the next.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ..errors import UnsupportedError
from ..runtime import cache
from ..runtime.compiler import import_compiler
from ..runtime.driver import GPUTarget, host_target, target_object

__all__ = ["triton_key"]


def triton_key() -> str:
    """`cache.triton_key`; in the process that forks torch's compile workers, also loads what compilations need."""
    if forks_workers():
        _load()
    return cache.triton_key()


def forks_workers() -> bool:
    """Whether this process is the one that torch forks its compile workers from."""
    file = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    return Path(file).parts[-3:] == ("_inductor", "compile_worker", "__main__.py")


def _load() -> None:
    import torch

    target = host_target()
    if torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        target = GPUTarget("cuda", 10 * major + minor, 32)
    try:
        import_compiler(target_object(target))
    except UnsupportedError:
        pass  # the kernels that need this target will say so
