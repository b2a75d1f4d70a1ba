"""Launching: kinds of arguments, specialisation, grids, options, hooks, and every launch error."""

from __future__ import annotations

import array
import ctypes
import gc
import warnings
from collections import namedtuple

import numpy as np
import pytest

import anytile.language as tl
from anytile.runtime import errors, knobs
from anytile.runtime.arguments import unwrap
from anytile.runtime.driver import driver
from anytile.runtime.hooks import HookChain
from anytile.runtime.jit import constexpr_function, jit
from anytile.runtime.wrappers import MockTensor

torch = pytest.importorskip("torch")
FakeTensorMode = pytest.importorskip("torch._subclasses.fake_tensor").FakeTensorMode


@jit
def scale(x, out, n, factor, BLOCK: tl.constexpr = 64):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n) * factor, mask=i < n)


@jit
def count(out, n):
    tl.store(out, n)


@pytest.fixture(autouse=True)
def no_kernels():
    scale.device_caches.clear()
    count.device_caches.clear()


def kernels(fn):
    return fn.device_caches[0][0]


def test_torch_numpy_and_dlpack():
    x = np.arange(100, dtype=np.float32)
    for wrap in (lambda a: a, torch.from_numpy):
        out = np.zeros(100, dtype=np.float32)
        kernel = scale[(2,)](wrap(x), wrap(out), 100, 3.0)
        np.testing.assert_array_equal(out, x * 3)
        assert kernel.metadata.num_warps == 4

    class Exporter:
        def __init__(self, t):
            self.t = t

        def __dlpack__(self, stream=None):
            return self.t.__dlpack__()

        def __dlpack_device__(self):
            return self.t.__dlpack_device__()

    out = torch.zeros(100)
    scale[(2,)](Exporter(torch.from_numpy(x)), Exporter(out), 100, 3.0)
    assert out[99] == 297


def test_integer_specialisation():
    out = torch.zeros(1, dtype=torch.int64)
    for n in (1, 2, 3, 16, 32, 2**40, -5):
        count[(1,)](out, n)
        assert out.item() == n
    assert len(kernels(count)) == 4  # 1, any, multiple of 16, i64 multiple of 16


def test_do_not_specialize():
    fn = jit(count.fn, do_not_specialize=["n"])
    out = torch.zeros(1, dtype=torch.int32)
    aligned = jit(count.fn, do_not_specialize_on_alignment=["n"])
    for n in (1, 2, 16):
        for f in (fn, aligned):
            f[(1,)](out, n)
            assert out.item() == n
    assert len(kernels(fn)) == 1 and len(kernels(aligned)) == 2


def test_constexprs_tell_types_apart():
    for value in (1, True, 1.0):
        scale.warmup(torch.float32, torch.float32, 1, value, BLOCK=16, grid=(1,))
    a, b = jit(count.fn), jit(count.fn)
    assert a is not b and len(kernels(scale)) == 3


def test_tuples_keep_their_structure():
    Pair = namedtuple("Pair", "a b")
    u = unwrap((1, (2, 2.5), Pair(None, 3)))
    assert u.key == (1, ("i32", "fp32"), (Pair, None, "i32"))
    assert u.value == (1, (2, 2.5), (None, 3))


class Methods:
    @jit
    def method(self, x):
        tl.store(x, 1)


def test_grids():
    out = torch.zeros(1, dtype=torch.int32)
    count[lambda META: (META["n"] - 1, np.int64(1))](out, 2)
    assert out.item() == 2
    assert count[(0,)](out, 7) is not None and out.item() == 2
    for grid, text in [
        (None, "without a grid"),
        (3, r"such as \(3,\)"),
        ((), "0 dimensions"),
        ((1, 1, 1, 1), "4 dimensions"),
        ((1.5,), "must be an integer"),
        ((-1,), "between 0"),
        ((2**31,), "2147483647"),
        ((1, 70000), "65535"),
    ]:
        with pytest.raises(errors.GridError, match=text) as e:
            count[grid](out, 3)
        assert "count" in str(e.value)
    with pytest.raises(errors.GridError, match="without a grid"):
        count.run(out, 3)
    with pytest.raises(errors.UnknownMetaError, match="^the grid function of count asks for 'm', .*: it has out, n, num_warps") as unknown:
        count[lambda META: (META["m"],)](out, 3, num_warps=4)
    assert isinstance(unknown.value, KeyError) and type(unknown.value.__cause__) is KeyError
    with pytest.raises(errors.UnknownMetaError, match="asks for 'num_warp', .*; did you mean 'num_warps'"):
        count[lambda META: (META["num_warp"],)](out, 3, num_warps=4)
    with pytest.raises(KeyError, match="^'n'$"):
        count[lambda META: ({}["n"],)](out, 3)


def test_checks_of_bounds_that_nobody_makes_are_told(monkeypatch):
    from anytile.runtime import bounds

    monkeypatch.setattr(bounds, "_warned", False)
    monkeypatch.setenv("ANYTILE_CHECK_BOUNDS", "1")
    with pytest.warns(bounds.BoundsWarning, match="set TRITON_INTERPRET=1, too"):
        count.warmup(torch.int32, 12345, grid=(1,))


def test_argument_errors():
    out = torch.zeros(1, dtype=torch.int32)
    with pytest.raises(errors.ArgumentError, match="kernel count is missing argument n"):
        count[(1,)](out)
    with pytest.raises(errors.ArgumentError, match=r"missing argument n; .*; it has no parameter called m$"):
        count[(1,)](out, m=1, num_warps=4)
    with pytest.raises(
        errors.ArgumentError, match=r"missing argument x; .* \(self, x\); a method cannot be a kernel: put @staticmethod above"
    ):
        Methods().method[(1,)](1)
    with pytest.raises(TypeError, match="of type staticmethod; put @staticmethod above @triton.jit"):
        jit(staticmethod(len))
    with pytest.raises(errors.OptionError, match=r"neither a parameter of count \(out, n\) nor a compile option; did you mean out\?"):
        count[(1,)](torch.zeros(1, dtype=torch.int32), 3, outt=1)
    with pytest.raises(errors.ArgumentError, match="takes 2 positional arguments but 3"):
        count[(1,)](out, 1, 2)
    with pytest.raises(TypeError, match="count.*multiple values for argument 'n'"):
        count[(1,)](out, 1, n=2)
    with pytest.raises(KeyError, match="Keyword argument colour was specified but unrecognised"):
        count[(1,)](out, 1, colour=2)
    with pytest.raises(errors.ArgumentTypeError, match="argument n of kernel count has type builtins.set"):
        count[(1,)](out, {1})
    with pytest.raises(OverflowError, match="argument n of kernel count is the integer"):
        count[(1,)](out, 2**64)
    with pytest.raises(errors.ArgumentTypeError, match="argument out of kernel count has elements of type torch.complex64"):
        count[(1,)](torch.zeros(1, dtype=torch.complex64), 1)
    with pytest.raises(AssertionError, match="num_warps must be a power of 2"):
        count[(1,)](out, 1, num_warps=3)
    with pytest.raises(RuntimeError, match="outside of the scope of a kernel"):
        count(out, 1)


def test_memory_that_cannot_be_used():
    with pytest.raises(ValueError, match="argument out of kernel count is a tensor on the meta device, .* device='cpu'"):
        count[(1,)](torch.zeros(1, device="meta"), 1)
    with pytest.raises(errors.StorageError, match="argument out of kernel count is a tensor of layout torch.sparse_coo, .* x.to_dense"):
        count[(1,)](torch.zeros(8).to_sparse(), 1)
    with FakeTensorMode():
        fake = torch.zeros(8, dtype=torch.int32)
    traced = r"argument out of kernel count is a tensor that stands for others while torch traces a program \(%s\).*torch.library.triton_op"
    with pytest.raises(errors.StorageError, match=traced % "FakeTensor"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of asking for its address
        count[(1,)](fake, 1)
    with pytest.raises(errors.StorageError, match=traced % "Tensor"):
        torch.func.functionalize(lambda x: (count[(1,)](x, 1), x)[1])(torch.zeros(8, dtype=torch.int32))
    with pytest.raises(errors.StorageError, match="out of kernel count is a tensor that torch.func .* setup_context"):
        torch.vmap(lambda x: (count[(1,)](x, 1), x)[1])(torch.zeros(2, 8, dtype=torch.int32))
    with pytest.raises(errors.ArgumentTypeError, match="argument out of kernel count has type torch.storage.UntypedStorage"):
        count[(1,)](torch.zeros(8).untyped_storage(), 1)
    with pytest.raises(errors.ArgumentTypeError, match="elements of type torch.complex64, .*torch.view_as_real"):
        count[(1,)](torch.zeros(8, dtype=torch.complex64), 1)
    with pytest.raises(errors.ArgumentTypeError, match="argument BLOCK of kernel scale is .* of type ndarray.*leave tl.constexpr off"):
        scale[(1,)](np.ones(4, np.float32), np.ones(4, np.float32), 4, 2.0, BLOCK=np.ones(4))
    freed = torch.zeros(8)
    freed.untyped_storage().resize_(0)
    with pytest.raises(errors.StorageError, match="argument out of kernel count has elements but no memory"):
        count[(1,)](freed, 1)
    fixed = np.zeros(4, dtype=np.float32)
    fixed.flags.writeable = False
    with pytest.raises(errors.ReadOnlyError, match="argument out of kernel scale is read-only"):
        scale[(1,)](np.ones(4, dtype=np.float32), fixed, 4, 2.0)
    out = np.zeros(4, dtype=np.float32)
    fixed = np.full(4, 3, dtype=np.float32)
    fixed.flags.writeable = False
    scale[(1,)](fixed, out, 4, 2.0)  # reading it is fine
    assert (out == 6).all()


def test_memory_that_is_no_array():
    for x in (array.array("f", [0.0]), [0.0], (ctypes.c_float * 4)(), memoryview(bytearray(4))):
        with pytest.raises(
            errors.ArgumentTypeError, match="argument out of kernel count has type .*; numpy.asarray.x. makes an array of it"
        ):
            count[(1,)](x, 1)


def test_float_beyond_f32_is_infinite():
    x, out = torch.ones(4), torch.zeros(4)
    scale[(1,)](x, out, 4, 1e300)
    assert torch.isinf(out).all()


def test_hooks():
    seen = []
    out = torch.zeros(1, dtype=torch.int32)
    fn = jit(count.fn, launch_metadata=lambda grid, kernel, args: {"n": args["n"], "grid": grid})

    def enter(metadata):
        seen.append(metadata.get())

    knobs.runtime.launch_enter_hook.add(enter)
    try:
        fn[(1, 2)](out, 6)
    finally:
        knobs.runtime.launch_enter_hook.remove(enter)
    fn[(1,)](out, 7)
    assert [(m["name"], m["n"], m["grid"]) for m in seen] == [("count", 6, (1, 2, 1))]
    fn.add_pre_run_hook(lambda t, n: seen.append(n))
    fn[(1,)](out, 9)
    assert seen[-1] == 9


def test_cache_hook_can_refuse():
    knobs.runtime.jit_cache_hook = lambda **facts: True
    assert count[(1,)](torch.zeros(1, dtype=torch.int32), 5) is None


def test_preload_of_kernels_that_take_local_functions():
    @jit
    def three():
        return 3

    @jit
    def call(out, F: tl.constexpr):
        tl.store(out, F())

    told = []
    knobs.runtime.jit_cache_hook = lambda **facts: told.append(facts["compile"]["specialization_data"])
    out = torch.zeros(1, dtype=torch.int32)
    first = call[(1,)](out, three)
    kernels(call).clear()
    assert call.preload(told[0]).hash == first.hash
    before = len(told)
    call[(1,)](out, three)
    assert out.item() == 3 and len(told) == before
    with pytest.raises(RuntimeError, match=r"Specialization data is for {'backend': 'toaster'"):
        call.preload(told[0].replace('"backend": "cpu"', '"backend": "toaster"'))


def test_cache_hook_tells_the_name_that_the_function_was_given():
    """Kernels written from templates get the name under which another process finds them."""

    @jit
    def written(out):
        tl.store(out, 1)

    written.fn.__module__, written.fn.__qualname__ = "somewhere", "found"
    told = []
    knobs.runtime.jit_cache_hook = lambda **facts: told.append(facts["fn"])
    written[(1,)](torch.zeros(1, dtype=torch.int32))
    assert (told[0].module, told[0].name) == ("somewhere", "found")


def test_unloading(monkeypatch):
    gc.collect()  # kernels of earlier tests unload now, not while the hook listens
    told = []
    monkeypatch.setattr(knobs.runtime, "kernel_unload_hook", HookChain())
    knobs.runtime.kernel_unload_hook.add(lambda module, function, name, group, hash: told.append(name))
    out = torch.zeros(1, dtype=torch.int32)
    kernel = count[(1,)](out, 5)
    kernel.unload()
    kernel.unload()
    assert told == ["count"] and kernel.module is None
    kernel[(1,)](out, 6)
    assert out.item() == 6 and kernel.module is not None


def test_emptied_kernel_cache_compiles_again():
    out = torch.zeros(1, dtype=torch.int32)
    first = count[(1,)](out, 5)
    assert count[(1,)](out, 5) is first
    kernels(count).clear()
    assert count[(1,)](out, 5) is not first


def test_debug_knob_is_part_of_the_key(monkeypatch):
    out = torch.zeros(1, dtype=torch.int32)
    count[(1,)](out, 5)
    monkeypatch.setenv("TRITON_DEBUG", "1")
    assert count[(1,)](out, 5).metadata.debug is True


def test_warmup_and_launch_of_the_compiled_kernel():
    kernel = count.warmup(MockTensor(torch.int32), 5, grid=(1,))
    out = torch.zeros(1, dtype=torch.int32)
    kernel[(1,)](out, 5)
    assert out.item() == 5 and "tile" in kernel.asm and kernel.asm["ttir"] == kernel.asm["tile"]


def test_launching_a_compiled_kernel_without_what_is_compile_time():
    x, out = torch.ones(4), torch.zeros(4)
    kernel = scale.warmup(x, out, 1, 3.0, BLOCK=16, grid=(1,))  # n = 1 is compiled in
    for args in ((x, out, 1, 3.0, 16), (x, out, 1, 3.0), (x, out, 3.0)):
        out.zero_()
        kernel[(1,)](*args)
        assert out.tolist() == [3, 0, 0, 0]
    with pytest.raises(errors.ArgumentError, match="takes 5 arguments, or 4 without the compile-time ones; 2 were given"):
        kernel[(1,)](x, out)


def test_parameters_named_like_the_launchers_own():
    @jit
    def odd(_v0, __kernel, type, A: tl.constexpr):
        tl.store(_v0, __kernel + type + A)

    out = torch.zeros(1, dtype=torch.int32)
    odd[(1,)](out, 2, 3, A=4)
    assert out.item() == 9


def test_constexpr_function_on_the_host():
    @constexpr_function
    def double(x):
        return 2 * x

    assert double(tl.constexpr(4)) == 8


def backend_here():
    return driver.active.get_current_target().backend


backend_here.__triton_builtin__ = True  # as triton_kernels, of gpt-oss, says that its function may be called at compile time


def undeclared():
    return 1


@constexpr_function
def on_cuda():
    return backend_here() == "cuda"


@constexpr_function
def calls_undeclared():
    return undeclared()


@jit
def says_where(out):
    tl.store(out, 2 if on_cuda() else 1)


@jit
def asks_undeclared(out):
    tl.store(out, calls_undeclared())


def test_functions_that_compile_time_functions_call():
    out = torch.zeros(1, dtype=torch.int32)
    says_where[(1,)](out)
    assert out.item() == 1
    with pytest.raises(RuntimeError, match=r"^Unsupported function referenced: .*undeclared in compile-time function calls_undeclared"):
        asks_undeclared[(1,)](out)


def test_names_in_profiles():
    def name(specialization):
        ones = [k for k, v in specialization.constants.items() if v == 1]
        return f"count_{specialization.signature['out']}_{'_'.join(ones)}"

    fn = jit(count.fn, repr=name)
    assert fn.warmup(torch.int32, 1, grid=(1,)).name == "count_*i32_n"
    assert fn.warmup(torch.int32, 2, grid=(1,)).metadata.name == "count_*i32_"


@jit
def call_it(out, pair):
    tl.store(out, pair.fn(pair.value))


def test_functions_inside_tuples():
    @jit
    def twice(x):
        return 2 * x

    @jit
    def thrice(x):
        return 3 * x

    Pair = namedtuple("Pair", ["fn", "value"])
    out = torch.zeros(1, dtype=torch.int32)
    for f, want in ((twice, 10), (thrice, 15)):
        call_it[(1,)](out, Pair(f, 5))
        assert out.item() == want
