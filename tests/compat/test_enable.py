"""The switch of an environment, in an environment of its own."""

import os
import subprocess
import sys
import sysconfig
import time

import pytest

import anytile


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment that sees this one's packages; returns its interpreter."""
    root = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    python = root / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    purelib = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, capture_output=True, text=True
    ).stdout.strip()
    source = os.path.dirname(os.path.dirname(anytile.__file__))
    with open(os.path.join(purelib, "_packages.pth"), "w") as f:
        f.write(f"{source}\n{sysconfig.get_path('purelib')}\n")
    return str(python)


def call(python: str, *arguments: str) -> str:
    done = subprocess.run([python, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_enable_status_disable(environment):
    probe = ("-c", "import importlib.util as u; print(u.find_spec('triton') is not None and 'anytile' in u.find_spec('triton').origin)")
    assert call(environment, *probe) == "False"
    assert "not there" in call(environment, "-m", "anytile", "status")
    assert "enabled" in call(environment, "-m", "anytile", "enable")
    try:
        assert call(environment, *probe) == "True"
        assert "anytile (enabled)" in call(environment, "-m", "anytile", "status")
        # Its own files only, and nothing of anytile loaded before triton is asked for.
        assert call(environment, "-c", "import sys; print([m for m in sys.modules if m.startswith('anytile')])") == "[]"
        code = "import importlib.metadata as m, triton; print(m.version('triton') == triton.__version__)"
        assert call(environment, "-c", code) == "True"
        assert call(environment, "-c", "import anytile; anytile.install(); import triton; print(triton.__name__)") == "triton"
        # Where anytile is gone, the switch is silent.
        code = "import sys; sys.modules['anytile'] = None\ntry:\n    import triton\nexcept ModuleNotFoundError as e:\n    print(e.name)"
        assert call(environment, "-c", code) == "triton"
    finally:
        assert "disabled" in call(environment, "-m", "anytile", "disable")
    assert call(environment, *probe) == "False"
    assert "nothing to do" in call(environment, "-m", "anytile", "disable")


def test_the_switch_costs_less_than_a_millisecond():
    from anytile.compat import enable

    times = []
    before = list(sys.meta_path)
    try:
        for _ in range(20):
            begin = time.perf_counter()
            exec(enable._LINE)
            times.append(time.perf_counter() - begin)
    finally:
        sys.meta_path[:] = before
    assert min(times) < 1e-3
