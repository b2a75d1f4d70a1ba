"""`anytile.torch.enable()` in programs of its own: one that only imports anytile, and one under `anytile run`."""

import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

PROGRAM = """
import anytile.torch
account = anytile.torch.enable(say=False)
import torch, triton
import torch._inductor.async_compile
assert torch._inductor.config.cpu_backend == "triton" and account.cpu
torch._inductor.async_compile.AsyncCompile.wait_pool_ready()
from torch._dynamo.utils import counters
from torch._inductor.utils import run_and_get_code
x = torch.linspace(-3, 3, 1000)
out, codes = run_and_get_code(torch.compile(lambda x: torch.sin(x) * 2 + 1), x)
torch.testing.assert_close(out, torch.sin(x) * 2 + 1)
assert not any("cpp_fused" in code for code in codes)
hits = counters["inductor"]["fxgraph_cache_hit"]
print(sum(code.count("@triton.jit") for code in codes), hits, triton.__file__.count("anytile"))
"""


def run(text, *start, **env):
    return subprocess.run([sys.executable, *start, "-c", text], env={**os.environ, **env}, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("start", [(), ("-m", "anytile", "run")], ids=["python", "anytile-run"])
def test_a_program_compiles_with_workers_and_caches(start, tmp_path):
    """The kernel comes from a compile worker; in a second process the graph comes from torch's cache."""
    env = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "TORCHINDUCTOR_WORKER_START": "subprocess", "TORCHINDUCTOR_COMPILE_THREADS": "2"}
    first = run(PROGRAM, *start, **env)
    assert first.stdout == "1 0 1\n", first.stderr
    if not start:
        again = run(PROGRAM, *start, **env)
        assert again.stdout == "1 1 1\n", again.stderr


def test_the_account():
    done = run("import anytile.torch\na = anytile.torch.enable()\nassert str(a) and a.cpu")
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.startswith("anytile serves torch ") and " as Triton 3." in head
    assert lines[0] == "  ✓ import triton: answered by anytile"
    assert lines[1] == "  ✓ child processes: get the face by PYTHONPATH"
    assert "  ✓ cpu_backend = 'triton': graphs of CPU tensors become Triton kernels instead of C++" in lines


def test_leaving_the_cpu_alone():
    done = run(
        "import anytile.torch\na = anytile.torch.enable(cpu=False)\nimport torch._inductor.config as c\n"
        "assert c.cpu_backend == 'cpp' and not a.cpu"
    )
    assert done.returncode == 0, done.stderr
    assert "– cpu_backend: left at 'cpp', as cpu=False asks" in done.stdout


def test_beside_a_gpu_the_cpu_is_left_alone_unless_asked_for():
    done = run(
        "import anytile.torch\nanytile.torch._has_gpu = lambda: True\na = anytile.torch.enable()\nimport torch._inductor.config as c\n"
        "assert c.cpu_backend == 'cpp' and not a.cpu\n"
        "a = anytile.torch.enable(cpu=True, say=False)\nassert c.cpu_backend == 'triton' and a.cpu and c.benchmark_epilogue_fusion"
    )
    assert done.returncode == 0, done.stderr
    assert "– cpu_backend = 'triton': Inductor cannot compile graphs with tensors of both a GPU and the CPU through Triton" in done.stdout


def test_torch_asks_again_for_triton():
    text = (
        "import torch.utils._triton as t\n"
        "before = t.has_triton_package()\n"
        "import anytile.torch; a = anytile.torch.enable(say=False)\n"
        "print(before, t.has_triton_package(), [l.what for l in a.lines if 'torch.utils' in l.what])"
    )
    done = run(text)
    if done.stdout.startswith("True"):
        pytest.skip("another triton is installed here")
    assert done.stdout == "False True ['torch.utils._triton']\n", done.stderr
