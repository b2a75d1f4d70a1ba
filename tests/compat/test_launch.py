"""`anytile run`: the program sees what plain `python` shows it, except for triton; so does everything it starts."""

import os
import subprocess
import sys

import pytest

from anytile.compat import launch


def run(*arguments: str, cwd=None, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "anytile", "run", *arguments],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


def plain(*arguments: str, cwd=None) -> subprocess.CompletedProcess:
    """Also where the tests themselves run under `anytile run`."""
    path = os.pathsep.join(p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p != launch._SITE)
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, env=env)


@pytest.fixture
def script(tmp_path):
    def write(text: str, name: str = "program.py") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_program_sees_what_python_shows(script, tmp_path):
    """All but one entry of `sys.path`, which must be there for programs that make PYTHONPATH of it."""
    path = f"[p for p in sys.path if p != {launch._SITE!r}]"
    file = script(f"import sys\nprint(sys.argv, {path}, __name__, __file__, sys.flags, sys.orig_argv[1:])\n")
    ours, theirs = run(file, "a b", "--help", "-m"), plain(file, "a b", "--help", "-m")
    assert (ours.stdout, ours.returncode) == (theirs.stdout, theirs.returncode)


def test_module_code_and_interpreter_options(script, tmp_path):
    script("import sys, triton\nprint(sys.argv[1:], sys.path[0], triton.__name__)\n", "mod.py")
    done = run("-m", "mod", "x", cwd=tmp_path)
    assert done.stdout.split() == ["['x']", str(tmp_path), "triton"], done.stderr
    assert run("-c", "import triton, sys; print(triton.__name__, sys.argv)", "y").stdout == "triton ['-c', 'y']\n"
    assert run("-O", "-c", "print(__debug__)").stdout == "False\n"


@pytest.mark.parametrize("options", [["-I"], ["-uE"], ["-X", "dev", "-S"], ["-Wignore", "--check-hash-based-pycs", "never", "-bI"]])
def test_options_with_which_python_would_not_be_reached(options):
    done = run(*options, "-c", "import triton")
    letter = options[-1][-1]
    assert done.returncode == 2 and done.stderr.startswith(f"anytile: Python's -{letter} keeps it from reading PYTHONPATH"), done.stderr


@pytest.mark.parametrize(
    "arguments", [["-W", "-I", "-c", "x"], ["-Xdev", "p.py", "-I"], ["-", "-E"], ["-mmodule", "-S"], ["-uBcE", "-S"], []]
)
def test_options_of_programs_are_their_own(arguments):
    assert launch._deaf(arguments) == ""


@pytest.mark.parametrize("ending", ["import sys; sys.exit(7)", "1 / 0", "import os; os._exit(3)", "raise SystemExit('bye')"])
def test_exit_codes_and_tracebacks(script, ending):
    file = script(ending + "\n")
    ours, theirs = run(file), plain(file)
    assert (ours.returncode, ours.stderr) == (theirs.returncode, theirs.stderr)


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_multiprocessing(script, method):
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    file = script(
        "import multiprocessing as mp\n"
        "def work(x):\n    import triton\n    return x + len(triton.__name__)\n"
        "if __name__ == '__main__':\n"
        f"    with mp.get_context({method!r}).Pool(2) as pool:\n        print(pool.map(work, [1, 2]))\n"
    )
    done = run(file)
    assert done.stdout == "[7, 8]\n", done.stderr


def test_subprocesses_and_upstream(script, tmp_path):
    """An upstream Triton on the path is outranked in the program and in a grandchild."""
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton" / "__init__.py").write_text("__version__ = 'upstream'\n")
    file = script(
        "import subprocess, sys, triton\n"
        "print(triton.__version__, flush=True)\n"
        'code = \'import subprocess, sys; subprocess.run([sys.executable, "-c", "import triton; print(triton.__version__)"])\'\n'
        "subprocess.run([sys.executable, '-c', code])\n"
    )
    assert plain(file).stdout.split()[0] == "upstream"
    assert run(file, ANYTILE_TRITON_API="3.6").stdout.split() == ["3.6.0", "3.6.0"]


def test_children_with_a_path_made_of_ours(script):
    """As torch starts its compile workers."""
    file = script(
        "import os, subprocess, sys\n"
        "env = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}\n"
        "subprocess.run([sys.executable, '-c', 'import triton; print(triton.__name__)'], env=env)\n"
    )
    assert run(file).stdout == "triton\n"


def test_existing_sitecustomize_still_runs(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import builtins\nbuiltins.FROM_THEIRS = __file__\n")
    done = run("-c", "import sys, triton; print(FROM_THEIRS, sys.modules['sitecustomize'].__file__)", PYTHONPATH=str(tmp_path))
    assert done.stdout.split() == [str(tmp_path / "sitecustomize.py")] * 2, done.stderr


def test_broken_sitecustomize_is_reported_as_ever(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import no_such_module\n")
    done = run("-c", "import triton; print('ran')", PYTHONPATH=str(tmp_path))
    assert done.stdout == "ran\n"
    assert "no_such_module" in done.stderr


def test_environment_is_idempotent():
    base = {"PYTHONPATH": os.pathsep.join(["/a", "/b"])}
    once = launch.environment(base)
    assert launch.environment(once) == once
    assert once["PYTHONPATH"].split(os.pathsep)[1:] == ["/a", "/b"]
    assert base == {"PYTHONPATH": os.pathsep.join(["/a", "/b"])}


def test_run_imports_no_command_line_library():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "anytile", "run", "-c", "pass"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert not [line for line in done.stderr.splitlines() if line.split("|")[-1].strip() in ("rich", "numpy", "llvmlite", "torch")]


def test_run_without_program_prints_usage():
    assert run().returncode == 2
    assert "usage: anytile run" in run("--help").stdout


CRASH = """
import numpy as np, triton, triton.language as tl

@triton.jit
def far(x, n):
    tl.store(x + n * 1024, 1)

far[(1,)](np.zeros(1), 1 << 40)
"""


@pytest.mark.skipif(os.name != "posix", reason="what Windows does about a crash is its own")
def test_a_crash_says_which_launch_was_under_way(script):
    file = script(CRASH)
    done = run(file)
    assert done.returncode < 0 and f'File "{file}", line 8 in <module>' in done.stderr
    assert "Fatal Python error" not in run(file, PYTHONFAULTHANDLER="").stderr
    checked = run(file, TRITON_INTERPRET="1", ANYTILE_CHECK_BOUNDS="1").stderr
    assert "stopped with BoundsError: store at" in checked and "Check the mask of this access" in checked
