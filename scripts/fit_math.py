"""Computes the minimax polynomials of anytile.math and writes src/anytile/math/coefficients.py.

    python scripts/fit_math.py [name ...]     refit the named polynomials only (all without names)

Each fit finds P of a given degree that minimises max |w(t)·(g(t) − P(t))| on [a, b] by Remez exchange in
high precision on a dense Chebyshev grid.  Coefficients are then rounded to the format from the lowest
degree up, refitting the rest after each, so later ones make good what rounding took from earlier ones.
Weights are chosen so that the printed error is relative to the function the polynomial ends up in.
"""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mpmath as mp

OUT = Path(__file__).resolve().parent.parent / "src/anytile/math/coefficients.py"
mp.mp.dps = 50
Fun = Callable[[mp.mpf], mp.mpf]


@dataclass(frozen=True)
class Fit:
    name: str
    fmt: str  # "f32" or "f64": the format coefficients are rounded to
    g: Fun
    a: float
    b: float
    degree: int
    w: Fun = lambda t: mp.mpf(1)
    fixed: tuple[float, ...] = ()  # leading coefficients c0, c1 … given


def rounded(x: mp.mpf, fmt: str) -> float:
    """To f32 or f64.  Going through f64 to f32 rounds twice; a fit does not mind."""
    v = float(x)
    return struct.unpack("<f", struct.pack("<f", v))[0] if fmt == "f32" else v


def remez(ts: list, gs: list, ws: list, lo: int, hi: int) -> tuple[list, mp.mpf]:
    """Coefficients of t^lo … t^hi minimising max |w(g − P)| over the grid, and that maximum."""
    n = hi - lo + 1
    size = len(ts)
    ref = [round((size - 1) * (1 - mp.cos(mp.pi * i / n)) / 2) for i in range(n + 1)]
    powers = [[t ** (lo + j) for j in range(n)] for t in ts]
    best = None
    for _ in range(30):
        m = mp.matrix(n + 1, n + 1)
        rhs = mp.matrix(n + 1, 1)
        for r, i in enumerate(ref):
            for j in range(n):
                m[r, j] = powers[i][j] * ws[i]
            m[r, n] = (-1) ** r
            rhs[r] = gs[i] * ws[i]
        sol = mp.lu_solve(m, rhs)
        c = [sol[j] for j in range(n)]
        err = [(gs[i] - mp.fdot(powers[i], c)) * ws[i] for i in range(size)]
        worst = max(abs(e) for e in err)
        if best is None or worst < best[1]:
            best = (c, worst)
        if worst <= abs(sol[n]) * mp.mpf("1.0005"):
            break
        # one extremum per run of equal sign, then the n + 1 consecutive ones with the largest least error
        peaks: list[int] = []
        for i in range(size):
            if peaks and (err[i] > 0) == (err[peaks[-1]] > 0):
                if abs(err[i]) > abs(err[peaks[-1]]):
                    peaks[-1] = i
            else:
                peaks.append(i)
        while len(peaks) > n + 1:
            del peaks[0 if abs(err[peaks[0]]) < abs(err[peaks[-1]]) else -1]
        if len(peaks) < n + 1:
            break
        ref = peaks
    assert best is not None
    return best


def fit(f: Fit) -> tuple[tuple[float, ...], float]:
    size = 14 * (f.degree + 2)
    a, b = mp.mpf(f.a), mp.mpf(f.b)
    ts = [(a + b) / 2 - (b - a) / 2 * mp.cos(mp.pi * (i + mp.mpf(1) / 2) / size) for i in range(size)]
    gs = [f.g(t) for t in ts]
    ws = [f.w(t) for t in ts]
    done = list(f.fixed)
    rest = [g - sum(c * t**i for i, c in enumerate(done)) for g, t in zip(gs, ts)]
    # Rounding the first few in turn is worth the refits; the higher ones hardly matter.
    for i in range(len(done), f.degree + 1):
        if i < len(f.fixed) + 4:
            c, _ = remez(ts, rest, ws, i, f.degree)
        else:
            c = c[1:]  # noqa: F821
        v = rounded(c[0], f.fmt)
        done.append(v)
        rest = [r - v * t**i for r, t in zip(rest, ts)]
    return tuple(done), float(max(abs(r * w) for r, w in zip(rest, ws)))


def sym(half: mp.mpf) -> dict:
    return {"a": -half, "b": half}


L2 = mp.log(2)
HALF_LN2 = L2 / 2 * mp.mpf("1.002")
SQ = (mp.pi / 4 * mp.mpf("1.002")) ** 2
LOG_A, LOG_B = mp.sqrt(mp.mpf(1) / 2) - 1, mp.sqrt(2) - 1
S2 = (mp.mpf("0.1716")) ** 2


def series(f: Fun, *limits: tuple[float, float]) -> Fun:
    """``f`` with a removable singularity at 0: evaluated with 40 extra digits to survive cancellation."""

    def g(t: mp.mpf) -> mp.mpf:
        with mp.workdps(110):
            return f(mp.mpf(t))

    return g


def root(f: Fun) -> Fun:
    """f as a function of t = x²."""
    return series(lambda t: f(mp.sqrt(t)))


def fits() -> list[Fit]:
    out: list[Fit] = []
    for fmt, d in (("f32", 0), ("f64", 1)):
        pick = lambda a, b: (a, b)[d]  # noqa: B023, E731
        add = lambda name, g, a, b, deg, w=None, fixed=(): out.append(  # noqa: B023, E731
            Fit(f"{name}_{fmt}", fmt, g, a, b, deg, w or (lambda t: mp.mpf(1)), fixed)  # noqa: B023
        )
        add("exp", mp.exp, -HALF_LN2, HALF_LN2, pick(6, 11), lambda t: mp.exp(-t), (1.0, 1.0))
        add("exp2", lambda t: mp.mpf(2) ** t, -0.5, 0.5, pick(6, 11), lambda t: mp.mpf(2) ** -t, (1.0,))
        # expm1(r) = r + r²·Q(r)
        add("expm1", series(lambda t: (mp.expm1(t) - t) / t**2), -HALF_LN2, HALF_LN2, pick(5, 10), lambda t: t * t / mp.expm1(t), (0.5,))
        # sin(r) = r + r³·Q(r²), cos(r) = 1 − r²/2 + r⁴·Q(r²)
        add("sin", root(lambda r: (mp.sin(r) - r) / r**3), 1e-30, SQ, pick(2, 5), lambda t: t * mp.sqrt(t) / mp.sin(mp.sqrt(t)))
        add("cos", root(lambda r: (mp.cos(r) - 1 + r * r / 2) / r**4), 1e-30, SQ, pick(2, 5), lambda t: t * t / mp.cos(mp.sqrt(t)))
        # tanh(x) = x + x³·Q(x²) for |x| ≤ 0.6 (f64: 0.35, above expm1 serves)
        th = mp.mpf(pick("0.6", "0.35"))
        add("tanh", root(lambda x: (mp.tanh(x) - x) / x**3), 1e-30, th**2, pick(4, 8), lambda t: t * mp.sqrt(t) / mp.tanh(mp.sqrt(t)))
        # atan(x) = x + x³·Q(x²) for |x| ≤ 1
        add("atan", root(lambda x: (mp.atan(x) - x) / x**3), 1e-30, 1, pick(8, 18), lambda t: t * mp.sqrt(t) / mp.atan(mp.sqrt(t)))
        # asin(x) = x + x³·Q(x²) for |x| ≤ 1/2
        add("asin", root(lambda x: (mp.asin(x) - x) / x**3), 1e-30, 0.25, pick(4, 11), lambda t: t * mp.sqrt(t) / mp.asin(mp.sqrt(t)))
        # sinh(x) = x + x³·Q(x²) for |x| ≤ 1
        add("sinh", root(lambda x: (mp.sinh(x) - x) / x**3), 1e-30, 1, pick(3, 6), lambda t: t * mp.sqrt(t) / mp.sinh(mp.sqrt(t)))
        # erf(x) = x + x·Q(x²) for |x| ≤ 1
        add("erf", root(lambda x: mp.erf(x) / x - 1), 1e-30, 1, pick(6, 13), lambda t: mp.sqrt(t) / mp.erf(mp.sqrt(t)))
    # f32 log(1 + f) = f + f²·Q(f); f64 log(1 + f) = f − (f²/2 − s·(f²/2 + s²·Q(s²))), s = f/(2 + f)
    out.append(Fit("log_f32", "f32", series(lambda t: (mp.log1p(t) - t) / t**2), LOG_A, LOG_B, 8, lambda t: t * t / mp.log1p(t), (-0.5,)))
    out.append(Fit("log_f64", "f64", root(lambda s: (mp.log((1 + s) / (1 - s)) / s - 2) / s**2), 1e-30, S2, 6, lambda t: t))
    # log2(erfc(x)) for 1 ≤ x ≤ 4: erf = 1 − 2^that
    out.append(Fit("exp2_short_f32", "f32", lambda t: mp.mpf(2) ** t, -0.5, 0.5, 5, lambda t: mp.mpf(2) ** -t))
    out.append(Fit("log2_erfc_f32", "f32", lambda t: mp.log(mp.erfc(t), 2), 1, 4, 6, lambda t: mp.erfc(t) / mp.erf(t) * L2))
    return out


def split(x: mp.mpf, fmt: str, bits: int, parts: int = 2) -> tuple[float, ...]:
    """x as a sum of `parts` numbers, all but the last with `bits` significant bits: their products with
    short integers are exact."""
    out = []
    for i in range(parts):
        if i == parts - 1:
            v = rounded(x, fmt)
        else:
            k = bits - int(mp.floor(mp.log(abs(x), 2))) - 1
            v = float(mp.nint(x * mp.mpf(2) ** k) / mp.mpf(2) ** k)
        out.append(v)
        x -= mp.mpf(v)
    return tuple(out)


def constants() -> dict[str, tuple[tuple[float, ...], str]]:
    """Constants in several parts, and the pieces of 2/π for the reduction of huge angles."""
    out = {}
    for fmt, short, full in (("f32", 14, 24), ("f64", 40, 53)):
        for name, x in {"ln2": mp.log(2), "log10_2": mp.log(2, 10)}.items():
            out[f"{name}_{fmt}"] = (split(x, fmt, short), f"{name}, the first of {short} bits")
        for name, x in {"log2_e": 1 / mp.log(2), "log10_e": 1 / mp.log(10), "ln10": mp.log(10), "pi": mp.pi, "pi_2": mp.pi / 2}.items():
            out[f"{name}_{fmt}"] = (split(x, fmt, full), f"{name} as a sum of two")
    with mp.workdps(200):
        for c in range(4):
            v = mp.fmod(mp.mpf(2) ** (32 * c) * 2 / mp.pi, mp.mpf(2) ** 25) if c else 2 / mp.pi
            top = mp.floor(v * 16) / 16  # 29 bits above 2^-4
            mid = mp.floor((v - top) * mp.mpf(2) ** 33) / mp.mpf(2) ** 33
            out[f"two_over_pi_{c}"] = ((float(top), float(mid), float(v - top - mid)), f"2^{32 * c} · 2/π modulo 2^25 in 29 + 29 + 53 bits")
    return out


def render(table: dict[str, tuple[tuple[float, ...], str]]) -> str:
    lines = [
        '"""Minimax coefficients, lowest degree first.  Written by scripts/fit_math.py, where each one is defined."""',
        "",
        "C: dict[str, tuple[float, ...]] = {",
    ]
    for name in sorted(table):
        c, note = table[name]
        lines += [f'    "{name}": (  # {note}', *(f"        {v!r}," for v in c), "    ),"]
    return "\n".join([*lines, "}", ""])


def previous() -> dict[str, tuple[tuple[float, ...], str]]:
    """What the file holds now, notes included."""
    if not OUT.exists():
        return {}
    scope: dict = {}
    text = OUT.read_text()
    exec(text, scope)
    notes = {ln.split('"')[1]: ln.split("# ")[1] for ln in text.splitlines() if ln.startswith('    "')}
    return {k: (v, notes[k]) for k, v in scope["C"].items()}


def main(names: list[str]) -> None:
    every = fits()
    table = previous() if names else {}
    for f in every:
        if names and not any(f.name.startswith(n) for n in names):
            continue
        start = time.time()
        c, err = fit(f)
        note = f"degree {f.degree} on [{float(f.a):.6g}, {float(f.b):.6g}], error 2^{float(mp.log(err, 2)):.1f}"
        table[f.name] = (c, note)
        print(f"{f.name:20} {note}  ({time.time() - start:.1f} s)", flush=True)
    OUT.write_text(render({**table, **constants()}))


if __name__ == "__main__":
    main(sys.argv[1:])
