"""Options of one compilation: what a launch keyword may say besides the kernel's own parameters.

Triton's libraries pass many keywords that steer a particular GPU back end.  All of them are known here, so
that a program runs unmodified; the ones which a target has no use for change nothing but the cache key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from . import knobs
from .errors import OptionError, OptionValueError

__all__ = ["Options", "option_names"]


@dataclass(frozen=True)
class Options:
    """Frozen; equal options compile to equal code.  ``target`` is the `GPUTarget` compiled for.

    ``debug``: device asserts are checked.  ``sanitize_overflow``: so is integer overflow, where ``debug`` is
    on too.  ``enable_fp_fusion``: a·b + c may be rounded once.
    """

    num_warps: int = 4
    num_stages: int = 3
    num_ctas: int = 1
    debug: bool = False
    sanitize_overflow: bool = True
    enable_fp_fusion: bool = True
    default_dot_input_precision: str = "ieee"
    allowed_dot_input_precisions: tuple[str, ...] = ("ieee", "tf32", "tf32x3", "bf16x3", "bf16x6")
    max_num_imprecise_acc_default: int = 0
    supported_fp8_dtypes: tuple[str, ...] = ("fp8e4nv", "fp8e5", "fp8e4b8", "fp8e5b16", "fp8e4b15")
    deprecated_fp8_dot_operand_dtypes: tuple[str, ...] = ()
    maxnreg: int | None = None
    launch_cooperative_grid: bool = False
    launch_cluster: bool = False
    launch_pdl: bool = False
    cluster_dims: tuple[int, ...] = (1, 1, 1)
    extern_libs: tuple[tuple[str, str], ...] | None = None
    arch: str | None = None
    ir_override: str | None = None
    ptx_version: int | None = None
    ptx_options: str | None = None
    min_shared_mem: int | None = None
    enable_reflect_ftz: bool = True
    instrumentation_mode: str = ""
    backend_name: str = "cpu"
    clc: bool = False
    enable_warp_specialization: bool = False
    num_buffers_warp_spec: int = 0
    num_consumer_groups: int = 0
    reg_dec_producer: int = 0
    reg_inc_consumer: int = 0
    warp_size: int = 1
    waves_per_eu: int = 0
    matrix_instr_nonkdim: int = 0
    kpack: int = 1
    schedule_hint: str = "none"
    target: Any = None

    def __post_init__(self) -> None:
        for name in ("num_warps", "num_ctas"):
            n = getattr(self, name)
            if not isinstance(n, int) or n <= 0 or n & (n - 1):
                raise OptionValueError(f"{name} must be a power of 2, and {n!r} is not")
        if not isinstance(self.num_stages, int) or self.num_stages < 0:
            raise OptionValueError(f"num_stages must be an integer ≥ 0, and {self.num_stages!r} is not")

    @staticmethod
    def of(given: Mapping[str, Any], target: Any, kernel: str = "", parameters: Sequence[str] = ()) -> Options:
        """Options from launch keywords.  OptionError names a keyword that is none; ``kernel``, ``parameters``: for that sentence."""
        known = option_names()
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                from difflib import get_close_matches  # here: it is needed for nothing but this sentence

                near = get_close_matches(name, [*parameters, *known], 1)
                there = f" ({', '.join(parameters)})" if parameters else ""
                raise OptionError(
                    f"Keyword argument {name} was specified but unrecognised: it is neither a parameter of {kernel or 'the kernel'}{there} "
                    f"nor a compile option; {f'did you mean {near[0]}?' if near else 'leave it out'}"
                )
            if isinstance(value, dict):
                value = tuple(value.items())
            elif isinstance(value, (list, set)):
                value = tuple(value)
            if value is not None or name in ("maxnreg", "ir_override", "arch"):
                values[name] = value
        if values.get("num_ctas", 1) != 1 and getattr(target, "backend", "") == "cuda":
            arch = int(str(values.get("arch") or target.arch).lower().removeprefix("sm").lstrip("_").rstrip("af"))
            if arch < 90:
                raise OptionValueError(f"num_ctas > 1 requires NVIDIA SM90+ (Hopper), and kernel {kernel} is compiled for SM{arch}")
        values["enable_fp_fusion"] = knobs.language.fp_fusion_enabled(values.get("enable_fp_fusion"))
        return Options(**{**_target_defaults(target), **values, "target": target})

    def hash(self) -> str:
        """Content hash; stable from process to process."""
        text = ";".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))
        return hashlib.sha256(text.encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


@lru_cache(maxsize=16)
def _target_defaults(target: Any) -> dict[str, Any]:
    """Defaults that differ from target to target, as Triton has them for CUDA."""
    if getattr(target, "backend", "") != "cuda":
        return {}
    arch = int(target.arch)
    return {
        "backend_name": "cuda",
        "warp_size": 32,
        "default_dot_input_precision": "tf32",
        "max_num_imprecise_acc_default": 2**30 if arch == 90 else 0,  # fp8 products of Hopper add up in fewer bits
        "supported_fp8_dtypes": ("fp8e4b15", "fp8e5") if arch < 89 else ("fp8e4b15", "fp8e4nv", "fp8e5"),
        "deprecated_fp8_dot_operand_dtypes": ("fp8e4b15",) if arch >= 90 else (),
    }


@lru_cache(maxsize=1)
def option_names() -> frozenset[str]:
    """Every launch keyword that is a compile option."""
    return frozenset(f.name for f in fields(Options)) - {"target"}
