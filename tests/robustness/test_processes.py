"""Many processes, one empty cache, some of them killed at any moment: the others notice nothing."""

from __future__ import annotations

import random
import time

from child import THOROUGH, run, start


def test_killed_compilers_leave_a_cache_that_all_can_use(tmp_path):
    processes, killed, at_once = (100, 35, 16) if THOROUGH else (8, 3, 8)
    chance = random.Random(20)
    victims = set(chance.sample(range(processes), killed))
    running, finished, deaths, failures = [], 0, 0, []
    waiting = list(range(processes))
    while waiting or running:
        while waiting and len(running) < at_once:
            number = waiting.pop(0)
            # From before the first import to after the last kernel, on a machine with as many processes as here.
            end = time.monotonic() + chance.uniform(0.1, 12 if THOROUGH else 4) if number in victims else None
            running.append((start(tmp_path, "check_all()", PYTHONWARNINGS="error"), end))
        for entry in list(running):
            child, end = entry
            if child.poll() is not None:
                out, errors = child.communicate()
                finished += 1
                if child.returncode:
                    failures.append(out + errors)
                running.remove(entry)
            elif end is not None and time.monotonic() > end:
                child.kill()
                child.communicate()
                deaths += 1
                running.remove(entry)
        time.sleep(0.02)
    print(f"{processes} processes: {deaths} killed, {finished} ended by themselves")
    assert not failures, failures[0]
    assert finished + deaths == processes and finished >= processes - killed
    # Whoever comes next finds whole kernels only, and no need of LLVM.
    assert run(tmp_path, "check_all(); print('llvmlite.binding' in sys.modules)", PYTHONWARNINGS="error") == "False\n"


def test_a_process_killed_between_writing_and_renaming(tmp_path):
    """The worst moment on purpose: the temporary file is complete and has not got its name yet."""
    code = "os.replace = lambda a, b: os.kill(os.getpid(), signal.SIGKILL)\ncheck_add()"
    assert start(tmp_path, code).wait(60) == -9
    left = list((tmp_path / "cache").rglob(".new-*"))
    assert len(left) == 1
    run(tmp_path, "check_all()", PYTHONWARNINGS="error")


def test_fork_after_threads_have_started(tmp_path):
    """The child has none of the pool's threads: it launches, compiles, and forks again."""
    out = run(
        tmp_path,
        """
        check_add()
        threads = [threading.Thread(target=check_add, args=(100_000,)) for _ in range(3)]
        for t in threads: t.start()
        def in_child(depth):
            pid = os.fork()
            if pid == 0:
                signal.alarm(60)
                check_add(200_000)
                check_softmax()        # compiled in the child
                check_long(4 + depth)
                if depth: in_child(depth - 1)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        for _ in range(3): in_child(1)
        for t in threads: t.join()
        check_all()
        print("done")
        """,
        ANYTILE_NUM_THREADS="3",
        PYTHONWARNINGS="ignore",
    )
    assert out == "done\n"


def test_forked_and_spawned_workers(tmp_path):
    (tmp_path / "jobs.py").write_text("import kernels\ndef job(n):\n    kernels.check_add(n)\n    kernels.check_softmax()\n    return n\n")
    out = run(
        tmp_path,
        """
        import multiprocessing, jobs
        if __name__ == "__main__":
            check_add()
            for way in ("fork", "spawn"):
                with multiprocessing.get_context(way).Pool(2) as pool:
                    print(pool.map(jobs.job, range(1000, 1004)))
        """,
        PYTHONWARNINGS="ignore",
        PYTHONPATH=str(tmp_path),
    )
    assert out == "[1000, 1001, 1002, 1003]\n" * 2
