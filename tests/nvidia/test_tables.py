"""Tables that a loop reads addresses from are read an iteration ahead of the copies that need them, and only for iterations that take place.

Read off the PTX; `feature_tables` compares results.
"""

from __future__ import annotations

import re

import pytest
from ptx_text import loops

import anytile.language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit


@jit
def paged(q, keys, values, table, out, n, M: tl.constexpr, T: tl.constexpr, D: tl.constexpr, STORES: tl.constexpr = False):
    """Two products with rows on pages of 16."""
    m, t, d = tl.arange(0, M), tl.arange(0, T), tl.arange(0, D)
    x = tl.load(q + m[:, None] * D + d[None, :])
    acc = tl.zeros((M, D), tl.float32)
    for i in range(0, n):
        row = i * T + t
        at = tl.load(table + row // 16).to(tl.int64) * 16 + row % 16
        k = tl.load(keys + at[None, :] * D + d[:, None])
        v = tl.load(values + at[:, None] * D + d[None, :])
        acc = tl.dot(tl.dot(x, k).to(x.dtype), v, acc)
        if STORES:
            tl.store(out + m[:, None] * D + d[None, :], acc)
    tl.store(out + m[:, None] * D + d[None, :], acc)


@jit
def indexed(x, y, out, ids, K: tl.constexpr, M: tl.constexpr, N: tl.constexpr, BK: tl.constexpr):
    """One product, the rows of x by indices of each iteration."""
    r, k, c = tl.arange(0, M), tl.arange(0, BK), tl.arange(0, N)
    acc = tl.zeros((M, N), tl.float32)
    for i in range(0, K, BK):
        a = tl.load(x + tl.load(ids + i + r)[:, None] * K + (i + k)[None, :])
        acc = tl.dot(a, tl.load(y + (i + k)[:, None] + c[None, :] * K), acc)
    tl.store(out + r[:, None] * N + c[None, :], acc)


@jit
def scalar_pages(x, y, out, table, n, USED: tl.constexpr):
    """One page for an iteration; with USED the iteration computes with its number."""
    m, d = tl.arange(0, 32), tl.arange(0, 64)
    a = tl.load(x + m[:, None] * 64 + d[None, :])
    acc = tl.zeros((32, 32), tl.float32)
    for i in range(0, n):
        page = tl.load(table + i)
        acc = tl.dot(a, tl.load(y + (page * 32 + m)[None, :] * 64 + d[:, None]), acc)
        if USED:
            acc += page
    tl.store(out + m[:, None] * 32 + m[None, :], acc)


@jit
def divided_pages(x, y, out, table, n, USED: tl.constexpr):
    """The page is a quotient by what the table says."""
    m, d = tl.arange(0, 32), tl.arange(0, 64)
    a = tl.load(x + m[:, None] * 64 + d[None, :])
    acc = tl.zeros((32, 32), tl.float32)
    for i in range(0, n):
        page = 4096 // tl.load(table + i)
        acc = tl.dot(a, tl.load(y + (page * 32 + m)[None, :] * 64 + d[:, None]), acc)
        if USED:
            acc += page
    tl.store(out + m[:, None] * 32 + m[None, :], acc)


@jit
def latent(q, keys, out, n, M: tl.constexpr, T: tl.constexpr, D: tl.constexpr, SUM: tl.constexpr):
    """The keys are the values; with SUM something that is no dot reads them, too."""
    m, t, d = tl.arange(0, M), tl.arange(0, T), tl.arange(0, D)
    x = tl.load(q + m[:, None] * D + d[None, :])
    acc = tl.zeros((M, D), tl.float32)
    for i in range(0, n):
        k = tl.load(keys + (i * T + t)[None, :] * D + d[:, None])
        acc = tl.dot(tl.dot(x, k).to(x.dtype), k.T, acc)
        if SUM:
            acc += tl.sum(k.to(tl.float32), 1)[None, :]
    tl.store(out + m[:, None] * D + d[None, :], acc)


@jit
def values_first(keys, values, out, n, T: tl.constexpr, D: tl.constexpr):
    """The first product reads the second one's values, too."""
    t, d = tl.arange(0, T), tl.arange(0, D)
    acc = tl.zeros((D, D), tl.float32)
    for i in range(0, n):
        v = tl.load(values + (i * T + t)[:, None] * D + d[None, :])
        k = tl.load(keys + (i * T + t)[:, None] * T + t[None, :])
        acc = tl.dot(tl.exp(tl.dot(v.T, k)).to(v.dtype), v, acc)
    tl.store(out + d[:, None] * D + d[None, :], acc)


@jit
def pages_and_products(q, keys, values, table, x, y, out, n, STAGES: tl.constexpr):
    """A loop with pages, and another one whose ring takes all the shared memory that there is, and more."""
    m, t, d = tl.arange(0, 16), tl.arange(0, 32), tl.arange(0, 64)
    a = tl.load(q + m[:, None] * 64 + d[None, :])
    acc = tl.zeros((16, 64), tl.float32)
    for i in tl.range(0, n, num_stages=2):
        at = tl.load(table + (i * 32 + t) // 16).to(tl.int64) * 16 + t % 16
        k = tl.load(keys + at[None, :] * 64 + d[:, None])
        acc = tl.dot(tl.dot(a, k).to(a.dtype), tl.load(values + at[:, None] * 64 + d[None, :]), acc)
    tl.store(out + m[:, None] * 64 + d[None, :], acc)
    r, c = tl.arange(0, 128), tl.arange(0, 64)
    total = tl.zeros((128, 128), tl.float32)
    for i in tl.range(0, n, num_stages=STAGES):
        e = tl.load(x + r[:, None] * (n * 64) + (i * 64 + c)[None, :])
        total = tl.dot(e, tl.load(y + r[None, :] * (n * 64) + (i * 64 + c)[:, None]), total)
    tl.store(out + 1024 + r[:, None] * 128 + r[None, :], total)


def ptx(fn, sm: int, warps: int, constants: dict, stages: int = 3, stage: str = "ptx", **signature: str) -> str:
    given = {**signature, **dict.fromkeys(constants, "constexpr")}
    attrs = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(signature.values()) if kind.startswith("*")}
    options = {"num_warps": warps, "num_stages": stages}
    return compile(ASTSource(fn, given, constants, attrs), target=GPUTarget("cuda", sm, 32), options=options).asm[stage]


def of_pages(sm: int, warps: int, stages: int = 3, **sizes: int) -> str:
    pointers = dict.fromkeys(("q", "keys", "values"), "*bf16")
    return ptx(paged, sm, warps, sizes, stages, **pointers, table="*i32", out="*fp32", n="i32")


def innermost(text: str) -> str:
    return "\n".join(max(loops(text), key=len))


def table_reads(text: str) -> list[str]:
    """The conditions of what reads 32-bit numbers, "" for none."""
    return [m[1] or "" for m in re.finditer(r"(?:@(%p\d+) )?ld\.global\.b32", text)]


@pytest.mark.parametrize("sm", [80, 90])
def test_pages_are_read_ahead_of_the_copies(sm):
    text = of_pages(sm, 4, M=16, T=32, D=64)
    assert text.count("cp.async.cg") == 3 * 4, "two operands of two copies a thread: for two iterations in front of the loop, and in it"
    loop = innermost(text)
    assert loop.count("cp.async.cg") == 4 and loop.count("cp.async.wait_group") == 1
    reads = table_reads(loop)
    assert len(reads) == 2, "each thread copies two rows: K and V ask for the same ones"
    assert loop.index("cp.async.commit_group") < loop.index("ld.global") < loop.index("mma.")
    assert "ld.global" not in loop[: loop.index("cp.async.cg")], "no copy waits for its page"


@pytest.mark.parametrize("sm", [80, 90])
def test_no_page_is_read_for_an_iteration_that_does_not_take_place(sm):
    """Each read has a condition, which compares the number of that very iteration with the loop's end, without signs: it may have wrapped."""
    text = of_pages(sm, 4, M=16, T=32, D=64)
    conditions = table_reads(text)
    assert len(conditions) == 4 * 2 and all(conditions), "iterations 0, 1 and 2 in front of the loop; three ahead in it"
    made = dict(re.findall(r"setp\.\w+\.[ub]32\s+(%p\d+), (%r\d+, \S+);", text))
    compared = [made[c].split(", ") for c in dict.fromkeys(conditions)]
    assert [b for _, b in compared[:3]] == ["0", "1", "2"], "n > 0, n > 1, n > 2"
    assert compared[3][1] == compared[0][0], "the iteration's number < n"
    assert re.search(rf"max\.s32\s+{compared[3][1]}, \S+, 0;", text), "which is at least 0"


def test_pages_of_a_chain_are_read_two_iterations_ahead():
    """The first product's copies are an iteration ahead of the second one's."""
    text = of_pages(90, 8, M=128, T=64, D=128)
    assert text.count("wgmma.mma_async") > 0
    loop = innermost(text)
    assert loop.count("cp.async.cg") == 8 and len(table_reads(loop)) == 4, "four rows a thread"
    assert "ld.global" not in loop[: loop.index("cp.async.cg")]


def test_two_stages():
    loop = innermost(of_pages(90, 4, stages=2, M=16, T=32, D=64))
    assert loop.count("cp.async.cg") == 4 and "cp.async.wait_group 0" in loop and len(table_reads(loop)) == 2


def test_without_copies_a_page_is_read_where_its_addresses_are():
    """No exchange between threads: each reads the pages of its own rows."""
    text = of_pages(90, 4, stages=1, M=16, T=32, D=64)
    assert "cp.async" not in text
    assert len(table_reads(innermost(text))) == 2


def test_a_loop_that_stores_elsewhere_reads_ahead():
    """The table is another argument than what is stored to."""
    loop = innermost(of_pages(90, 4, M=16, T=32, D=64, STORES=True))
    assert loop.count("cp.async.cg") == 4 and len(table_reads(loop)) == 2


def test_rows_by_an_index_of_the_iteration():
    sizes = {"K": 4064, "M": 128, "N": 128, "BK": 64}
    text = ptx(indexed, 90, 8, sizes, x="*bf16", y="*bf16", out="*fp32", ids="*i32")
    assert text.count("cp.async.cg") == 3 * 8, "both operands"
    loop = innermost(text)
    assert "st.shared" not in loop and loop.count("bar.sync") == 2, "the copies are there; the product before is done with its slot"


@pytest.mark.parametrize("used", [False, True])
def test_a_scalar_page(used):
    text = ptx(scalar_pages, 90, 4, {"USED": used}, x="*fp16", y="*fp16", out="*fp32", table="*i32", n="i32")
    loop = innermost(text)
    assert loop.count("cp.async.cg") == 2
    assert sorted(bool(c) for c in table_reads(loop)) == ([False, True] if used else [True]), (
        "the iteration's own is read in it only if used"
    )


@pytest.mark.parametrize("sm, rows", [(80, 16), (90, 16), (90, 64)])
def test_a_tile_of_several_dots_is_copied_once(sm, rows):
    """Both products read the same slot of one ring, the second one transposed: by ldmatrix, or by descriptors where there are 64 rows."""
    sizes = {"M": rows, "T": 64, "D": 128, "SUM": False}
    text = ptx(latent, sm, 4, sizes, q="*bf16", keys="*bf16", out="*fp32", n="i32")
    loop = innermost(text)
    assert loop.count("cp.async.cg") == 64 * 128 * 2 // 16 // 128, "a tile in pieces of 16 bytes by 128 threads"
    assert "ld.global" not in loop and ("wgmma" in loop or ".trans" in loop)


@pytest.mark.parametrize("warps, size", [(4, 64), (8, 128)])
def test_the_first_of_two_products_waits_for_the_second_one_s_tile_where_it_reads_it(warps, size):
    """No chain, which waits for the second product's operand behind the first product."""
    text = ptx(values_first, 90, warps, {"T": 128, "D": size}, keys="*bf16", values="*bf16", out="*fp32", n="i32")
    loop = innermost(text)
    assert "cp.async.cg" in loop and 0 <= loop.find("cp.async.wait_group") < loop.find("bar.sync") < loop.find("wgmma.mma_async")


def test_a_tile_that_something_else_reads_is_not():
    sizes = {"M": 16, "T": 64, "D": 128, "SUM": True}
    assert "cp.async" not in ptx(latent, 90, 4, sizes, q="*bf16", keys="*bf16", out="*fp32", n="i32")


def test_rings_that_do_not_fit_have_triton_s_share_of_slots_and_then_none():
    """Triton counts the tables' stages, too: of five, three are for what they lead to, which fits here, and five slots would not."""

    def shared(size, stages):
        types = {"x": "*bf16", "y": "*bf16", "out": "*fp32", "ids": "*i32"}
        constants = {"K": 4096, "M": size, "N": 128, "BK": 128}
        signature = {**types, **dict.fromkeys(constants, "constexpr")}
        attrs = {(i,): [["tt.divisibility", 16]] for i in range(4)}
        options = {"num_warps": 4, "num_stages": stages}
        made = compile(ASTSource(indexed, signature, constants, attrs), target=GPUTarget("cuda", 90, 32), options=options)
        return made.metadata.shared, made.asm["ptx"]

    slot = 128 * 128 * 2
    used, text = shared(128, 3)
    assert used >= 3 * 2 * slot and "cp.async" in text
    used, text = shared(128, 5)
    assert 3 * 2 * slot <= used < 4 * 2 * slot and "cp.async" in text
    used, text = shared(256, 5)
    assert used <= 232448 and "cp.async.cg.shared" in text  # y alone is copied ahead


@pytest.mark.parametrize("stages", [5, 6])
def test_pages_stay_ahead_where_another_loop_fills_the_shared_memory(stages):
    """Six slots of 32 KiB are one too many before Hopper: that loop does with five, and the pages' own loop stays as it is."""
    pointers = dict.fromkeys(("q", "keys", "values"), "*bf16") | {"table": "*i32", "x": "*bf16", "y": "*bf16", "out": "*fp32"}
    text = ptx(pages_and_products, 80, 4, {"STAGES": stages}, **pointers, n="i32")
    assert any("ld.global" in "\n".join(loop) and "cp.async" in "\n".join(loop) for loop in loops(text))


def test_an_iteration_does_not_compute_what_only_copies_ahead_are_made_from():
    """Its own page is known to nobody there: a quotient by it would not even be defined."""
    types = {"x": "*fp16", "y": "*fp16", "out": "*fp32", "table": "*i32", "n": "i32"}
    texts = {used: ptx(divided_pages, 90, 4, {"USED": used}, stage="llir", **types) for used in (True, False)}
    assert texts[True].count("sdiv i32 4096") == texts[False].count("sdiv i32 4096") + 1
    assert not any("sdiv i32 4096, poison" in text for text in texts.values())
