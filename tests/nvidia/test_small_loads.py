"""Small tiles that are loaded to be broadcast come straight into the placement of the larger tile; read off the PTX, and executed without a GPU."""

from __future__ import annotations

import numpy as np
import pytest
from lockstep import launch
from test_packing import ptx

import anytile.language as tl
from anytile.runtime.compiler import ASTSource, Options
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit
from anytile.targets.nvidia.chips import chip
from anytile.targets.nvidia.codegen import lower

SIZES = {"ROWS": 32, "N": 64}
TYPES = {"x": "*bf16", "w": "*bf16", "scale": "*fp32", "out": "*bf16"}


@jit
def scaled(x, w, scale, out, ROWS: tl.constexpr, N: tl.constexpr):
    row, column = tl.arange(0, ROWS), tl.arange(0, N)
    at = row[:, None] * N + column[None, :]
    weights = tl.load(w + column).to(tl.float32)
    tl.store(out + at, tl.load(x + at) * weights[None, :] * tl.load(scale + row)[:, None])


@jit
def turned(x, w, scale, out, ROWS: tl.constexpr, N: tl.constexpr):
    """Two tiles of different shapes, and a sum of two rows."""
    row, few, column = tl.arange(0, ROWS), tl.arange(0, ROWS // 4), tl.arange(0, N)
    weights = tl.load(w + column) + tl.load(w + N + column)
    for r in tl.static_range(2):
        at = (row if r == 0 else few)[:, None] * N + column[None, :]
        tl.store(out + at, tl.load(x + at) * weights[None, :])


@jit
def both_ways(x, w, scale, out, ROWS: tl.constexpr, N: tl.constexpr):
    """A sum of two rows, of which threads want several elements for one tile, and one for the other."""
    row, column = tl.arange(0, ROWS), tl.arange(0, N)
    weights = tl.load(w + column) + tl.load(w + N + column)
    at, to = row[:, None] * N + column[None, :], column[:, None] * ROWS + row[None, :]
    tl.store(out + at, tl.load(x + at) * weights[None, :])
    tl.store(out + ROWS * N + to, tl.load(x + to) * weights[:, None])


@jit
def in_place(x, w, scale, out, ROWS: tl.constexpr, N: tl.constexpr):
    """A running maximum: who owns an element of ``scale`` stores it while others may not have loaded it."""
    row, column = tl.arange(0, ROWS), tl.arange(0, N)
    at = row[:, None] * N + column[None, :]
    old = tl.load(scale + row)
    tile = tl.load(x + at) * old[:, None]
    tl.store(out + at, tile)
    tl.store(scale + row, old + 1.0)


@jit
def summed(x, w, scale, out, ROWS: tl.constexpr, N: tl.constexpr):
    """A row that is also stored for itself."""
    row, column = tl.arange(0, ROWS), tl.arange(0, N)
    at = row[:, None] * N + column[None, :]
    weights = tl.load(w + column)
    tl.store(out + at, tl.load(x + at) * weights[None, :])
    tl.store(scale + column, weights)


@jit
def solved(x, out, N: tl.constexpr):
    """Row by row of a triangle's inverse: a row is loaded for the tile it multiplies, and for the sum over its rows that is added to it."""
    at = tl.arange(0, N)
    rows = tl.load(x + at[:, None] * N + at[None, :])
    for i in range(2, N):
        row = tl.load(x + i * N + at)
        row += tl.sum(row[:, None] * rows, 0)
        rows = tl.where((at == i)[:, None], row, rows)
    tl.store(out + at[:, None] * N + at[None, :], rows)


@pytest.mark.parametrize(("kernel", "loads"), [(scaled, ["v4.b32"] * 3), (turned, ["v4.b32"] * 4 + ["v2.b32"] * 3)])
def test_nothing_goes_through_shared_memory(kernel, loads):
    text = ptx(kernel, 90, 4, SIZES, **TYPES)
    assert "st.shared" not in text
    for width in set(loads):
        assert text.count(f"ld.global.{width}") >= loads.count(width), f"vectors of {width}"


@jit
def replaced(x, w, scale, out, ROWS: tl.constexpr, N: tl.constexpr):
    """``w`` may be the same tensor as ``scale``: in each iteration it is loaded, used by all, and replaced."""
    row, column = tl.arange(0, ROWS), tl.arange(0, N)
    for i in range(3):
        at = (i * ROWS + row)[:, None] * N + column[None, :]
        weights = tl.load(w + column)
        tile = tl.load(x + at)
        tl.store(out + at, tile * weights[None, :])
        tl.store(scale + column, tl.max(tile, 0))


@pytest.mark.parametrize(("kernel", "warps", "barriers"), [(scaled, 4, 1), (turned, 4, 1), (scaled, 1, 0)])
def test_the_first_write_waits_for_all_copies(kernel, warps, barriers):
    lines = [x.strip() for x in ptx(kernel, 90, warps, SIZES, **TYPES).splitlines()]
    waits = [i for i, x in enumerate(lines) if x.startswith("bar.sync")]
    assert len(waits) == barriers
    if warps > 1:
        assert [i for i, x in enumerate(lines) if "ld.global" in x][-1 if kernel is scaled else 2] < waits[0]
        assert waits[0] < next(i for i, x in enumerate(lines) if "st.global" in x)


def test_each_iteration_waits_before_its_first_write():
    lines = ptx(replaced, 90, 4, SIZES, **{**TYPES, "scale": "*bf16"}).splitlines()
    first_store = next(i for i, x in enumerate(lines) if "st.global" in x)
    begins = max(i for i, x in enumerate(lines[:first_store]) if x.startswith("$L"))
    assert any("bar.sync" in x for x in lines[begins:first_store])


@pytest.mark.parametrize("kernel", [in_place, summed])
def test_what_is_stored_is_loaded_once(kernel):
    text = ptx(kernel, 90, 4, SIZES, **TYPES)
    assert "bar.sync" in text


def test_a_sum_is_computed_in_pairs_and_for_single_elements():
    """By packed instructions where a thread has two neighbours, which ask for no f32; the single elements do."""
    text = ptx(both_ways, 90, 4, {"ROWS": 32, "N": 32}, **TYPES)
    assert "st.shared" not in text and "x2" in text and "add.f32" in text


def test_what_is_broadcast_is_what_was_loaded():
    types = dict.fromkeys(TYPES, "*i32")
    target = GPUTarget("cuda", 90, 32)
    options = Options.of({"num_warps": 4}, target, "turned")
    attrs = {(i,): [["tt.divisibility", 16]] for i in range(4)}
    module = ASTSource(turned, {**types, "ROWS": "constexpr", "N": "constexpr"}, SIZES, attrs).make_module(options)
    x, w = np.arange(32 * 64, dtype=np.int32), np.arange(128, dtype=np.int32) ** 2
    out = np.zeros_like(x)
    launch(lower(module, options, chip(90))[0], 4, x, w, np.zeros(32, np.int32), out)
    assert (out.reshape(32, 64) == x.reshape(32, 64) * (w[:64] + w[64:])).all()


@jit
def of_two_rows(x, w, scale, out, ROWS: tl.constexpr, N: tl.constexpr):
    """Columns of `x` lie in a row of memory; what it is multiplied with is a product of two small tiles."""
    row, column = tl.arange(0, ROWS), tl.arange(0, N)
    factor = (tl.load(w + row).to(tl.float32)[:, None] * tl.load(w + column)[None, :] + 1.0) * 2.0
    at = row[:, None] + column[None, :] * ROWS
    tl.store(out + at, tl.load(x + at) * factor)


@jit
def outer(x, w, scale, out, ROWS: tl.constexpr, N: tl.constexpr):
    """A product of two small tiles that is only stored, column by column."""
    row, column = tl.arange(0, ROWS), tl.arange(0, N)
    tl.store(out + row[:, None] + column[None, :] * ROWS, tl.load(w + row)[:, None] * tl.load(w + column)[None, :])


@pytest.mark.parametrize("kernel", [of_two_rows, outer])
def test_what_small_tiles_make_lies_as_what_it_meets(kernel):
    """The product has no place of its own: neither it nor what it is multiplied with goes through shared memory."""
    text = ptx(kernel, 90, 4, SIZES, **TYPES)
    assert "st.shared" not in text and "st.global.v4" in text


@jit
def scaled_sums(x, w, scale, out, ROWS: tl.constexpr, N: tl.constexpr):
    """A scale for each row, found by a number for each row."""
    row, column = tl.arange(0, ROWS), tl.arange(0, N)
    total = tl.sum(tl.load(x + row[:, None] * N + column[None, :]).to(tl.float32), 1)
    tl.store(out + row, total * tl.load(scale + tl.load(w + row).to(tl.int32)))


def test_what_is_found_in_a_table_lies_as_what_it_meets():
    text = ptx(scaled_sums, 90, 4, SIZES, **{**TYPES, "w": "*u8"})
    assert "st.shared" not in text and text.count("ld.global") >= 3


@jit
def many_ways(x, w, scale, out, ROWS: tl.constexpr, N: tl.constexpr):
    """From the row that is loaded 2⁶⁰ ways lead to the tile that it is broadcast to (a search by halves, written out, is such a program)."""
    row, column = tl.arange(0, ROWS), tl.arange(0, N)
    at = row[:, None] * N + column[None, :]
    weights = tl.load(w + column).to(tl.float32)
    for _ in tl.static_range(60):
        weights = tl.where(weights > 0.5, weights * 0.5, weights + 0.25)
    tl.store(out + at, tl.load(x + at) * weights[None, :])


@pytest.mark.timeout(60)
def test_what_is_used_many_times_over_is_looked_at_once():
    assert "ld.global" in ptx(many_ways, **TYPES, constants=SIZES)


@jit
def long_chain(x, w, scale, out, ROWS: tl.constexpr, N: tl.constexpr):
    """Python looks at a chain of values as long as fmod's of f64 without running out of frames."""
    row, column = tl.arange(0, ROWS)[:, None], tl.arange(0, N)
    weights = tl.load(w + column)
    for _ in tl.static_range(600):
        weights = weights * 1.5 - 1
    tl.store(out + row * N + column, tl.load(x + row * N + column) * weights[None, :])


def test_chains_may_be_long():
    assert "ld.global" in ptx(long_chain, **TYPES, constants=SIZES)


def test_a_sum_lies_where_the_larger_one_lies_that_a_row_is_added_to():
    """Of four barriers more, two moved the tile's sum to where the row lies, and two moved both back."""
    text = ptx(solved, 90, 8, {"N": 16}, x="*fp32", out="*fp32")
    assert text.count("bar.sync") == 3, "two of the reduction, one before the result is stored"
