"""One choice of a kernel's meta-parameters and compile options: ``triton.Config``, of which `autotuner` chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Config"]


class Config:
    """One choice: values of the kernel's meta-parameters, and compile options.

    ``pre_hook(args)`` is called before a launch with this configuration, with all arguments by name.
    The last four parameters are those of Triton ≤ 3.3.
    """

    def __init__(
        self,
        kwargs: dict[str, Any],
        num_warps: int = 4,
        num_stages: int = 3,
        num_ctas: int = 1,
        maxnreg: int | None = None,
        pre_hook: Callable[..., Any] | None = None,
        ir_override: str | None = None,
        num_buffers_warp_spec: int | None = None,
        num_consumer_groups: int | None = None,
        reg_dec_producer: int | None = None,
        reg_inc_consumer: int | None = None,
    ):
        self.kwargs = kwargs
        self.num_warps, self.num_ctas, self.num_stages = num_warps, num_ctas, num_stages
        self.maxnreg, self.ir_override, self.pre_hook = maxnreg, ir_override, pre_hook
        older = {
            "num_buffers_warp_spec": num_buffers_warp_spec,
            "num_consumer_groups": num_consumer_groups,
            "reg_dec_producer": reg_dec_producer,
            "reg_inc_consumer": reg_inc_consumer,
        }
        self._older = {name: value for name, value in older.items() if value is not None}

    def all_kwargs(self) -> dict[str, Any]:
        """Everything that a launch with this configuration passes by keyword."""
        out = dict(self.kwargs)  # written out: every launch comes here
        if self.num_warps is not None:
            out["num_warps"] = self.num_warps
        if self.num_ctas is not None:
            out["num_ctas"] = self.num_ctas
        if self.num_stages is not None:
            out["num_stages"] = self.num_stages
        if self.maxnreg is not None:
            out["maxnreg"] = self.maxnreg
        if self.ir_override is not None:
            out["ir_override"] = self.ir_override
        if self._older:
            out.update((name, value) for name, value in self._older.items() if value is not None)
        return out

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state.get("kwargs", {}))  # type: ignore[misc]  # a pickle of another version may lack attributes
        self.__dict__.update(state)

    def __str__(self) -> str:
        options = {"num_warps": self.num_warps, "num_ctas": self.num_ctas, "num_stages": self.num_stages, "maxnreg": self.maxnreg}
        return ", ".join(f"{k}: {v}" for k, v in {**self.kwargs, **options}.items())

    def __repr__(self) -> str:
        return f"Config({self})"

    def __hash__(self) -> int:
        return hash((*((k, str(v)) for k, v in self.all_kwargs().items()), self.pre_hook))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self.all_kwargs() == other.all_kwargs() and self.pre_hook == other.pre_hook
