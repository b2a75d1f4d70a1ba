"""Virtual environments for tests of what runs programs in them: real ones, without pip, in a tenth of a second."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import anytile

SCRIPTS = "Scripts" if os.name == "nt" else "bin"
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


def make_venv(folder: Path) -> Path:
    """A virtual environment of the Python that runs the tests; returns its executable."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, capture_output=True)
    return folder / SCRIPTS / ("python.exe" if os.name == "nt" else "python")


def site_packages(folder: Path) -> Path:
    """Its site-packages."""
    return folder / "Lib" / "site-packages" if os.name == "nt" else folder / f"lib/python{MINOR}/site-packages"


def module(folder: Path, name: str, source: str) -> None:
    """Puts a package of one file into the environment ``folder``."""
    (site_packages(folder) / name).mkdir(exist_ok=True)
    (site_packages(folder) / name / "__init__.py").write_text(source, encoding="utf-8")


def borrow(folder: Path) -> None:
    """Lets the environment see what is installed for the tests (torch, NumPy, llvmlite) and this anytile."""
    own = Path(anytile.__file__).parent.parent
    (site_packages(folder) / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n{own}\n", encoding="utf-8")
