"""Several compilations of one kernel behind one C function."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

import anytile
from anytile.errors import AnytileError
from anytile.tools.compile import CompileArgs, compile_kernel
from anytile.tools.link import link_headers, main

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
def double(a):
    tl.store(a, 2 * tl.load(a))
"""
AXPY = {"kernel_name": "axpy", "signature": "*fp32:16, *fp16, *fp32:16, fp32, i32, i32:1, 64", "grid": "(n + BLOCK - 1) / BLOCK, 1, 1"}
HINTS = ("*fp32:16, *fp16, *fp32:16, fp32, i32, i32:1", "*fp32, *fp16, *fp32, fp32, i32, i32:1", "*fp32, *fp16, *fp32, fp32, i32:16, i32")


@pytest.fixture
def make(tmp_path):
    anytile.install()
    (tmp_path / "kernels.py").write_text(KERNELS)
    return lambda **given: compile_kernel(CompileArgs(path=str(tmp_path / "kernels.py"), out_path=tmp_path / "axpy", **{**AXPY, **given}))


@pytest.mark.skipif(CC is None, reason="there is no C compiler here")
def test_the_most_special_one_that_fits_is_called(make, tmp_path):
    made = [make(signature=f"{hints}, {block}") for block in (64, 128) for hints in HINTS]
    headers = [files[0] for _, files in made]
    path = link_headers(headers, tmp_path / "axpy")
    text = path.read_text()
    assert "enum { axpy_ALGORITHMS = 2 };" in text
    calls = re.findall(r"if \((.*)\) return axpy_\w+_([0-9cd]+)\(", text)
    assert [suffix for _, suffix in calls] == ["0d2d5c", "5c", "4d"] * 2  # three hints, one, one
    assert calls[0][0] == "((uintptr_t)x % 16 == 0) && ((uintptr_t)out % 16 == 0) && (flag == 1)"

    main_c = tmp_path / "main.c"
    main_c.write_text(
        """#include <stdio.h>
#include "axpy.h"
int main(void) {
    static _Alignas(16) float x[129], out[129]; static uint16_t y[128];
    for (int i = 0; i < 129; i++) x[i] = i;
    int aligned = axpy(x, y, out, 2.0f, 100, 1);                            /* the first */
    int shifted = axpy_algorithm(1, x + 1, y, out + 1, 2.0f, 100, 1);       /* the second, of the other block */
    int sixteen = axpy(x + 1, y, out + 1, 2.0f, 96, 5);                     /* the third */
    printf("%d %d %d %g %g %g ", aligned, shifted, sixteen, out[0], out[1], out[100]);
    printf("%d %d", axpy(x, y, out, 2.0f, 97, 5), axpy_algorithm(2, x, y, out, 2.0f, 97, 1));  /* none fits; no such constants */
    return 0;
}
"""
    )
    objects = [str(files[1]) for _, files in made]
    subprocess.run([CC, "-std=c11", "-Wall", "-Werror", str(main_c), *objects, "-o", str(tmp_path / "main"), "-lm"], check=True)
    assert subprocess.run([str(tmp_path / "main")], check=True, capture_output=True, text=True).stdout == "0 0 0 1 7 201 2 2"


def test_mistakes_are_told(make, tmp_path):
    _, (axpy, _) = make()
    _, (other, _) = make(kernel_name="double", signature="*fp32", grid="1, 1, 1")
    with pytest.raises(AnytileError, match=r"takes \(float \*a\) of kernel double, and .* of axpy; link headers of one"):
        link_headers([axpy, other], tmp_path / "out")
    with pytest.raises(AnytileError, match=r"main\.c is no header that triton\.tools\.compile wrote"):
        link_headers([tmp_path / "main.c"], tmp_path / "out")
    with pytest.raises(SystemExit, match="error: .* is no header"):
        main([str(tmp_path / "kernels.py"), "--out", str(tmp_path / "out")])


def test_command_line(make, tmp_path):
    _, (header, _) = make()
    code = "import anytile; anytile.install(); import runpy; runpy.run_module('triton.tools.link', run_name='__main__')"
    subprocess.run([sys.executable, "-c", code, str(header), "-o", str(tmp_path / "all")], check=True)
    assert (
        "static inline int all_algorithm(int algorithm, float *x, void *y, float *out, float a, int32_t n, int32_t flag)"
        in (tmp_path / "all.h").read_text()
    )
