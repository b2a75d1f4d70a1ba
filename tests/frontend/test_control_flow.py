"""if, early return, for and while: the shape of the IR, and the values that come out."""

from __future__ import annotations

import numpy as np
import pytest
from harness import names, run, text, traced

import anytile.language as tl
from anytile.language.source import JITCallable, device_function

# --- if ---------------------------------------------------------------------------------------------------


def static_if(o, FLAG: tl.constexpr):
    if FLAG:
        x = 1
    elif FLAG is None:
        x = 2
    else:
        x = undefined_name  # noqa: F821  (never evaluated)
    tl.store(o, x)


def test_compile_time_if_takes_one_branch():
    assert "if" not in names(static_if, o="*i32", FLAG=True)
    assert "value = 2" in text(static_if, o="*i32", FLAG=None)


def merge(o, n):
    x = 5
    y = 7
    if n > 3:
        x = n * 2
    elif n > 1:
        x = -1
        y = 8
    tl.store(o, x)
    tl.store(o + 1, y)


@pytest.mark.parametrize("n, want", [(4, [8, 7]), (2, [-1, 8]), (0, [5, 7])])
def test_branches_merge(n, want):
    o = np.zeros(2, np.int32)
    run(merge, o, n)
    assert o.tolist() == want


def one_sided(o, n):
    if n > 0:
        temporary = n + 1
        tl.store(o, temporary)


def test_variables_of_one_branch_do_no_harm():
    o = np.zeros(1, np.int32)
    run(one_sided, o, 3)
    assert o[0] == 4


def tuples_merge(o, n):
    pair = (n, 1.0)
    if n > 2:
        pair = (n + 10, 2.0)
    a, b = pair
    tl.store(o, a + b)


@pytest.mark.parametrize("n, want", [(3, 15.0), (1, 2.0)])
def test_tuples_merge_element_by_element(n, want):
    o = np.zeros(1, np.float32)
    run(tuples_merge, o, n)
    assert o[0] == want


def ternary(o, n, F: tl.constexpr):
    x = 1 if F else undefined_name  # noqa: F821
    y = n if n > 2 else 2
    tl.store(o, x + y)


def test_ternary():
    o = np.zeros(1, np.int32)
    run(ternary, o, 1, constexprs={"F": True})
    assert o[0] == 3
    assert names(ternary, o="*i32", n="i32", F=1).count("if") == 1


def short_circuit(o, n, P: tl.constexpr):
    if P is not None and P > 3 and n > 1:
        tl.store(o, 1)
    elif P is None or P < 0:
        tl.store(o, 2)


def test_and_or_stop_at_compile_time():
    o = np.zeros(1, np.int32)
    run(short_circuit, o, 2, constexprs={"P": None})
    assert o[0] == 2
    run(short_circuit, o, 2, constexprs={"P": 4})
    assert o[0] == 1


# --- early return -----------------------------------------------------------------------------------------


def guard(o, n):
    pid = tl.program_id(0)
    if pid >= n:
        return
    tl.store(o + pid, 1)


def test_early_return_moves_the_rest_into_the_other_branch():
    m = traced(guard, o="*i32", n="i32")
    assert [op.name for op in m.kernel.body.ops] == ["program_id", "icmp", "if", "return"]
    (branch,) = [op for op in m.kernel.body.ops if op.name == "if"]
    assert not branch.results and [op.name for op in branch.blocks[0].ops] == ["yield"]
    o = np.zeros(4, np.int32)
    run(guard, o, 2, grid=(4,))
    assert o.tolist() == [1, 1, 0, 0]


def nested_returns(o, n):
    tl.store(o, 1)
    if n > 0:
        if n > 10:
            tl.store(o, 2)
            return
        tl.store(o + 1, 3)
    else:
        if n < -10:
            return
    y = n * 2
    tl.store(o + 2, y)
    if y == 8:
        return
    tl.store(o + 3, y)


@pytest.mark.parametrize("n", [11, 5, 4, 0, -11])
def test_returns_in_nested_branches(n):
    want = np.zeros(4, np.int32)

    def oracle():
        want[0] = 1
        if n > 0:
            if n > 10:
                want[0] = 2
                return
            want[1] = 3
        elif n < -10:
            return
        y = n * 2
        want[2] = y
        if y == 8:
            return
        want[3] = y

    oracle()
    o = np.zeros(4, np.int32)
    run(nested_returns, o, n)
    assert o.tolist() == want.tolist()


@device_function
def classify(n):
    if n > 5:
        return 1.0
    scaled = n * 2
    if scaled > 4:
        if scaled > 8:
            return 2.0
        scaled = scaled + 1
    elif n == 0:
        return 7.5
    return scaled + 0.5


def values_from_branches(o, n):
    tl.store(o, classify(n))


@pytest.mark.parametrize("n, want", [(6, 1.0), (5, 2.0), (3, 7.5), (1, 2.5), (0, 7.5)])
def test_device_functions_return_from_branches(n, want):
    o = np.zeros(1, np.float32)
    run(values_from_branches, o, n)
    assert o[0] == want


@device_function
def pair_of(n):
    if n > 0:
        return n, 1
    else:
        return -n, 0


def tuple_result(o, n):
    a, b = pair_of(n)
    tl.store(o, a)
    tl.store(o + 1, b)


def test_tuples_return_from_branches():
    o = np.zeros(2, np.int32)
    run(tuple_result, o, -3)
    assert o.tolist() == [3, 0]


@device_function
def first_match(n, LIMITS: tl.constexpr):
    for limit in LIMITS:
        if n < limit:
            return limit
    return -1


def unrolled_return(o, n, LIMITS: tl.constexpr):
    tl.store(o, first_match(n, LIMITS))


@pytest.mark.parametrize("n, want", [(0, 2), (3, 5), (7, 9), (20, -1)])
def test_return_inside_an_unrolled_loop(n, want):
    o = np.zeros(1, np.int32)
    run(unrolled_return, o, n, constexprs={"LIMITS": (2, 5, 9)})
    assert o[0] == want


def static_then_dynamic(o, n, FLAG: tl.constexpr):
    if FLAG:
        if n > 3:
            return
    tl.store(o, 1)


def test_return_under_a_compile_time_if():
    m = traced(static_then_dynamic, o="*i32", n="i32", FLAG=True)
    assert [op.name for op in m.walk()].count("if") == 1
    assert "if" not in names(static_then_dynamic, o="*i32", n="i32", FLAG=False)


# --- for --------------------------------------------------------------------------------------------------


def accumulate(o, n, STEP: tl.constexpr):
    total = 0
    count = 0.0
    unchanged = n + 1
    for i in range(0, n, STEP):
        local = i * 2
        total += local + unchanged - n - 1
        count += 1
    tl.store(o, total + count)


def test_for_carries_what_changes():
    o = np.zeros(1, np.float32)
    m = run(accumulate, o, 10, constexprs={"STEP": 3})
    assert o[0] == 2 * (0 + 3 + 6 + 9) + 4
    (loop,) = [op for op in m.walk() if op.name == "for"]
    assert [str(r.type) for r in loop.results] == ["i32", "f32"]
    assert [r.name for r in loop.results] == ["total", "count"]


def descending(o, n):
    k = 0
    for i in range(n, 0, -2):
        tl.store(o + k, i)
        k += 1


def test_negative_step():
    o = np.zeros(4, np.int32)
    run(descending, o, 7)
    assert o.tolist() == [7, 5, 3, 1]


def hints(o, n):
    for i in tl.range(0, n, num_stages=4, loop_unroll_factor=2, flatten=True):
        tl.store(o + i, i)


def test_range_hints_become_attributes():
    (loop,) = [op for op in traced(hints, o="*i32", n="i64").walk() if op.name == "for"]
    assert loop.attrs == dict(num_stages=4, unroll=2, flatten=True, warp_specialize=False, disable_licm=False, unsigned=False)
    assert str(loop.blocks[0].args[0].type) == "i64"


def test_unsigned_bounds():
    (loop,) = [op for op in traced(hints, o="*i32", n="u32").walk() if op.name == "for"]
    assert loop.attrs["unsigned"]


def untaken(o, n, FLAG: tl.constexpr):
    size: tl.constexpr = 8
    kept = 4
    for _ in range(n):
        if FLAG:
            kept = 16
        tl.store(o + tl.arange(0, size), kept)
    tl.store(o + tl.arange(0, kept), 0)


def test_constexprs_stay_when_no_branch_taken_assigns_them():
    (loop,) = [op for op in traced(untaken, o="*i32", n="i32", FLAG=False).walk() if op.name == "for"]
    assert not loop.results


def late(o, n):
    flag = 0
    prev = 0
    cur = 1
    for i in range(n):
        if i == 2:
            flag = 1
        prev, cur = cur, prev + cur
    tl.store(o, flag)
    tl.store(o + 1, prev)
    tl.store(o + 2, cur)


@pytest.mark.parametrize("n, want", [(0, [0, 0, 1]), (2, [0, 1, 2]), (6, [1, 8, 13])])
def test_numbers_assigned_under_a_condition_are_carried(n, want):
    o = np.zeros(3, np.int32)
    run(late, o, n)
    assert o.tolist() == want


def nested(o, n):
    s = 0
    for i in range(n):
        for j in range(i):
            if j > 0:
                s += i * j
    tl.store(o, s)


def test_nested_loops():
    o = np.zeros(1, np.int32)
    run(nested, o, 6)
    assert o[0] == sum(i * j for i in range(6) for j in range(i))


def reused_temporary(o, n):
    tmp = tl.arange(0, 8)
    tl.store(o + tmp, tmp)
    for i in range(n):
        tmp = tl.arange(0, 4) + i
        tl.store(o + tmp, i)


def test_a_temporary_may_change_its_type_in_a_loop():
    assert "for" in names(reused_temporary, o="*i32", n="i32")


def carried_tuple(o, n):
    state = (0, 1)
    for _ in range(n):
        state = (state[1], state[0] + state[1])
    tl.store(o, state[0])


def test_tuples_are_carried():
    o = np.zeros(1, np.int32)
    run(carried_tuple, o, 10)
    assert o[0] == 55


def unrolled(o, N: tl.constexpr):
    names = [i * i for i in range(N) if i != 2]
    for k, v in enumerate(names):
        tl.store(o + k, v)
    for k in tl.static_range(N, N + 2):
        x: tl.constexpr = k + 1
        tl.store(o + k, x)


def test_static_loops_unroll():
    o = np.zeros(8, np.int32)
    m = run(unrolled, o, constexprs={"N": 4})
    assert "for" not in [op.name for op in m.walk()]
    assert o.tolist() == [0, 1, 9, 0, 5, 6, 0, 0]


# --- while ------------------------------------------------------------------------------------------------


def collatz(o, n):
    steps = 0
    invariant = n * 0
    while n != 1:
        if n % 2 == 0:
            n = n // 2
        else:
            n = 3 * n + 1
        steps += 1 + invariant
    tl.store(o, steps)


@pytest.mark.parametrize("n, want", [(1, 0), (6, 8), (27, 111)])
def test_while(n, want):
    o = np.zeros(1, np.int32)
    m = run(collatz, o, n)
    assert o[0] == want
    (loop,) = [op for op in m.walk() if op.name == "while"]
    assert {r.name for r in loop.results} == {"n", "steps"}


def walrus(o, n):
    k = 0
    while (k := k + 2) < n:
        tl.store(o + k, k)
    tl.store(o, k)


def test_walrus_in_a_condition():
    o = np.zeros(8, np.int32)
    run(walrus, o, 7)
    assert o.tolist() == [8, 0, 2, 0, 4, 0, 6, 0]


def never(o):
    while False:
        tl.store(o, 1)
    tl.store(o, 2)


def test_a_while_that_never_runs_leaves_nothing():
    assert "while" not in names(never, o="*i32")


# --- calls ------------------------------------------------------------------------------------------------


@device_function
def combine(a, b):
    return a + b


@device_function
def apply(f, x, *rest, SCALE: tl.constexpr = 2):
    total = x
    for r in rest:
        total = f(total, r)
    return total * SCALE


def higher_order(o, n):
    more = (n, 3)
    tl.store(o, apply(combine, 1, *more, SCALE=10))


def test_functions_as_arguments_and_starred_calls():
    o = np.zeros(1, np.int32)
    run(higher_order, o, 5)
    assert o[0] == 90


@device_function
def factorial(N: tl.constexpr):
    if N <= 1:
        return 1
    return N * factorial(N - 1)


def recursive(o):
    tl.store(o, factorial(6))


def test_recursion_that_ends_at_compile_time():
    o = np.zeros(1, np.int32)
    run(recursive, o)
    assert o[0] == 720


def test_locations_hold_the_chain_of_calls():
    ops = [op for op in traced(tuple_result, o="*i32", n="i32").walk() if op.name == "icmp"]
    loc = ops[0].loc
    assert loc.function == "pair_of" and loc.caller.function == "tuple_result" and loc.caller.caller is None
    with open(loc.file) as f:
        lines = f.read().split("\n")
    assert "if n > 0" in lines[loc.line - 1] and "pair_of(n)" in lines[loc.caller.line - 1]
    assert lines[loc.caller.line - 1][loc.caller.col :].startswith("pair_of")


def test_closures_capture_functions_and_constants():
    SIZE = tl.constexpr(4)

    @device_function
    def inner(x):
        return x + SIZE

    @JITCallable
    def outer(o):
        tl.store(o, inner(1))

    o = np.zeros(1, np.int32)
    run(outer, o)
    assert o[0] == 5
