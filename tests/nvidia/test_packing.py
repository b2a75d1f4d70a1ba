"""What is done several at a time, and what stays in the thread that has it: read off the PTX."""

from __future__ import annotations

import re

import pytest

import anytile.language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit


@jit
def converted(x, out, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out + i, (tl.load(x + i).to(tl.float32) * 1.5).to(out.dtype.element_ty).to(tl.float32) * 2)


@jit
def added(x, out, N: tl.constexpr, SEM: tl.constexpr):
    i = tl.arange(0, N)
    tl.atomic_add(out + i, tl.load(x + i), sem=SEM)


@jit
def unpacked(x, out, N: tl.constexpr):
    """The high and then the low half of each byte."""
    i = tl.arange(0, N)
    v = tl.load(x + i)
    both = tl.join(v >> 4, v & 15).reshape(2 * N)
    tl.store(out + tl.arange(0, 2 * N), both.to(tl.float32))


@jit
def third_dimension(x, out, M: tl.constexpr, N: tl.constexpr):
    """Eight numbers in each word, added."""
    at = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    parts = (tl.load(x + at)[:, :, None] >> (tl.arange(0, 8) * 4)[None, None, :]) & 15
    tl.store(out + at, tl.sum(parts, axis=2))


@jit
def squares(x, out, N: tl.constexpr):
    v = tl.load(x + tl.arange(0, N)).to(tl.float32)
    tl.store(out, tl.sum(v * v, axis=0))


@jit
def promised(x, out, start, N: tl.constexpr):
    i = tl.arange(0, N) + tl.load(start)
    tl.max_contiguous(tl.multiple_of(i, N), N)
    tl.store(out + i, tl.load(x + i))


def ptx(fn, arch: int = 90, warps: int = 4, constants: dict | None = None, **signature: str) -> str:
    constants = constants or {}
    given = {**signature, **dict.fromkeys(constants, "constexpr")}
    attrs = {(i,): [["tt.divisibility", 16]] for i, kind in enumerate(signature.values()) if kind.startswith("*")}
    source = ASTSource(fn, given, constants, attrs)
    return compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": warps}).asm["ptx"]


def test_bf16_is_made_in_pairs():
    text = ptx(converted, x="*fp32", out="*bf16", constants={"N": 1024})
    assert text.count("cvt.rn.bf16x2.f32") == text.count("fma.rn.bf16x2") == 8 // 2 and "cvt.rn.bf16.f32" not in text
    assert "cvt.rn.bf16x2.f32" not in ptx(converted, 75, x="*fp32", out="*bf16", constants={"N": 1024})  # Turing has no such instruction


def test_float8_is_widened_in_pairs():
    assert ptx(converted, x="*fp8e4nv", out="*fp32", constants={"N": 1024}).count("cvt.rn.f16x2.e4m3x2") == 4
    assert "e4m3x2" not in ptx(converted, 80, x="*fp8e4nv", out="*fp32", constants={"N": 1024})


@pytest.mark.parametrize(
    ("kind", "n", "made"),
    [
        ("fp16", 1024, "noftz.v4.f16x2"),
        ("bf16", 512, "noftz.v2.bf16x2"),
        ("bf16", 256, "noftz.bf16x2"),
        ("bf16", 128, "noftz.bf16"),
        ("fp32", 512, "v4.f32"),
        ("fp64", 512, "f64"),
    ],
)
@pytest.mark.parametrize("sem", ["relaxed", "acq_rel"])
def test_neighbours_are_added_by_one_instruction(kind, n, made, sem):
    text = ptx(added, x=f"*{kind}", out=f"*{kind}", constants={"N": n, "SEM": sem})
    assert set(re.findall(r"atom\.global\.gpu\.(\w+)\.add\.(\S+)", text)) == {(sem, made)}


def test_sums_whose_old_values_are_read_are_added_one_by_one():
    @jit
    def read(x, out, N: tl.constexpr):
        i = tl.arange(0, N)
        tl.store(x + i, tl.atomic_add(out + i, tl.load(x + i)))

    assert "atom.global.gpu.acq_rel.add.f32" in ptx(read, x="*fp32", out="*fp32", constants={"N": 512})


def test_halves_of_bytes_stay_in_their_thread():
    """Four bytes a thread become eight floats: 32 bytes in a row, which go through shared memory for whole sectors."""
    text = ptx(unpacked, x="*u8", out="*fp32", constants={"N": 512})
    assert len(re.findall(r"ld\.global\.b32", text)) == 1
    assert len(re.findall(r"st\.global\.v4\.b32", text)) == 2 and "st.shared.v4.b32" in text
    assert "shared" not in ptx(unpacked, x="*u8", out="*fp32", constants={"N": 128})  # one byte a thread: nothing to move


def test_parts_of_words_are_added_without_another_thread():
    text = ptx(third_dimension, x="*i32", out="*i32", constants={"M": 16, "N": 32})
    assert "shfl" not in text and "shared" not in text


def test_order_of_reductions():
    """Far lanes first; of a warp one lane tells its partial sum; then warps two apart."""
    text = ptx(squares, x="*bf16", out="*fp32", constants={"N": 128})
    assert re.findall(r"shfl\.sync\.bfly\.b32\s+\S+ \S+ (\d+)", text) == ["16", "8", "4", "2", "1"]
    assert re.search(r"@%p\d+ bra\s+\S+\s(.*\n)*?.*st\.shared\.b32", text)
    one, two, three, four = re.search(r"ld\.shared\.v4\.b32\s+\{(\S+), (\S+), (\S+), (\S+)\}", text).groups()
    sums = re.findall(r"add\.f32\s+(\S+), (\S+), (\S+);", text)[-3:]
    assert {frozenset(s[1:]) for s in sums[:2]} == {frozenset((one, three)), frozenset((two, four))}


def test_hints_as_statements():
    text = ptx(promised, x="*fp32", out="*fp32", start="*i32", constants={"N": 1024})
    assert len(re.findall(r"ld\.global\.v4\.b32", text)) == len(re.findall(r"st\.global\.v4\.b32", text)) == 2
