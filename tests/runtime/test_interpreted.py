"""``TRITON_INTERPRET=1``: kernels launched as Python, with everything that stands around a launch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import traceback

import numpy as np
import pytest

import anytile.language as tl
from anytile.errors import DeviceAssertError
from anytile.runtime import errors, knobs
from anytile.runtime.autotuner import Config, autotune, heuristics
from anytile.runtime.interpreted import InterpretedFunction
from anytile.runtime.jit import JITFunction, jit


@pytest.fixture(autouse=True)
def interpreting(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")


def interpreted(fn, **options):
    return InterpretedFunction(fn, **options)


def _double(x, y, n, BLOCK: tl.constexpr = 4):
    lanes = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + lanes, mask=lanes < n, other=0)
    print("v", v, "of", BLOCK.value)
    tl.store(y + lanes, v * 2, mask=lanes < n)


def test_jit_chooses_by_the_environment(monkeypatch):
    assert isinstance(jit(_double), InterpretedFunction)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert type(jit(_double)) is JITFunction
    monkeypatch.setenv("ANYTILE_TARGET", "reference")
    assert type(jit(_double)) is JITFunction  # the executor of tile IR, not Python


def test_launch_prints_and_computes(capsys):
    x, y = np.arange(6, dtype=np.int32), np.zeros(6, np.int32)
    assert jit(_double)[lambda meta: (-(-6 // meta["BLOCK"]),)](x, y, n=6) is None
    assert capsys.readouterr().out.splitlines() == ["v [0 1 2 3] of 4", "v [4 5 0 0] of 4"]
    assert y.tolist() == [0, 2, 4, 6, 8, 10]


def _indexing(y, n, one, WHICH: tl.constexpr):
    table = [3, 5, 7]
    total = 0
    for i in range(n):
        total += table[i]
    for i in range(one):
        total += i + 100
    if WHICH is None:
        total += 1000
    tl.store(y, total + one.to(tl.int64))


def test_scalars_are_indices_and_one_is_a_number():
    y = np.zeros(1, np.int64)
    jit(_indexing)[(1,)](y, 3, 1, None)
    assert y[0] == 15 + 100 + 1000 + 1


def _failing(x):
    v = tl.load(x + tl.arange(0, 4))
    raise ValueError(f"values {v}")  # this line


def _asserting(x):
    tl.device_assert(tl.load(x) > 3, "large")


def test_errors_inside_the_kernel(monkeypatch):
    x = np.arange(4, dtype=np.int32)
    with pytest.raises(errors.InterpreterError, match=r"kernel _failing stopped with ValueError: values \[0 1 2 3\]") as e:
        jit(_failing)[(1,)](x)
    assert "# this line" in traceback.extract_tb(e.value.__cause__.__traceback__)[-1].line
    assert str(e.value).endswith(f"\n  at {__file__}:{_failing.__code__.co_firstlineno + 2} in _failing, program (0, 0, 0)")
    with pytest.raises(DeviceAssertError, match="large"):
        jit(_asserting, debug=True)[(1,)](x)
    with knobs.compilation.scope():
        knobs.compilation.front_end_debugging = True
        with pytest.raises(ValueError, match="values"):
            jit(_failing)[(1,)](x)


def _undecided(x):
    lanes = tl.arange(0, 4)
    if lanes < 3:
        tl.store(x + lanes, 1)


def _entangled(x, n):
    lanes = tl.arange(0, 4)
    tl.store(x + lanes, 1, mask=lanes >= 0 & lanes < n)


def _bad_range(x, n):
    if tl.program_id(0) == 1:
        tl.arange(0, 3)


def test_newcomers_mistakes_are_told_with_their_place():
    x = np.zeros(4, np.int32)
    with pytest.raises(errors.InterpreterError, match="int1.4. has no one truth: .* use tl.where, & | ~ with brackets"):
        jit(_undecided)[(1,)](x)
    with pytest.raises(errors.InterpreterError, match="`&` binds tighter than comparisons"):
        jit(_entangled)[(1,)](x, 3)
    with pytest.raises(
        errors.InterpreterError, match=r"with ValueError: arange's range must be .*: it is 3 here .*\n.*, program \(1, 0, 0\)"
    ):
        jit(_bad_range)[(2,)](x, 3)
    with pytest.raises(TypeError, match="^_double.* got multiple values for argument 'y'"):
        jit(_double)[(1,)](x, x, 4, y=x)


def _touch(log, at):
    tl.store(log + at, 1)
    return at


def _logic(log, out, n, one, zero, YES: tl.constexpr, NO: tl.constexpr):
    """Each line a form of logic; ``log`` notes which operands were evaluated."""
    i = tl.arange(0, 8)
    tl.store(out + i, (i > 1 and i < n).to(tl.int32))
    tl.store(out + 8 + i, (i < 2 or i >= n or i == 4).to(tl.int32))
    tl.store(out + 16 + i, (not i).to(tl.int32))
    tl.store(out + 24 + i, (1 < i <= 5 < n + i != 9).to(tl.int32))
    tl.store(out + 32 + i, (YES and i > 3 and not i == 6).to(tl.int32))
    tl.store(out + 40, (n and zero).to(tl.int32) + (one or n).to(tl.int32) * 10)
    tl.store(out + 41, (n > 100 and _touch(log, 0) == 0).to(tl.int32))  # a run-time value decides nothing: both are evaluated
    tl.store(out + 42, 7 if NO and _touch(log, 1) else 8)  # a compile-time one does
    tl.store(out + 43, 7 if YES or _touch(log, 2) else 8)
    tl.store(out + 44, 7 if not NO and 0 < 1 < _touch(log, 3) + 2 else 8)
    if 2 < 1 < _touch(log, 4):
        tl.store(out + 45, 7)
    tl.store(out + 46, (n and one).to(tl.int32) if (n if YES and n else one) else 9)
    count = 0
    while count < n and (count < 3 or count == 100):
        count += 1
    tl.store(out + 47, count)


def test_logic_of_run_time_values_is_that_of_the_compiled_kernel(monkeypatch):
    def results():
        log, out = np.zeros(8, np.int32), np.full(48, -1, np.int32)
        jit(_logic)[(1,)](log, out, 6, 2, 0, True, False)
        return log.tolist(), out.tolist()

    as_python = results()
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert as_python == results()
    log, out = as_python
    assert log[:5] == [1, 0, 0, 1, 0]
    assert out[:8] == [0, 0, 1, 1, 1, 1, 0, 0] and out[24:32] == [0, 0, 1, 0, 1, 1, 0, 0] and out[47] == 3


def _of_a_closure(limit):
    low = 1

    def kernel(x, *, n: tl.constexpr = 4):
        i = tl.arange(0, n)
        tl.store(x + i, 5, mask=low <= i < limit)
        raise ValueError("here")  # the last line

    return kernel


def test_rewritten_functions_keep_closures_defaults_and_lines():
    x = np.zeros(4, np.int32)
    with pytest.raises(errors.InterpreterError, match="here") as failure:
        jit(_of_a_closure(3))[(1,)](x)
    assert x.tolist() == [0, 5, 5, 0]
    last = traceback.extract_tb(failure.value.__cause__.__traceback__)[-1]
    assert "# the last line" in last.line and last.name == "kernel"


def test_logic_beside_a_long_expression(tmp_path, monkeypatch):
    terms = " + ".join(["i"] * 400)
    (tmp_path / "long_sum.py").write_text(
        "import anytile.language as tl\n\ndef kernel(x, n):\n    i = tl.arange(0, 4)\n"
        f"    total = {terms}\n    tl.store(x + i, total, mask=i > 0 and i < n)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import long_sum

    x = np.zeros(4, np.int32)
    jit(long_sum.kernel)[(1,)](x, 3)
    assert x.tolist() == [0, 400, 800, 0]


def _launches(x):
    jit(_by_position)[(1,)](x, 3)


def test_a_kernel_launches_no_other():
    with pytest.raises(errors.InterpreterError, match="a kernel cannot launch another one .* call it as a function, _by_position"):
        jit(_launches)[(1,)](np.zeros(1, np.int32))


def _by_position(x, /, n):
    tl.store(x, n)


def test_parameters_by_position_alone():
    x = np.zeros(1, np.int32)
    jit(_by_position)[(1,)](x, n=5)
    assert x[0] == 5


def test_launch_errors_are_those_of_compiled_kernels():
    kernel, x = jit(_double), np.zeros(4, np.int32)
    with pytest.raises(errors.ArgumentError, match="missing argument n"):
        kernel[(1,)](x, x)
    with pytest.raises(errors.OptionError, match="unrecognised: it is neither"):
        kernel[(1,)](x, x, 4, BLOK=8)
    with pytest.raises(errors.GridError, match="must be a tuple"):
        kernel[1](x, x, 4)
    with pytest.raises(errors.GridError, match="without a grid"):
        kernel.run(x, x, 4)
    with pytest.raises(errors.UnknownMetaError, match="asks for 'BLOK', .* did you mean 'BLOCK'"):
        kernel[lambda meta: (meta["BLOK"],)](x, x, 4)


def test_hooks_autotuners_and_heuristics():
    seen = []
    x, y = np.arange(8, dtype=np.int32), np.zeros(8, np.int32)
    kernel = jit(_double)
    kernel.add_pre_run_hook(lambda *args, **kwargs: seen.append("pre"))
    tuned = autotune(configs=[Config({"SIZE": 2}), Config({"SIZE": 4})], key=["n"], do_bench=lambda call, quantiles: (call(), [1.0] * 3)[1])
    outer = tuned(heuristics({"BLOCK": lambda args: 2 * args["SIZE"]})(jit(_sized)))
    with knobs.runtime.scope():
        knobs.runtime.launch_enter_hook = lambda facts: seen.append(("enter", facts.get()["name"]))
        knobs.runtime.launch_exit_hook = lambda facts: seen.append("exit")
        kernel[(2,)](x, y, 8)
    assert seen == ["pre", ("enter", "_double"), "exit"]
    y[:] = 0
    outer[lambda meta: (8 // meta["BLOCK"],)](x, y, n=8)
    assert y.tolist() == (x * 2).tolist() and outer.best_config.kwargs == {"SIZE": 2}
    assert kernel.warmup(x, y, 8, grid=(1,)) is None and len(seen) == 4


def _sized(x, y, n, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    lanes = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + lanes, tl.load(x + lanes) * (BLOCK // SIZE), mask=lanes < n)


PROGRAM = """
import numpy as np
import anytile.language as tl
from anytile.runtime.jit import jit

@jit
def kernel(x):
    v = tl.load(x)
    breakpoint()
    tl.store(x, v + 1)

x = np.array([41])
kernel[(1,)](x)
print("result", x[0])
"""


def test_breakpoints_show_values(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    made = subprocess.run([sys.executable, str(program)], input="p v\nc\n", capture_output=True, text=True, timeout=120)
    assert "tensor(41, int64)" in made.stdout and "result 42" in made.stdout, made.stdout + made.stderr


STEPS = """
import numpy as np
import anytile.language as tl
from anytile.runtime.jit import jit

@jit
def twice(v):
    w = v * 2
    return w

@jit
def kernel(x):
    breakpoint()
    v = twice(tl.load(x))
    tl.store(x, v)

x = np.array([21])
kernel[(1,)](x)
print("result", x[0])
"""


def test_steps_lead_from_kernel_to_function_and_back(tmp_path):
    """Not through anytile's own frames."""
    program = tmp_path / "program.py"
    program.write_text(STEPS)
    command = [sys.executable, str(program)]
    plain = {k: v for k, v in os.environ.items() if k != "PYTHONBREAKPOINT"}
    made = subprocess.run(command, input="s\n" * 4 + "p w\n" + "s\n" * 3 + "c\n", capture_output=True, text=True, timeout=120, env=plain)
    assert "tensor(42, int64)" in made.stdout and "result 42" in made.stdout, made.stdout + made.stderr
    stops = [line for line in made.stdout.splitlines() if re.search(r"> .*\(\d+\)[\w<>]+\(\)", line)]
    assert stops and all("program.py" in stop for stop in stops), made.stdout
    none = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**plain, "PYTHONBREAKPOINT": "0"})
    assert none.stdout == "result 42\n", none.stdout + none.stderr


def _shifted(x, y, shift, BLOCK: tl.constexpr = 4):
    lanes = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + lanes, tl.load(x + lanes + shift))


def test_bounds_are_checked_where_asked_for(monkeypatch):
    whole, y = np.arange(16, dtype=np.int32), np.zeros(8, np.int32)
    x = whole[2:10]
    jit(_shifted)[(2,)](x, y, 6)  # nothing is checked; what lies there is another part of the same array
    assert y.tolist() == whole[8:16].tolist()
    monkeypatch.setenv("ANYTILE_CHECK_BOUNDS", "1")
    jit(_shifted)[(2,)](x, y, -2)  # a view may be left for the rest of its array
    assert y.tolist() == whole[:8].tolist()
    with pytest.raises(errors.InterpreterError) as failure:
        jit(_shifted)[(2,)](x, y, 7)
    text = str(failure.value)
    assert "kernel _shifted stopped with BoundsError: load at " in text and "test_interpreted.py" in text
    assert "program (1, 0, 0), lane (3,) accesses 4 bytes" in text
    assert "the nearest argument is 'x', 0 bytes past its end" in text
    with pytest.raises(errors.InterpreterError, match="store at .* program .2, 0, 0.*'y', 0 bytes past its end"):
        jit(_shifted)[(3,)](x, y, -2)
    monkeypatch.setenv("ANYTILE_CHECK_BOUNDS", "0")
    jit(_shifted)[(2,)](x, y, 6)


def _counting(x, pair):
    lanes = tl.arange(0, 4)
    tl.store(pair[1] + lanes, tl.load(x + lanes))
    tl.atomic_add(pair[0], 1)


def test_read_only_memory_stays_as_it_is():
    whole = np.arange(12, dtype=np.int32)
    fixed = whole[:4]
    fixed.flags.writeable = False
    count, y = np.zeros(1, np.int32), np.zeros(4, np.int32)
    jit(_counting)[(1,)](fixed, (count, y))
    assert y.tolist() == [0, 1, 2, 3] and count[0] == 1
    with pytest.raises(
        errors.ReadOnlyError, match="argument y of kernel _double is read-only memory, .*pass a writable copy\n  at .* in _double, "
    ):
        jit(_double)[(1,)](y, fixed, 4)
    with pytest.raises(errors.ReadOnlyError, match="argument pair of kernel _counting is read-only"):
        jit(_counting)[(1,)](y, (fixed, y))
    assert whole.tolist() == list(range(12))
    jit(_double)[(1,)](fixed, fixed, 0)  # nothing is stored
    jit(_double)[(1,)](fixed, whole[4:8], 4)  # the same array, beside it
    jit(_double)[(1,)](fixed, whole, 4)  # the same memory by another argument, which may be written
    assert whole[:4].tolist() == [0, 2, 4, 6] and whole[4:8].tolist() == [0, 2, 4, 6]
    jit(_double)[(1,)](y, y, 4)  # no guard is left


def test_each_thread_has_the_bounds_of_its_own_launch(monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setenv("ANYTILE_CHECK_BOUNDS", "1")

    def launch(i):
        x, y = np.arange(4, dtype=np.int32), np.zeros(4, np.int32)
        for _ in range(5):
            jit(_shifted)[(1,)](x, y, 0)
        return y.tolist()

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(launch, range(40))) == [[0, 1, 2, 3]] * 40
    finally:
        sys.setswitchinterval(usual)


def test_the_memory_of_arguments(monkeypatch):
    from anytile.runtime.bounds import extents

    class Tensor:
        def data_ptr(self):
            return 4096

        def numel(self):
            return 10

        def element_size(self):
            return 2

    array = np.zeros((4, 6), np.float32)
    assert list(extents(array[::-1, 2:])) == [(array.ctypes.data, 96)]
    assert list(extents(np.zeros(0, np.int8)))[0][1] == 0
    assert list(extents((Tensor(), (3, array), None, 2.5, np.float32(2.5), "x"))) == [(4096, 20), (array.ctypes.data, 96)]
    backwards = np.lib.stride_tricks.as_strided(array[3:], (4, 6), (-24, 4))
    assert list(extents(backwards)) == [(array.ctypes.data, 96)]
