"""Printing and asserting."""

from __future__ import annotations

from feature_table import case, integers, normal, zeros

import anytile.language as tl
from anytile.runtime.jit import jit


@case(grid=(2,), printed=True, x=integers("i32", 4), f=normal("fp32", 4), h=normal("fp16", 4))
def prints(x, f, h):
    i = tl.arange(0, 4)
    v = tl.load(x + i)
    tl.device_print("here")
    tl.device_print("x", v)
    tl.device_print("bits: ", v, hex=True)
    tl.device_print("several", tl.load(f + i), v > 0)
    tl.device_print("half", tl.load(h + i))
    tl.device_print("wide", v.to(tl.int64) << 33, v.to(tl.uint8))
    tl.device_print("one", tl.load(x))
    tl.static_print("type", v)
    print("python", tl.sum(v))


@jit
def checked(v, limit):
    tl.device_assert(v < limit, "too large")
    return v + 1


@case("holds", x=integers("i32", 32, low=0, high=50), out=zeros("i32", 32), limit=50)
@case("fails", fails=r"feature_debug\.py:28\b.*checked.*too large", x=integers("i32", 32, low=0, high=50), out=zeros("i32", 32), limit=20)
def assertions(x, out, limit):
    i = tl.arange(0, 32)
    tl.store(out + i, checked(tl.load(x + i), limit))
    assert limit > 0, "no limit"
    tl.device_assert(i < 16, "masked", mask=i < 16)
    tl.static_assert(tl.cdiv(33, 32) == 2, "arithmetic")


@case(fails=r"int32 overflow detected for operation add", options={"sanitize_overflow": True}, x=integers("i32", 32, low=2**31 - 2, high=2**31), out=zeros("i32", 32))  # fmt: skip
def overflows(x, out):
    i = tl.arange(0, 32)
    tl.store(out + i, tl.load(x + i) + i)
