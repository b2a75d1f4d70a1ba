"""``ANYTILE_DUMP=DIR``: every stage of every compilation as files, to read what a kernel became."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .compiler import CompiledKernel

__all__ = ["dump_artifact"]

_SUFFIXES = {"tile": ".tile", "llir": ".ll", "asm": ".s", "obj": ".o"}


def dump_artifact(root: Path, kernel: CompiledKernel) -> Path:
    """Writes ``root/<name>-<hash>/``: one file per stage numbered in the order made, ``source.py``,
    ``metadata.json`` and ``timings.txt``.  Returns the directory.  Raises OSError where it cannot be written:
    who asks for a dump wants to know.
    """
    folder = root / f"{kernel.name}-{kernel.hash[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    for number, (stage, content) in enumerate(kernel.artifact.stages.items()):
        suffix = _SUFFIXES.get(stage.split("_")[0], ".txt" if isinstance(content, str) else ".bin")
        path = folder / f"{number}-{stage}{suffix}"
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            path.write_bytes(content)
    if kernel.fn is not None:
        (folder / "source.py").write_text(kernel.fn.src, encoding="utf-8")
    (folder / "metadata.json").write_text(json.dumps(kernel.artifact.metadata, indent=1, default=str))
    width = max(map(len, kernel.timings), default=0)
    lines = [f"{name:{width}}  {seconds * 1e3:9.3f} ms\n" for name, seconds in kernel.timings.items()]
    (folder / "timings.txt").write_text("".join(lines), encoding="utf-8")
    return folder
