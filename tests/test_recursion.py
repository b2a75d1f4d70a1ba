"""Python's limit of recursion, raised while kernels are compiled, by one thread or several."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from anytile.recursion import deep_recursion


def test_the_usual_limit_comes_back_with_the_last_thread():
    usual, raised = sys.getrecursionlimit(), []
    entered, leave = threading.Event(), threading.Event()

    def other():
        with deep_recursion():
            entered.set()
            leave.wait(30)
            raised.append(sys.getrecursionlimit())

    thread = threading.Thread(target=other)
    with deep_recursion():
        thread.start()
        assert entered.wait(30)
    leave.set()
    thread.join()
    assert raised == [max(usual, 20_000)] and sys.getrecursionlimit() == usual


def test_a_higher_limit_stays():
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(30_000)
    try:
        with deep_recursion():
            assert sys.getrecursionlimit() == 30_000
        assert sys.getrecursionlimit() == 30_000
    finally:
        sys.setrecursionlimit(usual)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_born_meanwhile_has_the_usual_limit_and_may_compile():
    """The thread that was inside is not there to leave, or to let go of the lock."""
    usual = sys.getrecursionlimit()
    entered, leave = threading.Event(), threading.Event()

    def other():
        with deep_recursion():
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(30)
    pid = os.fork()
    if pid == 0:
        limits = [sys.getrecursionlimit()]
        with deep_recursion():
            limits.append(sys.getrecursionlimit())
        limits.append(sys.getrecursionlimit())
        os._exit(0 if limits == [usual, max(usual, 20_000), usual] else 1)
    leave.set()
    thread.join()
    assert os.waitpid(pid, 0)[1] == 0 and sys.getrecursionlimit() == usual
