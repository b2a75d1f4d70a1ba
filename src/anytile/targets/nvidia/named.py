"""Accumulators in registers that PTX knows by name, and LLVM not at all.

A product that is summed up in a loop stays in flight from one iteration to the next: nobody but the instructions of the tensor cores touches
its 64, 96 or 128 registers in between.  As values of LLVM each of them would be a phi, an operand and a result of every iteration's
instructions, tied to each other; that took LLVM a third of its time for a product, and the text a fifth of its length, to no purpose.  So the
registers are declared in PTX itself, at the kernel's entry, and the texts of the instructions say their names:

    entry       .reg .b32 %named0_<128>;
    loop        wgmma.mma_async… {%named0_0, …, %named0_127}, …;
    behind it   wgmma.wait_group 0;  mov.b32 $0, %named0_0; …      from here on they are values

Each such text is marked as having side effects, which keeps them in their order, and may not be duplicated (`Generator.assembly`).  It is
declared once, in a block that runs once and that every other one follows, so PTX accepts it wherever it is used, in loops of loops, too.

*The first iteration overwrites.*  Where a sum begins with zeros, the registers have no first value at all: the first iteration's first
instruction takes a predicate that tells it not to add.  The assembler has 128 moves less, each of which it would look up among 128 registers
that must lie in a row.  For a loop of no iterations there would be no zeros then; so the first iteration always takes place (`Pipeline.once`
says where that may be).  The assemblers of CUDA 12 want the first values all the same: they take a register that has none for one that
something in the loop defines, and then wait for each instruction of the tensor cores before the next.  They are given them (`first_values`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...ir.types import F32, Element

if TYPE_CHECKING:
    from .values import Generator

__all__ = ["Named", "first_values", "named"]

_DECLARATION = re.compile(r"^\t\.reg \.b32 (%named\d+_)<(\d+)>;$", re.M)


@dataclass(frozen=True)
class Named:
    """``count`` registers of 32 bits, `prefix`0, `prefix`1, …, for elements of type ``elem`` (f32 or i32)."""

    prefix: str
    count: int
    elem: Element

    def span(self, first: int, n: int) -> str:
        """Registers ``first`` … ``first + n − 1`` as an operand of an instruction."""
        return "{" + ",".join(f"{self.prefix}{i}" for i in range(first, first + n)) + "}"

    def names(self) -> list[str]:
        return [f"{self.prefix}{i}" for i in range(self.count)]

    def pack(self, g: Generator, values: list[str], to: Element) -> None:
        """Gives them f32 ``values``, rounded to 16 bits, two each."""
        kind = {"f16": "f16x2", "bf16": "bf16x2"}[str(to)]
        lines = (f"cvt.rn.{kind}.f32 {self.prefix}{i}, ${2 * i + 1}, ${2 * i};" for i in range(self.count))
        g.assembly(" ".join(lines), ",".join(["f"] * len(values)), "void", [("float", v) for v in values])

    def keep(self, g: Generator, address: str) -> None:
        """Keeps them from being given to other values before this point: here they are stored at ``address`` (i32, shared), on a condition that
        nobody fulfils, nor the assembler knows that."""
        never = g.emit(f"icmp eq i32 {g.warpgroup()}, -3")
        lines = (f"@$1 st.volatile.shared.v4.b32 [$0], {self.span(i, 4)};" for i in range(0, self.count, 4))
        g.assembly(" ".join(lines), "r,b", "void", [("i32", address), ("i1", never)])

    def set(self, g: Generator, values: list[str]) -> None:
        """Gives them their first values."""
        text = " ".join(f"mov.b32 {self.prefix}{i}, ${i};" for i in range(self.count))
        g.assembly(text, ",".join([self._constraint] * self.count), "void", [(self._type, v) for v in values])

    def scale(self, g: Generator, factors: list[str]) -> None:
        """Multiplies each (f32) by its factor."""
        different = list(dict.fromkeys(factors))
        text = " ".join(f"mul.rn.f32 {self.prefix}{i}, {self.prefix}{i}, ${different.index(x)};" for i, x in enumerate(factors))
        g.assembly(text, ",".join(["f"] * len(different)), "void", [("float", x) for x in different])

    def clear(self, g: Generator) -> None:
        """Sets them to zero."""
        g.assembly(" ".join(f"mov.b32 {self.prefix}{i}, 0;" for i in range(self.count)), "", "void", [])

    def values(self, g: Generator, pending: int = 0) -> list[str]:
        """Waits for all groups of instructions in flight but the last ``pending``; what the registers then hold."""
        moves = " ".join(f"mov.b32 ${i}, {self.prefix}{i};" for i in range(self.count))
        result = g.several(self._type, self.count)
        constraints = ",".join([f"={self._constraint}"] * self.count)
        got = g.assembly(f"wgmma.wait_group.sync.aligned {pending}; {moves}", constraints, result, [])
        return [g.emit(f"extractvalue {result} {got}, {i}") for i in range(self.count)]

    @property
    def _type(self) -> str:
        return "float" if self.elem is F32 else "i32"

    @property
    def _constraint(self) -> str:
        return "f" if self.elem is F32 else "r"


def named(g: Generator, count: int, elem: Element) -> Named:
    """New registers, declared at the kernel's entry."""
    out = Named(f"%named{g.named_tiles}_", count, elem)
    g.named_tiles += 1
    g.prologue.append(f'  call void asm sideeffect ".reg .b32 {out.prefix}<{count}>;", ""() #1')
    return out


def first_values(ptx: str) -> str:
    """The same kernel, whose named registers are zero where they are declared."""

    def zeros(declaration: re.Match[str]) -> str:
        prefix, count = declaration.groups()
        return f"{declaration[0]} {' '.join(f'mov.b32 {prefix}{i}, 0;' for i in range(int(count)))}"

    return _DECLARATION.sub(zeros, ptx)
