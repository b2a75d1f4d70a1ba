"""Warm launches: native code launches what the Python launcher would have launched, and leaves to it what it must."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import anytile.language as tl
from anytile.errors import AnytileError
from anytile.runtime import knobs, warm
from anytile.runtime.driver import driver
from anytile.runtime.hooks import HookChain
from anytile.runtime.jit import jit

torch = pytest.importorskip("torch")

FACTOR = tl.constexpr(3)


@jit
def record(out, x, i, f, flag, B: tl.constexpr, NAME: tl.constexpr = "none", last=7):
    tl.store(out, i)
    tl.store(out + 1, flag)
    tl.store(out + 2, B)
    tl.store(out + 3, last)
    tl.store(out + 4, tl.num_programs(0) * 100 + tl.num_programs(1) * 10 + tl.num_programs(2))
    tl.store(out + 5, (f * 4).to(tl.int64))
    if x is not None:
        tl.store(out + 6, tl.load(x).to(tl.int64))


@jit
def scale(x, n, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(x + i, tl.load(x + i, mask=i < n) * FACTOR, mask=i < n)


@jit
def typed(out, a: tl.int64, b: tl.uint8, c: tl.float64):
    tl.store(out, a)
    tl.store(out + 1, b)
    tl.store(out + 2, (c * 4).to(tl.int64))


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """The second launch of a kind is native."""
    monkeypatch.setattr(warm, "_PATIENCE", 1)
    for kernel in (record, scale, typed):
        kernel.device_caches.clear()
    assert warm.unavailable_because() == ""
    yield
    for kernel in (record, scale, typed):
        kernel.device_caches.clear()


def is_native(kernel) -> bool:
    return type(kernel._launcher) is type(len)


def general(kernel):
    """The launcher that Python code makes up."""
    return kernel._launcher.__self__[0][0].__self__._launcher.launch


def out():
    return torch.zeros(8, dtype=torch.int64)


def test_a_kind_of_call_becomes_native():
    x = torch.ones(100)
    kernels = {scale[(2,)](x, 100, B=64) for _ in range(4)}
    assert is_native(scale) and len(kernels) == 1
    assert x.tolist() == [81.0] * 100
    assert len(scale._launcher.__self__[0]) == 2  # the general way and one entry


ints = st.sampled_from([0, 1, 2, 16, 17, -1, -16, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**40, 2**40 + 1, 2**63 - 1, True, False])
floats = st.sampled_from([0.0, -0.0, 1.0, 2.5, -3.25, 1e6])
memory = torch.arange(1, 65, dtype=torch.float32)
tensors = st.sampled_from(
    [
        None,
        memory,
        memory[1:],
        memory[4:],
        memory.double(),
        memory.to(torch.int8),
        memory.to(torch.uint8),
        memory.to(torch.bfloat16),
        memory > 0,
        torch.nn.Parameter(memory),
        memory.numpy(),
    ]
)
calls = st.tuples(
    tensors,
    ints,
    floats,
    st.booleans(),
    st.sampled_from([16, 32, True, None, 2.0]),
    st.sampled_from([(), ("a",), ("b",), (None,)]),
    st.sampled_from([{}, {"last": 1}, {"last": 32}, {"num_warps": 2}, {"last": 5, "num_warps": 4}]),
    st.sampled_from([(1,), (2, 3), (1, 2, 3), lambda meta: (2,), lambda meta: [1, 2], [3], (0,)]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(calls, min_size=2, max_size=6))
def test_native_launches_are_those_of_the_general_way(several):
    for x, i, f, flag, b, name, keywords, grid in several * 3:
        if isinstance(b, float) or b is None:
            b = 16
        keywords = dict(keywords)
        if name:
            keywords["NAME"] = name[0]
        ours, theirs = out(), out()
        kernel = record[grid](ours, x, i, f, flag, b, **keywords)
        if is_native(record):
            assert kernel is general(record)(grid, theirs, x, i, f, flag, b, **keywords)
            assert torch.equal(ours, theirs), (x, i, f, flag, b, keywords)


def test_prescribed_types():
    for a in (1, 3, 2**40, 2**40, -5):
        for b in (0, 1, 255, 16, 16):
            for c in (0.25, 1e10):
                got = out()
                typed[(1,)](got, a, b, c)
                assert got[:3].tolist() == [a, b, int(c * 4)]
    assert is_native(typed)


def test_forms_of_calls():
    x = torch.zeros(1)
    for _ in range(3):
        for launch in (
            lambda o: record[(1,)](o, x, 3, 1.0, True, 16),
            lambda o: record[(1,)](o, x, 3, 1.0, True, B=16),
            lambda o: record[(1,)](B=16, flag=True, f=1.0, i=3, x=x, out=o),
            lambda o: record.run(o, x, 3, 1.0, True, 16, grid=(1,)),
        ):
            got = out()
            launch(got)
            assert got.tolist() == [3, 1, 16, 7, 111, 4, 0, 0]
    assert is_native(record)


def test_grid_functions_see_the_arguments_in_their_order():
    seen = []

    def grid(meta):
        seen.append(dict(meta))
        return (meta["i"],)

    x = torch.zeros(1)
    for _ in range(3):
        record[grid](out(), x, 3, 1.0, True, B=16, num_warps=2)
    assert is_native(record)
    assert [list(m) for m in seen] == [["out", "x", "i", "f", "flag", "B", "NAME", "last", "num_warps"]] * 3
    assert seen[2]["last"] == 7 and seen[2]["x"] is x and seen[2]["num_warps"] == 2


def test_odd_extents():
    class One:
        def __index__(self):
            return True  # an int of a class of its own

    for _ in range(3):
        x = torch.ones(64)
        scale[(One(),)](x, 64, B=64)
        assert x.tolist() == [3.0] * 64
    assert is_native(scale)


def test_errors_are_those_of_the_general_way():
    x = torch.ones(64)
    for _ in range(3):
        scale[(1,)](x, 64, B=64)
    assert is_native(scale)
    for grid, message in (
        (3, r"must be a tuple of one to three integers, such as \(3,\)"),
        (None, "launched without a grid"),
        ((1, 70000), "must lie between 0 and 65535"),
        ((-1,), "must lie between 0 and 2147483647"),
        ((1.5,), "must be an integer"),
        (lambda meta: (1, 1, 1, 1), "has 4 dimensions"),
    ):
        with pytest.raises(AnytileError, match=message):
            scale[grid](x, 64, B=64)
    with pytest.raises(ZeroDivisionError):
        scale[lambda meta: 1 // 0](x, 64, B=64)
    with pytest.raises(AnytileError, match="^the grid function of scale asks for 'BLOK', .* it has x, n, B"):
        scale[lambda meta: (meta["BLOK"],)](x, 64, B=64)
    with pytest.raises(KeyError, match="^7$"):
        scale[lambda meta: ({}[7],)](x, 64, B=64)
    with pytest.raises(AnytileError, match="missing argument n"):
        scale[(1,)](x, B=64)
    with pytest.raises(AnytileError, match="takes 3 positional arguments but 4 were given"):
        scale[(1,)](x, 64, 64, 64)
    with pytest.raises(AnytileError, match="has elements but no memory"):
        empty = torch.ones(64)
        empty.untyped_storage().resize_(0)
        scale[(1,)](empty, 64, B=64)
    before = x.clone()
    scale[(0,)](x, 64, B=64)
    assert torch.equal(x, before)


def test_hooks_and_debugging_go_the_general_way():
    x = torch.ones(64)
    for _ in range(3):
        scale[(1,)](x, 64, B=64)
    names = []
    knobs.runtime.launch_enter_hook.add(lambda facts: names.append(facts.get()["name"]))
    scale[(1,)](x, 64, B=64)
    knobs.runtime.launch_enter_hook.clear()
    plain = scale[(1,)](x, 64, B=64)
    assert names == ["scale"] and not plain.metadata.debug
    knobs.runtime.debug = True
    assert scale[(1,)](x, 64, B=64).metadata.debug
    knobs.runtime.debug = False
    assert scale[(1,)](x, 64, B=64) is plain
    del knobs.runtime.debug
    os.environ["TRITON_DEBUG"] = "1"
    try:
        assert scale[(1,)](x, 64, B=64).metadata.debug
    finally:
        del os.environ["TRITON_DEBUG"]
    assert scale[(1,)](x, 64, B=64) is plain
    seen = []
    for hook in (seen.append, HookChain(), None, HookChain()):  # as programs for Triton up to 3.3 assign them
        knobs.runtime.launch_exit_hook = hook
        scale[(1,)](x, 64, B=64)
    assert len(seen) == 1
    with knobs.runtime.scope():
        knobs.runtime.launch_enter_hook = seen.append
        scale[(1,)](x, 64, B=64)
    scale[(1,)](x, 64, B=64)
    assert len(seen) == 2 and is_native(scale)


def test_globals_are_checked():
    global FACTOR
    x = torch.ones(64)
    for _ in range(3):
        scale[(1,)](x, 64, B=64)
    assert is_native(scale)
    FACTOR = tl.constexpr(4)
    try:
        with pytest.raises(Exception, match="FACTOR"):
            scale[(1,)](x, 64, B=64)
    finally:
        FACTOR = tl.constexpr(3)


def test_kernels_that_are_gone_are_not_launched():
    x = torch.ones(64)
    for _ in range(3):
        kernel = scale[(1,)](x, 64, B=64)
    loads = []
    knobs.runtime.kernel_load_start_hook.add(lambda *facts: loads.append(facts))
    kernel.unload()
    scale[(1,)](x, 64, B=64)
    assert len(loads) == 1
    scale.device_caches[0][0].clear()
    assert scale[(1,)](x, 64, B=64) is not kernel
    assert x.tolist() == [3.0**5] * 64


def test_more_kinds_than_entries():
    for turn in range(4):
        for b in range(1, 21):
            got = out()
            record[(1,)](got, None, 3, 1.0, False, B=b)
            assert got[2] == b, turn
    assert len(record._launcher.__self__[0]) == 1 + warm._ENTRIES


def test_kinds_that_take_turns_are_not_learnt_for_ever(monkeypatch):
    learnt = []
    learn = warm.Warm._learn
    monkeypatch.setattr(warm.Warm, "_learn", lambda self, *call: (learnt.append(call), learn(self, *call))[1])
    for _ in range(40):
        for b in range(1, 17):
            record[(1,)](out(), None, 3, 1.0, False, B=b)
    assert len(learnt) <= 16 * 6


def test_references_are_balanced():
    x, grid, n = torch.ones(64), (1,), 2**20 + 16
    dtype, kind = x.dtype, type(x)
    for _ in range(3):
        kernel = scale[grid](x, n, B=64)
    assert is_native(scale)
    counted = [x, grid, n, dtype, kind, kernel, int, tuple, scale._launcher.__self__[0], scale._launcher.__self__[0][1], scale._launcher]
    before = [sys.getrefcount(o) for o in counted]
    for _ in range(1000):
        scale[grid](x, n, B=64)
        scale[lambda meta: (1,)](x, n, B=64)
        scale[[1]](x, n, B=64)
        with pytest.raises(KeyError):
            scale[lambda meta: meta["M"]](x, n, B=64)
    assert [sys.getrefcount(o) - b for o, b in zip(counted, before)] == pytest.approx([0] * len(counted), abs=3)


def test_tensors_are_not_kept():
    scale[(1,)](torch.ones(64), 64, B=64)  # what a process asks once, it asks now
    kept = []
    for call in (lambda x: scale[(1,)](x, 64, B=64), lambda x: scale[(1,)](n=64, B=64, x=x)):
        for _ in range(3):
            x = torch.ones(64)
            kept.append(weakref.ref(x))
            call(x)
            del x
    assert is_native(scale)
    assert len(scale._launcher.__self__[0]) == 3
    gc.collect()
    assert [r() for r in kept] == [None] * 6


def test_a_grid_function_may_launch_and_forget():
    x, y = torch.ones(64), torch.ones(64)

    def grid(meta):
        scale[(1,)](y, 64, B=64)
        scale.device_caches[0][0].clear()
        return (1,)

    for _ in range(6):
        scale[grid](x, 64, B=64)
    assert x.tolist() == y.tolist() == [3.0**6] * 64


def test_threads():
    wrong = []

    def work(k):
        for i in range(300):
            got = out()
            record[(1 + k,)](got, None, 5 + 2 * i, 1.0, False, B=16 + (i & 3))
            if got[:3].tolist() != [5 + 2 * i, 0, 16 + (i & 3)] or got[4] != 111 + 100 * k:
                wrong.append((k, i, got))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and is_native(record)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_launches():
    x = torch.ones(64)
    for _ in range(3):
        scale[(1,)](x, 64, B=64)
    assert is_native(scale)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            for _ in range(3):
                scale[(1,)](x, 64, B=64)
            code = 0 if x.tolist() == [3.0**6] * 64 else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def test_unusual_tensors():
    for _ in range(3):
        scale[(1,)](torch.ones(64), 64, B=64)
    assert is_native(scale)
    shared = torch.ones(64)
    lazy = torch._lazy_clone(shared)  # has memory of its own only from the first write on
    scale[(1,)](lazy, 64, B=64)
    assert shared.tolist() == [1.0] * 64 and lazy.tolist() == [3.0] * 64
    gradient = torch.ones(64, requires_grad=True)
    scale[(1,)](gradient, 64, B=64)
    assert gradient.tolist() == [3.0] * 64
    for wrong in (torch.ones(64).to_sparse(), torch.ones(64, device="meta")):
        with pytest.raises((RuntimeError, AnytileError), match="several tensors in one|the meta device"):
            scale[(1,)](wrong, 64, B=64)
    with pytest.raises(AnytileError, match="argument x of kernel scale is a tensor that torch.func .* follows"):
        torch.vmap(lambda x: scale[(1,)](x, 64, B=64))(torch.ones(2, 64))


def test_it_can_be_turned_off(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import torch, anytile.language as tl\nfrom anytile.runtime.jit import jit\nfrom anytile.runtime import warm\n"
        "@jit\ndef store(o, v):\n    tl.store(o, v)\n"
        "o = torch.zeros(1)\nfor i in range(40): store[(1,)](o, float(i))\n"
        "print(type(store._launcher).__name__, o.item(), warm.unavailable_because())\n"
    )
    environment = {**os.environ, "ANYTILE_NATIVE_LAUNCH": "0", "ANYTILE_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "partial 39.0 ANYTILE_NATIVE_LAUNCH=0", done.stderr


def test_targets_without_native_launches_go_on_by_python(tmp_path):
    """The reference executor is one."""
    program = tmp_path / "program.py"
    program.write_text(
        "import torch, triton, triton.language as tl\n"
        "from triton.compiler import ASTSource\n"
        "@triton.jit\n"
        "def more(x, n):\n    tl.store(x, tl.load(x) + n)\n"
        "x = torch.zeros(1)\n"
        "for _ in range(50):\n    more[(1,)](x, 3)\n"
        "kernel = triton.compile(ASTSource(more, {'x': '*fp32', 'n': 'i32'}, {}, {}))\n"
        "for _ in range(3):\n    kernel.run(1, 1, 1, 0, None, None, None, None, None, x, 3)\n"
        "print(x.item())\n"
    )
    env = {**os.environ, "ANYTILE_TARGET": "reference"}
    done = subprocess.run([sys.executable, "-m", "anytile", "run", str(program)], env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout == "159.0\n", done.stderr


def test_another_driver_makes_new_launchers():
    x = torch.ones(64)
    for _ in range(3):
        kernel = scale[(1,)](x, 64, B=64)
    driver.set_active(driver.active)
    assert scale[(1,)](x, 64, B=64) is not kernel
