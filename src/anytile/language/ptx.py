"""Inline PTX as tile IR: what ``tl.inline_asm_elementwise`` records on every target that is not CUDA.

Libraries write short, straight-line snippets of PTX: a rounding mode, a packed conversion, an approximation.  They
are translated instruction by instruction (the table is `ptx_table`) while the kernel is traced::

    {                                           x  = operand 1 as f32
      .reg .b32 t;                              t  = fmul x, 1.4427
      mul.f32 t, $1, 0f3FB8AA3B;        ──▶     $0 = exp2 t
      ex2.approx.ftz.f32 $0, t;
    }

**Registers** hold *parts*: IR values of equal width, lowest bits first, that together fill the register.  A pair of
halves made by ``cvt.rn.bf16x2.f32`` stays two bf16 values until an instruction asks for the 32 bits as an integer;
bits are moved only where a snippet does move them.

**Packing.**  ``pack`` consecutive elements of each operand go through one run of the snippet.  Elements narrower
than 32 bits share registers, 32 / width of them (never more than ``pack``), the first in the lowest bits; wider ones
take a register each.  The operands of the text count results first, then arguments, each with all its registers:
two f32 arguments with ``pack=2`` and one f16 result are ``$0`` · ``$1 $2`` · ``$3 $4``.

Approximations (``.approx``) are computed to full precision, and subnormal numbers are kept where ``.ftz`` would
flush them.  Loops, memory and communication between threads have no meaning here: UnsupportedError names the
instruction and the line of the kernel.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import UnsupportedError
from ..ir import Builder, Value
from ..ir.types import BF16, BOOL, F16, F32, F64, I8, I16, I32, I64, Element, Type, int_element

__all__ = ["Instruction", "Kind", "Translation", "translate"]

_REGISTER_BITS = {"h": 16, "r": 32, "l": 64, "q": 128, "f": 32, "d": 64, "c": 8, "b": 1, "n": 32, "i": 32}


@dataclass(frozen=True)
class Kind:
    """A type suffix such as ``.bf16x2``: ``lanes`` values of ``elem``; ``signed`` for ``.s32`` and the like."""

    elem: Element
    lanes: int = 1
    signed: bool = False

    @property
    def bits(self) -> int:
        return self.elem.bits * self.lanes


KINDS = {
    **{f"{c}{e.bits}": Kind(e, signed=c == "s") for c in "bus" for e in (I8, I16, I32, I64)},
    **{"f16": Kind(F16), "bf16": Kind(BF16), "f32": Kind(F32), "f64": Kind(F64), "pred": Kind(BOOL)},
    **{"f16x2": Kind(F16, 2), "bf16x2": Kind(BF16, 2), "f32x2": Kind(F32, 2), "u16x2": Kind(I16, 2), "s16x2": Kind(I16, 2, True)},
}


@dataclass
class Instruction:
    """``text`` as written; ``name`` is its first word, ``suffixes`` the others, ``operands`` with vectors as tuples."""

    text: str
    name: str
    suffixes: list[str]
    operands: list[Any]
    guard: str = ""  # predicate register of ``@p``
    inverted: bool = False  # ``@!p``

    @property
    def modifiers(self) -> set[str]:
        return {s for s in self.suffixes if s not in KINDS}

    @property
    def kinds(self) -> list[Kind]:
        return [KINDS[s] for s in self.suffixes if s in KINDS]

    @property
    def kind(self) -> Kind:
        """The type of the operation: the last type suffix."""
        return self.kinds[-1]


@dataclass
class Register:
    bits: int
    parts: list[Value] = field(default_factory=list)  # empty until written


def translate(
    b: Builder, asm: str, constraints: str, arguments: Sequence[Sequence[Value]], results: Sequence[Element], pack: int
) -> list[list[Value]]:
    """The elements of each result, ``pack`` each.  ``arguments``: the elements of each argument, ``pack`` each, of one shape.

    UnsupportedError names an instruction without a translation, ValueError a snippet that PTX would not accept.
    """
    shape = arguments[0][0].type.shape if arguments else ()
    outputs, inputs = _parse_constraints(constraints, asm)
    t = Translation(b, shape)
    number = 0
    made: list[list[Register]] = []
    for elem in results:
        made.append([])
        for _ in range(0, pack, _share(elem, pack)):
            if number >= len(outputs):
                raise ValueError(f"the constraints {constraints!r} have {len(outputs)} outputs, too few for the results with pack={pack}")
            made[-1].append(t.declare(f"${number}", _REGISTER_BITS.get(outputs[number], 32)))
            number += 1
    if number != len(outputs):
        raise ValueError(f"the constraints {constraints!r} have {len(outputs)} outputs, but the results take {number} with pack={pack}")
    taken = 0
    for elements in arguments:
        share = _share(elements[0].type.elem, pack)
        for k in range(0, pack, share):
            if taken >= len(inputs):
                raise ValueError(f"the constraints {constraints!r} have {len(inputs)} inputs, too few for the arguments with pack={pack}")
            letter = inputs[taken]
            parts = [_as_bits(b, e) if e.type.elem.is_ptr else e for e in elements[k : k + share]]
            if letter.isdigit():  # tied: the register of an output, loaded before the snippet runs
                t.write(f"${letter}", parts)
            else:
                t.declare(f"${number}", max(_REGISTER_BITS.get(letter, 32), sum(p.type.elem.bits for p in parts)))
                t.write(f"${number}", parts)
            number, taken = number + 1, taken + 1
    if taken != len(inputs):
        raise ValueError(f"the constraints {constraints!r} have {len(inputs)} inputs, but the arguments take {taken} with pack={pack}")
    for statement in t.parse(asm):
        if isinstance(statement, Instruction):
            t.execute(statement)
        else:
            t.declare_all(statement)
    out = []
    for elem, registers in zip(results, made):
        share = _share(elem, pack)
        # A result that the snippet never writes is unspecified: libraries have one only because there must be one.
        whole = [r.parts or [t.const(0, int_element(r.bits))] for r in registers]
        values = [v for parts in whole for v in t.regroup(parts, elem)[:share]]
        out.append(values)
    return out


def _share(elem: Element, pack: int) -> int:
    """How many elements share a register."""
    return max(1, min(32 // elem.bits, pack)) if elem.bits < 32 else 1


def _as_bits(b: Builder, v: Value) -> Value:
    return b.ptrtoint(v, to=I64)


def _parse_constraints(text: str, asm: str) -> tuple[list[str], list[str]]:
    """Letters of the outputs and of the inputs (a digit is tied to that output); clobbers have no meaning here."""
    outputs: list[str] = []
    inputs: list[str] = []
    for c in (part.strip() for part in text.split(",")):
        if not c or c.startswith("~"):
            continue
        letter = c.lstrip("=&+%")
        if letter not in _REGISTER_BITS and not letter.isdigit():
            raise UnsupportedError(
                f"the constraint {c!r} of the inline assembly {asm.strip()!r}",
                "targets other than CUDA",
                "only PTX is translated; write the operation with tl functions",
            )
        (outputs if c.startswith("=") else inputs).append(letter)
    return outputs, inputs


_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_STATEMENT = re.compile(r"\s*(?:([{}])|((?:[^;{}]|\{[^{};]*\})*);)")
_GUARD = re.compile(r"@(!?)\s*([%\w$]+)\s+")
_OPERAND = re.compile(r"\{([^}]*)\}|([^,{}]+)")
_DECLARATION = re.compile(r"([%\w$]+)\s*(?:<\s*(\d+)\s*>)?")


class Translation:
    """One run of a snippet: registers by name, and the builder that the table's functions record with."""

    def __init__(self, b: Builder, shape: tuple[int, ...]):
        self.b, self.shape = b, shape
        self.registers: dict[str, Register] = {}
        self.guard: tuple[Value, bool] | None = None

    def type(self, elem: Element) -> Type:
        return Type.of(elem, self.shape)

    def const(self, value: Any, elem: Element) -> Value:
        return self.b.const(value, self.type(elem))

    # -- reading the text -----------------------------------------------------------------------------------

    def parse(self, asm: str) -> list[Instruction | str]:
        """The statements of ``asm`` in order; declarations (``.reg``) as text.  A name lasts until it is declared again."""
        text = _COMMENT.sub(" ", asm).replace("$$", "$").strip()
        if text and text[-1] not in ";}":
            text += ";"
        at = 0
        out: list[Instruction | str] = []
        while at < len(text):
            m = _STATEMENT.match(text, at)
            if m is None:
                if text[at:].strip():
                    raise ValueError(f"inline assembly ends in the middle of a statement: {text[at:].strip()!r}")
                break
            at = m.end()
            statement = " ".join((m.group(2) or "").split())
            if statement:
                out.append(statement if statement.startswith(".reg") else self._instruction(statement))
        return out

    def _instruction(self, text: str) -> Instruction:
        guard, inverted, rest = "", False, text
        if m := _GUARD.match(text):
            guard, inverted, rest = m[2], bool(m[1]), text[m.end() :]
        opcode, _, tail = rest.partition(" ")
        if opcode.endswith(":"):
            raise self.unsupported(text)
        name, *suffixes = opcode.split(".")
        operands: list[Any] = []
        for m in _OPERAND.finditer(tail):
            if m[1] is not None:
                operands.append(tuple(x.strip() for x in m[1].split(",")))
            elif m[2].strip():
                operands.append(m[2].strip())
        return Instruction(text, name, suffixes, operands, guard, inverted)

    # -- running --------------------------------------------------------------------------------------------

    def execute(self, i: Instruction) -> None:
        from .ptx_table import TABLE

        row = TABLE.get(i.name)
        if row is None or not i.modifiers <= row.modifiers:
            raise self.unsupported(i.text)
        self.guard = (self.read(i.guard, BOOL), i.inverted) if i.guard else None
        try:
            row.build(self, i)
        except (IndexError, KeyError):
            raise self.unsupported(i.text) from None
        self.guard = None

    def unsupported(self, instruction: str) -> UnsupportedError:
        loc = self.b.loc
        return UnsupportedError(
            f"the inline assembly instruction {instruction!r} at {loc.file}:{loc.line}",
            "targets other than CUDA",
            "write it with tl functions (anytile translates straight-line PTX arithmetic: docs/language.md)",
        )

    # -- registers --------------------------------------------------------------------------------------------

    def declare(self, name: str, bits: int) -> Register:
        register = self.registers[name] = Register(bits)
        return register

    def declare_all(self, statement: str) -> None:
        """Make the registers of a ``.reg`` statement."""
        words = statement.split(None, 1)[1]
        kind, _, names = words.lstrip(".").partition(" ")
        bits = KINDS[kind].bits if kind in KINDS else 32
        for part in names.split(","):
            m = _DECLARATION.match(part.strip())
            if m is None:
                raise ValueError(f"{statement!r} is no declaration of PTX registers")
            for name in [m[1]] if m[2] is None else [f"{m[1]}{i}" for i in range(int(m[2]))]:
                self.declare(name, bits)

    def written(self, r: Register, where: str) -> list[Value]:
        if not r.parts:
            raise ValueError(f"a register of the inline assembly {where.strip()!r} is read before it is written")
        return r.parts

    def parts(self, operand: Any, elem: Element, lanes: int) -> list[Value]:
        """``lanes`` values of ``elem``: the operand's low bits.  A register, a vector ``{a, b}`` or a literal."""
        if isinstance(operand, tuple):
            each = sum(1 for _ in operand)
            width = elem.bits * lanes // each
            source = [v for o in operand for v in self.parts(o, int_element(width), 1)]
            return self.regroup(source, elem)[:lanes]
        literal = _literal(operand)
        if literal is not None:
            return [self._constant(literal, elem, k) for k in range(lanes)]
        register = self.registers.get(operand)
        if register is None:
            raise ValueError(f"{operand!r} is no register that the inline assembly declares, and no literal")
        out = self.regroup(self.written(register, operand), elem)
        while len(out) < lanes:  # a narrow register read as a wide one: zeros above it
            out.append(self.const(0, elem))
        return out[:lanes]

    def read(self, operand: Any, elem: Element) -> Value:
        """The low bits of the operand as one ``elem``; a leading ``!`` inverts a predicate."""
        if isinstance(operand, str) and operand.startswith("!"):
            return self.b.xor(self.read(operand[1:].strip(), elem), self.const(1, elem))
        return self.parts(operand, elem, 1)[0]

    def write(self, operand: Any, parts: Sequence[Value]) -> None:
        """Fill a register (zeros above ``parts``), or a vector of registers, from low to high.  Under a guard only where it holds."""
        if operand == "_":
            return
        if isinstance(operand, tuple):
            whole = [self.registers[name].bits if name != "_" else 0 for name in operand]
            width = max(whole)
            for name, v in zip(operand, self.regroup(list(parts), int_element(width))):
                self.write(name, [v])
            return
        register = self.registers.get(operand)
        if register is None:
            raise ValueError(f"{operand!r} is no register that the inline assembly declares")
        parts = list(parts)
        have = parts[0].type.elem.bits
        if have * len(parts) > register.bits:
            parts = self.regroup(parts, int_element(min(have, register.bits)))[: max(1, register.bits // have)]
            have = parts[0].type.elem.bits
        elif have == 1 and register.bits > 1:
            parts = [self.b.zext(parts[0], to=int_element(register.bits))]
        while parts[0].type.elem.bits * len(parts) < register.bits:
            parts.append(self.const(0, parts[0].type.elem))
        if self.guard is not None and register.parts:
            condition, inverted = self.guard
            old = self.regroup(register.parts, parts[0].type.elem)
            pairs = [(o, n) if inverted else (n, o) for n, o in zip(parts, old)]
            parts = [self.b.select(condition, x, y) for x, y in pairs]
        register.parts = parts

    def regroup(self, parts: list[Value], elem: Element) -> list[Value]:
        """The same bits as values of ``elem``, lowest first; the top one is padded with zeros where bits are missing."""
        b, want = self.b, elem.bits
        have = parts[0].type.elem.bits
        if have != want:
            bits = [self._integer(p) for p in parts]
            if have > want:
                parts = []
                for p in bits:
                    for k in range(have // want):
                        shifted = b.lshr(p, self.const(k * want, p.type.elem)) if k else p
                        parts.append(b.trunci(shifted, to=int_element(want)))
            else:
                wide, group = int_element(want), want // have
                parts = []
                for k in range(0, len(bits), group):
                    whole = b.zext(bits[k], to=wide)
                    for n, p in enumerate(bits[k + 1 : k + group], 1):
                        whole = b.or_(whole, b.shl(b.zext(p, to=wide), self.const(n * have, wide)))
                    parts.append(whole)
        return [p if p.type.elem is elem else b.bitcast(p, to=elem) for p in parts]

    def _integer(self, v: Value) -> Value:
        e = v.type.elem
        return v if e.is_int else self.b.bitcast(v, to=int_element(e.bits))

    def _constant(self, literal: int | float | bytes, elem: Element, lane: int) -> Value:
        """Lane ``lane`` of a literal read as ``elem``.  Hexadecimal floats (``bytes``) are bit patterns, as integers are for 16-bit floats."""
        if isinstance(literal, bytes) and elem is F64 and len(literal) == 4:
            literal = float(struct.unpack("<f", literal)[0])
        if isinstance(literal, float):
            if elem.is_float:
                return self.const(literal, elem)
            literal = struct.pack("<d" if elem.bits == 64 else "<f", literal)
        if isinstance(literal, int) and elem.is_float and elem.bits >= 32:
            return self.const(float(literal), elem)
        bits = int.from_bytes(literal, "little") if isinstance(literal, bytes) else literal
        integer = int_element(elem.bits)
        value = self.const(bits >> (lane * elem.bits), integer)
        return value if elem is integer else self.b.bitcast(value, to=elem)

    # -- for the table ----------------------------------------------------------------------------------------

    def apply(self, i: Instruction, f: Callable[..., Value], kind: Kind | None = None) -> None:
        """``operand 0 = f(operand 1, operand 2 …)`` lane by lane in ``kind`` (default: the instruction's)."""
        kind = kind or i.kind
        sources = [self.parts(o, kind.elem, kind.lanes) for o in i.operands[1:]]
        self.write(i.operands[0], [f(*lane) for lane in zip(*sources)])

    def immediate(self, operand: Any) -> int | None:
        """The integer that an operand is known to be: a literal, or an argument that is a constant (constraint ``n``); else None."""
        literal = _literal(operand) if isinstance(operand, str) else None
        if literal is not None:
            return literal if isinstance(literal, int) else None
        register = self.registers.get(operand)
        if register is None or len(register.parts) != 1:
            return None
        v = register.parts[0]
        while v.op is not None and v.op.name in ("splat", "broadcast", "expand_dims", "reshape"):
            v = v.op.operands[0]
        return v.op.attrs["value"] if v.op is not None and v.op.name == "constant" and v.type.elem.is_int else None


_INTEGER = re.compile(r"([+-]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)U?$")
_FLOAT = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?$")


def _literal(text: str) -> int | float | bytes | None:
    """An integer, a decimal float, the little-endian bytes of ``0f…`` or ``0d…``, or None for a register's name."""
    if m := _INTEGER.match(text):
        digits = m[2]
        value = int(digits, 0) if digits[:2].lower() in ("0x", "0b") else int(digits, 8 if digits[0] == "0" and len(digits) > 1 else 10)
        return -value if m[1] == "-" else value
    if re.match(r"0[fF][0-9a-fA-F]{8}$", text):
        return int(text[2:], 16).to_bytes(4, "little")
    if re.match(r"0[dD][0-9a-fA-F]{16}$", text):
        return int(text[2:], 16).to_bytes(8, "little")
    return float(text) if _FLOAT.match(text) else None
