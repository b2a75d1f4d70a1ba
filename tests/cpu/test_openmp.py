"""Launches on the threads of torch's OpenMP runtime: the pool's promises hold, and no second set of threads is started."""

import os
import sys

import pytest
from test_pool import INTERRUPTED, in_child

torch = pytest.importorskip("torch")
from anytile.targets.cpu import openmp  # noqa: E402

pytestmark = pytest.mark.skipif(openmp.team_of_torch() is None, reason="torch here computes without an OpenMP runtime of GCC's interface")

# torch's threads are started by what needs them all.
HEAD = """
import torch
torch.set_num_threads(3)
torch.randn(1 << 20).exp_()
tasks = lambda: len(os.listdir("/proc/self/task"))
before = tasks()
"""


def child(code, **environment):
    done = in_child(HEAD + code, **{"ANYTILE_NUM_THREADS": "", "ANYTILE_OPENMP": "", "OMP_NUM_THREADS": "3", **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
def test_torch_and_launches_share_their_threads():
    assert child("""
for i in range(300):
    assert (launch(kernel, (1 + i, 1, 1), i * 20) == 1).all()
print(pool.num_threads(), tasks() == before)
torch.set_num_threads(2)
assert (launch(kernel, (500, 1, 1), 1000) == 1).all()
print(pool.num_threads())
torch.set_num_threads(4)
assert (launch(kernel, (500, 1, 1), 1000) == 1).all()
print(pool.num_threads())
""") == ["3", "True", "2", "4"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
@pytest.mark.parametrize(("settings", "threads", "more"), [
    ({"ANYTILE_OPENMP": "0", "ANYTILE_NUM_THREADS": "3"}, "3", "2"),
    ({"ANYTILE_NUM_THREADS": "4"}, "4", "3"),  # not torch's number: workers of the pool's own
    ({"ANYTILE_NUM_THREADS": "3"}, "3", "0"),
])  # fmt: skip
def test_threads_of_ones_own(settings, threads, more):
    assert child("assert (launch(kernel, (500, 1, 1), 1000) == 1).all(); print(pool.num_threads(), tasks() - before)", **settings) == [
        threads,
        more,
    ]


@pytest.mark.parametrize(("asked", "threads"), [("", "2"), ("3", "3")])
def test_a_quota_that_torch_does_not_know(asked, threads):
    """In a container of two CPUs' time workers of the pool's own, two of them, unless somebody has asked for torch's number."""
    code = """
from anytile import cpus
cpus.quota = lambda: 2.0
cpus.affinity = lambda: 64
assert (launch(kernel, (500, 1, 1), 1000) == 1).all()
print(pool.num_threads())
"""
    assert child(code, OMP_NUM_THREADS=asked) == [threads]


def test_scratch_status_and_nested_launches():
    assert child("""
for size in (64, 1 << 20, 128):
    assert (launch(kernel, (50, 1, 1), 2000, scratch=size) == 1).all()
for grid in ((1, 1, 1), (40, 1, 1), (20_000, 1, 1)):
    try:
        launch(kernel, grid, 200, fail_at=0)
    except pool.KernelStatus as error:
        assert error.code == 77 and error.out.max() == 1
    assert (launch(kernel, grid, 10) == 1).all()
inner = []
address = pool.callback(lambda _: inner.append(launch(kernel, (64, 1, 1), 1000)))
assert (launch(kernel, (64, 1, 1), 20_000, callback=address) == 1).all()
print((inner[0] == 1).all())
""") == ["True"]


def test_concurrent_launches():
    assert child("""
def work():
    for i in range(100):
        assert (launch(kernel, (1 + i, 1, 1), 500) == 1).all()
        torch.ones(40_000).exp_()
    done.append(True)
done = []
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads], [t.join() for t in threads]
print(len(done))
""") == ["4"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_interrupt():
    assert child(INTERRUPTED) == ["interrupted", "True", "True", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_workers_of_its_own():
    """GCC's runtime waits for ever in a child whose parent had started its threads."""
    assert child("""
assert (launch(kernel, (500, 1, 1), 1000) == 1).all()
process = os.fork()
assert (launch(kernel, (500, 1, 1), 1000) == 1).all()
if process == 0:
    assert (launch(kernel, (500, 1, 1), 10000) == 1).all()
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
""") == ["0"]


def test_no_torch_no_team(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert openmp.team_of_torch() is None


def test_the_wait_for_other_threads_is_no_cost_of_a_kernel():
    """On a busy machine a region lasts as long as its slowest thread; short grids must not seem long by that, and keep opening regions."""
    assert child("""
import ctypes, time
from anytile.targets.cpu import openmp
regions = []
member = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
@ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
def parallel(function, data, threads, flags):
    regions.append(1)
    member(function)(data)
    time.sleep(0.02)
most, number = (ctypes.CFUNCTYPE(ctypes.c_int)(f) for f in (lambda: 3, lambda: 0))
team = openmp.Team(*(ctypes.cast(f, ctypes.c_void_p).value for f in (parallel, most, number)))
openmp.team_of_torch = lambda: team
for i in range(30):
    assert (launch(kernel, (4, 1, 1), 1) == 1).all()
print(0 < len(regions) < 10)
""") == ["True"]
