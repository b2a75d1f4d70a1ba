"""``tl.extra.libdevice``: mathematical functions under the names of CUDA's libdevice, for every target.

Most are one row of the tile IR; the rest are composed of others.  The functions take fp32 and fp64 (where a name
does not say otherwise) and broadcast their arguments.  What no composition gives exactly raises UnsupportedError.

Suffixes name the rounding: ``_rn`` to nearest even, ``_rz`` towards zero, ``_rd`` down, ``_ru`` up.  The directed
ones take the nearest result and the sign of its error, which follows from an exact residual, and step by one ulp.
"""

from __future__ import annotations

import math as _python_math
from collections.abc import Callable
from typing import Any

from ..errors import UnsupportedError
from .arithmetic import absolute, fma, invert, maximum, minimum, shl, shr, where
from .builtin import builtin
from .casting import bitcast_to, cast_to
from .constexpr import unwrap
from .context import current
from .promotion import broadcast_pair, constant, emit, operands, to_tensor
from .source import JITCallable
from .tensor import tensor
from .types import dtype, float32, float64, int32, int64, make_block, uint32, uint64

__all__: list[str] = []

_FLOATS = ("fp32", "fp64")


def _export(fn: Callable[..., Any], name: str, doc: str) -> Callable[..., Any]:
    """Makes ``fn`` the builtin ``name`` of this module."""
    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = doc
    made = builtin(fn)
    globals()[name] = made
    __all__.append(name)
    return made


def _public(fn: Callable[..., Any]) -> Callable[..., Any]:
    return _export(fn, fn.__name__.rstrip("_"), fn.__doc__ or "")


def _arguments(name: str, args: tuple[Any, ...], allowed: tuple[str, ...] = _FLOATS) -> list[tensor]:
    """The arguments in their common type and shape; raises TypeError where that type is not ``allowed``."""
    xs = [args[0] if isinstance(args[0], tensor) else to_tensor(args[0])]
    for a in args[1:]:
        xs[0], x = operands(xs[0], a)
        xs.append(x)
    xs = [broadcast_pair(cast_to(x, xs[0].dtype), xs[0])[0] for x in xs]
    if xs[0].dtype.name not in allowed:
        raise TypeError(f"libdevice.{name} takes {' or '.join(allowed)}, not {xs[0].dtype}; convert the argument with .to()")
    return xs


def _row(name: str, row: str, arity: int, doc: str, allowed: tuple[str, ...] = _FLOATS, **attrs: Any) -> None:
    def fn(*args: Any) -> tensor:
        if len(args) != arity:
            raise TypeError(f"libdevice.{name} takes {arity} arguments, not {len(args)}")
        xs = _arguments(name, args, allowed)
        return emit(row, xs[0].type, *(x.handle for x in xs), **attrs)

    _export(fn, name, doc)


# --- one row each ---------------------------------------------------------------------------------------

for _name in (
    *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "ceil", "cos", "cosh", "cospi", "cyl_bessel_i0", "cyl_bessel_i1"),
    *("erf", "erfc", "erfcinv", "erfcx", "erfinv", "exp", "exp10", "exp2", "expm1", "floor", "j0", "j1", "lgamma", "log", "log10"),
    *("log1p", "log2", "logb", "normcdf", "normcdfinv", "rcbrt", "rint", "round", "rsqrt", "sin", "sinh", "sinpi", "sqrt", "tan"),
    *("tanh", "tgamma", "trunc", "y0", "y1"),
):
    _row(_name, _name, 1, f"{_name}(x) as in CUDA's libdevice.")
for _name in ("atan2", "copysign", "fdim", "hypot", "nextafter", "remainder", "rhypot"):
    _row(_name, _name, 2, f"{_name}(x, y) as in CUDA's libdevice.")
for _name in ("cos", "exp10", "exp", "log10", "log2", "log", "sin", "tan", "tanh"):
    _row(f"fast_{_name}f", _name, 1, f"{_name}(x); may be less exact on targets that have a fast form.", ("fp32",))
_row("nearbyint", "rint", 1, "The nearest integer, ties to even.")
_row("fmod", "frem", 2, "x − y·trunc(x / y).")
_row("fast_dividef", "fdiv", 2, "x / y; may be less exact on targets that have a fast form.", ("fp32",))
_row("fast_powf", "pow", 2, "x to the power of y.", ("fp32",))
_row("fma", "fma", 3, "x·y + z rounded once.")
for _name, _base in {"add": "fadd", "sub": "fsub", "mul": "fmul", "fma": "fma"}.items():
    _row(f"{_name}_rn", _base, 3 if _name == "fma" else 2, f"{_name} rounded to nearest even.")
_row("div_rn", "fdiv", 2, "x / y rounded to nearest even.", precise=True)
_row("sqrt_rn", "sqrt", 1, "√x rounded to nearest even.", precise=True)
_row("brev", "brev", 1, "The bits in reverse order.", ("int32", "int64", "uint32", "uint64"))


def _by_squaring(x, n):  # type: ignore[no-untyped-def]
    """x to the power of a scalar integer: as many rounds as n has bits, each a square and a product."""
    left = absolute(n).to(uint32)
    power, out = x, where(x == x, 1.0, 1.0)
    while left != 0:
        out = where((left & 1) != 0, out * power, out)
        power = power * power
        left = left >> 1
    return where(n < 0, 1.0 / out, out)


_squaring = JITCallable(_by_squaring)


@_public
def pow(x: Any, y: Any) -> tensor:  # noqa: A001
    """x to the power of y.  A scalar integer y: by products, as CUDA's does; other integers are converted to the type of x."""
    known = unwrap(y)
    y = to_tensor(y)
    if isinstance(x, tensor) and y.dtype.is_int() and x.dtype.is_floating():
        if x.dtype.name == "fp32" and not y.rank and y.dtype.name == "int32":
            return _known_power(x, known) if isinstance(known, int) else current().call(_squaring, (x, y), {})
        y = cast_to(y, x.dtype)
    a, b = _arguments("pow", (x, y))
    return emit("pow", a.type, a.handle, b.handle)


def _known_power(x: tensor, n: int) -> tensor:
    """The same for a number that is known: no loop."""
    out, power, left = None, x, n if n >= 0 else -n
    while left:
        if left & 1:
            out = power if out is None else out * power
        left >>= 1
        power = power * power if left else power
    made = constant(1.0, x.type) if out is None else out
    return 1.0 / made if n < 0 else made


@_public
def abs_(x: Any) -> tensor:
    """|x| of fp32, fp64, int32 and int64."""
    return absolute(to_tensor(x))


@_public
def rsqrt_rn(x: Any) -> tensor:
    """1 / √x of fp32, rounded to nearest even by way of fp64."""
    (x,) = _arguments("rsqrt_rn", (x,), ("fp32",))
    wide = cast_to(x, float64)
    return cast_to(emit("fdiv", wide.type, constant(1.0, wide.type).handle, emit("sqrt", wide.type, wide.handle).handle), float32)


@_public
def saturatef(x: Any) -> tensor:
    """x limited to 0 … 1; NaN gives 0."""
    (x,) = _arguments("saturatef", (x,), ("fp32",))
    return minimum(maximum(x, 0.0), 1.0)


@_public
def norm3d(a: Any, b: Any, c: Any) -> tensor:
    """√(a² + b² + c²) without overflow on the way."""
    a, b, c = _arguments("norm3d", (a, b, c))
    return emit("hypot", a.type, emit("hypot", a.type, a.handle, b.handle).handle, c.handle)


@_public
def norm4d(a: Any, b: Any, c: Any, d: Any) -> tensor:
    """√(a² + b² + c² + d²) without overflow on the way."""
    a, b, c, d = _arguments("norm4d", (a, b, c, d))
    return emit("hypot", a.type, *(emit("hypot", a.type, p.handle, q.handle).handle for p, q in ((a, b), (c, d))))


@_public
def rnorm3d(a: Any, b: Any, c: Any) -> tensor:
    """1 / norm3d(a, b, c)"""
    return 1.0 / norm3d(a, b, c)


@_public
def rnorm4d(a: Any, b: Any, c: Any, d: Any) -> tensor:
    """1 / norm4d(a, b, c, d)"""
    return 1.0 / norm4d(a, b, c, d)


# --- classification -------------------------------------------------------------------------------------


@_public
def isnan(x: Any) -> tensor:
    """Whether x is NaN, as int1."""
    (x,) = _arguments("isnan", (x,))
    return x != x


@_public
def isinf(x: Any) -> tensor:
    """Whether x is ±∞, as int1."""
    (x,) = _arguments("isinf", (x,))
    return absolute(x) == _python_math.inf


def _finite(name: str, kind: str) -> None:
    def fn(x: Any) -> tensor:
        (x,) = _arguments(name, (x,), (kind,))
        return absolute(x) < _python_math.inf

    _export(fn, name, f"Whether the {kind} x is neither infinite nor NaN, as int1.")


_finite("finitef", "fp32")
_finite("isfinited", "fp64")


def _bits(x: tensor) -> tensor:
    return bitcast_to(x, int32 if x.dtype.primitive_bitwidth == 32 else int64)


@_public
def signbit(x: Any) -> tensor:
    """1 where the sign bit is set, else 0, as int32."""
    (x,) = _arguments("signbit", (x,))
    return cast_to(_bits(x) < 0, int32)


# --- exponents ------------------------------------------------------------------------------------------


@_public
def ilogb(x: Any) -> tensor:
    """The binary exponent as int32: −2³¹ for 0 and NaN, 2³¹ − 1 for ±∞."""
    (x,) = _arguments("ilogb", (x,))
    finite = absolute(x) < _python_math.inf
    usable = finite & (x != 0.0)
    exponent = cast_to(emit("logb", x.type, where(usable, x, 1.0).handle), int32)
    return where(usable, exponent, where(absolute(x) == _python_math.inf, 2**31 - 1, -(2**31)))


def _power_of_two(n: tensor, to: dtype) -> tensor:
    """2ⁿ for an int32 n in the range of normal exponents."""
    if to.is_fp32():
        return bitcast_to(shl(n + 127, 23), float32)
    return bitcast_to(shl(cast_to(n, int64) + 1023, 52), float64)


@_public
def ldexp(x: Any, n: Any) -> tensor:
    """x · 2ⁿ for an integer n."""
    x, n = broadcast_pair(to_tensor(x), cast_to(to_tensor(n), int32))
    (x,) = _arguments("ldexp", (x,))
    limit = 300 if x.dtype.is_fp32() else 2200  # beyond it every result is 0 or ∞
    n = minimum(maximum(n, -limit), limit)
    first = n // 3  # three factors, so that each has a normal exponent
    second = (n - first) // 2
    for part in (first, second, n - first - second):
        x = x * _power_of_two(part, x.dtype)
    return x


@_public
def scalbn(x: Any, n: Any) -> tensor:
    """`ldexp` under its other name."""
    return ldexp(x, n)


# --- directed rounding ----------------------------------------------------------------------------------


def _directed(mode: str, nearest: tensor, error: tensor) -> tensor:
    """``nearest`` moved by one ulp where it is on the wrong side; ``error`` has the sign of exact − nearest.

    A NaN error (of infinite or NaN results) moves nothing.
    """
    bits = _bits(nearest)
    outward = bitcast_to(bits + 1, nearest.dtype)  # a step away from zero: floats order like sign and magnitude
    inward = bitcast_to(bits - 1, nearest.dtype)
    tiny = bitcast_to(constant(1, bits.type), nearest.dtype)
    down = where(nearest == 0.0, -tiny, where(nearest > 0.0, inward, outward))
    up = where(nearest == 0.0, tiny, where(nearest > 0.0, outward, inward))
    if mode == "rd":
        return where(error < 0.0, down, nearest)
    if mode == "ru":
        return where(error > 0.0, up, nearest)
    too_far = ((nearest > 0.0) & (error < 0.0)) | ((nearest < 0.0) & (error > 0.0))
    return where(too_far, inward, nearest)


def _sum_error(x: tensor, y: tensor, s: tensor) -> tensor:
    """x + y − s exactly, for s = x + y rounded (Knuth's two-sum)."""
    t = s - x
    return (x - (s - t)) + (y - t)


def _add_error(x: tensor, y: tensor) -> tuple[tensor, tensor]:
    s = x + y
    return s, _sum_error(x, y, s)


def _sub_error(x: tensor, y: tensor) -> tuple[tensor, tensor]:
    return _add_error(x, -y)


def _mul_error(x: tensor, y: tensor) -> tuple[tensor, tensor]:
    p = x * y
    return p, fma(x, y, -p)


def _div_error(x: tensor, y: tensor) -> tuple[tensor, tensor]:
    q = emit("fdiv", x.type, x.handle, y.handle, precise=True)
    residual = fma(-q, y, x)  # x − q·y; the quotient's error has its sign times that of y
    return q, where(y < 0.0, -residual, residual)


def _sqrt_error(x: tensor) -> tuple[tensor, tensor]:
    r = emit("sqrt", x.type, x.handle, precise=True)
    return r, fma(-r, r, x)


def _rcp_error(x: tensor) -> tuple[tensor, tensor]:
    return _div_error(constant(1.0, x.type), x)


_WITH_ERROR: dict[str, tuple[Callable[..., tuple[tensor, tensor]], str]] = {
    "add": (_add_error, "x + y"),
    "sub": (_sub_error, "x − y"),
    "mul": (_mul_error, "x · y"),
    "div": (_div_error, "x / y"),
    "sqrt": (_sqrt_error, "√x"),
    "rcp": (_rcp_error, "1 / x"),
}
_MODES = {"rd": "down", "ru": "up", "rz": "towards zero"}


def _rounded(base: str, mode: str) -> None:
    with_error, formula = _WITH_ERROR[base]
    name = f"{base}_{mode}"

    def fn(*args: Any) -> tensor:
        return _directed(mode, *with_error(*_arguments(name, args)))

    _export(fn, name, f"{formula} rounded {_MODES[mode]}.")


for _base in _WITH_ERROR:
    for _mode in _MODES:
        _rounded(_base, _mode)


@_public
def rcp_rn(x: Any) -> tensor:
    """1 / x rounded to nearest even."""
    (x,) = _arguments("rcp_rn", (x,))
    return emit("fdiv", x.type, constant(1.0, x.type).handle, x.handle, precise=True)


# --- conversions ----------------------------------------------------------------------------------------

_TO_INTEGER = {"rn": "rint", "rd": "floor", "ru": "ceil", "rz": "trunc"}


def _float_to_int(name: str, source: str, target: dtype, row: str) -> None:
    def fn(x: Any) -> tensor:
        (x,) = _arguments(name, (x,), (source,))
        return cast_to(emit(row, x.type, x.handle), target)

    _export(fn, name, f"The {source} x as {target}, by {row}.")


def _narrowing(name: str, mode: str, sources: tuple[str, ...]) -> None:
    def fn(x: Any) -> tensor:
        x = to_tensor(x)
        if x.dtype.name not in sources:
            raise TypeError(f"libdevice.{name} takes {' or '.join(sources)}, not {x.dtype}")
        wide = cast_to(x, float64)  # exact: the sources are fp64 and 32-bit integers
        if mode == "rz":
            return cast_to(wide, float32, "rtz")
        nearest = cast_to(wide, float32)
        if mode == "rn":
            return nearest
        error = wide - cast_to(nearest, float64)
        return _directed(mode, nearest, cast_to(where(error > 0.0, 1.0, where(error < 0.0, -1.0, 0.0)), float32))

    _export(fn, name, f"{' or '.join(sources)} to fp32, rounded {'to nearest even' if mode == 'rn' else _MODES[mode]}.")


def _convert(name: str, sources: tuple[str, ...], target: dtype) -> None:
    def fn(x: Any) -> tensor:
        x = to_tensor(x)
        if x.dtype.name not in sources:
            raise TypeError(f"libdevice.{name} takes {' or '.join(sources)}, not {x.dtype}")
        return cast_to(x, target)

    _export(fn, name, f"{' or '.join(sources)} to {target}, to nearest even.")


for _mode, _by in _TO_INTEGER.items():
    for _from, _kind in (("float", "fp32"), ("double", "fp64")):
        for _word, _target in (("int", int32), ("uint", uint32), ("ll", int64), ("ull", uint64)):
            _float_to_int(f"{_from}2{_word}_{_mode}", _kind, _target, _by)
    _narrowing(f"double2float_{_mode}", _mode, ("fp64",))
    _narrowing(f"int2float_{_mode}", _mode, ("int32",))
    _narrowing(f"uint2float_{_mode}", _mode, ("uint32", "int32"))
_convert("int2double_rn", ("int32",), float64)
_convert("uint2double_rn", ("uint32", "int32"), float64)
for _word, _kind in (("ll", "int64"), ("ull", "uint64")):
    _convert(f"{_word}2float_rn", (_kind,), float32)
    _convert(f"{_word}2double_rn", (_kind,), float64)


def _to_long(name: str, row: str) -> None:
    def fn(x: Any) -> tensor:
        (x,) = _arguments(name, (x,))
        return cast_to(emit(row, x.type, x.handle), int64)

    _export(fn, name, f"{row}(x) as int64.")


_to_long("llrint", "rint")
_to_long("llround", "round")


def _reinterpret(name: str, source: dtype, target: dtype) -> None:
    def fn(x: Any) -> tensor:
        x = to_tensor(x)
        if x.dtype.element() is not source.element():
            raise TypeError(f"libdevice.{name} takes {source}, not {x.dtype}")
        return bitcast_to(x, target)

    _export(fn, name, f"The bits of {source} as {target}.")


_reinterpret("double_as_longlong", float64, int64)
_reinterpret("longlong_as_double", int64, float64)
_reinterpret("float_as_int", float32, int32)
_reinterpret("float_as_uint", float32, uint32)
_reinterpret("int_as_float", int32, float32)
_reinterpret("uint_as_float", uint32, float32)


@_public
def double2hiint(x: Any) -> tensor:
    """The high 32 bits of an fp64 as int32."""
    (x,) = _arguments("double2hiint", (x,), ("fp64",))
    return cast_to(shr(bitcast_to(x, uint64), 32), int32)


@_public
def double2loint(x: Any) -> tensor:
    """The low 32 bits of an fp64 as int32."""
    (x,) = _arguments("double2loint", (x,), ("fp64",))
    return cast_to(bitcast_to(x, int64), int32)


@_public
def hiloint2double(high: Any, low: Any) -> tensor:
    """The fp64 with these high and low 32 bits."""
    high, low = _arguments("hiloint2double", (high, low), ("int32", "uint32"))
    return bitcast_to(shl(cast_to(high, int64), 32) | cast_to(cast_to(low, uint32), int64), float64)


# --- integers -------------------------------------------------------------------------------------------

_INTS = ("int32", "int64", "uint32", "uint64")


def _count(name: str, row: str, doc: str) -> None:
    def fn(x: Any) -> tensor:
        (x,) = _arguments(name, (x,), _INTS)
        return cast_to(emit(row, x.type, x.handle), int32)

    _export(fn, name, doc)


_count("popc", "popc", "The number of ones, as int32.")
_count("clz", "clz", "The number of leading zeros, as int32.")


@_public
def ffs(x: Any) -> tensor:
    """The position of the lowest one, counted from 1, as int32; 0 where there is none."""
    (x,) = _arguments("ffs", (x,), _INTS)
    lowest = x & (invert(x) + 1)
    width = x.dtype.primitive_bitwidth
    return where(x == 0, 0, cast_to(width - emit("clz", x.type, lowest.handle), int32))


@_public
def mulhi(x: Any, y: Any) -> tensor:
    """The high half of the product, signed or unsigned as the type."""
    x, y = _arguments("mulhi", (x, y), _INTS)
    return emit("smulhi" if x.dtype.is_int_signed() else "umulhi", x.type, x.handle, y.handle)


@_public
def mul24(x: Any, y: Any) -> tensor:
    """The low 32 bits of the product of the low 24 bits."""
    x, y = _arguments("mul24", (x, y), ("int32", "uint32"))
    return shr(shl(x, 8), 8) * shr(shl(y, 8), 8)


@_public
def hadd(x: Any, y: Any) -> tensor:
    """(x + y) / 2 rounded down, without overflow."""
    x, y = _arguments("hadd", (x, y), _INTS)
    return (x & y) + shr(x ^ y, 1)


@_public
def rhadd(x: Any, y: Any) -> tensor:
    """(x + y + 1) / 2 rounded down, without overflow."""
    x, y = _arguments("rhadd", (x, y), _INTS)
    return (x | y) - shr(x ^ y, 1)


@_public
def sad(x: Any, y: Any, z: Any) -> tensor:
    """|x − y| + z"""
    x, y = _arguments("sad", (x, y), ("int32", "uint32"))
    return cast_to(maximum(x, y) - minimum(x, y), uint32) + cast_to(to_tensor(z), uint32)


@_public
def byte_perm(x: Any, y: Any, selector: Any) -> tensor:
    """Four of the eight bytes of y:x, chosen by the low three bits of each nibble of ``selector``."""
    x, y, selector = _arguments("byte_perm", (x, y, selector), ("int32", "uint32"))
    both = shl(cast_to(cast_to(y, uint32), uint64), 32) | cast_to(cast_to(x, uint32), uint64)
    out = constant(0, make_block(uint32, x.type.shape))
    for i in range(4):
        place = cast_to(shr(cast_to(selector, uint32), 4 * i) & 7, uint64) * 8
        out = out | shl(cast_to(shr(both, place) & 0xFF, uint32), 8 * i)
    return cast_to(out, x.dtype)


# --- what is not there ----------------------------------------------------------------------------------


def _missing(name: str, remedy: str) -> None:
    def fn(*args: Any) -> tensor:
        raise UnsupportedError(f"libdevice.{name}", remedy=remedy)

    _export(fn, name, "Not supported: " + remedy + ".")


for _mode in _MODES:
    _missing(f"fma_{_mode}", "use libdevice.fma, which rounds to nearest even")
    for _word in ("ll", "ull"):
        for _to in ("float", "double"):
            _missing(f"{_word}2{_to}_{_mode}", f"use libdevice.{_word}2{_to}_rn")
_missing("jn", "use libdevice.j0 and libdevice.j1 with the recurrence in n")
_missing("yn", "use libdevice.y0 and libdevice.y1 with the recurrence in n")
_missing("rcp64h", "use 1 / x")
