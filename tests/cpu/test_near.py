"""sin and cos of f32: the short way below the limit, the long way beyond, lane by lane."""

import numpy as np
import pytest
from differential import launch

import anytile.language as tl
from anytile.math.library import NEAR
from anytile.targets.cpu import CpuTarget


def turn(x, s, c, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    angle = tl.load(x + i, mask=i < n)
    tl.store(s + i, tl.sin(angle), mask=i < n)
    tl.store(c + i, tl.cos(angle), mask=i < n)


def turn_once(x, s):
    tl.store(s, tl.sin(tl.load(x)))


def turned(x):
    x = np.asarray(x, np.float32)
    s, c = np.empty_like(x), np.empty_like(x)
    launch(CpuTarget(), turn, (-(-len(x) // 256), 1, 1), x=x, s=s, c=c, n=len(x), B=256)
    return s, c


LIMIT = NEAR["sin", "f32"][0]
PLACES = [0.0, -0.0, 1.0, -2.5, LIMIT, -LIMIT, np.nextafter(np.float32(LIMIT), np.float32(0)), 1e10, -3e38, np.inf, -np.inf, np.nan, 1e-40]


@pytest.mark.parametrize("beside", [0.5, 1e20, np.nan])
def test_every_lane_by_itself(beside):
    """Each argument has the same result, to the bit, whatever the other lanes of its vector hold."""
    for x in PLACES:
        alone = turned([x])
        for where in (0, 3, 15, 16, 40):
            xs = np.full(77, beside, np.float32)
            xs[where] = x
            for got, want in zip(turned(xs), alone):
                assert got[where].tobytes() == want[0].tobytes(), (x, where)


def test_values():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(10_000) * 10.0 ** rng.integers(-5, 30, 10_000)).astype(np.float32)
    for got, want in zip(turned(x), (np.sin(x.astype(np.float64)), np.cos(x.astype(np.float64)))):
        assert (np.abs(got - want) <= 1.6 * np.spacing(np.abs(want).astype(np.float32))).all()


@pytest.mark.parametrize("x", [0.75, -0.0, 1e9])
def test_a_scalar(x):
    out = np.empty(1, np.float32)
    launch(CpuTarget(), turn_once, (1, 1, 1), x=np.array([x], np.float32), s=out)
    assert out.tobytes() == turned([x])[0].tobytes()
