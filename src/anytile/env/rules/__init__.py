"""Every rule, in families: one file each. A new rule goes into the `RULES` of its family; nothing else is to be told of it."""

from __future__ import annotations

from dataclasses import replace

from . import companions, gpu, installation, linux, skew, windows
from .model import Rule
from .told import TOLD

__all__ = ["RULES"]

_OF_PROGRAMS = (*skew.RULES, *windows.RULES, *linux.RULES, *gpu.RULES, *companions.RULES, *installation.RULES)
RULES: tuple[Rule, ...] = tuple(replace(rule, clues=(*rule.clues, *TOLD.get(rule.cause, ()))) for rule in _OF_PROGRAMS)
