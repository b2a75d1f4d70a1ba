"""Wheels of torch and Triton by version, through pip or uv, where the user asked for a version that is not installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from .sources import LookError

__all__ = ["download", "in_range"]

_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64")


def _pip() -> list[str]:
    """The pip of this interpreter, or one that is on the path.  LookError where there is none."""
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if found := shutil.which("pip") or shutil.which("pip3"):
        return [found]
    if uvx := shutil.which("uvx"):
        return [uvx, "pip"]
    raise LookError("downloading a wheel needs pip or uv, and neither is here; install pip, or give the path of a wheel")


def _run(arguments: list[str], what: str) -> str:
    try:
        done = subprocess.run([*_pip(), *arguments], capture_output=True, text=True, errors="replace", timeout=1800)
    except subprocess.TimeoutExpired as e:
        raise LookError(f"{what} could not be downloaded in half an hour; give the path of a wheel") from e
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:]
        raise LookError(
            f"{what} could not be had from the package index: {' '.join(said)[:300]}; "
            "check the version and the network, or give the path of a wheel or of a folder"
        )
    return done.stdout


def download(package: str, version: str, folder: Path) -> Path:
    """The Linux wheel of ``package`` ``version`` in ``folder``; LookError says why there is none.

    A wheel's Python files are the same for every Python: one for this Python, or for one that most releases had a wheel for.
    """
    platforms = [part for p in _PLATFORMS for part in ("--platform", p)]
    errors: list[LookError] = []
    for python in dict.fromkeys((f"{sys.version_info[0]}.{sys.version_info[1]}", "3.11", "3.13")):
        try:
            return _wheel(package, version, folder, platforms, python)
        except LookError as e:
            errors.append(e)
    raise errors[0]


def _wheel(package: str, version: str, folder: Path, platforms: list[str], python: str) -> Path:
    _run(
        ["download", "-q", "--no-deps", "--only-binary=:all:", "--python-version", python]
        + [*platforms, "-d", str(folder), f"{package}=={version}"],
        f"{package} {version}",
    )
    wheels = sorted(folder.glob(f"{package}-*.whl"))
    if not wheels:
        raise LookError(f"{package} {version} was downloaded and no wheel of it is in {folder}; give the path of a wheel")
    return wheels[-1]


def in_range(package: str, specifier: str) -> list[str]:
    """The newest patch release of each minor release of ``package`` in a range such as ">=2.9,<2.13", oldest first."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import Version

    try:
        wanted = SpecifierSet(specifier)
    except InvalidSpecifier as e:
        raise LookError(f"{specifier!r} is no version, no range such as '>=2.9,<2.13', and no file; give one of them") from e
    listed = _run(["index", "versions", package], f"the list of {package}'s releases")
    found = re.search(r"Available versions: (.*)", listed)
    newest: dict[tuple[int, ...], Version] = {}
    for text in found[1].split(", ") if found else ():
        version = Version(text.strip())
        if version in wanted:
            minor = version.release[:2]
            newest[minor] = max(newest.get(minor, version), version)
    if not newest:
        raise LookError(f"no release of {package} is in {specifier!r}; `pip index versions {package}` lists them")
    return [str(newest[minor]) for minor in sorted(newest)]
