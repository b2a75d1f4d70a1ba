"""Ahead-of-time compilation: the object is linked with the C compiler of the machine and run; and the mistakes that are told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import anytile
from anytile.errors import AnytileError, UnsupportedError
from anytile.tools.compile import CompileArgs, compile_kernel

CC = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
KERNELS = """
import triton
import triton.language as tl

@triton.jit
def axpy(x, y, out, a, n, flag, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m = i < n
    tl.store(out + i, tl.load(x + i, m) * a + tl.load(y + i, m).to(tl.float32) + flag, m)

@triton.jit
def matmul(a, b, c, N: tl.constexpr):
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    tl.store(c + at, tl.dot(tl.load(a + at), tl.load(b + at)))

@triton.jit
def chatty(x, N: tl.constexpr):
    tl.device_print("x", tl.load(x))

@triton.jit
def timed(t):
    tl.store(t, tl.extra.cuda.globaltimer())
"""
AXPY = {"kernel_name": "axpy", "signature": "*fp32:16, *fp16, *fp32:16, fp32, i32, i32:1, 64", "grid": "(n + BLOCK - 1) / BLOCK, 1, 1"}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "kernels.py"
    path.write_text(KERNELS)
    return path


@pytest.fixture
def make(source, tmp_path):
    anytile.install()
    return lambda **given: compile_kernel(CompileArgs(path=str(source), out_path=tmp_path / "out", **given))


def run_c(folder: Path, body: str, header: Path, code: Path) -> str:
    main = folder / "main.c"
    main.write_text(f'#include <stdio.h>\n#include "{header.name}"\nint main(void) {{\n{body}\n}}\n')
    program = folder / "main"
    subprocess.run([CC, "-std=c11", "-Wall", "-Werror", str(main), str(code), "-o", str(program), "-lm"], check=True)
    return subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(CC is None, reason="there is no C compiler here")
class TestLinked:
    def test_arguments_and_grid(self, make, tmp_path):
        name, (header, code) = make(**AXPY, out_name="axpy")
        assert name.startswith("axpy_") and name.endswith("_0d2d5c")
        out = run_c(
            tmp_path,
            f"""
    static _Alignas(16) float x[100], out[128]; static uint16_t y[100];
    for (int i = 0; i < 100; i++) {{ x[i] = i; y[i] = 0x4000; }}   /* 2.0 */
    out[100] = -7;
    int failed = {name}(x, y, out, 0.5f, 100);
    printf("%d %g %g %g", failed, out[0], out[99], out[100]);
    return failed;""",
            header,
            code,
        )
        assert out == "0 3 52.5 -7"

    def test_ranges_of_programs(self, make, tmp_path):
        name, (header, code) = make(**AXPY, target="cpu:sse2" if os.uname().machine == "x86_64" else "cpu")
        out = run_c(
            tmp_path,
            f"""
    static _Alignas(16) float x[128], out[128]; static uint16_t y[128]; float a = 1; int n = 128;
    uint64_t arguments[5] = {{(uint64_t)(uintptr_t)x, (uint64_t)(uintptr_t)y, (uint64_t)(uintptr_t)out, 0, (uint64_t)n}};
    memcpy(&arguments[3], &a, sizeof a);
    void *scratch = aligned_alloc(64, ({name}_SCRATCH + 127) / 64 * 64);
    {name}_range(arguments, scratch, 1, 2, 2, 1, 1);
    printf("%g %g", out[63], out[64]);
    return 0;""",
            header,
            code,
        )
        assert out == "0 1"

    def test_dots_and_clocks(self, make, tmp_path):
        name, (header, code) = make(kernel_name="matmul", signature="*fp32, *fp32, *fp32, 16", grid="1, 1, 1")
        body = f"""
    static float a[256], b[256], c[256];
    for (int i = 0; i < 256; i++) {{ a[i] = i % 16; b[i] = i / 16 == i % 16; }}
    {name}(a, b, c);
    printf("%g %g", c[0], c[37]);
    return 0;"""
        assert run_c(tmp_path, body, header, code) == "0 5"
        name, (header, code) = make(kernel_name="timed", signature="*i64", grid="1, 1, 1")
        assert run_c(tmp_path, f'int64_t t = 0; {name}(&t); printf("%d", t > 0); return 0;', header, code) == "1"

    def test_command_line(self, source, tmp_path):
        command = [
            sys.executable,
            "-c",
            "import anytile; anytile.install(); import runpy; runpy.run_module('triton.tools.compile', run_name='__main__')",
        ]
        arguments = [str(source), "-n", "axpy", "-s", AXPY["signature"], "-g", AXPY["grid"], "--out-name", "f", "-o", str(tmp_path / "f")]
        subprocess.run([*command, *arguments], check=True)
        assert sorted(p.suffix for p in tmp_path.glob("f.*")) == [".h", ".o"]
        bad = subprocess.run([*command, *arguments[:1], "-n", "none", "-s", "1", "-g", "1,1,1"], capture_output=True, text=True)
        assert bad.returncode == 1 and "its kernels are axpy, matmul" in bad.stderr


@pytest.mark.parametrize(
    "given, error, text",
    [
        ({"kernel_name": "axpy", "signature": "*fp32", "grid": "1,1,1"}, AnytileError, "1 entries and the kernel 7"),
        ({"kernel_name": "timed", "signature": "*i64", "grid": "1"}, AnytileError, "give three"),
        ({"kernel_name": "timed", "signature": "*i64:8", "grid": "1,1,1"}, AnytileError, "must be :16 or :1"),
        ({"kernel_name": "timed", "signature": "int", "grid": "1,1,1"}, AnytileError, "a number makes it a constant"),
        ({"kernel_name": "timed", "signature": "tensordesc<fp16[64,64]>", "grid": "1,1,1"}, UnsupportedError, "tensor descriptor t"),
        ({"kernel_name": "chatty", "signature": "*fp32, 1", "grid": "1,1,1"}, UnsupportedError, "device_print"),
        ({"kernel_name": "timed", "signature": "*i64", "grid": "1,1,1", "target": "cuda:90:32"}, UnsupportedError, "use --target cpu"),
    ],
)
def test_mistakes(make, given, error, text):
    with pytest.raises(error, match=text):
        make(**given)
