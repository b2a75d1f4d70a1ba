"""``tl.target_info``: what the kernel is being compiled for, known at compile time."""

from __future__ import annotations

from typing import Any

from .builtin import builtin
from .constexpr import constexpr, unwrap
from .context import active, current

__all__ = [
    "cuda_capability_geq",
    "current_target",
    "is_cuda",
    "is_hip",
    "is_hip_cdna3",
    "is_hip_cdna4",
    "is_hip_gfx1250",
]


def _target() -> Any:
    return getattr(current().options, "target", None) if active() else None


@builtin
def current_target() -> Any:
    """The target object of this compilation (``backend``, ``arch``, ``warp_size``), or None outside of a kernel."""
    return constexpr(_target())


def _backend() -> str:
    return str(getattr(_target(), "backend", ""))


@builtin
def is_cuda() -> constexpr:
    return constexpr(_backend() == "cuda")


@builtin
def cuda_capability_geq(major: Any, minor: Any = 0) -> constexpr:
    """Whether this is CUDA of at least that compute capability; False on every other target."""
    arch = getattr(_target(), "arch", 0)
    return constexpr(_backend() == "cuda" and arch >= unwrap(major) * 10 + unwrap(minor))


@builtin
def is_hip() -> constexpr:
    return constexpr(_backend() == "hip")


def _is_arch(name: str) -> constexpr:
    return constexpr(_backend() == "hip" and str(getattr(_target(), "arch", "")) == name)


@builtin
def is_hip_cdna3() -> constexpr:
    return _is_arch("gfx942")


@builtin
def is_hip_cdna4() -> constexpr:
    return _is_arch("gfx950")


@builtin
def is_hip_gfx1250() -> constexpr:
    return _is_arch("gfx1250")
