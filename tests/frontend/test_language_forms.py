"""The Python that kernels may be written in, beyond control flow."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
from harness import names, run, text, traced

import anytile.language as tl
from anytile.frontend import CompilationError
from anytile.language.source import device_function

GLOBAL = tl.constexpr(3)
ANNOTATED: tl.constexpr = 4
Pair = namedtuple("Pair", ["left", "right"])
FLOAT = tl.float32


def unpacking(o, SHAPE: tl.constexpr):
    a, b = SHAPE
    first, *middle, last = (1, 2, 3, 4)
    [c, (d, e)] = [5, (6, 7)]
    tl.store(o, a * 1000 + b)
    tl.store(o + 1, first * 1000 + len(middle) * 100 + middle[1] * 10 + last)
    tl.store(o + 2, c + d + e)
    both = (*middle, 9)
    tl.store(o + 3, both[-1] + both[1:][0])
    x = y = 6
    tl.store(o + 4, x + y)


def test_unpacking():
    o = np.zeros(5, np.int32)
    run(unpacking, o, constexprs={"SHAPE": (2, 16)})
    assert o.tolist() == [2016, 1234, 18, 12, 12]


def declared(o, SHAPE: tl.constexpr):
    rows: tl.constexpr
    cols: tl.constexpr
    rows, (cols, rest) = SHAPE
    n: tl.constexpr
    n = rows * 2
    tl.store(o + tl.arange(0, n), tl.full((rows, cols), rest, tl.int32).reshape((n,)))


def test_names_declared_constexpr_before_their_assignment():
    """`name: tl.constexpr` keeps what is assigned to the name later at compile time; `rest` is an ordinary variable."""
    o = np.zeros(8, np.int32)
    run(declared, o, constexprs={"SHAPE": (4, (2, 7))})
    assert o.tolist() == [7] * 8


def comparisons(o, n):
    tl.store(o, (0 < n < 5).to(tl.int32))
    tl.store(o + 1, (1 < 2 < n) | (n == 0))
    tl.store(o + 2, 3 if 1 < 2 > 5 else 4)
    tl.store(o + 3, 7 if "a" in ("a", "b") and 3 not in (1, 2) else 8)
    tl.store(o + 4, not n)
    tl.store(o + 5, not GLOBAL)


def test_comparisons():
    o = np.zeros(6, np.int32)
    run(comparisons, o, 4)
    assert o.tolist() == [1, 1, 4, 7, 0, 0]


def text_values(o, MODE: tl.constexpr):
    label: tl.constexpr = f"{MODE}-{GLOBAL:03d}-{MODE!r}"
    tl.static_assert(label == "sum-003-'sum'")
    if MODE == "sum":
        tl.store(o, len(label))


def test_strings_and_format_strings():
    o = np.zeros(1, np.int32)
    run(text_values, o, constexprs={"MODE": "sum"})
    assert o[0] == len("sum-003-'sum'")


def introspection(o, x, N: tl.constexpr):
    tl.static_assert(isinstance(N, tl.constexpr) and isinstance(N, int) and not isinstance(x, int))
    tl.static_assert(isinstance(x, tl.tensor))
    tl.static_assert(hasattr(x, "dtype") and not hasattr(x, "nothing"))
    tl.static_assert(getattr(N, "nothing", 5) == 5)
    tl.static_assert(x.dtype == tl.int32 and o.dtype.element_ty == tl.float32)
    tl.static_assert(len(tl.arange(0, N)) == N and tl.arange(0, N).shape[0] == N)
    tl.static_assert(max(1, N, 3) == 16 and min(N, 2) == 2 and abs(-N) == 16)
    tl.static_assert(int(2.5) == 2 and float("inf") > 1e30 and float(N) == 16.0)
    tl.static_assert([i for i in range(4) if i % 2] == (1, 3))
    tl.static_assert(sum([1, 2, 3]) == 6 and tuple([1, 2]) == (1, 2) and list((1, 2))[1] == 2)
    tl.store(o, max(x, 3).to(FLOAT) + ANNOTATED + GLOBAL)


def test_builtins_and_attributes():
    o = np.zeros(1, np.float32)
    run(introspection, o, 10, constexprs={"N": 16})
    assert o[0] == 17


def subscripts(o):
    i = tl.arange(0, 4)
    square = i[:, None] * 10 + i[None, :]
    tl.store(o + i[:, None] * 4 + i[None, :], square)


def test_new_axes():
    o = np.zeros((4, 4), np.int32)
    run(subscripts, o)
    assert (o == np.arange(4)[:, None] * 10 + np.arange(4)).all()


def element_assignment(o):
    t = (1, 2, 3)
    t[1] = 4
    tl.store(o, t[1])


def test_elements_of_tuples_cannot_be_assigned():
    with pytest.raises(CompilationError, match="values do not change"):
        traced(element_assignment, o="*i32")


def assigned_numbers(o, x):
    h = tl.load(x)
    half = 0.5
    tl.static_assert(half.type == tl.float32)
    tl.static_assert((h * half).dtype == tl.float32)
    tl.static_assert((h * 0.5).dtype == tl.float16)
    pair = (1, 2.0)
    tl.static_assert(pair[0].type == tl.int32 and pair[1].type == tl.float32)
    kept: tl.constexpr = 0.5
    tl.static_assert((h * kept).dtype == tl.float16)
    minus = -7
    tl.store(o, minus // 2)
    size = 4
    tl.store(o + tl.arange(0, size), 1, mask=tl.arange(0, 4) > 0)
    tl.static_assert(tl.zeros((size, 2), tl.int32).shape[0] == 4)


def test_a_number_in_a_variable_has_the_type_of_its_value():
    o = np.zeros(4, np.int32)
    run(assigned_numbers, o, np.ones(1, np.float16))
    assert o.tolist() == [-3, 1, 1, 1]


def one_element(o, x):
    if x[None] > 2:
        tl.store(o, 1)
    tl.store(o[None, None, :] + 1, tl.sum(tl.full([4, 2], 3, tl.int32), keep_dims=True))


def test_tiles_of_one_element():
    o = np.zeros(2, np.int32)
    run(one_element, o, 3)
    assert o.tolist() == [1, 24]


def tuple_constants(o, SHAPE: tl.constexpr):
    same: tl.constexpr = (5, 6, 7)
    tl.static_assert(same.type == tl.constexpr_type((5, 6, 7)) and SHAPE.type == same.type)
    tl.static_assert(SHAPE.type != tl.constexpr_type((5, 6, 8)))
    tl.store(o, SHAPE[2])


def test_types_of_constant_tuples():
    o = np.zeros(1, np.int32)
    run(tuple_constants, o, constexprs={"SHAPE": (5, 6, 7)})
    assert o[0] == 7


def named(o, n):
    p = Pair(n, 2)
    q = swap(p)
    tl.store(o, q.left * 100 + q.right)
    left, right = p
    tl.store(o + 1, left + right)


@device_function
def swap(p):
    return Pair(p.right, p.left)


def test_named_tuples():
    o = np.zeros(2, np.int32)
    run(named, o, 7)
    assert o.tolist() == [207, 9]


class Namespace:
    @staticmethod
    @device_function
    def double(x):
        """Documented."""
        return x + x


def static_method(o, n):
    "A docstring."
    pass
    tl.store(o, Namespace.double(n))


def test_static_methods():
    o = np.zeros(1, np.int32)
    run(static_method, o, 7)
    assert o[0] == 14


LOG: list[str] = []


class Region:
    def __enter__(self):
        LOG.append("in")
        return 5

    def __exit__(self, *exc):
        LOG.append("out")


def with_region(o):
    with Region() as five:
        tl.store(o, five)


def test_with_runs_compile_time_context_managers():
    LOG.clear()
    o = np.zeros(1, np.int32)
    run(with_region, o)
    assert o[0] == 5 and LOG == ["in", "out"]


def debugging(o, n):
    assert n > 0, f"n must be more than {GLOBAL - 3}"
    print("n", n)
    tl.static_print("tracing", n.dtype)


def test_assert_and_print(capsys):
    t = text(debugging, o="*i32", n="i32")
    assert 'message = "n must be more than 0"' in t and 'prefix = "n"' in t
    assert capsys.readouterr().out == "tracing int32\n"


@device_function
def add_pairs(a, b, c, d):
    return a + c, b * d


def reducing(x, o):
    i = tl.arange(0, 8)
    v = tl.load(x + i)
    total, product = tl.reduce((v, v), 0, add_pairs)
    tl.store(o, total)
    tl.store(o + 1, product)


def test_combine_functions():
    x, o = np.arange(1, 9, dtype=np.int32), np.zeros(2, np.int32)
    m = run(reducing, x, o)
    assert o.tolist() == [36, 40320]
    (op,) = [op for op in m.walk() if op.name == "reduce"]
    assert op.blocks[0].ops[0].loc.function == "add_pairs"


def numbers_are_scalars(o, n):
    x = 3
    tl.store(o, x.to(tl.float32) * 2)
    tl.static_assert(x.dtype == tl.int32)


def test_numbers_have_the_methods_of_scalars():
    o = np.zeros(1, np.float32)
    run(numbers_are_scalars, o, 0)
    assert o[0] == 6


def scalar_operators(o, n):
    n += 2
    n -= 1
    n *= 3
    n //= 2
    n <<= 2
    n |= 1
    n ^= 3
    n &= 0xFF
    tl.store(o, -n + (~n) + (+n))
    tl.store(o + 1, (n % 5) + (n >> 1))
    tl.store(o + 2, 2**3 + 7 % 4)


def test_operators():
    n = (((4 + 2 - 1) * 3 // 2 << 2) | 1) ^ 3
    o = np.zeros(3, np.int32)
    run(scalar_operators, o, 4)
    assert o.tolist() == [-n + ~n + n, n % 5 + (n >> 1), 11]


@device_function
def default_arguments(x, add: tl.constexpr = 5, *, times=2):
    return (x + add) * times


def keyword_calls(o, n):
    tl.store(o, default_arguments(n))
    tl.store(o + 1, default_arguments(add=1, x=n, times=n))


def test_defaults_and_keywords():
    o = np.zeros(2, np.int32)
    run(keyword_calls, o, 3)
    assert o.tolist() == [16, 12]


@device_function
def after_return():
    return tl.arange(0, 4)
    return tl.arange(0, 8)


def dead_code(o):
    tl.store(o + after_return(), after_return())


def test_statements_after_return_are_dead():
    assert names(dead_code, o="*i32").count("arange") == 2


def parameters(x_ptr: tl.const, n: tl.int64, flag, missing=None, N: tl.constexpr = 8):  # noqa: ARG001
    if missing is None:
        tl.static_assert(flag == 1)
        tl.load(x_ptr + n)


def test_parameters():
    m = traced(parameters, x_ptr="*fp16", n="i64", flag=1)
    assert [(a.name, str(a.type)) for a in m.kernel.args] == [("x_ptr", "ptr<f16>"), ("n", "i64")]
    assert m.kernel.arg_attrs == [{"const": True}, {}]


def nested_parameters(t, o):
    a, (b, c) = t
    tl.store(o, a + b + c)


def test_tuple_parameters_are_flattened():
    from harness import Options

    from anytile.frontend import trace
    from anytile.ir.verifier import verify
    from anytile.language.source import JITCallable

    m = trace(
        JITCallable(nested_parameters),
        {"t": ("i32", ("i64", "constexpr")), "o": "*i64"},
        {(0, 1, 1): 5},
        {(0, 0): [["tt.divisibility", 16]], (1,): [["tt.divisibility", 16]]},
        Options,
    )
    verify(m)
    assert [a.name for a in m.kernel.args] == ["t_0", "t_1_0", "o"]
    assert m.kernel.arg_attrs == [{"divisible": 16}, {}, {"divisible": 16}]


def readable(x, o, n):
    offsets = tl.arange(0, 4)
    mask = offsets < n
    value = tl.load(x + offsets, mask=mask)
    tl.store(o + offsets, value, mask=mask)


def test_results_are_named_after_variables():
    t = text(readable, x="*fp32", o="*fp32", n="i32")
    for name in ("%offsets = arange", "%mask = icmp", "%value = load"):
        assert name in t
