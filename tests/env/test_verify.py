"""`anytile verify`: what works, what fails, what crashes and what hangs become rows; nothing of it reaches the process that asks."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from environments import borrow, make_venv, module, site_packages

from anytile.env.facts import Facts, Interpreter, Torch
from anytile.env.verify import workflow
from anytile.env.verify.checks import OPERATIONS, verify
from anytile.env.verify.rows import Row, exit_status
from anytile.env.verify.runner import run_group


@pytest.fixture
def env(tmp_path: Path) -> Path:
    make_venv(tmp_path / "env")
    return tmp_path / "env"


def rows(env: Path, timeout: float = 120) -> dict[str, Row]:
    return {r.title: r for r in verify(str(env), timeout).rows}


def test_an_empty_environment_starts_and_has_no_torch(env: Path) -> None:
    report = verify(str(env))
    assert [(r.title, r.verdict) for r in report.rows] == [
        ("python starts", "passed"),
        ("import torch", "skipped"),
        ("import triton", "skipped"),
    ]
    assert Path(report.facts["python"]["prefix"]).samefile(env)


def test_what_cannot_be_imported_fails_and_stops_what_needs_it(env: Path) -> None:
    module(env, "torch", "raise ImportError('DLL load failed while importing _C')")
    found = rows(env)
    assert found["import torch"].verdict == "failed" and "DLL load failed" in found["import torch"].detail
    assert "Traceback" in found["import torch"].trace
    assert {found[f"torch {name}"].verdict for name in OPERATIONS} == {"skipped"}
    assert exit_status(found.values()) == 1


def test_a_crash_is_a_row_and_the_next_row_is_tried_in_a_new_process(env: Path) -> None:
    module(env, "numpy", "import os; print('last words'); os.abort()")
    module(env, "torch", "import os; os._exit(3)")
    module(env, "xformers", "__version__ = '0.0.29'")
    found = rows(env)
    assert found["import numpy"].verdict == "crashed" and found["import torch"].detail.startswith("exit code 3")
    if os.name == "posix":
        assert "SIGABRT" in found["import numpy"].detail
    assert "last words" in found["import numpy"].trace
    assert found["import xformers"].verdict == "passed" and found["import xformers"].detail == "0.0.29"


def test_xformers_that_goes_on_without_its_extensions(env: Path) -> None:
    """It only warns when a torch of another release is beside it; attention is then gone."""
    source = (
        "import types\nclass xFormersInvalidLibException(Exception): pass\nclass xFormersWasNotBuiltException(Exception): pass\n"
        "e = {0}('built for another torch'); e.__cause__ = OSError('undefined symbol: _ZN3c10')\n"
        "__version__ = '0.0.29'; _cpp_lib = types.SimpleNamespace(_cpp_library_load_exception=e)\n"
    )
    module(env, "xformers", source.format("xFormersInvalidLibException"))
    row = rows(env)["import xformers"]
    assert row.verdict == "failed" and "its compiled extensions cannot be loaded: undefined symbol: _ZN3c10" in row.detail
    module(env, "xformers", source.format("xFormersWasNotBuiltException"))
    row = rows(env)["import xformers"]
    assert row.verdict == "passed" and row.detail == "0.0.29 without compiled extensions"


@pytest.mark.skipif(os.name != "posix", reason="a child that outlives its parent")
def test_a_crash_is_seen_though_a_child_keeps_the_output_open(env: Path) -> None:
    module(env, "numpy", "import os, subprocess; subprocess.Popen(['sleep', '30'], start_new_session=True); os._exit(4)")
    found = rows(env)
    assert found["import numpy"].verdict == "crashed" and found["import numpy"].detail.startswith("exit code 4")


def test_a_hang_ends_with_all_that_it_started(env: Path, tmp_path: Path) -> None:
    note = tmp_path / "child"
    module(
        env,
        "numpy",
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); open({str(note)!r}, 'w').write(str(p.pid))\n"
        "time.sleep(60)",
    )
    module(env, "torchaudio", "__version__ = '1'")
    found = rows(env, timeout=8)  # much for a start of Python on a loaded machine
    assert found["import numpy"].verdict == "timed_out" and found["import numpy"].detail == "no answer in 8 s"
    assert found["import torchaudio"].verdict == "passed"
    if Path("/proc").is_dir():
        state = Path(f"/proc/{note.read_text()}/stat")
        assert not state.exists() or state.read_text().split(")")[1].split()[0] == "Z"


def test_noise_and_exit_at_import(env: Path) -> None:
    module(env, "numpy", "import sys; print('no newline', end=''); sys.stderr.write('{\"end\": 1}\\n')")
    module(env, "torchvision", "import sys; sys.exit('wants a GPU')")
    found = rows(env)
    assert found["import numpy"].verdict == "passed"
    assert found["import torchvision"].verdict == "failed" and found["import torchvision"].detail == "SystemExit: wants a GPU"


def test_the_folder_of_the_worker_hides_nothing(env: Path) -> None:
    """A package of the environment may be called as a file of anytile's is."""
    module(env, "numpy", "import kernels; __version__ = kernels.WHOSE")
    module(env, "kernels", "WHOSE = 'mine'")
    assert rows(env)["import numpy"].detail == "mine"


def test_wrong_results_fail(env: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("needs torch")
    borrow(env)
    module(
        env,
        "sitecustomize",
        "import torch\n"
        "torch.softmax = lambda x, dim, original=torch.softmax: original(x, dim=dim) * (1.01 if x.dtype == torch.float32 else 1)\n",
    )
    python = env / ("Scripts" if os.name == "nt" else "bin") / "python"
    found = {r.name: r for r in run_group(str(python), "torch", "cpu", OPERATIONS, 120, {})}
    assert found["softmax"].verdict == "failed" and "wrong result: off by up to" in found["softmax"].detail
    assert found["vector_add"].verdict == "passed" and found["vector_add"].run is not None


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
def test_kernels_run_by_the_triton_of_the_environment(env: Path) -> None:
    borrow(env)
    python = env / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([python, "-m", "anytile", "enable"], check=True, capture_output=True)
    facts: dict[str, dict[str, str]] = {}
    [triton] = run_group(str(python), "import", None, ["triton"], 120, facts)
    assert triton.verdict == "passed" and facts["triton"]["provider"] == "anytile", triton
    ran = list(run_group(str(python), "triton", "cpu", OPERATIONS, 120, facts))
    assert [r.verdict for r in ran] == ["passed"] * 3, ran


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_without_torch_kernels_run_on_arrays_of_numpy(env: Path) -> None:
    folder = site_packages(env)
    for package in ("numpy", "llvmlite", "filelock", "platformdirs", "packaging", "rich", "anytile"):
        source = Path(importlib.util.find_spec(package).origin)
        source = source.parent if source.name == "__init__.py" else source
        for found in (source, *source.parent.glob(f"{package}.libs")):
            (folder / found.name).symlink_to(found)
    (folder / "sitecustomize.py").write_text("import anytile\nanytile.install()\n")
    found = rows(env)
    assert found["import torch"].verdict == "skipped"
    kernels = {title: row.verdict for title, row in found.items() if title.startswith("triton")}
    assert kernels == {f"triton {name}": "passed" for name in OPERATIONS}, found


def test_exit_status() -> None:
    start, skipped = Row("facts", "python", None, "passed"), Row("compile", "model", "cpu", "skipped")
    assert exit_status([start]) == 0 and exit_status([start, skipped]) == 0 and exit_status([start, skipped], strict=True) == 1
    assert exit_status([start, Row("import", "torch", None, "timed_out")]) == 1
    assert exit_status([Row("facts", "python", None, "crashed")]) == 2 and exit_status([]) == 2


def test_command(env: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "anytile", "verify", *arguments], capture_output=True, text=True, timeout=240, cwd=tmp_path
        )

    answer = run("--python", str(env), "--json")
    document = json.loads(answer.stdout)
    assert answer.returncode == 0 and document["schema"] == 1 and document["ok"] is True
    assert set(document) == {"schema", "python", "facts", "ok", "rows"}
    assert set(document["rows"][0]) == {"group", "name", "device", "verdict", "seconds", "run", "detail", "trace", "title"}
    assert run("--python", str(env), "--strict").returncode == 1
    missing = run("--python", str(tmp_path / "nowhere"))
    assert missing.returncode == 2 and "could not look: there is no" in missing.stderr
    for python in (env / "bin").glob("python*") if os.name == "posix" else [env / "Scripts/python.exe"]:  # python3 alone would be one
        python.unlink()
    assert run("--python", str(env)).returncode == 2


def test_workflow(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    (tmp_path / "requirements.txt").write_text("numpy\ntorch==2.6.0\n")
    text = workflow.github_workflow(tmp_path, workflow.SYSTEMS, ("3.11", "3.12"), ("2.6.0", "2.13.0"))
    job = yaml.safe_load(text)["jobs"]["verify"]
    assert job["strategy"]["matrix"] == {"os": list(workflow.SYSTEMS), "python": ["3.11", "3.12"], "torch": ["2.6.0", "2.13.0"]}
    commands = "\n".join(s.get("run", "") for s in job["steps"])
    assert "anytile verify --json" in commands and "pip install -r others.txt" in commands
    assert all("if" in s for s in job["steps"][3:])
    used = [s["uses"] for s in job["steps"] if "uses" in s]
    assert used and all(re.fullmatch(r"(?:actions/(?:checkout|setup-python|upload-artifact)|ilammy/msvc-dev-cmd)@v\d+", u) for u in used)
    assert set(re.findall(r"\$\{\{\s*matrix\.(\w+)", text)) == set(job["strategy"]["matrix"])
    if bash := shutil.which("bash"):
        for step in job["steps"]:
            script = re.sub(r"\$\{\{.*?\}\}", "x", step.get("run", ""))
            assert subprocess.run([bash, "-n"], input=script, text=True, capture_output=True).stderr == "", step["name"]
    path = tmp_path / ".github" / "workflows" / "environment.yml"
    workflow.write_workflow(path, text, overwrite=False)
    workflow.write_workflow(path, text, overwrite=False)
    with pytest.raises(workflow.WorkflowError, match="is there and differs"):
        workflow.write_workflow(path, text + "#", overwrite=False)


@pytest.mark.parametrize(
    ("systems", "pythons", "torches", "message"),
    [
        (("a b",), ("3.11",), ("2.6.0",), "'a b' is no name of a runner"),
        (("ubuntu-latest",), ("three",), ("2.6.0",), "'three' is no release of Python"),
        (("ubuntu-latest",), ("3.11",), ('2"',), "is no release of torch"),
    ],
)
def test_workflow_refuses_what_is_no_release(
    tmp_path: Path, systems: tuple[str, ...], pythons: tuple[str, ...], torches: tuple[str, ...], message: str
) -> None:
    with pytest.raises(workflow.WorkflowError, match=message):
        workflow.github_workflow(tmp_path, systems, pythons, torches)


def test_workflow_of_this_environment() -> None:
    facts = Facts(interpreter=Interpreter(version="3.12.4"), torch=Torch("2.6.0+cu124", "12.4", None, True, ""))
    assert workflow.pythons_of(facts) == ("3.12", "3.13") and workflow.torch_of(facts) == ("2.6.0",)
    with pytest.raises(workflow.WorkflowError, match="--torch"):
        workflow.torch_of(Facts())
