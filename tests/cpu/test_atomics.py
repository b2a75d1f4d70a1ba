"""Atomics on bfloat16, which are computed in f32 and rounded once."""

import numpy as np

import anytile.language as tl
from anytile.runtime.jit import jit


@jit
def add_kernel(x, v, old, N: tl.constexpr):
    at = tl.arange(0, N)
    numbers = x.to(tl.pointer_type(tl.bfloat16), bitcast=True)
    before = tl.atomic_add(numbers + at, tl.load(v + at).to(tl.bfloat16, bitcast=True))
    tl.store(old + at, before.to(tl.int16, bitcast=True))


def add(x, v):
    """(memory after, what it held), for bits of bfloat16."""
    x, old = x.copy(), np.zeros_like(x)
    kernel = add_kernel[(1,)](x, v, old, N=x.size)
    # LLVM's loop would round by an instruction that makes zeros of subnormal numbers, where the machine has it.
    assert "atomicrmw fadd" not in kernel.asm["llir"]
    return x, old


def test_subnormal_sums():
    """Bits of subnormal numbers, and of the first normal ones, count in equal steps: sums of numbers are sums of bits."""
    x, v = np.arange(64, dtype="int16"), np.arange(64, dtype="int16")[::-1].copy() * 2
    after, before = add(x, v)
    np.testing.assert_array_equal(before, x)
    np.testing.assert_array_equal(after, x + v)


def test_sums_are_rounded_to_even_and_nan_stays():
    one, nan, infinite = 0x3F80, 0x7FC1, 0x7F80
    x = np.array([one, one, one + 1, nan, infinite, infinite, 0x7F7F, 0x8000 - 65536], "int16")
    v = np.array([0x3B80, 0x3B81, 0x3B80, one, one, infinite - 32768, 0x7F7F, 0x8000 - 65536], "int16")  # 2⁻⁸, half of 1's last place
    after, _ = add(x, v)
    assert after[:3].tolist() == [one, one + 1, one + 2]
    assert after[4] == infinite and after[6] == infinite and after[7] == -32768  # −0 − 0
    assert all((b & 0x7FFF) > infinite for b in after[[3, 5]].tolist())
