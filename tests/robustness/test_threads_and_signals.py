"""Threads, interruptions, exits and ten thousand launches."""

from __future__ import annotations

import signal
import sys
import time

import pytest
from child import THOROUGH, run, start

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


def test_concurrent_launches_and_compilations(tmp_path):
    """Eight threads over one cold cache: the same kernels, kernels of their own, and launches all the while."""
    out = run(
        tmp_path,
        """
        errors = []
        start = threading.Barrier(8)
        def work(number):
            try:
                start.wait()
                for turn in range(4):
                    check_add(1000 + number)
                    check_softmax(4, 90 + turn)
                    check_long(2 + (number + turn) % 5)
                    add.device_caches.clear() if number == 0 and turn == 2 else None
            except BaseException as e:
                import traceback
                errors.append(traceback.format_exc())
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for t in threads: t.start()
        for t in threads: t.join()
        print(errors[0] if errors else "done")
        """,
        PYTHONWARNINGS="error",
    )
    assert out == "done\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_launches_do_not_grow(tmp_path):
    out = run(
        tmp_path,
        """
        def resident():
            with open("/proc/self/statm") as f:
                return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
        x, o = np.ones(64, "f4"), np.zeros(64, "f4")
        def launches(count):
            for i in range(count):
                add[(1 + i % 7,)](x, x, o, 8 + i % 3, B=8)
                if i % 4 == 0: softmax[(1,)](x, o, 50, B=64)
        launches(2000)
        before = resident()
        launches(10_000)
        print(resident() - before)
        """,
    )
    assert int(out) <= 512, f"{out} KiB more after 10,000 launches"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_kernels_that_are_forgotten_give_their_memory_back(tmp_path):
    out = run(
        tmp_path,
        """
        import gc
        def mappings():
            gc.collect()
            with open("/proc/self/maps") as f:
                return len(f.readlines())
        def load(times):
            for _ in range(times):
                add.device_caches.clear()
                check_add()
        load(5)
        before = mappings()
        load(40)
        print(mappings() - before)
        """,
    )
    assert int(out) <= 8, f"{out} more mappings after loading one kernel 40 times"


def _ready(child):
    assert child.stdout.readline() == "ready\n"


@posix
@pytest.mark.parametrize("threads", ["1", "2"])
def test_interrupt_in_a_long_grid(tmp_path, threads):
    """Ctrl-C in a grid that would run for an hour; the next launch is as good as any."""
    child = start(
        tmp_path,
        """
        o = np.zeros(10_000_000, "i4")
        spin[(1,)](o, 3)
        print("ready", flush=True)
        try:
            spin[(10_000_000,)](o, 1_000_000)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        check_all()
        print("done")
        """,
        ANYTILE_NUM_THREADS=threads,
    )
    _ready(child)
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    begin = time.monotonic()
    out, errors = child.communicate(timeout=60)
    assert out == "interrupted\ndone\n" and child.returncode == 0, errors
    assert time.monotonic() - begin < 30


@posix
@pytest.mark.parametrize("delay", [0.05, 0.2, 0.6, 1.2] if not THOROUGH else [i / 20 for i in range(1, 50)])
def test_interrupt_in_a_compilation(tmp_path, delay):
    """Ctrl-C while tracing, optimising or generating code: KeyboardInterrupt, and the same kernel compiles afterwards."""
    child = start(
        tmp_path,
        """
        check_add()
        print("ready", flush=True)
        try:
            check_long(60)
            time.sleep(10)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        check_long(60)
        check_all()
        print("done")
        """,
        PYTHONWARNINGS="error",
    )
    _ready(child)
    time.sleep(delay)
    child.send_signal(signal.SIGINT)
    out, errors = child.communicate(timeout=90)
    assert out == "interrupted\ndone\n" and child.returncode == 0, out + errors


@pytest.mark.parametrize("way", ["", "sys.exit(0)", "os._exit(0)", "raise SystemExit"])
def test_exit_while_a_kernel_runs(tmp_path, way):
    """A daemon thread is in a grid of minutes when the program ends."""
    run(
        tmp_path,
        f"""
        o = np.zeros(1_000_000, "i4")
        spin[(2,)](o, 3)
        threading.Thread(target=lambda: spin[(1_000_000,)](o, 1_000_000), daemon=True).start()
        time.sleep(0.3)
        {way}
        """,
        timeout=30,
    )


@posix
def test_termination_while_a_kernel_runs(tmp_path):
    child = start(tmp_path, "o = np.zeros(1_000_000, 'i4'); spin[(2,)](o, 3); print('ready', flush=True); spin[(1_000_000,)](o, 1_000_000)")
    _ready(child)
    time.sleep(0.3)
    child.terminate()
    assert child.wait(10) == -signal.SIGTERM
    child.communicate()
