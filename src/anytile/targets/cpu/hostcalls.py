"""`print` and `assert`: kernels call back into Python.

Generated code writes a *report* into scratch memory and calls a function that is bound when the kernel is loaded::

    i32 number        which print (or assert) of the kernel: an index into the tables of its metadata
    i32 x, y, z       the program
    ptr values[n]     one row-major buffer per printed value; for an assert the tile of conditions

What the bytes mean is in the metadata (`HostCalls.metadata`), so objects from the disk cache need nothing else.
`symbols` makes the functions.  A report is printed by one write, so lines of parallel programs do not mix.  The
first failed assert of a launch sets the pool's status word, which withdraws the programs not yet begun; the failing
program returns at once.

A kernel reads the clock without Python: `HostCalls.emit_clock`.
"""

from __future__ import annotations

import ctypes
import itertools
import struct
import sys
import threading
from typing import TYPE_CHECKING, Any

from ...errors import DeviceAssertError
from ...ir import Block, Builder, Op, Value, parse_type, scalar
from ...ir.types import BOOL, ptr_element
from . import pool
from .lanes import uniform

if TYPE_CHECKING:
    import numpy as np

    from .program import Program

__all__ = ["HostCalls", "failure", "symbols"]

PRINT, ASSERT = "anytile_print", "anytile_assert"
_HEAD = struct.Struct("=4i")
_BILLION = 1_000_000_000


class HostCalls:
    """Emits the calls of one program and keeps the tables that explain their reports."""

    def __init__(self, program: Program):
        self.p = program
        self._prints: list[dict[str, Any]] = []
        self._asserts: list[dict[str, Any]] = []

    def metadata(self) -> dict[str, Any]:
        """JSON-able tables for `symbols`; empty where the kernel reports nothing."""
        out = {"prints": self._prints, "asserts": self._asserts}
        return {name: table for name, table in out.items() if table}

    def prepare(self) -> None:
        """Asserts without masks; those of tiles get a second operand, the scalar that says whether all lanes hold."""
        for op in [o for o in self.p.func.walk() if o.name == "assert"]:
            cond, mask = op.operands
            assert op.block is not None and cond is not None
            b = Builder(op.block, op, op.loc)
            holds = cond if mask is None else b.or_(cond, b.xor(mask, b.const(1, mask.type)))
            op.set_operands([holds, self._all(b, holds) if holds.type.rank else None])

    def _all(self, b: Builder, x: Value) -> Value:
        flat = x if x.type.rank == 1 else b.reshape(x, shape=(x.type.numel,))
        block = Block((scalar(BOOL), scalar(BOOL)))
        inner = Builder(block)
        inner.make("yield", [inner.and_(*block.args)])
        return b.make("reduce", [flat], {"axis": 0}, (block,)).result

    # --- emission ---

    def emit_print(self, op: Op) -> None:
        a = op.attrs
        values = op.rest()
        types = [str(v.type) for v in values]
        self._prints.append({"prefix": a["prefix"], "hex": bool(a["hex"]), "signed": [int(s) for s in a["signed"]], "types": types})
        self._report(PRINT, len(self._prints) - 1, values)

    def emit_assert(self, op: Op) -> None:
        w, (holds, every) = self.p.w, op.operands
        assert holds is not None
        attrs = {k: op.attrs[k] for k in ("message", "file", "function", "line")}
        self._asserts.append({"attrs": attrs, "loc": str(op.loc), "type": str(holds.type)})
        failed, after = w.new_label("failed"), w.new_label("holds")
        w.cond_br(self.p.scalar(holds if every is None else every).val, after, failed)
        w.open_block(failed)
        self._report(ASSERT, len(self._asserts) - 1, [holds])
        w.put("ret void")
        w.open_block(after)

    def emit_clock(self) -> str:
        """Nanoseconds of the system's monotonic clock, i64, by a function of the C library (kernel32 on Windows)."""
        p, w = self.p, self.p.w
        mark = p.offset
        at = p.reserve(16)
        if sys.platform == "win32":
            ticks = [w.declare(f"QueryPerformance{name}", "i32(ptr)") for name in ("Counter", "Frequency")]
            now, rate = (self._read_counter(at, f) for f in ticks)
            # now · 10⁹ / rate, whole seconds apart so that it does not overflow
            seconds = w.ins(f"udiv i64 {now}, {rate}")
            rest = w.ins(f"mul i64 {w.ins(f'urem i64 {now}, {rate}')}, {_BILLION}")
            fraction = w.ins(f"udiv i64 {rest}, {rate}")
        else:
            clock = 6 if sys.platform == "darwin" else 1  # CLOCK_MONOTONIC
            w.put(f"call i32 {w.declare('clock_gettime', 'i32(i32, ptr)')}(i32 {clock}, ptr {at})")
            seconds = w.ins(f"load i64, ptr {at}, align 8")
            fraction = w.ins(f"load i64, ptr {w.ins(f'getelementptr i8, ptr {at}, i64 8')}, align 8")
        p.offset = mark
        return w.ins(f"add i64 {w.ins(f'mul i64 {seconds}, {_BILLION}')}, {fraction}")

    def _read_counter(self, at: str, function: str) -> str:
        self.p.w.put(f"call i32 {function}(ptr {at})")
        return self.p.w.ins(f"load i64, ptr {at}, align 8")

    def _report(self, symbol: str, number: int, values: list[Value]) -> None:
        p, w = self.p, self.p.w
        mark = p.offset
        report = p.reserve(_HEAD.size + 8 * len(values))
        for i, text in enumerate((str(number), "%px", "%py", "%pz")):
            w.put(f"store i32 {text}, ptr {w.ins(f'getelementptr i32, ptr {report}, i64 {i}')}, align 4")
        for i, v in enumerate(values):
            at = w.ins(f"getelementptr i8, ptr {report}, i64 {_HEAD.size + 8 * i}")
            w.put(f"store ptr {self._in_memory(v)}, ptr {at}, align 8")
        w.put(f"call void {w.declare(symbol, 'void(ptr)')}(ptr {report})")
        p.offset = mark

    def _in_memory(self, v: Value) -> str:
        """Address of the row-major tile ``v``, written now unless it lies in memory anyway."""
        p = self.p
        have = p.buffers.get(v)
        if have is not None and have.layout is None:
            return have.ptr
        into = p.allocate(v.type)
        if v.type.rank:
            p.write(v, into)
        else:
            p.memory.store(uniform(into.ptr, ptr_element(v.type.elem)), p.scalar(v))
        return into.ptr


# --- host side -------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_codes = itertools.count(1)
_failures: dict[int, str] = {}  # status code → message, until `failure` fetches it


def symbols(metadata: dict[str, Any]) -> dict[str, int]:
    """Addresses of the functions that the kernel of this metadata calls."""
    out = {}
    if "prints" in metadata:
        out[PRINT] = pool.callback(_printer(metadata["prints"]))
    if "asserts" in metadata:
        out[ASSERT] = pool.callback(_failer(metadata["asserts"]))
    return out


def failure(status: pool.KernelStatus) -> Exception:
    """The error behind a status that `run` raised: an assert's, or ``status`` itself if it is nobody's."""
    message = _failures.pop(status.code, None)
    return status if message is None else DeviceAssertError(message)


def _printer(table: list[dict[str, Any]]):
    def show(address: int) -> None:
        from ..reports import print_lines

        number, pid = _head(address)
        row = table[number]
        types = [parse_type(text) for text in row["types"]]
        arrays = _tiles(address, row["types"])
        lines = print_lines(pid, row["prefix"], row["hex"], row["signed"], [t.elem for t in types], arrays)
        text = "".join(line + "\n" for line in lines)
        with _lock:
            sys.stdout.write(text)
            sys.stdout.flush()

    return show


def _failer(table: list[dict[str, Any]]):
    def fail(address: int) -> None:
        from ..reports import assert_message

        number, pid = _head(address)
        row = table[number]
        (holds,) = _tiles(address, [row["type"]])
        status = ctypes.c_int32.from_address(pool.status_address())
        with _lock:
            if status.value == 0:  # the first failure is the one reported
                code = next(_codes)
                _failures[code] = assert_message(row["attrs"], row["loc"], pid, ~holds)
                status.value = code

    return fail


def _head(address: int) -> tuple[int, tuple[int, int, int]]:
    """(number, program) of the report at ``address``."""
    number, x, y, z = _HEAD.unpack(ctypes.string_at(address, _HEAD.size))
    return number, (x, y, z)


def _tiles(address: int, types: list[str]) -> list[np.ndarray]:
    """Copies of the values of the report at ``address``, in storage form."""
    import numpy as np

    from .. import formats

    out = []
    for i, text in enumerate(types):
        t = parse_type(text)
        dtype = formats.storage(t.elem)
        at = ctypes.c_void_p.from_address(address + _HEAD.size + 8 * i).value
        assert at is not None
        out.append(np.frombuffer(ctypes.string_at(at, t.numel * dtype.itemsize), dtype).reshape(t.shape))
    return out
