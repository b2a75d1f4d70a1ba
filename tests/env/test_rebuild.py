"""`anytile rebuild`: what is planned, what is built, what stops it, and that the old environment is there whenever it stops."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from environments import SCRIPTS, make_venv, site_packages

from anytile.env.rebuild import steps
from anytile.env.rebuild.caches import purge, purges
from anytile.env.rebuild.errors import BuildFailed, CannotRebuild, RebuildError, VerificationFailed
from anytile.env.rebuild.journal import Journal, journal_path
from anytile.env.rebuild.plan import Command, Plan, executable_of, find_target, make_plan
from anytile.env.rebuild.relocate import broken_scripts, fresh_name, relocate
from anytile.env.verify.rows import Row

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX paths and signals")


class Notes:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.rows: list[Row] = []

    def step(self, number: int, text: str) -> None:
        self.steps.append(text)

    def line(self, text: str) -> None: ...

    def row(self, row: Row) -> None:
        self.rows.append(row)


def wheel(folder: Path, name: str, version: str, source: str) -> None:
    """A wheel with one module and one console script of the same name."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as z:
        record = ""
        for path, text in files.items():
            z.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
            record += f"{path},sha256={digest},{len(text)}\n"
        z.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a requirements file, wheels beside it, caches of its own and an old environment without the package."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / ".cache"))
    for variable in ("TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "PIP_CACHE_DIR", "UV_CACHE_DIR", "POETRY_CACHE_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / "home" / variable.lower()))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setattr(os, "sync", lambda: None, raising=False)
    root = tmp_path / "project"
    root.mkdir()
    for version in ("1.0", "2.0"):
        wheel(root / "wheels", "tiny", version, f"import sys\ndef main():\n    print('tiny {version}', sys.prefix)\n")
    (root / "requirements.txt").write_text("--no-index\n--find-links wheels\ntiny==2.0\n")
    make_venv(root / ".venv")
    (root / ".venv" / "old").write_text("")
    monkeypatch.chdir(root)
    return root


def quick(plan: Plan) -> Plan:
    """The same plan with the pip of the tests: putting pip itself into an environment takes most of the time of a small one."""
    pytest.importorskip("pip")  # uv's environments have none
    install = (sys.executable, "-m", "pip", "--python", executable_of(plan.fresh), *plan.build[1].arguments[3:])
    return replace(plan, build=(Command((plan.python, "-m", "venv", "--without-pip", plan.fresh)), Command(install)))


def tiny(project: Path) -> str:
    """What the console script in the environment says."""
    said = subprocess.run([project / ".venv" / SCRIPTS / "tiny"], check=True, capture_output=True, text=True).stdout
    assert said.rstrip().endswith(str(project / ".venv"))
    return said.split(str(project))[0].strip()


def names(project: Path) -> set[str]:
    return {p.name for p in project.iterdir()}


@posix
def test_pip_builds_and_the_console_script_runs_at_the_final_place(project: Path) -> None:
    before = names(project)
    watcher = Notes()
    steps.begin(make_plan(None, project), watcher)
    assert tiny(project) == "tiny 2.0" and not (project / ".venv" / "old").exists() and names(project) == before
    assert len(watcher.steps) == len(steps.STEPS) and [r.title for r in watcher.rows][0] == "python starts"
    text = (project / ".venv" / "bin" / "tiny").read_bytes()
    record = next(site_packages(project / ".venv").glob("tiny-2.0.dist-info/RECORD")).read_text()
    assert base64.urlsafe_b64encode(hashlib.sha256(text).digest()).decode().rstrip("=") in record
    assert (
        ".ven~" not in (project / ".venv" / "bin" / "activate").read_text() and "(project)" in (project / ".venv/bin/activate").read_text()
    )


@posix
def test_the_old_one_can_be_kept_and_taken_back(project: Path) -> None:
    plan = quick(make_plan(None, project, keep_old=True, keep_caches=True))
    steps.begin(plan, Notes(), check=False)
    assert tiny(project) == "tiny 2.0" and (Path(plan.old) / "old").exists()
    with pytest.raises(CannotRebuild, match="the old environment was kept at"):
        steps.resume(project / ".venv", Notes())
    assert steps.roll_back(project / ".venv", Notes())
    assert (project / ".venv" / "old").exists() and not journal_path(project / ".venv").exists()


@posix
def test_a_tool_that_fails_leaves_the_old_environment(project: Path) -> None:
    (project / "requirements.txt").write_text("--no-index\n--find-links wheels\ntiny==3.0\n")
    with pytest.raises(BuildFailed, match="No matching distribution found for tiny==3.0") as caught:
        steps.begin(quick(make_plan(None, project, keep_caches=True)), Notes())
    assert "the old environment is as it was" in str(caught.value) and (project / ".venv" / "old").exists()
    with pytest.raises(CannotRebuild, match="--resume to finish it or --rollback to undo it"):
        steps.begin(quick(make_plan(None, project, keep_caches=True)), Notes())
    (project / "requirements.txt").write_text("--no-index\n--find-links wheels\ntiny==1.0\n")
    steps.resume(project / ".venv", Notes(), check=False)
    assert tiny(project) == "tiny 1.0"


@posix
def test_an_environment_that_does_not_work_does_not_take_the_place(project: Path) -> None:
    wheel(project / "wheels", "xformers", "0.0.1", "raise ImportError('DLL load failed')\n")
    (project / "requirements.txt").write_text("--no-index\n--find-links wheels\nxformers==0.0.1\n")
    plan = quick(make_plan(None, project, keep_caches=True))
    with pytest.raises(VerificationFailed, match=r"import xformers: failed, ImportError: DLL load failed"):
        steps.begin(plan, Notes())
    assert (project / ".venv" / "old").exists() and Path(plan.fresh).exists()
    assert steps.roll_back(project / ".venv", Notes())
    assert (project / ".venv" / "old").exists() and not Path(plan.fresh).exists()


@posix
def test_what_fails_at_the_final_place_is_put_back(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "relocate", lambda fresh, target: [])
    with pytest.raises(RebuildError, match="so the old one was put back"):
        steps.begin(quick(make_plan(None, project, keep_caches=True)), Notes(), check=False)
    assert (project / ".venv" / "old").exists()
    assert steps.roll_back(project / ".venv", Notes())
    assert names(project) == {".venv", "wheels", "requirements.txt"}


@posix
@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv")
@pytest.mark.parametrize("kind", ["requirements", "project"])
def test_uv(project: Path, kind: str) -> None:
    if kind == "project":
        (project / "requirements.txt").unlink()
        (project / "pyproject.toml").write_text(
            '[project]\nname = "p"\nversion = "0"\nrequires-python = ">=3.10"\ndependencies = ["tiny==2.0"]\n'
            '[tool.uv]\nno-index = true\nfind-links = ["wheels"]\npackage = false\n'
        )
        subprocess.run(["uv", "lock", "--offline"], check=True, capture_output=True, cwd=project)
    plan = make_plan(None, project, tool="uv", keep_caches=True)
    assert plan.files == (str(project / ("uv.lock" if kind == "project" else "requirements.txt")),)
    steps.begin(plan, Notes(), check=False)
    assert tiny(project) == "tiny 2.0"


@posix
@pytest.mark.skipif(shutil.which("poetry") is None, reason="needs Poetry")
def test_poetry(project: Path) -> None:
    (project / "requirements.txt").unlink()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "0"\nrequires-python = ">=3.10"\ndependencies = []\n[tool.poetry]\npackage-mode = false\n'
        '[tool.poetry.dependencies]\ntiny = {path = "wheels/tiny-2.0-py3-none-any.whl"}\n'
    )
    subprocess.run(["poetry", "lock"], check=True, capture_output=True, cwd=project)
    plan = make_plan(None, project, keep_caches=True)
    assert plan.tool == "poetry" and plan.files == (str(project / "poetry.lock"),)
    steps.begin(plan, Notes(), check=False)
    assert tiny(project) == "tiny 2.0"


def test_which_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "active"))
    assert find_target(None, tmp_path) == tmp_path / "active"
    make_venv(tmp_path / "venv")
    assert find_target(None, tmp_path) == tmp_path / "venv"
    assert find_target(str(tmp_path / "venv" / SCRIPTS / ("python.exe" if os.name == "nt" else "python")), tmp_path) == tmp_path / "venv"
    (tmp_path / "conda" / "conda-meta").mkdir(parents=True)
    with pytest.raises(CannotRebuild, match="conda env create"):
        find_target(str(tmp_path / "conda"), tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(CannotRebuild, match="is no virtual environment"):
        find_target(str(tmp_path / "photos"), tmp_path)
    with pytest.raises(CannotRebuild, match="there is no folder"):
        find_target(str(tmp_path / "no" / "where"), tmp_path)


def test_what_it_is_built_from(project: Path) -> None:
    plan = make_plan(None, project, keep_caches=True, extra=("--pre",))
    assert plan.tool == "pip" and plan.build[-1].arguments[-1] == "--pre" and len(plan.fresh) == len(plan.target)
    assert Plan.from_json(json.loads(json.dumps(plan.as_json()))) == plan
    switch = ("-m", "anytile", "enable")
    assert make_plan(None, project, keep_caches=True, enable=True).build[-1].arguments[1:] == switch
    (site_packages(project / ".venv") / "anytile-triton.pth").write_text("")
    assert make_plan(None, project, keep_caches=True).build[-1].arguments[1:] == switch
    with pytest.raises(CannotRebuild, match="there is no .*others.txt"):
        make_plan(None, project, requirements=["others.txt"])
    with pytest.raises(CannotRebuild, match="only poetry, uv, pip"):
        make_plan(None, project, tool="conda")
    with pytest.raises(CannotRebuild, match="there is no Python python9"):
        make_plan(None, project, python="python9")
    with pytest.raises(CannotRebuild, match="belongs to the environment that is to be replaced"):
        make_plan(None, project, python=str(project / ".venv" / SCRIPTS / ("python.exe" if os.name == "nt" else "python")))
    (project / "requirements.txt").unlink()
    with pytest.raises(CannotRebuild, match="anytile lock"):
        make_plan(None, project)


def test_the_python_that_is_gone(project: Path) -> None:
    config = project / ".venv" / "pyvenv.cfg"
    config.write_text("home = /opt/gone/bin\nversion = 3.11.1\n")
    with pytest.raises(CannotRebuild, match=r"is gone from .*; give another with --python"):
        make_plan(None, project)


def test_caches_are_measured_and_those_that_are_none_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = project.parent / "home"
    for name, size in (("triton_cache_dir/ab", 100), ("pip_cache_dir/http-v2", 10), ("pip_cache_dir/other", 5), ("uv_cache_dir", 7)):
        (home / name).mkdir(parents=True)
        (home / name / "f").write_bytes(b"x" * size)
    plan = make_plan(None, project)
    assert [(p.kind, p.bytes) for p in plan.purge] == [("triton", 100), ("pip", 10)]
    assert [p.kind for p in make_plan(None, project, keep_downloads=True).purge] == ["triton"]
    assert make_plan(None, project, keep_caches=True).purge == ()
    for place in (project, project.parent, home):
        monkeypatch.setenv("TRITON_CACHE_DIR", str(place))
        with pytest.raises(CannotRebuild, match="triton cache is set to"):
            purges(("triton",), {}, (project,))
    (home / "notes" / ".git").mkdir(parents=True)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(home / "notes"))
    with pytest.raises(CannotRebuild, match=r"holds \.git and so is no cache"):
        purges(("triton",), {}, (project,))
    purge(home / "pip_cache_dir" / "http-v2", "7")
    assert not (home / "pip_cache_dir" / "http-v2").exists() and (home / "pip_cache_dir" / "other").exists()


def test_relocation_of_every_spelling(tmp_path: Path) -> None:
    fresh, final = tmp_path / ".ven~", tmp_path / ".venv"
    (fresh / "Scripts").mkdir(parents=True)
    files = {"tool.exe": lambda p: b"MZ\0" + str(p).encode() + b"\0PK", "wide.exe": lambda p: b"MZ" + str(p).encode("utf-16-le")}
    for name, content in files.items():
        (fresh / "Scripts" / name).write_bytes(content(fresh))
    (fresh / "pyvenv.cfg").write_text(f"command = python -m venv {fresh}\n")
    assert len(relocate(fresh, final)) == 3
    for name, content in files.items():
        assert (fresh / "Scripts" / name).read_bytes() == content(final)
    assert relocate(fresh, final) == [] and str(fresh) not in (fresh / "pyvenv.cfg").read_text()


@posix
def test_broken_scripts_are_named(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name, first in (("gone", "#!/no/such/python"), ("stale", f"#!{tmp_path}/.ven~/bin/python"), ("fine", "#!/bin/sh")):
        (tmp_path / ".venv" / "bin" / name).write_text(first + "\n")
    (tmp_path / ".venv" / "bin" / "python").symlink_to("/no/such/python")
    wrong = broken_scripts(tmp_path / ".venv", tmp_path / ".ven~")
    assert [Path(w.split(" ")[0]).name for w in wrong] == ["gone", "python", "stale"]


def test_a_name_of_the_same_length_is_found(tmp_path: Path) -> None:
    assert fresh_name(tmp_path / ".venv") == tmp_path / ".ven~"
    (tmp_path / ".ven~").mkdir()
    assert fresh_name(tmp_path / ".venv") == tmp_path / ".ven_"
    assert fresh_name(tmp_path / "e").name == "_" or fresh_name(tmp_path / "e").name == "~"


def test_a_journal_that_is_none(tmp_path: Path) -> None:
    path = journal_path(tmp_path / ".venv")
    with pytest.raises(CannotRebuild, match="there is no unfinished rebuild here"):
        Journal.read(path)
    for text in ("", "{}\n", "no json\n", '{"step": "planned", "plan"'):
        path.write_text(text)
        with pytest.raises(CannotRebuild, match="is no journal of a rebuild"):
            Journal.read(path)
    path.write_text('{"step": "planned", "plan": {"number": "1"}}\n')
    with pytest.raises(CannotRebuild, match="another version of anytile"):
        Plan.from_json(Journal.read(path).plan)


@posix
def test_two_at_once(project: Path) -> None:
    with steps.locked(project / ".venv"):
        holder = "from anytile.env.rebuild import steps; from pathlib import Path\nwith steps.locked(Path('.venv')): pass"
        answer = subprocess.run([sys.executable, "-c", holder], capture_output=True, text=True, cwd=project, timeout=60)
    assert "another process is rebuilding" in answer.stderr


def command(project: Path, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-m", "anytile", "rebuild", *arguments], capture_output=True, text=True, timeout=400, cwd=project, **options
    )


@posix
def test_command(project: Path) -> None:
    shown = command(project, "--dry-run", env={**os.environ, "COLUMNS": "400"})
    assert shown.returncode == 0 and "requirements.txt with pip" in shown.stdout
    unasked = command(project, stdin=subprocess.DEVNULL)
    assert unasked.returncode == 2 and "give --yes" in unasked.stderr
    assert command(project, "--resume").returncode == 2 and command(project, "--resume", "--rollback").returncode == 2
    assert (project / ".venv" / "old").exists()


@posix
def test_ctrl_c_loses_nothing(project: Path) -> None:
    """An interrupt while the tool runs ends the tool; both ways on are open."""
    slow = project / "bin" / "uv"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nmkdir -p .ven~ && touch .ven~/begun && exec sleep 60\n")
    slow.chmod(0o755)
    running = subprocess.Popen(
        [sys.executable, "-m", "anytile", "rebuild", "--yes", "--keep-caches", "--tool", "uv"],
        cwd=project,
        env={**os.environ, "PATH": f"{slow.parent}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for _ in range(900):
        if (project / ".ven~" / "begun").exists():
            break
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=60)[0]
    assert running.returncode == 130 and "--resume goes on, --rollback goes back" in said
    back = command(project, "--rollback")
    assert back.returncode == 0 and (project / ".venv" / "old").exists() and not (project / ".ven~").exists()


@pytest.mark.parametrize("tool", ["uv", "poetry"])
def test_a_lock_file_older_than_the_project_is_written_first(project: Path, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anytile.env.rebuild.plan.shutil.which", lambda name: f"/opt/bin/{name}")
    (project / "pyproject.toml").write_text('[project]\nname = "p"\n')
    lock = project / f"{tool}.lock"
    lock.write_text("")
    os.utime(project / "pyproject.toml", (1, 1))
    fresh = make_plan(None, project, tool=tool, keep_caches=True)
    assert fresh.files == (str(lock),) and ("--locked" in fresh.build[-1].arguments) == (tool == "uv")
    os.utime(lock, (0, 0))
    stale = make_plan(None, project, tool=tool, keep_caches=True)
    assert stale.files == (str(project / "pyproject.toml"),) and "--locked" not in stale.build[-1].arguments
    assert any(c.arguments[1] == "lock" for c in stale.build) == (tool == "poetry")


def test_one_rebuild_at_a_time_and_no_file_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for _ in range(2):
        with steps.locked(tmp_path / ".venv"):
            with pytest.raises(CannotRebuild, match="another process is rebuilding"), steps.locked(tmp_path / ".venv"):
                pass
            with steps.locked(tmp_path / "other"):
                assert len(list(tmp_path.iterdir())) == 2
    assert os.name != "posix" or not list(tmp_path.iterdir())
