"""Python's collector stands still while a kernel is compiled, and only then."""

from __future__ import annotations

import gc
import os
import sys
import threading

import pytest

from anytile import language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.garbage import no_collections
from anytile.runtime.jit import jit


@jit
def doubled(x, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.static_assert(N > 0, "at least one")
    tl.store(x + i, tl.load(x + i) * 2)


def test_compiling_collects_nothing():
    seen = []
    limits = gc.get_threshold()
    gc.callbacks.append(lambda phase, info: seen.append(_compiling()))
    gc.set_threshold(50, 5, 5)
    try:
        source = ASTSource(doubled, {"x": "*fp32", "N": "constexpr"}, {"N": 1024})
        compile(source, target=GPUTarget("cuda", 90, 32))
    finally:
        gc.set_threshold(*limits)
        gc.callbacks.pop()
    assert True not in seen and gc.isenabled()


def _compiling() -> bool:
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name in ("target_compile", "make_module"):
            return True
        frame = frame.f_back
    return False


def test_who_leaves_last_sets_it_back():
    with no_collections():
        thread = threading.Thread(target=_in_and_out)
        thread.start()
        thread.join()
        assert not gc.isenabled()
    assert gc.isenabled()


def _in_and_out() -> None:
    with no_collections():
        assert not gc.isenabled()


def test_a_mistake_sets_it_back():
    with pytest.raises(ValueError, match="a mistake"), no_collections():
        raise ValueError("a mistake")
    assert gc.isenabled()


def test_it_stays_off_where_it_was_off():
    gc.disable()
    try:
        with no_collections():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_born_meanwhile_collects():
    with no_collections():
        pid = os.fork()
        if pid == 0:
            os._exit(0 if gc.isenabled() else 1)
        assert os.waitpid(pid, 0)[1] == 0 and not gc.isenabled()
    assert gc.isenabled()
