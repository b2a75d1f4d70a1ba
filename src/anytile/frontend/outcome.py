"""How a piece of code ends: it falls through, it returns, or only the run time knows which.

Kernels are structured (no jumps), so ``return`` inside an ``if`` becomes data: the code after it is moved
into the arm that goes on, and where both arms may go on a flag says whether the function has returned.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from ..ir import Value

__all__ = ["FALLS", "Outcome"]


@dataclass(eq=False)
class Outcome:
    """``returns``: always returned ``value``.  ``flag``: an i1, returned ``value`` where it holds, else goes on.

    ``node`` is the ``return`` statement, None for the end of the function.
    """

    returns: bool = False
    flag: Value | None = None
    value: Any = None
    node: ast.AST | None = None

    @staticmethod
    def returned(value: Any, node: ast.AST | None) -> Outcome:
        return Outcome(True, None, value, node)


FALLS = Outcome()
