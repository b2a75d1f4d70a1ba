"""The types a kernel author sees: ``tl.float32``, ``tl.pointer_type(tl.float16)``, ``tl.block_type(tl.int32, [64])``.

They mirror Triton's type objects: same names, same predicates (which are methods: ``x.dtype.is_fp16()``).
Unlike the types of the tile IR they carry the sign of integers and the ``const`` of pointers; `dtype.to_ir`
drops both.  Three spellings exist for each scalar type:

    attribute of ``tl``   ``float16``   ``int8``   ``uint8``   ``float8e4nv``     (`dtype.codegen_name`, ``repr``)
    ``.name``, ``str``    ``fp16``      ``int8``   ``uint8``   ``fp8e4nv``
    signature             ``fp16``      ``i8``     ``u8``      ``fp8e4nv``        (`dtype.mangle`, `parse_signature_type`)

Type objects are immutable and compare by structure; the scalar ones are singletons.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..ir import types as ir_types
from ..ir.types import Type
from .mistakes import Mistake

__all__ = [
    "TRITON_MAX_TENSOR_NUMEL",
    "dtype",
    "pointer_type",
    "block_type",
    "tuple_type",
    "Slot",
    "tensor_descriptor_type",
    "const",
    "make_block",
    "parse_signature_type",
    "str_to_ty",
    "SCALARS",
    "void",
    "int1",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float8e5",
    "float8e5b16",
    "float8e4nv",
    "float8e4b8",
    "float8e4b15",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "pi32_t",
]

TRITON_MAX_TENSOR_NUMEL = 1048576

# name → (IR element, fraction bits, exponent bias)
_FLOATS: dict[str, ir_types.Float] = {
    "fp8e4b15": ir_types.F8E4B15,
    "fp8e4nv": ir_types.F8E4M3,
    "fp8e4b8": ir_types.F8E4B8,
    "fp8e5": ir_types.F8E5M2,
    "fp8e5b16": ir_types.F8E5B16,
    "fp16": ir_types.F16,
    "bf16": ir_types.BF16,
    "fp32": ir_types.F32,
    "fp64": ir_types.F64,
}
# int1 counts as unsigned, which libraries ask for: its values are 0 and 1, its sum is a uint32.
_SIGNED = ("int8", "int16", "int32", "int64")
_UNSIGNED = ("int1", "uint8", "uint16", "uint32", "uint64")


class dtype:
    """A scalar type by its short name (``"fp32"``, ``"int8"``, ``"void"`` …), and the base of all types.

    A dtype is callable inside a kernel: ``tl.float32(x)`` converts.  Raises ValueError for an unknown name.
    """

    SINT_TYPES = list(_SIGNED)
    UINT_TYPES = list(_UNSIGNED)
    FP_TYPES = list(_FLOATS)
    STANDARD_FP_TYPES = ["fp16", "bf16", "fp32", "fp64"]
    OTHER_TYPES = ["void"]

    class SIGNEDNESS(enum.Enum):
        SIGNED = 0
        UNSIGNED = 1

    class KIND(enum.Enum):
        BOOLEAN = 0
        INTEGRAL = 1
        FLOATING = 2

    def __init__(self, name: Any):
        name = getattr(name, "value", name)
        if name in _FLOATS:
            f = _FLOATS[name]
            bits = f.bits
            self.fp_mantissa_width, self.exponent_bias = f.mantissa, f.bias
        elif name in _SIGNED or name in _UNSIGNED:
            bits = int(name.rpartition("int")[2])
            self.int_signedness = dtype.SIGNEDNESS.SIGNED if name in _SIGNED else dtype.SIGNEDNESS.UNSIGNED
            self.int_bitwidth = bits
        elif name == "void":
            bits = 0
        else:
            raise ValueError(f"there is no dtype called {name!r}; the names are {', '.join((*_SIGNED, *_UNSIGNED, *_FLOATS))} and void")
        self.name: str = name
        self.primitive_bitwidth: int = bits
        self.itemsize: int = bits // 8

    # --- what kind of type it is ---

    def is_fp8(self) -> bool:
        return self.name.startswith("fp8")

    def is_fp8e4nv(self) -> bool:
        return self.name == "fp8e4nv"

    def is_fp8e4b8(self) -> bool:
        return self.name == "fp8e4b8"

    def is_fp8e4b15(self) -> bool:
        return self.name == "fp8e4b15"

    def is_fp8e5(self) -> bool:
        return self.name == "fp8e5"

    def is_fp8e5b16(self) -> bool:
        return self.name == "fp8e5b16"

    def is_fp16(self) -> bool:
        return self.name == "fp16"

    def is_bf16(self) -> bool:
        return self.name == "bf16"

    def is_fp32(self) -> bool:
        return self.name == "fp32"

    def is_fp64(self) -> bool:
        return self.name == "fp64"

    def is_int1(self) -> bool:
        return self.name == "int1"

    def is_int8(self) -> bool:
        return self.name == "int8"

    def is_int16(self) -> bool:
        return self.name == "int16"

    def is_int32(self) -> bool:
        return self.name == "int32"

    def is_int64(self) -> bool:
        return self.name == "int64"

    def is_uint8(self) -> bool:
        return self.name == "uint8"

    def is_uint16(self) -> bool:
        return self.name == "uint16"

    def is_uint32(self) -> bool:
        return self.name == "uint32"

    def is_uint64(self) -> bool:
        return self.name == "uint64"

    def is_floating(self) -> bool:
        return self.name in _FLOATS

    def is_standard_floating(self) -> bool:
        return self.name in dtype.STANDARD_FP_TYPES

    def is_int_signed(self) -> bool:
        return self.name in _SIGNED

    def is_int_unsigned(self) -> bool:
        return self.name in _UNSIGNED

    def is_int(self) -> bool:
        return self.name in _SIGNED or self.name in _UNSIGNED

    def is_bool(self) -> bool:
        return self.is_int1()

    def is_void(self) -> bool:
        return self.name == "void"

    @staticmethod
    def is_block() -> bool:
        return False

    @staticmethod
    def is_ptr() -> bool:
        return False

    @staticmethod
    def is_const() -> bool:
        return False

    @staticmethod
    def is_tuple() -> bool:
        return False

    @staticmethod
    def is_dtype(type_str: str) -> bool:
        """Whether there is a scalar type of that short name."""
        return type_str in _FLOATS or type_str in _SIGNED or type_str in _UNSIGNED or type_str == "void"

    def kind(self) -> dtype.KIND:
        """Its place in bool < int < float.  Raises TypeError for void, pointers and aggregates."""
        if self.is_bool():
            return dtype.KIND.BOOLEAN
        if self.is_int():
            return dtype.KIND.INTEGRAL
        if self.is_floating():
            return dtype.KIND.FLOATING
        raise TypeError(f"{self} is neither boolean, integral nor floating")

    def get_int_max_value(self) -> int:
        if self.is_int_signed():
            return (1 << (self.int_bitwidth - 1)) - 1
        if self.is_int_unsigned():
            return (1 << self.int_bitwidth) - 1
        raise TypeError(f"{self} is not an integer type")

    def get_int_min_value(self) -> int:
        if self.is_int_signed():
            return -(1 << (self.int_bitwidth - 1))
        if self.is_int_unsigned():
            return 0
        raise TypeError(f"{self} is not an integer type")

    # --- shape: a scalar is a tile of rank 0 ---

    @property
    def scalar(self) -> dtype:
        """The type of one element."""
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    @property
    def numel(self) -> int:
        return 1

    def get_block_shapes(self) -> tuple[int, ...]:
        return self.shape

    def with_element_ty(self, element_ty: dtype) -> dtype:
        """The type of this shape that holds ``element_ty``."""
        return element_ty

    # --- other spellings ---

    def codegen_name(self) -> str:
        """Its attribute name in ``triton.language``."""
        if self.name.startswith("fp"):
            return "float" + self.name[2:]
        return "bfloat16" if self.name == "bf16" else self.name

    def mangle(self) -> str:
        """Its spelling in signatures: ``i32``, ``u8``, ``fp16``, ``i1``."""
        if self.is_int_unsigned() and not self.is_bool():
            return "u" + self.name[4:]
        return "i" + self.name[3:] if self.is_int() else self.name

    @property
    def cache_key_part(self) -> str:
        return self.name

    def element(self) -> ir_types.Element:
        """What one lane holds in the tile IR."""
        if self.name in _FLOATS:
            return _FLOATS[self.name]
        if self.is_int():
            return ir_types.int_element(self.primitive_bitwidth)
        raise TypeError(f"no value can have the type {self}")

    def to_ir(self, builder: Any = None) -> Type:
        """The tile-IR type of a value of this type; sign and const are dropped.  ``builder`` is not used."""
        return Type.of(self.element(), self.shape)

    def __call__(self, x: Any, **ignored: Any) -> Any:
        """Inside a kernel: ``x`` converted to this type."""
        from .casting import cast

        return cast(x, self)

    def __eq__(self, other: object) -> bool:
        other = getattr(other, "value", other)
        return type(other) is type(self) and other.name == self.name  # type: ignore[attr-defined]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"triton.language.{self.codegen_name()}"


class pointer_type(dtype):
    """Pointer to ``element_ty``; ``const`` ones (signature ``*k…``) may not be stored to."""

    def __init__(self, element_ty: Any, address_space: Any = "global", const: bool = False):
        element_ty = getattr(element_ty, "value", element_ty)
        if not isinstance(element_ty, dtype):
            raise TypeError(f"a pointer's element_ty must be a dtype, not {type(element_ty).__name__}")
        self.element_ty, self.address_space, self.const = element_ty, address_space, bool(const)
        self.name = f"{'const_' if const else ''}pointer<{element_ty}>"
        self.primitive_bitwidth, self.itemsize = 64, 8

    @staticmethod
    def is_ptr() -> bool:
        return True

    def is_const(self) -> bool:  # type: ignore[override]
        return self.const

    def codegen_name(self) -> str:
        return self.name

    def mangle(self) -> str:
        return ("Pk" if self.const else "P") + self.element_ty.mangle()

    def element(self) -> ir_types.Element:
        return ir_types.ptr_element(self.element_ty.element())

    def __repr__(self) -> str:
        return f"pointer_type({self.element_ty!r}{', const=True' if self.const else ''})"

    __hash__ = dtype.__hash__


class block_type(dtype):
    """A tile: ``shape`` elements of the scalar or pointer type ``element_ty``.

    Raises ValueError where a dimension is no power of two or there are more than `TRITON_MAX_TENSOR_NUMEL` elements.
    """

    def __init__(self, element_ty: dtype, shape: Sequence[Any]):
        dims = tuple(int(getattr(d, "value", d)) for d in shape)
        if not dims:
            raise TypeError("a block type needs at least one dimension; use the scalar type itself for none")
        numel = 1
        for i, d in enumerate(dims):
            if d < 1 or d & (d - 1):
                raise Mistake(f"Shape element {i} must be a power of 2", f"the shape is {list(dims)}; round it up and mask")
            numel *= d
        if numel > TRITON_MAX_TENSOR_NUMEL:
            raise ValueError(f"numel ({numel}) exceeds triton maximum tensor numel ({TRITON_MAX_TENSOR_NUMEL}); the shape is {list(dims)}")
        self.element_ty, self._shape, self._numel = element_ty, dims, numel
        self.name = f"<{list(map(str, dims))}, {element_ty}>"
        self.primitive_bitwidth, self.itemsize = element_ty.primitive_bitwidth, element_ty.itemsize

    @staticmethod
    def is_block() -> bool:
        return True

    @property
    def scalar(self) -> dtype:
        return self.element_ty

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def numel(self) -> int:
        return self._numel

    @property
    def nbytes(self) -> int:
        return self._numel * self.element_ty.primitive_bitwidth // 8

    def with_element_ty(self, element_ty: dtype) -> dtype:
        return make_block(element_ty, self._shape)

    def mangle(self) -> str:
        return f"{self.element_ty.mangle()}S{'_'.join(map(str, self._shape))}S"

    def codegen_name(self) -> str:
        return self.name

    def element(self) -> ir_types.Element:
        return self.element_ty.element()

    def __str__(self) -> str:
        return f"{self.element_ty}[{', '.join(map(str, self._shape))}]"

    def __repr__(self) -> str:
        return f"block_type({self.element_ty!r}, {list(self._shape)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, block_type) and other._shape == self._shape and other.element_ty == self.element_ty

    def __hash__(self) -> int:
        return hash((self._shape, self.element_ty.name))


class tuple_type(dtype):
    """The type of a ``tl.tuple``: one type per element, and the names of its fields if it is a named tuple."""

    def __init__(self, types: Sequence[Any], fields: Sequence[str] | None = None):
        self.types = list(types)
        self.fields = list(fields) if fields else None
        inner = [f"{f}:{t}" for f, t in zip(self.fields, self.types)] if self.fields else [str(t) for t in self.types]
        self.name = "[" + ",".join(inner) + "]"
        self.primitive_bitwidth = self.itemsize = 0

    @staticmethod
    def is_tuple() -> bool:
        return True

    def codegen_name(self) -> str:
        return self.name

    def mangle(self) -> str:
        return "T" + "_".join(t.mangle() for t in self.types) + "T"

    def __iter__(self) -> Iterator[Any]:
        return iter(self.types)

    def __len__(self) -> int:
        return len(self.types)

    def __getitem__(self, index: int) -> Any:
        return self.types[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, tuple_type):
            return NotImplemented  # the type of a constant tuple (`constexpr_type`) knows how to compare
        return other.types == self.types and other.fields == self.fields

    __hash__ = dtype.__hash__


class Slot(NamedTuple):
    """One run-time value of a descriptor parameter: suffix of its name, type, and what divides it (bytes for the pointer)."""

    suffix: str
    type: dtype
    divisor: int


class tensor_descriptor_type(dtype):
    """The type of a tensor descriptor which moves blocks of ``block_type``; reads outside give ``padding`` ("zero" or "nan").

    In signatures ``tensordesc<fp16[64,64]>``, with padding ``tensordesc<fp16[64,64],nan>``.
    """

    def __init__(self, block_type: block_type, padding: str = "zero"):
        self.block_type, self.padding = block_type, padding
        self.name = f"tensordesc<{block_type}{'' if padding == 'zero' else ', ' + padding}>"
        self.primitive_bitwidth = self.itemsize = 0

    def slots(self) -> list[Slot]:
        """What a kernel's parameter of this type stands for: base, extents, and all strides but the last, which is 1.

        The divisors hold for every `TensorDescriptor`: its base and its strides are aligned to 16 bytes.
        """
        element, rank = self.block_type.element_ty, len(self.block_type.shape)
        return [
            Slot("base", pointer_type(element), 16),
            *(Slot(f"shape_{i}", int32, 1) for i in range(rank)),
            *(Slot(f"stride_{i}", int64, max(16 // element.itemsize, 1)) for i in range(rank - 1)),
        ]

    def mangle(self) -> str:
        return f"tensordesc<{self.block_type.element_ty.mangle()}[{','.join(map(str, self.block_type.shape))}]{'' if self.padding == 'zero' else ',' + self.padding}>"

    def codegen_name(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"tensor_descriptor_type({self.block_type!r}, {self.padding!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tensor_descriptor_type) and other.block_type == self.block_type and other.padding == self.padding

    __hash__ = dtype.__hash__


class const:
    """Annotation of a pointer parameter that the kernel only reads: ``x_ptr: tl.const``."""


void = dtype("void")
int8, int16, int32, int64 = (dtype(n) for n in _SIGNED)
int1, uint8, uint16, uint32, uint64 = (dtype(n) for n in _UNSIGNED)
float8e4b15, float8e4nv, float8e4b8 = dtype("fp8e4b15"), dtype("fp8e4nv"), dtype("fp8e4b8")
float8e5, float8e5b16 = dtype("fp8e5"), dtype("fp8e5b16")
float16, bfloat16, float32, float64 = dtype("fp16"), dtype("bf16"), dtype("fp32"), dtype("fp64")
pi32_t = pointer_type(int32)

SCALARS: tuple[dtype, ...] = (
    *(int1, int8, int16, int32, int64, uint8, uint16, uint32, uint64),
    *(float8e4b15, float8e4nv, float8e4b8, float8e5, float8e5b16, float16, bfloat16, float32, float64),
)
_BY_SIGNATURE: dict[str, dtype] = {t.mangle(): t for t in SCALARS}
_BY_SIGNATURE.update({t.name: t for t in SCALARS}, u1=int1, void=void)

_blocks: dict[tuple[dtype, tuple[int, ...]], block_type] = {}


def make_block(element_ty: dtype, shape: tuple[int, ...]) -> dtype:
    """The type of a tile of ``shape``; the scalar type itself where the shape is empty.  Interned."""
    if not shape:
        return element_ty
    key = (element_ty, shape)
    got = _blocks.get(key)
    if got is None:
        got = _blocks[key] = block_type(element_ty, shape)
    return got


_DESCRIPTOR = re.compile(r"tensordesc<\s*([\w.]+)\s*\[([\d,\s]+)\]\s*(?:,\s*(zero|nan)\s*)?>")


def parse_signature_type(text: str) -> dtype:
    """The type that a signature spells: ``i32``, ``u64``, ``fp32``, ``*fp16``, ``*ki8``, ``**fp32``, ``tensordesc<fp16[64,64]>``.

    Raises ValueError for what is no type.
    """
    text = text.strip()
    if text.startswith("*"):
        is_const = text.startswith("*k")
        return pointer_type(parse_signature_type(text[2 if is_const else 1 :]), const=is_const)
    if text.startswith("tensordesc"):
        parts = _DESCRIPTOR.fullmatch(text)
        if parts is None:
            raise ValueError(f"{text!r} is not a type of a tensor descriptor; write for example tensordesc<fp16[64,64]>")
        element, shape, padding = parts.groups()
        block = block_type(parse_signature_type(element), [int(n) for n in shape.split(",")])
        return tensor_descriptor_type(block, padding or "zero")
    try:
        return _BY_SIGNATURE[text]
    except KeyError:
        raise ValueError(f"{text!r} is not a type of a kernel parameter; write for example i32, fp32 or *fp16") from None


def str_to_ty(name: str, c: Any = None) -> dtype:
    """`parse_signature_type` under the name that tests and libraries import; ``c`` is ignored."""
    return parse_signature_type(name)
