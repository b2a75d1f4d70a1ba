"""Random programs at the sizes of real tiles: many vectors long, several dimensions, memory that is read back.

The kernel has two read-only inputs, a memory that is read and written throughout, and an output per element::

    @k(%ints: ptr<i32>, %floats: ptr<f32>, %mem: ptr<i32>, %out_…: ptr<…>, %n: i32, %m: i32)

Compared with `strategies` it has larger and odder shapes, 8-bit floats and f64, masks that are conjunctions of
conditions on single dimensions, loads and stores that overlap in `mem` (program order decides), atomics, gathers,
histograms, dots, reductions and scans of several values, and loops whose tiles trade places.
Every lane of one store or atomic has an address of its own, so results are determined.  Sums of floats occur only
over whole numbers.  Without contraction of a·b + c all targets must agree on every bit but those of NaNs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from choices import Choices, Drawn
from hypothesis import strategies as st

from anytile.ir import Block, Builder, Func, Module, Value, ptr, scalar, tile
from anytile.ir.types import BF16, BOOL, F8E4M3, F8E5M2, F16, F32, F64, I8, I16, I32, I64, Element, Type
from anytile.targets import formats
from anytile.targets.base import struct_format

__all__ = ["TileProgram", "assert_agree", "tile_program", "tile_programs"]

SHAPES = ((1,), (2,), (8,), (16,), (64,), (256,), (4, 8), (16, 16), (32, 1), (1, 32), (2, 4, 8), (64, 2), (8, 64), (2, 32), (16, 2, 4))
INTS: tuple[Element, ...] = (BOOL, I8, I16, I32, I64)
FLOATS: tuple[Element, ...] = (F16, BF16, F32, F64, F8E4M3, F8E5M2)
ELEMENTS = (*INTS, *FLOATS)
SLOTS, SLOT = 4, 512
MEM = 4096


@dataclass
class TileProgram:
    module: Module

    def run(self, target: Any, options: Any, n: int, m: int, grid: tuple[int, int, int] = (1, 1, 1)) -> dict[str, np.ndarray]:
        """What ``mem`` and the outputs hold after a launch."""
        ints = (np.arange(MEM, dtype=np.int64) * 2654435761 >> 7).astype(np.int32)
        floats = ((np.arange(MEM) * 37 % 101 - 50) / 4).astype(np.float32)
        out = {"mem": (np.arange(MEM) * 7 % 1013).astype(np.int32)}
        out |= {str(e): np.zeros(SLOT * SLOTS, np.uint8 if e is BOOL else formats.storage(e)) for e in ELEMENTS}
        loaded = target.load(target.compile(self.module, options))
        types = [a.type for a in self.module.kernel.args]
        values = [a.ctypes.data for a in (ints, floats, *out.values())]
        loaded.run(struct.pack(struct_format(types), *values, n, m), *grid)
        return out


def assert_agree(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> None:
    """Equal, with all NaNs alike."""
    by_name = {str(e): e for e in FLOATS}
    for name, w in want.items():
        g, e = got[name], by_name.get(name)
        if e is not None:
            g, w = formats.decode(g, e), formats.decode(w, e)
        np.testing.assert_array_equal(g, w, err_msg=name)


class _Maker:
    def __init__(self, choices: Choices):
        self.choices, self.pick, self.chance = choices, choices.pick, choices.chance
        args = [ptr(I32), ptr(F32), ptr(I32), *(ptr(e) for e in ELEMENTS), scalar(I32), scalar(I32)]
        self.func = Func("k", tuple(args), ("ints", "floats", "mem", *(f"out_{e}" for e in ELEMENTS), "n", "m"))
        self.b = Builder(self.func.body)
        self.ints, self.floats, self.mem, *rest = self.func.args
        self.outs = dict(zip(ELEMENTS, rest))
        self.n, self.m = rest[len(ELEMENTS) :]
        self.pool: list[Value] = []
        self.used = dict.fromkeys(ELEMENTS, 0)
        self.depth = 0

    # --- choosing ---

    def add(self, v: Value) -> None:
        if v.type.rank and v.type.numel <= SLOT:
            self.pool.append(v)

    def any_type(self, elements: Any = ELEMENTS) -> Type:
        have = [v.type for v in self.pool if v.type.elem in elements]
        return self.pick(have) if have and self.choices.integer(0, 3) else tile(self.pick(SHAPES), self.pick(elements))

    def value(self, t: Type) -> Value:
        have = [v for v in self.pool if v.type is t]
        if have and self.choices.integer(0, 5):
            return self.pick(have[-5:])
        same = [v for v in self.pool if v.type.elem is t.elem and v.type.numel == t.numel]
        if same and self.chance():
            return self.b.reshape(self.pick(same), shape=t.shape)
        return self.fresh(t)

    def fresh(self, t: Type) -> Value:
        """A tile from memory, converted to ``t``."""
        base = self.floats if t.elem.is_float else self.pick((self.ints, self.mem))
        return self.to(self.load(base, t.shape), t.elem)

    def to(self, x: Value, e: Element) -> Value:
        b, was = self.b, x.type.elem
        if was is e:
            return x
        if e is BOOL and was.is_float:
            x, was = self.to(x, I32), I32
        if e is BOOL:
            return b.icmp(x, b.const(self.pick((0, 300, 10**6)), x.type), pred=self.pick(("slt", "sge", "ult")))
        if was.is_int and e.is_int:
            return b.op(self.pick(("sext", "zext")) if e.bits > was.bits else "trunci", x, to=e)
        if was.is_int:
            return b.op(self.pick(("sitofp", "uitofp")), x, to=e) if e.bits > 8 else b.fpcast(b.sitofp(x, to=F32), to=e)
        if e.is_float:
            return b.fpcast(x, to=e)
        limits = [b.const(c, x.type) for c in (0.0, 100.0)]
        finite = b.select(b.fcmp(x, x, pred="oeq"), x, limits[0])
        return b.op(self.pick(("fptosi", "fptoui")), b.fmin(b.fmax(finite, limits[0]), limits[1]), to=e)

    # --- addresses ---

    def along(self, shape: tuple[int, ...], d: int) -> Value:
        """The position along dimension ``d``, broadcast to ``shape``."""
        b = self.b
        v = b.arange(start=0, end=shape[d])
        for k in range(len(shape)):
            if k != d:
                v = b.expand_dims(v, axis=k)
        return v if v.type.shape == shape else b.broadcast(v, shape=shape)

    def offsets(self, shape: tuple[int, ...]) -> Value:
        """An affine function of the position with a different value in every lane, below 1024."""
        b = self.b
        order = self.choices.order(range(len(shape)))
        stride = self.pick((1, 1, 1, 2))
        total = None
        for d in order:
            x = self.along(shape, d)
            if self.choices.integer(0, 3) == 0:
                x = b.sub(b.const(shape[d] - 1, x.type), x)
            x = x if stride == 1 else b.mul(x, b.const(stride, x.type))
            total = x if total is None else b.add(total, x)
            stride *= shape[d]
        start = self.pick((0, 0, 1, 64, 100))
        return b.add(total, b.const(start, total.type)) if start else total

    def mask(self, shape: tuple[int, ...]) -> Value | None:
        b, out = self.b, None
        for d in range(len(shape)):
            if self.chance():
                x = self.along(shape, d)
                if self.choices.integer(0, 4) == 0:
                    x = b.op(self.pick(("and", "lshr")), x, b.const(self.pick((1, 3)), x.type))
                limit = self.pick((b.splat(self.n, shape=shape), b.splat(self.m, shape=shape), b.const(7, x.type)))
                c = b.icmp(x, limit, pred=self.pick(("slt", "slt", "sle", "ult", "sge", "eq")))
                out = c if out is None else b.and_(out, c)
        have = [v for v in self.pool if v.type is tile(shape, BOOL)]
        if have and self.choices.integer(0, 3) == 0:
            c = self.pick(have)
            out = c if out is None else b.and_(out, c)
        return out

    def load(self, base: Value, shape: tuple[int, ...]) -> Value:
        b = self.b
        p = b.addptr(b.splat(base, shape=shape), self.offsets(shape))
        mask = self.mask(shape)
        t = tile(shape, base.type.elem.pointee)
        other = b.const(self.pick((3, -1)), t) if mask is not None and self.chance() else None
        return b.load(p, mask, other)

    # --- steps ---

    def step(self) -> None:
        kinds = ["int", "float", "compare", "select", "cast", "shape", "shape", "load", "reduce", "pair", "scan", "affine"]
        kinds += ["gather", "store", "store", "read_back", "read_back", "atomic", "histogram", "dot", "in_place"]
        if self.depth < 2:
            kinds += ["if", "for", "for", "while"]
        getattr(self, "do_" + self.pick(kinds))()

    def do_int(self) -> None:
        t = self.any_type((I8, I16, I32, I64, BOOL))
        x, y = self.value(t), self.value(t)
        rows = ["add", "sub", "mul", "and", "or", "xor", "smin", "smax", "umin", "umax"]
        if t.elem is not BOOL:
            rows += ["sdiv", "udiv", "srem", "urem", "shl", "lshr", "ashr", "smulhi", "umulhi", "iabs", "popc", "clz", "brev"]
        name = self.pick(rows)
        if name in ("iabs", "popc", "clz", "brev"):
            self.add(self.b.op(name, x))
            return
        if name in ("sdiv", "udiv", "srem", "urem"):
            y = self.b.or_(self.b.and_(y, self.b.const(7, t)), self.b.const(1, t))
        elif name in ("shl", "lshr", "ashr"):
            y = self.b.and_(y, self.b.const(t.elem.bits - 1, t))
        self.add(self.b.op(name, x, y))

    def do_float(self) -> None:
        t = self.any_type((F16, BF16, F32, F64))
        x, y = self.value(t), self.value(t)
        name = self.pick(("fadd", "fsub", "fmul", "fdiv", "fmin", "fmax", "fminimum", "fmaximum", "fneg", "fabs", "floor", "sqrt"))
        self.add(self.b.op(name, x) if name in ("fneg", "fabs", "floor", "sqrt") else self.b.op(name, x, y))

    def do_compare(self) -> None:
        t = self.any_type((I8, I16, I32, I64, F16, BF16, F32, F64))
        preds = ("oeq", "une", "olt", "oge", "uno") if t.elem.is_float else ("eq", "ne", "slt", "sge", "ult", "ugt")
        self.add(self.b.op("fcmp" if t.elem.is_float else "icmp", self.value(t), self.value(t), pred=self.pick(preds)))

    def do_select(self) -> None:
        t = self.any_type()
        self.add(self.b.select(self.value(t.with_elem(BOOL)), self.value(t), self.value(t)))

    def do_cast(self) -> None:
        x = self.value(self.any_type())
        self.add(self.to(x, self.pick([e for e in ELEMENTS if e is not x.type.elem])))

    def do_load(self) -> None:
        t = self.any_type()
        self.add(self.fresh(t))

    def do_shape(self) -> None:
        b, t = self.b, self.any_type()
        x = self.value(t)
        kind = self.pick(("expand", "permute", "reshape", "join", "split", "broadcast"))
        if kind == "expand" and t.rank < 3:
            self.add(b.expand_dims(x, axis=self.choices.integer(0, t.rank)))
        elif kind == "permute":
            self.add(b.permute(x, order=tuple(self.choices.order(range(t.rank)))))
        elif kind == "reshape":
            self.add(b.reshape(x, shape=self.pick([s for s in SHAPES if np.prod(s) == t.numel] + [(t.numel,)])))
        elif kind == "join" and t.rank < 3 and t.numel * 2 <= SLOT:
            self.add(b.join(x, self.value(t)))
        elif kind == "split" and t.shape[-1] == 2:
            for r in b.split(x):
                self.add(r)
        elif kind == "broadcast":
            d = self.choices.integer(0, t.rank)
            if t.rank < 3 and t.numel * 4 <= SLOT:
                x = b.expand_dims(x, axis=d)
                self.add(b.broadcast(x, shape=(*x.type.shape[:d], 4, *x.type.shape[d + 1 :])))

    def combiner(self, e: Element) -> Block:
        block = Block((scalar(e), scalar(e)))
        rows = (
            ("fmin", "fmax", "fmaximum", "fminimum") if e.is_float else ("add", "mul", "xor", "or", "smax", "smin", "umin", "umax", "and")
        )
        b = Builder(block)
        b.make("yield", [b.op(self.pick(rows), *block.args)])
        return block

    def do_reduce(self) -> None:
        t = self.any_type((I8, I16, I32, I64, F16, BF16, F32, F64))
        x = self.value(t)
        for _ in range(self.choices.integer(1, 2)):
            if x.type.rank:
                axis = self.choices.integer(0, x.type.rank - 1)
                x = self.b.make("reduce", [x], {"axis": axis}, (self.combiner(t.elem),)).result
        self.add(x if x.type.rank else self.b.splat(x, shape=self.pick(SHAPES)))

    def do_pair(self) -> None:
        """Largest value with the smallest of its places."""
        e = self.pick((I32, F32, I16, F64, I64, F16, BF16))
        t = self.any_type((e,))
        x = self.value(t)
        b, axis = self.b, self.choices.integer(0, t.rank - 1)
        if e.is_float:
            x = b.select(b.fcmp(x, x, pred="oeq"), x, b.const(0.0, t))
        block = Block((scalar(e), scalar(I32), scalar(e), scalar(I32)))
        c = Builder(block)
        u, i, v, j = block.args
        more, equal = (("fcmp", "ogt"), ("fcmp", "oeq")) if e.is_float else (("icmp", "sgt"), ("icmp", "eq"))
        first = c.or_(c.op(more[0], u, v, pred=more[1]), c.and_(c.op(equal[0], u, v, pred=equal[1]), c.icmp(i, j, pred="slt")))
        c.make("yield", [c.select(first, u, v), c.select(first, i, j)])
        for r in b.make("reduce", [x, self.along(t.shape, axis)], {"axis": axis}, (block,)).results:
            self.add(r if r.type.rank else b.splat(r, shape=self.pick(SHAPES)))

    def do_scan(self) -> None:
        t = self.any_type((I8, I32, I64, F16, F32))
        attrs = {"axis": self.choices.integer(0, t.rank - 1), "reverse": self.chance()}
        self.add(self.b.make("scan", [self.value(t)], attrs, (self.combiner(t.elem),)).result)

    def do_affine(self) -> None:
        """x → a·x + c composed along an axis: associative but not commutative."""
        t = self.any_type((I32,))
        block = Block((scalar(I32),) * 4)
        c = Builder(block)
        a0, c0, a1, c1 = block.args
        c.make("yield", [c.mul(a0, a1), c.add(c.mul(a1, c0), c1)])
        attrs = {"axis": self.choices.integer(0, t.rank - 1), "reverse": self.chance()}
        for r in self.b.make("scan", [self.value(t), self.value(t)], attrs, (block,)).results:
            self.add(r)

    def do_gather(self) -> None:
        t = self.any_type()
        axis, b = self.choices.integer(0, t.rank - 1), self.b
        index = self.value(t.with_elem(self.pick((I32, I64))))
        index = b.and_(index, b.const(t.shape[axis] - 1, index.type))
        self.add(b.make("gather", [self.value(t), index], {"axis": axis}).result)

    def do_histogram(self) -> None:
        t = tile(self.pick(((8,), (64,), (256,))), I32)
        x = self.value(t)
        mask = self.mask(t.shape)
        inside = self.b.and_(x, self.b.const(31, t))
        self.add(self.b.make("histogram", [inside, mask], {"bins": self.pick((32, 64))}).result)

    def do_dot(self) -> None:
        m, n, k = (self.pick((1, 2, 8, 16)) for _ in range(3))
        e, acc = self.pick(((I8, I32), (F16, F32), (BF16, F32), (F32, F32), (F64, F64), (F8E5M2, F32), (F16, F16)))
        batch = self.pick(((), (), (2,)))
        b = self.b

        def small(shape: tuple[int, ...], elem: Element) -> Value:
            """Whole numbers from −8 to 7: sums of products are exact."""
            x = self.value(tile(shape, I32))
            x = b.sub(b.and_(x, b.const(15, x.type)), b.const(8, x.type))
            return self.exactly(x, elem)

        x, y = small((*batch, m, k), e), small((*batch, k, n), e)
        start = b.const(0, tile((*batch, m, n), acc)) if self.chance() else small((*batch, m, n), acc)
        self.add(b.make("dot", [x, y, start], {}).result)

    def exactly(self, x: Value, e: Element) -> Value:
        b = self.b
        if e.is_int:
            return x if e is I32 else b.trunci(x, to=e) if e.bits < 32 else b.sext(x, to=e)
        x = b.sitofp(x, to=F64 if e is F64 else F32)
        return x if x.type.elem is e else b.fpcast(x, to=e)

    # --- memory ---

    def do_store(self) -> None:
        shape = self.pick(SHAPES)
        p = self.b.addptr(self.b.splat(self.mem, shape=shape), self.offsets(shape))
        self.b.store(p, self.value(tile(shape, I32)), self.mask(shape))

    def do_read_back(self) -> None:
        self.add(self.load(self.mem, self.pick(SHAPES)))

    def do_in_place(self) -> None:
        """Reads and writes the same tile, or one beside it."""
        b, shape = self.b, self.pick(SHAPES)
        p = b.addptr(b.splat(self.mem, shape=shape), self.offsets(shape))
        mask = self.mask(shape)
        x = b.load(p, mask)
        self.add(x)
        q = p if self.chance() else b.addptr(p, b.const(self.pick((1, -1, 16, 64)), tile(shape, I32))) if self.chance() else p
        if q is not p:
            q = b.addptr(q, b.const(64, tile(shape, I32)))  # not below the memory's beginning
        b.store(q, b.add(x, b.const(1, x.type)), self.pick((mask, None)))

    def do_atomic(self) -> None:
        shape, b = self.pick(SHAPES), self.b
        p = b.addptr(b.splat(self.mem, shape=shape), self.offsets(shape))
        kind = self.pick(("add", "xchg", "smax", "umin", "and", "or", "xor"))
        x = self.value(tile(shape, I32))
        self.add(b.make("atomic_rmw", [p, x, self.mask(shape)], {"kind": kind}).result)

    # --- control flow ---

    def nested(self, block: Block, extra: Any, fill: Any) -> None:
        b, pool = self.b, self.pool
        self.b, self.pool = Builder(block), list(pool)
        self.depth += 1
        for v in extra:
            self.add(v)
        for _ in range(self.choices.integer(0, 3)):
            self.step()
        fill()
        self.depth -= 1
        self.b, self.pool = b, pool

    def some_types(self) -> list[Type]:
        """Some with twins, which may trade places."""
        types = [self.any_type((I32, I64, F32, BOOL, I8, BF16)) for _ in range(self.choices.integer(1, 2))]
        return types + types[: self.choices.integer(0, 2)]

    def do_if(self) -> None:
        types = self.some_types()
        cond = self.b.icmp(self.pick((self.n, self.m)), self.b.const(self.pick((3, 5, 40)), scalar(I32)), pred="slt")
        blocks = (Block(), Block())
        for block in blocks:
            self.nested(block, [], lambda: self.b.make("yield", [self.value(t) for t in types]))
        for r in self.b.make("if", [cond], {}, blocks, tuple(types)).results:
            self.add(r)

    def next_values(self, types: list[Type], args: list[Value]) -> list[Value]:
        """What a loop hands on: new values, or its own tiles in other places or turned round."""
        out = []
        for t in types:
            twins = [a for a in args if a.type is t]
            kind = self.pick(("new", "twin", "turned", "updated"))
            v = self.pick(twins)
            if kind == "new":
                v = self.value(t)
            elif kind == "turned" and t.shape == t.shape[::-1]:
                v = self.b.permute(v, order=tuple(reversed(range(t.rank))))
            elif kind == "turned":
                at = self.along(t.shape, t.rank - 1)
                at = self.b.sub(self.b.const(t.shape[-1] - 1, at.type), at)
                v = self.b.make("gather", [v, at], {"axis": t.rank - 1}).result
            elif kind == "updated" and t.elem.is_int:
                v = self.b.add(v, self.pick(twins))
            out.append(v)
        return out

    def do_for(self) -> None:
        b, types = self.b, self.some_types()
        bounds = [b.const(0, scalar(I32)), self.pick((self.n, b.const(3, scalar(I32)), b.const(0, scalar(I32)))), b.const(2, scalar(I32))]
        inits = [self.value(t) for t in types]
        body = Block((scalar(I32), *types))
        if bounds[1] is self.n:
            bounds[1] = b.op("smin", self.n, b.const(5, scalar(I32)))
        self.nested(body, body.args[1:], lambda: self.b.make("yield", self.next_values(types, body.args[1:])))
        for r in b.make("for", [*bounds, *inits], {}, (body,)).results:
            self.add(r)

    def do_while(self) -> None:
        b, types = self.b, self.some_types()
        inits = [b.const(0, scalar(I32)), *(self.value(t) for t in types)]
        first, second = Block(tuple(v.type for v in inits)), Block(tuple(v.type for v in inits))

        def test() -> None:
            go = self.b.icmp(first.args[0], self.b.const(2, scalar(I32)), pred="slt")
            self.b.make("condition", [go, first.args[0], *self.next_values(types, first.args[1:])])

        def advance() -> None:
            i = self.b.add(second.args[0], self.b.const(1, scalar(I32)))
            self.b.make("yield", [i, *self.next_values(types, second.args[1:])])

        self.nested(first, first.args[1:], test)
        self.nested(second, second.args[1:], advance)
        for r in b.make("while", inits, {}, (first, second)).results[1:]:
            self.add(r)

    def finish(self) -> TileProgram:
        b = self.b
        for v in self.pool[:-12:-1]:
            e, shape = v.type.elem, v.type.shape
            if self.used[e] < SLOTS:
                flat = b.reshape(b.arange(start=0, end=v.type.numel), shape=shape)
                at = b.add(flat, b.const(self.used[e] * SLOT, flat.type))
                b.store(b.addptr(b.splat(self.outs[e], shape=shape), at), v, None)
                self.used[e] += 1
        b.make("return")
        return TileProgram(Module([self.func], {"num_warps": 4}))


def tile_program(choices: Choices, max_steps: int = 10) -> TileProgram:
    """A program of a few steps more than two loads."""
    g = _Maker(choices)
    for _ in range(2):
        g.do_load()
    for _ in range(choices.integer(1, max_steps)):
        g.step()
    return g.finish()


@st.composite
def tile_programs(draw: Any, max_steps: int = 10) -> TileProgram:
    return tile_program(Drawn(draw), max_steps)
