"""A kernel as object code for programs without Python: `triton.tools.compile` and AOTInductor's models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ...errors import UnsupportedError
from ...llvm import engine, softfloat
from ..base import Artifact
from .driver import lower_for_any_grid
from .machine import Machine, named

__all__ = ["object_code", "without_permissions"]


def without_permissions(machine: Machine) -> Machine:
    """``machine`` as any process may use it.  AMX needs a permission that only this process has, so others get the row below."""
    if not machine.has("amx-tile"):
        return machine
    return replace(named("avx512bf16"), features=frozenset(f for f in machine.features if not f.startswith("amx")))


def refuse(artifact: Artifact, what: Mapping[str, str], where: str) -> None:
    """UnsupportedError where the kernel reports to Python by one of ``what``: function of the language → table of the metadata."""
    for function, table in what.items():
        if artifact.metadata.get(table):
            raise UnsupportedError(
                f"tl.{function} in {artifact.metadata['name']}", f"{where}, which has no Python to report to", "remove it"
            )


def object_code(artifact: Artifact, machine: Machine, symbol: str, more: str = "") -> tuple[bytes, int]:
    """(object code whose kernel is called ``symbol``, bytes of scratch); ``more``: LLVM text to compile with it, whose functions
    are then what others call: libraries that are loaded for everybody (RTLD_GLOBAL) would else take each other's kernels.

    ``artifact`` was compiled for ``machine`` without a pool's split loops.
    """
    if "programs" in artifact.metadata:  # there is no pool that would look at the grid
        artifact = lower_for_any_grid(artifact, machine)
    text = str(artifact.stages["llir"]).replace("@kernel(", f"@{symbol}(")
    text = text.replace("define void @kernel_in_launch(", "define internal void @kernel_in_launch(")  # only the pool calls that
    for given in re.findall(r"^define .*?(@[\w.]+)\(", more, flags=re.M):  # what is defined must not be declared, too
        text = re.sub(rf"^declare .*{re.escape(given)}\(.*\n", "", text, flags=re.M)
    for line in re.findall(r"^declare .*\n", more, flags=re.M):
        more = more.replace(line, "") if line in text else more
    if more:
        text = text.replace(f"define void @{symbol}(", f"define hidden void @{symbol}(")
    text += more

    def compile(text: str) -> bytes:
        return engine.compile_object(text, machine.tune, machine.features, level="lite")

    code = compile(text)
    if softfloat.symbols_for(code):  # conversions that this CPU lacks: weak copies, for the program may have them
        code = compile(text + re.sub(r"^define (?!internal)", "define weak hidden ", softfloat.TEXT, flags=re.M))
    return code, int(artifact.metadata["scratch"])
