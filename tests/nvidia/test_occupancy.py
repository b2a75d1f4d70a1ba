"""When a kernel is assembled again with fewer registers, so that more blocks run at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from anytile.targets.nvidia import target as nvidia_target
from anytile.targets.nvidia.chips import chip
from anytile.targets.nvidia.occupancy import Work, limited, register_limits

HOPPER = chip(90)
PTX = "\n.visible .entry k(\n\t.param .u64 k_param_0\n)\n.reqntid 256\n{\n\tret;\n}\n"


def limits(ptx: str, threads: int, registers: int, shared: int, **work: Any) -> list[int]:
    return register_limits(HOPPER, ptx, threads, registers, shared, Work(**work))


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "expected"),
    [
        (512, 72, 0, [32, 40, 64]),  # one block of 512 at a time: four with 32, three with 40, two with 64
        (512, 78, 0, [32, 64]),
        (128, 64, 0, [40, 48]),  # eight of 128: 12 make 1536 threads, 10 are what three quarters of the registers allow
        (128, 48, 0, [40]),
        (256, 139, 0, [80, 128]),
        (256, 255, 0, []),  # one of 256: two would need half of the registers
        (256, 40, 0, []),  # six blocks of 256 hide enough
        (1024, 64, 0, [32]),
        (256, 139, 120 * 1024, []),  # shared memory has room for one block
        (256, 72, 60 * 1024, []),  # and here for three, which the registers allow
        (1024, 66, 0, []),  # not even one block: the launch says so
    ],
)
def test_limits_of_streaming_kernels(threads, registers, shared, expected):
    assert limits(PTX, threads, registers, shared) == expected


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "expected"),
    [
        (256, 139, 0, [128]),  # one block at a time, two with 128
        (256, 88, 0, [80]),  # two, three with 80
        (256, 96, 0, [80]),  # what is computed once may lose a fifth for a third one: layer norm of 8192
        (512, 48, 0, [40]),
        (512, 70, 0, [64]),
        (256, 128, 0, []),  # two fit; three would need a third of the registers less
        (256, 160, 0, [128]),  # one that is alone may lose a quarter for a second
        (256, 172, 0, []),  # 128 is too far away
        (256, 72, 0, []),  # three blocks hide enough
        (1024, 56, 0, [32]),  # alone, and half of the threads there are: two, if they spill nothing
        (1024, 56, 120 * 1024, []),
        (1024, 32, 0, []),
        (1024, 66, 0, []),
    ],
)
def test_limits_of_kernels_that_reduce(threads, registers, shared, expected):
    assert limits(PTX, threads, registers, shared, reduces=16) == expected


def test_a_third_block_may_cost_less_beside_loops_and_of_long_rows():
    loop = PTX.replace("\tret;", "$L__BB0_1:\n\t@%p1 bra $L__BB0_1;\n\tret;")
    assert limits(loop, 256, 96, 0, reduces=16) == []
    assert limits(loop, 256, 88, 0, reduces=16) == [80]
    assert limits(PTX, 256, 96, 0, reduces=64) == []  # a softmax of 16384: its numbers alone take 64


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "expected"),
    [
        (128, 84, 0, [64]),  # five of 128: eight are half of the threads
        (128, 122, 0, []),  # for which 64 are too few
        (128, 64, 0, []),  # eight
        (256, 72, 0, [64]),  # three of 256: four
        (128, 84, 40 * 1024, []),  # shared memory has room for five
        (256, 139, 0, [128]),  # as any kernel that reduces
    ],
)
def test_half_of_the_threads_for_loops_that_reduce_what_they_load(threads, registers, shared, expected):
    assert limits(PTX, threads, registers, shared, reduces=16, reduces_in_loop=True) == expected


def test_wgmma_is_left_alone():
    assert limits(f"{PTX}\twgmma.mma_async.sync.aligned.m64n64k16", 256, 139, 0) == []


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "expected"),
    [
        (256, 91, 8192, [80]),  # two blocks of 256 threads: three
        (128, 141, 50176, [128]),  # three of 128: four
        (256, 139, 0, [128]),
        (128, 141, 65536, []),  # shared memory has room for three
        (256, 180, 0, []),  # 128 is too far away
        (128, 96, 0, []),  # five of 128 are more than a quarter of the threads
    ],
)
def test_mma_sync_asks_for_one_block_more_where_few_threads_are_resident(threads, registers, shared, expected):
    ptx = f"{PTX}\tmma.sync.aligned.m16n8k16.row.col"
    assert limits(ptx, threads, registers, shared) == expected
    assert limits(f"{ptx}\n\twgmma.mma_async.sync.aligned.m64n64k16", threads, registers, shared) == []


@pytest.mark.parametrize(("registers", "expected"), [(164, [128]), (180, []), (120, [])])
def test_but_not_in_a_small_attention(registers, expected):
    ptx = f"{PTX}\twgmma.mma_async.sync.aligned.m64n64k16"
    assert limits(ptx, 256, registers, 64 * 1024, small_chain=True) == expected


def test_the_limit_stands_behind_the_number_of_threads():
    assert "\n.reqntid 256\n.maxnreg 128\n{" in limited(PTX, 128)


def made(monkeypatch, stacks: list[int], spilled: bool = False, registers: int = 139, **options: Any) -> tuple[list[str], str]:
    """(what was assembled, which PTX was taken) where the assembler finds so many registers, and these stacks one after the other."""
    seen: list[str] = []

    def assemble(ptx, *_):
        seen.append(ptx)
        stack = stacks[len(seen) - 1]
        return SimpleNamespace(registers=registers, shared=0, stack=stack, spill_stores=stack if spilled else 0)

    monkeypatch.setattr(nvidia_target.assembling, "assemble", assemble)
    target = nvidia_target.NvidiaTarget(90, None)
    taken, _ = target._assembled(PTX, {"entry": "k", "num_warps": 8, "shared": 0}, SimpleNamespace(**options))
    return seen, taken


def test_fewer_registers_are_taken_where_nothing_is_spilled(monkeypatch):
    seen, taken = made(monkeypatch, [0, 0])
    assert len(seen) == 2 and ".maxnreg 80" in taken
    seen, taken = made(monkeypatch, [0, 16, 0])
    assert len(seen) == 3 and ".maxnreg 128" in taken
    seen, taken = made(monkeypatch, [0, 16, 8])
    assert len(seen) == 3 and taken == PTX


def test_what_spills_is_assembled_once(monkeypatch):
    """It takes longest of all: rotary embeddings of 256 numbers a thread 15 s, and three times that with two limits tried in vain."""
    assert made(monkeypatch, [64], spilled=True, registers=255) == ([PTX], PTX)


def test_an_assembler_that_spills_for_more_blocks_is_told_that_one_is_enough(monkeypatch):
    """ptxas gives tf32 products for sm_120 64 registers and spills, where 92 are free and enough."""
    seen, taken = made(monkeypatch, [8, 0, 0], spilled=True, registers=64)
    assert seen[0] == PTX and "\n.reqntid 256\n.minnctapersm 1\n{" in seen[1] and ".minnctapersm 1" in taken
    assert made(monkeypatch, [8, 8], spilled=True, registers=64)[1] == PTX


def test_a_limit_of_the_launch_is_obeyed(monkeypatch):
    assert made(monkeypatch, [0], maxnreg=200) == ([PTX], PTX)


def test_a_streaming_loop_keeps_room_for_an_iterations_tiles():
    """Mamba's state passing: 16 numbers loaded, 16 carried; with 40 registers its loads wait for each other."""
    assert limits(PTX, 128, 72, 0) == [40, 56]
    assert limits(PTX, 128, 72, 0, held_in_loop=32) == [56]
    assert limits(PTX, 128, 72, 0, held_in_loop=2) == [40, 56]


@pytest.mark.parametrize(
    ("threads", "registers", "products", "expected"),
    [
        (256, 128, 1, [48, 64]),  # 16×16 by eight warps: five blocks, or four
        (64, 120, 4, [48, 64]),
        (256, 128, 32, []),  # a thread with many products hides one by another
        (256, 40, 1, []),
    ],
)
def test_limits_of_small_products_by_multiply_adds(threads, registers, products, expected):
    assert limits(PTX, threads, registers, 0, reduces=1, products=products) == expected
