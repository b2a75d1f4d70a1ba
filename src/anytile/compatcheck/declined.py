"""Names that a public Triton has at a level and anytile's face has not, with what torch does then.

Each was looked up in torch's sources: torch asks for it before it goes a way that needs it, or a setting that is off by default
leads there.  A name that is in neither the face nor this list counts as missing.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Declined", "why_declined"]


class Declined(NamedTuple):
    """``names``: beginnings of dotted names; ``instead``: what torch does where they are absent."""

    names: tuple[str, ...]
    instead: str


DECLINED = (
    Declined(
        (
            "triton.language._experimental_descriptor_load",
            "triton.language._experimental_make_tensor_descriptor",
            "triton.language.extra.cuda.experimental_",
            "triton.tools.experimental_descriptor",
        ),
        "torch asks has_triton_tma() and has_triton_tma_device() first, and takes its templates without TMA descriptors",
    ),
    Declined(
        ("triton.profiler",),
        "kernels are annotated for the Proton profiler only with the setting triton.proton_profiling, which is off",
    ),
    Declined(
        ("triton.backends.nvidia.driver.make_tensordesc_arg",),
        "only torch's own launcher asks, for kernels with descriptors among their arguments: they go through Triton's launcher",
    ),
    Declined(("triton.knobs.nvidia.use_meta_ws",), "torch asks by hasattr and leaves out configurations of Meta's warp specialisation"),
    Declined(("triton._C.libtriton.amd",), "torch asks for AMD GPUs only"),
    Declined(("triton.tools.disasm",), "torch goes on without disassembly"),
)


def why_declined(name: str) -> str:
    """What torch does without ``name``; "" where it is not declined."""
    return next((d.instead for d in DECLINED for beginning in d.names if name.startswith(beginning)), "")
