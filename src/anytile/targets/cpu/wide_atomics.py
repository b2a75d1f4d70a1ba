"""Atomic additions of floats whose addresses follow each other, several at a time.

No processor here adds floats in memory atomically: each addition is a load and a compare-and-exchange, some twenty cycles.  But what
is compared and exchanged may be as wide as 16 bytes (8 where the machine lacks the instruction), which is atomic for each
float in it.  So rows that are added to, as split-k products and embeddings' gradients do, go in groups of four f32.
A group that is not aligned, or partly masked off, is added float by float.

Whoever meets such a group with a narrower atomic access is safe: all of them lock the cache line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ir import Op
from ...ir.types import F32, F64, I32, Element
from .lanes import Lane
from .nest import Nest
from .roots import AtomicRoot
from .shape import steps

if TYPE_CHECKING:
    from .program import Program

__all__ = ["WideAtomics"]


class WideAtomics:
    def __init__(self, program: Program):
        self.p = program
        machine = program.machine
        self.bytes = 16 if machine.architecture == "x86_64" and machine.has("cx16") else 8
        self._elements: dict[Element, None] = {}

    def suits(self, op: Op) -> bool:
        """Whether ``op`` is an addition to rows of floats that nobody reads the old values of."""
        if op.name != "atomic_rmw" or op.attrs["kind"] != "fadd" or op.result.uses:
            return False
        t = op.operands[1].type
        if t.elem not in (F32, F64) or not t.rank or t.shape[-1] % self._lanes(t.elem) or self._lanes(t.elem) < 2:
            return False
        return steps(op.operands[0], self.p.step_memo)[-1] == 1

    def _lanes(self, e: Element) -> int:
        return self.bytes // e.bytes

    def emit(self, op: Op) -> None:
        t = op.operands[1].type
        self._elements[t.elem] = None
        _Rows(self.p, t.shape, t.rank - 1, self._lanes(t.elem), 1).run([AtomicRoot(op, None, self._add)])
        self.p.memory.width = 1

    def _add(self, pointer: Lane, value: Lane, mask: Lane | None) -> None:
        m, w, n = self.p.memory, self.p.w, self._lanes(value.elem)
        on = "-1"
        if mask is not None and mask.const != 1:
            on = w.ins(f"bitcast <{n} x i1> {m.vec(mask)} to i{n}")
        w.put(f"call void @{self._name(value.elem)}(ptr {pointer.val}, {m.vec_type(value.elem)} {m.vec(value)}, i{n} {on})")

    def _name(self, e: Element) -> str:
        return f"atomic_add_{self._lanes(e)}x{_TYPES[e]}"

    def functions(self) -> list[str]:
        """What adds one group, for each type of element that occurs."""
        return [line for e in self._elements for line in self._function(e)]

    def _function(self, e: Element) -> list[str]:
        n, t, bits = self._lanes(e), _TYPES[e], self.bytes * 8
        words = self.bytes // 8
        o = [
            f"define internal void @{self._name(e)}(ptr %p, <{n} x {t}> %x, i{n} %on) nounwind noinline {{",
            "entry:",
            "  %address = ptrtoint ptr %p to i64",
            f"  %over = and i64 %address, {self.bytes - 1}",
            "  %aligned = icmp eq i64 %over, 0",
            f"  %all = icmp eq i{n} %on, -1",
            "  %whole = and i1 %aligned, %all",
            "  br i1 %whole, label %group, label %lane0",
            "group:",
        ]
        for i in range(words):  # torn between the words, it does not pass the comparison
            o.append(f"  %at{i} = getelementptr i64, ptr %p, i64 {i}")
            o.append(f"  %word{i} = load atomic i64, ptr %at{i} monotonic, align 8")
            o.append(f"  %words{i} = insertelement <{words} x i64> {f'%words{i - 1}' if i else 'poison'}, i64 %word{i}, i64 {i}")
        o += [
            f"  %first = bitcast <{words} x i64> %words{words - 1} to i{bits}",
            "  br label %try",
            "try:",
            f"  %old = phi i{bits} [ %first, %group ], [ %now, %try ]",
            f"  %have = bitcast i{bits} %old to <{n} x {t}>",
            f"  %sum = fadd <{n} x {t}> %have, %x",
            f"  %new = bitcast <{n} x {t}> %sum to i{bits}",
            f"  %pair = cmpxchg ptr %p, i{bits} %old, i{bits} %new acq_rel monotonic, align {self.bytes}",
            f"  %now = extractvalue {{ i{bits}, i1 }} %pair, 0",
            f"  %done = extractvalue {{ i{bits}, i1 }} %pair, 1",
            "  br i1 %done, label %out, label %try",
        ]
        for i in range(n):
            after = f"lane{i + 1}" if i + 1 < n else "out"
            o += [
                f"lane{i}:",
                f"  %bit{i} = and i{n} %on, {1 << i if i + 1 < n else -(1 << i)}",
                f"  %is{i} = icmp ne i{n} %bit{i}, 0",
                f"  br i1 %is{i}, label %add{i}, label %{after}",
                f"add{i}:",
                f"  %x{i} = extractelement <{n} x {t}> %x, i64 {i}",
                f"  %p{i} = getelementptr {t}, ptr %p, i64 {i}",
                f"  %old{i} = atomicrmw fadd ptr %p{i}, {t} %x{i} acq_rel, align {e.bytes}",
                f"  br label %{after}",
            ]
        return [*o, "out:", "  ret void", "}"]


class _Rows(Nest):
    """Requests a row's lines before the first is added to: nothing passes a locked instruction, so each line would be waited for."""

    def _vector(self, idx: list[Lane]) -> None:
        (root,) = self.roots
        t = root.op.operands[1].type  # type: ignore[union-attr]
        start = list(idx)
        start[self.vec_dim] = self.m.const(0, I32)
        self._open()
        row = self.ev(root.op.operands[0], tuple(start)).val  # type: ignore[union-attr, arg-type]
        for at in range(0, min(t.shape[-1] * t.elem.bytes, _AT_ONCE), 64):
            self._request(self.w.ins(f"getelementptr i8, ptr {row}, i64 {at}"), write=True)
        self._close()
        super()._vector(idx)


_AT_ONCE = 1024
_TYPES: dict[Element, str] = {F32: "float", F64: "double"}
