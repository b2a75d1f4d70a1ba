"""Types of the tile IR.

A value's type is an *element* and a *shape*.  The shape is a tuple of powers of two; the empty shape is
a scalar, so ``f32`` is the same thing as a rank-0 tile and every elementwise operation works on both.
Elements and types are interned: two equal types are the same object and compare with ``is``.

Integers carry no sign.  Signedness belongs to the language (``tl.int32`` and ``tl.uint32`` are both ``i32``
here) and shows in the operation: ``sdiv``/``udiv``, ``icmp slt``/``ult``, ``sitofp``/``uitofp``.

Text form: ``i32``, ``bf16``, ``ptr<f16>``, ``tile<64x32xf32>``, ``tile<128xptr<f32>>``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from ..errors import IRError

__all__ = [
    "Element",
    "Int",
    "Float",
    "Ptr",
    "Type",
    "FLOATS",
    "BOOL",
    "I8",
    "I16",
    "I32",
    "I64",
    "F16",
    "BF16",
    "F32",
    "F64",
    "F8E4M3",
    "F8E5M2",
    "F8E4B8",
    "F8E5B16",
    "F8E4B15",
    "scalar",
    "tile",
    "ptr",
    "parse_type",
    "parse_element",
]


class Element:
    """What one lane of a tile holds.  Subclasses: `Int`, `Float`, `Ptr`."""

    __slots__ = ()
    bits: int
    is_int: ClassVar[bool] = False
    is_float: ClassVar[bool] = False
    is_ptr: ClassVar[bool] = False

    @property
    def bytes(self) -> int:
        """Size in memory; ``i1`` is stored as one byte."""
        return max(1, self.bits // 8)

    @property
    def is_bool(self) -> bool:
        return self is BOOL


@dataclass(frozen=True, eq=False, slots=True)
class Int(Element):
    bits: int
    is_int = True

    def __str__(self) -> str:
        return f"i{self.bits}"

    __repr__ = __str__


@dataclass(frozen=True, eq=False, slots=True)
class Float(Element):
    """A binary floating-point format.

    ``finite`` formats have no infinities; ``fnuz`` formats have one NaN (0x80) and no negative zero.
    Source: IEEE 754-2019; OCP 8-bit floating point specification v1.0; bias-15 e4m3 is Triton's own.
    """

    name: str
    bits: int
    exponent: int
    mantissa: int
    bias: int
    finite: bool = False
    fnuz: bool = False
    is_float = True

    def __post_init__(self) -> None:
        assert self.bits == 1 + self.exponent + self.mantissa, self.name

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


@dataclass(frozen=True, eq=False, slots=True)
class Ptr(Element):
    """Pointer to global memory; arithmetic on it counts in elements of ``pointee``."""

    pointee: Element
    is_ptr = True

    @property
    def bits(self) -> int:  # type: ignore[override]
        return 64

    def __str__(self) -> str:
        return f"ptr<{self.pointee}>"

    __repr__ = __str__


BOOL, I8, I16, I32, I64 = Int(1), Int(8), Int(16), Int(32), Int(64)
F16 = Float("f16", 16, 5, 10, 15)
BF16 = Float("bf16", 16, 8, 7, 127)
F32 = Float("f32", 32, 8, 23, 127)
F64 = Float("f64", 64, 11, 52, 1023)
F8E4M3 = Float("f8e4m3", 8, 4, 3, 7, finite=True)  # float8e4nv: OCP E4M3, NaN 0x7f, no infinity
F8E5M2 = Float("f8e5m2", 8, 5, 2, 15)  # float8e5: OCP E5M2
F8E4B8 = Float("f8e4b8", 8, 4, 3, 8, finite=True, fnuz=True)
F8E5B16 = Float("f8e5b16", 8, 5, 2, 16, finite=True, fnuz=True)
F8E4B15 = Float("f8e4b15", 8, 4, 3, 15, finite=True)
FLOATS: tuple[Float, ...] = (F16, BF16, F32, F64, F8E4M3, F8E5M2, F8E4B8, F8E5B16, F8E4B15)

_INTS = {e.bits: e for e in (BOOL, I8, I16, I32, I64)}
_BY_NAME: dict[str, Element] = {str(e): e for e in (*_INTS.values(), *FLOATS)}
_PTRS: dict[Element, Ptr] = {}


def int_element(bits: int) -> Int:
    return _INTS[bits]


def ptr_element(pointee: Element) -> Ptr:
    got = _PTRS.get(pointee)
    if got is None:
        got = _PTRS.setdefault(pointee, Ptr(pointee))
    return got


class Type:
    """Element and shape of an SSA value.  Interned; build with `scalar`, `tile` or `Type.of`."""

    __slots__ = ("elem", "shape", "numel", "_text")
    _cache: dict[tuple[Element, tuple[int, ...]], Type] = {}

    elem: Element
    shape: tuple[int, ...]
    numel: int
    _text: str

    @staticmethod
    def of(elem: Element, shape: tuple[int, ...] = ()) -> Type:
        key = (elem, shape)
        got = Type._cache.get(key)
        if got is None:
            t = object.__new__(Type)
            t.elem, t.shape = elem, shape
            n = 1
            for d in shape:
                if d < 1 or d & (d - 1):
                    raise IRError(f"tile dimension {d} of shape {shape} is not a power of two")
                n *= d
            t.numel = n
            dims = "".join(f"{d}x" for d in shape)
            t._text = f"tile<{dims}{elem}>" if shape else str(elem)
            got = Type._cache.setdefault(key, t)
        return got

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_scalar(self) -> bool:
        return not self.shape

    def with_elem(self, elem: Element) -> Type:
        return Type.of(elem, self.shape)

    def with_shape(self, shape: tuple[int, ...]) -> Type:
        return Type.of(self.elem, tuple(shape))

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__

    def __reduce__(self):
        return parse_type, (self._text,)


def scalar(elem: Element) -> Type:
    return Type.of(elem, ())


def tile(shape: tuple[int, ...], elem: Element) -> Type:
    return Type.of(elem, tuple(shape))


def ptr(pointee: Element, shape: tuple[int, ...] = ()) -> Type:
    return Type.of(ptr_element(pointee), tuple(shape))


_DIM = re.compile(r"(\d+)x")


def parse_element(text: str) -> Element:
    if text.startswith("ptr<") and text.endswith(">"):
        return ptr_element(parse_element(text[4:-1]))
    try:
        return _BY_NAME[text]
    except KeyError:
        raise IRError(f"unknown element type {text!r}") from None


def parse_type(text: str) -> Type:
    if not (text.startswith("tile<") and text.endswith(">")):
        return Type.of(parse_element(text))
    body, at, shape = text[5:-1], 0, []
    while m := _DIM.match(body, at):
        shape.append(int(m.group(1)))
        at = m.end()
    return Type.of(parse_element(body[at:]), tuple(shape))
