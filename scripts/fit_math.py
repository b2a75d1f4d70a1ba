"""Computes the minimax polynomials of anytile.math and writes src/anytile/math/coefficients.py.

    python scripts/fit_math.py [name ...]     refit the named polynomials only (all without names)

Each fit finds P of a given degree that minimises max |w(t)·(g(t) − P(t))| on [a, b] by Remez exchange in
high precision on a dense Chebyshev grid.  Coefficients are then rounded to the format from the lowest
degree up, refitting the rest after each, so later ones make good what rounding took from earlier ones.
Weights are chosen so that the printed error is relative to the function the polynomial ends up in.
"""

from __future__ import annotations

import functools
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


def scaled_erfcx(t: mp.mpf) -> mp.mpf:
    x = 4 * (1 + t) / (1 - t)
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


@functools.cache
def erfinv_ratio(w: mp.mpf) -> mp.mpf:
    """erfinv(x)/x where −log(1 − x²) = w; found through erfc, which has no trouble with x close to 1."""
    if w < mp.mpf("1e-12"):
        return mp.sqrt(mp.pi) / 2 * (1 + mp.pi * w / 12)
    z = mp.findroot(lambda z: mp.log(mp.erfc(z)) + mp.log(2 - mp.erfc(z)) + w, mp.sqrt(w) * mp.mpf("0.9"), tol=1e-80)
    return z / mp.erf(z)


def stirling(t: mp.mpf) -> mp.mpf:
    x = 1 / mp.sqrt(t)
    with mp.workdps(90):
        return x * (mp.loggamma(x) - (x - mp.mpf(1) / 2) * mp.log(x) + x - mp.log(2 * mp.pi) / 2)


def bessel_y_regular(n: int, x: mp.mpf) -> mp.mpf:
    """Y without its singular part: Y0 − (2/π)·J0·log x; Y1 − (2/π)·(J1·log x − 1/x)."""
    return mp.bessely(n, x) - 2 / mp.pi * (mp.besselj(n, x) * mp.log(x) - (1 / x if n else 0))


@functools.cache
def hankel(n: int, v: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
    """P and Q of J = √(2/πx)·(P cos χ − Q sin χ), χ = x − nπ/2 − π/4, at x = 1/v."""
    x = 1 / v
    chi = x - n * mp.pi / 2 - mp.pi / 4
    j, y, k = mp.besselj(n, x), mp.bessely(n, x), mp.sqrt(mp.pi * x / 2)
    return k * (j * mp.cos(chi) + y * mp.sin(chi)), k * (y * mp.cos(chi) - j * mp.sin(chi))


def add_erfinv_piece(f64: Callable[..., None], i: int, center: float, half: float, degree: int) -> None:
    ratio = lambda t: erfinv_ratio((t + mp.mpf(center)) ** 2)  # noqa: E731
    f64(f"erfinv_{i}", ratio, -half, half, degree, lambda t: 1 / ratio(t))


def add_bessel(f64: Callable[..., None], n: int) -> None:
    over = (lambda x: x) if n else (lambda x: mp.mpf(1))
    f64(f"j{n}_low", root(lambda x: mp.besselj(n, x) / over(x)), 1e-20, 20.25, 12)
    f64(f"j{n}_middle", lambda t: mp.besselj(n, t + mp.mpf("6.25")), -1.75, 1.75, 16)
    f64(f"y{n}_low", root(lambda x: bessel_y_regular(n, x) / over(x)), 1e-20, 20.25, 13)
    f64(f"y{n}_middle", lambda t: mp.bessely(n, t + mp.mpf("6.25")), -1.75, 1.75, 22)
    f64(f"bessel{n}_p", root(lambda v: hankel(n, v)[0]), 1e-10, 1 / mp.mpf(64), 11)
    f64(f"bessel{n}_q", root(lambda v: hankel(n, v)[1] / v), 1e-10, 1 / mp.mpf(64), 11)
    # modified, first kind: x < 8 in x²; beyond eˣ/√x in 1/x
    f64(f"i{n}_low", root(lambda x: mp.besseli(n, x) / over(x)), 1e-20, 64, 18, root(lambda x: over(x) / mp.besseli(n, x)))
    f64(f"i{n}_high", lambda v: mp.besseli(n, 1 / v) * mp.exp(-1 / v) / mp.sqrt(v), 1e-3, 0.125, 23)


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
        # tanh(x) = x + x³·Q(x²) for |x| ≤ 0.6
        th = mp.mpf("0.6")
        add("tanh", root(lambda x: (mp.tanh(x) - x) / x**3), 1e-30, th**2, pick(4, 12), lambda t: t * mp.sqrt(t) / mp.tanh(mp.sqrt(t)))
        # atan(x) = x + x³·Q(x²) for |x| ≤ 1
        add("atan", root(lambda x: (mp.atan(x) - x) / x**3), 1e-30, 1, pick(8, 18), lambda t: t * mp.sqrt(t) / mp.atan(mp.sqrt(t)))
        # asin(x) = x + x³·Q(x²) for |x| ≤ 1/2
        add("asin", root(lambda x: (mp.asin(x) - x) / x**3), 1e-30, 0.25, pick(4, 11), lambda t: t * mp.sqrt(t) / mp.asin(mp.sqrt(t)))
        # sinh(x) = x + x³·Q(x²) for |x| ≤ 1
        add("sinh", root(lambda x: (mp.sinh(x) - x) / x**3), 1e-30, 1, pick(3, 6), lambda t: t * mp.sqrt(t) / mp.sinh(mp.sqrt(t)))
        # erf(x) = x + x·Q(x²) for |x| ≤ 1
        add("erf", root(lambda x: mp.erf(x) / x - 1), 1e-30, 1, pick(6, 13), lambda t: mp.sqrt(t) / mp.erf(mp.sqrt(t)))
        # m^(−1/3), the first guess of cbrt
        add("rcbrt", lambda m: mp.power(m, -mp.mpf(1) / 3), mp.sqrt(0.5), mp.sqrt(2), 4)
    # f32 log(1 + f) = f + f²·Q(f); f64 log(1 + f) = f − (f²/2 − s·(f²/2 + s²·Q(s²))), s = f/(2 + f)
    out.append(Fit("log_f32", "f32", series(lambda t: (mp.log1p(t) - t) / t**2), LOG_A, LOG_B, 8, lambda t: t * t / mp.log1p(t), (-0.5,)))
    out.append(Fit("log_f64", "f64", root(lambda s: (mp.log((1 + s) / (1 - s)) / s - 2) / s**2), 1e-30, S2, 6, lambda t: t))
    # log2(erfc(x)) for 1 ≤ x ≤ 4: erf = 1 − 2^that
    out.append(Fit("exp2_short_f32", "f32", lambda t: mp.mpf(2) ** t, -0.5, 0.5, 5, lambda t: mp.mpf(2) ** -t))
    out.append(Fit("log2_erfc_f32", "f32", lambda t: mp.log(mp.erfc(t), 2), 1, 4, 6, lambda t: mp.erfc(t) / mp.erf(t) * L2))
    # the same without its first coefficient ⅔, which pow keeps exactly
    tail = root(lambda s: ((mp.log((1 + s) / (1 - s)) / s - 2) / s**2 - mp.mpf(2) / 3) / s**2)
    out.append(Fit("log_tail_f64", "f64", tail, 1e-20, S2, 6, lambda t: t**2))
    f64 = lambda name, g, a, b, deg, w=None: out.append(Fit(name + "_f64", "f64", g, a, b, deg, w or (lambda t: mp.mpf(1))))  # noqa: E731
    # (1 + 2x)·erfcx(x), x ≥ 0, in t = (x − 4)/(x + 4)
    f64("erfcx", scaled_erfcx, -1, 1, 23, lambda t: 1 / scaled_erfcx(t))
    # erfinv(x)/x in w = −log(1 − x²): w < 6.25 in w − 3.125; further pieces in √w − centre, the last two for erfcinv only
    f64("erfinv_0", lambda t: erfinv_ratio(t + mp.mpf("3.125")), -3.125, 3.125, 24, lambda t: 1 / erfinv_ratio(t + mp.mpf("3.125")))
    for i, (low, high, degree) in enumerate(((2.5, 4, 20), (4, 8, 24), (8, 14, 19), (14, 27.5, 20)), 1):
        add_erfinv_piece(f64, i, (low + high) / 2, (high - low) / 2, degree)
    # log Γ: near 1 over (x − 1), near 2 over (x − 2), and Stirling's remainder x·(log Γ(x) − …) in 1/x² for x ≥ 8
    f64("lgamma_one", lambda t: mp.loggamma(1 + t) / t, -0.26, 0.5, 20, lambda t: t / mp.loggamma(1 + t))
    f64("lgamma_two", lambda t: mp.loggamma(2 + t) / t, -0.5, 0.5, 19, lambda t: t / mp.loggamma(2 + t))
    f64("stirling", stirling, 1e-12, 1 / mp.mpf(64), 6)
    # Bessel functions: x < 4.5 in x², 4.5 ≤ x < 8 in x − 6.25, beyond as modulus and phase in 1/x²
    for n in (0, 1):
        add_bessel(f64, n)
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
        for name, x in {
            "log2_e": 1 / mp.log(2),
            "log10_e": 1 / mp.log(10),
            "ln10": mp.log(10),
            "pi": mp.pi,
            "pi_2": mp.pi / 2,
            "sqrt_half": mp.sqrt(0.5),
            "two_thirds": mp.mpf(2) / 3,
        }.items():
            out[f"{name}_{fmt}"] = (split(x, fmt, full), f"{name} as a sum of two")
    rest, parts = mp.pi / 2, []
    for bits in (23, 47, 71):  # after the binary point: each part leaves less than its last place
        parts.append(mp.floor(rest * mp.mpf(2) ** bits) / mp.mpf(2) ** bits)
        rest -= parts[-1]
    out["pi_2_f32_parts"] = (tuple(map(float, parts)), "π/2 in three parts of at most 24 bits, from below")
    with mp.workdps(450):
        words = mp.floor(2 / mp.pi * mp.mpf(2) ** (64 * 20))
        ints = [int(words) >> (64 * (19 - i)) & (2**64 - 1) for i in range(20)]
        out["two_over_pi_words"] = (tuple(ints), "bits of 2/π after the binary point, 64 each")
        for c in range(4):
            v = mp.fmod(mp.mpf(2) ** (32 * c) * 2 / mp.pi, mp.mpf(2) ** 25) if c else 2 / mp.pi
            top = mp.floor(v * 16) / 16  # 29 bits above 2^-4
            mid = mp.floor((v - top) * mp.mpf(2) ** 33) / mp.mpf(2) ** 33
            out[f"two_over_pi_{c}"] = ((float(top), float(mid), float(v - top - mid)), f"2^{32 * c} · 2/π modulo 2^25 in 29 + 29 + 53 bits")
    return out


def render(table: dict[str, tuple[tuple[float, ...], str]]) -> str:
    lines = [
        '"""Minimax coefficients, lowest degree first.  Written by scripts/fit_math.py, where each one is defined.',
        "",
        "One file, however long: it is a single table that one program writes and reads back as a whole, and nobody reads it from top to bottom;",
        "the concepts, a file each, are the functions of this room that take rows of it by name.",
        '"""',
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
    known = {f.name for f in every}
    table = {k: v for k, v in previous().items() if k in known} if names else {}
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
