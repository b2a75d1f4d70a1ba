"""Compiled kernels go from torch's compile workers to the program: by `__dict__`, without what belongs to a process."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import anytile

anytile.install()

import kernels_for_inductor as kernels  # noqa: E402
from triton.compiler import ASTSource, CompiledKernel  # noqa: E402
from triton.compiler import compile as compile_  # noqa: E402

SIGNATURE = {"x": "*fp32", "out": "*fp32", "n": "i32", "factor": "fp32", "BLOCK": "constexpr"}


class Memory:
    """An array with an address, as a kernel's `run` takes it."""

    def __init__(self, values):
        self.values = np.asarray(values, dtype=np.float32)

    def data_ptr(self):
        return self.values.ctypes.data


def compiled(signature=SIGNATURE):
    return compile_(ASTSource(kernels.scale, signature, {"BLOCK": 64}, {}))


def without_function(kernel):
    """As torch does before it pickles: the function is taken off, and what a process holds is left out.  Returns the state."""
    fn = kernel.src.fn
    old = fn.fn, fn.__globals__, fn.used_global_vals, fn._hash_lock
    fn.fn = fn.__globals__ = fn.used_global_vals = fn._hash_lock = None
    try:
        return pickle.dumps({**kernel.__dict__, "metadata": kernel.metadata._asdict(), "module": None, "function": None, "run": None})
    finally:
        fn.fn, fn.__globals__, fn.used_global_vals, fn._hash_lock = old


def made_again(data):
    kernel = CompiledKernel.__new__(CompiledKernel)
    kernel.__dict__.update(pickle.loads(data))
    return kernel


@pytest.mark.parametrize("launched_before", [False, True])
def test_a_kernel_made_again_launches(launched_before):
    kernel = compiled()
    if launched_before:
        assert kernel.run is not None
    again = made_again(without_function(kernel))
    assert again.src.fn.fn is None and again.src.fn.arg_names == list(SIGNATURE)
    assert again.src.fn.constexprs == [4] and again.hash == kernel.hash
    assert again.asm["ttir"] == kernel.asm["ttir"]
    again._init_handles()
    assert again.function is not None
    x, out = Memory(np.arange(100)), Memory(np.zeros(100))
    again.run(2, 1, 1, 0, again.function, again.packed_metadata, None, None, None, x, out, 100, 2.5, 64)
    np.testing.assert_array_equal(out.values, x.values * 2.5)


def test_a_kernel_goes_to_another_process(tmp_path):
    (tmp_path / "kernel").write_bytes(without_function(compiled()))
    program = tmp_path / "program.py"
    program.write_text(
        "import pickle, sys, numpy as np\n"
        "from triton.compiler import CompiledKernel\n"
        "kernel = CompiledKernel.__new__(CompiledKernel)\n"
        "kernel.__dict__.update(pickle.load(open(sys.argv[1], 'rb')))\n"
        "kernel[(2,)](x := np.arange(100, dtype='f'), out := np.zeros(100, dtype='f'), 100, 2.5)\n"
        "print((out == 2.5 * x).all())\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "anytile", "run", str(program), str(tmp_path / "kernel")], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "True\n", done.stderr


def test_functions_pickle_by_name():
    assert pickle.loads(pickle.dumps(kernels.scale)) is kernels.scale
    assert copy.deepcopy(kernels.scale) is kernels.scale

    @kernels.triton.jit
    def local(x):
        pass

    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(local)


@pytest.mark.parametrize("listed", [True, False], ids=["all-arguments", "runtime-arguments"])
def test_run_takes_what_the_signature_lists(listed):
    """Triton ≤ 3.2 leaves constexprs out of signature and launch."""
    signature = SIGNATURE if listed else {k: v for k, v in SIGNATURE.items() if v != "constexpr"}
    kernel = compiled(signature)
    x, out = Memory(np.arange(70)), Memory(np.zeros(70))
    more = (64,) if listed else ()
    kernel.run(2, 1, 1, 0, None, None, None, None, None, x, out, 70, 3.0, *more)
    np.testing.assert_array_equal(out.values, x.values * 3)


def test_run_calls_hooks_and_takes_any_argument():
    kernel, seen = compiled(), []
    x, out = np.arange(70, dtype=np.float32), np.zeros(70, dtype=np.float32)
    kernel.run(2, 1, 1, 0, None, None, "facts", seen.append, seen.append, x, out, 70, 3.0, 64)  # arrays have no data_ptr
    np.testing.assert_array_equal(out, x * 3)
    assert seen == ["facts", "facts"]
    kernel.run(0, 1, 1, 0, None, None, None, None, None, Memory(x), Memory(out), 70, 9.0, 64)
    np.testing.assert_array_equal(out, x * 3)


def test_source_of_the_tests_is_where_it_says():
    assert Path(kernels.scale.file).name == "kernels_for_inductor.py"
