"""Packed operands shared by programs of one grid: what is shared, what must not be."""

import ctypes
import struct

import numpy as np
import pytest
from differential import OPTIONS, launch
from test_direct import matmul_kernel

import anytile.language as tl
from anytile.frontend import trace
from anytile.language.source import JITCallable
from anytile.targets.cpu import CpuTarget, panels

CPU = CpuTarget()


def compiled(fn, **constants):
    """The artifact of ``fn``: float pointers named in lower case first, then i32."""
    source = JITCallable(fn)
    signature, known = {}, {}
    for i, name in enumerate(source.arg_names):
        if name in constants:
            signature[name], known[(i,)] = "constexpr", constants[name]
        else:
            signature[name] = "*fp32" if len(name) == 1 else "i32"
    return CPU.compile(trace(source, signature, known, {}, OPTIONS), OPTIONS)


def product(m, n, k, grid=None, blocks=(16, 16, 16), seed=0, kernel=matmul_kernel):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((m, k)).astype("float32"), rng.standard_normal((k, n)).astype("float32")
    c = np.zeros((m, n), "float32")
    bm, bn, bk = blocks
    launch(
        CPU, kernel, grid or (-(-m // bm), -(-n // bn), 1),
        a=a, b=b, c=c, m_size=m, n_size=n, k_size=k, sam=k, sbk=n, scm=n, BM=bm, BN=bn, BK=bk,
    )  # fmt: skip
    np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("size", [(160, 64, 64), (33, 100, 70), (64, 256, 16), (16, 16, 16)], ids=str)
def test_columns_are_shared(size):
    product(*size)


def test_the_same_addresses_with_other_contents():
    """A panel lives as long as a launch: memory may have changed before the next."""
    artifact = compiled(matmul_kernel, BM=16, BN=16, BK=16)
    assert artifact.metadata["in_launch"]
    kernel = CPU.load(artifact)
    a, b, c = (np.empty((64, 64), "float32") for _ in range(3))
    packed = struct.pack("<QQQqqqqqq", a.ctypes.data, b.ctypes.data, c.ctypes.data, *[64] * 6)
    for grid in ((4, 4, 1), (4, 4, 1), (1, 1, 1), (1, 1, 1)):
        a[:], b[:], c[:] = np.random.default_rng().standard_normal((3, 64, 64))
        kernel.run(packed, *grid)
        m, n = 16 * grid[0], 16 * grid[1]
        np.testing.assert_allclose(c[:m, :n], (a @ b)[:m, :n], rtol=1e-4, atol=1e-4)


def test_ranges_run_by_themselves_share_nothing():
    """``kernel`` of the ABI takes a range with whatever lies in scratch, of an earlier range too."""
    artifact = compiled(matmul_kernel, BM=16, BN=16, BK=16)
    kernel = CPU.load(artifact)
    run = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p, *[ctypes.c_int64] * 2, *[ctypes.c_int32] * 3)(
        kernel._object.address("kernel")
    )
    memory = np.full(artifact.metadata["scratch"] + 64, 0x7B, "uint8")
    scratch = (memory.ctypes.data + 63) & ~63
    a, b, c = (np.empty((64, 64), "float32") for _ in range(3))
    packed = struct.pack("<QQQqqqqqq", a.ctypes.data, b.ctypes.data, c.ctypes.data, *[64] * 6)
    for _ in range(2):
        a[:], b[:], c[:] = np.random.default_rng().standard_normal((3, 64, 64))
        for begin, end in ((0, 1), (1, 9), (9, 16)):
            run(packed, scratch, begin, end, 4, 4, 1)
        np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-4)


def test_longer_than_the_panel(monkeypatch):
    monkeypatch.setattr(panels, "CAPACITY", 4 * 16 * 16 * 4)  # four places of sixteen iterations
    product(128, 32, 256)


def rows_first_kernel(a, b, c, m_size, n_size, k_size, sam, sbk, scm, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.program_id(1) * BM + tl.arange(0, BM)
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for start in range(0, k_size, BK):
        acc = tl.dot(tl.load(a + m[:, None] * sam + (start + k)[None, :]), tl.load(b + (start + k)[:, None] * sbk + n[None, :]), acc)
    tl.store(c + m[:, None] * scm + n[None, :], acc)


def test_neighbours_with_other_columns():
    """No program finds its key: places beyond the first are left alone."""
    product(64, 128, 64, grid=(8, 4, 1), kernel=rows_first_kernel)


def indexed_kernel(a, b, c, which, N: tl.constexpr):
    """Which matrix is multiplied is read from memory: part of the key."""
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    pid = tl.program_id(0)
    chosen = tl.load(which + pid)
    acc = tl.zeros((N, N), tl.float32)
    for step in range(2):
        acc = tl.dot(tl.load(a + at), tl.load(b + (chosen + step) * N * N + at), acc)
    tl.store(c + pid * N * N + at, acc)


def test_a_key_from_memory():
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((16, 16)).astype("float32"), rng.standard_normal((8, 16, 16)).astype("float32")
    which = np.array([0, 0, 3, 0, 3, 3, 5, 5, 0], "int32")
    c = np.zeros((9, 16, 16), "float32")
    launch(CPU, indexed_kernel, (9, 1, 1), a=a, b=b, c=c, which=which, N=16)
    np.testing.assert_allclose(c, [a @ b[w] + a @ b[w + 1] for w in which], rtol=1e-4, atol=1e-4)


# --- programs that go through many tiles ---------------------------------------------------------------------------


def persistent_kernel(a, b, c, m_size, n_size, k_size, programs, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    rows, columns = tl.cdiv(m_size, BM), tl.cdiv(n_size, BN)
    for tile in range(tl.program_id(0), rows * columns, programs):
        m = (tile % rows) * BM + tl.arange(0, BM)
        n = (tile // rows) * BN + tl.arange(0, BN)
        acc = tl.zeros((BM, BN), tl.float32)
        for start in range(0, k_size, BK):
            k = start + tl.arange(0, BK)
            if start < k_size:
                x = tl.load(a + m[:, None] * k_size + k[None, :], mask=(m[:, None] < m_size) & (k[None, :] < k_size), other=0.0)
                y = tl.load(b + k[:, None] * n_size + n[None, :], mask=(k[:, None] < k_size) & (n[None, :] < n_size), other=0.0)
                acc = tl.dot(x, y, acc)
        tl.store(c + m[:, None] * n_size + n[None, :], acc, mask=(m[:, None] < m_size) & (n[None, :] < n_size))


@pytest.mark.parametrize("size", [(64, 64, 64), (70, 33, 50), (16, 64, 256)], ids=str)
@pytest.mark.parametrize("programs", [1, 3])
def test_tiles_of_one_program_share_columns(size, programs):
    m, n, k = size
    rng = np.random.default_rng(m)
    a, b = rng.standard_normal((m, k)).astype("float32"), rng.standard_normal((k, n)).astype("float32")
    c = np.zeros((m, n), "float32")
    sizes = dict(m_size=m, n_size=n, k_size=k, programs=programs)
    launch(CPU, persistent_kernel, (programs, 1, 1), a=a, b=b, c=c, **sizes, BM=16, BN=16, BK=16)
    np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-3)


def test_a_program_with_many_tiles_keeps_panels():
    assert compiled(persistent_kernel, BM=16, BN=16, BK=16).metadata["in_launch"]


def overwriting_kernel(a, b, c, rounds, N: tl.constexpr, K: tl.constexpr):
    """Each round multiplies by the matrix to which the one before has added: the same addresses, other contents."""
    i, k = tl.arange(0, N), tl.arange(0, K)
    for _ in range(rounds):
        acc = tl.zeros((N, N), tl.float32)
        for start in range(0, 2 * K, K):
            x = tl.load(a + i[:, None] * (2 * K) + (start + k)[None, :])
            acc = tl.dot(x, tl.load(b + (start + k)[:, None] * N + i[None, :]), acc)
        tl.store(c + i[:, None] * N + i[None, :], acc)


@pytest.mark.parametrize("at", [0, 5, 31], ids=str)
def test_a_program_that_writes_what_it_has_packed(at):
    """``c`` is row ``at`` and those behind it of ``b``."""
    rng = np.random.default_rng(at)
    a = rng.standard_normal((16, 32)).astype("float32") / 8
    memory = rng.standard_normal((64, 16)).astype("float32")
    want = memory.copy()
    for _ in range(4):
        want[at : at + 16] = a @ want[:32]
    artifact = compiled(overwriting_kernel, N=16, K=16)
    assert artifact.metadata["in_launch"]
    start = memory.ctypes.data
    CPU.load(artifact).run(struct.pack("<QQQi", a.ctypes.data, start, start + at * 64, 4), 1, 1, 1)
    np.testing.assert_allclose(memory, want, rtol=1e-3, atol=1e-4)


def scattering_kernel(a, b, c, w, rounds, N: tl.constexpr):
    """Where it stores, memory says."""
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    for _ in range(rounds):
        acc = tl.zeros((N, N), tl.float32)
        for step in range(2):
            acc = tl.dot(tl.load(a + at), tl.load(b + step + at), acc)
        tl.store(c + tl.load(w + i).to(tl.int32)[:, None] * N + i[None, :], acc)


def adding_kernel(a, b, c, rounds, N: tl.constexpr):
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    for _ in range(rounds):
        acc = tl.zeros((N, N), tl.float32)
        for step in range(2):
            acc = tl.dot(tl.load(a + at), tl.load(b + step + at), acc)
        tl.atomic_add(c + at, acc)


@pytest.mark.parametrize("kernel", [scattering_kernel, adding_kernel])
def test_no_panels_beside_stores_that_cannot_be_compared(kernel):
    assert not compiled(kernel, N=16).metadata["in_launch"]


# --- what must not be shared ---------------------------------------------------------------------------------------


def storing_kernel(a, b, c, N: tl.constexpr):
    """Each iteration multiplies by what the one before has written."""
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    acc = tl.zeros((N, N), tl.float32)
    for _ in range(3):
        acc = tl.dot(tl.load(a + at), tl.load(b + at), acc)
        tl.store(b + at, acc)
    tl.store(c + at, acc)


def first_writing_kernel(a, b, c, N: tl.constexpr):
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    tl.store(b + at, tl.load(b + at) + 1.0)
    acc = tl.zeros((N, N), tl.float32)
    for _ in range(2):
        acc = tl.dot(tl.load(a + at), tl.load(b + at), acc)
    tl.store(c + at, acc)


def waiting_kernel(a, b, c, f, N: tl.constexpr):
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    tl.atomic_add(f, 1.0)
    acc = tl.zeros((N, N), tl.float32)
    for _ in range(2):
        acc = tl.dot(tl.load(a + at), tl.load(b + at), acc)
    tl.store(c + at, acc)


def volatile_kernel(a, b, c, N: tl.constexpr):
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    acc = tl.zeros((N, N), tl.float32)
    for _ in range(2):
        acc = tl.dot(tl.load(a + at), tl.load(b + at, volatile=True), acc)
    tl.store(c + at, acc)


def spinning_kernel(a, b, c, f, N: tl.constexpr):
    """Another program writes b and then the flag."""
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    while tl.load(f, volatile=True) == 0.0:
        pass
    acc = tl.zeros((N, N), tl.float32)
    for _ in range(2):
        acc = tl.dot(tl.load(a + at), tl.load(b + at), acc)
    tl.store(c + at, acc)


def spinning_in_the_loop_kernel(a, b, c, f, N: tl.constexpr):
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    acc = tl.zeros((N, N), tl.float32)
    for step in range(2):
        while tl.load(f, volatile=True) < step:
            pass
        acc = tl.dot(tl.load(a + at), tl.load(b + at), acc)
    tl.store(c + at, acc)


def plain_kernel(a, b, c, N: tl.constexpr):
    i = tl.arange(0, N)
    at = i[:, None] * N + i[None, :]
    acc = tl.zeros((N, N), tl.float32)
    for step in range(2):
        acc = tl.dot(tl.load(a + at), tl.load(b + at + step), acc)
    tl.atomic_add(c + at, acc)


def test_writes_behind_the_loop_are_no_obstacle():
    assert compiled(plain_kernel, N=16).metadata["in_launch"]


@pytest.mark.parametrize(
    "kernel",
    [storing_kernel, first_writing_kernel, waiting_kernel, volatile_kernel, spinning_kernel, spinning_in_the_loop_kernel],
)
def test_no_panels_where_memory_may_have_changed(kernel):
    assert not compiled(kernel, N=16).metadata["in_launch"]


def test_a_loop_that_writes_what_it_reads():
    rng = np.random.default_rng(5)
    a, b = (rng.standard_normal((16, 16)).astype("float32") for _ in range(2))
    want, at = np.zeros((16, 16), "float32"), b.copy()
    for _ in range(3):
        want = want + a @ at
        at = want
    c = np.zeros((16, 16), "float32")
    launch(CPU, storing_kernel, (1, 1, 1), a=a, b=b, c=c, N=16)
    np.testing.assert_allclose(c, want, rtol=1e-3, atol=1e-2)
