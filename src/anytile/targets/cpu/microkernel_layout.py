"""How a micro-kernel wants its operands in memory, as data that packing code can be generated from."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PackedLayout", "Term"]


@dataclass(frozen=True)
class Term:
    """One digit of an index: contributes ``(index[dim] // divisor) % modulus * stride`` elements to the offset."""

    dim: str  # "m", "n" or "k"
    divisor: int
    modulus: int
    stride: int


@dataclass(frozen=True)
class PackedLayout:
    """Where element (m, k) of A, or (k, n) of B, lies in a packed buffer.

    ``element``: LLVM type stored (``float``, ``bfloat``, ``i16`` …); wider than the operand's where the
    micro-kernel wants it widened.  ``size``: elements of the buffer.  Terms cover each index exactly once, so the
    offset is a bijection onto 0 … size − 1: every byte of the buffer is written by packing each element once.

    Example, B of 32×64 in pairs along k: ``Term(k,2,16,128) Term(n,1,64,2) Term(k,1,2,1)``, that is [k/2][n][k%2].
    """

    element: str
    terms: tuple[Term, ...]

    @property
    def size(self) -> int:
        size = 1
        for term in self.terms:
            size *= term.modulus
        return size

    def offset(self, **index: int) -> int:
        """Offset in elements of e.g. ``offset(m=3, k=5)``."""
        return sum(index[t.dim] // t.divisor % t.modulus * t.stride for t in self.terms)


def blocked(element: str, *digits: tuple[str, int, int]) -> PackedLayout:
    """A layout from its digits, outermost first: (dimension, divisor, modulus); strides follow."""
    terms, stride = [], 1
    for dim, divisor, modulus in reversed(digits):
        terms.append(Term(dim, divisor, modulus, stride))
        stride *= modulus
    return PackedLayout(element, tuple(reversed(terms)))
