"""Measures every mathematical function and writes docs/math.md.

    python scripts/ulp_table.py [samples of f32] [samples of f64]

The truth is that of tests/math: mpmath for f64, float64 for f32.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/math"))

import truth  # noqa: E402
from evaluate import compile_formula, record, ulp_error  # noqa: E402
from test_functions import ABSOLUTE, BITWISE, ROWS, arity, f32_truth, flushed  # noqa: E402

from anytile.ir.types import F32, F64  # noqa: E402
from anytile.math.library import EXPANSIONS, THROUGH_F64  # noqa: E402

INTRO = """# Mathematical functions

`anytile.math` builds these out of arithmetic of the tile IR, for targets that have no instruction for them
(`passes/expand_math.py`).  One implementation serves every target, so results agree to the bit wherever
`fma` and division are IEEE.

- *ulp* is the largest error found, in units of the last place of the exact result; 0.5 is perfect.
  f32: {n32:,} values (all magnitudes, and dense where the function has its range) against float64; f64:
  {n64:,} values against mpmath with 40 digits (Bessel functions: {slow}).
- *ops* counts the operations of the expansion, without constants and bitcasts.
- Results of `exp`, `exp2` and `exp10` in f32 below 2^-126 are 0.
- ¹ f32 goes through f64.  Where NumPy lacks the function, its f32 column compares with the f64 formula and so
  shows the final rounding only; the f64 column vouches for the formula.
- ² Near a zero of the function the error is absolute, below 8·2^-53; *ulp* is for the rest.
- Angles of `sin`, `cos`, `tan` may be of any size.  Targets compute `sin` and `cos` in f32 alone below 2^15, to 1.55 ulp.  NaN payloads are not kept.

Polynomials: `scripts/fit_math.py`.  This table: `scripts/ulp_table.py`.

| function | f32 ulp | worst at | f32 ops | f64 ulp | worst at | f64 ops |
|---|---|---|---|---|---|---|
"""


def cost(f) -> int:
    return sum(op.name not in ("constant", "bitcast") for op in f.body.ops)


def measure(row: str, n32: int, n64: int) -> str:
    cells = []
    for elem, dtype in ((F32, np.float32), (F64, np.float64)):
        f, result = record(EXPANSIONS[row, str(elem)], [elem] * arity(row))
        if row in BITWISE:
            cells += ["exact", "", str(cost(f))]
            continue
        count = n32 if elem is F32 else n64 if row not in ABSOLUTE or row == "lgamma" else n64 // 10
        xs = truth.samples(row, dtype, count, arity(row), seed=11)
        if elem is F32:
            want = f32_truth(row, xs)
        else:
            want = truth.mp_values(row, xs) if row in truth.EXACT else truth.NUMPY[row](*xs).astype(np.longdouble)
        got = compile_formula(f, result)(*xs)
        err = ulp_error(got, want)
        if elem is F32:
            err = np.where(flushed(row, got, want), 0, err)
        elif row in ABSOLUTE:
            err = np.where(np.abs(got - want) * 2.0**53 <= ABSOLUTE[row], 0, err)
        i = int(np.argmax(err))
        where = ", ".join(f"{float(x[i]):.6g}" for x in xs)
        best = "²" if row in ABSOLUTE else "exact"
        cells += [best if err[i] == 0 else f"{err[i]:.2f}", where if err[i] else "", str(cost(f))]
    mark = ("¹" if row in THROUGH_F64 or row in ("pow", "frem", "remainder") else "") + ("²" if row in ABSOLUTE else "")
    return f"| {row}{mark} | " + " | ".join(cells) + " |"


def main(n32: int = 2_000_000, n64: int = 3000) -> None:
    np.seterr(all="ignore")
    rows = []
    for row in ROWS:
        rows.append(measure(row, n32, n64))
        print(rows[-1], flush=True)
    (ROOT / "docs/math.md").write_text(INTRO.format(n32=n32, n64=n64, slow=n64 // 10) + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
