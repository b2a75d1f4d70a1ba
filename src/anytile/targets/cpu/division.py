"""Division on lanes: of floats by one divisor through its reciprocal, of integers by instructions that would trap on their own."""

from __future__ import annotations

from collections.abc import Callable

from ...ir import Op, Value
from ...ir.types import F32, F64, Element
from .arith import Arith
from .lanes import RAMP, UNIFORM, Lane, power_of_two_in, ramp, uniform, vector
from .text import Writer, literal, llvm_type

__all__ = ["Division"]


class Division(Arith):
    def __init__(self, writer: Writer, width: int, contract: bool = True):
        super().__init__(writer, width, contract)
        self._reciprocals: dict[
            tuple[int, str], tuple[Lane, Lane, Lane]
        ] = {}  # divisor → (scaled, reciprocal, scale), while its level is open

    def forget(self, level: int) -> None:
        super().forget(level)
        self._reciprocals = {k: v for k, v in self._reciprocals.items() if k[0] < level}

    # --- floats ---

    def _op_fdiv(self, op: Op, xs: list[Lane]) -> Lane:
        return self._by_reciprocal(*xs) if self._divides_by_uniform(op, *xs) else self.binary(op.name, *xs)

    def _divides_by_uniform(self, op: Op, x: Lane, y: Lane) -> bool:
        return self.contract and not op.attrs["precise"] and x.elem is F32 and y.kind is UNIFORM and x.kind is not UNIFORM

    def _by_reciprocal(self, x: Lane, y: Lane) -> Lane:
        """``x / y`` for one divisor and many dividends: a vector division costs as much as a dozen multiplications.

        q = x·r with r = 1/y is one Newton step from the correctly rounded quotient (Markstein 1990):
        q + r·(x − q·y).  Where that is not a number (zero or infinite operands, an overflowing quotient) q itself
        is the answer.  The reciprocal of a tiny divisor would overflow: then both operands are taken times 2^64.
        """
        level = max(x.level, y.level)
        t = self.vec_type(F32)
        d, rv, sv = (self.vec(s) for s in self._reciprocal(y))
        v = self.emit(f"fmul {t} {self.vec(x)}, {sv}", level)
        q = self.emit(f"fmul {t} {v}, {rv}", level)
        fn = self.w.declare(f"llvm.fma.v{self.width}f32", f"{t}({t}, {t}, {t})")
        rest = self.emit(f"call {t} {fn}({t} {self.emit(f'fneg {t} {q}', level)}, {t} {d}, {t} {v})", level)
        better = self.emit(f"call {t} {fn}({t} {rest}, {t} {rv}, {t} {q})", level)
        keep = self.emit(f"fcmp ueq {t} {better}, {q}", level)  # equal, too: the correction loses the sign of a zero
        return vector(self.emit(f"select <{self.width} x i1> {keep}, {t} {q}, {t} {better}", level), F32, level)

    def _reciprocal(self, y: Lane) -> tuple[Lane, Lane, Lane]:
        """(y·s, 1/(y·s), s) with s = 2^64 for a tiny y, else 1."""
        got = self._reciprocals.get((y.level, y.val))
        if got is None:
            fabs = self.w.declare("llvm.fabs.f32", "float(float)")
            tiny = self.emit(
                f"fcmp olt float {self.emit(f'call float {fabs}(float {y.val})', y.level)}, {literal(2.0**-100, F32)}", y.level
            )
            scale = self.emit(f"select i1 {tiny}, float {literal(2.0**64, F32)}, float 1.0", y.level)
            divisor = self.emit(f"fmul float {y.val}, {scale}", y.level)
            r = self.emit(f"fdiv float 1.0, {divisor}", y.level)
            scaled, reciprocal, factor = (uniform(s, F32, y.level) for s in (divisor, r, scale))
            got = self._reciprocals[y.level, y.val] = scaled, reciprocal, factor
        return got

    # --- integers: never traps ---

    def _op_sdiv(self, op: Op, xs: list[Lane]) -> Lane:
        x, y = xs
        return self._divide(op.name, x, y, lambda: op.name != "srem" or (_locates(op.result) and _counts(op.operands[0])))

    _op_udiv = _op_srem = _op_urem = _op_sdiv

    def _divide(self, name: str, x: Lane, y: Lane, together: Callable[[], bool] = lambda: True) -> Lane:
        """``together``: whether a block of neighbours may be taken to stay one; a signed remainder tears it where multiples are negative."""
        e, signed = x.elem, name[0] == "s"
        if x.const is not None and y.const:
            return self.const(_fold_division(name, int(x.const), int(y.const), e.bits), e)
        if y.const == 1:
            return x if name.endswith("div") else self.const(0, e)
        level = max(x.level, y.level)
        in_block = x.kind is RAMP and y.kind is UNIFORM and x.stride == 1 and min(x.align, y.align) >= self.width
        if in_block and y.const != 0 and together():
            # x's W values lie in one aligned block of W and y is a multiple of W: the remainder keeps the
            # block together; so does the unsigned quotient (the signed one not across zero).
            base = uniform(x.val, e, x.level, x.align)
            if name.endswith("rem"):
                r = self._divide(name, base, y)
                return ramp(r.val, e, 1, level, min(x.align, y.align))
            if name == "udiv":
                return self._divide(name, base, y)
        as_vector, level = self._join([x, y])
        t = self.vec_type(e) if as_vector else llvm_type(e)
        d = self.vec(y) if as_vector else y.val
        safe = y.const is not None and y.const not in (0, -1)
        if as_vector and not safe and y.kind is UNIFORM and e.bits <= 32:
            return self._divide_by_one(name, x, y, level)
        if not safe:
            d = self._guard(x, d, t, e, signed, as_vector, level)
        n = self.vec(x) if as_vector else x.val
        if as_vector and not safe and e.bits <= 32:
            q = self._divide_in_doubles(n, d, t, signed, level)
            if name.endswith("rem"):
                q = self.emit(f"sub {t} {n}, {self.emit(f'mul {t} {q}, {d}', level)}", level)
            return vector(q, e, level)
        align = power_of_two_in(x.align // y.const) if name.endswith("div") and y.const and y.const > 0 and x.align % y.const == 0 else 1
        if name.endswith("rem"):
            align = min(x.align, y.align)
        return self._result(self.emit(f"{name} {t} {n}, {d}", level), e, as_vector, level, align)

    def _guard(self, x: Lane, d: str, t: str, e: Element, signed: bool, as_vector: bool, level: int) -> str:
        """The divisor with 1 in place of 0 (and of −1 under the most negative dividend)."""
        cond, one, zero = (f"<{self.width} x i1>", f"splat ({llvm_type(e)} 1)", "zeroinitializer") if as_vector else ("i1", "1", "0")
        bad = self.emit(f"icmp eq {t} {d}, {zero}", level)
        if signed:
            least = -(1 << (e.bits - 1))
            minus1, least_text = (f"splat ({llvm_type(e)} {v})" if as_vector else str(v) for v in (-1, least))
            a = self.emit(f"icmp eq {t} {d}, {minus1}", level)
            b = self.emit(f"icmp eq {t} {self.vec(x) if as_vector else x.val}, {least_text}", level)
            bad = self.emit(f"or {cond} {bad}, {self.emit(f'and {cond} {a}, {b}', level)}", level)
        return self.emit(f"select {cond} {bad}, {t} {one}, {t} {d}", level)

    def _divide_by_one(self, name: str, x: Lane, y: Lane, level: int) -> Lane:
        """Vector ``x`` of at most 32 bits by one ``y`` that is known when it runs: a multiplication in f64 by its reciprocal.

        r = (1 + 2^-50) / y, rounded, and x·r, rounded, are off by 2^-53 of themselves each: x·r is beyond x / y in magnitude, by less than
        2^-49 of it.  Quotients of 32 bits are whole numbers or 1 / |y| away from one, which is more, so truncation is right.  By −1,
        whose quotient may not fit, it divides by 1 and changes the sign, which wraps.
        """
        e, signed, t, f = x.elem, name[0] == "s", self.vec_type(x.elem), f"<{self.width} x double>"
        to, back = ("sitofp", "fptosi") if signed else ("uitofp", "fptoui")
        divisor, r, flip = (self.vec(v) for v in self._double_reciprocal(y, signed))
        n = self.vec(x)
        product = self.emit(f"fmul {f} {self.emit(f'{to} {t} {n} to {f}', level)}, {r}", level)
        q = self.emit(f"{back} {f} {product} to {t}", level)
        if signed:
            q = self.emit(f"sub {t} {self.emit(f'xor {t} {q}, {flip}', level)}, {flip}", level)
        if name.endswith("rem"):
            q = self.emit(f"sub {t} {n}, {self.emit(f'mul {t} {q}, {divisor}', level)}", level)
        return vector(q, e, level)

    def _double_reciprocal(self, y: Lane, signed: bool) -> tuple[Lane, Lane, Lane]:
        """(y, or 1 for 0; what to multiply by, in f64; −1 where the sign is to change, else 0) for `_divide_by_one`."""
        key = (y.level, f"{y.val} {'signed' if signed else 'unsigned'}")
        got = self._reciprocals.get(key)
        if got is None:
            one, level = llvm_type(y.elem), y.level
            zero = self.emit(f"icmp eq {one} {y.val}, 0", level)
            divisor = self.emit(f"select i1 {zero}, {one} 1, {one} {y.val}", level)
            minus = self.emit(f"icmp eq {one} {y.val}, -1", level) if signed else "false"
            unit = self.emit(f"select i1 {minus}, {one} 1, {one} {divisor}", level)
            by = self.emit(f"{'sitofp' if signed else 'uitofp'} {one} {unit} to double", level)
            r = self.emit(f"fdiv double {literal(1 + 2.0**-50, F64)}, {by}", level)
            flip = self.emit(f"sext i1 {minus} to {one}", level)
            got = uniform(divisor, y.elem, level), uniform(r, F64, level), uniform(flip, y.elem, level)
            self._reciprocals[key] = got
        return got

    def _divide_in_doubles(self, n: str, d: str, t: str, signed: bool, level: int) -> str:
        """Vectors have no integer division; quotients of 32-bit integers are exact in f64 after truncation."""
        f = f"<{self.width} x double>"
        to, back = ("sitofp", "fptosi") if signed else ("uitofp", "fptoui")
        a = self.emit(f"{to} {t} {n} to {f}", level)
        b = self.emit(f"{to} {t} {d} to {f}", level)
        return self.emit(f"{back} {f} {self.emit(f'fdiv {f} {a}, {b}', level)} to {t}", level)


_MOVES = frozenset("splat broadcast expand_dims reshape permute add mul sext zext hint".split())
"""What positions go through on their way to an address."""


def _locates(v: Value) -> bool:
    """Whether ``v`` is used in addresses alone.

    ``(pid * BLOCK + arange(0, BLOCK)) % N`` keeps the loads of a matmul inside its matrix.  It is not negative, but no analysis knows
    that where ``pid`` was divided by numbers made of N, whose sign is unknown.  So remainders that are used like this one, of
    positions that `_counts`, are taken for what they look like, as in Triton's axis analysis; all others are right whatever the sign.
    """
    every = [v]
    for w in every:  # grows while it runs; numbers may be used in many places
        for op in w.users():
            if op.name in _MOVES:
                if op.result not in every:
                    every.append(op.result)
            elif op.name != "addptr":
                return False
    return True


def _counts(v: Value) -> bool:
    """Whether ``v`` counts up from a program's index: sums and products, quotients and remainders of such numbers, and of constants."""
    every = [v]
    for w in every:  # grows while it runs
        parts = _counted(w)
        if parts is None:
            return False
        every += [x for x in parts if x not in every]
    return True


def _counted(v: Value) -> list[Value] | None:
    """The numbers that must count up for ``v`` to do so; None where it may be below zero."""
    op = v.op
    if op is None:
        loop = v.owner.parent  # type: ignore[union-attr]
        if not isinstance(loop, Op) or loop.name != "for":
            return None  # a parameter of the kernel, say
        if v.index == 0:
            return [loop.operands[0], loop.operands[2]]  # where it begins and its step
        return [loop.rest()[v.index - 1], loop.blocks[0].terminator.operands[v.index - 1]]  # where it begins and what becomes of it
    if op.name in ("constant", "arange"):
        return [] if op.attrs["value" if op.name == "constant" else "start"] >= 0 else None
    if op.name in ("sdiv", "srem", "udiv", "urem"):
        return [op.operands[0]]
    if op.name in _MOVES or op.name in ("smin", "smax"):
        return list(op.operands)
    return [] if op.name in ("program_id", "num_programs") else None


def _fold_division(name: str, x: int, y: int, bits: int) -> int:
    if name[0] == "u":
        mask = (1 << bits) - 1
        x, y = x & mask, y & mask
    q = abs(x) // abs(y)
    q = -q if (x < 0) != (y < 0) else q
    return q if name.endswith("div") else x - q * y
