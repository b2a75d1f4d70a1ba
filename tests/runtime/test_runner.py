"""`CompiledKernel.run`, the positional protocol, by native code: the same as by Python, for usual arguments and unusual ones."""

import ctypes

import pytest

import anytile.language as tl
from anytile.errors import AnytileError
from anytile.native.launcher import FIXED, GpuQueue, Row
from anytile.runtime import compiler, knobs, warm
from anytile.runtime.arguments import HOST
from anytile.runtime.jit import jit
from anytile.runtime.runner import make_runner
from anytile.runtime.warm import unavailable_because

torch = pytest.importorskip("torch")


@jit
def scale(x, out, n, factor, plus, flag, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, i < n) * factor + plus + flag, i < n)


SIGNATURE = {"x": "*fp32", "out": "*fp32", "n": "i32", "factor": "fp32", "plus": "i64", "flag": "u64", "BLOCK": "constexpr"}
NO_HOOKS = (None, None, None, None, None)


def _kernel():
    return compiler.compile(compiler.ASTSource(scale, SIGNATURE, {"BLOCK": 256}, {}))


@pytest.fixture(scope="module")
def kernel():
    return _kernel()


@pytest.fixture(params=["native", "python"])
def run(request, kernel):
    if request.param == "python":
        return make_runner(kernel, kernel._run, kernel.go)
    if why := unavailable_because():
        pytest.skip(why)
    assert type(kernel.run) is type(len)
    return kernel.run


def _launch(run, grid=(4, 1, 1), hooks=(None, None), factor=2.5, plus=3, flag=0, x=None):
    x = torch.arange(1000.0) if x is None else x
    out = torch.full((1000,), -1.0)
    assert run(*grid, 0, None, None, "facts", *hooks, x, out, 1000, factor, plus, flag, 256) is None
    return out


def _expected(factor=2.5, plus=3):
    return torch.arange(1000.0) * factor + plus


def test_values_arrive(run):
    assert torch.equal(_launch(run), _expected())
    assert torch.equal(_launch(run, factor=-0.5, plus=-(2**40)), _expected(-0.5, -(2**40)))
    assert torch.equal(_launch(run, flag=2**64 - 2**20), _expected() + float(2**64))


def test_parameters_and_integers_for_floats(run):
    assert torch.equal(_launch(run, x=torch.nn.Parameter(torch.arange(1000.0))), _expected())
    assert torch.equal(_launch(run, factor=2), _expected(2))


@pytest.mark.parametrize("grid", [(0, 1, 1), (4, 0, 1), (4, 1, 0), (-1, 1, 1)])
def test_nothing_is_launched_for_an_empty_grid(run, grid):
    assert torch.equal(_launch(run, grid=grid), torch.full((1000,), -1.0))


def test_hooks_are_called_with_the_facts(run):
    seen = []
    hooks = (lambda facts: seen.append(("enter", facts)), lambda facts: seen.append(("exit", facts)))
    assert torch.equal(_launch(run, hooks=hooks), _expected())
    assert seen == [("enter", "facts"), ("exit", "facts")]
    assert torch.equal(_launch(run, hooks=([], [])), _expected())  # chains without a hook


def test_errors_are_those_of_python(run):
    with pytest.raises(AnytileError, match="argument plus of kernel scale is 'x' of type str, where i64 is needed"):
        _launch(run, plus="x")
    with pytest.raises(AnytileError, match="takes 7 arguments"):
        run(4, 1, 1, 0, *NO_HOOKS, torch.zeros(4))


def test_a_kernel_that_was_unloaded_is_loaded_again():
    if why := unavailable_because():
        pytest.skip(why)
    kernel = _kernel()
    run = kernel.run
    assert torch.equal(_launch(run), _expected())
    kernel.unload()
    assert torch.equal(_launch(run), _expected())


def test_without_native_launches_it_is_python(monkeypatch):
    monkeypatch.setattr(knobs.runtime, "native_launch", False)
    warm._maker.cache_clear()
    try:
        assert type(_kernel().run) is not type(len)
    finally:
        monkeypatch.undo()
        warm._maker.cache_clear()


def test_a_launch_on_a_gpu_is_given_to_the_driver_on_the_stream_that_is_passed():
    """The driver is a function of ctypes here, which reads what a driver would."""
    if why := unavailable_because():
        pytest.skip(why)
    seen = []

    def launch(config, function, parameters, extra):
        words = (ctypes.c_uint32 * 14).from_address(config)
        stream = ctypes.c_uint64.from_address(config + 32).value
        slots = [ctypes.c_int64.from_address(p).value for p in (ctypes.c_void_p * 2).from_address(parameters)]
        seen.append((*words[:3], words[3], words[6], stream, function, slots))
        return 0 if words[0] < 100 else 1

    driver = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4)(launch)
    address = ctypes.cast(driver, ctypes.c_void_p).value
    queue = GpuQueue(address, function=77, threads=128, shared=512, attributes=0, attribute_count=0, ready=ctypes.c_int64(1), owned=driver)
    rows = [Row("address", FIXED, 0, "x"), Row("integer", FIXED + 1, 1, "n", -(2**31), 2**31 - 1, 1, 0)]
    other = []
    maker = warm.native_maker(HOST, False)
    run = maker.positional(lambda *args: other.append(args[:4]), FIXED + 2, rows, 2, ctypes.c_int64(1), 0, queue)
    x = torch.zeros(4)
    assert run(5, 2, 1, 0x1234, *NO_HOOKS, x, -3) is None
    assert seen == [(5, 2, 1, 128, 512, 0x1234, 77, [x.data_ptr(), -3])] and not other
    run(5, 2, 1, None, *NO_HOOKS, x, 1)  # no number
    run(101, 2, 1, 0, *NO_HOOKS, x, 1)  # the driver refuses
    assert other == [(5, 2, 1, None), (101, 2, 1, 0)]
