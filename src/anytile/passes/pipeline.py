"""The sequence of passes that every target shares, and the runner behind it.

``optimize(m)`` is what `targets` call on a fresh module; a target goes on with its own list through
``run_passes(m, [...])``.  For whoever looks for a miscompilation or a slow compile:

    ANYTILE_VERIFY=1           the verifier runs before the first pass and after each
    ANYTILE_DUMP_PASSES=DIR    DIR/<kernel>/NN-<pass>.tile after each pass that changed the module, with
                               source positions, and times.txt with the milliseconds of each pass
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import IRError
from ..ir.core import Module
from ..ir.printer import print_module
from ..ir.verifier import verify
from .canonicalize import canonicalize
from .carried import carried
from .carried_equal import carried_equal
from .carried_views import carried_views
from .cse import cse
from .dce import dce
from .licm import licm
from .simplify_ranges import simplify_ranges

__all__ = ["Pass", "optimize", "run_passes", "SHARED"]

Pass = Callable[[Module], bool]

SHARED: tuple[Pass, ...] = (
    canonicalize,  # folds what the frontend wrote out: most operations of a kernel go here
    dce,  # the later passes then look at live code only
    cse,  # before licm: one hoisted copy instead of several
    licm,  # before carried: it asks which steps come from outside the loop
    carried,  # pointer tiles become scalars; makes additions that the next line moves into the base
    carried_views,  # makes permutations of what the loop begins with, which the next line folds
    simplify_ranges,  # needs induction variables and program ids, decides masks and compares
    canonicalize,  # cleans up after carried and simplify_ranges
    licm,  # offsets without their uniform part no longer vary
    cse,  # the pointer arithmetic of equally shaped operands is now equal
    carried_equal,  # so are the steps of pointers that move together
    dce,  # last: nothing dead reaches a target
)


def optimize(m: Module) -> bool:
    """Runs the shared sequence on ``m`` in place; whether anything changed."""
    return run_passes(m, SHARED)


def run_passes(m: Module, passes: Sequence[Pass]) -> bool:
    """Runs ``passes`` in order, with the checks and dumps that the environment asks for."""
    checking = os.environ.get("ANYTILE_VERIFY", "") not in ("", "0")
    directory = os.environ.get("ANYTILE_DUMP_PASSES", "")
    if not checking and not directory:
        changed = False
        for p in passes:
            changed |= p(m)
        return changed
    return _watched(m, passes, checking, Path(directory) / m.kernel.name if directory else None)


def _watched(m: Module, passes: Sequence[Pass], checking: bool, directory: Path | None) -> bool:
    if checking:
        _verify_after(m, "the frontend or an earlier list of passes")
    first = 0
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        first = len(list(directory.glob("*.tile")))  # a second list of passes goes on counting
        (directory / f"{first:02}-before.tile").write_text(print_module(m, locs=True), encoding="utf-8")
    times: list[str] = []
    any_change = False
    for i, p in enumerate(passes, first + 1):
        start = time.perf_counter()
        changed = p(m)
        ms = (time.perf_counter() - start) * 1e3
        any_change |= changed
        times.append(f"{i:02} {p.__name__:<20} {ms:8.3f} ms{'' if changed else '  (unchanged)'}\n")
        if directory is not None and changed:
            (directory / f"{i:02}-{p.__name__}.tile").write_text(print_module(m, locs=True), encoding="utf-8")
        if checking:
            _verify_after(m, p.__name__)
    if directory is not None:
        with open(directory / "times.txt", "a", encoding="utf-8") as out:
            out.writelines(times)
    return any_change


def _verify_after(m: Module, name: str) -> None:
    try:
        verify(m)
    except IRError as e:
        raise IRError(f"after {name}: {e}") from e
