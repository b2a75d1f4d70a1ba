"""Checks of a GPU in sections, as gpu_check.py and gpu_launch.py have them: each is run even where an earlier one fails."""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main(description: str, sections: Sequence[Callable[[], None]], facts: dict[str, Any], fault: Callable[[str], None]) -> int:
    """Runs the sections that the command line names (all of them if none); the number of those that failed.

    ``facts``: figures that sections note, for ``--out``.  ``--fault NAME`` calls ``fault(NAME)`` instead: what ends a process's use of
    the GPU is run by a section in a process of its own.
    """
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("sections", nargs="*", choices=[[], *(s.__name__ for s in sections)], help="default: all")
    options.add_argument("--out", type=Path, help="file for the figures")
    options.add_argument("--fault", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.fault:
        fault(given.fault)
        return 0
    failed = []
    chosen = [s for s in sections if not given.sections or s.__name__ in given.sections]
    for section in chosen:
        print(f"== {section.__name__.replace('_', ' ')}: {(section.__doc__ or '').strip()}", flush=True)
        start = time.perf_counter()
        try:
            section()
        except Exception:
            traceback.print_exc(file=sys.stdout)
            failed.append(section.__name__)
        print(f"   {time.perf_counter() - start:.1f} s", flush=True)
    facts["failed"] = failed
    print(f"{len(chosen) - len(failed)} of {len(chosen)} sections passed" + (f"; failed: {', '.join(failed)}" if failed else ""))
    if given.out:
        given.out.write_text(json.dumps(facts, indent=1, ensure_ascii=False))
    return len(failed)
