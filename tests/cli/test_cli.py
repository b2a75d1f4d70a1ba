"""The `anytile` command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import anytile
from anytile.cli import app


def command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "anytile", *arguments], capture_output=True, text=True, timeout=120)


def test_help_names_every_command_and_is_quick():
    before = os.times()
    done = command("--help")
    after = os.times()
    assert done.returncode == 0
    for name in ("run", "enable", "disable", "status", "cache", "inspect", "version"):
        assert f"  {name} " in done.stdout
    # Time of the processor, not of the clock: the machine may be busy with something else.
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.4


def test_help_is_not_cut_off_at_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    commands = command("--help").stdout.partition("Commands:")[2]
    assert "verify" in commands and "..." not in commands and "…" not in commands
    assert max(map(len, command("run", "--help").stdout.splitlines())) <= 80


def test_every_command_answers_where_compiled_files_cannot_be_loaded(tmp_path, monkeypatch):
    """That they cannot be loaded is what the doctor may have been asked about, and rebuild is there to mend."""
    for name in ("pydantic_core", "numpy", "torch", "llvmlite", "yaml"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f'raise ImportError("DLL load failed while importing _{name}: not found")\n')
    for name in ("typer", "click", "pydantic"):
        (tmp_path / f"{name}.py").write_text("import pydantic_core\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "log.txt").write_text("ImportError: DLL load failed while importing libtriton: The specified module could not be found.\n")
    done = command("doctor", "--json", "--log", str(tmp_path / "log.txt"))
    assert done.returncode == 1 and '"findings"' in done.stdout, done.stderr
    for words in (["status"], ["version"], ["cache", "info"], ["rebuild", "--help"], ["verify", "--help"], ["lock", "--help"]):
        done = command(*words)
        assert done.returncode == 0 and done.stdout, done.stderr
    for words in (["rebuild", "--dry-run", "--env", str(tmp_path / "none")], ["compat", "check", "--torch", str(tmp_path)]):
        assert "Traceback" not in command(*words).stderr


@pytest.mark.parametrize("name", list(app.COMMANDS))
def test_help_of_each_command(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    done = command(*name.split(), "--help")
    assert done.returncode == 0 and done.stdout.startswith(f"usage: anytile {name}"), done.stderr
    for argument in app.COMMANDS[name].arguments:
        assert argument.names[-1] in done.stdout or argument.how.get("metavar", "-") in done.stdout


def test_wrong_command_lines():
    for words, told in (
        (["frobnicate"], "anytile: there is no command frobnicate; `anytile --help` lists them"),
        (["statu"], "did you mean status?"),
        (["cache", "infos"], "there is no command cache infos; did you mean cache info?"),
        (["status", "now"], "unrecognized arguments: now"),
        (["inspect"], "arguments are required: FILE[:KERNEL]"),
        (["inspect", "--stag", "asm", "x.py"], "unrecognized arguments: --stag"),
        (["verify", "--timeout", "soon"], "argument --timeout: invalid seconds value: 'soon'"),
        (["doctor", "--other"], "unrecognized arguments: --other"),
    ):
        done = command(*words)
        assert done.returncode == 2 and told in done.stderr and "Traceback" not in done.stderr, (words, done.stderr)
    assert command().returncode == command("cache").returncode == 2


def test_options_stand_among_what_is_wanted(monkeypatch):
    seen = []
    monkeypatch.setattr("anytile.cli.lock.run", lambda given: seen.append(given) or 5)
    monkeypatch.setattr("anytile.cli.rebuild.run", lambda given: seen.append(given) or 6)
    assert app.main(["lock", "torch", "--python", "3.11", "unsloth", "--platform", "linux", "--platform=macos", "--no-look-inside"]) == 5
    first = seen[0]
    assert (first.packages, first.python, first.platform) == (["torch", "unsloth"], "3.11", ["linux", "macos"]) and not first.look_inside
    assert app.main(["rebuild", "-r", "a.txt", "-y", "--no-verify", "--", "--no-deps", "--yes"]) == 6
    second = seen[1]
    assert second.requirements == ["a.txt"] and second.yes and not second.verify and second.behind == ["--no-deps", "--yes"]
    assert app.main(["lock"]) == 5 and seen[2].platform == []  # nothing is left of the calls before


@pytest.mark.skipif(os.name != "posix", reason="pipes of a shell")
def test_a_reader_that_goes_away_is_no_error():
    line = f"{sys.executable} -m anytile inspect {Path(__file__).parents[2] / 'examples' / 'vector_add.py'} | head -c 10"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=120)
    assert len(done.stdout) == 10 and done.stderr == ""


def test_version():
    done = command("version")
    assert anytile.__version__ in done.stdout and "llvmlite" in done.stdout


def test_version_without_the_libraries():
    """What is missing is told, by `version` above all: it is what one is asked for when something is missing."""
    program = (
        "import importlib.metadata as m, sys; real = m.version\n"
        "def version(name):\n    if name != 'anytile': raise m.PackageNotFoundError(name)\n    return real(name)\n"
        "m.version = version; sys.argv = ['anytile', 'version']; from anytile.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert "llvmlite  not installed" in done.stdout, done.stderr


def test_a_time_that_is_none_is_refused():
    for name in ("verify", "rebuild"):
        done = command(name, "--timeout", "-1")
        assert done.returncode == 2 and "--timeout" in done.stderr and "Traceback" not in done.stderr


def test_version_as_an_option():
    assert command("--version").stdout == f"anytile {anytile.__version__}\n"


def test_status_tells_level_and_reason():
    done = command("status")
    assert done.returncode == 0, done.stderr
    assert "API level" in done.stdout


def test_what_goes_into_a_pipe_is_not_broken_into_lines():
    switch = next(line for line in command("status").stdout.splitlines() if line.startswith("switch"))
    assert "anytile-triton.pth (" in switch


def test_a_wrong_size_of_the_cache_is_one_sentence(monkeypatch):
    monkeypatch.setenv("ANYTILE_CACHE_SIZE", "1G")
    done = command("cache", "info")
    assert done.returncode == 1 and done.stderr == "anytile: ANYTILE_CACHE_SIZE='1G' is no integer\n"


def test_a_wrong_level_is_one_sentence(monkeypatch):
    monkeypatch.setenv("ANYTILE_TRITON_API", "9.9")
    done = command("status")
    assert done.returncode == 1
    assert done.stderr.startswith("anytile: anytile has no Triton API level 9.9")
    assert "Traceback" not in done.stderr
