"""Loops in which addresses are read from tables: pages of a cache, rows by index; numbers are small, so that all sums are exact.

The tables end where the last iteration's numbers do.
"""

from __future__ import annotations

from feature_table import Array, case, integers, of, zeros

import anytile.language as tl


def _order(count: int, kind: str = "i32") -> Array:
    """The numbers below ``count`` (a power of two) in another order."""
    return of(kind, [(5 * i + 3) % count for i in range(count)])


def paged_products(
    q,
    keys,
    values,
    table,
    out,
    n,
    M: tl.constexpr,
    T: tl.constexpr,
    D: tl.constexpr,
    PAGE: tl.constexpr,
    MASKED: tl.constexpr,
    LATENT: tl.constexpr,
):
    """Attention without its exponentials, over ``n`` rows on pages; with ``LATENT`` the keys are the values, too."""
    m, t, d = tl.arange(0, M), tl.arange(0, T), tl.arange(0, D)
    x = tl.load(q + m[:, None] * D + d[None, :])
    acc = tl.zeros((M, D), tl.float32)
    for i in range(0, n, T):
        row = i + t
        inside = row < n
        page = tl.load(table + row // PAGE, mask=inside, other=0) if MASKED else tl.load(table + row // PAGE)
        at = page.to(tl.int64) * PAGE + row % PAGE
        k = tl.load(keys + at[None, :] * D + d[:, None], mask=inside[None, :], other=0.0)
        v = k.T if LATENT else tl.load(values + at[:, None] * D + d[None, :], mask=inside[:, None], other=0.0)
        acc = tl.dot((tl.dot(x, k) * 0.125).to(x.dtype), v, acc)
    tl.store(out + m[:, None] * D + d[None, :], acc)


def _paged(name, n, m=16, t=32, d=64, page=16, masked=False, stages=3, warps=4, kind="bf16", latent=False):
    pages = max(1, -(-n // page))
    rows = 1 << (pages * page - 1).bit_length()
    case(
        name,
        q=integers(kind, m, d, low=-2, high=3),
        keys=integers(kind, rows, d, low=-2, high=3),
        values=integers(kind, rows, d, low=-2, high=3),
        table=of("i32", [(5 * i + 3) % (rows // page) for i in range(pages)]),
        out=zeros("fp32", m, d),
        n=n,
        constants={"M": m, "T": t, "D": d, "PAGE": page, "MASKED": masked, "LATENT": latent},
        options={"num_stages": stages, "num_warps": warps},
    )(paged_products)


for _n in (0, 32, 64, 96, 192):
    _paged(f"{_n} rows", _n)
for _stages in (1, 2, 4, 5):
    _paged(f"{_stages} stages", 192, stages=_stages)
_paged("ends within a page", 150, masked=True)
_paged("ends within a page, two stages", 150, masked=True, stages=2)
_paged("one row more", 129, masked=True, stages=4)
_paged("pages of one row", 128, page=1)
_paged("a page for each step", 192, page=32)
_paged("pages of several steps", 192, page=64, stages=4)
_paged("fp16, wide heads", 128, d=256, kind="fp16")
_paged("two warps", 192, warps=2)
for _n in (0, 64, 128, 320):
    _paged(f"warpgroups in turns, {_n} rows", _n, m=128, t=64, d=128, warps=8)
_paged("warpgroups in turns, two stages", 256, m=128, t=64, d=128, warps=8, stages=2)
_paged("warpgroups in turns, four stages, ends within a page", 300, m=128, t=64, d=128, warps=8, stages=4, masked=True)
_paged("keys are values", 150, d=128, masked=True, latent=True)
_paged("keys are values, two stages", 192, d=256, latent=True, stages=2)
_paged("keys are values, a warpgroup", 200, m=64, t=64, d=128, masked=True, latent=True)
_paged("keys are values, two warpgroups", 200, m=128, t=64, d=64, warps=8, masked=True, latent=True)
_paged("a warpgroup", 200, m=64, t=64, d=128, masked=True)


def _rows_by_rows(x, out, warps, m):
    sizes = {"M": m, "K": 32}
    case(
        f"{x} {m} rows", x=integers(x, m, 96, low=-3, high=4), out=zeros(out, m, m), constants=sizes, options={"num_warps": warps}, arch=75
    )(rows_by_rows)


def rows_by_rows(x, out, M: tl.constexpr, K: tl.constexpr):
    """One tile is both operands."""
    m, k = tl.arange(0, M), tl.arange(0, K)
    acc = tl.zeros((M, M), out.dtype.element_ty)
    for i in range(0, 3):
        a = tl.load(x + m[:, None] * (3 * K) + (i * K + k)[None, :])
        acc = tl.dot(a, a.T, acc, input_precision="tf32", out_dtype=acc.dtype)
    tl.store(out + m[:, None] * M + m[None, :], acc)


for _x in ("fp16", "bf16", "fp32", "fp8e5", "i8"):
    for _m, _warps in ((16, 1), (32, 4), (64, 4), (128, 8)):
        _rows_by_rows(_x, "i32" if _x == "i8" else "fp32", _warps, _m)


def _values_first(name, size, warps, stages, n=5, kind="bf16"):
    one = {"low": -1, "high": 2}
    case(
        name,
        keys=integers(kind, n * 128, 128, **one),
        values=integers(kind, n * 128, size, **one),
        out=zeros("fp32", size, size),
        n=n,
        constants={"T": 128, "D": size},
        options={"num_warps": warps, "num_stages": stages},
    )(values_first)


def values_first(keys, values, out, n, T: tl.constexpr, D: tl.constexpr):
    """Two products in a row, of which the first one reads the second one's tile, too."""
    t, d = tl.arange(0, T), tl.arange(0, D)
    acc = tl.zeros((D, D), tl.float32)
    for i in range(0, n):
        v = tl.load(values + (i * T + t)[:, None] * D + d[None, :])
        k = tl.load(keys + (i * T + t)[:, None] * T + t[None, :])
        acc = tl.dot(tl.dot(v.T, k).to(v.dtype), v, acc)
    tl.store(out + d[:, None] * D + d[None, :], acc)


_values_first("four warps", 64, 4, 3)
_values_first("two stages", 64, 4, 2)
_values_first("four stages, fp16", 64, 4, 4, kind="fp16")
_values_first("eight warps", 128, 8, 3)
_values_first("eight warps, two stages", 128, 8, 2)


@case("four warps", x=integers("bf16", 64, 96, low=-9, high=9), y=integers("bf16", 96, 64, low=-9, high=9), ids=of("i32", [(5 * i + 3) % 32 for i in range(96)]), sums=zeros("i32", 4), out=zeros("fp32", 64, 64), constants={"M": 64})  # fmt: skip
@case("rows of an instruction", x=integers("bf16", 64, 96, low=-9, high=9), y=integers("bf16", 96, 32, low=-9, high=9), ids=of("i32", [(5 * i + 3) % 32 for i in range(96)]), sums=zeros("i32", 4), out=zeros("fp32", 16, 32), constants={"M": 16, "N": 32})  # fmt: skip
def rows_by_index(x, y, ids, sums, out, M: tl.constexpr, N: tl.constexpr = 64):
    """One of the operands by an index of the iteration, which is also used for itself."""
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, 32)
    acc = tl.zeros((M, N), tl.float32)
    for i in range(0, 3):
        index = tl.load(ids + i * 32 + k)
        b = tl.load(y + (i * 32 + index)[:, None] * N + n[None, :])
        acc = tl.dot(tl.load(x + m[:, None] * 96 + (i * 32 + k)[None, :]), b, acc)
        acc += tl.sum(index)
    tl.store(out + m[:, None] * N + n[None, :], acc)


@case("two stages", keys=integers("fp16", 256, 64, low=-2, high=3), q=integers("fp16", 32, 64, low=-2, high=3), table=_order(8), out=zeros("fp32", 32, 32), n=6, options={"num_stages": 2})  # fmt: skip
@case("three stages", keys=integers("fp16", 256, 64, low=-2, high=3), q=integers("fp16", 32, 64, low=-2, high=3), table=_order(8, "i64"), out=zeros("fp32", 32, 32), n=8)  # fmt: skip
@case("used", keys=integers("fp16", 256, 64, low=-2, high=3), q=integers("fp16", 32, 64, low=-2, high=3), table=_order(8), out=zeros("fp32", 32, 32), n=7, constants={"USED": True})  # fmt: skip
def page_of_each_step(keys, q, table, out, n, USED: tl.constexpr = False):
    """The page is a scalar; with ``USED`` the iteration itself computes with it."""
    m, d = tl.arange(0, 32), tl.arange(0, 64)
    x = tl.load(q + m[:, None] * 64 + d[None, :])
    acc = tl.zeros((32, 32), tl.float32)
    for i in range(0, n):
        page = tl.load(table + i)
        acc = tl.dot(x, tl.load(keys + (page * 32 + m)[None, :] * 64 + d[:, None]), acc)
        if USED:
            acc += page
    tl.store(out + m[:, None] * 32 + m[None, :], acc)


@case(x=integers("fp32", 16, 256), table=_order(16), out=zeros("fp32", 256), n=11)
def summed_pages(x, table, out, n):
    """Rows that no dot reads, copied ahead because the loop says so."""
    i = tl.arange(0, 256)
    acc = tl.zeros((256,), tl.float32)
    for j in tl.range(0, n, num_stages=3):
        acc += tl.load(x + tl.load(table + j) * 256 + i)
    tl.store(out + i, acc)


@case("of tables", keys=integers("fp16", 256, 64, low=-2, high=3), q=integers("fp16", 32, 64, low=-2, high=3), table=_order(8), pages=_order(8), seen=zeros("i32", 8), out=zeros("fp32", 32, 32), n=7)  # fmt: skip
@case("with stores", keys=integers("fp16", 256, 64, low=-2, high=3), q=integers("fp16", 32, 64, low=-2, high=3), table=_order(8), pages=_order(8), seen=zeros("i32", 8), out=zeros("fp32", 32, 32), n=8, constants={"STORES": True})  # fmt: skip
def page_behind_a_table(keys, q, table, pages, seen, out, n, STORES: tl.constexpr = False):
    """A page's number is read by a number that was read; with ``STORES`` from what the loop has written just before."""
    m, d = tl.arange(0, 32), tl.arange(0, 64)
    x = tl.load(q + m[:, None] * 64 + d[None, :])
    acc = tl.zeros((32, 32), tl.float32)
    for i in range(0, n):
        page = tl.load(pages + tl.load(table + i))
        if STORES:
            tl.store(seen + i, 7 - page)
            tl.debug_barrier()
            page = tl.load(seen + i)
        acc = tl.dot(x, tl.load(keys + (page * 32 + m)[None, :] * 64 + d[:, None]), acc)
    tl.store(out + m[:, None] * 32 + m[None, :], acc)
