"""Arithmetic on lanes: each elementwise row of the op table as LLVM text, on scalars, ramps or vectors.

`Arith` holds the writer, the vector width W and the open chunks of the loop levels.  `apply(op, lanes)` is
the only entry the code generator uses: a method ``_op_NAME`` serves a row, of this class or of one that adds to it (`division`,
`memory`), else the tables do.  What is in neither was expanded by passes before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ...ir import Block, Op, Value
from ...ir.builder import canonical
from ...ir.types import BF16, BOOL, F16, F32, F64, I16, I32, I64, Element, int_element
from ..text import INTRINSICS
from .lanes import RAMP, UNIFORM, VECTOR, Lane, power_of_two_in, ramp, uniform, vector
from .text import Chunk, Writer, literal, llvm_type, unsupported

__all__ = ["Arith", "NATIVE_MATH"]

# Rows that LLVM lowers to instructions or short sequences everywhere; the rest is expanded by passes.
NATIVE_MATH = frozenset({"sqrt", "floor", "ceil", "trunc", "rint", "copysign"})

_BINARY = {
    **{n: n for n in ("add", "sub", "mul", "and", "or", "xor")},
    **{n: f"{n} contract" for n in ("fadd", "fsub", "fmul", "fdiv")},
}
_SHIFTS = ("shl", "lshr", "ashr")
_CALLS = {**INTRINSICS, "sqrt": "llvm.sqrt"}
_EXTRA_FALSE = {"iabs": "llvm.abs", "clz": "llvm.ctlz"}  # these take a second operand: i1 false, "defined everywhere"
_KEEP_ALIGNMENT = ("smin", "smax", "umin", "umax", "iabs")  # the result is one of the operands, up to its sign
_CASTS = {"trunci": "trunc", "sext": "sext", "zext": "zext", "sitofp": "sitofp", "uitofp": "uitofp"}
_PURE_CALLS = tuple(f"llvm.{name}" for name in ("smin", "smax", "umin", "umax", "abs", "fabs", "fma", "copysign", "minimum", "maximum"))
_INTRINSIC_SUFFIX = {F16: "f16", F32: "f32", F64: "f64"}


def _constant(value: Any, e: Element) -> tuple[str, int, Any]:
    """(operand, `Lane.align`, value) of a constant."""
    value = canonical(value, e) if not e.is_ptr else value
    align = power_of_two_in(int(value)) if e.is_int else 1 << 30 if value == 0 else 1
    return literal(value, e), align, value


_whole = lru_cache(maxsize=4096)(_constant)  # those whose equality says that they are the same: not 0.0 and −0.0, not 1 and True


class Arith:
    def __init__(self, writer: Writer, width: int, contract: bool = True):
        self.w = writer
        self.width = width
        self.levels: list[Chunk] = []  # chunks of the loop levels that are open around the current place
        self.contract = contract
        self._vectors: dict[tuple, str] = {}  # UNIFORM or RAMP lane → its vector, while its level is open
        self._known: list[dict[str, str]] = []  # for each level that is open: right-hand side → its name
        self._here: tuple[str, dict[str, str]] = ("", {})  # the same for the basic block that is being written

    # --- places ---

    def chunk(self, level: int) -> Chunk:
        return self.levels[level] if level < len(self.levels) else self.w.cur

    def emit(self, rhs: str, level: int) -> str:
        """The name of ``rhs``, an instruction of ``level``: a new one, or where it has no effect and stands there already, that one."""
        if rhs.startswith(("load", "call")) and not rhs.startswith(_PURE_CALLS, rhs.find("@") + 1):
            return self.w.ins(rhs, self.chunk(level))
        known = self._names(level)
        name = known.get(rhs)
        if name is None:
            name = known[rhs] = self.w.ins(rhs, self.chunk(level))
        return name

    def _names(self, level: int) -> dict[str, str]:
        if level >= len(self.levels):
            if self._here[0] != self.w.label:
                self._here = (self.w.label, {})
            return self._here[1]
        while len(self._known) <= level:
            self._known.append({})
        return self._known[level]

    def forget(self, level: int) -> None:
        """Loop ``level`` closes: vectors written inside it are out of scope."""
        self._vectors = {k: v for k, v in self._vectors.items() if k[0] < level}
        del self._known[level:]

    # --- lane forms ---

    def vec_type(self, e: Element) -> str:
        return f"<{self.width} x {llvm_type(e)}>"

    def const(self, value: Any, e: Element) -> Lane:
        text, align, value = _whole(value, e) if type(value) is int else _constant(value, e)
        return uniform(text, e, 0, align, value)

    def vec(self, lane: Lane) -> str:
        """The lane as LLVM vector text."""
        if lane.kind is VECTOR:
            return lane.val
        t, n = llvm_type(lane.elem), self.width
        if lane.kind is UNIFORM and lane.const is not None and not lane.elem.is_ptr:
            return f"splat ({t} {lane.val})"
        key = (lane.level, lane.kind, lane.val, lane.stride, lane.elem)
        got = self._vectors.get(key)
        if got is None:
            if lane.elem.is_ptr and lane.kind is RAMP:
                got = self._ramp_pointers(lane)
            else:
                one = self.emit(f"insertelement <{n} x {t}> poison, {t} {lane.val}, i64 0", lane.level)
                got = self.emit(f"shufflevector <{n} x {t}> {one}, <{n} x {t}> poison, <{n} x i32> zeroinitializer", lane.level)
                if lane.kind is RAMP:
                    steps = self._steps(lane, t)
                    got = self.emit(f"add <{n} x {t}> {got}, {steps}", lane.level)
            self._vectors[key] = got
        return got

    def _steps(self, lane: Lane, t: str) -> str:
        """``stride · (0, 1, … W−1)`` as vector text of the integer type ``t``."""
        n = self.width
        if isinstance(lane.stride, int):
            return "<" + ", ".join(f"{t} {_wrap(i * lane.stride, t)}" for i in range(n)) + ">"
        iota = "<" + ", ".join(f"{t} {i}" for i in range(n)) + ">"
        one = self.emit(f"insertelement <{n} x {t}> poison, {t} {lane.stride}, i64 0", lane.level)
        s = self.emit(f"shufflevector <{n} x {t}> {one}, <{n} x {t}> poison, <{n} x i32> zeroinitializer", lane.level)
        return self.emit(f"mul <{n} x {t}> {s}, {iota}", lane.level)

    def _ramp_pointers(self, lane: Lane) -> str:
        offsets = self._steps(ramp("0", I64, lane.stride, lane.level), "i64")
        return self.emit(f"getelementptr {_pointee(lane.elem)}, ptr {lane.val}, <{self.width} x i64> {offsets}", lane.level)

    def operand(self, lane: Lane, as_vector: bool) -> str:
        t = llvm_type(lane.elem)
        return f"{self.vec_type(lane.elem)} {self.vec(lane)}" if as_vector else f"{t} {lane.val}"

    # --- rows ---

    def apply(self, op: Op, xs: list[Lane]) -> Lane:
        """The lane of elementwise ``op`` on operand lanes."""
        name = op.name
        handler = getattr(self, "_op_" + name, None)
        if handler is not None:
            return handler(op, xs)
        if name in _BINARY or name in _SHIFTS:
            return self.binary(name, xs[0], xs[1])
        if name in _CALLS or name in _EXTRA_FALSE:
            return self._call(name, xs)
        if name in ("icmp", "fcmp"):
            return self._compare(name, op.attrs["pred"], xs)
        raise unsupported(f"operation {name} on {xs[0].elem}", op)

    def _join(self, xs: list[Lane]) -> tuple[bool, int]:
        return any(x.kind is not UNIFORM for x in xs), max(x.level for x in xs)

    def _result(self, text: str, e: Element, as_vector: bool, level: int, align: int = 1) -> Lane:
        return vector(text, e, level) if as_vector else uniform(text, e, level, align)

    def binary(self, name: str, x: Lane, y: Lane) -> Lane:
        e = x.elem
        if e.is_int:
            short = self._int_shortcut(name, x, y)
            if short is not None:
                return short
        as_vector, level = self._join([x, y])
        b = self.operand(y, as_vector).split(" ", 1)[1] if not as_vector else self.vec(y)
        if name in _SHIFTS and not (y.const is not None and 0 <= y.const < e.bits):
            t = self.vec_type(e) if as_vector else llvm_type(e)
            m = f"splat ({llvm_type(e)} {e.bits - 1})" if as_vector else str(e.bits - 1)
            b = self.emit(f"and {t} {b}, {m}", level)  # an amount out of range must not be poison
        row = _BINARY.get(name, name)
        if not self.contract:
            row = row.removesuffix(" contract")
        text = self.emit(f"{row} {self.operand(x, as_vector)}, {b}", level)
        return self._result(text, e, as_vector, level, _align_of(name, x, y))

    def _int_shortcut(self, name: str, x: Lane, y: Lane) -> Lane | None:
        """Constant folding, neutral elements, and ramp algebra; None where plain instructions are due."""
        e = x.elem
        if x.const is not None and y.const is not None:
            folded = _fold(name, int(x.const), int(y.const), e.bits)
            return None if folded is None else self.const(folded, e)
        if y.const is not None:
            if y.const == 0 and name in ("add", "sub", "or", "xor", *_SHIFTS):
                return x
            if y.const == 1 and name == "mul":
                return x
            if y.const == 0 and name in ("mul", "and"):
                return self.const(0, e)
        if x.const is not None:
            if x.const == 0 and name in ("add", "or", "xor"):
                return y
            if x.const == 1 and name == "mul":
                return y
            if x.const == 0 and name in ("mul", "and"):
                return self.const(0, e)
        if RAMP not in (x.kind, y.kind) or VECTOR in (x.kind, y.kind) or e is BOOL:
            return None
        return self._ramp_algebra(name, x, y)

    def _ramp_algebra(self, name: str, x: Lane, y: Lane) -> Lane | None:
        e, t, level = x.elem, llvm_type(x.elem), max(x.level, y.level)
        if name in ("add", "sub"):
            base = self._scalar(name, x, y, level)
            stride = self._combine(name, x.stride, y.stride, t, level)
            if stride == 0:
                return uniform(base, e, level, min(x.align, y.align))
            return ramp(base, e, stride, level, min(x.align, y.align))
        if name == "mul" and UNIFORM in (x.kind, y.kind):
            r, u = (x, y) if x.kind is RAMP else (y, x)
            base = self._scalar("mul", r, u, level)
            stride = self._combine("mul", r.stride, u.const if u.const is not None else u.val, t, level)
            if isinstance(stride, int) and abs(stride) * self.width >= 1 << (e.bits - 1):
                return None  # it wraps around, as hashes do: no address
            return ramp(base, e, stride, level, min(r.align * u.align, 1 << 30))
        if y.kind is not UNIFORM or x.stride != 1 or x.align < self.width or y.const is None:
            return None
        # A ramp of stride 1 whose base is a multiple of W lies inside one aligned block of W.
        if name == "shl":
            base = self._scalar("shl", x, y, level)
            return ramp(base, e, 1 << y.const, level, min(x.align << y.const, 1 << 30))
        if name in ("lshr", "ashr") and (1 << y.const) >= self.width:
            return uniform(self._scalar(name, x, y, level), e, level, max(1, x.align >> y.const))
        if name == "and" and y.const >= self.width - 1 and not (y.const & (y.const + 1)):
            return ramp(self._scalar("and", x, y, level), e, 1, level, x.align)
        if name == "and" and power_of_two_in(int(y.const)) >= self.width:
            return uniform(self._scalar("and", x, y, level), e, level, power_of_two_in(int(y.const)))
        return None

    def _scalar(self, name: str, x: Lane, y: Lane, level: int) -> str:
        """One scalar instruction on the bases, folded where it is trivial."""
        if name in ("add", "sub", "or") and y.val == "0":
            return x.val
        if name == "add" and x.val == "0":
            return y.val
        if name == "mul" and y.val == "1":
            return x.val
        if name == "mul" and x.val == "1":
            return y.val
        if name in ("mul", "and") and "0" in (x.val, y.val) or name == "shl" and x.val == "0":
            return "0"
        return self.emit(f"{name} {llvm_type(x.elem)} {x.val}, {y.val}", level)

    def _combine(self, name: str, a: int | str, b: int | str, t: str, level: int) -> int | str:
        """``a name b`` on strides, which are Python ints or operand text."""
        if isinstance(a, int) and isinstance(b, int):
            return {"add": a + b, "sub": a - b, "mul": a * b}[name]
        if b == 0 and name in ("add", "sub"):
            return a
        if a == 0 and name == "add":
            return b
        if name == "mul" and (a == 1 or b == 1):
            return b if a == 1 else a
        return self.emit(f"{name} {t} {a}, {b}", level)

    def _call(self, name: str, xs: list[Lane]) -> Lane:
        e = xs[0].elem
        as_vector, level = self._join(xs)
        suffix = _INTRINSIC_SUFFIX.get(e, f"i{e.bits}")
        suffix = f"v{self.width}{suffix}" if as_vector else suffix
        t = self.vec_type(e) if as_vector else llvm_type(e)
        args = [self.operand(x, as_vector) for x in xs]
        fn = f"{_CALLS.get(name) or _EXTRA_FALSE[name]}.{suffix}"
        types = [t] * len(xs)
        if name in _EXTRA_FALSE:
            args.append("i1 false")
            types.append("i1")
        self.w.declare(fn, f"{t}({', '.join(types)})")
        text = self.emit(f"call {t} @{fn}({', '.join(args)})", level)
        return self._result(text, e, as_vector, level, min(x.align for x in xs) if name in _KEEP_ALIGNMENT else 1)

    def _compare(self, name: str, pred: str, xs: list[Lane]) -> Lane:
        x, y = xs
        if x.const is not None and y.const is not None and name == "icmp" and x.elem.is_int:
            return self.const(_compare_ints(pred, int(x.const), int(y.const), x.elem.bits), BOOL)
        as_vector, level = self._join(xs)
        b = self.vec(y) if as_vector else y.val
        text = self.emit(f"{name} {pred} {self.operand(x, as_vector)}, {b}", level)
        return self._result(text, BOOL, as_vector, level)

    def _op_select(self, op: Op, xs: list[Lane]) -> Lane:
        c, x, y = xs
        if c.const is not None:
            return x if c.const else y
        as_vector, level = self._join(xs)
        c_text = self.operand(c, c.kind is not UNIFORM)
        text = self.emit(f"select {c_text}, {self.operand(x, as_vector)}, {self.operand(y, as_vector)}", level)
        return self._result(text, x.elem, as_vector, level, min(x.align, y.align))

    def select(self, c: Lane, x: Lane, y: Lane) -> Lane:
        return self._op_select(None, [c, x, y])  # type: ignore[arg-type]

    def _op_fneg(self, op: Op, xs: list[Lane]) -> Lane:
        as_vector, level = self._join(xs)
        return self._result(self.emit(f"fneg {self.operand(xs[0], as_vector)}", level), xs[0].elem, as_vector, level)

    # --- wide products ---

    def _op_smulhi(self, op: Op, xs: list[Lane]) -> Lane:
        e = xs[0].elem
        as_vector, level = self._join(xs)
        wide, narrow = f"i{2 * e.bits}", llvm_type(e)
        if as_vector:
            wide, narrow = f"<{self.width} x {wide}>", self.vec_type(e)
        ext = "sext" if op.name[0] == "s" else "zext"
        a, b = (self.emit(f"{ext} {self.operand(x, as_vector)} to {wide}", level) for x in xs)
        p = self.emit(f"mul {wide} {a}, {b}", level)
        s = self.emit(f"lshr {wide} {p}, {f'splat (i{2 * e.bits} {e.bits})' if as_vector else e.bits}", level)
        return self._result(self.emit(f"trunc {wide} {s} to {narrow}", level), e, as_vector, level)

    _op_umulhi = _op_smulhi

    # --- conversions ---

    def _convert(self, instr: str, x: Lane, to: Element) -> Lane:
        as_vector = x.kind is not UNIFORM
        t = self.vec_type(to) if as_vector else llvm_type(to)
        text = self.emit(f"{instr} {self.operand(x, as_vector)} to {t}", x.level)
        return self._result(text, to, as_vector, x.level)

    def _op_sext(self, op: Op, xs: list[Lane]) -> Lane:
        return self.resize(xs[0], op.attrs["to"], op.name == "sext")

    _op_zext = _op_trunci = _op_sext

    def resize(self, x: Lane, to: Element, signed: bool = True) -> Lane:
        """Integer conversion; a ramp stays one where its W values do not wrap around (taken for granted from 32 bits)."""
        if x.elem is to:
            return x
        instr = "trunc" if to.bits < x.elem.bits else "sext" if signed else "zext"
        if x.const is not None:
            v = int(x.const)
            if x.elem is BOOL:
                v = -(v & 1)  # kept as 1, read as a number with a sign it is -1
            return self.const(v & ((1 << x.elem.bits) - 1) if instr == "zext" else v, to)
        if x.kind is RAMP and to is not BOOL and (instr == "trunc" or self._unwrapped(x, instr)):
            t = llvm_type(to)
            if x.val.lstrip("-").isdigit():
                base = str(canonical(int(x.val) & ((1 << x.elem.bits) - 1) if instr == "zext" else int(x.val), to))
            else:
                base = self.emit(f"{instr} {llvm_type(x.elem)} {x.val} to {t}", x.level)
            stride = x.stride
            if not isinstance(stride, int):
                stride = self.emit(f"{instr if instr == 'trunc' else 'sext'} {llvm_type(x.elem)} {stride} to {t}", x.level)
            return ramp(base, to, stride, x.level, x.align)
        r = self._convert(instr, x, to)
        r.align = x.align if x.kind is UNIFORM else 1
        return r

    def _unwrapped(self, x: Lane, instr: str) -> bool:
        """Whether widening a ramp value by value is widening its base: it does not cross the end of its range."""
        in_block = x.stride == 1 and x.align >= self.width  # inside an aligned block of W
        return in_block or instr == "sext" and x.elem.bits >= 32

    def _op_sitofp(self, op: Op, xs: list[Lane]) -> Lane:
        to = op.attrs["to"]
        if to in (BF16,):
            return self.fpcast(self._convert(op.name, xs[0], F32), to)
        return self._convert(op.name, xs[0], to)

    _op_uitofp = _op_sitofp

    def _op_fptosi(self, op: Op, xs: list[Lane]) -> Lane:
        x, to = xs[0], op.attrs["to"]
        if x.elem is BF16:
            x = self.fpcast(x, F32)
        # Through at least 32 bits: LLVM's poison for out-of-range values then covers fewer inputs, and freeze
        # keeps what remains from spreading.
        via = to if to.bits >= 32 else I32
        r = self._convert(op.name, x, via)
        as_vector = r.kind is not UNIFORM
        r = self._result(self.emit(f"freeze {self.operand(r, as_vector)}", r.level), via, as_vector, r.level)
        return r if via is to else self.resize(r, to)

    _op_fptoui = _op_fptosi

    def _op_fpcast(self, op: Op, xs: list[Lane]) -> Lane:
        if op.attrs["rounding"] != "rtne":
            raise unsupported(f"fpcast to {op.attrs['to']} with rounding {op.attrs['rounding']}", op)
        return self.fpcast(xs[0], op.attrs["to"])

    def fpcast(self, x: Lane, to: Element) -> Lane:
        e = x.elem
        if e is to:
            return x
        if not {e, to} <= {F16, BF16, F32, F64}:
            raise unsupported(f"fpcast from {e} to {to}")
        if e is BF16:
            # bf16 is the upper half of an f32
            bits = self._convert("zext", self._as_bits(x), I32)
            x = self._convert("bitcast", self.binary("shl", bits, self.const(16, I32)), F32)
            return self.fpcast(x, to)
        if e is F16 and to is BF16:
            x, e = self._convert("fpext", x, F32), F32  # neither contains the other
        if to is BF16:
            as_vector = x.kind is not UNIFORM
            n, bf, bits = self.width, "bfloat", "i16"
            if as_vector:
                bf, bits = f"<{n} x {bf}>", f"<{n} x {bits}>"
            y = self.emit(f"fptrunc {self.operand(x, as_vector)} to {bf}", x.level)
            return self._result(self.emit(f"bitcast {bf} {y} to {bits}", x.level), to, as_vector, x.level)
        return self._convert("fpext" if to.bits > e.bits else "fptrunc", x, to)

    def _as_bits(self, x: Lane) -> Lane:
        """A bf16 as the integer that carries it."""
        return Lane(x.kind, x.val, I16, x.stride, 1, x.level)

    def _op_bitcast(self, op: Op, xs: list[Lane]) -> Lane:
        x, to = xs[0], op.attrs["to"]
        if x.elem.is_ptr and to.is_ptr:
            if x.kind is RAMP and x.elem.pointee.bytes != to.pointee.bytes:
                return vector(self.vec(x), to, x.level)
            return Lane(x.kind, x.val, to, x.stride, x.align, x.level, x.const)
        if llvm_type(x.elem) == llvm_type(to):
            if x.kind is RAMP:
                return vector(self.vec(x), to, x.level)
            return Lane(x.kind, x.val, to, x.stride, 1, x.level)
        if x.elem.is_ptr:
            return self._op_ptrtoint(op, xs)
        if to.is_ptr:
            return self._op_inttoptr(op, xs)
        return self._convert("bitcast", x, to)

    def _op_ptrtoint(self, op: Op, xs: list[Lane]) -> Lane:
        x, to = xs[0], op.attrs["to"]
        if x.kind is RAMP and isinstance(x.stride, int):
            base = self.emit(f"ptrtoint ptr {x.val} to {llvm_type(to)}", x.level)
            return ramp(base, to, x.stride * x.elem.pointee.bytes, x.level, x.align)
        r = self._convert("ptrtoint", x, to)
        r.align = x.align
        return r

    def _op_inttoptr(self, op: Op, xs: list[Lane]) -> Lane:
        r = self._convert("inttoptr", xs[0], op.attrs["to"])
        r.align = xs[0].align
        return r

    def _op_addptr(self, op: Op, xs: list[Lane]) -> Lane:
        return self.addptr(*xs)

    def addptr(self, p: Lane, off: Lane) -> Lane:
        e, level = p.elem, max(p.level, off.level)
        if off.const == 0:
            return p
        size = e.pointee.bytes
        align = min(p.align, off.align * size)
        if VECTOR in (p.kind, off.kind):
            if p.kind is UNIFORM:
                ptrs = f"ptr {p.val}"
            else:
                ptrs = f"<{self.width} x ptr> {self.vec(p)}"
            text = self.emit(f"getelementptr {_pointee(e)}, {ptrs}, {self.operand(off, True)}", level)
            return vector(text, e, level)
        base = self.emit(f"getelementptr {_pointee(e)}, ptr {p.val}, {llvm_type(off.elem)} {off.val}", level)
        if p.kind is UNIFORM and off.kind is UNIFORM:
            return uniform(base, e, level, align)
        stride = off.stride
        if not isinstance(stride, int) and off.elem is not I64:
            stride = self.emit(f"sext {llvm_type(off.elem)} {stride} to i64", level)
        stride = self._combine("add", p.stride, stride, "i64", level)
        return ramp(base, e, stride, level, align) if stride != 0 else uniform(base, e, level, align)

    def run_block(self, block: Block, args: list[Lane], scalar: Callable[[Value], Lane]) -> list[Lane]:
        """A combine block on lanes: its arguments are ``args``; ``if`` becomes select (blocks are pure)."""
        env: dict[Value, Lane] = dict(zip(block.args, args))

        def get(v: Value) -> Lane:
            got = env.get(v)
            return got if got is not None else scalar(v)

        def run(ops: list[Op]) -> list[Lane]:
            for op in ops:
                if op.name == "yield":
                    return [get(v) for v in op.operands]
                if op.name == "constant":
                    env[op.result] = self.const(op.attrs["value"], op.result.type.elem)
                elif op.name == "if":
                    c, yes, no = get(op.operands[0]), run(op.blocks[0].ops), run(op.blocks[1].ops)
                    for r, a, b in zip(op.results, yes, no):
                        env[r] = self.select(c, a, b)
                elif op.name == "hint":
                    env[op.result] = get(op.operands[0])
                elif op.defn.elementwise:
                    env[op.result] = self.apply(op, [get(v) for v in op.operands])
                else:
                    raise unsupported(f"operation {op.name} in a combine function", op)
            return []

        return run(block.ops)

    def not_(self, x: Lane) -> Lane:
        return self.binary("xor", x, self.const(1, BOOL))

    def all_of(self, lanes: list[Lane]) -> Lane | None:
        """Conjunction of i1 lanes; None when there is none, or all are true."""
        out: Lane | None = None
        for x in lanes:
            if x.const == 1:
                continue
            out = x if out is None else self.binary("and", out, x)
        return out


def _pointee(e: Element) -> str:
    p = e.pointee  # type: ignore[attr-defined]
    return "i8" if p.bits == 1 else llvm_type(p)


def _wrap(v: int, t: str) -> int:
    return int(canonical(v, int_element(int(t[1:]))))


def _align_of(name: str, x: Lane, y: Lane) -> int:
    if name in ("add", "sub", "or", "xor"):
        return min(x.align, y.align)
    if name == "mul":
        return min(x.align * y.align, 1 << 30)
    if name == "and":
        return max(x.align, y.align)
    if name == "shl" and y.const is not None:
        return min(x.align << int(y.const), 1 << 30) if 0 <= y.const < 64 else 1
    return 1


def _fold(name: str, x: int, y: int, bits: int) -> int | None:
    mask = (1 << bits) - 1
    if name in _SHIFTS and not 0 <= y < bits:
        return None
    table = {
        "add": lambda: x + y,
        "sub": lambda: x - y,
        "mul": lambda: x * y,
        "and": lambda: x & y,
        "or": lambda: x | y,
        "xor": lambda: x ^ y,
        "shl": lambda: x << y,
        "lshr": lambda: (x & mask) >> y,
        "ashr": lambda: x >> y,
    }
    return table[name]() if name in table else None


def _compare_ints(pred: str, x: int, y: int, bits: int) -> bool:
    if pred[0] == "u":
        mask = (1 << bits) - 1
        x, y, pred = x & mask, y & mask, "s" + pred[1:]
    elif bits == 1:
        x, y = -(x & 1), -(y & 1)
    return {
        "eq": x == y,
        "ne": x != y,
        "slt": x < y,
        "sle": x <= y,
        "sgt": x > y,
        "sge": x >= y,
    }[pred]
