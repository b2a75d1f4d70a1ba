"""Forms of published kernels that once failed to compile."""

from __future__ import annotations

import numpy as np
import pytest
from harness import run

import anytile.language as tl
from anytile.frontend.errors import UnknownNameError
from anytile.language.source import device_function


def strided(o, n, step):
    for i in tl.range(tl.program_id(0), n, step, num_stages=2):
        tl.store(o + i, i)
    for i in range(n, 2 * n, step):
        tl.store(o + i, i)


def test_steps_known_at_run_time():
    o = np.zeros(20, np.int32)
    run(strided, o, 10, 3)
    assert (o == [i if (i if i < 10 else i - 10) % 3 == 0 else 0 for i in range(20)]).all()


@device_function
def shifted(x, offsets: tl.constexpr, N: tl.constexpr):
    return tl.sum(x + offsets, 0) + N


def passes_tile(o, n):
    i = tl.arange(0, 8)
    tl.store(o, shifted(i, i + n, 8))


def test_constexpr_parameters_of_device_functions_take_tiles():
    o = np.zeros(1, np.int32)
    run(passes_tile, o, 5)
    assert o[0] == 2 * 28 + 8 * 5 + 8


def halves(o, N: tl.constexpr):
    steps: tl.constexpr = tl.standard._log2(N)
    tl.store(o, steps)
    tl.store(o + 1, tl.reduce(tl.arange(0, N), 0, tl.standard._sum_combine))


def test_inner_functions_of_the_standard_library():
    o = np.zeros(2, np.int32)
    run(halves, o, constexprs={"N": 16})
    assert list(o) == [4, 120]


def rounds(o, x):
    v = tl.load(x)
    tl.store(o, v.to(o.dtype.element_ty, fp_downcast_rounding="rtne"))


def test_rounding_may_be_named_where_the_type_stays():
    for kind in (np.float32, np.float16):
        o = np.zeros(1, kind)
        run(rounds, o, np.full(1, 1.1, np.float32))
        assert o[0] == kind(1.1)


@device_function
def least(dtype):
    kind = dtype.value
    if kind.is_floating():
        value: tl.constexpr = float("-inf")
        return value
    width: tl.constexpr = kind.int_bitwidth
    value: tl.constexpr = -1 * 2 ** (width - 1)
    return value


def annotated(o, x, n, SIZE: tl.constexpr):
    tl.store(o, least(x.dtype.element_ty))
    product: tl.constexpr = SIZE * n
    tl.store(o + 1, product + 1)


def test_types_as_constexprs_and_run_time_values_annotated_so():
    for kind, value in ((np.float32, -np.inf), (np.int16, -(2**15))):
        o = np.zeros(2, np.float32)
        run(annotated, o, np.zeros(1, kind), 3, constexprs={"SIZE": 4})
        assert list(o) == [value, 13]


def index_after_loop(o, n, start, kept):
    for i in range(start, n, 3):
        tl.store(o + 10, i)
    tl.store(o, i)
    j = kept
    for j in range(start, n):
        tl.store(o + 10, j)
    tl.store(o + 1, j)
    for k in range(n, start, -2):
        tl.store(o + 10, k)
    k += 100
    tl.store(o + 2, k)
    for k in range(2):
        tl.store(o + 10, k)


@pytest.mark.parametrize("start, n", [(0, 10), (4, 5), (-3, 9), (2, 2), (5, 1)])
def test_the_variable_of_a_loop_has_its_last_value_behind_it(start, n):
    o = np.zeros(11, np.int32)
    run(index_after_loop, o, n, start, 77)
    last = {0: range(start, n, 3), 1: range(start, n), 2: range(n, start, -2)}
    for at, steps in last.items():
        if len(steps):
            assert o[at] == steps[-1] + (100 if at == 2 else 0)
    if not len(last[1]):
        assert o[1] == 77


def index_changed_in_loop(o, n):
    for i in range(n):
        i += 1
        tl.store(o + 1, i)
    tl.store(o, i)


def index_with_a_value_changed_in_loop(o, n):
    i = 7
    for i in range(n):
        i += 1
        tl.store(o + 1, i)
    tl.store(o, i)


@pytest.mark.parametrize("fn", [index_changed_in_loop, index_with_a_value_changed_in_loop], ids=lambda f: f.__name__)
def test_the_variable_of_a_loop_that_the_body_changes_is_not_kept(fn):
    with pytest.raises(UnknownNameError, match="i has no value after the loop"):
        run(fn, np.zeros(2, np.int32), 3)


def index_after_a_wide_value(o, n):
    i = tl.full((), 1 << 40, tl.int64)
    for i in range(n):
        tl.store(o + 1, i)
    tl.store(o, i)


@pytest.mark.parametrize("n, last", [(3, 2), (0, 1 << 40)])
def test_the_variable_of_a_loop_that_ran_not_once_keeps_all_its_bits(n, last):
    o = np.zeros(2, np.int64)
    run(index_after_a_wide_value, o, n)
    assert o[0] == last


def index_after_a_float(o, n):
    i = 0.5
    for i in range(n):
        tl.store(o + 1, i)
    tl.store(o, i)


def test_the_variable_of_a_loop_has_one_type_or_no_value_behind_it():
    with pytest.raises(UnknownNameError, match="i has no value after the loop"):
        run(index_after_a_float, np.zeros(2, np.int32), 3)


def index_of_constant_loop(o, N: tl.constexpr):
    for i in range(N):
        tl.store(o + 1, i)
    tl.store(o, i)


def test_the_variable_of_a_loop_over_constants_has_its_last_value_behind_it():
    o = np.zeros(2, np.int32)
    run(index_of_constant_loop, o, constexprs={"N": 7})
    assert o.tolist() == [6, 6]


def stray_comma(x, o, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    pointers = (x + i,)
    total = tl.zeros([BLOCK], tl.int32)
    for _ in range(3):
        total += tl.load(pointers)
        pointers += BLOCK
    tl.store(o + i, total)


def test_a_comma_behind_pointers_that_move_is_nothing():
    x, o = np.arange(12, dtype=np.int32), np.zeros(4, np.int32)
    run(stray_comma, x, o, constexprs={"BLOCK": 4})
    assert o.tolist() == x.reshape(3, 4).sum(0).tolist()


def spread_into_a_tuple(o):
    nothing = ()
    none = (*nothing,)
    two = (*(o, o + 1),)
    tl.store(two[1], len(none) + len(two))
    if len(none):
        two += 1


def test_a_tuple_that_others_are_spread_into_is_no_comma():
    o = np.zeros(2, np.int32)
    run(spread_into_a_tuple, o)
    assert o.tolist() == [0, 2]


def columns_of_a_scalar(o, n):
    i = tl.arange(0, 4)
    inside = n > 2
    tl.store(o + i, (i < 3) & inside[:, None])


def test_a_scalar_with_dimensions_is_a_tile_of_one_element():
    o = np.zeros(4, np.int32)
    run(columns_of_a_scalar, o, 5)
    assert o.tolist() == [1, 1, 1, 0]
    run(columns_of_a_scalar, o, 1)
    assert o.tolist() == [0, 0, 0, 0]


def more_values_than_targets(o):
    x, y = tl.program_id(0) + 5, tl.program_id(1) + 6, tl.program_id(2)
    tl.store(o, x)
    tl.store(o + 1, y)


def test_values_without_a_target_are_dropped():
    o = np.zeros(2, np.int32)
    with pytest.warns(UserWarning, match="3 values are unpacked into 2 targets: the rest is dropped .*test_client_forms"):
        run(more_values_than_targets, o)
    assert o.tolist() == [5, 6]


def blocks_of_one_dimension(x, o, n, BLOCK: tl.constexpr):
    block = tl.make_block_ptr(x, (n), (1), (tl.program_id(0) + 2), (BLOCK,), (0,))
    there = tl.make_block_ptr(o, (BLOCK), (1), (0), (BLOCK,), (0,))
    tl.store(there, tl.load(tl.advance(block, (1)), boundary_check=(0,)))


def test_one_value_stands_for_a_tuple_of_one_in_block_pointers():
    o = np.zeros(4, np.int32)
    run(blocks_of_one_dimension, np.arange(6, dtype=np.int32), o, 6, constexprs={"BLOCK": 4})
    assert o.tolist() == [3, 4, 5, 0]
