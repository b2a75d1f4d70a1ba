"""``tl.target_info``: what kernels are compiled for.

Inside of a kernel, and of a ``constexpr_function`` that a kernel calls, that is the target of the compilation at hand; on the
host it is the active driver's.  The answers are plain Python values, known at compile time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .builtin import builtin
from .constexpr import unwrap
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

_on_the_host: Callable[[], Any] | None = None


def answer_on_the_host(target: Callable[[], Any]) -> None:
    """From now on ``target()`` says what is compiled for where no kernel is being compiled."""
    global _on_the_host
    _on_the_host = target


def _target() -> Any:
    if active():
        return getattr(current().options, "target", None)
    return None if _on_the_host is None else _on_the_host()


@builtin
def current_target() -> Any:
    """The target object: ``backend``, ``arch``, ``warp_size``."""
    return _target()


def _backend() -> str:
    return str(getattr(_target(), "backend", ""))


@builtin
def is_cuda() -> bool:
    return _backend() == "cuda"


@builtin
def cuda_capability_geq(major: Any, minor: Any = 0) -> bool:
    """Whether this is CUDA of at least that compute capability; False on every other target."""
    arch = getattr(_target(), "arch", 0)
    return bool(_backend() == "cuda" and arch >= unwrap(major) * 10 + unwrap(minor))


@builtin
def is_hip() -> bool:
    return _backend() == "hip"


def _is_arch(name: str) -> bool:
    return _backend() == "hip" and str(getattr(_target(), "arch", "")) == name


@builtin
def is_hip_cdna3() -> bool:
    return _is_arch("gfx942")


@builtin
def is_hip_cdna4() -> bool:
    return _is_arch("gfx950")


@builtin
def is_hip_gfx1250() -> bool:
    return _is_arch("gfx1250")
