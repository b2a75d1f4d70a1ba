"""Products with few rows that are computed turned around: which are, and that they are right."""

import numpy as np
import pytest
from differential import OPTIONS, launch, traced

import anytile.language as tl
from anytile.frontend import trace
from anytile.language.source import JITCallable
from anytile.passes.pipeline import optimize
from anytile.targets.cpu import CpuTarget
from anytile.targets.cpu.driver import machine_passes
from anytile.targets.cpu.machine import named
from anytile.targets.cpu.turned import turn_dots

SKYLAKE = named("avx512")


def linear(x, w, out, rows, n_size, k_size, FORM: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    acc = tl.full((BM, BN), 0.5 if FORM == "started" else 0.0, tl.float32)
    for start in range(0, k_size, BK):
        inside = (start + k) < k_size
        a = tl.load(x + m[:, None] * k_size + (start + k)[None, :], mask=(m[:, None] < rows) & inside[None, :], other=0.0)
        if FORM == "trans":
            b = tl.trans(tl.load(w + n[:, None] * k_size + (start + k)[None, :], mask=(n[:, None] < n_size) & inside[None, :], other=0.0))
        elif FORM == "rows":
            b = tl.load(w + (start + k)[:, None] * n_size + n[None, :], mask=inside[:, None] & (n[None, :] < n_size), other=0.0)
        else:
            b = tl.load(w + n[None, :] * k_size + (start + k)[:, None], mask=inside[:, None] & (n[None, :] < n_size), other=0.0)
        if FORM == "apart":
            acc = acc * 0.5 + tl.dot(a, b)
        elif FORM == "looked at":
            acc = tl.dot(a, b, acc)
            acc = tl.where(acc > 1e6, 0.0, acc)
        else:
            acc = tl.dot(a, b, acc)
    tl.store(out + m[:, None] * n_size + n[None, :], acc, mask=(m[:, None] < rows) & (n[None, :] < n_size))


def scores(q, k, v, out, length, D: tl.constexpr, BN: tl.constexpr):
    """Attention of 16 queries."""
    g, d = tl.arange(0, 16), tl.arange(0, D)
    query = tl.load(q + g[:, None] * D + d[None, :])
    top, total, acc = tl.full([16], -float("inf"), tl.float32), tl.zeros([16], tl.float32), tl.zeros([16, D], tl.float32)
    for start in range(0, length, BN):
        n = start + tl.arange(0, BN)
        s = tl.dot(query, tl.load(k + n[None, :] * D + d[:, None], mask=n[None, :] < length, other=0.0))
        s = tl.where(n[None, :] < length, s, -float("inf"))
        new = tl.maximum(top, tl.max(s, 1))
        p, shrink = tl.exp(s - new[:, None]), tl.exp(top - new)
        values = tl.load(v + n[:, None] * D + d[None, :], mask=n[:, None] < length, other=0.0)
        acc = tl.dot(p, values, acc * shrink[:, None])
        total, top = total * shrink + tl.sum(p, 1), new
    tl.store(out + g[:, None] * D + d[None, :], acc / total[:, None])


def operands(rows, n, k, turned):
    rng = np.random.default_rng(rows + n + k)
    x, w = rng.standard_normal((rows, k)).astype("float32"), rng.standard_normal((n, k)).astype("float32")
    return x, w if turned else np.ascontiguousarray(w.T), np.zeros((rows, n), "float32"), x @ w.T


FORMS = ["plain", "trans", "started", "rows", "apart", "looked at"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("rows", "n", "k"), [(1, 64, 64), (16, 96, 100), (5, 33, 31), (37, 32, 128)])
def test_linear_layers(form, rows, n, k):
    x, w, out, want = operands(rows, n, k, form != "rows")
    if form == "apart":
        parts = [x[:, i : i + 32] @ w[:, i : i + 32].T for i in range(0, k, 32)]
        want = sum(p * 0.5 ** (len(parts) - 1 - i) for i, p in enumerate(parts))
    grid = (-(-rows // 16), -(-n // 32), 1)
    launch(CpuTarget(), linear, grid, x=x, w=w, out=out, rows=rows, n_size=n, k_size=k, FORM=form, BM=16, BN=32, BK=32)
    np.testing.assert_allclose(out, want + 0.5 * (form == "started"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("length", [64, 100, 7])
def test_scores_of_attention(length):
    rng = np.random.default_rng(length)
    q, k, v = (rng.standard_normal((n, 32)).astype("float32") for n in (16, length, length))
    out = np.zeros((16, 32), "float32")
    launch(CpuTarget(), scores, (1, 1, 1), q=q, k=k, v=v, out=out, length=length, D=32, BN=32)
    p = np.exp(q @ k.T - (q @ k.T).max(1, keepdims=True))
    np.testing.assert_allclose(out, p / p.sum(1, keepdims=True) @ v, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("form", "bm", "turned"), [*((f, 16, f in ("plain", "trans", "started")) for f in FORMS), ("plain", 32, False)])
def test_which_are_turned(form, bm, turned):
    """Those with few rows whose weights lie along k, and whose accumulator nobody else looks at."""
    x, w, out, _ = operands(16, 64, 64, form != "rows")
    module, _ = traced(linear, x=x, w=w, out=out, rows=16, n_size=64, k_size=64, FORM=form, BM=bm, BN=64, BK=32)
    optimize(module)
    for rewrite in machine_passes(SKYLAKE):
        if rewrite.__name__ == "turn_dots":
            break
        rewrite(module)
    assert turn_dots(module, SKYLAKE) is turned
    shapes = [op.result.type.shape for op in module.walk() if op.name == "dot"]
    assert shapes == [(64, 16) if turned else (bm, 64)]


@pytest.mark.parametrize(("machine", "turned"), [(SKYLAKE, True), (named("amx"), False)])
def test_scores_are_turned_where_keys_would_be_turned_number_by_number(machine, turned):
    pointer = "*bf16" if machine.name == "amx" else "*fp32"
    signature = dict.fromkeys(("q", "k", "v"), pointer) | {"out": "*fp32", "length": "i32", "D": "constexpr", "BN": "constexpr"}
    source = JITCallable(grouped_scores if machine.name == "amx" else scores)
    module = trace(source, signature, {(5,): 32, (6,): 32}, {}, OPTIONS)
    optimize(module)
    assert turn_dots(module, machine) is turned


def grouped_scores(q, k, v, out, length, D: tl.constexpr, BN: tl.constexpr):
    g, d = tl.arange(0, 16), tl.arange(0, D)
    n = tl.arange(0, BN)
    s = tl.dot(tl.load(q + g[:, None] * D + d[None, :]), tl.load(k + n[None, :] * length + d[:, None]))
    tl.store(out + g[:, None] * BN + n[None, :], s)
