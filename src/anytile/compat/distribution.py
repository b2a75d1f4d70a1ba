"""The distribution "triton" that `importlib.metadata` finds: name, version and one top-level package, no files."""

from importlib.metadata import Distribution
from os import PathLike
from pathlib import Path

from .level import current

__all__ = ["TritonDistribution"]


class TritonDistribution(Distribution):
    """So `importlib.metadata.version("triton")` says what `triton.__version__` says."""

    def read_text(self, filename: "str | PathLike[str]") -> "str | None":
        if str(filename) in ("METADATA", "PKG-INFO"):
            return f"Metadata-Version: 2.1\nName: triton\nVersion: {current().version}\nSummary: The Triton API, served by anytile\n"
        if str(filename) == "top_level.txt":
            return "triton\n"
        if str(filename) == "INSTALLER":
            return "anytile\n"
        return None

    def locate_file(self, path: "str | PathLike[str]") -> Path:
        return Path(__file__).parent / path
