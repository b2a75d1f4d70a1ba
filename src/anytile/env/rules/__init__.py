"""Every rule, in families: one file each. A new rule goes into the `RULES` of its family; nothing else is to be told of it."""

from __future__ import annotations

from . import companions, gpu, installation, linux, skew, windows
from .model import Rule

__all__ = ["RULES"]

RULES: tuple[Rule, ...] = (*skew.RULES, *windows.RULES, *linux.RULES, *gpu.RULES, *companions.RULES, *installation.RULES)
