"""The OpenMP runtime that torch computes with, as the threads of anytile's own launches.

A compiled model goes back and forth between torch's operators and kernels.  Threads of an OpenMP runtime watch for the next
parallel region for milliseconds after the last one; a second pool of threads would wake beside them, on the same processors,
and each would find the other's threads awake whenever its turn comes.  So where torch is there, launches are parallel regions of
torch's own runtime: its threads are warm, as many as ``torch.set_num_threads`` says, and nobody else is awake.

The runtime is asked for by the three functions of GCC's interface, which LLVM's and Intel's runtimes offer too.  They are looked up
through torch's own library, so that they are those which torch calls, not those of another copy in the process.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import NamedTuple

__all__ = ["Team", "team_of_torch"]


class Team(NamedTuple):
    """Addresses of ``GOMP_parallel``, ``omp_get_max_threads`` and ``omp_get_thread_num`` in one runtime."""

    parallel: int
    most_threads: int
    thread_number: int

    def threads(self) -> int:
        """How many threads a parallel region of the calling thread has."""
        return ctypes.CFUNCTYPE(ctypes.c_int)(self.most_threads)()


def team_of_torch() -> Team | None:
    """The runtime of the torch that is imported; None without one, and where its runtime lacks one of the functions."""
    torch = sys.modules.get("torch")
    folder = os.path.dirname(getattr(torch, "__file__", None) or "")
    if not folder or not hasattr(os, "RTLD_NOLOAD"):  # Windows: torch's runtime there has none of them
        return None
    name = "libtorch_cpu.dylib" if sys.platform == "darwin" else "libtorch_cpu.so"
    try:
        library = ctypes.CDLL(os.path.join(folder, "lib", name), mode=os.RTLD_NOLOAD)
        found = [getattr(library, f) for f in ("GOMP_parallel", "omp_get_max_threads", "omp_get_thread_num")]
    except (OSError, AttributeError):
        return None
    torch.get_num_threads()  # type: ignore[union-attr]  # torch settles the number of its threads when first asked for it
    return Team(*(ctypes.cast(f, ctypes.c_void_p).value or 0 for f in found))
