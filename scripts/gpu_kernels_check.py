"""Kernels on an NVIDIA GPU against torch: builds them anywhere, runs them where a GPU is.

    python scripts/gpu_kernels_check.py build DIR [--arch 90] [--only NAME]   LLVM and PTX, no GPU needed
    python scripts/gpu_kernels_check.py run DIR                              needs torch with CUDA and a driver, nothing else

``build`` writes for each case ``NAME.ptx`` and what a launch needs to know; ``run`` has the driver compile the PTX,
launches and prints a table: error against torch, tolerance, microseconds a launch, registers and local memory.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import gpu_kernels_cases as cases  # noqa: E402  beside this file


def build(folder: Path, arch: int, only: str) -> int:
    sys.path.insert(0, str(Path(__file__).parent.parent / "src"))
    from anytile.compat.hook import FINDER

    sys.meta_path.insert(0, FINDER)
    from anytile.frontend import trace
    from anytile.runtime.options import Options
    from anytile.targets.nvidia.chips import chip
    from anytile.targets.nvidia.codegen import lower
    from anytile.targets.nvidia.target import make_ptx, prepare

    prepare()  # outside of what is timed
    kernels = cases.kernels()
    folder.mkdir(parents=True, exist_ok=True)
    failures, index = 0, []
    for case in cases.CASES:
        if only and only not in case.name:
            continue
        fn = kernels[case.kernel]
        c = chip(arch)
        options = Options(num_warps=case.num_warps, default_dot_input_precision="tf32")
        start = time.perf_counter()
        try:
            text, metadata = lower(trace(fn, *cases.specialised(case, fn.arg_names), options), options, c)
            (folder / f"{case.name}.ll").write_text(text) if only else None
            middle = time.perf_counter()
            ptx = make_ptx(text, c)
        except Exception as error:
            failures += 1
            print(f"{case.name:<28} FAILED {type(error).__name__}: {str(error)[:300]}", flush=True)
            if only:
                raise
            continue
        (folder / f"{case.name}.ptx").write_text(ptx)
        index.append({"case": case.name, **metadata})
        ms = (middle - start) * 1e3, (time.perf_counter() - middle) * 1e3
        print(
            f"{case.name:<28} text {ms[0]:6.0f} ms  LLVM {ms[1]:6.0f} ms  shared {metadata['shared']:6d}  {len(ptx):7d} B of PTX",
            flush=True,
        )
    (folder / "index.json").write_text(json.dumps(index))
    return 1 if failures else 0


class _Driver:
    """The few calls of libcuda that a launch needs, on torch's context."""

    def __init__(self) -> None:
        self.lib = ctypes.CDLL("libcuda.so.1")

    def call(self, name: str, *args: object) -> None:
        code = getattr(self.lib, name)(*args)
        if code:
            text = ctypes.c_char_p()
            self.lib.cuGetErrorString(code, ctypes.byref(text))
            raise RuntimeError(f"{name}: {text.value.decode() if text.value else code}")

    def load(self, ptx: str, name: str, shared: int) -> tuple[ctypes.c_void_p, int, int]:
        """(function, registers, bytes of local memory) of a kernel in PTX."""
        module, function, value = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_int()
        log = ctypes.create_string_buffer(8192)
        options = (ctypes.c_int * 2)(5, 6)  # error log buffer and its size
        values = (ctypes.c_void_p * 2)(ctypes.cast(log, ctypes.c_void_p), 8192)
        code = self.lib.cuModuleLoadDataEx(ctypes.byref(module), ptx.encode() + b"\0", 2, options, values)
        if code:
            raise RuntimeError(f"the driver refuses the PTX ({code}): {log.value.decode()[:500]}")
        self.call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        if shared > 48 * 1024:
            self.call("cuFuncSetAttribute", function, 8, shared)
        facts = []
        for attribute in (4, 3):
            self.call("cuFuncGetAttribute", ctypes.byref(value), attribute, function)
            facts.append(value.value)
        return function, facts[0], facts[1]


_C_TYPES = {
    "i1": ctypes.c_uint8,
    "i8": ctypes.c_int8,
    "i16": ctypes.c_int16,
    "i32": ctypes.c_int32,
    "i64": ctypes.c_int64,
    "f64": ctypes.c_double,
}


def _launch(driver: _Driver, torch: Any, function: ctypes.c_void_p, grid: tuple[int, ...], entry: dict[str, Any], pointers: Any) -> None:
    stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    driver.call("cuLaunchKernel", function, *grid, 32 * entry["num_warps"], 1, 1, entry["shared"], stream, pointers, None)


def run(folder: Path) -> int:
    import torch

    torch.zeros(1, device="cuda")
    torch.backends.cuda.matmul.allow_tf32 = False
    driver = _Driver()
    by_name = {c.name: c for c in cases.CASES}
    bad = 0
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    for entry in json.loads((folder / "index.json").read_text()):
        case = by_name[entry["case"]]
        torch.manual_seed(0)
        try:
            args, grid, check = case.make(torch, case)
            start = time.perf_counter()
            function, registers, local = driver.load((folder / f"{case.name}.ptx").read_text(), entry["name"], entry["shared"])
            jit = (time.perf_counter() - start) * 1e3
            boxes = []
            for a, slot in zip(args, entry["slots"], strict=True):
                boxes.append(ctypes.c_uint64(a.data_ptr()) if hasattr(a, "data_ptr") else _C_TYPES.get(slot, ctypes.c_float)(a))
            pointers = (ctypes.c_void_p * len(boxes))(*(ctypes.addressof(b) for b in boxes))
            grid = (*grid, 1, 1)[:3]

            launch = functools.partial(_launch, driver, torch, function, grid, entry, pointers)
            launch()
            torch.cuda.synchronize()
            error = float(check())
            ok = error <= case.tolerance and not math.isnan(error)
            reps = 20
            begin, end = torch.cuda.Event(True), torch.cuda.Event(True)
            for _ in range(3):
                launch()
            begin.record()
            for _ in range(reps):
                launch()
            end.record()
            torch.cuda.synchronize()
            us = begin.elapsed_time(end) * 1e3 / reps
            rate = ""
            if case.bytes:
                rate = f"{case.bytes / us / 1e3:8.0f} GB/s"
            if case.flops:
                rate = f"{case.flops / us / 1e6:8.1f} TFLOP/s"
            print(
                f"{case.name:<28} {'ok   ' if ok else 'WRONG'} error {error:9.2e} (≤ {case.tolerance:.0e}) {us:9.1f} us {rate:<17} "
                f"regs {registers:3d} local {local:5d} jit {jit:5.0f} ms",
                flush=True,
            )
            bad += not ok
        except Exception as error:
            bad += 1
            print(f"{case.name:<28} FAILED {type(error).__name__}: {str(error)[:300]}", flush=True)
            if "illegal" in str(error) or "launch" in str(error) or "misaligned" in str(error):
                print("the context is gone: the remaining cases need a new process", flush=True)
                remaining = [e["case"] for e in json.loads((folder / "index.json").read_text())]
                return _rest(folder, remaining[remaining.index(case.name) + 1 :])
    print(f"{bad} of {len(json.loads((folder / 'index.json').read_text()))} wrong")
    return 1 if bad else 0


def _rest(folder: Path, names: list[str]) -> int:
    """Goes on with ``names`` in a new process, after a fault made this one's context useless."""
    whole = json.loads((folder / "index.json").read_text())
    left = Path(os.environ.get("TMPDIR", "/tmp")) / f"check-{os.getpid()}"
    left.mkdir(exist_ok=True)
    for entry in whole:
        if entry["case"] in names:
            (left / f"{entry['case']}.ptx").write_text((folder / f"{entry['case']}.ptx").read_text())
    (left / "index.json").write_text(json.dumps([e for e in whole if e["case"] in names]))
    sys.stdout.flush()
    if names:
        os.execv(sys.executable, [sys.executable, __file__, "run", str(left)])
    return 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("build", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arch", type=int, default=90)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    sys.exit(build(given.folder, given.arch, given.only) if given.action == "build" else run(given.folder))
