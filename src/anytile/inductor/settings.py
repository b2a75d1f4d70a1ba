"""What is set in torch so that torch.compile goes through Triton on the CPU, release by release, as data.

A row is a configuration value of `torch._inductor.config`: where, what, in which releases, and why.  A row whose release has no
such option is not an error: the account says that it was left.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["SETTINGS", "Setting", "option", "release_of"]


class Setting(NamedTuple):
    """``path``: dotted, below `torch._inductor.config`.  ``since``, ``until``: releases of torch, both included.

    ``gpu_too``: set also where torch has a GPU, whose kernels the option concerns as well.
    """

    path: str
    value: Any
    why: str
    since: tuple[int, int]
    until: tuple[int, int] = (99, 0)
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


def option(config: Any, path: str) -> tuple[Any, str]:
    """The object that holds the option, and its name there: ("…config.triton", "autotune_pointwise")."""
    *inner, name = path.split(".")
    for part in inner:
        config = getattr(config, part)
    return config, name
