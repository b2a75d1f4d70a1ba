"""``tl.tensor``: a run-time value with its language type, and Python's operators on it.

A scalar is a tensor whose type is no block.  Operators follow `arithmetic`; the methods beyond operators
(``x.to``, ``x.sum`` …) are attached by `builtin.member` where the functions are defined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import types
from .aggregate import Recorded
from .constexpr import constexpr, unwrap

if TYPE_CHECKING:
    from ..ir import Value
    from .tuples import tuple as tl_tuple

__all__ = ["tensor"]


class tensor(Recorded):
    """``handle``: the SSA value; ``type``: a scalar, pointer or `block_type`.  Both must agree in shape."""

    __slots__ = ("handle", "type")

    def __init__(self, handle: Value, type: types.dtype):
        self.handle, self.type = handle, type

    @property
    def dtype(self) -> types.dtype:
        """The type of one element."""
        return self.type.scalar

    @property
    def shape(self) -> tl_tuple:
        """Its dimensions as constexprs; empty for a scalar."""
        return tuples.tuple([constexpr(d) for d in self.type.shape])

    @property
    def numel(self) -> constexpr:
        return constexpr(self.type.numel)

    @property
    def rank(self) -> int:
        return len(self.type.shape)

    @property
    def T(self) -> tensor:
        return shaping.trans(self)

    # --- what a value made of SSA values answers (see aggregate.py) ---

    def flatten(self) -> list[Value]:
        return [self.handle]

    def unflatten(self, values: Sequence[Value]) -> tensor:
        (handle,) = values
        return tensor(handle, self.type)

    def structure(self) -> types.dtype:
        return self.type

    # --- operators ---

    def __add__(self, other: Any) -> tensor:
        return arithmetic.add(self, other)

    def __radd__(self, other: Any) -> tensor:
        return arithmetic.add(other, self)

    def __sub__(self, other: Any) -> tensor:
        return arithmetic.sub(self, other)

    def __rsub__(self, other: Any) -> tensor:
        return arithmetic.sub(other, self)

    def __mul__(self, other: Any) -> tensor:
        return arithmetic.mul(self, other)

    def __rmul__(self, other: Any) -> tensor:
        return arithmetic.mul(other, self)

    def __truediv__(self, other: Any) -> tensor:
        return arithmetic.truediv(self, other)

    def __rtruediv__(self, other: Any) -> tensor:
        return arithmetic.truediv(other, self)

    def __floordiv__(self, other: Any) -> tensor:
        return arithmetic.floordiv(self, other)

    def __rfloordiv__(self, other: Any) -> tensor:
        return arithmetic.floordiv(other, self)

    def __mod__(self, other: Any) -> tensor:
        return arithmetic.mod(self, other)

    def __rmod__(self, other: Any) -> tensor:
        return arithmetic.mod(other, self)

    def __pow__(self, other: Any) -> tensor:
        raise TypeError(f"** is not an operator of tensors (its base here is {self.type}); multiply, or use tl.exp2 or libdevice.pow(x, y)")

    __rpow__ = __pow__

    def __matmul__(self, other: Any) -> tensor:
        raise TypeError(f"@ is not an operator of tensors (its left operand here is {self.type}); use tl.dot(x, y)")

    def __lshift__(self, other: Any) -> tensor:
        return arithmetic.shl(self, other)

    def __rlshift__(self, other: Any) -> tensor:
        return arithmetic.shl(other, self)

    def __rshift__(self, other: Any) -> tensor:
        return arithmetic.shr(self, other)

    def __rrshift__(self, other: Any) -> tensor:
        return arithmetic.shr(other, self)

    def __and__(self, other: Any) -> tensor:
        return arithmetic.bitwise("and", self, other)

    def __rand__(self, other: Any) -> tensor:
        return arithmetic.bitwise("and", other, self)

    def __or__(self, other: Any) -> tensor:
        return arithmetic.bitwise("or", self, other)

    def __ror__(self, other: Any) -> tensor:
        return arithmetic.bitwise("or", other, self)

    def __xor__(self, other: Any) -> tensor:
        return arithmetic.bitwise("xor", self, other)

    def __rxor__(self, other: Any) -> tensor:
        return arithmetic.bitwise("xor", other, self)

    def __neg__(self) -> tensor:
        return arithmetic.negate(self)

    def __pos__(self) -> tensor:
        return self

    def __invert__(self) -> tensor:
        return arithmetic.invert(self)

    def __abs__(self) -> tensor:
        return arithmetic.absolute(self)

    def __lt__(self, other: Any) -> tensor:
        return arithmetic.compare("lt", self, other)

    def __le__(self, other: Any) -> tensor:
        return arithmetic.compare("le", self, other)

    def __gt__(self, other: Any) -> tensor:
        return arithmetic.compare("gt", self, other)

    def __ge__(self, other: Any) -> tensor:
        return arithmetic.compare("ge", self, other)

    def __eq__(self, other: Any) -> tensor:  # type: ignore[override]
        return arithmetic.compare("eq", self, other)

    def __ne__(self, other: Any) -> tensor:  # type: ignore[override]
        return arithmetic.compare("ne", self, other)

    __hash__ = object.__hash__  # by identity: == records a comparison

    # `and`, `or`, `not` of the source arrive under these names.

    def logical_and(self, other: Any) -> tensor:
        return arithmetic.logical("and", self, other)

    def logical_or(self, other: Any) -> tensor:
        return arithmetic.logical("or", self, other)

    def logical_not(self) -> tensor:
        return arithmetic.logical_not(self)

    not_ = logical_not

    def literal(self) -> bool | int | float | None:
        """Its number where it is a scalar constant, such as a variable set to a number; else None.

        Shapes, axes and conditions take such a scalar as a compile-time value.
        """
        op = getattr(self.handle, "op", None)
        if op is None or op.name != "constant" or self.type.is_block() or self.type.is_ptr():
            return None
        value = op.attrs["value"]
        if self.type.is_bool():
            return bool(value)
        return value % (1 << self.type.int_bitwidth) if self.type.is_int_unsigned() else value

    def known(self) -> Any:
        """Its numbers as a NumPy array where operations run at once (``TRITON_INTERPRET=1``), else None."""
        numpy = getattr(self.handle, "numpy", None)
        return None if numpy is None else numpy(not self.dtype.is_int_unsigned())

    def __bool__(self) -> bool:
        value = self.known()
        if value is not None and not self.type.is_block():
            return bool(value)
        if value is not None:
            raise TypeError(
                f"a value of type {self.type} has no one truth: `if` and `while` take scalars (and so do `and`, `or` and `not` in a function without "
                "source, which runs as Python alone); use tl.where, & | ~ with brackets, or reduce it first (tl.max, tl.sum)"
            )
        raise TypeError(
            f"the truth of a value of type {self.type} is known only when the kernel runs, but is needed while compiling; "
            "use tl.where, or make the value a tl.constexpr (a function in which `if` asks for it needs @triton.jit)"
        )

    def __index__(self) -> int:
        """An integer scalar's number where operations run at once: an index of Python's own lists, a bound of ``range``."""
        if not self.type.is_block() and self.type.is_int() and (value := self.known()) is not None:
            return int(value)
        raise TypeError(
            f"the number behind a value of type {self.type} is known only when the kernel runs, but is needed while compiling; "
            "make the value a tl.constexpr"
        )

    def __iter__(self) -> Any:
        raise TypeError(f"a value of type {self.type} cannot be iterated over or unpacked; use tl.split or tl.range")

    def __getitem__(self, index: Any) -> tensor:
        """Only ``None`` (a new dimension of size 1) and full slices; anything else needs tl.gather or pointers.

        As in Triton, ``:`` beyond the last dimension is nothing: kernels write ``scalar[None, :]`` and ``scalar[:, None]`` for a
        tile of one element.
        """
        index = unwrap(index)
        items = index if isinstance(index, (builtin_tuple, list, tuples.tuple)) else (index,)
        result, axis = self, 0
        for item in map(unwrap, items):
            if item is None:
                result = shaping.expand_dims(result, axis if self.rank else min(axis, result.rank))
            elif not _full_slice(item):
                if self.dtype.is_ptr():
                    remedy = "; memory is read by tl.load(pointer + index) and written by tl.store"
                else:
                    remedy = "; one element of a tile is tl.sum(tl.where(tl.arange(0, N) == i, x, 0)), many are tl.gather's"
                raise ValueError(
                    f"unsupported tensor index: {item}; only None and ':' are allowed (type of the tensor: {self.type}){remedy}"
                )
            axis += 1
        return result

    def __repr__(self) -> str:
        value = self.known()
        return f"tensor({repr(self.handle) if value is None else value}, {self.type})"

    def __str__(self) -> str:
        value = self.known()
        return str(value) if value is not None else f"{self.dtype}[{', '.join(map(repr, self.shape))}]"


def _full_slice(item: Any) -> bool:
    return isinstance(item, (slice, tuples.slice)) and all(unwrap(v) is None for v in (item.start, item.stop, item.step))


builtin_tuple = tuple

# The functions behind the operators make tensors themselves; they are looked up when an operator runs.
from . import arithmetic, shaping, tuples  # noqa: E402
