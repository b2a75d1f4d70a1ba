"""What is set in torch so that torch.compile goes through Triton on the CPU, release by release, as data.

A row is a configuration value of `torch._inductor.config`: its name, what it becomes, since which release, and why.  A row whose
release has no such option is not an error: the account says that it was left.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["SETTINGS", "Setting", "release_of"]


class Setting(NamedTuple):
    """``name``: of `torch._inductor.config`.  ``since``: the first release of torch that has it.

    ``beside_gpu``: why it is left where torch has a GPU; empty: it is set there too.  ``on_demand``: it is set there if the program asks
    for CPU kernels in so many words.
    """

    name: str
    value: Any
    why: str
    since: tuple[int, int]
    beside_gpu: str = ""
    on_demand: bool = False


SETTINGS = (
    Setting(
        "cpu_backend",
        "triton",
        "graphs of CPU tensors become Triton kernels instead of C++",
        since=(2, 6),
        # The wrapper of such a graph asks CUDA for the CPU's stream, and CPU tensors of one element are passed as numbers, results too.
        beside_gpu="Inductor cannot compile graphs with tensors of both a GPU and the CPU through Triton; enable(cpu=True) sets it all the same",
        on_demand=True,
    ),
    Setting(
        "benchmark_epilogue_fusion",
        False,
        "for CPU kernels that max_autotune measures, Inductor writes a file that Python cannot read (its imports are indented)",
        since=(2, 6),
        beside_gpu="is left to GPU kernels, which it concerns too",
    ),
)


def release_of(version: str) -> tuple[int, int]:
    """(2, 13) of "2.13.0+cpu"."""
    major, minor = version.split("+")[0].split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()) or 0)
