"""Philox bit for bit against a NumPy implementation of the paper; known answers of Random123."""

from __future__ import annotations

import numpy as np
import pytest

import anytile.language as tl
from anytile.runtime.jit import jit


def philox(counter, key, rounds=10):
    """Four uint32 words per counter (lists of Python ints)."""
    c, (k0, k1) = list(counter), key
    for _ in range(rounds):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k1, p0 & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def test_the_reference_gives_random123s_known_answers():
    assert philox([0] * 4, [0, 0]) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


@pytest.mark.parametrize("seed", [0, 42, 2**32 + 7, 2**63 - 1])
def test_randint(evaluate, seed):
    offsets = np.arange(64, dtype=np.int32)
    words = evaluate(lambda i: tl.randint4x(seed, i), offsets)
    want = np.array([philox([int(i), 0, 0, 0], [seed & 0xFFFFFFFF, seed >> 32]) for i in offsets], np.uint32)
    for n in range(4):
        assert evaluate.last[n].scalar is tl.uint32
        np.testing.assert_array_equal(words[n], want[:, n])


def test_wide_offsets_and_rounds(evaluate):
    offsets = np.array([2**32 + 5, 7], np.int64)
    got = evaluate(lambda i: tl.randint(1, i, n_rounds=7), offsets)
    want = [philox([int(i) & 0xFFFFFFFF, int(i) >> 32, 0, 0], [1, 0], 7)[0] for i in offsets]
    np.testing.assert_array_equal(got, np.uint32(want))


def test_run_time_seed(evaluate):
    got = evaluate(lambda s: tl.randint(s, tl.arange(0, 4)), np.array(9, np.int32))
    np.testing.assert_array_equal(got, np.uint32([philox([i, 0, 0, 0], [9, 0])[0] for i in range(4)]))


def test_a_block_of_seeds_gives_a_stream_for_each(evaluate):
    seeds, offsets = np.array([3, 2**40 + 9, -1, 0], np.int64), np.array([0, 5, 6, 7], np.int32)

    def want(seed: int, offset: int) -> int:
        key = seed & 2**64 - 1
        return philox([offset, 0, 0, 0], [key & 0xFFFFFFFF, key >> 32])[0]

    pairs = evaluate(lambda s, i: tl.randint(s, i), seeds, offsets)
    np.testing.assert_array_equal(pairs, np.uint32([want(s, i) for s, i in zip(seeds.tolist(), offsets.tolist())]))
    table = evaluate(lambda s, i: tl.randint(s[:, None], i[None, :]), seeds, offsets)
    np.testing.assert_array_equal(table, np.uint32([[want(s, i) for i in offsets.tolist()] for s in seeds.tolist()]))
    column = evaluate(lambda s: tl.randint(s, 7), seeds)
    np.testing.assert_array_equal(column, table[:, 3])


def test_a_seed_is_an_integer(evaluate):
    with pytest.raises(Exception, match="the seed must be an integer or a block of integers, not fp32"):
        evaluate(lambda i: tl.randint(tl.full([4], 1.5, tl.float32), i), np.arange(4, dtype=np.int32))


def test_uniform_floats(evaluate):
    offsets = np.arange(64, dtype=np.int32)
    words, got = evaluate(lambda i: (tl.randint(3, i), tl.rand(3, i)), offsets)
    signed = words.view(np.int32)
    want = np.where(signed < 0, -signed - 1, signed).astype(np.float32) * np.float32(4.6566127342e-10)
    np.testing.assert_array_equal(got, want)
    edge = evaluate(lambda x: tl.uint_to_uniform_float(x), np.uint32([0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
    assert edge.min() == 0 and edge.max() < 1


def test_normal_floats(evaluate):
    x = np.concatenate([np.ravel(v) for v in evaluate(lambda i: tl.randn4x(5, i), np.arange(1024, dtype=np.int32))])
    assert abs(x.mean()) < 0.05 and abs(x.std() - 1) < 0.05
    np.testing.assert_array_equal(evaluate(lambda i: tl.randn(5, i), np.arange(1024, dtype=np.int32)), x[:1024])


def test_overflow_checks_leave_the_generator_alone(evaluate):
    offsets = np.arange(16, dtype=np.int32)
    got = evaluate(lambda i: tl.randint(2**40 + 3, i), offsets, debug=True, sanitize_overflow=True)
    np.testing.assert_array_equal(got, evaluate(lambda i: tl.randint(2**40 + 3, i), offsets))


def test_uniform_floats_where_overflow_is_checked() -> None:
    """The least integer has no negative; what is made of it is no overflow of the kernel's."""

    @jit(debug=True)
    def kernel(x, out):
        i = tl.arange(0, 2)
        tl.store(out + i, tl.uint_to_uniform_float(tl.load(x + i)))

    ends, out = np.array([-(2**31), 2**31 - 1], np.int32), np.zeros(2, np.float32)
    kernel[(1,)](ends, out)
    assert out[0] == out[1] and 0.99 < out[0] < 1
