"""A target for tests of the runtime: it compiles any module to its text and records launches."""

from __future__ import annotations

from typing import Any

from anytile.targets.base import Artifact


class FakeLoaded:
    def __init__(self, metadata: dict[str, Any]):
        self.metadata = metadata
        self.launches: list[tuple[bytes, int, int, int]] = []

    def run(self, packed: bytes, gx: int, gy: int, gz: int) -> None:
        self.launches.append((packed, gx, gy, gz))


class FakeTarget:
    """``compiled`` counts compilations; every module is an empty kernel."""

    name = "fake"

    def __init__(self) -> None:
        self.compiled = 0

    def fingerprint(self) -> str:
        return "fake 1"

    def compile(self, module: Any, options: Any) -> Artifact:
        self.compiled += 1
        return Artifact({"tile": str(module), "obj": b"\x00" * 64}, {})

    def load(self, artifact: Artifact) -> FakeLoaded:
        return FakeLoaded(artifact.metadata)
