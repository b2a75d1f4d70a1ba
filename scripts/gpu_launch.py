"""Launches of the language's kernels on a real GPU: everything that a launch may ask for, and what is said when it cannot be.

    PYTHONPATH=src python scripts/gpu_launch.py [SECTION …] [--out FILE.json]

Needs a GPU and torch with CUDA; what needs a second GPU is left out where there is one.  Every section is run even where an earlier one fails;
the exit status is the number of sections that failed.  scripts/gpu_check.py does the same for the layer below.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import Any

import torch
from gpu_sections import main

import anytile.language as tl
from anytile.errors import AnytileError
from anytile.language.extra import cuda as extra
from anytile.runtime import knobs, warm
from anytile.runtime.jit import jit
from anytile.targets.nvidia import assemble
from anytile.targets.nvidia.chips import chip
from anytile.tools.tensor_descriptor import TensorDescriptor

FACTS: dict[str, Any] = {}


@jit
def axpy(x, y, o, n, f, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(o + i, tl.load(x + i, mask=i < n) + f * tl.load(y + i, mask=i < n), mask=i < n)


@jit
def meet(counter, o):
    """All programs wait for each other twice: it ends only where all of them are on the GPU at once."""
    n = tl.num_programs(0)
    for turn in range(1, 3):
        tl.atomic_add(counter, 1, sem="acq_rel")
        while tl.atomic_add(counter, 0, sem="acquire") < n * turn:
            pass
    tl.store(o + tl.program_id(0), tl.atomic_add(counter, 0))


@jit
def rank(o):
    r = tl.inline_asm_elementwise("mov.u32 $0, %cluster_ctarank;", "=r,r", [tl.program_id(0)], tl.int32, is_pure=False, pack=1)
    tl.store(o + tl.program_id(0), r)


@jit
def first(x, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    extra.gdc_launch_dependents()
    v = tl.load(x + i)
    for _ in range(200):
        v = v * 0.999 + 0.001
    tl.store(x + i, v + 1)


@jit
def second(x, o, B: tl.constexpr):
    i = tl.program_id(0) * B + tl.arange(0, B)
    extra.gdc_wait()
    tl.store(o + i, tl.load(x + i))


@jit
def astray(x, B: tl.constexpr):
    tl.store(x + tl.arange(0, B).to(tl.int64) * 1000000000000, 1.0)


@jit
def asserting(x, n):
    tl.device_assert(n < 10, "n is too large")
    tl.store(x, n)


@jit
def product(a, b, c, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m, n, k = tl.program_id(0) * BM + tl.arange(0, BM), tl.program_id(1) * BN + tl.arange(0, BN), tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for i in range(0, K, BK):
        acc = tl.dot(tl.load(a + m[:, None] * K + i + k[None, :]), tl.load(b + (i + k[:, None]) * N + n[None, :]), acc)
    tl.store(c + m[:, None] * N + n[None, :], acc.to(tl.bfloat16))


@jit
def copy(source, o, B: tl.constexpr):
    tl.store(o + tl.arange(0, B)[:, None] * B + tl.arange(0, B)[None, :], source.load([0, 0]))


def floats(n: int, device: str = "cuda") -> torch.Tensor:
    return torch.randint(-8, 8, (n,), device=device).float()  # so that sums are exact


def is_native(kernel: Any) -> bool:
    return type(kernel._launcher) is type(len)


def said(call: Any, *words: str) -> str:
    """The message of the error that ``call`` must raise, with all ``words`` in it."""
    try:
        call()
        torch.cuda.synchronize()
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        print("  " + text.replace("\n", "\n  "), flush=True)
        missing = [w for w in words if w not in text]
        assert not missing and isinstance(error, AnytileError), f"the message lacks {missing}"
        return text
    raise AssertionError("no error")


def native() -> None:
    """Launches that recur become native, with every type of element, on every stream, in threads, and are right."""
    assert warm.unavailable_because(0) == "", warm.unavailable_because(0)
    for dtype in (torch.float32, torch.bfloat16, torch.float64, torch.int8, torch.uint8, torch.int64):
        x, y = floats(1000).to(dtype), floats(1000).to(dtype)
        for i in range(20):
            out = torch.zeros_like(x)
            axpy[(8,)](x, y, out, 1000, 2.0 if dtype.is_floating_point else 2, B=128)
            assert torch.equal(out, x + 2 * y), (dtype, i)
        assert is_native(axpy)
    x, y, out = floats(1000), floats(1000), torch.zeros(1000, device="cuda")
    for view in (x[1:], x[4:], torch.nn.Parameter(x[:996])):
        for _ in range(10):
            out.zero_()
            axpy[lambda meta: (-(-meta["n"] // meta["B"]),)](view, y, out, 996, 1.0, B=128)
            assert torch.equal(out[:996], view[:996] + y[:996])
    wrong = []

    def many(k: int) -> None:
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            a, b = floats(1000), floats(1000)
            for i in range(300):
                c, n = torch.zeros(1000, device="cuda"), 1000 - (i & 1)
                axpy[(8,)](a, b, c, n, float(k), B=128)
                if not torch.equal(c[:n], (a + k * b)[:n]) or c[n:].any():
                    wrong.append((k, i))

    threads = [threading.Thread(target=many, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong[:5]


def streams_and_graphs() -> None:
    """A launch goes to the current stream; captured, whether native or the first of its kind, it runs at each replay."""
    x, y, out = floats(1000), floats(1000), torch.zeros(1000, device="cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)
        for _ in range(20):
            axpy[(8,)](x, y, out, 1000, 2.0, B=128)
        late = out.clone()
    assert not stream.query(), "the launches did not wait behind the stream's work"
    stream.synchronize()
    assert torch.equal(late, x + 2 * y)
    for b in (128, 64):  # known, and new
        out.zero_()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(12):
                axpy[(1024 // b,)](x, out, out, 1000, 1.0, B=b)
        assert not out.any(), "the capture itself ran the kernel"
        for turn in (1, 2):
            graph.replay()
            torch.cuda.synchronize()
            assert torch.equal(out, 12 * turn * x), (b, turn)


def cooperative() -> None:
    """A cooperative grid is on the GPU at once; one that is too large is refused."""
    counter, out = torch.zeros(1, dtype=torch.int32, device="cuda"), torch.zeros(4096, dtype=torch.int32, device="cuda")
    n = 2 * torch.cuda.get_device_properties(0).multi_processor_count
    for _ in range(12):
        counter.zero_()
        meet[(n,)](counter, out, num_warps=4, launch_cooperative_grid=True)
        torch.cuda.synchronize()
        assert (out[:n] == 2 * n).all()
    said(
        lambda: meet[(1 << 20,)](counter, out, num_warps=4, launch_cooperative_grid=True),
        "kernel meet", "1048576 × 1 × 1", "cooperative", "fewer programs",
    )  # fmt: skip


def clusters() -> None:
    """cluster_dims makes clusters; num_ctas changes no result."""
    if torch.cuda.get_device_capability()[0] < 9:
        print("  no clusters before compute capability 9.0")
        return
    out = torch.zeros(64, dtype=torch.int32, device="cuda")
    for blocks in (1, 2, 4, 8, 16):
        for _ in range(10):
            out.fill_(-1)
            rank[(32,)](out, cluster_dims=(blocks, 1, 1))
            assert out[:32].tolist() == [i % blocks for i in range(32)], (blocks, out.tolist())
    x, y, o = floats(1000), floats(1000), torch.zeros(1000, device="cuda")
    for ctas in (2, 4):
        o.zero_()
        axpy[(8,)](x, y, o, 1000, 2.0, B=128, num_ctas=ctas)
        assert torch.equal(o, x + 2 * y), ctas
    said(lambda: rank[(32,)](out, cluster_dims=(32, 1, 1)), "kernel rank", "cluster")
    said(lambda: rank[(33,)](out, cluster_dims=(2, 1, 1)), "kernel rank", "no multiple of the clusters of 2 × 1 × 1")


def overlap() -> None:
    """launch_pdl: the second kernel may begin early, and waits where it says so."""
    if torch.cuda.get_device_capability()[0] < 9:
        print("  no programmatic dependent launch before compute capability 9.0")
        return
    n = 1 << 20
    x, out = torch.ones(n, device="cuda"), torch.zeros(n, device="cuda")
    for turn in range(1, 30):
        first[(n // 1024,)](x, B=1024, launch_pdl=True)
        second[(n // 1024,)](x, out, B=1024, launch_pdl=True)
        x2 = x.clone()
        assert torch.equal(out, x2), turn
    FACTS["pdl µs a pair"] = {}
    for pdl in (False, True):
        times = []
        for _ in range(20):
            a, b = torch.cuda.Event(True), torch.cuda.Event(True)
            a.record()
            for _ in range(20):
                first[(n // 1024,)](x, B=1024, launch_pdl=pdl)
                second[(n // 1024,)](x, out, B=1024, launch_pdl=pdl)
            b.record()
            torch.cuda.synchronize()
            times.append(a.elapsed_time(b) * 1000 / 20)
        FACTS["pdl µs a pair"][str(pdl)] = round(min(times), 2)
    print("  µs a pair:", FACTS["pdl µs a pair"])


def hooks() -> None:
    """Enter and exit hooks see every launch; without them it is native again."""
    x, y, out = floats(1000), floats(1000), torch.zeros(1000, device="cuda")
    for _ in range(20):
        axpy[(8,)](x, y, out, 1000, 2.0, B=128)
    seen: list[tuple[str, Any]] = []

    def enter(facts: Any) -> None:
        seen.append(("enter", facts.get()["name"]))

    def leave(facts: Any) -> None:
        seen.append(("exit", facts.get()["name"]))

    runtime = knobs.runtime
    runtime.launch_enter_hook.add(enter)
    runtime.launch_exit_hook.add(leave)
    for _ in range(3):
        axpy[(8,)](x, y, out, 1000, 2.0, B=128)
    runtime.launch_enter_hook.remove(enter)
    runtime.launch_exit_hook.remove(leave)
    axpy[(8,)](x, y, out, 1000, 2.0, B=128)
    assert seen == [("enter", "axpy"), ("exit", "axpy")] * 3, seen
    assert is_native(axpy)


def several_gpus() -> None:
    """Tensors of a second GPU are computed on there, whichever is current; native launches too."""
    if torch.cuda.device_count() < 2:
        print("  one GPU: nothing to check")
        return
    for current in (0, 1, 0):
        with torch.cuda.device(current):
            for device in ("cuda:0", "cuda:1"):
                x, y = floats(1000, device), floats(1000, device)
                for i in range(24):
                    out = torch.zeros_like(x)
                    axpy[(8,)](x, y, out, 1000, 2.0, B=128)
                    assert torch.equal(out, x + 2 * y), (current, device, i)
            assert torch.cuda.current_device() == current
            x, y = floats(1000, f"cuda:{current}"), floats(1000, f"cuda:{current}")
            out = torch.zeros_like(x)
            for _ in range(24):
                axpy[(8,)](x, y, out, 1000, 2.0, B=128)
            assert is_native(axpy) and torch.equal(out, x + 2 * y)
            start = time.perf_counter()
            for _ in range(2000):
                axpy[(8,)](x, y, out, 1000, 2.0, B=128)
            print(f"  GPU {current} is current: {(time.perf_counter() - start) * 500:.2f} µs a launch")
            torch.cuda.synchronize()
    x, y = floats(1000, "cuda:0"), floats(1000, "cuda:1")
    said(lambda: axpy[(8,)](x, y, x, 1000, 2.0, B=128), "kernel axpy", "x on GPU 0, y on GPU 1")


def facts() -> None:
    """What the compiled kernel tells of itself."""
    a = torch.randn(512, 512, device="cuda", dtype=torch.bfloat16)
    c = torch.empty_like(a)
    k = product[(4, 4)](a, a, c, 512, 512, BM=128, BN=128, BK=64, num_stages=3, num_warps=8)
    print(
        f"  {k.n_regs} registers, {k.n_spills} spilled, {k.metadata.shared} bytes shared, {k.n_max_threads} threads; stages {', '.join(k.asm)}"
    )
    assert k.n_regs > 0 and k.n_spills == 0 and k.metadata.shared > 0
    assert ".target sm_" in k.asm["ptx"] and k.asm["cubin"][:4] == b"\x7fELF"
    version = k.asm["ptx"].split(".version ")[1].split()[0]
    try:
        sass = k.asm["sass"]
        print(f"  PTX {version}; machine code of {sass.count(';')} instructions, {sass.count('HGMMA')} of them wgmma")
    except AnytileError as error:
        print("  sass:", error)
    torch.testing.assert_close(c.float(), a.float() @ a.float(), atol=1.0, rtol=1e-2)


def assemblers() -> None:
    """The same PTX by each assembler in turns: seconds, and how fast the code is."""
    a = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    c = torch.empty_like(a)
    x = floats(1 << 20)
    out = torch.empty_like(x)
    sizes = {"BK": 64, "num_warps": 8}
    compiled = {
        "axpy": axpy[(1024,)](x, x, out, 1 << 20, 2.0, B=1024),
        "product 128×256": product[(32, 16)](a, a, c, 4096, 4096, BM=128, BN=256, num_stages=3, **sizes),
        "product 128×128": product[(32, 32)](a, a, c, 4096, 4096, BM=128, BN=128, num_stages=4, **sizes),
    }
    machine = chip(next(iter(compiled.values())).target.arch)
    known = assemble.assemblers(machine)
    for name, kernel in compiled.items():
        seconds: dict[str, list[float]] = {}
        for turn in range(8):
            for assembler in known:
                ptx = kernel.asm["ptx"] + f"\n// {turn} {os.getpid()}\n"  # the driver's own cache must not answer
                start = time.perf_counter()
                assembler.run(ptx, machine, kernel.artifact.metadata["entry"], [])
                seconds.setdefault(str(assembler), []).append(time.perf_counter() - start)
        medians = {n: round(sorted(v)[len(v) // 2], 4) for n, v in seconds.items()}
        FACTS.setdefault("assembling, s: first, median", {})[name] = {n: (round(v[0], 4), medians[n]) for n, v in seconds.items()}
        print(f"  {name}: " + ", ".join(f"{n} {v[0]:.3f} s, then {medians[n]:.3f}" for n, v in seconds.items()), flush=True)


def errors() -> None:
    """What is said where a launch cannot be; what ends the process's use of the GPU happens in a process of its own."""
    x, out = floats(1000), torch.zeros(1000, device="cuda")
    said(lambda: axpy[(8,)](x.cpu(), x, out, 1000, 2.0, B=128), "kernel axpy", "x on the CPU, y on GPU 0", ".to(")
    freed = floats(1000)
    freed.untyped_storage().resize_(0)
    said(lambda: axpy[(8,)](freed, x, out, 1000, 2.0, B=128), "argument x of kernel axpy", "freed")
    said(lambda: axpy[(8, 70000)](x, x, out, 1000, 2.0, B=128), "grid of axpy", "65535")
    a = torch.randn(512, 512, device="cuda", dtype=torch.bfloat16)
    said(
        lambda: product[(2, 2)](a, a, torch.empty_like(a), 512, 512, BM=256, BN=256, BK=64, num_stages=4, num_warps=8),
        "out of resource: shared memory", "Hardware limit: 232448", "kernel product", "num_stages",
    )  # fmt: skip
    t = TensorDescriptor(torch.zeros(64 * 64 + 8, device="cuda")[:4096].view(64, 64), [64, 64], [64, 1], [64, 64])
    t.base = torch.zeros(64 * 64 + 8, device="cuda")[1:4097].view(64, 64)
    said(lambda: copy[(1,)](t, torch.zeros(4096, device="cuda"), B=64), "argument source of kernel copy", "multiple of 16 bytes")
    for name in ("astray", "asserting"):
        for blocking in ("0", "1"):
            environment = {**os.environ, "CUDA_LAUNCH_BLOCKING": blocking}
            done = subprocess.run([sys.executable, __file__, "--fault", name], env=environment, capture_output=True, text=True, timeout=120)
            text = done.stdout.strip()
            print(f"  {name}, CUDA_LAUNCH_BLOCKING={blocking}: {text}\n    stderr: {done.stderr.strip()[-200:]}", flush=True)
            assert "KernelFaultError" in text and f"kernel {name}" in text, text


def fault(name: str) -> None:
    """In a process of its own: a kernel that goes wrong, launched until it is noticed."""
    x = torch.zeros(1000, device="cuda")
    try:
        for _ in range(20):
            astray[(1,)](x, B=128) if name == "astray" else asserting[(1,)](x, 11, debug=True)
            time.sleep(0.05)
        print("no error")
    except AnytileError as error:
        print(f"{type(error).__name__}: {error}")


SECTIONS = (native, streams_and_graphs, cooperative, clusters, overlap, hooks, several_gpus, facts, errors, assemblers)


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", SECTIONS, FACTS, fault))
