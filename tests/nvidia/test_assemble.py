"""PTX → machine code by each assembler that is installed, and what is said when one cannot."""

from __future__ import annotations

import os
import stat
import sys

import pytest
from fake_cuda import FakeCuda
from sass_text import needs_nvdisasm

from anytile.errors import AnytileError, OutOfResources, PTXASError, UnsupportedError
from anytile.targets.nvidia import assemble
from anytile.targets.nvidia.chips import chip
from anytile.targets.nvidia.cubin import read_resources
from anytile.targets.nvidia.target import make_ptx

HOPPER = chip(90)

has_library = bool(assemble._find_nvjitlink())
has_ptxas = bool(assemble._find_ptxas(HOPPER))
needs_any = pytest.mark.skipif(not (has_library or has_ptxas), reason="needs an assembler: pip install anytile[cuda-check]")
needs_library = pytest.mark.skipif(not has_library, reason="needs nvJitLink: pip install anytile[cuda-check]")

ADD = """
@buffer = internal addrspace(3) global [512 x i8] undef, align 16
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
define ptx_kernel void @add(ptr addrspace(1) %p, i32 %n) #0 {
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %q = getelementptr float, ptr addrspace(1) %p, i32 %t
  %x = load float, ptr addrspace(1) %q
  %z = getelementptr float, ptr addrspace(3) @buffer, i32 %t
  store volatile float %x, ptr addrspace(3) %z
  %y = fadd float %x, 1.0
  store float %y, ptr addrspace(1) %q
  ret void
}
attributes #0 = { nounwind "nvvm.reqntid"="128" }
"""


@pytest.fixture
def no_driver(monkeypatch):
    from anytile.targets.nvidia import driver_api
    from anytile.targets.nvidia.cuda_errors import NoDriverError

    monkeypatch.setattr(driver_api, "_outcome", lambda: NoDriverError("no NVIDIA driver is installed"))


@pytest.mark.parametrize(
    "name",
    [pytest.param("nvjitlink", marks=needs_library), pytest.param("ptxas", marks=pytest.mark.skipif(not has_ptxas, reason="no ptxas"))],
)
@pytest.mark.parametrize("arch", [75, 80, 90])
def test_each_assembler_reports_the_same(monkeypatch, no_driver, name, arch) -> None:
    monkeypatch.setenv("ANYTILE_ASSEMBLER", name)
    c = chip(arch)
    made = assemble.assemble(make_ptx(ADD, c), c, "add")
    assert made.by.startswith(name) and made.seconds > 0
    assert 0 < made.registers < 32 and (made.spill_stores, made.spill_loads, made.stack) == (0, 0, 0)
    assert made.shared == 512
    assert made.cubin[:4] == b"\x7fELF"


@needs_any
def test_spills_are_counted(no_driver) -> None:
    made = assemble.assemble(make_ptx(_many_values(120), HOPPER), HOPPER, "many", "-maxrregcount=32")
    assert made.registers <= 32 and made.spill_stores > 0 and made.spill_loads > 0 and made.stack > 0


def _many_values(n: int) -> str:
    """A kernel that keeps ``n`` loaded values alive."""
    lines = ["define ptx_kernel void @many(ptr addrspace(1) %p) {"]
    for i in range(n):
        lines += [f"  %q{i} = getelementptr float, ptr addrspace(1) %p, i32 {i}", f"  %x{i} = load volatile float, ptr addrspace(1) %q{i}"]
    lines += [f"  store volatile float %x{i}, ptr addrspace(1) %q{n - 1 - i}" for i in range(n)]
    return "\n".join([*lines, "  ret void", "}"])


@needs_any
def test_a_refusal_shows_the_line(no_driver) -> None:
    ptx = make_ptx(ADD, HOPPER).replace("add.rn.f32", "ad.rn.f32")
    with pytest.raises(PTXASError, match=r"(?s)refuses the PTX of kernel add.*'ad'.*\n  line \d+: ad\.rn\.f32"):
        assemble.assemble(ptx, HOPPER, "add")


@needs_any
def test_too_much_declared_shared_memory(no_driver) -> None:
    ampere = chip(80)
    ptx = make_ptx(ADD.replace("[512 x i8]", "[70000 x i8]"), ampere)
    with pytest.raises(OutOfResources, match="shared memory of kernel add, Required: 70000, Hardware limit: 49152"):
        assemble.assemble(ptx, ampere, "add")


def test_an_unknown_name(monkeypatch) -> None:
    monkeypatch.setenv("ANYTILE_ASSEMBLER", "gas")
    with pytest.raises(AnytileError, match="none of nvjitlink, ptxas, driver"):
        assemble.assemblers(HOPPER)


def test_without_any_assembler_each_reason_is_told(monkeypatch, no_driver) -> None:
    monkeypatch.setenv("ANYTILE_ASSEMBLER", "driver")
    with pytest.raises(
        UnsupportedError, match=r"assembling PTX 8\.0 for Hopper .*driver: no NVIDIA driver is installed; pip install nvidia-nvjitlink"
    ):
        assemble.assemble(make_ptx(ADD, HOPPER), HOPPER, "add")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands for ptxas")
def test_an_old_ptxas_is_passed_over_and_a_wrong_one_named(monkeypatch, no_driver, tmp_path) -> None:
    program = tmp_path / "ptxas"
    program.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 11.4, V11.4.100'\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    old = assemble.Ptxas(str(program))
    assert old.version == (11, 4)
    assert "of CUDA 11.4, and Hopper (sm_90) with PTX 8.0 needs 12.0" in old.refusal(80, HOPPER, None)
    assert old.refusal(70, chip(80), None) == ""
    monkeypatch.setenv("TRITON_PTXAS_PATH", str(program))
    assert assemble._find_ptxas(HOPPER)[0] == program
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho hello\n")
    other.chmod(program.stat().st_mode)
    with pytest.raises(AnytileError, match="does not answer --version"):
        assemble.Ptxas(str(other)).version  # noqa: B018


def test_machine_code_that_the_driver_cannot_read_is_not_made(monkeypatch) -> None:
    class New(assemble.Ptxas):
        version = (13, 5)

    new = New("ptxas")
    assert new.refusal(80, HOPPER, (13, 0)) == ""
    assert "the driver of 12.8 cannot read" in new.refusal(80, HOPPER, (12, 8))


@needs_any
def test_the_driver_as_assembler(install, monkeypatch, no_driver) -> None:
    ptx = make_ptx(ADD, HOPPER)
    cubin = assemble.assemble(ptx, HOPPER, "add").cubin
    install(FakeCuda(cubin=cubin))
    monkeypatch.setenv("ANYTILE_ASSEMBLER", "driver")
    made = assemble.assemble(ptx, HOPPER, "add")
    assert made.cubin == cubin and made.by == "driver 13.0" and made.shared == 512
    with pytest.raises(UnsupportedError, match="ptx_options"):
        assemble.assemble(ptx, HOPPER, "add", "-O1")
    with pytest.raises(UnsupportedError, match=r"none is Ampere A100 \(sm_80\)"):
        assemble.assemble(make_ptx(ADD, chip(80)), chip(80), "add")


def test_the_cache_key_changes_with_tools_and_options(monkeypatch, no_driver, tmp_path) -> None:
    before = assemble.identity(HOPPER)
    monkeypatch.setenv("PTXAS_OPTIONS", "-O1")
    assert assemble.identity(HOPPER) != before
    monkeypatch.delenv("PTXAS_OPTIONS")
    program = tmp_path / "ptxas"
    program.write_text("1")
    monkeypatch.setenv("TRITON_PTXAS_PATH", str(program))
    first = assemble.identity(HOPPER)
    assert str(program) in first
    program.write_text("23")
    os.utime(program, ns=(1, 1))
    assert assemble.identity(HOPPER) != first


@needs_any
@needs_nvdisasm
def test_disassembly(no_driver) -> None:
    sass = assemble.disassemble(assemble.assemble(make_ptx(ADD, HOPPER), HOPPER, "add").cubin)
    assert "FADD" in sass and "STG" in sass
    with pytest.raises(AnytileError, match="cannot read the machine code"):
        assemble.disassemble(b"nothing")


def test_no_disassembler(monkeypatch) -> None:
    monkeypatch.setattr(assemble, "find_tool", lambda name: None)
    with pytest.raises(UnsupportedError, match="TRITON_NVDISASM_PATH"):
        assemble.disassemble(b"")


def test_tools_that_are_not_there(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("TRITON_NVDISASM_PATH", str(tmp_path / "gone"))
    with pytest.raises(AnytileError, match="gone cannot be run"):
        assemble.disassemble(b"")
    with pytest.raises(AnytileError, match="gone cannot be run"):
        assemble.tool_version(str(tmp_path / "gone"))


def test_what_is_no_cubin() -> None:
    with pytest.raises(AnytileError, match="no 64-bit cubin"):
        read_resources(b"\x7fELF" + b"\0" * 60)
