"""Broken → doctor → rebuild → verify, by the commands a user types.

The small story runs always: a package compiled for another Python. The large ones, of genuine wheels, are scripts/stories.py, which
this file runs too where ANYTILE_THOROUGH=1; their last result is bench/results/stories.jsonl.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from environments import make_venv, site_packages

ROOT = Path(__file__).parents[2]


def anytile(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "anytile", *arguments], cwd=project, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )


def install(site: Path, tag: str, files: dict[str, str]) -> None:
    """What a wheel of xformers 0.0.1 with these files leaves behind."""
    info = "xformers-0.0.1.dist-info"
    files = {
        **files,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: xformers\nVersion: 0.0.1\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)


@pytest.mark.skipif(sys.platform != "linux", reason="the tags of Linux")
def test_a_package_compiled_for_another_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    project = tmp_path / "project"
    project.mkdir()
    make_venv(project / ".venv")
    compiled = {"xformers/__init__.py": "from . import _kernels\n", "xformers/_kernels.cpython-38-x86_64-linux-gnu.so": ""}
    install(site_packages(project / ".venv"), "cp38-cp38-manylinux1_x86_64", compiled)

    broken = json.loads(anytile(project, "verify", "--python", ".venv", "--json").stdout)
    row = next(r for r in broken["rows"] if r["title"] == "import xformers")
    assert row["verdict"] == "failed" and "cannot import name '_kernels'" in row["detail"]

    found = json.loads(anytile(project, "doctor", "--python", ".venv", "--json").stdout)["findings"][0]
    assert found["cause"] == "win_wrong_wheel_or_stale_venv" and "compiled for cp38" in found["evidence"][0]["text"]

    (project / "wheels").mkdir()
    install(tmp_path / "good", "py3-none-any", {"xformers/__init__.py": "__version__ = '0.0.1'\n"})
    with zipfile.ZipFile(project / "wheels" / "xformers-0.0.1-py3-none-any.whl", "w") as wheel:
        for file in sorted((tmp_path / "good").rglob("*")):
            if file.is_file():
                wheel.write(file, file.relative_to(tmp_path / "good"))
    (project / "requirements.txt").write_text("--no-index\n--find-links wheels\nxformers==0.0.1\n")

    rebuilt = anytile(project, "rebuild", "--yes")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert {p.name for p in project.iterdir()} == {".venv", "requirements.txt", "wheels"}

    green = anytile(project, "verify", "--python", ".venv")
    assert green.returncode == 0 and "import xformers" in green.stdout, green.stdout
    causes = [f["cause"] for f in json.loads(anytile(project, "doctor", "--python", ".venv", "--json").stdout)["findings"]]
    assert found["cause"] not in causes


@pytest.mark.skipif(os.environ.get("ANYTILE_THOROUGH") != "1", reason="half an hour and 300 MB; set ANYTILE_THOROUGH=1")
@pytest.mark.parametrize("story", ["linux", "windows-skew", "windows-runtime"])
def test_genuine_wheels(story: str) -> None:
    answer = subprocess.run([sys.executable, ROOT / "scripts" / "stories.py", story], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
