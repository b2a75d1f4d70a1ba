"""Launches of random kernels: a source text, its arguments, and memory behind and before which nobody may read.

`compare` runs a `Launch` on the reference target and on another one, and says what differs.  For the CPU every array stands at the end of
its pages (or at their beginning), next to a page without any access, so that one element read too much ends the process.  On a GPU it stands
between `FENCE` bytes that nobody may change.
"""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import re
import struct
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import anytile.language as tl
from anytile.frontend import trace
from anytile.ir.verifier import verify
from anytile.runtime.driver import GPUTarget, machine_arch, target_object
from anytile.runtime.options import Options
from anytile.targets import formats
from anytile.targets.base import struct_format

__all__ = ["DTYPES", "Array", "Launch", "View", "compare", "ordered"]

FENCE = 4096

DTYPES: dict[str, tl.dtype] = {
    t.mangle(): t for name in tl.__all__ if isinstance(t := getattr(tl, name), tl.dtype) and t.primitive_bitwidth and not t.is_ptr()
}


@dataclass(frozen=True)
class Array:
    """A pointer to the first of ``values``: whole numbers, which ``kind`` can hold.  ``early``: nothing may be read before it, not behind."""

    kind: str
    values: np.ndarray
    early: bool = False

    def stored(self) -> np.ndarray:
        element = DTYPES[self.kind].element()
        if element.is_float:
            return formats.encode(self.values.astype(np.float64), element)
        return self.values.astype(formats.storage(element))


@dataclass(frozen=True)
class View:
    """A pointer ``offset`` elements behind the beginning of argument ``of``, of the same kind: memory with two names."""

    of: str
    offset: int = 0


@dataclass(frozen=True)
class Launch:
    """``source``: text that defines ``@triton.jit def kernel``.  ``arguments``: an `Array`, a `View` or an int (i32) by parameter.

    ``constants``: the parameters that are constexprs.  An int that is 1 becomes one too, and multiples of 16 are said to be so where
    ``specialise`` is set, as a launch by ``kernel[grid](…)`` does.
    """

    source: str
    arguments: dict[str, Array | View | int]
    constants: dict[str, Any]
    grid: tuple[int, int, int] = (1, 1, 1)
    specialise: bool = True
    options: dict[str, Any] = field(default_factory=dict)

    def signature(self, names: Sequence[str]) -> tuple[dict[str, str], dict[tuple[int, ...], Any], dict[tuple[int, ...], Any]]:
        """What `trace` takes: types, constexprs, and what is known of each argument."""
        types: dict[str, str] = {}
        constexprs: dict[tuple[int, ...], Any] = {}
        known: dict[tuple[int, ...], Any] = {}
        for i, name in enumerate(names):
            value = self.arguments.get(name)
            if value is None or (self.specialise and isinstance(value, int) and value == 1):
                types[name], constexprs[i,] = "constexpr", self.constants.get(name, value)
                continue
            types[name] = "i32" if isinstance(value, int) else "*" + self._array(value).kind
            if self.specialise and (value % 16 == 0 if isinstance(value, int) else isinstance(value, Array)):
                known[i,] = [["tt.divisibility", 16]]
        return types, constexprs, known

    def _array(self, value: Array | View) -> Array:
        found = self.arguments[value.of] if isinstance(value, View) else value
        assert isinstance(found, Array)
        return found


def ordered(launch: Launch) -> Launch:
    """The same with a barrier before and behind each store: on a GPU nothing else orders accesses of different threads to the same memory."""
    source = re.sub(r"^( *)(tl\.store\(.*)$", r"\1tl.debug_barrier()\n\1\2\n\1tl.debug_barrier()", launch.source, flags=re.M)
    return replace(launch, source=source)


def _placed(data: np.ndarray, early: bool) -> np.ndarray:
    """A copy of ``data`` that begins or ends beside a page without access, aligned to 16 bytes."""
    page = mmap.PAGESIZE
    room = -(-data.nbytes // 16) * 16
    pages = max(1, -(-room // page)) * page
    memory = mmap.mmap(-1, pages + 2 * page)
    whole = np.frombuffer(memory, np.uint8)
    whole[:] = 0xA5  # what a load finds that reads too much inside the page; as a float of any kind no whole number
    if sys.platform != "win32":
        protect = ctypes.CDLL(None).mprotect
        for at in (0, pages + page):
            assert protect(ctypes.c_void_p(whole.ctypes.data + at), ctypes.c_size_t(page), 0) == 0
    begin = page if early else page + pages - room
    out = whole[begin : begin + data.nbytes].view(data.dtype)
    out[:] = data.ravel()
    return out


def _gpu() -> GPUTarget:
    """This machine's GPU, as a target."""
    from anytile.targets.nvidia import driver_api

    return GPUTarget("cuda", driver_api.cuda().device(0).arch, 32)


def _on_gpu(data: np.ndarray) -> Any:
    """A copy of ``data`` in the GPU's memory, between two fences of 0xA5."""
    from anytile.targets.nvidia import driver_api

    room = -(-data.nbytes // 16) * 16
    memory = driver_api.DeviceMemory(driver_api.cuda().device(0), room + 2 * FENCE)
    memory.write(b"\xa5" * FENCE + data.tobytes() + b"\xa5" * (room - data.nbytes + FENCE))
    return memory


def _from_gpu(memory: Any, like: np.ndarray, name: str) -> np.ndarray:
    """What `_on_gpu` has made of it since.  AssertionError where a fence is broken."""
    found = memory.read()
    begin, end = found[:FENCE], found[FENCE + like.nbytes :]
    assert begin + end == b"\xa5" * (len(begin) + len(end)), f"the kernel wrote beside {name}"
    return np.frombuffer(found[FENCE : FENCE + like.nbytes], like.dtype)


def _run(launch: Launch, module: Any, options: Any, on: GPUTarget, names: Sequence[str], types: dict[str, str]) -> dict[str, np.ndarray]:
    """All arrays after a launch on the target ``on``."""
    stored = {n: a.stored() for n, a in launch.arguments.items() if isinstance(a, Array)}
    memory: dict[str, Any] = {n: _on_gpu(a) if on.backend == "cuda" else _placed(a, launch.arguments[n].early) for n, a in stored.items()}  # type: ignore[union-attr]
    address = {n: m.address + FENCE if on.backend == "cuda" else m.ctypes.data for n, m in memory.items()}
    values: list[int] = []
    for name in names:
        if types[name] == "constexpr":
            continue
        value = launch.arguments[name]
        if isinstance(value, View):
            values.append(address[value.of] + value.offset * stored[value.of].itemsize)
        else:
            values.append(value if isinstance(value, int) else address[name])
    target = target_object(on)
    loaded = target.load(target.compile(module, options))
    packed = struct.pack(struct_format([a.type for a in module.kernel.args]), *values)
    if on.backend != "cuda":
        loaded.run(packed, *launch.grid)
        return {n: m.copy() for n, m in memory.items()}
    from anytile.targets.nvidia import driver_api

    with driver_api.cuda().device(0).current():
        loaded.run(packed, *launch.grid)
        driver_api.cuda().synchronize()
    return {n: _from_gpu(m, stored[n], n) for n, m in memory.items()}


def compare(launch: Launch, target: str = "cpu", tolerance: float = 0.0) -> str:
    """Where ``target`` differs from the reference, in words; nothing where they agree on every bit but those of NaNs.

    ``tolerance``: floats may differ by this part of the largest one of their array (quotients and roots are not exact on a GPU).
    """
    from anytile.runtime.jit import JITFunction

    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
        path = Path(folder, "random_kernel.py")
        path.write_text(launch.source, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        python = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(python)
        source = python.kernel
        assert isinstance(source, JITFunction)
        names = source.arg_names
        types, constexprs, known = launch.signature(names)
        results = []
        for name in ("reference", target):
            on = _gpu() if name == "cuda" else GPUTarget(name, machine_arch(), 1)
            given = {"default_dot_input_precision": "ieee", "enable_fp_fusion": False, "sanitize_overflow": False, **launch.options}
            options = Options.of(given, on, "kernel")
            module = trace(source, types, constexprs, known, options)
            verify(module)
            results.append(_run(launch, module, options, on, names, types))
    for name, want in results[0].items():
        kind, got = DTYPES[launch.arguments[name].kind].element(), results[1][name]  # type: ignore[union-attr]
        if kind.is_float:
            want, got = formats.decode(want, kind), formats.decode(got, kind)
        same = (want == got) | ((want != want) & (got != got))
        if tolerance and kind.is_float and not same.all():
            finite = np.isfinite(want)
            same |= np.abs(got.astype(np.float64) - want) <= tolerance * np.max(np.abs(want), where=finite, initial=0.0)
        if not same.all():
            at = np.flatnonzero(~same)
            return f"{name}: {at.size} of {want.size} differ, first at {at[0]}: {got[at[0]]} instead of {want[at[0]]}"
    return ""
