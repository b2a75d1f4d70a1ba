"""When a kernel is assembled again with fewer registers, so that one block more runs at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from anytile.targets.nvidia import target as nvidia_target
from anytile.targets.nvidia.chips import chip
from anytile.targets.nvidia.occupancy import limited, register_limit

HOPPER = chip(90)
PTX = "\n.visible .entry k(\n\t.param .u64 k_param_0\n)\n.reqntid 256\n{\n\tret;\n}\n"


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "expected"),
    [
        (256, 139, 0, 128),  # one block at a time, two with 128
        (256, 88, 0, 80),  # two, three with 80
        (512, 70, 0, 64),
        (256, 128, 0, None),  # two fit; three would need a third of the registers less
        (256, 160, 0, None),  # 128 is too far away
        (256, 72, 0, None),  # three blocks hide enough
        (256, 139, 120 * 1024, None),  # shared memory has room for one block
        (1024, 66, 0, None),  # not even one block: the launch says so
    ],
)
def test_limits(threads, registers, shared, expected):
    assert register_limit(HOPPER, PTX, threads, registers, shared) == expected


@pytest.mark.parametrize("instruction", ["wgmma.mma_async.sync.aligned.m64n64k16", "mma.sync.aligned.m16n8k16.row.col"])
def test_matrix_instructions_are_left_alone(instruction):
    assert register_limit(HOPPER, f"{PTX}\t{instruction}", 256, 139, 0) is None


@pytest.mark.parametrize(("registers", "expected"), [(164, 128), (180, None), (120, None)])
def test_but_not_in_a_small_attention(registers, expected):
    ptx = f"{PTX}\twgmma.mma_async.sync.aligned.m64n64k16"
    assert register_limit(HOPPER, ptx, 256, registers, 64 * 1024, small_chain=True) == expected


def test_the_limit_stands_behind_the_number_of_threads():
    assert "\n.reqntid 256\n.maxnreg 128\n{" in limited(PTX, 128)


def made(monkeypatch, stacks: list[int], **options: Any) -> tuple[list[str], str]:
    """(what was assembled, which PTX was taken) where the assembler finds 139 registers, and these stacks one after the other."""
    seen: list[str] = []

    def assemble(ptx, *_):
        seen.append(ptx)
        return SimpleNamespace(registers=139, shared=0, stack=stacks[len(seen) - 1])

    monkeypatch.setattr(nvidia_target.assembling, "assemble", assemble)
    target = nvidia_target.NvidiaTarget(90, None)
    taken, _ = target._assembled(PTX, {"entry": "k", "num_warps": 8, "shared": 0}, SimpleNamespace(**options))
    return seen, taken


def test_fewer_registers_are_taken_where_nothing_is_spilled(monkeypatch):
    seen, taken = made(monkeypatch, [0, 0])
    assert len(seen) == 2 and ".maxnreg 128" in taken
    seen, taken = made(monkeypatch, [0, 16])
    assert len(seen) == 2 and taken == PTX


def test_a_limit_of_the_launch_is_obeyed(monkeypatch):
    assert made(monkeypatch, [0], maxnreg=200) == ([PTX], PTX)
