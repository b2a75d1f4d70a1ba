"""Mathematical functions and format conversions as tile IR.

- `expr.py`: formulas over the Builder (`E`).
- `coefficients.py`: minimax polynomials, written by scripts/fit_math.py.
- `exponential.py`, `logarithm.py`, `trigonometric.py`, `hyperbolic.py`, `error_function.py`, …: the functions.
- `library.py`: which function expands which row of the op table.

`passes/expand_math.py` puts them into a module.  Accuracy and cost of each: docs/math.md.
"""

from __future__ import annotations

from .expr import E, Scope
from .library import EXPANSIONS

__all__ = ["E", "EXPANSIONS", "Scope"]
