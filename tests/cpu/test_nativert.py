"""Kernels as shared libraries for models compiled ahead of time: called as torch's loader calls them, from this process without torch,
and once by a model of torch's own making."""

from __future__ import annotations

import ctypes
import linecache
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import anytile.language as tl
from anytile.errors import AnytileError, UnsupportedError
from anytile.runtime.compiler import ASTSource
from anytile.runtime.compiler import compile as compile_source
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit
from anytile.targets.cpu.machine import current

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="torch's loader of such libraries is Linux's"),
    pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++", "cc"))), reason="nothing here links"),
]


@jit
def mixed(x, FIRST: tl.constexpr, out, n, scale, flag, wide, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, i < n) * scale + FIRST + wide
    tl.store(out + i, tl.where(flag, value, -value).to(out.dtype.element_ty), i < n)


@jit
def picks(table, at, out, n, size, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    j = tl.load(at + i, i < n, other=0)
    tl.device_assert((j >= 0) & (j < size), "index out of reach")
    tl.store(out + i, tl.load(table + j), i < n)


@jit
def says(x):
    tl.device_print("x", tl.load(x))


@jit
def where(out):
    x, y, z = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    p = x + tl.num_programs(0) * (y + tl.num_programs(1) * z)
    tl.store(out + p, x + 100 * y + 10000 * z)


@jit
def at(out):
    for i in tl.static_range(3):
        tl.store(out + i, tl.program_id(i))


def compiled(kernel, signature, constants=None, **options):
    target = GPUTarget("cpu", current().architecture, 1)
    return compile_source(ASTSource(kernel, signature, constants or {}), target=target, options=options)


def loaded(kernel, folder):
    """(run_from_nativert, the kernel's address), loaded as torch loads them; the libraries stay, as there."""
    found = []
    for stage, symbol in (("launcher.so", "run_from_nativert"), ("so", kernel.metadata.name)):
        path = folder / f"{kernel.metadata.name}.{stage}"
        path.write_bytes(kernel.asm.get(stage))
        found.append(getattr(ctypes.CDLL(str(path)), symbol))
    run, code = found
    run.restype, run.argtypes = None, [ctypes.c_uint32] * 3 + [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    return run, ctypes.cast(code, ctypes.c_void_p)


def arguments(*values):
    """The array: addresses of arrays themselves, of numbers where they lie; None for what is compiled in."""
    return (ctypes.c_void_p * len(values))(
        *[v if v is None else v.ctypes.data if isinstance(v, np.ndarray) else ctypes.addressof(v) for v in values]
    )


MIXED = {
    "x": "*fp32",
    "FIRST": "constexpr",
    "out": "*fp32",
    "n": "i32",
    "scale": "fp32",
    "flag": "i1",
    "wide": "fp64",
    "BLOCK": "constexpr",
}


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_kind_of_argument(tmp_path, flag, threads):
    run, code = loaded(compiled(mixed, MIXED, {"FIRST": 5, "BLOCK": 64}), tmp_path)
    x, out = np.random.default_rng(0).standard_normal(1000, "f"), np.full(1008, np.nan, "f")
    keep = ctypes.c_int64(1000), ctypes.c_float(2.5), ctypes.c_bool(flag), ctypes.c_float(0.25)
    run(16, 1, 1, threads, arguments(x, None, out, *keep, None), code)
    want = x * 2.5 + 5.25
    np.testing.assert_allclose(out[:1000], want if flag else -want, rtol=1e-6, atol=1e-6)
    assert np.isnan(out[1000:]).all()


@pytest.mark.parametrize("grid", [(5, 3, 2), (1, 1, 1), (0, 4, 4), (70, 1, 1)])
def test_each_program_of_a_grid_runs_once(tmp_path, grid):
    run, code = loaded(compiled(where, {"out": "*i32"}), tmp_path)
    gx, gy, gz = grid
    out = np.full(gx * gy * gz + 1, -1, "i4")
    run(*grid, 1, arguments(out), code)
    want = [x + 100 * y + 10000 * z for z in range(gz) for y in range(gy) for x in range(gx)]
    assert out.tolist() == [*want, -1]


def test_a_kernel_that_prints_is_refused():
    with pytest.raises(UnsupportedError, match="device_print in says.*ahead of time"):
        compiled(says, {"x": "*fp32"}).asm["so"]


def test_tuples_are_refused():
    @jit
    def both(xy):
        tl.store(xy[0], xy[1])

    with pytest.raises(UnsupportedError, match="parameter of type"):
        compiled(both, {"xy": ("*fp32", "fp32")}).asm["launcher.so"]


def named(name, number):
    """A kernel of this name that stores ``number``."""
    scope = {"tl": tl}
    source = f"def {name}(out):\n    tl.store(out, {number})\n"
    file = f"<{name} {number}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)  # where `inspect` looks
    exec(compile(source, file, "exec"), scope)
    return compiled(jit(scope[name]), {"out": "*i32"})


def stored(run, code):
    out = np.zeros(1, "i4")
    run(1, 1, 1, 1, arguments(out), code)
    return int(out[0])


@pytest.mark.parametrize("name", ["kernel", "noyau_é", "said", "failed", "anytile_programs", "memcpy", "exp"])
def test_kernels_have_any_name_of_python(tmp_path, name):
    assert stored(*loaded(named(name, 7), tmp_path)) == 7


@pytest.mark.parametrize("name", ["malloc", "free", "program", "anytile_assert"])
def test_names_that_the_library_needs_itself_are_refused(name):
    with pytest.raises(UnsupportedError, match=f"a kernel called {name}.*another function of this name"):
        named(name, 7).asm["so"]


TOGETHER = """
import ctypes, sys
from concurrent.futures import ThreadPoolExecutor

def load(launcher, kernel, name):
    run, code = (getattr(ctypes.CDLL(p, mode=ctypes.RTLD_GLOBAL), s) for p, s in ((launcher, "run_from_nativert"), (kernel, name)))
    return run, ctypes.cast(code, ctypes.c_void_p)

def stored(which):
    run, code = loaded[which]
    found = set()
    for _ in range(1000):
        out = ctypes.c_int32(0)
        run(1, 1, 1, 1, (ctypes.c_void_p * 1)(ctypes.addressof(out)), code)
        found.add(out.value)
    return found

loaded = [load(*sys.argv[i : i + 3]) for i in (1, 4)]
with ThreadPoolExecutor(4) as pool:
    print(list(pool.map(stored, [0, 1, 0, 1])))
"""


def test_libraries_loaded_for_everybody_keep_their_own_kernels_in_several_threads(tmp_path):
    command = [sys.executable, "-c", TOGETHER]
    for name, number in (("first", 1), ("second", 2)):
        kernel = named(name, number)
        for stage in ("launcher.so", "so"):
            path = tmp_path / f"{name}.{stage}"
            path.write_bytes(kernel.asm[stage])
            command.append(str(path))
        command.append(name)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "[{1}, {2}, {1}, {2}]\n", done.stderr


def test_programs_beyond_32_bits(tmp_path):
    _, code = loaded(compiled(at, {"out": "*i32"}), tmp_path)
    programs = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 2, *[ctypes.c_uint32] * 3)(code.value)
    gx, gy, gz = 70000, 65535, 3
    for p in (2**31, 2**32 + 5, gx * gy * gz - 1):
        out = np.zeros(3, "i4")
        assert programs((ctypes.c_int64 * 1)(out.ctypes.data), p, p + 1, gx, gy, gz) is None
        assert out.tolist() == [p % gx, p // gx % gy, p // (gx * gy)]


def test_without_a_linker(monkeypatch):
    kernel = compiled(where, {"out": "*i32"})
    monkeypatch.setenv("PATH", "")
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AnytileError, match="no C\\+\\+ compiler was found"):
        kernel.asm["so"]


def test_the_linker_that_the_environment_names(monkeypatch):
    kernel = compiled(where, {"out": "*i32"})
    monkeypatch.setenv("CXX", "env c++")
    if shutil.which("c++"):
        assert kernel.asm["so"][:4] == b"\x7fELF"
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.raises(AnytileError, match="CXX names no-such-compiler"):
        kernel.asm["launcher.so"]


def test_other_stages_are_asked_for_as_before():
    kernel = compiled(where, {"out": "*i32"})
    assert kernel.asm.get("nothing like it") is None
    assert kernel.asm.get("cubin", b"none") == b"none"
    with pytest.raises(KeyError, match="no stage 'cubin'"):
        kernel.asm["cubin"]


FAILING = """
import ctypes, sys
run = ctypes.CDLL(sys.argv[1]).run_from_nativert
code = ctypes.cast(getattr(ctypes.CDLL(sys.argv[2]), "picks"), ctypes.c_void_p)
table, at, out = (ctypes.c_float * 4)(1, 2, 3, 4), (ctypes.c_int32 * 4)(0, 1, int(sys.argv[3]), 3), (ctypes.c_float * 4)()
numbers = [ctypes.c_int64(4), ctypes.c_int64(4)]
args = (ctypes.c_void_p * 6)(*[ctypes.addressof(x) for x in (table, at, out, *numbers)], None)
run(1, 1, 1, 1, args, code)
print(list(out))
"""


@pytest.mark.parametrize("index", [2, 9])
def test_a_failed_assert_without_torch_ends_the_process_and_says_why(tmp_path, index):
    signature = {"table": "*fp32", "at": "*i32", "out": "*fp32", "n": "i32", "size": "i32", "BLOCK": "constexpr"}
    kernel = compiled(picks, signature, {"BLOCK": 4}, debug=True)
    paths = [tmp_path / stage for stage in ("launcher.so", "so")]
    for path in paths:
        path.write_bytes(kernel.asm[path.name])
    done = subprocess.run([sys.executable, "-c", FAILING, *map(str, paths), str(index)], capture_output=True, text=True, check=False)
    if index == 2:
        assert done.stdout == "[1.0, 2.0, 3.0, 4.0]\n"
    else:
        assert done.returncode == -6
        assert "device_assert failed in kernel picks: index out of reach (" in done.stderr


MODEL = """
import sys, torch, triton, triton.language as tl

@triton.jit
def picks(table, at, out, n, size, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    j = tl.load(at + i, i < n, other=0)
    tl.device_assert((j >= 0) & (j < size), "index out of reach")
    tl.store(out + i, tl.load(table + j) * 2, i < n)

@torch.library.triton_op("nativert::picks", mutates_args={})
def op(table: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(at, dtype=table.dtype)
    torch.library.wrap_triton(picks)[(triton.cdiv(at.numel(), 64),)](table, at, out, at.numel(), table.numel(), BLOCK=64, debug=True)
    return out

class Model(torch.nn.Module):
    def forward(self, table, at):
        return op(table.sin(), at)

table, at = torch.randn(50), torch.randint(0, 50, (77,))
dynamic = {"table": None, "at": {0: torch.export.Dim("n", min=2, max=9999)}}
package = torch._inductor.aoti_compile_and_package(torch.export.export(Model(), (table, at), dynamic_shapes=dynamic), package_path=sys.argv[1])
model = torch._inductor.aoti_load_package(package)
for indices in (at, torch.randint(0, 50, (1234,))):
    assert torch.allclose(model(table, indices), 2 * table.sin()[indices])
print("right")
try:
    model(table, at + 40)
except RuntimeError as e:
    print("refused", "index out of reach" in str(e))
"""


def test_a_model_compiled_ahead_of_time(tmp_path):
    torch = pytest.importorskip("torch")
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13) or not any(map(shutil.which, ("g++", "clang++"))):
        pytest.skip("torch takes Triton kernels along for the CPU from 2.13 on, with a C++ compiler")
    program = tmp_path / "model.py"
    program.write_text(textwrap.dedent(MODEL))
    command = [sys.executable, "-W", "ignore", "-m", "anytile", "run", str(program), str(tmp_path / "model.pt2")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.startswith("right\nrefused True"), done.stdout[-500:] + done.stderr[-3000:]
