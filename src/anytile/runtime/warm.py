"""Warm launches: what a kernel is called with again and again is learnt, and launched by native code from then on.

    kernel[grid](…) ──▶ native code ──fits an entry──▶ driver or thread pool
                             └──no entry fits──▶ `Warm.general` ──▶ the Python launcher (`launcher`)
                                                       └──the second time──▶ a new entry

An entry (`native.entry`) is made of the key under which the Python launcher found the kernel, so that it takes exactly the
calls of that key which have the same form.  What no row can describe (tuples, descriptors, arrays of NumPy, tensors of other classes)
stays with the Python launcher; so does every launch while there are hooks or TRITON_DEBUG is set, and all of them where
ANYTILE_NATIVE_LAUNCH=0, where Python has no global lock, and where memory may not be made executable: `unavailable_because`.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from ..native.dlpack import exchange_table
from ..native.launcher import Native, NotNative, Row, keep_in
from . import cache, knobs
from .arguments import HOST
from .errors import ArgumentError
from .launcher import INTEGER_RANGES, Launcher, normalize_grid, slot_format
from .refusals import call_grid, misnamed

if TYPE_CHECKING:
    from ..language.parameters import KernelParam
    from .compiler import CompiledKernel
    from .jit import JITFunction

__all__ = ["Warm", "native_maker", "queue_of", "unavailable_because"]

#: A kernel's launches that go the general way before an entry is made, at the end of the last of them.  Making one takes as long as five
#: launches (0.4 ms and 80 µs) where other work has taken the caches meanwhile, and thirty where launches follow each other; who launches
#: a kernel twice mostly goes on.  It doubles with each entry of the kernel: where more kinds of calls take turns than there is room
#: for, making entries must not become the work.
_PATIENCE = 2
_ENTRIES = 8

_ENVIRONMENT = getattr(os.environ, "_data", None)
_DEBUG = os.environ.encodekey("TRITON_DEBUG") if hasattr(os.environ, "encodekey") else "TRITON_DEBUG"


@lru_cache(maxsize=8)
def _maker(torch: Any, place: int, several: bool, runtime: Any) -> Native | str:
    """What makes native launchers for memory of the CPU or of a GPU; a text says why there is none.

    ``runtime``: the knobs that they obey.
    """
    if not runtime.native_launch:
        return "ANYTILE_NATIVE_LAUNCH=0"
    if torch is None:
        return "torch is not loaded"
    if not isinstance(_ENVIRONMENT, dict):
        return "os.environ keeps its variables elsewhere than this Python's"
    if place != HOST and not hasattr(torch._C, "_cuda_getCurrentRawStream"):
        return "torch was built without CUDA"
    stream: Any = abs  # any function of C, for the CPU has no streams
    if place != HOST:
        stream = torch._C._cuda_getCurrentRawStream if exchange_table(torch.Tensor) is None else None
    current = torch._C._cuda_getDevice if several else None
    keep_in(cache.load_kept, cache.keep)  # native code is compiled once a machine
    types = (torch.Tensor, torch.nn.Parameter)
    try:
        return Native(torch.empty(0), types, stream, current, runtime.__dict__, _ENVIRONMENT, _DEBUG, knobs.runtime_changes)
    except NotNative as reason:
        return str(reason)


def unavailable_because(place: int = HOST) -> str:
    """Why launches on the CPU, or on a GPU, do not become native; empty where they do."""
    found = _maker(sys.modules.get("torch"), place, False, knobs.runtime)
    return found if isinstance(found, str) else ""


def native_maker(place: int, several: bool) -> Native:
    """What makes native launchers for memory of the CPU or of a GPU, where there are ``several`` of them; NotNative says why there is none."""
    found = _maker(sys.modules.get("torch"), place, several, knobs.runtime)
    if isinstance(found, str):
        raise NotNative(found)
    return found


def queue_of(kernel: CompiledKernel, slots: int) -> Any:
    """By what native code launches ``kernel``, whose argument block has so many slots.

    NotNative where its target launches from Python alone: the reference executor, and targets of others.
    """
    make = getattr(kernel.module, "queue", None)
    if make is None:
        raise NotNative(f"the target {kernel.target.backend} launches from Python alone")
    return make(slots)


class Warm:
    """Stands before the Python launcher ``launcher`` of ``fn`` and counts; ``bind(grid)(…)`` is a launch, now or later by native code.

    ``kernels``: the launcher's kernels by key; ``install(bind)`` puts a better one in the place of the present one.
    """

    def __init__(
        self,
        fn: JITFunction,
        kernels: dict[Any, Any],
        place: int,
        launcher: Launcher,
        several: bool,
        install: Callable[[Callable[..., Any]], None],
    ):
        self._fn, self._kernels, self._place, self._launcher, self._several = fn, kernels, place, launcher, several
        self._install, self._runtime = install, knobs.runtime
        self._entries: list[Any] = []  # of the native function, once there is one
        self._maker: Native | None = None  # which made it
        self._counts: dict[Any, list[int]] = {}  # kernel → launches seen, launches to wait for
        self.bind: Callable[[Any], Callable[..., Any]] = partial(partial, self.general)

    def forget(self) -> None:
        """No kernel that was launched before is valid any more."""
        self._launcher.forget()
        self._counts.clear()
        del self._entries[1:]

    def general(self, grid: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A launch by the Python launcher."""
        try:
            kernel = self._launcher.launch(grid, *args, **kwargs)
        except ArgumentError as e:
            raise misnamed(self._fn, e, kwargs) from None
        count = self._counts.get(kernel)
        if count is None:
            if kernel is not None:
                self._counts[kernel] = [1, _PATIENCE]
            return kernel
        count[0] += 1
        if count[0] >= count[1]:
            count[:] = 0, 2 * count[1]
            self._learn(kernel, args, kwargs)
        return kernel

    def _learn(self, kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        runtime = self._runtime
        if runtime.launch_enter_hook or runtime.launch_exit_hook or runtime.debug:
            return
        maker = _maker(sys.modules.get("torch"), self._place, self._several, runtime)
        if isinstance(maker, str):
            self._install(partial(partial, self._launcher.launch))
            return
        try:
            entry = _Call(self._fn, self._key(kernel), self._place, maker, kernel, args, kwargs).entry()
        except NotNative:
            return
        if not self._entries:
            self._maker = maker
            self.bind, self._entries = maker.function(self.general)
            self._install(self.bind)
        self._entries.insert(1, entry)
        del self._entries[1 + _ENTRIES :]

    def _key(self, kernel: Any) -> Any:
        keys = [key for key, found in self._kernels.items() if found is kernel]
        if len(keys) != 1:
            raise NotNative("the kernel is not known by one key")
        return keys[0]


class _Call:
    """One call, to be described as an entry: ``key`` is the Python launcher's for it, which found ``kernel``."""

    def __init__(self, fn: JITFunction, key: Any, place: int, maker: Native, kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]):
        self.fn, self.key, self.place, self.maker, self.kernel, self.args, self.kwargs = fn, key, place, maker, kernel, args, kwargs
        self.slots = self._slots()
        self.block = bytearray(8 * len(self.slots))

    def _slots(self) -> dict[str, tuple[int, str]]:
        """Parameter → its slot of the argument block and the slot's format."""
        from .compiler import argument_slots

        out: dict[str, tuple[int, str]] = {}
        for i, (expression, kind, name) in enumerate(argument_slots(self.kernel.src.signature)):
            if "[" in expression:
                raise NotNative(f"{name} has several slots")
            out[name] = i, slot_format(kind)
        return out

    def entry(self) -> tuple[Any, ...]:
        """The entry for calls like this one.  NotNative where there can be none."""
        fn, kernel = self.fn, self.kernel
        params = {p.name: p for p in fn.params}
        positional = [p.name for p in fn.params if p._param.kind is not p._param.KEYWORD_ONLY]
        given = {**dict(zip(positional, self.args)), **self.kwargs}
        number = {name: i for i, name in enumerate(given)}
        for name, p in params.items():
            if name not in given and name in self.slots:
                self._write(name, p.default)
        rows = [self._row(params.get(name), name, number[name], x) for name, x in given.items()]
        # what is quick to compare first: most calls that differ do so there
        rows.sort(key=lambda row: row.kind in ("tensor", "exchanged"))
        # What is given is put in at each launch, in its place: a value here would be memory that nobody gives back.
        meta = {**{name: None if name in given else p.default for name, p in params.items()}, **dict.fromkeys(self.kwargs)}
        return self.maker.entry(
            len(self.args),
            tuple(self.kwargs),
            rows,
            bytes(self.block),
            kernel,
            kernel.living(),
            fn.check_globals if fn.used_global_vals else None,
            meta,
            lambda grid, meta=None: normalize_grid(fn.__name__, grid if meta is None else call_grid(fn.__name__, grid, meta)),
            self.place,
            queue_of(kernel, len(self.slots)),
            (fn, [given[row.name] for row in rows if row.kind == "same"]),
        )

    def _write(self, name: str, value: Any) -> None:
        """Puts a value that is the same in every call into its slot."""
        if name in self.slots:
            slot, format = self.slots[name]
            if type(value) not in (int, float, bool):
                raise NotNative(f"{name} has a default of type {type(value).__name__}")
            try:
                struct.pack_into("<" + format, self.block, 8 * slot, value)
            except (struct.error, OverflowError):
                raise NotNative(f"{name} does not fit its slot") from None

    def _row(self, p: KernelParam | None, name: str, argument: int, x: Any) -> Row:
        """What the argument has to be.  ``p``: None for a compile option."""
        slot, format = self.slots.get(name, (-1, ""))
        if p is None or p.is_constexpr:
            return _constant(argument, name, x)
        key = self.key[p.num]
        if x is None or type(x) is bool:
            self._write(name, x)
            return Row("same", argument, -1, name, id(x))
        if type(x) is int:
            return _integer(p, argument, slot, format, key, x)
        if type(x) is float and key == "fp32" and format != "q":
            return Row("float64" if format == "d" else "float32", argument, slot, name)
        if type(x) in self.maker.types and isinstance(key, str) and key.startswith("*") and not key.endswith("!"):
            aligned = 0 if p.do_not_specialize or p.do_not_specialize_on_alignment else 1 if key.endswith(":16") else 2
            return self.maker.tensor_row(x, self.place, argument, slot, name, aligned)
        raise NotNative(f"{name} is of type {type(x).__name__}")


def _constant(argument: int, name: str, x: Any) -> Row:
    """A compile-time value: it must be equal, as `arguments.constexpr_key` understands it."""
    if type(x) is int and -(2**63) <= x < 2**63:
        return Row("integer", argument, -1, name, x, x, 1, 0)
    if type(x) is float:
        return Row("float", argument, -1, name, *struct.unpack("<q", struct.pack("<d", x)))
    if x is None or type(x) in (bool, str) or type(x).__name__ == "dtype":  # cannot change
        return Row("same", argument, -1, name, id(x))
    raise NotNative(f"{name} is a compile-time value of type {type(x).__name__}")


def _integer(p: KernelParam, argument: int, slot: int, format: str, key: Any, x: int) -> Row:
    """An integer of a run-time parameter, by the rules of the generated launcher."""
    if key == 1:
        return Row("integer", argument, -1, p.name, 1, 1, 1, 0)
    if slot < 0 or format not in ("q", "Q"):
        raise NotNative(f"{p.name} is an integer for a slot of another kind")
    prescribed = INTEGER_RANGES.get(p.annotation_type)
    low, high = prescribed or INTEGER_RANGES["i32"]
    out = (1, 1) if not p.do_not_specialize else (1, 0)
    if not low <= x <= high:
        if prescribed or not str(key).startswith("i64"):
            raise NotNative(f"{p.name} is an integer of an unusual size")
        out, (low, high) = (low, high), INTEGER_RANGES["i64"]
    specialised = not (p.do_not_specialize or p.do_not_specialize_on_alignment)
    return Row("integer", argument, slot, p.name, low, min(high, 2**63 - 1), *out, (2 if x & 15 else 1) if specialised else 0)
