"""Random tile programs for property tests: build one with `programs()`, run it with `Program.run`.

A program is a kernel over fixed buffers::

    @k(%in_i32: ptr<i32>, %in_f32: ptr<f32>, %out: ptr<…> for every element, %n: i32 {divisible}, %m: i32)

Values grow step by step out of earlier ones: arithmetic, comparisons, conversions, changes of shape, reductions,
scans, loads, branches and loops (with carried tiles, pointers among them).  A few of the values are stored, each
to its own slot of the output buffer of its element.  What the IR leaves unspecified never occurs: divisors are
1 … 7, shifts are below the width, floats are clamped before they become integers, stores do not overlap.

    @settings(max_examples=examples(60))
    @given(programs())
    def test(program):
        before = program.run(ReferenceTarget(), n=3, m=5)
        optimize(program.module)
        assert_same(before, program.run(CpuTarget(), n=3, m=5))
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from choices import Choices, Drawn
from hypothesis import strategies as st

from anytile.ir import Block, Builder, Func, Module, Op, Value, ptr, scalar, tile
from anytile.ir.types import BF16, BOOL, F16, F32, I8, I16, I32, I64, Element, Type
from anytile.targets.base import struct_format

__all__ = ["OUTPUTS", "Program", "assert_same", "examples", "program", "programs"]

SHAPES: tuple[tuple[int, ...], ...] = ((), (4,), (8,), (4, 1), (1, 8), (4, 8), (8, 4))
INTS: tuple[Element, ...] = (BOOL, I8, I16, I32, I64)
FLOATS: tuple[Element, ...] = (F16, BF16, F32)
OUTPUTS: tuple[Element, ...] = (*INTS, *FLOATS)
STORAGE = {BOOL: np.uint8, I8: np.int8, I16: np.int16, I32: np.int32, I64: np.int64, F16: np.float16, BF16: np.uint16, F32: np.float32}
IN_SIZE, SLOT, SLOTS = 64, 32, 6  # elements of an input; elements and number of an output's slots


def examples(usual: int) -> int:
    """How many examples a property test runs: ``usual``, times ``ANYTILE_TEST_EFFORT`` (a number; 20 makes a thorough run)."""
    return max(1, round(usual * float(os.environ.get("ANYTILE_TEST_EFFORT", "1"))))


@dataclass
class Program:
    module: Module

    def run(self, target: Any, n: int = 3, m: int = 5, grid: tuple[int, int, int] = (1, 1, 1)) -> dict[str, np.ndarray]:
        """The output buffers by element name after one launch on ``target``."""
        ints = (np.arange(IN_SIZE) * 7 % 23 - 11).astype(np.int32)
        floats = ((np.arange(IN_SIZE) * 5 % 17 - 8) / 4).astype(np.float32)
        outputs = {str(e): np.zeros(SLOT * SLOTS, STORAGE[e]) for e in OUTPUTS}
        buffers = [ints, floats, *outputs.values()]
        loaded = target.load(target.compile(self.module, None))
        types = [a.type for a in self.module.kernel.args]
        packed = struct.pack(struct_format(types), *(a.ctypes.data for a in buffers), n, m)
        loaded.run(packed, *grid)
        return outputs


def _as_float(name: str, a: np.ndarray) -> np.ndarray:
    return (a.astype(np.uint32) << 16).view(np.float32) if name == "bf16" else a


def assert_same(got: dict[str, np.ndarray], want: dict[str, np.ndarray], rtol: float = 0.0) -> None:
    """Equal outputs: exactly, with all NaNs and both zeros alike; floats within ``rtol`` where it is given."""
    for name, w in want.items():
        np.testing.assert_allclose(_as_float(name, got[name]), _as_float(name, w), rtol=rtol, atol=rtol, equal_nan=True, err_msg=name)


class _Maker:
    """Grows a program.  ``pool`` holds the values in scope by type."""

    def __init__(self, choices: Choices, floats: tuple[Element, ...] = FLOATS):
        self.choices, self.pick, self.chance = choices, choices.pick, choices.chance
        self.floats = floats
        args = [ptr(I32), ptr(F32), *(ptr(e) for e in OUTPUTS), scalar(I32), scalar(I32)]
        names = ["in_i32", "in_f32", *(f"out_{e}" for e in OUTPUTS), "n", "m"]
        self.func = Func("k", tuple(args), tuple(names))
        self.func.arg_attrs[0]["divisible"] = 4
        self.pool: dict[Type, list[Value]] = {}
        self.b = Builder(self.func.body)
        self.in_i32, self.in_f32, *rest = self.func.args
        self.outs = dict(zip(OUTPUTS, rest[: len(OUTPUTS)], strict=True))
        self.n, self.m = rest[len(OUTPUTS) :]
        self.depth = 0
        self.used = dict.fromkeys(OUTPUTS, 0)  # slots of each output that have been stored to
        self.made: list[Value] = []  # outside control flow, in order

    # --- choosing ---------------------------------------------------------------------------------------

    def add(self, v: Value) -> Value:
        if v.type.shape in SHAPES:
            self.pool.setdefault(v.type, []).append(v)
            if not self.depth:
                self.made.append(v)
        return v

    def value(self, t: Type) -> Value:
        """Some value of type ``t``: one in scope, a fresh one from memory, or a constant."""
        have = self.pool.get(t)
        if have and self.choices.integer(0, 4):
            return self.pick(have[-6:])
        if self.choices.integer(0, 2):
            return self.add(self.from_memory(t))
        if t.elem.is_float:
            return self.b.const(self.pick((0.0, 1.0, -0.5, 3.0, 0.1)), t)
        return self.b.const(self.pick((0, 1, 2, -1, 7)), t)

    def from_memory(self, t: Type) -> Value:
        """An input tile, converted to ``t``."""
        b, shape = self.b, t.shape
        base = self.in_f32 if t.elem.is_float else self.in_i32
        start = self.spread(b.addptr(base, b.const(self.pick((0, 5, 16)), I32)), shape)
        x = b.load(b.addptr(start, self.index(shape)))
        if t.elem.is_float:
            return x if t.elem is F32 else b.fpcast(x, to=t.elem)
        if t.elem is BOOL:
            return b.icmp(x, self.spread(self.n, shape), pred=self.pick(("slt", "sge", "ne")))
        return x if t.elem is I32 else b.sext(x, to=I64) if t.elem is I64 else b.trunci(x, to=t.elem)

    def shape_of_int(self) -> tuple[int, ...]:
        return self.pick(SHAPES)

    def index(self, shape: tuple[int, ...]) -> Value:
        """0, 1, 2 … in row-major order, as i32."""
        size = int(np.prod(shape, dtype=int))
        if not shape:
            return self.b.const(0, I32)
        flat = self.b.arange(start=0, end=size)
        return flat if len(shape) == 1 else self.b.reshape(flat, shape=shape)

    def spread(self, v: Value, shape: tuple[int, ...]) -> Value:
        return self.b.splat(v, shape=shape) if shape else v

    # --- steps ------------------------------------------------------------------------------------------

    def step(self) -> None:
        kinds = [
            "int",
            "int",
            "float",
            "compare",
            "select",
            "cast",
            "shape",
            "shape",
            "shape",
            "load",
            "reduce",
            "scan",
            "identity",
            "store",
        ]
        if self.depth < 2:
            kinds += ["if", "for", "for", "while"]
        getattr(self, "do_" + self.pick(kinds))()

    def do_int(self) -> None:
        t = tile(self.pick(SHAPES), self.pick(INTS))
        x, y = self.value(t), self.value(t)
        rows = ["add", "sub", "mul", "and", "or", "xor", "smin", "smax", "umin", "umax", "iabs", "popc", "clz"]
        if t.elem is not BOOL:
            rows += ["sdiv", "udiv", "srem", "urem", "shl", "lshr", "ashr", "smulhi", "umulhi"]
        name = self.pick(rows)
        if name in ("iabs", "popc", "clz"):
            self.add(self.b.op(name, x))
            return
        if name in ("sdiv", "udiv", "srem", "urem"):
            y = self.b.or_(self.b.and_(y, self.b.const(7, t)), self.b.const(1, t))
        elif name in ("shl", "lshr", "ashr"):
            y = self.b.and_(y, self.b.const(t.elem.bits - 1, t))
        self.add(self.b.op(name, x, y))

    def do_float(self) -> None:
        t = tile(self.pick(SHAPES), self.pick(self.floats))
        x, y = self.value(t), self.value(t)
        name = self.pick(("fadd", "fsub", "fmul", "fmin", "fmax", "fminimum", "fmaximum", "fdiv", "fneg", "fabs", "floor", "sqrt"))
        if name in ("fneg", "fabs", "floor", "sqrt"):
            self.add(self.b.op(name, x))
        elif name == "fdiv":
            self.add(self.b.fdiv(x, self.pick((self.b.const(4.0, t), self.b.fadd(self.b.fabs(y), self.b.const(1.0, t))))))
        else:
            self.add(self.b.op(name, x, y))

    def do_compare(self) -> None:
        t = tile(self.pick(SHAPES), self.pick((*INTS, *self.floats)))
        x, y = self.value(t), self.value(t)
        if t.elem.is_float:
            self.add(self.b.fcmp(x, y, pred=self.pick(("oeq", "une", "olt", "ole", "ogt", "oge", "uno"))))
        else:
            self.add(self.b.icmp(x, y, pred=self.pick(("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge"))))

    def do_select(self) -> None:
        t = tile(self.pick(SHAPES), self.pick((*INTS, *self.floats)))
        self.add(self.b.select(self.value(t.with_elem(BOOL)), self.value(t), self.value(t)))

    def do_identity(self) -> None:
        """Something that canonicalize ought to see through."""
        t = tile(self.pick(SHAPES), self.pick((I32, I64, F32)))
        x = self.value(t)
        if t.elem.is_float:
            row, c = self.pick((("fmul", 1.0), ("fadd", -0.0), ("fsub", 0.0), ("fdiv", 1.0), ("fadd", 0.0), ("fdiv", 2.0)))
        else:
            row, c = self.pick((("add", 0), ("mul", 1), ("mul", 0), ("and", -1), ("or", 0), ("xor", -1), ("sub", 3), ("add", 5)))
        self.add(self.b.op(row, x, self.b.const(c, t)))

    def do_cast(self) -> None:
        t = tile(self.pick(SHAPES), self.pick((*INTS, *self.floats)))
        x, e = self.value(t), t.elem
        to = self.pick([o for o in (*INTS, *self.floats) if o is not e])
        b = self.b
        if e.is_int and to.is_int:
            self.add(b.op(self.pick(("sext", "zext")) if to.bits > e.bits else "trunci", x, to=to))
        elif e.is_int:
            self.add(b.op(self.pick(("sitofp", "uitofp")), x, to=to))
        elif to.is_float:
            self.add(b.fpcast(x, to=to))
        elif to is not BOOL:
            finite = b.select(b.fcmp(x, x, pred="oeq"), x, b.const(0.0, t))
            small = b.fmin(b.fmax(finite, b.const(0.0, t)), b.const(100.0, t))
            self.add(b.op(self.pick(("fptosi", "fptoui")), small, to=to))

    def do_shape(self) -> None:
        kind = self.pick(("splat", "broadcast", "expand_dims", "reshape", "permute", "join", "outer"))
        e = self.pick((I32, I64, F32, BOOL))
        b = self.b
        if kind == "splat":
            self.add(b.splat(self.value(scalar(e)), shape=self.pick(SHAPES[1:])))
        elif kind == "broadcast":
            self.add(b.broadcast(self.value(tile(self.pick(((4, 1), (1, 8))), e)), shape=(4, 8)))
        elif kind == "expand_dims":
            shape, axis = self.pick((((4,), 1), ((8,), 0)))
            self.add(b.expand_dims(self.value(tile(shape, e)), axis=axis))
        elif kind == "reshape":
            source, target = self.pick((((4, 1), (4,)), ((1, 8), (8,)), ((4, 8), (8, 4)), ((4,), (4, 1)), ((8,), (1, 8))))
            self.add(b.reshape(self.value(tile(source, e)), shape=target))
        elif kind == "permute":
            self.add(b.permute(self.value(tile(self.pick(((4, 8), (8, 4))), e)), order=self.pick(((1, 0), (0, 1)))))
        elif kind == "join":
            t = tile((4,), e)
            lo, hi = b.split(b.join(self.value(t), self.value(t)))
            self.add(lo)
            self.add(hi)
        else:  # a column against a row: where low rank ends
            t = self.pick((I32, I64))
            col = b.broadcast(self.value(tile((4, 1), t)), shape=(4, 8))
            row = b.broadcast(self.value(tile((1, 8), t)), shape=(4, 8))
            self.add(b.op(self.pick(("add", "mul", "and")), b.add(col, b.const(1, col.type)), row))

    def do_load(self) -> None:
        shape = self.pick(SHAPES)
        b = self.b
        offset = b.and_(self.value(tile(shape, I32)), b.const(IN_SIZE - 1, tile(shape, I32)))
        base = self.pick((self.in_i32, self.in_f32, self.outs[I32]))  # the last one sees earlier stores
        p = b.addptr(self.spread(base, shape), offset)
        t = p.type.with_elem(p.type.elem.pointee)
        mask = self.value(tile(shape, BOOL)) if self.chance() else None
        other = self.value(t) if mask is not None and self.chance() else None
        self.add(b.load(p, mask, other))

    def do_store(self) -> None:
        """A store in the middle, also inside branches and loops, to a slot of its own."""
        t = tile(self.pick(SHAPES), self.pick((I32, I32, F32, F16)))
        if self.used[t.elem] < SLOTS:
            self.store(self.value(t))

    def store(self, v: Value) -> None:
        e, shape = v.type.elem, v.type.shape
        offset = self.b.add(self.index(shape), self.b.const(self.used[e] * SLOT, tile(shape, I32)))
        mask = self.value(tile(shape, BOOL)) if self.chance() else None
        self.b.store(self.b.addptr(self.spread(self.outs[e], shape), offset), v, mask)
        self.used[e] += 1

    def combiner(self, e: Element) -> Block:
        """A block of two scalars that is associative and, on floats, exact."""
        block = Block((scalar(e), scalar(e)))
        rows = ("fmin", "fmax", "fmaximum") if e.is_float else ("add", "mul", "xor", "smax", "umin", "and")
        Builder(block).make("yield", [Builder(block).op(self.pick(rows), *block.args)])
        return block

    def do_reduce(self) -> None:
        t = tile(self.pick(((4,), (8,), (4, 8), (8, 4), (4, 1), (1, 8))), self.pick((I32, I64, *self.floats)))
        axis = self.choices.integer(0, t.rank - 1)
        self.add(self.b.make("reduce", [self.value(t)], {"axis": axis}, (self.combiner(t.elem),)).result)

    def do_scan(self) -> None:
        t = tile(self.pick(((4,), (4, 8), (1, 8))), self.pick((I32, *self.floats)))
        axis = self.choices.integer(0, t.rank - 1)
        attrs = {"axis": axis, "reverse": self.chance()}
        self.add(self.b.make("scan", [self.value(t)], attrs, (self.combiner(t.elem),)).result)

    # --- control flow -------------------------------------------------------------------------------------

    def nested(self, block: Block, extra: list[Value], fill: Any) -> None:
        """Fills ``block`` with a few steps; ``fill`` then ends it.  What it defines goes out of scope after."""
        b, pool = self.b, self.pool
        self.b = Builder(block)
        self.pool = {t: list(vs) for t, vs in pool.items()}
        self.depth += 1
        for v in extra:
            self.add(v)
        for _ in range(self.choices.integer(0, 4)):
            self.step()
        fill()
        self.depth -= 1
        self.b, self.pool = b, pool

    def some_types(self) -> list[Type]:
        return [tile(self.pick(SHAPES), self.pick((I32, I64, F32, BOOL))) for _ in range(self.choices.integer(0, 3))]

    def do_if(self) -> None:
        types = self.some_types()
        cond = self.value(scalar(BOOL))
        blocks = (Block(), Block())
        for block in blocks:
            self.nested(block, [], lambda: self.b.make("yield", [self.value(t) for t in types]))
        for r in self.b.make("if", [cond], {}, blocks, tuple(types)).results:
            self.add(r)

    def do_for(self) -> None:
        b = self.b
        lb = self.pick((b.const(0, I32), b.const(2, I32), b.const(-1, I32)))
        ub = self.pick((self.n, self.m, b.const(0, I32), b.const(1, I32), b.const(3, I32)))
        step = b.const(self.pick((1, 2)), I32)
        types = self.some_types()
        inits = [self.value(t) for t in types]
        moving = self.chance()
        shape = self.pick(((4,), (4, 1), (4, 8)))
        if moving:  # pointers and offsets that advance: never more than 5 trips of 2 steps of at most 3 elements
            index = b.and_(self.index(shape), b.const(15, tile(shape, I32)))
            base = self.pick((self.in_i32, self.in_f32))
            inits += [b.addptr(self.spread(base, shape), index), index]
        body = Block((scalar(I32), *(v.type for v in inits)))

        def fill() -> None:
            b = self.b
            nexts = [self.value(t) for t in types]
            if moving:
                p, offset = body.args[-2:]
                t = offset.type
                self.add(b.load(p))
                width = self.pick((I32, I64))
                by = b.splat(b.const(self.pick((1, 2)), width), shape=shape)
                lanewise = b.and_(self.index(shape), b.const(1, t))
                moved = b.addptr(p, self.pick((by, lanewise)))
                if self.chance():
                    self.add(b.load(moved))
                    moved = b.addptr(moved, b.const(1, t))
                inc = b.splat(b.and_(body.args[0], b.const(1, I32)), shape=shape)
                nexts += [moved, self.pick((b.add(offset, inc), b.add(inc, offset), b.sub(offset, inc)))]
            b.make("yield", nexts)

        self.nested(body, [body.args[0], *body.args[1 : 1 + len(types)]], fill)
        loop: Op = b.make("for", [lb, ub, step, *inits], {"disable_licm": self.chance()}, (body,))
        for r in loop.results[: len(types)]:
            self.add(r)
        if moving:
            self.add(b.load(loop.results[-2]))
            self.add(loop.results[-1])

    def do_while(self) -> None:
        b = self.b
        types = self.some_types()
        shape = (4,)
        index = self.index(shape)
        inits = [b.const(0, I32), index, *(self.value(t) for t in types)]
        carried = tuple(v.type for v in inits)
        before, after = Block(carried), Block(carried)
        limit = self.pick((self.n, b.const(2, I32)))
        self.nested(
            before,
            list(before.args[2:]),
            lambda: self.b.make("condition", [self.b.icmp(before.args[0], limit, pred="slt"), *before.args]),
        )

        def fill() -> None:
            i, offset = after.args[:2]
            moved = self.b.add(offset, self.spread(i, shape))
            self.b.make("yield", [self.b.add(i, self.b.const(1, I32)), moved, *(self.value(t) for t in types)])

        self.nested(after, list(after.args[1:]), fill)
        for r in b.make("while", inits, {}, (before, after)).results:
            self.add(r)

    # --- whole programs -----------------------------------------------------------------------------------

    def finish(self) -> Program:
        for v in self.made[:-13:-1]:  # the last ones depend on most
            if v.type.elem in self.used and self.used[v.type.elem] < SLOTS and self.choices.integer(0, 3):
                self.store(v)
        self.b.make("return")
        return Program(Module([self.func], {"num_warps": 4}))


def program(choices: Choices, max_steps: int = 14, floats: tuple[Element, ...] = FLOATS) -> Program:
    """A verified program; ``floats`` limits the float elements it uses."""
    g = _Maker(choices, floats)
    g.add(g.n)
    g.add(g.m)
    g.add(g.b.program_id(axis=0))
    for n in (4, 8):
        g.add(g.b.arange(start=0, end=n))
    for _ in range(choices.integer(1, max_steps)):
        g.step()
    return g.finish()


@st.composite
def programs(draw: Any, max_steps: int = 14, floats: tuple[Element, ...] = FLOATS) -> Program:
    """A random `program`."""
    return program(Drawn(draw), max_steps, floats)
