"""The driver layer on a real GPU, in one call: PTX to machine code, loading, launching, streams, graphs, errors, and what a launch costs.

    PYTHONPATH=src python scripts/gpu_check.py [SECTION …] [--out FILE.json]

Needs a GPU, torch with CUDA, and llvmlite.  Every section is run even where an earlier one fails; the exit status is the number of
sections that failed.  Kernels are LLVM text written by hand, so the code generator is not involved but in the sections ``jit …``.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from gpu_sections import main

import anytile.language as tl
from anytile.errors import OutOfResources
from anytile.runtime.driver import driver
from anytile.runtime.jit import jit
from anytile.targets.nvidia import assemble, driver_api, launch
from anytile.targets.nvidia.chips import chip
from anytile.targets.nvidia.cuda_errors import CudaError
from anytile.targets.nvidia.launch import CudaKernel, LaunchShape
from anytile.targets.nvidia.target import make_ptx
from anytile.testing import do_bench

HEAD = """
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.cluster.ctarank()
@shared = external addrspace(3) global [0 x i8], align 16
"""
FOOT = '\nattributes #0 = { nounwind "nvvm.reqntid"="128" }\n'

ADD = """
define ptx_kernel void @add(ptr addrspace(1) %x, ptr addrspace(1) %y, ptr addrspace(1) %o, i32 %n) #0 {
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %b = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %b0 = mul i32 %b, 128
  %i = add i32 %b0, %t
  %in = icmp slt i32 %i, %n
  br i1 %in, label %do, label %out
do:
  %px = getelementptr float, ptr addrspace(1) %x, i32 %i
  %py = getelementptr float, ptr addrspace(1) %y, i32 %i
  %po = getelementptr float, ptr addrspace(1) %o, i32 %i
  %vx = load float, ptr addrspace(1) %px
  %vy = load float, ptr addrspace(1) %py
  %v = fadd float %vx, %vy
  store float %v, ptr addrspace(1) %po
  br label %out
out:
  ret void
}"""

# Each kind of parameter, stored as f64: what a slot holds must arrive.
KINDS = """
define ptx_kernel void @kinds(ptr addrspace(1) %o, i8 %a, i16 %b, i32 %c, i64 %d, float %e, double %f) #0 {
  %a1 = sitofp i8 %a to double
  %b1 = sitofp i16 %b to double
  %c1 = sitofp i32 %c to double
  %d1 = sitofp i64 %d to double
  %e1 = fpext float %e to double
  %o1 = getelementptr double, ptr addrspace(1) %o, i32 1
  %o2 = getelementptr double, ptr addrspace(1) %o, i32 2
  %o3 = getelementptr double, ptr addrspace(1) %o, i32 3
  %o4 = getelementptr double, ptr addrspace(1) %o, i32 4
  %o5 = getelementptr double, ptr addrspace(1) %o, i32 5
  store double %a1, ptr addrspace(1) %o
  store double %b1, ptr addrspace(1) %o1
  store double %c1, ptr addrspace(1) %o2
  store double %d1, ptr addrspace(1) %o3
  store double %e1, ptr addrspace(1) %o4
  store double %f, ptr addrspace(1) %o5
  ret void
}"""

# Writes the last byte of 200 KiB of shared memory and reads it back.
SHARED = """
define ptx_kernel void @big(ptr addrspace(1) %o) #0 {
  %p = getelementptr i8, ptr addrspace(3) @shared, i32 204796
  store volatile i32 77, ptr addrspace(3) %p
  %v = load volatile i32, ptr addrspace(3) %p
  store i32 %v, ptr addrspace(1) %o
  ret void
}"""

# o[block] = rank of the block in its cluster
RANK = """
define ptx_kernel void @rank(ptr addrspace(1) %o) #0 {
  %b = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %r = call i32 @llvm.nvvm.read.ptx.sreg.cluster.ctarank()
  %p = getelementptr i32, ptr addrspace(1) %o, i32 %b
  store i32 %r, ptr addrspace(1) %p
  ret void
}"""

EMPTY = """
define ptx_kernel void @empty(ptr addrspace(1) %a, ptr addrspace(1) %b, ptr addrspace(1) %c, ptr addrspace(1) %d, i32 %i, i32 %j, i32 %k) #0 {
  ret void
}"""


@jit
def jit_empty(a, b, c, d, i, j, k):
    pass


@jit
def jit_add(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) + tl.load(y_ptr + offsets, mask=mask), mask=mask)


FACTS: dict[str, Any] = {}


def arch() -> int:
    return driver_api.cuda().device(0).arch


def kernel(text: str, name: str, slots: int, **shape: Any) -> CudaKernel:
    c = chip(arch())
    made = assemble.assemble(make_ptx(HEAD + text + FOOT, c), c, name)
    return CudaKernel(made.cubin, name, name, slots, LaunchShape(128, **shape), {})


def microseconds(call: Callable[[], Any], calls: int = 2000, rounds: int = 7) -> float:
    """Host time of a call: the median of ``rounds`` averages, the queue emptied before each."""
    times = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(calls // 10):  # short bursts: a full queue would make the host wait for the GPU
            for _ in range(10):
                call()
        times.append((time.perf_counter() - start) / calls * 1e6)
    torch.cuda.synchronize()
    return statistics.median(times)


def machine() -> None:
    """The GPU's own facts against the row of `chips`."""
    cuda = driver_api.cuda()
    d = cuda.device(0)
    c = chip(d.arch)
    FACTS["gpu"], FACTS["driver"], FACTS["torch"], FACTS["python"] = d.name, cuda.version, torch.__version__, sys.version.split()[0]
    print(
        f"{d.name}, sm_{d.arch}, {d.memory >> 20} MiB, driver of CUDA {cuda.version}, torch {torch.__version__}, Python {FACTS['python']}"
    )
    seen = {
        "shared_per_block": d.attribute("max_shared_per_block_optin"),
        "shared_per_sm": d.attribute("max_shared_per_multiprocessor"),
        "shared_reserved": d.attribute("reserved_shared_per_block"),
        "warps": d.attribute("max_threads_per_multiprocessor") // 32,
        "blocks": d.attribute("max_blocks_per_multiprocessor"),
        "registers": d.attribute("registers_per_multiprocessor"),
    }
    wrong = {name: (value, getattr(c, name)) for name, value in seen.items() if value != getattr(c, name)}
    assert not wrong, f"the GPU says, the row says: {wrong}"


def assemblers() -> None:
    """Each assembler that is installed: time of the first and of later kernels; the machine code runs."""
    c = chip(arch())
    x, y, out = torch.rand(1000, device="cuda"), torch.rand(1000, device="cuda"), torch.empty(1000, device="cuda")
    packed = struct.pack("<QQQq", x.data_ptr(), y.data_ptr(), out.data_ptr(), 1000)
    start = time.perf_counter()
    ptx = make_ptx(HEAD + ADD + FOOT, c)
    print(f"LLVM: {(time.perf_counter() - start) * 1e3:.1f} ms the first time")
    cuda = driver_api.cuda()
    for a in assemble.assemblers(c):
        reason = a.refusal(int("".join(ptx.split(".version ")[1].split()[0].split("."))), c, cuda.version)
        if reason:
            print(f"{a.name}: passed over, {reason}")
            continue
        times = []
        for i in range(4):
            varied = ptx + f"\n// {i} {os.getpid()}\n"  # the driver's own cache must not answer
            start = time.perf_counter()
            cubin, log = a.run(varied, c, "add", [])
            times.append((time.perf_counter() - start) * 1e3)
        out.zero_()
        CudaKernel(cubin, "add", "add", 4, LaunchShape(128), {}).run(packed, 8, 1, 1)
        assert torch.equal(out, x + y), f"{a}: wrong sums"
        print(f"{a}: {times[0]:.1f} ms, then {min(times[1:]):.1f} ms; {len(cubin)} bytes; log: {' | '.join(log.split(chr(10))[-2:])[:150]}")
        FACTS[f"assemble {a} ms"] = (round(times[0], 1), round(min(times[1:]), 1))


def parameters() -> None:
    """Every kind of parameter from its 8-byte slot."""
    out = torch.zeros(6, dtype=torch.float64, device="cuda")
    packed = struct.pack("<Qqqqqf4xd", out.data_ptr(), -3, -300, -70000, -(1 << 40), 1.25, 2.5)
    kernel(KINDS, "kinds", 7).run(packed, 1, 1, 1)
    assert out.tolist() == [-3, -300, -70000, -(1 << 40), 1.25, 2.5], out.tolist()


def streams_and_graphs() -> None:
    """The current stream is used; a kernel may be launched for the first time while a graph is captured."""
    x, y, out = torch.rand(1000, device="cuda"), torch.rand(1000, device="cuda"), torch.zeros(1000, device="cuda")
    packed = struct.pack("<QQQq", x.data_ptr(), y.data_ptr(), out.data_ptr(), 1000)
    side = torch.cuda.Stream()
    k = kernel(ADD, "add", 4)
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        assert launch.current_stream(0) == side.cuda_stream
        k.run(packed, 8, 1, 1)
    side.synchronize()
    assert torch.equal(out, x + y)
    out.zero_()
    fresh = kernel(ADD.replace("@add", "@captured"), "captured", 4)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        fresh.run(packed, 8, 1, 1)
    assert not out.any(), "the capture itself ran the kernel"
    x.add_(1)
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(out, x + y)


def kinds_of_launches() -> None:
    """Much shared memory, cooperative launches, overlap, clusters."""
    out = torch.zeros(16, dtype=torch.int32, device="cuda")
    packed = struct.pack("<Q", out.data_ptr())
    if chip(arch()).shared_per_block >= 204800:
        kernel(SHARED, "big", 1, shared=204800).run(packed, 1, 1, 1)
        assert out[0].item() == 77
    x = torch.rand(128, device="cuda")
    for shape in ({"cooperative": True}, {"overlap": True} if arch() >= 90 else {}):
        k = kernel(ADD, "add", 4, **shape)
        o = torch.empty_like(x)
        for _ in range(3):
            k.run(struct.pack("<QQQq", x.data_ptr(), x.data_ptr(), o.data_ptr(), 128), 1, 1, 1)
        assert torch.equal(o, x + x), shape
    if arch() >= 90:
        for blocks in (2, 4, 16):
            out.zero_()
            kernel(RANK, "rank", 1, cluster=(blocks, 1, 1)).run(packed, 16, 1, 1)
            assert out.tolist() == [i % blocks for i in range(16)], (blocks, out.tolist())


def errors() -> None:
    """What is said when a launch cannot be, and after a fault."""
    out = torch.zeros(1, dtype=torch.int32, device="cuda")
    packed = struct.pack("<Q", out.data_ptr())
    try:
        kernel(SHARED, "big", 1, shared=300_000).run(packed, 1, 1, 1)
        raise AssertionError("300,000 bytes of shared memory were accepted")
    except OutOfResources as error:
        print("shared memory:", error)
    try:
        kernel(ADD, "add", 4).run(struct.pack("<QQQq", 0, 0, 0, 0), 1, 70000, 1)
        raise AssertionError("a grid of 1 × 70,000 was accepted")
    except CudaError as error:
        print("grid:", error)
    for blocking in ("0", "1"):
        environment = {**os.environ, "CUDA_LAUNCH_BLOCKING": blocking}
        done = subprocess.run([sys.executable, __file__, "--fault", "add"], capture_output=True, text=True, env=environment)
        print(f"fault, CUDA_LAUNCH_BLOCKING={blocking}:", done.stdout.strip() or done.stderr.strip()[-300:])
        assert "KernelFaultError" in done.stdout


def fault(name: str) -> None:
    """In a process of its own: a kernel that writes nowhere."""
    torch.cuda.init()
    k = kernel(ADD, name, 4)
    try:
        k.run(struct.pack("<QQQq", 16, 16, 16, 128), 1, 1, 1)
        driver_api.cuda().synchronize()
        print("no error")
    except CudaError as error:
        print(f"{type(error).__name__}: {error}")


def jit_right() -> None:
    """Kernels of the language: memory of the GPU and of the CPU, the compiled kernel's facts."""
    for device in ("cuda", "cpu"):
        x, y = torch.rand(5000, device=device), torch.rand(5000, device=device)
        out = torch.empty_like(x)
        start = time.perf_counter()
        k = jit_add[(5,)](x, y, out, 5000, BLOCK=1024)
        first = (time.perf_counter() - start) * 1e3
        assert torch.equal(out, x + y), device
        print(f"{device}: {k.target}, first launch {first:.0f} ms, {k.n_regs} registers, {k.n_spills} spilled, stages {', '.join(k.asm)}")
    print("current target:", driver.active.get_current_target())


def jit_bandwidth() -> None:
    """GB/s of an addition of 2²⁶ floats."""
    n = 1 << 26
    x, y = torch.rand(n, device="cuda"), torch.rand(n, device="cuda")
    out = torch.empty_like(x)
    ms = do_bench(lambda: jit_add[(n // 1024,)](x, y, out, n, BLOCK=1024), return_mode="median")
    torch_ms = do_bench(lambda: torch.add(x, y, out=out), return_mode="median")
    FACTS["add GB/s"] = (round(12 * n / ms / 1e6), round(12 * n / torch_ms / 1e6))
    print(f"{12 * n / ms / 1e6:.0f} GB/s, torch {12 * n / torch_ms / 1e6:.0f} GB/s")


def launch_cost() -> None:
    """Microseconds of host time: the driver's call alone, ways to hand it the arguments, `CudaKernel.run`, the whole launch."""
    tensors = [torch.empty(16, device="cuda") for _ in range(4)]
    pointers = [t.data_ptr() for t in tensors]
    packed = struct.pack("<QQQQqqq", *pointers, 5, 6, 7)
    k = kernel(EMPTY, "empty", 7)
    k.prepare(0)
    function = k.functions[0]
    record = launch._Record(b"", 7)
    record.view[56 : 56 + 56] = packed
    launch._CONFIG.pack_into(record.view, 0, 1, 1, 1, 128, 1, 1, 0, 0, 0, 0)
    typed = driver_api.cuda().lib.cuLaunchKernelEx
    bare = ctypes.CDLL("libcuda.so.1").cuLaunchKernelEx
    held = ctypes.PyDLL("libcuda.so.1").cuLaunchKernelEx
    # The packed block as one buffer: CU_LAUNCH_PARAM_BUFFER_POINTER, _SIZE, END.  Slots are 8 bytes apart, so only kernels whose
    # parameters all have 8 bytes could use it; an empty kernel does not mind.
    size = ctypes.c_size_t(len(packed))
    buffer = record.config + 56
    extra = (ctypes.c_void_p * 5)(1, buffer, 2, ctypes.addressof(size), 0)
    config, pointer_array, handle = record.config, record.pointers, function.handle
    c_config, c_handle, c_pointers = ctypes.c_void_p(config), ctypes.c_void_p(handle), ctypes.c_void_p(pointer_array)
    wrapped = ctypes.addressof(extra)
    names = [f"v{i}" for i in range(7)]
    direct = k.direct("".join(f", {n}" for n in names), "".join(f"{n}, " for n in names), "QQQQqqq", lambda values: b"")
    code = typed(config, handle, None, wrapped)
    print("buffer of parameters:", "accepted" if code == 0 else driver_api.cuda().error(code, "launching"))
    rows: dict[str, Callable[[], Any]] = {
        "driver's call, typed": lambda: typed(config, handle, pointer_array, None),
        "driver's call, untyped c_void_p": lambda: bare(c_config, c_handle, c_pointers, None),
        "driver's call, GIL held": lambda: held(c_config, c_handle, c_pointers, None),
        "torch's current stream": lambda: torch._C._cuda_getCurrentRawStream(0),
        "torch's current device": lambda: torch._C._cuda_getDevice(),
        "data_ptr + get_device": lambda: (tensors[0].get_device(), tensors[0].data_ptr()),
        "CudaKernel.run": lambda: k.run(packed, 1, 1, 1),
        "CudaKernel.direct": lambda: direct(1, 1, 1, *pointers, 5, 6, 7),
        "jit_empty[(1,)](…)": lambda: jit_empty[(1,)](*tensors, 5, 6, 7),
        "x.add_(1)": lambda: tensors[0].add_(1),
    }
    if code == 0:
        rows["driver's call, one buffer"] = lambda: typed(config, handle, None, wrapped)
    bound = jit_empty[(1,)]
    rows["bound = jit_empty[(1,)]; bound(…)"] = lambda: bound(*tensors, 5, 6, 7)
    try:
        import triton as upstream

        if "anytile" not in (upstream.__file__ or "") and not hasattr(upstream, "__anytile__"):
            other = upstream.jit(jit_empty.fn)
            rows[f"Triton {upstream.__version__}: kernel[(1,)](…)"] = lambda: other[(1,)](*tensors, 5, 6, 7)
    except Exception as error:  # it is only there to compare with
        print("Triton:", type(error).__name__, error)
    costs = FACTS["launch µs"] = {}
    for name, call in rows.items():
        call()
        costs[name] = round(microseconds(call), 2)
        print(f"{costs[name]:8.2f} µs  {name}")


SECTIONS = (machine, assemblers, parameters, streams_and_graphs, kinds_of_launches, errors, launch_cost, jit_right, jit_bandwidth)


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", SECTIONS, FACTS, fault))
