"""dot at odd sizes in every element type, with operands that are masked, transposed, converted or used twice."""

from __future__ import annotations

import struct
import types

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import examples

from anytile.ir import Builder, Func, Module, ptr, scalar
from anytile.ir.parser import parse_module
from anytile.ir.types import BF16, F8E4M3, F8E5M2, F16, F32, F64, I8, I32
from anytile.targets import formats
from anytile.targets.base import struct_format
from anytile.targets.cpu import CpuTarget
from anytile.targets.reference import ReferenceTarget

PAIRS = ((I8, I8, I32), (F16, F16, F32), (BF16, BF16, F32), (F32, F32, F32), (F64, F64, F64), (F16, F16, F16), (F8E5M2, F8E5M2, F32))
PAIRS += ((F8E4M3, F8E4M3, F32), (F8E4M3, F8E5M2, F32))
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


@st.composite
def dots(draw) -> tuple[Module, list]:
    (ea, eb, acc), batch = draw(st.sampled_from(PAIRS)), draw(st.sampled_from(((), (), (2,), (4,))))
    m, n, k = (draw(st.sampled_from(SIZES if not batch else SIZES[:6])) for _ in range(3))
    f = Func("k", (ptr(ea), ptr(eb), ptr(acc), scalar(I32)), ("a", "b", "c", "limit"))
    b = Builder(f.body)

    def index(shape, order):
        total, stride = None, 1
        for d in order:
            x = b.arange(start=0, end=shape[d])
            for j in range(len(shape)):
                x = x if j == d else b.expand_dims(x, axis=j)
            x = x if x.type.shape == shape else b.broadcast(x, shape=shape)
            x = b.mul(x, b.const(stride, x.type))
            total, stride = x if total is None else b.add(total, x), stride * shape[d]
        return total

    def read(p, shape):
        last = len(shape) - 1
        order = [last, last - 1, *range(last - 1)]
        if draw(st.booleans()):
            order[:2] = order[1], order[0]  # column-major
        mask = None
        if draw(st.booleans()):
            d = draw(st.sampled_from((last, last - 1)))
            x = b.arange(start=0, end=shape[d])
            for j in range(len(shape)):
                x = x if j == d else b.expand_dims(x, axis=j)
            x = x if x.type.shape == shape else b.broadcast(x, shape=shape)
            mask = b.icmp(x, b.splat(f.args[3], shape=shape), pred="slt")
        return b.load(b.addptr(b.splat(p, shape=shape), index(shape, order)), mask)

    x, y = read(f.args[0], (*batch, m, k)), read(f.args[1], (*batch, k, n))
    shape = (*batch, m, n)
    out = b.addptr(b.splat(f.args[2], shape=shape), index(shape, range(len(shape) - 1, -1, -1)))
    start = b.load(out) if draw(st.booleans()) else b.const(0, out.type.with_elem(acc))
    r = b.make("dot", [x, y, start], {}).result
    if m == n == k and ea is eb and draw(st.booleans()):
        r = b.make("dot", [y, x, r], {}).result  # each operand once on either side
    b.store(out, r)
    b.return_()
    return Module([f]), [ea, eb, acc]


def numbers(e, n: int) -> np.ndarray:
    """Whole numbers so small that no sum of products is rounded."""
    x = np.arange(n) * 7 % 5 - 2
    return x.astype(formats.storage(e)) if e.is_int else formats.encode(x.astype(np.float64 if e is F64 else np.float32), e)


@settings(max_examples=examples(120), deadline=None, suppress_health_check=list(HealthCheck))
@given(case=dots(), limit=st.sampled_from((0, 1, 5, 17, 100, 128)))
def test_dots_agree(case, limit) -> None:
    module, elements = case
    text, out = str(module), []
    for target in (CpuTarget(), ReferenceTarget()):
        arrays = [numbers(e, 4 * 128 * 128) for e in elements]
        m = parse_module(text)
        slots = struct_format([a.type for a in m.kernel.args])
        loaded = target.load(target.compile(m, types.SimpleNamespace(enable_fp_fusion=True)))
        loaded.run(struct.pack(slots, *(a.ctypes.data for a in arrays), limit), 1, 1, 1)
        out.append(arrays[-1])
    np.testing.assert_array_equal(*out)


def test_operands_of_two_formats_lose_nothing():
    """fp8 beside fp16 is multiplied in fp16, not in bf16, which has fewer digits."""
    from anytile.ir.types import BF16, F8E4M3, F8E5M2, F16, F32
    from anytile.targets.cpu.dot import _common
    from anytile.targets.cpu.machine import named

    amx = named("amx")
    assert _common(F8E4M3, F16, amx) is F16
    assert _common(BF16, F8E5M2, amx) is BF16
    assert _common(F16, BF16, amx) is F32
    assert _common(F8E4M3, F8E5M2, amx) is BF16
