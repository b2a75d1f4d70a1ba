"""Floats that lie side by side, added to memory atomically, 8 bytes at a time.

Processors have no atomic addition of floats: each is a loop around a compare-and-exchange, some 18 cycles whatever its width, during which
nothing else goes on.  Where nobody asks what memory held before, two floats, or four of 16 bits, may as well share one: each of them is
still added once and at once, and what other threads exchange there, by one float or by 8 bytes, is seen.  The 8 bytes must be aligned.
An embedding's gradient (rows of 1024 floats to random places) takes half the time in f32, a quarter in 16 bits.

Sixteen bytes take 25 cycles by ``cmpxchg16b``, a third less for each float again; but reading 16 bytes without tearing takes another one.
"""

from __future__ import annotations

from ...ir import Op
from ...ir.types import BF16, F16, F32, Element
from .text import bf16_to_float, llvm_type, round_to_bf16

__all__ = ["adder", "in_group"]


def in_group(op: Op) -> int:
    """How many elements of ``op`` one compare-and-exchange may add; 1 where that is not possible."""
    if op.name != "atomic_rmw" or op.attrs["kind"] != "fadd" or op.result.uses:
        return 1
    e = op.operands[1].type.elem
    return 8 // e.bytes if e in (F32, F16, BF16) else 1


def adder(e: Element, order: str, after_failure: str) -> tuple[str, str]:
    """(name, text) of a function that adds a vector of ``e`` to the 8 bytes at a pointer."""
    n = 8 // e.bytes
    number, t = f"<{n} x float>", f"<{n} x {llvm_type(e)}>"
    name = f"atomic.add.{e}.{n}.{order}"
    if e is F32:
        add = f"  %new = fadd {t} %held, %x"
    elif e is F16:
        add = f"""  %held.float = fpext {t} %held to {number}
  %x.float = fpext {t} %x to {number}
  %sum = fadd {number} %held.float, %x.float
  %new = fptrunc {number} %sum to {t}"""
    else:
        add = f"""{bf16_to_float("%held", n)}
{bf16_to_float("%x", n)}
  %sum = fadd {number} %held.float, %x.float
{round_to_bf16("%new", "%sum", n)}"""
    return (
        name,
        f"""define internal void @{name}(ptr %p, {t} %x) nounwind {{
entry:
  %first = load atomic i64, ptr %p monotonic, align 8
  br label %try
try:
  %old = phi i64 [ %first, %entry ], [ %seen, %try ]
  %held = bitcast i64 %old to {t}
{add}
  %bytes = bitcast {t} %new to i64
  %pair = cmpxchg ptr %p, i64 %old, i64 %bytes {order} {after_failure}, align 8
  %seen = extractvalue {{ i64, i1 }} %pair, 0
  %done = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %done, label %out, label %try
out:
  ret void
}}""",
    )
