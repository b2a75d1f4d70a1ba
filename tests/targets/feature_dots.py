"""Matrix products: element types, precisions, sizes, scales."""

from __future__ import annotations

from feature_table import Array, case, integers, normal, of, zeros

import anytile.language as tl


def product(
    x,
    y,
    out,
    M: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
    P: tl.constexpr = None,
    TURN: tl.constexpr = False,
    STEPS: tl.constexpr = 1,
):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    kind: tl.constexpr = out.dtype.element_ty
    acc = tl.zeros((M, N), tl.float32 if kind == tl.float16 or kind == tl.bfloat16 else kind)
    for i in range(0, STEPS):
        kk = i * K + k
        a = tl.load(x + m[:, None] * (K * STEPS) + kk[None, :])
        if TURN:
            b = tl.load(y + n[:, None] * (K * STEPS) + kk[None, :]).T
        else:
            b = tl.load(y + kk[:, None] * N + n[None, :])
        acc = tl.dot(a, b, acc, input_precision=P, out_dtype=acc.dtype)
    tl.store(out + m[:, None] * N + n[None, :], acc.to(kind))


def _product(name, x, out, m, n, k, tolerance, precision=None, turn=False, steps=1, arch=75, warps=4):
    make = (lambda s: integers(x, *s, low=-9, high=9)) if x in ("i8", "u8") else (lambda s: normal(x, *s))
    constants = {"M": m, "N": n, "K": k, "P": precision, "TURN": turn, "STEPS": steps}
    y = (n, k * steps) if turn else (k * steps, n)
    case(name, x=make((m, k * steps)), y=make(y), out=zeros(out, m, n), constants=constants, tolerance=tolerance, arch=arch, options={"num_warps": warps})(product)  # fmt: skip


for _x, _tolerance in {"fp16": 1e-6, "bf16": 1e-6, "fp8e5": 1e-3, "fp8e4nv": 1e-3, "fp8e4b15": 1e-5}.items():
    for _m, _n, _k in ((16, 16, 16), (32, 64, 32), (64, 128, 64)):
        _product(f"{_x} {_m}x{_n}x{_k}", _x, "fp32", _m, _n, _k, _tolerance)
for _x in ("fp8e4b8", "fp8e5b16"):
    _product(f"{_x} 64x128x64", _x, "fp32", 64, 128, 64, 1e-5)
_product("fp16 in steps", "fp16", "fp32", 64, 64, 32, 1e-6, steps=6)
_product("fp16 in steps, turned", "fp16", "fp32", 64, 64, 32, 1e-6, turn=True, steps=5)
_product("bf16 in steps, eight warps", "bf16", "bf16", 128, 128, 32, 1e-2, steps=4, warps=8)
_product("fp16 of one row", "fp16", "fp32", 1, 16, 32, 1e-6)
_product("i8", "i8", "i32", 32, 32, 64, 0)
_product("i8 by warpgroup", "i8", "i32", 64, 64, 64, 0, turn=True)
_product("fp64", "fp64", "fp64", 16, 32, 16, 1e-14)
_product("fp32 ieee", "fp32", "fp32", 32, 32, 32, 1e-6, "ieee")
_product("fp32 tf32", "fp32", "fp32", 64, 64, 32, 2e-3, "tf32")
_product("fp32 tf32x3", "fp32", "fp32", 64, 64, 32, 2e-6, "tf32x3")
_product("fp32 bf16x3", "fp32", "fp32", 64, 64, 32, 3e-5, "bf16x3")
_product("fp32 bf16x6", "fp32", "fp32", 64, 64, 32, 2e-6, "bf16x6")


@case(x=normal("fp16", 2, 32, 32), y=normal("fp16", 2, 32, 16), out=zeros("fp32", 2, 32, 16), tolerance=1e-6)
def batched_product(x, y, out):
    b, m, n, k = tl.arange(0, 2)[:, None, None], tl.arange(0, 32), tl.arange(0, 16), tl.arange(0, 32)
    u = tl.load(x + b * 1024 + m[None, :, None] * 32 + k[None, None, :])
    v = tl.load(y + b * 512 + k[None, :, None] * 16 + n[None, None, :])
    tl.store(out + b * 512 + m[None, :, None] * 16 + n[None, None, :], tl.dot(u, v))


@case(x=normal("fp16", 64, 64), y=normal("fp16", 64, 64), z=normal("fp16", 64, 64), out=zeros("fp32", 64, 64), tolerance=2e-3)
def product_of_products(x, y, z, out):
    at = tl.arange(0, 64)[:, None] * 64 + tl.arange(0, 64)[None, :]
    first = tl.dot(tl.load(x + at), tl.load(y + at))
    weights = tl.exp(first - tl.max(first, 1)[:, None]).to(tl.float16)
    tl.store(out + at, tl.dot(weights, tl.load(z + at)) / tl.sum(weights.to(tl.float32), 1)[:, None])


def scaled_product(x, sx, y, sy, out, XF: tl.constexpr, YF: tl.constexpr, XB: tl.constexpr, YB: tl.constexpr):
    """32×32×64; XB, YB: elements in a stored one along k (2 of e2m1)."""
    m, n, s = tl.arange(0, 32), tl.arange(0, 32), tl.arange(0, 2)
    kx, ky = tl.arange(0, 64 // XB), tl.arange(0, 64 // YB)
    a = tl.load(x + m[:, None] * (64 // XB) + kx[None, :])
    b = tl.load(y + ky[:, None] * 32 + n[None, :])
    scale_x = tl.load(sx + m[:, None] * 2 + s[None, :])
    scale_y = tl.load(sy + n[:, None] * 2 + s[None, :])
    tl.store(out + m[:, None] * 32 + n[None, :], tl.dot_scaled(a, scale_x, XF, b, scale_y, YF))


_CODES = {"e2m1": ("u8", 2), "e4m3": ("fp8e4nv", 1), "e5m2": ("fp8e5", 1), "bf16": ("bf16", 1), "fp16": ("fp16", 1)}
for _xf, _yf in (("e2m1", "e2m1"), ("e4m3", "e5m2"), ("e5m2", "e2m1"), ("e4m3", "e4m3")):
    (_kx, _bx), (_ky, _by) = _CODES[_xf], _CODES[_yf]
    _a, _b = (
        integers("u8", *shape, low=0, high=256) if kind == "u8" else normal(kind, *shape)
        for kind, shape in ((_kx, (32, 64 // _bx)), (_ky, (64 // _by, 32)))
    )
    _scales = {s: Array("u8", lambda random: random.integers(120, 134, (32, 2))) for s in ("sx", "sy")}
    case(f"{_xf} by {_yf}", x=_a, y=_b, **_scales, out=zeros("fp32", 32, 32), tolerance=1e-5, constants={"XF": _xf, "YF": _yf, "XB": _bx, "YB": _by})(scaled_product)  # fmt: skip


@case(x=normal("bf16", 32, 64), y=of("fp8e4nv", [[1.0] * 32] * 64), sy=integers("u8", 32, 2, low=125, high=130), out=zeros("fp32", 32, 32), tolerance=1e-5)  # fmt: skip
def half_scaled_product(x, y, sy, out):
    m, n, k = tl.arange(0, 32), tl.arange(0, 32), tl.arange(0, 64)
    a, b = tl.load(x + m[:, None] * 64 + k[None, :]), tl.load(y + k[:, None] * 32 + n[None, :])
    scales = tl.load(sy + n[:, None] * 2 + tl.arange(0, 2)[None, :])
    acc = tl.full((32, 32), 1.0, tl.float32)
    tl.store(out + m[:, None] * 32 + n[None, :], tl.dot_scaled(a, None, "bf16", b, scales, "e4m3", acc))


def _loaded_in_the_loop(kind, m, n, k, warps, out="fp32"):
    name = f"{kind} {m}x{n}x{k} {warps} warps"
    one = {"low": -3, "high": 4}
    case(
        name,
        x=integers(kind, 3 * k, m, **one),
        y=integers(kind, 3 * k, n, **one),
        z=integers(kind, n, 3 * k, **one),
        out=zeros(out, 2, m, n),
        n=3 * k - 5,
        constants={"M": m, "N": n, "K": k},
        options={"num_warps": warps},
        arch=75,
    )(loaded_in_the_loop)


def loaded_in_the_loop(x, y, z, out, n, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """What lies outside counts as 1, so that nothing is copied ahead: operands with neighbours along k and across it."""
    m, j, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    acc = tl.zeros([M, N], out.dtype.element_ty)
    turned = tl.zeros([M, N], out.dtype.element_ty)
    for start in range(0, n, K):
        inside = start + k < n
        a = tl.load(x + (start + k)[:, None] * M + m[None, :], mask=inside[:, None], other=1).to(x.dtype.element_ty).T
        acc = tl.dot(a, tl.load(y + (start + k)[:, None] * N + j[None, :], mask=inside[:, None], other=1), acc, out_dtype=acc.dtype)
        b = tl.load(z + j[:, None] * n + (start + k)[None, :], mask=inside[None, :], other=1).T
        turned = tl.dot(a, b, turned, out_dtype=acc.dtype)
    tl.store(out + m[:, None] * N + j[None, :], acc)
    tl.store(out + M * N + m[:, None] * N + j[None, :], turned)


for _kind in ("fp16", "bf16", "i8", "fp32", "fp8e5"):
    for _m, _n, _k, _warps in ((32, 32, 32, 4), (16, 64, 32, 1), (64, 32, 64, 8), (128, 16, 32, 2)):
        _loaded_in_the_loop(_kind, _m, _n, _k, _warps, "i32" if _kind == "i8" else "fp32")


@case("i32", a=integers("bf16", 64, 64, low=-2, high=3), b=integers("bf16", 64, 64, low=-2, high=3), ns=integers("i32", 64, low=-99, high=100), out=zeros("fp32", 64, 64), rest=zeros("i64", 4, 64), n=37)  # fmt: skip
@case("i64", a=integers("bf16", 64, 64, low=-2, high=3), b=integers("bf16", 64, 64, low=-2, high=3), ns=integers("i64", 64, low=-(2**62), high=2**62), out=zeros("fp32", 64, 64), rest=zeros("i64", 4, 64), n=61)  # fmt: skip
def rows_by_remainders(a, b, ns, out, rest, n):
    """Quotients of 64 bits in a kernel with wgmma."""
    m = tl.arange(0, 64)
    rows = (tl.program_id(0) * 64 + m.to(tl.int64)) % n
    acc = tl.zeros((64, 64), tl.float32)
    for i in range(0, 3):
        x = tl.load(a + ((rows + i) % n)[:, None] * 64 + m[None, :])
        acc = tl.dot(x, tl.load(b + m[:, None] * 64 + m[None, :]), acc)
    tl.store(out + m[:, None] * 64 + m[None, :], acc)
    d = tl.load(ns + m).to(tl.int64)
    x = d * 7919 + m
    tl.store(rest + m, x // d)
    tl.store(rest + 64 + m, x % d)
    tl.store(rest + 128 + m, (x.to(tl.uint64) // d.to(tl.uint64)).to(tl.int64))
    tl.store(rest + 192 + m, (x.to(tl.uint64) % (m + 1).to(tl.uint64)).to(tl.int64))


def weights_in_order(
    w, s, x, out, steps, turns, N: tl.constexpr, M: tl.constexpr, B: tl.constexpr, STEPS: tl.constexpr, TURNED: tl.constexpr
):
    """Weights of 8 bits stored in the order of wgmma's fragments: widened and scaled where the instruction takes them, again and again."""
    K: tl.constexpr = B * STEPS
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, B)
    half, double, group = tl.arange(0, N // 2), tl.arange(0, 2 * B), tl.arange(0, B // 32)
    for turn in range(0, turns):
        acc = tl.zeros((M, N) if TURNED else (N, M), tl.float32)
        for i in range(0, steps):
            at = i * B
            rows = tl.load(w + half[:, None] * (2 * K) + (2 * at + double)[None, :], mask=(at + double // 2 < K)[None, :], other=0)
            a = rows.reshape(N // 16, 8, B // 32, 4, 2, 2, 2, 2).permute(0, 6, 1, 2, 4, 5, 3, 7).reshape(N, B)
            scale = tl.load(s + n[:, None] * (K // 32) + (at // 32 + group)[None, :])
            scale = tl.broadcast_to(scale[:, :, None], (N, B // 32, 32)).reshape(N, B)
            b = tl.load(x + m[:, None] * K + (at + k)[None, :]).T
            if TURNED:
                acc = tl.dot(a.to(tl.bfloat16) * scale, b, acc.T).T
            else:
                acc = tl.dot(a.to(tl.bfloat16) * scale, b, acc)
        if TURNED:
            acc = acc.T
        tl.store(out + turn * M * N + m[None, :] * N + n[:, None], acc)


for _n, _m, _k, _steps, _warps, _turned in (
    (64, 16, 32, 1, 4, False),
    (64, 32, 64, 7, 4, True),
    (128, 64, 128, 6, 8, True),
    (256, 16, 128, 5, 8, True),
    (256, 64, 256, 2, 8, False),
):
    case(
        f"{_n}x{_m}x{_k}, {_steps} steps{', turned' if _turned else ''}",
        w=integers("i8", _n // 2, 2 * _k * _steps, low=-8, high=8),
        s=integers("bf16", _n, _k * _steps // 32, low=1, high=4),
        x=integers("bf16", _m, _k * _steps, low=-2, high=3),
        out=zeros("fp32", 2, _m, _n),
        steps=_steps,
        turns=2,
        constants={"N": _n, "M": _m, "B": _k, "STEPS": _steps, "TURNED": _turned},
        arch=80,
        options={"num_warps": _warps, "num_stages": 4},
    )(weights_in_order)


def states(k, v, g, h, out, rows, D: tl.constexpr, B: tl.constexpr, FEW: tl.constexpr):
    """A state that a loop stores, scales by a number and adds a product to, whose operand is scaled by rows: all of it is copied ahead."""
    d, t = tl.arange(0, D), tl.arange(0, B)
    state = tl.zeros((D, D), tl.float32)
    for i in range(0, FEW if FEW else tl.cdiv(rows, B)):
        tl.store(h + i * D * D + d[:, None] * D + d[None, :], state)
        at = i.to(tl.int64) * B + t if FEW == 0 else i * B + t
        inside = at < rows
        x = tl.load(k + d[:, None] + at[None, :] * D, mask=inside[None, :], other=0.0)
        y = tl.load(v + at[:, None] * D + d[None, :], mask=inside[:, None], other=0.0)
        less = tl.load(g + at, mask=inside, other=0.0)
        last = tl.load(g + i * B)
        state *= tl.exp2(last)
        state = tl.dot(x, (y * tl.exp2(less - 1)[:, None]).to(tl.bfloat16), state)
    tl.store(out + d[:, None] * D + d[None, :], state)


for _d, _b, _rows, _stages, _warps, _few in (
    (32, 64, 300, 2, 1, 0),
    (64, 64, 300, 4, 8, 0),
    (64, 64, 64, 4, 4, 0),
    (64, 32, 250, 3, 4, 0),
    (128, 64, 190, 3, 4, 3),
    (32, 32, 60, 4, 2, 2),
):
    case(
        f"{_d}x{_b}, {_rows} rows, {_stages} stages, {_warps} warps{', few iterations' if _few else ''}",
        k=integers("bf16", 320, _d, low=-2, high=3),
        v=integers("bf16", 320, _d, low=-2, high=3),
        g=integers("fp32", 320, low=-1, high=1),
        h=zeros("fp32", 10, _d, _d),
        out=zeros("fp32", _d, _d),
        rows=_rows,
        constants={"D": _d, "B": _b, "FEW": _few},
        arch=80,
        options={"num_warps": _warps, "num_stages": _stages},
    )(states)
