"""Layout assignment on kernels of the usual kinds: which conversions remain."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import anytile.language as tl
from anytile.frontend import trace
from anytile.language.source import JITCallable
from anytile.layouts import constructors as C
from anytile.layouts.linear import LinearLayout
from anytile.layouts.propagate import DotLayouts, LayoutTable, before_view
from anytile.passes.axis_info import AxisInfo
from anytile.passes.pipeline import optimize

OPTIONS = SimpleNamespace(
    num_warps=4,
    num_stages=3,
    num_ctas=1,
    debug=False,
    sanitize_overflow=False,
    enable_fp_fusion=True,
    default_dot_input_precision="tf32",
    target=None,
)


def dots(op):
    """As for wgmma: operands from shared memory, except what another dot made."""
    (m, n), k = op.result.type.shape, op.operands[0].type.shape[1]
    bits = op.operands[0].type.elem.bits
    produced = op.operands[0].op is not None and op.operands[0].op.name != "load"
    a = C.wgmma_a((m, k), bits, (4, 1)) if produced else None
    return DotLayouts(C.wgmma_accumulator((m, n), (4, 1)), a, None)


def assign(kernel, signature, constants, dots=dots):
    source = JITCallable(kernel)
    names = [p.name for p in source.params]
    signature = {n: signature.get(n, "constexpr" if n in constants else "i32") for n in names}
    attributes = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if signature[n] != "constexpr"}
    module = trace(source, signature, {(names.index(n),): v for n, v in constants.items()}, attributes, OPTIONS)
    optimize(module)
    func = module.kernel
    return func, LayoutTable(func, 4, AxisInfo(func), dots)


def softmax(x_ptr, out_ptr, stride, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * stride + tl.arange(0, BLOCK)
    mask = tl.arange(0, BLOCK) < n
    x = tl.load(x_ptr + at, mask=mask, other=-float("inf"))
    e = tl.exp(x - tl.max(x, axis=0))
    tl.store(out_ptr + at, e / tl.sum(e, axis=0), mask=mask)


def rows(x_ptr, out_ptr, stride, R: tl.constexpr, BLOCK: tl.constexpr):
    at = (tl.program_id(0) * R + tl.arange(0, R))[:, None] * stride + tl.arange(0, BLOCK)[None, :]
    x = tl.load(x_ptr + at).to(tl.float32)
    mean = tl.sum(x, axis=1) / BLOCK
    centred = x - mean[:, None]
    scale = tl.rsqrt(tl.sum(centred * centred, axis=1) / BLOCK + 1e-5)
    tl.store(out_ptr + at, (centred * scale[:, None]).to(tl.bfloat16))


def transpose(x_ptr, out_ptr, n, B: tl.constexpr):
    i, j = tl.arange(0, B), tl.arange(0, B)
    x = tl.load(x_ptr + i[:, None] * n + j[None, :])
    tl.store(out_ptr + j[None, :] * n + i[:, None], x * 2.0)


def matmul(a_ptr, b_ptr, r_ptr, c_ptr, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, RESIDUAL: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    a = a_ptr + m[:, None] * K + k[None, :]
    b = b_ptr + k[:, None] * N + n[None, :]
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for _ in range(0, K, BK):
        acc = tl.dot(tl.load(a), tl.load(b), acc)
        a += BK
        b += BK * N
    at = m[:, None] * N + n[None, :]
    out = (acc * 0.5).to(tl.float16)
    if RESIDUAL:
        out = out + tl.load(r_ptr + at)
    tl.store(c_ptr + at, out)


def attention(q_ptr, k_ptr, v_ptr, o_ptr, N, M: tl.constexpr, B: tl.constexpr, D: tl.constexpr):
    i, j, d = tl.program_id(0) * M + tl.arange(0, M), tl.arange(0, B), tl.arange(0, D)
    q = tl.load(q_ptr + i[:, None] * D + d[None, :])
    best = tl.full((M,), -float("inf"), tl.float32)
    total = tl.zeros((M,), tl.float32)
    acc = tl.zeros((M, D), tl.float32)
    for start in range(0, N, B):
        k = tl.load(k_ptr + (start + j)[None, :] * D + d[:, None])
        s = tl.dot(q, k)
        new = tl.maximum(best, tl.max(s, 1))
        p = tl.exp2(s - new[:, None])
        fade = tl.exp2(best - new)
        total = total * fade + tl.sum(p, 1)
        v = tl.load(v_ptr + (start + j)[:, None] * D + d[None, :])
        acc = tl.dot(p.to(tl.float16), v, acc * fade[:, None])
        best = new
    tl.store(o_ptr + i[:, None] * D + d[None, :], (acc / total[:, None]).to(tl.float16))


HALF = {"x_ptr": "*bf16", "out_ptr": "*bf16"}
F32 = {"x_ptr": "*fp32", "out_ptr": "*fp32"}
MATMUL = {"a_ptr": "*fp16", "b_ptr": "*fp16", "r_ptr": "*fp16", "c_ptr": "*fp16"}


def test_softmax_converts_nothing():
    func, table = assign(softmax, F32, {"BLOCK": 4096})
    assert table.conversions == []
    load = next(op for op in func.walk() if op.name == "load")
    assert table.homes[load.result].contiguous() == 4  # 16 bytes a thread


def test_rows_convert_nothing_and_reduce_in_the_warp():
    func, table = assign(rows, HALF, {"R": 8, "BLOCK": 256})
    assert table.conversions == []
    load = next(op for op in func.walk() if op.name == "load")
    assert table.homes[load.result].contiguous() == 8


def test_a_transpose_converts_once():
    func, table = assign(transpose, F32, {"B": 64})
    assert len(table.conversions) == 1
    load, store = (next(op for op in func.walk() if op.name == n) for n in ("load", "store"))
    assert table.homes[load.result].ins["lane"][0] == 4
    (_, stored), *_ = [w for w in table.wanted(store) if w[0] is store.operand("value")]
    assert stored.ins["lane"][0] == 4 * 64


@pytest.mark.parametrize("residual", [False, True])
def test_matmul_converts_its_narrow_result_once(residual):
    func, table = assign(matmul, MATMUL, {"BM": 64, "BN": 128, "BK": 64, "RESIDUAL": residual})
    moves = table.conversions
    assert len(moves) <= 1 and all(m.times == 1.0 and m.value.type.elem.bits == 16 for m in moves)
    loop = next(op for op in func.walk() if op.name == "for")
    acc = next(r for r in loop.results if r.type.shape == (64, 128))
    assert table.homes[acc] == C.wgmma_accumulator((64, 128), (4, 1))


def test_attention_converts_nothing_in_its_loop():
    _, table = assign(attention, {n: "*fp16" for n in ("q_ptr", "k_ptr", "v_ptr", "o_ptr")}, {"M": 64, "B": 64, "D": 64})
    assert all(m.times == 1.0 for m in table.conversions)
    assert len(table.conversions) <= 1


@pytest.mark.parametrize("kernel, signature, constants", [(softmax, F32, {"BLOCK": 64}), (rows, HALF, {"R": 1, "BLOCK": 64})])
def test_the_table_is_complete(kernel, signature, constants):
    func, table = assign(kernel, signature, constants)
    for op in func.walk():
        if op.parent_op() is not None:
            continue
        for v, layout in table.wanted(op):
            assert layout.shape == v.type.shape and layout.is_surjective
        for r in op.results:
            if not r.type.is_scalar and not table.lazy(r):
                assert table.homes[r].shape == r.type.shape and table.homes[r].is_surjective


def test_views_are_undone():
    """For every view: element i of the result lies where the operand's element that it shows lies."""
    result = C.blocked((4, 8, 16), (1, 1, 2), (2, 2, 8), (1, 4, 1), (2, 1, 0))

    def view(name, shape, **attrs):
        return SimpleNamespace(name=name, attrs=attrs, operands=[SimpleNamespace(type=SimpleNamespace(shape=shape))])

    def check(op, f, layout=result):
        inner = before_view(op, layout)
        for place in [
            {"register": 1, "lane": 0, "warp": 0},
            {"lane": 13, "warp": 2, "register": 0},
            {"lane": 31, "warp": 3, "register": 2},
        ]:
            assert tuple(inner.apply(**place).values()) == f(*layout.apply(**place).values())

    check(view("permute", (16, 4, 8), order=(1, 2, 0)), lambda a, b, c: (c, a, b))
    check(view("broadcast", (4, 1, 16)), lambda a, b, c: (a, 0, c))
    check(view("reshape", (32, 16)), lambda a, b, c: (a * 8 + b, c))
    check(
        view("expand_dims", (8, 16), axis=0),
        lambda a, b, c: (b, c),
        LinearLayout({**result.ins, "register": (1, 2)}, result.outs).sliced("dim0").expand_dims(0).renamed(["dim0", "dim1", "dim2"]),
    )
    joined = C.blocked((16, 32, 2), (1, 1, 2), (2, 16, 1), (4, 1, 1), (2, 1, 0))
    check(view("join", (16, 32)), lambda a, b, c: (a, b), LinearLayout({**joined.ins, "register": joined.ins["register"][1:]}, joined.outs))
    half = C.coalesced((16, 32), (1, 32), 32, 4)
    pair = before_view(view("split", (16, 32, 2)), half)
    assert pair.apply(register=1) == {"dim0": 0, "dim1": 0, "dim2": 1}
    assert pair.apply(lane=3)["dim1"] == half.apply(lane=3)["dim1"]
