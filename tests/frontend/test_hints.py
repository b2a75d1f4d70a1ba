"""Newcomers' mistakes: what NumPy, torch and Python have, and kernels say otherwise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from harness import traced

import anytile.language as tl
from anytile.frontend import errors
from anytile.frontend.hints import instead
from anytile.language import libdevice


def sentence(fn, kind, **arguments) -> str:
    with pytest.raises(kind) as e:
        traced(fn, **arguments)
    assert type(e.value) is kind
    return e.value.error_message


def relu(x):
    tl.relu(tl.load(x))


def mean(x):
    tl.load(x + tl.arange(0, 16)).mean()


def near_miss(x):
    tl.maxmum(tl.load(x), 0)


def tanh(x):
    tl.tanh(tl.load(x))


def size(x):
    x.size(0)


def shape(x):
    x.shape[0]  # noqa: B018


def length(x):
    len(x)


def shape_of_a_tile(x):
    tl.store(x, tl.load(x + tl.arange(0, 16)[None, :]).shape[1])


@pytest.mark.parametrize(
    "kernel, kind, end",
    [
        (relu, errors.UnknownNameError, "; use tl.maximum(x, 0)"),
        (mean, errors.UnknownNameError, "; use tl.sum(x, axis) / n, with the n that the mask leaves"),
        (near_miss, errors.UnknownNameError, "; did you mean maximum?"),
        (tanh, errors.UnknownNameError, "; use libdevice.tanh (from triton.language.extra import libdevice)"),
        (size, errors.UnknownNameError, "; a kernel gets the address alone: pass sizes and strides as arguments of their own"),
        (shape, errors.ArgumentError, "; a kernel gets the address alone: pass sizes and strides as arguments of their own"),
        (length, errors.ArgumentError, "; a kernel gets the address alone: pass sizes and strides as arguments of their own"),
    ],
)
def test_attributes(kernel, kind, end):
    assert sentence(kernel, kind, x="*fp32").endswith(end)


def test_the_shape_of_a_tile_is_known():
    traced(shape_of_a_tile, x="*fp32")


def root(x):
    tl.store(x, math.sqrt(tl.load(x)))


def numpy_mean(x):
    tl.store(x, np.mean(tl.load(x)))


def median(x):
    tl.store(x, np.median(tl.load(x)))


def known_root(x):
    tl.store(x, math.sqrt(16))


def wrong_call(x):
    tl.store(x, math.sqrt("16"))


def helper(v):
    raise ValueError(f"of my own {type(v).__name__}")


def own_function(x):
    tl.store(x, helper(tl.load(x)))


def test_functions_of_the_host():
    message = sentence(root, errors.NotConstexprError, x="*fp32")
    assert message.startswith("math.sqrt is a function of the host") and "work on fp32" in message and message.endswith(": use tl.sqrt")
    assert sentence(numpy_mean, errors.NotConstexprError, x="*fp32").endswith(": use tl.sum(x, axis) / n, with the n that the mask leaves")
    assert sentence(median, errors.NotConstexprError, x="*fp32").endswith(": write it with functions of tl")
    traced(known_root, x="*fp32")
    assert "must be real number" in sentence(wrong_call, errors.CompilationError, x="*fp32")
    assert sentence(own_function, errors.CompilationError, x="*fp32") == "of my own tensor"


def test_advice_names_what_there_is():
    assert instead("sqrt") == "use tl.sqrt" and instead("no_such_name") == ""
    for name in ("relu", "amax", "matmul", "tanh", "erf", "isnan"):
        advice = instead(name)
        for part in advice.replace("(", " ").split():
            home, _, attribute = part.partition(".")
            if home in ("tl", "libdevice") and attribute:
                assert hasattr({"tl": tl, "libdevice": libdevice}[home], attribute), advice


def typing_error(x_ptr, n):
    tl.store(x_prt, n)  # noqa: F821


def unlike(x_ptr, n):
    tl.store(quux, n)  # noqa: F821


def test_names_that_are_nearly_right():
    assert sentence(typing_error, errors.UnknownNameError, x_ptr="*fp32", n="i32") == "x_prt is not defined; did you mean x_ptr?"
    assert sentence(unlike, errors.UnknownNameError, x_ptr="*fp32", n="i32") == "quux is not defined"


def offset_times(x):
    tl.store(x * 2, 1)


def float_offset(x, n):
    tl.store(x + n / 2, 1)


def number_of_pointer(x):
    tl.store(x, x + 1)


def not_a_pointer(x):
    tl.store(tl.arange(0, 16), 1)


def no_pointer(x):
    tl.load(None)


def test_pointers_and_what_is_none():
    assert "pointer<fp32> and int32: a pointer takes an integer offset by + and -" in sentence(
        offset_times, errors.CompilationError, x="*fp32"
    )
    assert "(// divides integers)" in sentence(float_offset, errors.CompilationError, x="*fp32", n="i32")
    assert sentence(number_of_pointer, errors.CompilationError, x="*fp32").endswith("the number that it points to is read by tl.load")
    assert "Unsupported ptr type int32[16] in `tl.store`" in sentence(not_a_pointer, errors.CompilationError, x="*fp32")
    assert "Unsupported ptr type None" in sentence(no_pointer, errors.CompilationError, x="*fp32")


def element(x):
    tl.store(x, tl.load(x + tl.arange(0, 16))[0])


def two_texts(x, n):
    print("n =", n, "x =", tl.load(x))


def separated(x, n):
    print("n", n, sep=",")


def plain_print(x, n):
    print("n and x", n, tl.load(x))
    print(n)


def test_elements_and_prints():
    assert "one element of a tile is tl.sum(tl.where(" in sentence(element, errors.CompilationError, x="*fp32")
    for kernel in (two_texts, separated):
        assert sentence(kernel, errors.ArgumentError, x="*fp32", n="i32").startswith(
            "print in a kernel is tl.device_print: it takes one text"
        )
    traced(plain_print, x="*fp32", n="i32")


def summed(x):
    sum(tl.load(x + tl.arange(0, 16)))


def test_sums_of_tiles():
    assert sentence(summed, errors.NotConstexprError, x="*fp32").endswith("; tensors are reduced by tl.sum")


def loose_mask(x, n):
    i = tl.arange(0, 16)
    tl.store(x + i, 1, mask=i >= 0 & i < n)


def loose_or(x, n):
    i = tl.arange(0, 16)
    tl.store(x + i, 1, mask=i < n | i == 7)


def bracketed(x, n):
    i = tl.arange(0, 16)
    tl.store(x + i, 1, mask=0 <= (i & 3) < n)
    tl.store(x + i, 1, mask=(i >= 0) & (i < n))
    tl.store(
        x + i,
        1,
        mask=0
        <= (
            i | 3  # in brackets, too
        )
        < n,
    )


def test_masks_without_brackets():
    """Python reads them as chains with a bit operation in the middle, which nobody means."""
    message = sentence(loose_mask, errors.UnsupportedLanguageConstruct, x="*fp32", n="i32")
    assert message.startswith("`&` binds tighter than comparisons, so this compares with `0 & i` in the middle; put brackets around")
    assert "(a >= b) | (c < d)" in sentence(loose_or, errors.UnsupportedLanguageConstruct, x="*fp32", n="i32")
    traced(bracketed, x="*fp32", n="i32")
