#!/usr/bin/env python3
"""Records the metadata that the requests of tests/env/lock_cases.py look at, from the package index, into tests/env/data/lock_index.json.

    python scripts/lock_record.py

The index of torch's own builds is not asked: what it lists is written down in tests/env/data/lock_pytorch.json, with where it was
found, and the metadata of its wheels is that of the same release on PyPI, which differs in the local version only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "env"), str(ROOT / "src")]

from lock_cases import CASES  # noqa: E402
from lock_index import DATA, RecordedIndex  # noqa: E402

from anytile.env.lock.index import PYPI, Index  # noqa: E402

_HOST = "https://files.pythonhosted.org/"


class Recorder(RecordedIndex):
    """Answers from PyPI, and keeps what was asked for."""

    def __init__(self, pytorch: dict[str, Any]) -> None:
        super().__init__({"files": {}, "metadata": {}, "pytorch": pytorch})
        self.index = Index(PYPI)
        self.all: dict[str, list[list[str]]] = {}

    def files(self, name: str) -> list[list[str]] | None:
        name = canonicalize_name(name)
        if name not in self.all:
            self.all[name] = [[f.name, f.url.removeprefix(_HOST), f.sha256 or ""] for f in self.index.files(name) if not f.yanked]
        return self.all[name] or None

    def _metadata(self, filename: str) -> tuple[str, bytes] | None:
        name, version, _, _ = parse_wheel_filename(filename)
        key = f"{name} {version.public}"
        if key not in self.data["metadata"]:
            self.files(name)
            file = next((f for f in self.index.files(name) if f.name == filename), None)
            file = file or next(f for f in self.index.files(name) if f.version.public == version.public)
            message = self.index.metadata(file)
            lines = [f"Requires-Python: {message['Requires-Python']}"] if message["Requires-Python"] else []
            lines += [f"Requires-Dist: {' '.join(r.split())}" for r in message.get_all("Requires-Dist") or ()]
            lines += [f"Provides-Extra: {e}" for e in message.get_all("Provides-Extra") or ()]
            self.data["metadata"][key] = lines
        return super()._metadata(filename)

    def finish(self) -> dict[str, Any]:
        """What was looked at: wheels of the releases whose metadata was read, for the systems that requests name."""
        asked: dict[str, set[str]] = {}
        for text in [
            *(p for c in CASES for p in c.packages),
            *(x[15:] for lines in self.data["metadata"].values() for x in lines if x.startswith("Requires-Dist")),
        ]:
            requirement = Requirement(text)
            asked.setdefault(canonicalize_name(requirement.name), set()).update(requirement.extras)
        for key, lines in self.data["metadata"].items():
            extras = asked.get(key.split()[0], set())
            kept = [
                x
                for x in lines
                if not x.startswith("Requires-Dist") or "extra" not in x or any(f"'{e}'" in x or f'"{e}"' in x for e in extras)
            ]
            self.data["metadata"][key] = [x for x in kept if not x.startswith("Provides-Extra") or x[16:] in extras]
        for name, files in sorted(self.all.items()):
            kept = [f for f in files if f"{name} {parse_wheel_filename(f[0])[1].public}" in self.data["metadata"] and self._wanted(f[0])]
            if kept:
                self.data["files"][name] = kept
        self.data["metadata"] = dict(sorted(self.data["metadata"].items()))
        return self.data

    @staticmethod
    def _wanted(filename: str) -> bool:
        tail = filename.removesuffix(".whl")
        python = tail.split("-")[-3]
        fits = python.startswith(("py3", "py2.py3")) or python in ("cp311", "cp312") or "abi3" in tail
        return (
            fits
            and tail.endswith(("any", "manylinux1_x86_64", "x86_64", "aarch64", "win_amd64", "arm64", "universal2"))
            and "musllinux" not in tail
        )


def main() -> None:
    pytorch = json.loads((DATA.parent / "lock_pytorch.json").read_text(encoding="utf-8"))["builds"]
    recorder = Recorder(pytorch)
    mirrors = [word for m in recorder.mirrors for word in ("--mirror", m)]
    for case in [c for c in CASES if c.name in sys.argv[1:] or len(sys.argv) == 1]:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "anytile", "lock", *case.packages, *case.options, *mirrors, "--no-look-inside"]
            environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "UV_NO_CACHE": "1"}
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
            print(
                f"{case.name}: exit {done.returncode}",
                done.stderr.strip()[-2000:] if done.returncode != bool(case.error) else "",
                flush=True,
            )
    data = recorder.finish()
    DATA.write_text(json.dumps(data, indent=0, sort_keys=True).replace("\n[\n", "\n[") + "\n", encoding="utf-8")
    print(f"wrote {DATA}: {DATA.stat().st_size / 1e3:.0f} kB, {len(data['metadata'])} releases of {len(data['files'])} packages")


if __name__ == "__main__":
    main()
