"""Remedies as the environment that was looked at can carry them out.

Rules write `python -m pip …`. Which Python a bare `python` is depends on the shell that the command is pasted into, and environments
that uv makes have no pip: `fit` writes the interpreter, and uv in the place of a pip that is not there. A rule that means another Python
(the base of the environment, say) names it, and is left alone.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace

from .facts import Facts
from .rules.model import Finding, Fix

__all__ = ["fit"]

_PIP = re.compile(r"python -m pip (?P<verb>\w+)(?P<rest>.*)", re.DOTALL)


def fit(findings: Sequence[Finding], facts: Facts) -> list[Finding]:
    """The findings with commands for the interpreter of ``facts``; as they are where a log was read, which tells of no interpreter."""
    if facts.log is not None or not facts.interpreter.executable:
        return list(findings)
    return [replace(f, fixes=tuple(replace(fix, commands=_commands(fix, facts)) for fix in f.fixes)) for f in findings]


def _commands(fix: Fix, facts: Facts) -> tuple[str, ...]:
    executable, without = facts.interpreter.executable, facts.interpreter.pip is False

    def word(text: str) -> str:
        return f'"{text}"' if " " in text else text

    with_uv = without and (facts.interpreter.made_by_uv or shutil.which("uv") is not None)
    out: list[str] = []
    for command in fix.commands:
        found = _PIP.fullmatch(command)
        if found is None:
            out.append(command)
        elif with_uv:
            out.append(f"uv pip {found['verb']} {word(f'--python={executable}')}{found['rest']}")
        else:
            if without and (ensure := f"{word(executable)} -m ensurepip") not in out:
                out.append(ensure)
            out.append(f"{word(executable)} -m pip {found['verb']}{found['rest']}")
    return tuple(out)
