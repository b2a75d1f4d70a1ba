"""`LinearLayout` against direct computation on random linear maps."""

from __future__ import annotations

import doctest
import pickle
import time

import pytest
from hardware_layouts import blocked, wgmma_accumulator
from hypothesis import given
from hypothesis import strategies as st

from anytile.errors import IRError
from anytile.layouts import linear
from anytile.layouts.linear import Echelon, LinearLayout

PLACES = ("register", "lane", "warp")


@st.composite
def layouts(draw, outs=None, invertible=False):
    """A random map of up to three place dimensions into up to two index dimensions."""
    outs = outs or {"dim0": 1 << draw(st.integers(0, 3)), "dim1": 1 << draw(st.integers(0, 3))}
    bits = sum(n.bit_length() - 1 for n in outs.values())
    if invertible:
        columns = [1 << k for k in range(bits)]
        for _ in range(3 * bits):
            i, j = draw(st.integers(0, bits - 1)), draw(st.integers(0, bits - 1))
            if i != j:
                columns[i] ^= columns[j]
        columns = draw(st.permutations(columns))
    else:
        columns = draw(st.lists(st.integers(0, (1 << bits) - 1), max_size=7))
    cuts = sorted(draw(st.lists(st.integers(0, len(columns)), min_size=2, max_size=2)))
    parts = columns[: cuts[0]], columns[cuts[0] : cuts[1]], columns[cuts[1] :]
    return LinearLayout(dict(zip(PLACES, parts)), outs)


def places(layout):
    got = [{}]
    for d in layout.ins:
        got = [{**p, d: x} for p in got for x in range(layout.size(d))]
    return got


def xor(a, b):
    return {d: a[d] ^ b[d] for d in a}


def test_the_essay():
    assert doctest.testmod(linear).failed == 0


@given(layouts())
def test_linearity_and_rank(layout):
    all_places = places(layout)
    image = {layout(**p) for p in all_places}
    assert len(image) == 1 << layout.rank
    for p in all_places[:: max(1, len(all_places) // 8)]:
        for q in all_places[:: max(1, len(all_places) // 8)]:
            assert layout(**xor(p, q)) == layout(**p) ^ layout(**q)
        coordinates = layout.apply(**p)
        assert layout(**p) == coordinates["dim0"] * layout.outs["dim1"] + coordinates["dim1"]


@given(st.data())
def test_over(data):
    src = data.draw(layouts(invertible=True))
    if data.draw(st.booleans()):  # two lanes hold the same
        src = LinearLayout({**src.ins, "lane": (*src.ins["lane"], 0)}, dict(src.outs))
    dst = data.draw(layouts(dict(src.outs)))
    at = dst.over(src)
    for p in places(dst):
        assert src(**at.apply(**p)) == dst(**p)
    same = src.over(src)
    for p in places(src):
        assert same.apply(**p) == p


def test_over_moves_no_more_than_it_must():
    """Lane 1 and register 2 hold the same of src: the destination's lane stays, and its register does too."""
    src = LinearLayout({"register": (1, 2), "lane": (2, 4), "warp": ()}, {"dim0": 8})
    dst = LinearLayout({"register": (2, 1), "lane": (2, 6), "warp": ()}, {"dim0": 8})
    at = dst.over(src)
    assert at.apply(register=1) == {"register": 2, "lane": 0, "warp": 0}
    assert at.apply(lane=1) == {"register": 0, "lane": 1, "warp": 0}
    assert at.apply(lane=2) == {"register": 2, "lane": 2, "warp": 0}


@given(layouts())
def test_copies(layout):
    once = layout.without_copies()
    assert once.free("register") == 0
    for w in range(layout.size("warp")):
        for lane in range(layout.size("lane")):
            held = [layout(register=r, lane=lane, warp=w) for r in range(layout.size("register"))]
            kept = [once(register=r, lane=lane, warp=w) for r in range(once.size("register"))]
            assert set(held) == set(kept) and len(set(kept)) == len(kept)


@given(st.lists(st.integers(0, 255), max_size=10), st.integers(0, 255))
def test_echelon(columns, v):
    e = Echelon(columns)
    got = e.solve(v)
    span = {0: 0}
    for k, c in enumerate(columns):
        span.update({x ^ c: m | 1 << k for x, m in list(span.items()) if x ^ c not in span})
    assert (got is None) == (v not in span)
    if got is not None:
        x = 0
        for k, c in enumerate(columns):
            x ^= c if got >> k & 1 else 0
        assert x == v and not got & e.free
    assert len(span) == 1 << e.rank


def test_immutable_hashable_picklable():
    a = LinearLayout({"register": [(0, 1)], "lane": [2]}, {"dim0": 2, "dim1": 4})
    b = LinearLayout({"register": [1], "lane": [(0, 2)]}, {"dim0": 2, "dim1": 4})
    assert a == b and hash(a) == hash(b) and pickle.loads(pickle.dumps(a)) == a
    assert a != LinearLayout({"register": [1], "lane": [3]}, {"dim0": 2, "dim1": 4})
    with pytest.raises(AttributeError, match="immutable"):
        a.outs = {}
    with pytest.raises(TypeError):
        a.outs["dim0"] = 4
    assert str(a).splitlines() == ["dim0: 2 × dim1: 4", "register 1 → (0, 1)", "lane 1 → (0, 2)"]


def test_what_is_refused():
    one = LinearLayout({"register": [1, 2]}, {"dim0": 4})
    with pytest.raises(IRError, match="powers of two, not 3"):
        LinearLayout({}, {"dim0": 3})
    with pytest.raises(IRError, match="lies outside"):
        LinearLayout({"lane": [8]}, {"dim0": 8})
    with pytest.raises(IRError, match="has 1 coordinates"):
        LinearLayout({"lane": [(1,)]}, {"dim0": 8, "dim1": 2})
    with pytest.raises(IRError, match="there is no register 4"):
        one(register=4)
    with pytest.raises(IRError, match="different tensors"):
        one.over(LinearLayout({"register": [1, 2, 4]}, {"dim0": 8}))
    with pytest.raises(IRError, match="does not have"):
        one.over(LinearLayout({"register": [1, 0]}, {"dim0": 4}))


def test_speed():
    """Typical operations stay in the tens of microseconds (generous: the machine may be busy)."""
    a, b = blocked((64, 128), (1, 8), (2, 16), (4, 1), (1, 0)), wgmma_accumulator((64, 128), (4, 1))
    times = []
    for _ in range(20):
        start = time.perf_counter()
        linear._over.__wrapped__(b, a)
        times.append(time.perf_counter() - start)
    assert min(times) < 200e-6
