"""The one table of operations.

Each row says an operation's name, operands, attributes, how its result types follow, what it does besides
computing (effects) and what it means.  Builder, verifier, printer, parser, CSE key, reference executor and
docs/ir-reference.md all read these rows; adding an operation means adding a row here and its meaning in
`targets/reference`.  How types follow and what is checked are functions of `op_rules`.

Operand spelling: ``"x"`` required, ``"mask?"`` optional (None when absent), ``"inits*"`` zero or more, last.
Attributes are (name, kind) with kinds int, number, bool, str, ints, elem, strs; a default makes one optional.

Conventions that hold for every row
- Elementwise operations take operands of one shape and give that shape; nothing broadcasts implicitly.
- Integer arithmetic wraps.  Division by zero and shifts by the width or more give an unspecified value but
  never trap: a target must guard.  Float arithmetic is IEEE 754 in the element's own format; formats below
  32 bits may be computed in f32 and rounded once.
- Memory is byte-addressed little-endian; ``i1`` lives in a byte.  Addresses of masked-off lanes are never
  touched, and such a lane of a load without ``other`` is zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import IRError
from .op_rules import (
    CMP_FLOAT,
    CMP_INT,
    Check,
    Infer,
    addptr,
    bitcast,
    bool_like,
    broadcast,
    cast,
    cmp_floats,
    cmp_ints,
    dot,
    expand,
    floats,
    ints,
    memory,
    nothing,
    permuted,
    pointee,
    reduced,
    reshape,
    same,
    select,
    shaped,
    to,
    uniform_types,
    window,
)
from .types import I32, I64, scalar, tile

__all__ = ["Effect", "OpDef", "TABLE", "CMP_INT", "CMP_FLOAT", "RMW_KINDS", "MATH_UNARY", "MATH_BINARY"]


class Effect:
    """Bits of `OpDef.effects`: plain integers, since every pass asks for them of every operation."""

    NONE = 0
    READ = 1  # reads global memory
    WRITE = 2  # writes global memory
    SYNC = 4  # orders memory accesses around it
    IO = 8  # visible outside (print, assert)


_REQUIRED = object()


@dataclass(frozen=True, eq=False)
class OpDef:
    name: str
    operands: tuple[str, ...]
    attrs: dict[str, tuple[str, Any]]
    infer: Infer | None
    doc: str
    group: str
    effects: int = Effect.NONE
    elementwise: bool = False
    commutative: bool = False
    n_blocks: int = 0
    terminator: bool = False
    check: Check | None = None
    index: dict[str, int] = field(default_factory=dict)
    n_fixed: int = 0
    variadic: bool = False

    def __post_init__(self) -> None:
        for i, spec in enumerate(self.operands):
            self.index[spec.rstrip("?*")] = i
            if spec.endswith("*") and i != len(self.operands) - 1:
                raise IRError(f"{self.name}: only the last operand may be variadic")
        object.__setattr__(self, "variadic", bool(self.operands) and self.operands[-1].endswith("*"))
        object.__setattr__(self, "n_fixed", len(self.operands) - self.variadic)
        object.__setattr__(self, "optional", tuple(s.endswith("?") for s in self.operands[: len(self.operands) - self.variadic]))

    optional: tuple[bool, ...] = ()

    @property
    def pure(self) -> bool:
        return not self.effects and not self.terminator

    def index_of(self, name: str) -> int:
        return self.index[name]

    def required_attr(self, name: str) -> bool:
        return self.attrs[name][1] is _REQUIRED


TABLE: dict[str, OpDef] = {}


def _row(name: str, operands: str, infer: Infer | None, doc: str, group: str, **kw: Any) -> None:
    attrs = {}
    for spec in kw.pop("attrs", ()):
        n, kind, *default = spec
        attrs[n] = (kind, default[0] if default else _REQUIRED)
    if name in TABLE:
        raise IRError(f"operation {name} is declared twice")
    TABLE[name] = OpDef(name, tuple(operands.split()), attrs, infer, doc, group, **kw)


# --- the rows -------------------------------------------------------------------------------------------

RMW_KINDS = ("add", "fadd", "and", "or", "xor", "smax", "smin", "umax", "umin", "fmax", "fmin", "xchg")
_SEM = ("sem", "str", "acq_rel")
_SCOPE = ("scope", "str", "gpu")

_g = "constants and indices"
_row("constant", "", lambda t, a: (a["type"],), "`value` in every lane.", _g, attrs=[("value", "number"), ("type", "type")])
_row(
    "arange",
    "",
    lambda t, a: (tile((a["end"] - a["start"],), I32),),
    "start, start + 1, … end − 1 as i32.",
    _g,
    attrs=[("start", "int"), ("end", "int")],
)
_row("program_id", "", lambda t, a: (scalar(I32),), "Index of this program along grid `axis`.", _g, attrs=[("axis", "int")])
_row("num_programs", "", lambda t, a: (scalar(I32),), "Extent of grid `axis`.", _g, attrs=[("axis", "int")])

_g = "shape"
_row("splat", "x", shaped, "The scalar in every lane of `shape`.", _g, attrs=[("shape", "ints")])
_row(
    "broadcast",
    "x",
    shaped,
    "Dimensions of size 1 repeated up to `shape`; ranks are equal.",
    _g,
    attrs=[("shape", "ints")],
    check=broadcast,
)
_row("expand_dims", "x", expand, "A dimension of size 1 inserted at `axis`.", _g, attrs=[("axis", "int")])
_row("reshape", "x", shaped, "The same elements in row-major order under another shape.", _g, attrs=[("shape", "ints")], check=reshape)
_row("permute", "x", permuted, "result.shape[i] = x.shape[order[i]].", _g, attrs=[("order", "ints")])
_row(
    "join",
    "x y",
    lambda t, a: (t[0].with_shape((*t[0].shape, 2)),),
    "Stacked along a new minor dimension of size 2.",
    _g,
    check=uniform_types,
)
_row(
    "split",
    "x",
    lambda t, a: (t[0].with_shape(t[0].shape[:-1]),) * 2,
    "The two halves of the minor dimension, which is 2: inverse of join.",
    _g,
)
_row(
    "gather",
    "x index",
    lambda t, a: (t[1].with_elem(t[0].elem),),
    "result[i…] = x[i… with coordinate `axis` replaced by index[i…]].",
    _g,
    attrs=[("axis", "int")],
)
_row(
    "histogram",
    "x mask?",
    lambda t, a: (tile((a["bins"],), I32),),
    "Counts of the values 0 … bins − 1 of a rank-1 integer tile; others and masked-off lanes are not counted.",
    _g,
    attrs=[("bins", "int")],
)

_row(
    "sort",
    "x",
    same,
    "The last dimension in rising order (falling when `descending`); `kind` is 'float', 'signed' or 'unsigned'. "
    "Where the order of NaN ends up is unspecified.",
    _g,
    attrs=[("kind", "str"), ("descending", "bool", False)],
)

_g = "integer arithmetic"
for _n, _doc in {
    "add": "x + y",
    "mul": "x · y",
    "and": "x & y",
    "or": "x | y",
    "xor": "x ^ y",
    "smin": "signed minimum",
    "smax": "signed maximum",
    "umin": "unsigned minimum",
    "umax": "unsigned maximum",
    "smulhi": "high half of the signed product",
    "umulhi": "high half of the unsigned product",
}.items():
    _row(_n, "x y", same, _doc, _g, elementwise=True, commutative=True, check=ints)
for _n, _doc in {
    "sub": "x − y",
    "sdiv": "x / y towards zero, signed",
    "udiv": "x / y, unsigned",
    "srem": "x − y·trunc(x / y), signed",
    "urem": "remainder, unsigned",
    "shl": "x shifted left by y",
    "lshr": "x shifted right by y, zeros enter",
    "ashr": "x shifted right by y, the sign enters",
}.items():
    _row(_n, "x y", same, _doc, _g, elementwise=True, check=ints)
_row("iabs", "x", same, "absolute value, signed", _g, elementwise=True, check=ints)
for _n, _doc in {"popc": "number of ones", "clz": "number of leading zeros", "brev": "bits reversed"}.items():
    _row(_n, "x", same, _doc, _g, elementwise=True, check=ints)

_g = "float arithmetic"
for _n, _doc in {
    "fadd": "x + y",
    "fmul": "x · y",
    "fmin": "minimum; the other operand where one is NaN",
    "fmax": "maximum; the other operand where one is NaN",
    "fminimum": "minimum; NaN where either is",
    "fmaximum": "maximum; NaN where either is",
}.items():
    _row(_n, "x y", same, _doc, _g, elementwise=True, commutative=True, check=floats)
_row("fsub", "x y", same, "x − y", _g, elementwise=True, check=floats)
_row(
    "fdiv",
    "x y",
    same,
    "x / y; `precise` asks for IEEE rounding where a target's default is approximate (GPU f32).",
    _g,
    elementwise=True,
    check=floats,
    attrs=[("precise", "bool", False)],
)
_row("frem", "x y", same, "C fmod: x − y·trunc(x / y), exact", _g, elementwise=True, check=floats)
_row("fneg", "x", same, "−x: flips the sign bit", _g, elementwise=True, check=floats)
_row("fabs", "x", same, "|x|: clears the sign bit", _g, elementwise=True, check=floats)
_row("fma", "x y z", same, "x·y + z rounded once", _g, elementwise=True, check=floats)
_row(
    "sqrt",
    "x",
    same,
    "√x; `precise` as for fdiv",
    _g,
    elementwise=True,
    check=floats,
    attrs=[("precise", "bool", False)],
)

# Mathematical functions of f32 and f64.  Expanded by passes/expand_math unless the target has them natively.
MATH_UNARY = (
    "exp exp2 exp10 expm1 log log2 log10 log1p sin cos tan sinpi cospi asin acos atan sinh cosh tanh asinh acosh atanh "
    "erf erfc erfinv erfcinv erfcx normcdf normcdfinv lgamma tgamma cbrt rcbrt rsqrt floor ceil trunc rint round "
    "j0 j1 y0 y1 cyl_bessel_i0 cyl_bessel_i1 logb"
).split()
MATH_BINARY = "pow atan2 hypot rhypot copysign nextafter fdim remainder".split()
_g = "mathematical functions"
for _n in MATH_UNARY:
    _d = {
        "rsqrt": "1 / √x",
        "rint": "nearest integer, ties to even",
        "round": "nearest integer, ties away from zero",
        "trunc": "towards zero",
    }.get(_n, f"{_n}(x) as in C's math.h or CUDA's libdevice")
    _row(_n, "x", same, _d, _g, elementwise=True, check=floats)
for _n in MATH_BINARY:
    _row(_n, "x y", same, f"{_n}(x, y) as in C's math.h or CUDA's libdevice", _g, elementwise=True, check=floats)

_g = "comparison and choice"
_row("icmp", "x y", bool_like, f"One of {', '.join(CMP_INT)}.", _g, elementwise=True, attrs=[("pred", "str")], check=cmp_ints)
_row(
    "fcmp",
    "x y",
    bool_like,
    f"One of {', '.join(CMP_FLOAT)}: o… is false where an operand is NaN, u… true.",
    _g,
    elementwise=True,
    attrs=[("pred", "str")],
    check=cmp_floats,
)
_row("select", "cond x y", lambda t, a: (t[1],), "x where cond, else y.", _g, elementwise=True, check=select)

_g = "conversion"
_TO = [("to", "elem")]
_row("sext", "x", to, "Wider integer, sign extended.", _g, elementwise=True, attrs=_TO, check=cast("int", "int", "<"))
_row("zext", "x", to, "Wider integer, zero extended.", _g, elementwise=True, attrs=_TO, check=cast("int", "int", "<"))
_row("trunci", "x", to, "Narrower integer: the low bits.", _g, elementwise=True, attrs=_TO, check=cast("int", "int", ">"))
_row("sitofp", "x", to, "Signed integer to float, to nearest even.", _g, elementwise=True, attrs=_TO, check=cast("int", "float"))
_row("uitofp", "x", to, "Unsigned integer to float, to nearest even.", _g, elementwise=True, attrs=_TO, check=cast("int", "float"))
_row(
    "fptosi",
    "x",
    to,
    "Float to signed integer towards zero; unspecified out of range.",
    _g,
    elementwise=True,
    attrs=_TO,
    check=cast("float", "int"),
)
_row(
    "fptoui",
    "x",
    to,
    "Float to unsigned integer towards zero; unspecified out of range.",
    _g,
    elementwise=True,
    attrs=_TO,
    check=cast("float", "int"),
)
_row(
    "fpcast",
    "x",
    to,
    "Float format to float format, rounded to nearest even (`rounding` 'rtne') or towards zero ('rtz'). "
    "Into an 8-bit format it saturates to the largest finite value; NaN stays NaN.",
    _g,
    elementwise=True,
    attrs=[("to", "elem"), ("rounding", "str", "rtne")],
    check=cast("float", "float"),
)
_row("bitcast", "x", to, "The same bits under another element of the same width.", _g, elementwise=True, attrs=_TO, check=bitcast)
_row("ptrtoint", "x", to, "The address as i64.", _g, elementwise=True, attrs=_TO, check=cast("ptr", "int"))
_row("inttoptr", "x", to, "An i64 as an address.", _g, elementwise=True, attrs=_TO, check=cast("int", "ptr"))

_g = "memory"
_row("addptr", "ptr offset", same, "The pointer moved by `offset` elements of its pointee.", _g, elementwise=True, check=addptr)
_CACHE = [("cache", "str", ""), ("evict", "str", "")]
_row(
    "load",
    "ptr mask? other?",
    pointee,
    "The value at each address; `other` (zero if absent) where the mask is off.",
    _g,
    effects=Effect.READ,
    attrs=[*_CACHE, ("volatile", "bool", False)],
    check=memory,
)
_row("store", "ptr value mask?", nothing, "Writes `value` where the mask is on.", _g, effects=Effect.WRITE, attrs=_CACHE, check=memory)
_row(
    "atomic_rmw",
    "ptr value mask?",
    lambda t, a: (t[1],),
    f"Atomic read-modify-write; gives the old value (zero in masked-off lanes). `kind` is one of {', '.join(RMW_KINDS)}.",
    _g,
    effects=Effect.READ | Effect.WRITE,
    attrs=[("kind", "str"), _SEM, _SCOPE],
    check=memory,
)
_row(
    "atomic_cas",
    "ptr cmp value",
    lambda t, a: (t[1],),
    "Atomic compare and swap by bit pattern; gives the old value.",
    _g,
    effects=Effect.READ | Effect.WRITE,
    attrs=[_SEM, _SCOPE],
    check=memory,
)
_row("barrier", "", nothing, "All threads of the program reach it; memory written before is visible after.", _g, effects=Effect.SYNC)

_g = "reduction"
_row(
    "reduce",
    "xs*",
    reduced,
    "Combines the tiles along `axis` by the block (2n scalars to n), in unspecified association; `axis` goes away.",
    _g,
    attrs=[("axis", "int")],
    n_blocks=1,
)
_row(
    "scan",
    "xs*",
    lambda t, a: tuple(t),
    "Inclusive prefix combination along `axis` by the block; from the end when `reverse`.",
    _g,
    attrs=[("axis", "int"), ("reverse", "bool", False)],
    n_blocks=1,
)
_row(
    "map",
    "xs*",
    None,
    "The block (n·pack scalars to m·pack) applied to every lane, `pack` consecutive lanes of the minor dimension "
    "at a time: operands first by tile, then by lane.",
    _g,
    attrs=[("pack", "int", 1)],
    n_blocks=1,
)
_row(
    "dot",
    "a b acc",
    lambda t, a: (t[2],),
    "a[…MK] · b[…KN] + acc. `precision`: 'ieee', 'tf32', 'tf32x3', 'bf16x3', 'bf16x6' for f32 operands; "
    "`imprecise` is Hopper's max_num_imprecise_acc for fp8.",
    _g,
    attrs=[("precision", "str", "ieee"), ("imprecise", "int", 0)],
    check=dot,
)

_g = "control flow"
_row(
    "for",
    "lb ub step inits*",
    lambda t, a: tuple(t[3:]),
    "block(iv, *carried) for iv = lb, lb + step … below ub (above it when step < 0); the block yields the carried values. "
    "Bounds share one integer type; `num_stages`, `unroll`, `flatten`, `warp_specialize` and `disable_licm` are "
    "hints; `unsigned` makes the bounds unsigned.",
    _g,
    attrs=[
        ("num_stages", "int", 0),
        ("unroll", "int", 0),
        ("flatten", "bool", False),
        ("warp_specialize", "bool", False),
        ("disable_licm", "bool", False),
        ("unsigned", "bool", False),
    ],
    n_blocks=1,
)
_row(
    "while",
    "inits*",
    lambda t, a: tuple(t),
    "First block: carried values to `condition`(i1, *values); while it holds, the second block maps those values to the next (yield). "
    "The results are the values at the failing condition.",
    _g,
    n_blocks=2,
)
_row("if", "cond", None, "One of two blocks without arguments; both yield the results.", _g, n_blocks=2)
_row("yield", "values*", nothing, "Ends a block, handing its values to the enclosing operation.", _g, terminator=True)
_row("condition", "cond values*", nothing, "Ends the first block of a while.", _g, terminator=True)
_row("return", "", nothing, "Ends the kernel.", _g, terminator=True)

_g = "hints and debugging"
_row(
    "hint",
    "x",
    same,
    "x unchanged with a promise per dimension: `kind` is 'divisible', 'contiguous' or 'constant'.",
    _g,
    attrs=[("kind", "str"), ("values", "ints")],
)
_row(
    "window",
    "ptrs parts*",
    same,
    "ptrs unchanged: they are those of a block of a strided tensor. Its `parts`: base; per dimension an offset, then an extent; the strides "
    "but for the last, which is 1 (in elements). Accesses by them are masked outside of the extents, and nowhere else.",
    _g,
    check=window,
)
_row("assume", "cond", nothing, "A promise that the scalar i1 is true.", _g, effects=Effect.IO)
_row(
    "print",
    "args*",
    nothing,
    "Prints each lane as `pid (x, y, z) idx (i, …) prefix: value`; `signed` holds one flag per argument.",
    _g,
    effects=Effect.IO,
    attrs=[("prefix", "str"), ("hex", "bool", False), ("signed", "ints", ())],
)
_row(
    "assert",
    "cond mask?",
    nothing,
    "Aborts the launch with `message` when a lane (not masked off) is false.",
    _g,
    effects=Effect.IO,
    attrs=[("message", "str"), ("file", "str", ""), ("function", "str", ""), ("line", "int", 0)],
)
_row(
    "inline_asm",
    "args*",
    None,
    "Elementwise target assembly, `pack` lanes at a time.",
    _g,
    attrs=[("asm", "str"), ("constraints", "str"), ("pack", "int", 1), ("pure", "bool", True)],
)
_row("clock", "", lambda t, a: (scalar(I64),), "A nanosecond timer.", _g, effects=Effect.IO)
