"""The `anytile` command."""

import os
import subprocess
import sys

import anytile


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


def test_the_doctor_answers_where_the_command_line_cannot_be_read(tmp_path, monkeypatch):
    """typer needs pydantic's compiled part, and that it cannot be loaded is what the doctor may have been asked about."""
    broken = tmp_path / "pydantic_core"
    broken.mkdir()
    (broken / "__init__.py").write_text('raise ImportError("DLL load failed while importing _pydantic_core: not found")\n')
    for name in ("typer", "pydantic"):  # older typers do without pydantic
        (tmp_path / f"{name}.py").write_text("import pydantic_core\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "log.txt").write_text("ImportError: DLL load failed while importing libtriton: The specified module could not be found.\n")
    done = command("doctor", "--json", "--log", str(tmp_path / "log.txt"))
    assert done.returncode == 1 and '"findings"' in done.stdout, done.stderr
    assert "--redact" in command("doctor", "--help").stdout
    assert command("doctor", "--other").returncode == 2
    told = command("cache", "info")
    assert told.returncode == 2 and told.stderr.startswith(
        "anytile: the command line needs pydantic_core, which cannot be imported: DLL load"
    )
    assert "Traceback" not in told.stderr and "`anytile doctor` works without it" in told.stderr


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


def test_unknown_command():
    assert command("frobnicate").returncode == 2
