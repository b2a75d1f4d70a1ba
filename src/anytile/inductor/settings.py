"""What is set in torch so that torch.compile goes through Triton on the CPU, release by release, as data.

A row is a configuration value of `torch._inductor.config`: its name, what it becomes, since which release, and why.  A row whose
release has no such option is not an error: the account says that it was left.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["SETTINGS", "Setting", "release_of"]


class Setting(NamedTuple):
    """``name``: of `torch._inductor.config`.  ``since``: the first release of torch that has it.

    ``gpu_too``: set also where torch has a GPU, whose kernels the option concerns as well.
    """

    name: str
    value: Any
    why: str
    since: tuple[int, int]
    gpu_too: bool = True


SETTINGS = (
    Setting("cpu_backend", "triton", "graphs of CPU tensors become Triton kernels instead of C++", since=(2, 6)),
    Setting(
        "benchmark_epilogue_fusion",
        False,
        "for CPU kernels that max_autotune measures, Inductor writes a file that Python cannot read (its imports are indented)",
        since=(2, 6),
        gpu_too=False,
    ),
)


def release_of(version: str) -> tuple[int, int]:
    """(2, 13) of "2.13.0+cpu"."""
    major, minor = version.split("+")[0].split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()) or 0)
