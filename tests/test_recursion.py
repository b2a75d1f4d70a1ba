"""Python's limit of recursion, raised while kernels are compiled, by one thread or several."""

from __future__ import annotations

import sys
import threading

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
