"""Mistakes in kernels: the class, the place and the sentence of each error."""

from __future__ import annotations

import ast
import pickle
import sys
import traceback

import pytest
from harness import text, traced

import anytile.language as tl
from anytile.frontend import errors
from anytile.language.records import aggregate
from anytile.language.source import JITCallable, device_function
from anytile.runtime.autotuner import Config, autotune
from anytile.runtime.jit import constexpr_function, jit, must_use_result

PLAIN_GLOBAL = 42
PLAIN_LIST = [1, 2]


def failure(fn, kind=errors.CompilationError, **arguments) -> errors.CompilationError:
    with pytest.raises(kind) as e:
        traced(fn, **arguments)
    assert type(e.value) is kind
    return e.value


def sentence(fn, kind=errors.CompilationError, **arguments) -> str:
    return failure(fn, kind, **arguments).error_message


# --- the form ---------------------------------------------------------------------------------------------


@device_function
def inner():
    # a comment
    xyz  # noqa: B018, F821


@device_function
def middle(x):
    return inner() + x


def outer(o):
    tl.store(o, middle(1))


def test_message_source_caret_and_chain():
    e = failure(outer, errors.UnknownNameError, o="*i32")
    line = outer.__code__.co_firstlineno
    assert e.message == str(e) == e.args[0]
    assert e.message == (
        "at 2:16:\n"
        "def outer(o):\n"
        "    tl.store(o, middle(1))\n"
        "                ^\n"
        f"  in outer, {__file__}:{line + 1}\n"
        f"the call fails in inner ({__file__}:{inner.fn.__code__.co_firstlineno + 3}): xyz is not defined"
    )
    assert isinstance(e.node, ast.Call) and e.src.startswith("def outer(o):")
    between = e.__cause__
    assert between.message.startswith("at 2:11:\ndef middle(x):\n    return inner() + x\n           ^\n")
    deepest = between.__cause__
    assert deepest.__cause__ is None and deepest.error_message == "xyz is not defined"
    assert deepest.message.startswith("at 3:4:\n")
    assert deepest.message.endswith(
        f"  in inner, {__file__}:{inner.fn.__code__.co_firstlineno + 3}\n"
        f"  called from middle, {__file__}:{middle.fn.__code__.co_firstlineno + 2}\n"
        f"  called from outer, {__file__}:{line + 1}\n"
        "xyz is not defined"
    )


def test_no_frames_of_the_tracer_in_the_traceback():
    e = failure(outer, errors.UnknownNameError, o="*i32")
    shown = "".join(traceback.format_exception(e))
    assert "visitor.py" not in shown and "expressions.py" not in shown and "calls.py" not in shown


def long_one(o):
    a0 = 0  # noqa: F841
    a1 = 0  # noqa: F841
    a2 = 0  # noqa: F841
    a3 = 0  # noqa: F841
    a4 = 0  # noqa: F841
    a5 = 0  # noqa: F841
    a6 = 0  # noqa: F841
    a7 = 0  # noqa: F841
    a8 = 0  # noqa: F841
    a9 = 0  # noqa: F841
    b0 = 0  # noqa: F841
    b1 = 0  # noqa: F841
    missing  # noqa: B018, F821


def test_at_most_twelve_lines_of_source():
    e = failure(long_one, errors.UnknownNameError, o="*i32")
    lines = e.message.split("\n")
    assert lines[0] == "at 14:4:" and lines[1].strip().startswith("a1") and len(lines) == 1 + 12 + 1 + 2


def test_errors_can_be_pickled():
    e = failure(outer, errors.UnknownNameError, o="*i32")
    again = pickle.loads(pickle.dumps(e))
    assert type(again) is type(e) and str(again) == str(e)


def test_source_may_be_unavailable():
    assert str(errors.CompilationError(None, ast.Pass(), "wrong")) == "<source unavailable>\nwrong"


# --- errors of the language -------------------------------------------------------------------------------


def bad_arange():
    tl.arange(2, 7)


def test_errors_of_the_language_are_causes():
    e = failure(bad_arange, errors.ArangeError)
    assert isinstance(e.__cause__, ValueError) and "arange's range must be a power of 2" in str(e.__cause__)
    assert e.message.startswith("at 2:4:\n") and str(e.__cause__) in e.error_message
    shown = "".join(traceback.format_exception(type(e.__cause__), e.__cause__, e.__cause__.__traceback__))
    assert "language" in shown and "visitor.py" not in shown


def shapes(o):
    tl.arange(0, 4) + tl.arange(0, 8)


def test_shape_mismatch():
    e = failure(shapes, errors.ShapeMismatchError, o="*i32")
    assert "4" in e.error_message and "8" in e.error_message and e.message.startswith("at 2:4:\n")


def static_assertion(N: tl.constexpr):
    tl.static_assert(N > 4, f"N is {N}")


def test_static_assert():
    e = failure(static_assertion, errors.CompileTimeAssertionFailure, N=3)
    assert e.error_message == "static_assert failed: N is 3" and e.__cause__ is None


def operand_types():
    0 + "a"  # noqa: B018


def test_python_errors_of_compile_time_values():
    e = failure(operand_types)
    assert e.message.startswith("at 2:4:\n") and isinstance(e.__cause__, TypeError)


# --- names ------------------------------------------------------------------------------------------------


def undefined():
    a += 1  # noqa: F821, F841


def reads_global():
    return PLAIN_GLOBAL


def reads_list():
    x = PLAIN_LIST  # noqa: F841


def test_unknown_names():
    assert sentence(undefined, errors.UnknownNameError) == "a is not defined"


def test_globals_must_be_constexpr(monkeypatch):
    message = sentence(reads_list, errors.GlobalAccessError)
    assert message == (
        "PLAIN_LIST is a global variable of type list, and a compiled kernel would not see it change. "
        "Write `PLAIN_LIST = tl.constexpr(...)`, pass it as a tl.constexpr argument, or set TRITON_ALLOW_NON_CONSTEXPR_GLOBALS=1"
    )
    assert "global variable" in sentence(reads_global, errors.GlobalAccessError)
    monkeypatch.setenv("TRITON_ALLOW_NON_CONSTEXPR_GLOBALS", "1")
    traced(reads_list)


def test_closure_variables_must_be_constexpr():
    captured = 42

    def kernel():
        a = captured  # noqa: F841

    message = sentence(kernel, errors.GlobalAccessError)
    assert message.startswith("captured is not defined as a compile-time constant: it is a variable of type int of the enclosing")


def uses_builtin(x):
    sorted(x)


def test_other_builtins():
    assert sentence(uses_builtin, errors.UnknownNameError, x="*i32") == (
        "the Python builtin sorted is not part of the kernel language; use tl.sort"
    )


def one_branch(o, n):
    if n > 0:
        x = 1
    tl.store(o, x)


def test_defined_on_one_path_only():
    e = failure(one_branch, errors.UnknownNameError, o="*i32", n="i32")
    line = one_branch.__code__.co_firstlineno + 1
    assert e.error_message == (
        f"x is not defined on every path: only the `if` branch of the `if` at line {line} assigns it. Assign it before the `if`"
    )
    assert e.message.startswith("at 4:16:\n")


def after_loop(o, n):
    for i in range(n):
        x = i
    tl.store(o, x)


def test_defined_in_a_loop_only():
    line = after_loop.__code__.co_firstlineno + 1
    assert sentence(after_loop, errors.UnknownNameError, o="*i32", n="i32") == (
        f"x has no value after the loop at line {line}: only the loop assigns it. Assign it before the loop"
    )


# --- types ------------------------------------------------------------------------------------------------


def branch_types(o, n):
    x = tl.arange(0, 4)
    if n > 0:
        x = tl.arange(0, 8)
    tl.store(o + x, x)


def test_branches_must_agree():
    line = branch_types.__code__.co_firstlineno + 2
    assert sentence(branch_types, errors.ShapeMismatchError, o="*i32", n="i32") == (
        f"Mismatched type for x: it is int32[8] after one branch of the `if` at line {line} and int32[4] after the other; "
        "a variable needs one type on all paths: convert with .to(), or use another name"
    )


def loop_types(o, n):
    acc = 0
    for i in range(n):
        acc = acc + i * 0.5
    tl.store(o, acc)


def test_carried_variables_keep_their_type():
    line = loop_types.__code__.co_firstlineno
    assert sentence(loop_types, errors.TypeMismatchError, o="*fp32", n="i32") == (
        f"acc is int32 before the loop at line {line + 2} but fp32 at the end of its body (assigned at line {line + 3}); "
        "a variable that a loop carries has one type: start it with the type it ends with "
        "(tl.zeros, tl.full, .to()), or use another name inside"
    )


@device_function
def two_types(n):
    if n == 0:
        return tl.arange(0, 4)
    else:
        return tl.arange(0, 8)


def calls_two_types(n):
    two_types(n)


def test_returns_must_agree():
    e = failure(calls_two_types, errors.TypeMismatchError, n="i32")
    assert e.message.startswith("at 2:4:\n")
    assert e.__cause__.message.startswith("at 5:8:\n")
    line = two_types.fn.__code__.co_firstlineno + 3
    assert e.__cause__.error_message == (
        f"Inconsistent return types: two_types returns int32[8] here but int32[4] at the `return` at line {line}; "
        "all paths that are chosen at run time must return the same type"
    )


def tensor_condition(o):
    if tl.arange(0, 4) > 2:
        tl.store(o, 1)


def test_conditions_are_scalar():
    assert sentence(tensor_condition, o="*i32").startswith("the condition is a int1[4] tensor, but control flow needs a scalar")


def not_constexpr(n):
    x: tl.constexpr = n + 1
    tl.arange(0, x)


@device_function
def wants_constexpr(N: tl.constexpr):
    return tl.arange(0, N)


def passes_tensor(n):
    wants_constexpr(n)


def test_not_constexpr():
    # A local and a parameter of a device function may hold a run-time value there; what needs it at compile time says so.
    assert "arange's arguments must be of type tl.constexpr" in failure(not_constexpr, errors.NotConstexprError, n="i32").message
    assert "arange's arguments must be of type tl.constexpr" in failure(passes_tensor, errors.NotConstexprError, n="i32").message


def needs_python(x):
    breakpoint()


def grows_a_list(x):
    parts = []
    parts.append(x)


def indexes_a_pointer(x):
    x[tl.arange(0, 4)]


def test_mistakes_of_those_who_know_python():
    assert sentence(needs_python, errors.UnknownNameError, x="*i32").endswith(
        "; with TRITON_INTERPRET=1 kernels run as Python, which has it"
    )
    assert "a list in a kernel is a tuple" in sentence(grows_a_list, errors.UnknownNameError, x="*i32")
    assert sentence(indexes_a_pointer, x="*i32").endswith("; memory is read by tl.load(pointer + index) and written by tl.store")


# --- constructs -------------------------------------------------------------------------------------------


def with_try():
    try:
        pass
    finally:
        pass


def with_class():
    class A:
        pass


def with_lambda():
    f = lambda x: x  # noqa: E731, F841


def with_nested():
    def f():
        pass


def with_dict():
    x = {1: 2}  # noqa: F841


def with_set():
    x = {1, 2}  # noqa: F841


def with_generator():
    x = tuple(i for i in (1, 2))  # noqa: F841


def with_global():
    global PLAIN_GLOBAL
    PLAIN_GLOBAL = 3


def with_break(n):
    for _ in range(n):
        break


def with_matmul(n):
    n @ n  # noqa: B018


def with_import():
    import math  # noqa: F401


def with_else(n):
    for _ in range(n):
        pass
    else:
        pass


@pytest.mark.parametrize(
    "fn, text",
    [
        (with_try, "`try` is not supported"),
        (with_class, "class definitions are not supported"),
        (with_lambda, "`lambda` is not supported"),
        (with_nested, "a nested function definition is not supported"),
        (with_dict, "a dict display is not supported"),
        (with_set, "a set display is not supported"),
        (with_generator, "a generator expression is not supported"),
        (with_global, "`global` is not supported"),
        (with_break, "`break` is not supported"),
        (with_matmul, "the operator @ is not part"),
        (with_import, "`import` is not supported"),
        (with_else, "`else` after a loop is not supported"),
    ],
)
def test_refused_constructs(fn, text):
    arguments = {"n": "i32"} if fn.__code__.co_argcount else {}
    e = failure(fn, errors.UnsupportedLanguageConstruct, **arguments)
    assert text in e.error_message and e.__cause__ is None


@device_function
def with_kwargs(**kwargs):
    pass


def calls_kwargs():
    with_kwargs(a=1)


def test_keyword_dictionaries_are_refused():
    assert "**kwargs" in sentence(calls_kwargs, errors.UnsupportedLanguageConstruct)


def return_in_loop(o, n):
    for i in range(n):
        if i == 3:
            return
        tl.store(o, i)


def returns_value(n):
    return n


def endless(o):
    while True:
        tl.store(o, 1)


def test_returns_and_endless_loops():
    e = failure(return_in_loop, errors.ReturnError, o="*i32", n="i32")
    assert e.message.startswith("at 4:12:\n") and "`return` inside a loop is not supported" in e.error_message
    assert sentence(returns_value, errors.ReturnError, n="i32").startswith("a kernel cannot return a value (int32)")
    assert "never ends" in sentence(endless, errors.UnsupportedLanguageConstruct, o="*i32")


@device_function
def forever(n):
    return ping(n)


@device_function
def ping(n):
    return forever(n + 1)


def recursion(n):
    forever(n)


def test_recursion_without_end():
    e = failure(recursion, errors.RecursionInKernelError, n="i32")
    assert "nests 101 functions deep (forever ← ping ← forever ← ping ← …)" in e.error_message
    assert "recursion must end at compile time" in e.error_message


@device_function
def two(a, b):
    return a + b


def wrong_arguments(n, MODE: tl.constexpr):
    if MODE == 0:
        two(n)
    elif MODE == 1:
        two(n, n, n)
    elif MODE == 2:
        two(n, n, c=1)
    elif MODE == 3:
        n(1)
    else:
        a, b, c = (1, 2)  # noqa: F841


@pytest.mark.parametrize(
    "mode, text",
    [
        (0, "two is called without the argument b; its parameters are a, b"),
        (1, "two takes 2 arguments, but is called with 3 positional ones"),
        (2, "two has no parameter c; its parameters are a, b"),
        (3, "int32 is not a function and cannot be called"),
        (4, "2 values cannot be unpacked into 3 targets"),
    ],
)
def test_arguments(mode, text):
    assert sentence(wrong_arguments, errors.ArgumentError, n="i32", MODE=mode) == text


def test_a_missing_signature_is_named():
    with pytest.raises(ValueError, match="the signature of reads_n says nothing of its parameter n"):

        def reads_n(n):
            pass

        traced(JITCallable(reads_n))


@device_function
def precious(x):
    return x + 1


def drops_result(o):
    precious(1)


def keeps_result(o):
    tl.store(o, precious(1))


def test_results_that_must_be_used():
    must_use_result("Its name says why.")(precious)
    text(keeps_result, o="*i32")
    assert sentence(drops_result, errors.UnusedResultError, o="*i32") == "The result of precious is not being used. Its name says why."
    precious._must_use_result_is_error = False
    with pytest.warns(UserWarning, match="precious is not being used"):
        text(drops_result, o="*i32")


@aggregate
class Length:
    metres: tl.tensor

    @must_use_result
    @jit
    def doubled(self):
        return self.metres + self.metres

    @must_use_result
    @constexpr_function
    def unit(self):
        return 1


def drops_method_result(o):
    Length(tl.load(o)).doubled()


def drops_constexpr_result(o):
    Length(tl.load(o)).unit()


def test_results_of_methods_must_be_used():
    said = sentence(drops_method_result, errors.UnusedResultError, o="*i32")
    assert said == "The result of Length(tl.load(o)).doubled is not being used."
    said = sentence(drops_constexpr_result, errors.UnusedResultError, o="*i32")
    assert said == "The result of Length(tl.load(o)).unit is not being used."


def negated_tuple(o):
    tl.store(o, -(1, 2))


def test_signs_before_tuples():
    said = sentence(negated_tuple, errors.UnsupportedLanguageConstruct, o="*i32")
    assert said == "`-` of a tuple is not part of the kernel language; apply it to the elements"


def mixed_ternary(o, p, n):
    tl.store(o, p if n else o)


def test_ternary_of_two_types():
    said = sentence(mixed_ternary, errors.TypeMismatchError, o="*i32", p="*ki32", n="i32")
    assert said.startswith("Ternary expression with dynamic condition has inconsistent types")


def wrong_shape():
    return tl.zeros((33,), tl.int32)


def test_the_cause_is_the_plain_sentence():
    e = failure(wrong_shape)
    assert str(e.__cause__) == "Shape element 0 must be a power of 2"
    assert e.error_message.startswith("Shape element 0 must be a power of 2: the shape is [33]")


def test_constexpr_parameters_are_always_specialised():
    fn = jit(do_not_specialize=["N"])(wants_constexpr.fn)
    assert "N marked as constexpr and listed in do_not_specialize" in sentence(fn, N=4)


def scales_of_wrong_shape():
    a = tl.zeros((32, 64), tl.uint8)
    tl.dot_scaled(a, tl.zeros((32, 4), tl.uint8), "e5m2", tl.trans(a), tl.zeros((32, 2), tl.uint8), "e5m2")


def test_shapes_of_scales():
    assert sentence(scales_of_wrong_shape) == "lhs_scale must be a tensor of shape [32, 2]. Got ['32', '4']"


@jit
def pair(a, b):
    return a, b


def unpacks_a_function(o):
    a, b = pair
    tl.store(o, a)


def test_a_function_that_is_not_called_has_no_elements():
    """Python would ask it for [0], [1], … without end: kernel[grid] never says that there is no more."""
    assert sentence(unpacks_a_function, o="*i32") == "'JITFunction' object is not iterable"


@jit
def launched(x):
    tl.store(x, 1)


tuned = autotune([Config({})], key=[])(launched)


def launches(x):
    launched[(1,)](x)


def launches_tuned(x):
    tuned[(1,)](x)


def test_a_kernel_launches_no_other():
    told = sentence(launches_tuned, errors.GlobalAccessError, x="*i32")
    assert told.startswith(
        "tuned is a kernel with an Autotuner around it, which only launches; a kernel calls functions of @triton.jit: give"
    )
    told = sentence(launches, errors.UnsupportedLanguageConstruct, x="*i32")
    assert told.startswith("a kernel cannot launch another one (launched[grid](...)); call it as a function, launched(...), which runs")


def test_long_expressions(tmp_path):
    """Longer than Python's usual limit of recursion, which is back afterwards."""
    file = tmp_path / "long_sum.py"
    file.write_text(f"def long_sum(x):\n    a = tl.load(x)\n    tl.store(x, {'+'.join(['a'] * 900)})\n")
    space = {"tl": tl}
    exec(compile(file.read_text(), str(file), "exec"), space)
    limit = sys.getrecursionlimit()
    fn = jit(space["long_sum"])
    assert len(fn.cache_key) == 64
    assert len(traced(fn.fn, x="*i32").kernel.body.ops) > 900
    assert sys.getrecursionlimit() == limit
