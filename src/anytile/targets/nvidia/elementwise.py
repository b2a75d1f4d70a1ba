"""Elementwise rows on scalars of LLVM: one register in, one register out.

`compute(g, op, operands, elem)` is the meaning of a row on one register each; `apply` runs it over all registers
of a tile and computes equal ones once.  Floats below 32 bits arrive here only to be moved or converted
(`passes.widen_floats`, `passes.expand_casts`).

Accuracy of the native mathematical rows, f32 (PTX ISA, tables of the .approx instructions): ``ex2.approx`` 2 ulp, and
exp is that of x·log₂e (results below 2⁻¹²⁶ are zero unless the option ``enable_reflect_ftz`` is off); ``rsqrt.approx`` 2 ulp;
``rcp.approx`` (1/x) 1 ulp; ``sqrt.approx`` and ``div.full`` 2 ulp (``precise`` asks for the correctly rounded ones).
Every other function is expanded by `passes.expand_math`.
"""

from __future__ import annotations

from collections import Counter

from ...ir import Block, Op, Value
from ...ir.rewrite import const_value
from ...ir.types import BF16, BOOL, F8E4M3, F16, F32, F64, I32, Element
from ...math.library import NEAR
from ..text import INTRINSICS
from .bit_tests import bit_of
from .division import divided
from .values import Generator, literal, llvm_type, memory_type, unsupported

__all__ = ["NATIVE_MATH", "apply", "compute", "native_casts", "run_block"]

NATIVE_MATH = frozenset("sqrt floor ceil trunc rint exp.f32 exp2.f32 rsqrt.f32 copysign.f32 copysign.f64".split())
NATIVE_MATH |= {f"{row}.{elem}" for row, elem in NEAR}


def native_casts(sm: int) -> frozenset[str]:
    """Which float conversions the machine does without integer arithmetic (names as in `expand_casts`)."""
    names = {"fpcast.f16.f32", "fpcast.f16.f64", "fpcast.f32.f16", "fpcast.bf16.f32", "fpcast.bf16.f64"}
    if sm >= 80:
        names.add("fpcast.f32.bf16")
    if sm >= 89:
        names.add("fpcast.f8e4m3.f32")
    return frozenset(names)


_BINARY = {n: n for n in ("add", "sub", "mul", "and", "or", "xor")}
_FLOAT_BINARY = ("fadd", "fsub", "fmul")
_SHIFTS = ("shl", "lshr", "ashr")
_WITH_FALSE = {"iabs": "llvm.abs", "clz": "llvm.ctlz"}  # a second operand: i1 false, "defined everywhere"
_SUFFIX: dict[Element, str] = {F16: "f16", BF16: "bf16", F32: "f32", F64: "f64"}
_CASTS = {"sext": "sext", "zext": "zext", "trunci": "trunc", "sitofp": "sitofp", "uitofp": "uitofp"}
_EXP2 = {False: "llvm.nvvm.ex2.approx.f32", True: "llvm.nvvm.ex2.approx.ftz.f32"}  # whether results below 2⁻¹²⁶ are flushed to zero
_APPROXIMATE = {"rsqrt": "llvm.nvvm.rsqrt.approx.f", "sqrt": "llvm.nvvm.sqrt.approx.f"}
_LOG2E = 1.4426950408889634
SHARED_DIVISOR = 4
"""From so many quotients a divisor on, its reciprocal is written out once."""


def apply(g: Generator, op: Op, operands: list[list[str]]) -> list[str]:
    """The row on every register; registers with the same operands share the result."""
    if op.name == "fpcast" and g.sm >= 80 and op.operands[0].type.elem is F32 and op.attrs["to"] in (F16, BF16):
        return _narrow_pairs(g, operands[0], op.attrs["to"])
    if op.name == "fpcast" and op.operands[0].type.elem is F8E4M3:
        return _widen_pairs(g, operands[0], op.attrs["to"])
    if op.name == "fpcast" and g.assignment.widened(op.result):
        return _widen_again(g, operands[0], op.operands[0].type.elem)
    if op.name == "fpcast" and op.operands[0].type.elem is BF16 and op.attrs["to"] is F32 and all(x in g.halves for x in operands[0]):
        return _widen_halves(g, operands[0])
    if op.name == "fdiv" and op.operands[0].type.elem is F32 and not op.attrs["precise"] and const_value(op.operands[0]) is None:
        return _quotients(g, op, operands[0], operands[1])
    if op.name == "icmp" and bit_of(op) is not None:
        return _bit_tests(g, op.attrs["pred"], operands[0])
    if (op.name, "f32") in NEAR and op.operands[0].type.elem is F32:
        from .near import near  # it writes formulas by `run_block`

        distinct = list(dict.fromkeys(operands[0]))
        made = dict(zip(distinct, near(g, op, distinct), strict=True))
        return [made[x] for x in operands[0]]
    known: dict[tuple[str, ...], str] = {}
    out = []
    for xs in zip(*operands, strict=True):
        if xs not in known:
            known[xs] = compute(g, op, list(xs))
        out.append(known[xs])
    return out


def _widen_pairs(g: Generator, registers: list[str], to: Element) -> list[str]:
    """float8e4nv by way of f16, which holds each of its numbers: two at a time, as the instruction takes them."""
    out: list[str] = []
    for i in range(0, len(registers), 2):
        pair, vector = registers[i : i + 2], "zeroinitializer"
        for k, x in enumerate(pair):
            vector = g.emit(f"insertelement <2 x i8> {vector}, i8 {x}, i32 {k}")
        halves = g.call("llvm.nvvm.e4m3x2.to.f16x2.rn", "<2 x half>", ("i16", g.emit(f"bitcast <2 x i8> {vector} to i16")))
        out += [g.emit(f"extractelement <2 x half> {halves}, i32 {k}") for k in range(len(pair))]
    if to is F16:
        return out
    wide = [g.emit(f"fpext half {x} to {'double' if to is F64 else 'float'}") for x in out]
    return _narrow_pairs(g, wide, BF16) if to is BF16 else wide


def _widen_halves(g: Generator, registers: list[str]) -> list[str]:
    """bf16 to f32, from the halves of 32-bit registers: one shift, or one mask."""
    known: dict[str, str] = {}
    for x in registers:
        if x not in known:
            word, half = g.halves[x]
            bits = g.emit(f"and i32 {word}, -65536" if half else f"shl i32 {word}, 16")
            known[x] = g.emit(f"bitcast i32 {bits} to float")
    return [known[x] for x in registers]


def _widen_again(g: Generator, registers: list[str], e: Element) -> list[str]:
    """16 bits to f32, by instructions that neither LLVM nor the assembler takes for the same as earlier ones.

    Otherwise the results of the first would be kept to the last, in twice as many registers.
    """
    known: dict[str, str] = {}
    for x in registers:
        if x not in known:
            if e is BF16 and x in g.halves:
                word, half = g.halves[x]
                code, constraint, operand = ("and.b32 $0, $1, -65536;" if half else "shl.b32 $0, $1, 16;"), "r", ("i32", word)
            else:
                bits = g.emit(f"bitcast {llvm_type(e)} {x} to i16")
                wide = "cvt.f32.f16 $0, $1;" if e is F16 else "{ .reg .b16 low; mov.b16 low, 0; mov.b32 $0, {low, $1}; }"
                code, constraint, operand = wide, "h", ("i16", bits)
            known[x] = g.emit(f'call float asm sideeffect "{code}", "=f,{constraint}"({operand[0]} {operand[1]}) #1')
    return [known[x] for x in registers]


def _bit_tests(g: Generator, pred: str, registers: list[str]) -> list[str]:
    """One instruction each for the assembler; LLVM would shift the bit to the lowest place first."""
    known = {x: g.assembly(f"setp.{pred}.b32 $0, $1, 0;", "=b,r", "i1", [("i32", x)], pure=True) for x in dict.fromkeys(registers)}
    return [known[x] for x in registers]


def _quotients(g: Generator, op: Op, dividends: list[str], divisors: list[str]) -> list[str]:
    """What ``div.full`` computes, bit by bit; what depends on the divisor alone is computed once for all that are divided by it.

    The assembler finds that out, too, but only after it has written out each quotient.  A divisor that is never subnormal needs no scale:
    the reciprocal of one above 2¹²⁶ is subnormal, and then has up to two bits less.
    """
    scales: dict[str, tuple[str, str]] = {}
    plain = g.ftz and _sum_of_exponentials(op.operands[1])
    known: dict[tuple[str, str], str] = {}
    times = Counter(divisors)
    for x, y in dict.fromkeys(zip(dividends, divisors, strict=True)):
        if times[y] < SHARED_DIVISOR:
            known[x, y] = g.call("llvm.nvvm.div.full", "float", ("float", x), ("float", y))
            continue
        if y not in scales:
            scales[y] = (
                ("", g.assembly("rcp.approx.f32 $0, $1;", "=f,f", "float", [("float", y)], pure=True))
                if plain
                else _scaled_reciprocal(g, y)
            )
        scale, reciprocal = scales[y]
        scaled = g.emit(f"fmul float {x}, {scale}") if scale else x
        known[x, y] = g.emit(f"fmul float {scaled}, {reciprocal}")
    return [known[x, y] for x, y in zip(dividends, divisors, strict=True)]


def _scaled_reciprocal(g: Generator, y: str) -> tuple[str, str]:
    """(scale, 1 / (scale · y)): a power of two keeps very large divisors and very small ones in the range of the instruction."""
    code = (
        "{ .reg .pred p, q; .reg .f32 a, s; abs.f32 a, $2; setp.gt.f32 p, a, 0f7E800000; setp.lt.f32 q, a, 0f00800000; "
        "selp.f32 s, 0f3E800000, 0f3F800000, p; selp.f32 s, 0f4B800000, s, q; mov.f32 $0, s; mul.f32 s, s, $2; rcp.approx.ftz.f32 $1, s; }"
    )
    result = g.several("float", 2)
    made = g.assembly(code, "=&f,=&f,f", result, [("float", y)], pure=True)
    return g.emit(f"extractvalue {result} {made}, 0"), g.emit(f"extractvalue {result} {made}, 1")


def _narrow_pairs(g: Generator, registers: list[str], to: Element) -> list[str]:
    """f32 to 16 bits, two at a time: one cvt gives both halves of a 32-bit register, which is how they go on to memory.

    For bf16 by the intrinsic, which LLVM keeps whole: a conversion of one number to bf16 is made by Hopper's unit for special
    functions, at a quarter of the rate.
    """
    known: dict[tuple[str, ...], list[str]] = {}
    out: list[str] = []
    t = llvm_type(to)
    for i in range(0, len(registers), 2):
        pair = tuple(registers[i : i + 2])
        if pair not in known:
            if to is BF16:
                high = pair[-1] if len(pair) == 2 else "0.0"
                narrow = g.call("llvm.nvvm.ff2bf16x2.rn", f"<2 x {t}>", ("float", high), ("float", pair[0]))
            else:
                vector = "poison"
                for k, x in enumerate(pair):
                    vector = g.emit(f"insertelement <2 x float> {vector}, float {x}, i32 {k}")
                narrow = g.emit(f"fptrunc <2 x float> {vector} to <2 x {t}>")
            known[pair] = [g.emit(f"extractelement <2 x {t}> {narrow}, i32 {k}") for k in range(len(pair))]
            if len(pair) == 2:
                low, high = known[pair]
                g.pair(low, high, g.emit(f"bitcast <2 x {t}> {narrow} to i32"))
        out += known[pair]
    return out


def compute(g: Generator, op: Op, xs: list[str]) -> str:
    """The result of elementwise ``op`` on one lane; ``xs`` are operand texts."""
    name, e = op.name, op.operands[0].type.elem
    t = llvm_type(e)
    if name in _BINARY:
        return g.emit(f"{name} {t} {xs[0]}, {xs[1]}")
    if name in _FLOAT_BINARY:
        return g.emit(f"{name}{' contract' if g.contract else ''} {t} {xs[0]}, {xs[1]}")
    if name in _SHIFTS:
        return _shift(g, op, t, xs)
    if name in _APPROXIMATE and e is F32 and not op.attrs.get("precise"):
        return g.call(_APPROXIMATE[name], "float", ("float", xs[0]))
    if name == "exp2" and e is F32:
        return g.call(_EXP2[g.ftz], "float", ("float", xs[0]))
    if name in INTRINSICS:
        return g.call(f"{INTRINSICS[name]}.{_SUFFIX.get(e, t)}", t, *((t, x) for x in xs))
    if name in _WITH_FALSE:
        return g.call(f"{_WITH_FALSE[name]}.{t}", t, (t, xs[0]), ("i1", "false"))
    if name in ("icmp", "fcmp"):
        return g.emit(f"{name} {op.attrs['pred']} {t} {xs[0]}, {xs[1]}")
    if name in ("sdiv", "udiv", "srem", "urem"):
        return _divide(g, op, t, xs)
    if name in ("smulhi", "umulhi"):
        return _high_product(g, name, e, xs)
    if name in _CASTS:
        return g.emit(f"{_CASTS[name]} {t} {xs[0]} to {llvm_type(op.attrs['to'])}")
    handler = _HANDLERS.get(name)
    if handler is None:
        raise unsupported(f"operation {name} on {e}", op)
    return handler(g, op, xs)


def _shift(g: Generator, op: Op, t: str, xs: list[str]) -> str:
    bits = op.operands[0].type.elem.bits
    k = const_value(op.operands[1])
    amount = xs[1]
    if k is None or not 0 <= k < bits:
        amount = g.emit(f"and {t} {amount}, {bits - 1}")  # an amount out of range must not be poison
    return g.emit(f"{op.name} {t} {xs[0]}, {amount}")


def _divide(g: Generator, op: Op, t: str, xs: list[str]) -> str:
    """Never poison: 1 stands for a divisor of zero, and for −1, whose quotient is negated then.

    So the divisor is one for all elements that are divided by the same, and its reciprocal is computed once.
    """
    d, bits = xs[1], op.operands[0].type.elem.bits
    known, minus = const_value(op.operands[1]), None
    if known is None or known in (0, -1):
        bad = g.emit(f"icmp eq {t} {d}, 0")
        if op.name[0] == "s":
            minus = g.emit(f"icmp eq {t} {d}, -1")
            bad = g.emit(f"or i1 {bad}, {minus}")
        d = g.emit(f"select i1 {bad}, {t} 1, {t} {d}")
    if bits == 64 and g.assignment.by_warpgroup and not _power_of_two(known):
        out = divided(g, op.name, xs[0], d)
    else:
        out = g.emit(f"{op.name} {t} {xs[0]}, {d}")
    if minus is None or op.name == "srem":
        return out
    return g.emit(f"select i1 {minus}, {t} {g.emit(f'sub {t} 0, {out}')}, {t} {out}")


def _power_of_two(known: object) -> bool:
    """Whether LLVM divides by ``known`` with shifts."""
    return isinstance(known, int) and known > 0 and known & (known - 1) == 0


def _high_product(g: Generator, name: str, e: Element, xs: list[str]) -> str:
    if e is BOOL:  # at most 1, as two bits
        return "false"
    t, wide = llvm_type(e), f"i{2 * e.bits}"
    a, b = (g.emit(f"{'sext' if name[0] == 's' else 'zext'} {t} {x} to {wide}") for x in xs)
    return g.emit(f"trunc {wide} {g.emit(f'lshr {wide} ' + g.emit(f'mul {wide} {a}, {b}') + f', {e.bits}')} to {t}")


def _sum_of_exponentials(v: Value) -> bool:
    """As in softmax: never subnormal, since exponentials are zero or normal, and none is negative."""
    while v.op is not None and v.op.name in ("splat", "broadcast", "expand_dims", "reshape"):
        v = v.op.operands[0]
    if v.op is None or v.op.name != "reduce" or len(v.op.operands) != 1:
        return False
    return [o.name for o in v.op.blocks[0].ops if not o.defn.terminator] == ["fadd"] and any(
        v.op.operands[0].is_op(e) for e in ("exp", "exp2")
    )


def _at_least_one(v: Value) -> bool:
    """1 + exp(…), as in sigmoid and tanh: never subnormal, a case that costs the reciprocal four instructions more."""
    if v.op is None or v.op.name != "fadd":
        return False
    a, b = v.op.operands
    return any(const_value(c) == 1 and (e.is_op("exp") or e.is_op("exp2")) for c, e in ((a, b), (b, a)))


def _reciprocal(g: Generator, op: Op, divisor: str) -> str | None:
    """1/x, and 2/x where the reciprocal cannot overflow, without the scaling that ``div.full`` does for its dividend."""
    c, divides = const_value(op.operands[0]), op.operands[1]
    safe = g.ftz and _at_least_one(divides)
    if c != 1 and not (c == 2 and safe):
        return None
    y = g.assembly(f"rcp.approx{'.ftz' if safe else ''}.f32 $0, $1;", "=f,f", "float", [("float", divisor)], pure=True)
    return y if c == 1 else g.emit(f"fmul contract float {y}, {literal(2.0, F32)}")


def _fdiv(g: Generator, op: Op, xs: list[str]) -> str:
    e = op.operands[0].type.elem
    if e is F32 and not op.attrs["precise"]:
        if (y := _reciprocal(g, op, xs[1])) is not None:
            return y
        return g.call("llvm.nvvm.div.full", "float", ("float", xs[0]), ("float", xs[1]))
    return g.emit(f"fdiv {llvm_type(e)} {xs[0]}, {xs[1]}")


def _sqrt(g: Generator, op: Op, xs: list[str]) -> str:
    e = op.operands[0].type.elem
    t = llvm_type(e)
    return g.call("llvm.nvvm.sqrt.rn." + ("f" if e is F32 else "d"), t, (t, xs[0]))


def _exp(g: Generator, op: Op, xs: list[str]) -> str:
    scaled = g.emit(f"fmul float {xs[0]}, {literal(_LOG2E, F32)}")
    return g.call(_EXP2[g.ftz], "float", ("float", scaled))


def _fneg(g: Generator, op: Op, xs: list[str]) -> str:
    return g.emit(f"fneg {llvm_type(op.operands[0].type.elem)} {xs[0]}")


def _select(g: Generator, op: Op, xs: list[str]) -> str:
    t = llvm_type(op.result.type.elem)
    return g.emit(f"select i1 {xs[0]}, {t} {xs[1]}, {t} {xs[2]}")


def _to_integer(g: Generator, op: Op, xs: list[str]) -> str:
    """Through at least 32 bits, frozen: LLVM's poison for values out of range must not spread."""
    to: Element = op.attrs["to"]
    via = to if to.bits >= 32 else I32
    got = g.emit(f"{op.name} {llvm_type(op.operands[0].type.elem)} {xs[0]} to {llvm_type(via)}")
    got = g.emit(f"freeze {llvm_type(via)} {got}")
    return got if via is to else g.emit(f"trunc {llvm_type(via)} {got} to {llvm_type(to)}")


def _fpcast(g: Generator, op: Op, xs: list[str]) -> str:
    e, to = op.operands[0].type.elem, op.attrs["to"]
    if e is to:
        return xs[0]
    if op.attrs["rounding"] != "rtne" or not {e, to} <= {F16, BF16, F32, F64}:
        raise unsupported(f"fpcast from {e} to {to} with rounding {op.attrs['rounding']}", op)
    x = xs[0]
    if e.bits == to.bits:  # f16 and bf16 have f32 in common
        x, e = g.emit(f"fpext {llvm_type(e)} {x} to float"), F32
    return g.emit(f"{'fpext' if to.bits > e.bits else 'fptrunc'} {llvm_type(e)} {x} to {llvm_type(to)}")


def _bitcast(g: Generator, op: Op, xs: list[str]) -> str:
    e, to = op.operands[0].type.elem, op.attrs["to"]
    a, b = llvm_type(e), llvm_type(to)
    if a == b:
        return xs[0]
    if e.is_ptr or to.is_ptr:
        return g.emit(f"{'ptrtoint' if e.is_ptr else 'inttoptr'} {a} {xs[0]} to {b}")
    return g.emit(f"bitcast {a} {xs[0]} to {b}")


def _pointer_cast(g: Generator, op: Op, xs: list[str]) -> str:
    return g.emit(f"{op.name} {llvm_type(op.operands[0].type.elem)} {xs[0]} to {llvm_type(op.attrs['to'])}")


def _addptr(g: Generator, op: Op, xs: list[str]) -> str:
    p, offset = op.operands[0].type.elem, op.operands[1].type.elem
    if xs[1] == "0":
        return xs[0]
    return g.emit(f"getelementptr {memory_type(p.pointee)}, {llvm_type(p)} {xs[0]}, {llvm_type(offset)} {xs[1]}")  # type: ignore[attr-defined]


def _hint(g: Generator, op: Op, xs: list[str]) -> str:
    return xs[0]


def _near(g: Generator, op: Op, xs: list[str]) -> str:
    return apply(g, op, [xs])[0]


_HANDLERS = {
    **{row: _near for row, _ in NEAR},
    "fdiv": _fdiv,
    "sqrt": _sqrt,
    "exp": _exp,
    "fneg": _fneg,
    "select": _select,
    "fptosi": _to_integer,
    "fptoui": _to_integer,
    "fpcast": _fpcast,
    "bitcast": _bitcast,
    "ptrtoint": _pointer_cast,
    "inttoptr": _pointer_cast,
    "addptr": _addptr,
    "hint": _hint,
}


def run_block(g: Generator, block: Block, args: list[str]) -> list[str]:
    """A combine block on one lane; an ``if`` in it becomes selects (its blocks are pure)."""
    known: dict[Value, str] = dict(zip(block.args, args, strict=True))

    def value(v: Value) -> str:
        return known[v] if v in known else g.scalar(v)

    def run(ops: list[Op]) -> list[str]:
        for op in ops:
            if op.name == "yield":
                return [value(v) for v in op.operands]
            if op.name == "constant":
                known[op.result] = literal(op.attrs["value"], op.result.type.elem)
            elif op.name == "if":
                c, yes, no = value(op.operands[0]), run(op.blocks[0].ops), run(op.blocks[1].ops)
                for r, a, b in zip(op.results, yes, no, strict=True):
                    t = llvm_type(r.type.elem)
                    known[r] = g.emit(f"select i1 {c}, {t} {a}, {t} {b}")
            elif op.name == "assert":
                from .debugging import stop_where  # it needs what is defined here

                bad = g.emit(f"xor i1 {value(op.operands[0])}, true")
                mask = op.operand("mask")
                stop_where(g, op, bad if mask is None else g.emit(f"and i1 {bad}, {value(mask)}"))
            elif op.name == "inline_asm":
                from .debugging import inline_text

                made = inline_text(g, op, [[value(v)] for v in op.operands])
                known.update((r, out[0]) for r, out in zip(op.results, made, strict=True))
            elif op.defn.elementwise or op.name == "hint":
                xs = [value(v) for v in op.operands]
                known[op.result] = _decided(g, op, xs) or compute(g, op, xs)
                if op.name == "select" and (both := _counted_together(g, *xs[1:])) is not None:
                    g.counted[known[op.result]] = both
            else:
                raise unsupported(f"operation {op.name} in a combine function", op)
        return []

    return run(block.ops)


_LESS = {"slt": False, "sle": False, "ult": False, "ule": False, "sgt": True, "sge": True, "ugt": True, "uge": True}
"""Orders of integers → whether the second operand is the lesser one."""


def _counted_together(g: Generator, a: str, b: str) -> tuple[str, int, int] | None:
    """What is known of the one of two indices that a select takes."""
    x, y = g.counted.get(a), g.counted.get(b)
    return (x[0], min(x[1], y[1]), max(x[2], y[2])) if x and y and x[0] == y[0] else None


def _decided(g: Generator, op: Op, operands: list[str]) -> str | None:
    """The result of ``op`` on single registers where it is known already, as which of two indices of a thread is the lower one; else None.

    So the earlier of two equal numbers costs no comparison of their indices where a thread has both (argmax).
    """
    if op.name == "icmp" and op.attrs["pred"] in _LESS:
        x, y = (g.counted.get(v) for v in (operands[::-1] if _LESS[op.attrs["pred"]] else operands))
        if x and y and x[0] == y[0] and (x[2] < y[1] or x[1] > y[2]):
            return "true" if x[2] < y[1] else "false"
    if op.name in ("and", "or") and op.result.type.elem is BOOL:
        neutral = "true" if op.name == "and" else "false"
        left = [x for x in operands if x != neutral]
        if len(left) < 2:
            return left[0] if left else neutral
    return None
