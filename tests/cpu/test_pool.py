"""The thread pool: every program exactly once, whatever the grid, the threads and the interruptions."""

import ctypes
import functools
import os
import struct
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from anytile.llvm import engine
from anytile.targets.cpu import pool


def programs(mark, declared="", arguments=""):
    """A kernel with the arguments %out and %work, which does ``mark`` with each program, %i, after so many turns of a loop."""
    return f"""{declared}
define void @kernel(ptr %args, ptr %scratch, i64 %begin, i64 %end, i32 %gx, i32 %gy, i32 %gz) nounwind {{
entry:
  %out = load ptr, ptr %args
  %work.p = getelementptr i64, ptr %args, i64 1
  %work = load i64, ptr %work.p{arguments}
  br label %program
program:
  %i = phi i64 [ %begin, %entry ], [ %i.next, %next ]
  br label %turn
turn:
  %t = phi i64 [ 0, %program ], [ %t.next, %turn ]
  store volatile i64 %t, ptr %scratch
  %t.next = add i64 %t, 1
  %again = icmp ult i64 %t.next, %work
  br i1 %again, label %turn, label %mark
mark:{mark}
  br label %next
next:
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, %end
  br i1 %more, label %program, label %done
done:
  ret void
}}
"""


# Adds 1 to out[index]; stores `fail` in the status word at index `fail_at`; calls back at index 0 where the fourth slot is not 0.
KERNEL = programs(
    """
  %p = getelementptr i32, ptr %out, i64 %i
  atomicrmw add ptr %p, i32 1 monotonic
  %failing = icmp eq i64 %i, %fail.at
  br i1 %failing, label %fail, label %call
fail:
  cmpxchg ptr @anytile_status, i32 0, i32 77 seq_cst seq_cst
  br label %call
call:
  %first = icmp eq i64 %i, 0
  %wanted = icmp ne ptr %callback, null
  %calling = and i1 %first, %wanted
  br i1 %calling, label %back, label %next
back:
  call void %callback(ptr %args)""",
    declared="@anytile_status = external global i32",
    arguments="""
  %fail.p = getelementptr i64, ptr %args, i64 2
  %fail.at = load i64, ptr %fail.p
  %callback.p = getelementptr i64, ptr %args, i64 3
  %callback = load ptr, ptr %callback.p""",
)

# Stores in out[index] which scratch, and so which thread, ran the program.
WHO = programs("""
  %p = getelementptr ptr, ptr %out, i64 %i
  store ptr %scratch, ptr %p""")


@pytest.fixture(scope="module")
def kernel():
    loaded = engine.load_object(engine.compile_object(KERNEL), {"anytile_status": pool.status_address()})
    yield loaded.address("kernel")


entry = functools.lru_cache(maxsize=None)(lambda address, scratch: pool.Entry(address, scratch).run)


def launch(kernel, grid, work=0, fail_at=-1, callback=0, scratch=64):
    gx, gy, gz = grid
    out = np.zeros(gx * gy * gz, np.int32)
    try:
        entry(kernel, scratch)(struct.pack("<QqqQ", out.ctypes.data, work, fail_at, callback), gx, gy, gz)
    except BaseException as error:
        error.out = out
        raise
    return out


@pytest.mark.parametrize("grid", [(1, 1, 1), (2, 1, 1), (7, 1, 1), (3, 5, 7), (1000, 1, 1), (1, 1, 31), (100_003, 1, 1)])
@pytest.mark.parametrize("work", [0, 300])
def test_each_program_once(kernel, grid, work):
    for _ in range(5):
        assert (launch(kernel, grid, work if grid[0] < 5000 else 0) == 1).all()


@pytest.mark.parametrize("grid", [(0, 1, 1), (4, 0, 1), (0, 0, 0)])
def test_empty_grid(kernel, grid):
    launch(kernel, grid)


def test_promise_broken(kernel):
    """A kernel that was quick and is now slow is shared all the same, and the other way round."""
    for work in (0, 100_000, 0, 100_000):
        assert (launch(kernel, (40, 1, 1), work) == 1).all()


def test_many_launches_back_to_back(kernel):
    for i in range(3000):
        assert (launch(kernel, (1 + i % 60, 1, 1), i % 7 * 50) == 1).all()


def test_sleeping_workers_wake(kernel):
    for pause in (0.0, 0.001, 0.01):
        time.sleep(pause)
        assert (launch(kernel, (64, 1, 1), 20_000) == 1).all()


def test_scratch_grows_and_is_aligned(kernel):
    for size in (64, 1 << 20, 128, 1 << 22):
        assert (launch(kernel, (50, 1, 1), 2000, scratch=size) == 1).all()
    assert all(caller.scratch % 64 == 0 for caller in pool._idle)


@pytest.mark.parametrize("grid", [(1, 1, 1), (40, 1, 1), (20_000, 1, 1)])
def test_status_raises_and_withdraws(kernel, grid):
    with pytest.raises(pool.KernelStatus) as info:
        launch(kernel, grid, 200, fail_at=0)
    assert info.value.code == 77 and isinstance(info.value, RuntimeError)
    assert info.value.out.max() == 1
    assert grid[0] < 1000 or info.value.out.sum() < grid[0]
    assert (launch(kernel, grid, 10) == 1).all()  # the next launch is not affected


def test_concurrent_launches(kernel):
    failures = []

    def work():
        try:
            for i in range(100):
                assert (launch(kernel, (1 + i, 1, 1), 500) == 1).all()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("grid", [(1, 1, 1), (64, 1, 1)])
def test_nested_launch(kernel, grid):
    inner = []
    address = pool.callback(lambda _: inner.append(launch(kernel, (64, 1, 1), 1000)))
    assert (launch(kernel, grid, 20_000, callback=address) == 1).all()
    assert len(inner) == 1 and (inner[0] == 1).all()


def in_child(code, **environment):
    """Runs code with this file's names in a fresh process."""
    head = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import signal; from test_pool import *; from anytile.targets.cpu import pool\n"
    head += "loaded = engine.load_object(engine.compile_object(KERNEL), {'anytile_status': pool.status_address()})\n"
    head += "kernel = loaded.address('kernel')\n"
    return subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(("threads", "spin"), [("1", ""), ("2", "0"), ("7", ""), ("5", "20")])
def test_settings(threads, spin):
    done = in_child(
        """
        for i in range(200):
            assert (launch(kernel, (1 + i, 1, 1), i * 10) == 1).all()
        print(pool.num_threads())
        """,
        ANYTILE_NUM_THREADS=threads,
        ANYTILE_SPIN_US=spin,
    )
    assert (done.returncode, done.stdout.strip()) == (0, threads), done.stderr


def test_bad_setting():
    done = in_child("launch(kernel, (2, 1, 1))", ANYTILE_NUM_THREADS="many")
    assert "ANYTILE_NUM_THREADS='many' is not a number from 1 to 1024" in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork():
    done = in_child(
        """
        assert (launch(kernel, (500, 1, 1), 1000) == 1).all()
        child = os.fork()
        assert (launch(kernel, (500, 1, 1), 1000) == 1).all()
        if child == 0:
            assert (launch(kernel, (500, 1, 1), 10000) == 1).all()
            os._exit(0 if len(os.listdir("/proc/self/task")) == 3 else 4)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        ANYTILE_NUM_THREADS="3",
    )
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr


# Ctrl-C in a grid that would take minutes, then a launch: `test_openmp` asks the same of other threads.
INTERRUPTED = """
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
begin = time.perf_counter()
try:
    launch(kernel, (1_000_000, 1, 1), 1_000_000)
except KeyboardInterrupt as error:
    print("interrupted", time.perf_counter() - begin < 5, 0 < error.out.sum() < 1_000_000)
print((launch(kernel, (300, 1, 1), 1000) == 1).all())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
@pytest.mark.parametrize("threads", ["1", "3"])
def test_interrupt(threads):
    """Ctrl-C in a grid that would take minutes; the pool is whole afterwards."""
    done = in_child(INTERRUPTED, ANYTILE_NUM_THREADS=threads)
    assert done.stdout.split() == ["interrupted", "True", "True", "True"], done.stderr


def test_exit_while_workers_spin_or_sleep():
    for pause in ("0", "0.05"):
        done = in_child(f"launch(kernel, (100, 1, 1), 1000); time.sleep({pause})")
        assert done.returncode == 0 and not done.stderr


def test_rounding_mode_is_untouched(kernel):
    tiny = np.float32(1e-40)
    before = ctypes.c_float(tiny * np.float32(0.5)).value
    launch(kernel, (100, 1, 1), 100)
    assert ctypes.c_float(tiny * np.float32(0.5)).value == before != 0.0


@pytest.mark.parametrize(("architecture", "system", "triple"), [
    ("x86_64", "windows", "x86_64-pc-windows-msvc"),
    ("aarch64", "linux", "aarch64-unknown-linux-gnu"),
    ("aarch64", "posix", "arm64-apple-macosx13"),
    ("x86_64", "posix", "x86_64-apple-macosx13"),
])  # fmt: skip
def test_other_systems_compile(architecture, system, triple):
    from anytile.targets.cpu import pool_ir

    text = pool_ir.text(architecture, system)
    assert engine.compile_object(text, level="none", triple=triple)
    assert "_chkstk" not in engine.emit_assembly(text, level="none", triple=triple)


@pytest.mark.skipif(not sys.platform.startswith("linux") or sys.platform == "win32", reason="runs the portable variant on Linux")
def test_portable_waiting():
    """The mutex-and-condition variant, which macOS uses."""
    done = in_child(
        """
        from anytile.targets.cpu import pool_ir
        original = pool_ir.text
        pool_ir.text = lambda architecture, system: original(architecture, "posix")
        pool._native.cache_clear()
        loaded = engine.load_object(engine.compile_object(KERNEL), {"anytile_status": pool.status_address()})
        kernel = loaded.address("kernel")
        for i in range(500):
            assert (launch(kernel, (1 + i, 1, 1), i * 20) == 1).all()
        print("done")
        """,
        ANYTILE_NUM_THREADS="4",
    )
    assert done.stdout.strip() == "done", done.stderr


def test_each_thread_has_neighbours():
    """A thread's programs lie side by side, launch after launch, but for what others take from it at the end."""
    done = in_child(
        """
        loaded = engine.load_object(engine.compile_object(WHO), {})
        run, changes = pool.Entry(loaded.address("kernel"), 64).run, []
        for _ in range(10):
            out = np.zeros(3000, np.uint64)
            run(struct.pack("<Qq", out.ctypes.data, 20_000), 3000, 1, 1)
            assert (out != 0).all()
            changes.append(int((out[1:] != out[:-1]).sum()))
        print(min(changes))
        """,
        ANYTILE_NUM_THREADS="3",
    )
    assert int(done.stdout) < 20, done.stderr


def test_short_launches_are_tried_alone():
    """What a program seemed to take among other threads does not keep a short launch among them for ever."""
    done = in_child(
        """
        loaded = engine.load_object(engine.compile_object(WHO), {})
        entry = pool.Entry(loaded.address("kernel"), 64)
        entry._cell[0] = 1 << 40
        alone = 0
        for _ in range(300):
            out = np.zeros(40, np.uint64)
            entry.run(struct.pack("<Qq", out.ctypes.data, 0), 40, 1, 1)
            assert (out != 0).all()
            alone += entry._cell[0] < 1000 and len(set(out.tolist())) == 1
        print(alone)
        """,
        ANYTILE_NUM_THREADS="3",
    )
    assert int(done.stdout) > 0, done.stderr
