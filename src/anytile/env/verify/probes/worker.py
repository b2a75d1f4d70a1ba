"""Runs rows of one group, one after another, and tells of each on standard output.

    python worker.py GROUP DEVICE ROW [ROW...]

A line of the protocol is `MARK` and a JSON object: `{"begin": ROW}`, then `{"end": ROW, "verdict": ..., "seconds": ..., ...}`. What
libraries print comes between and is not looked at. A process that dies has begun a row and not ended it: so its reader knows which.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import time
import traceback

MARK = "\x1eanytile-verify "
HERE = os.path.dirname(os.path.abspath(__file__))


class Skip(Exception):
    """A row that cannot be asked here; the text says why."""


def tell(**what):
    print(MARK + json.dumps(what), flush=True)


def kernels():
    """The file beside this one, whatever else is called `kernels` in this environment."""
    spec = importlib.util.spec_from_file_location("anytile_verify_kernels", os.path.join(HERE, "kernels.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


# ---- facts ------------------------------------------------------------------------------------------------------------------------


def facts(_device, _row):
    """Version and folders of this Python, and which packages of the stack it would find; imports none of them."""
    import platform

    names = "numpy torch triton torchvision torchaudio xformers bitsandbytes flash_attn unsloth".split()
    found = [n for n in names if importlib.util.find_spec(n) is not None]
    return {
        "detail": "Python " + platform.python_version(),
        "facts": {
            "version": platform.python_version(),
            "executable": sys.executable,
            "prefix": sys.prefix,
            "platform": platform.platform(),
            "packages": found,
        },
    }


# ---- imports ----------------------------------------------------------------------------------------------------------------------


def imports(_device, name):
    """Imports one module, and what Inductor imports of itself for `torch._inductor`."""
    if name == "torch._inductor":
        for part in ("compile_fx", "runtime.hints", "runtime.triton_heuristics"):
            try:
                there = importlib.util.find_spec("torch._inductor." + part) is not None
            except ModuleNotFoundError:  # before torch 2.5 there is no `runtime`
                there = False
            if there:
                importlib.import_module("torch._inductor." + part)
        return {"detail": ""}
    module = importlib.import_module(name)
    out = {"detail": str(getattr(module, "__version__", "") or "")}
    if name == "torch":
        cuda = module.version.cuda or module.version.hip
        out["detail"] += f" ({cuda})" if cuda and "+" not in out["detail"] else ""
        devices = [{"device": "cpu", "name": "cpu"}]
        if module.cuda.is_available():
            devices += [{"device": f"cuda:{i}", "name": module.cuda.get_device_name(i)} for i in range(module.cuda.device_count())]
        out["facts"] = {"devices": devices, "cuda": module.version.cuda, "hip": module.version.hip}
    if name == "triton":
        provider = "anytile" if hasattr(module, "__file__") and "anytile" in str(module.__file__) else "triton"
        out["detail"] += " by anytile" if provider == "anytile" else ""
        out["facts"] = {"provider": provider, "version": out["detail"].split(" ")[0]}
    if name == "xformers":
        # It goes on without its extensions, and only warns.
        reason = getattr(getattr(module, "_cpp_lib", None), "_cpp_library_load_exception", None)
        if type(reason).__name__ == "xFormersInvalidLibException":
            first = reason
            while first.__cause__ is not None:  # the linker's words
                first = first.__cause__
            raise ImportError(f"its compiled extensions cannot be loaded: {first}") from reason
        out["detail"] += " without compiled extensions" if reason is not None else ""
    return out


# ---- three operations -------------------------------------------------------------------------------------------------------------


def operands(torch, device, row):
    """Inputs on ``device`` and the right answer in float64 on the CPU."""
    torch.manual_seed(0)
    if row == "vector_add":
        x, y = torch.randn(100_003), torch.randn(100_003)
        right = x.double() + y.double()
    elif row == "softmax":
        x, y = torch.randn(67, 781), torch.empty(0)
        right = torch.softmax(x.double(), dim=1)
    else:
        x, y = torch.randn(128, 192) / 8, torch.randn(192, 256) / 8
        right = x.double() @ y.double()
    return x.to(device), y.to(device), right


def compare(torch, got, right, tolerance):
    """Raises where an element is further from the right answer than ``tolerance``, absolute and relative."""
    got = got.detach().cpu().double()
    if got.shape != right.shape:
        raise AssertionError(f"wrong result: shape {tuple(got.shape)}, not {tuple(right.shape)}")
    error = (got - right).abs() - tolerance * (1 + right.abs())
    if not bool((error <= 0).all()):  # also catches NaN
        raise AssertionError(f"wrong result: off by up to {float((got - right).abs().max()):.3g}, allowed is {tolerance:g}")


def synchronize(torch, device):
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def best_time(torch, device, function):
    """Seconds of the fastest of five calls."""
    times = []
    for _ in range(5):
        synchronize(torch, device)
        start = time.perf_counter()
        function()
        synchronize(torch, device)
        times.append(time.perf_counter() - start)
    return min(times)


def torch_operation(device, row):
    import torch

    x, y, right = operands(torch, device, row)
    function = {"vector_add": lambda: x + y, "softmax": lambda: torch.softmax(x, dim=1), "matmul": lambda: x @ y}[row]
    compare(torch, function(), right, 5e-3 if row == "matmul" else 1e-5)
    return {"run": best_time(torch, device, function)}


def triton_operation(device, row):
    if importlib.util.find_spec("torch") is None:
        return numpy_operation(row)
    import torch

    x, y, right = operands(torch, device, row)
    out = torch.empty(right.shape, device=device)
    function = launch_of(row, x, y, out)
    function()
    compare(torch, out, right, 5e-3 if row == "matmul" else 1e-5)  # a dot of float32 is tf32 where the machine has it
    return {"run": best_time(torch, device, function)}


def numpy_operation(row):
    """The kernels with arrays of NumPy, on the CPU, which anytile takes: where there is no torch."""
    import numpy as np

    shapes = {"vector_add": ((100_003,), (100_003,)), "softmax": ((67, 781), (0,)), "matmul": ((128, 192), (192, 256))}[row]
    random = np.random.default_rng(0)
    x, y = (random.standard_normal(shape, dtype=np.float32) for shape in shapes)
    wide = x.astype(np.float64)
    if row == "softmax":
        right = np.exp(wide - wide.max(axis=1, keepdims=True))
        right /= right.sum(axis=1, keepdims=True)
    else:
        right = wide + y if row == "vector_add" else wide @ y
    out = np.empty(right.shape, np.float32)
    function = launch_of(row, x, y, out)
    function()
    np.testing.assert_allclose(out, right, rtol=5e-3 if row == "matmul" else 1e-5, atol=5e-3 if row == "matmul" else 1e-5)
    return {"run": best_time(None, "cpu", function)}


def launch_of(row, x, y, out):
    """The launch of the kernel ``row`` on tensors or arrays, as a function."""
    k = kernels()
    if row == "vector_add":
        return lambda: k.vector_add[((x.shape[0] + 1023) // 1024,)](x, y, out, x.shape[0], BLOCK=1024)
    if row == "softmax":
        return lambda: k.softmax[(x.shape[0],)](x, out, x.shape[1], BLOCK=1024)
    grid = (x.shape[0] // 64, y.shape[1] // 64)
    return lambda: k.matmul[grid](x, y, out, y.shape[1], x.shape[1], BM=64, BN=64, BK=32)


def triton_to_machine_code(device, _row):
    """Compiles a kernel for an NVIDIA architecture: needs no GPU, but Triton's library, its LLVM and its ptxas."""
    import triton
    from triton.compiler import ASTSource

    capability = int(device.rpartition("_")[2])
    try:
        from triton.backends.compiler import GPUTarget

        target = GPUTarget("cuda", capability, 32)
    except ImportError:  # Triton 2
        target = ("cuda", capability)
    kernel = kernels().vector_add
    pointer = ("x_ptr", "y_ptr", "out_ptr")
    by_name = {**dict.fromkeys(pointer, "*fp32"), "n": "i32"}
    attempts = (  # how the source of a kernel is given moved twice: constants in the signature (3.3), names for numbers (3.2)
        lambda: ASTSource(fn=kernel, signature={**by_name, "BLOCK": "constexpr"}, constexprs={"BLOCK": 1024}),
        lambda: ASTSource(fn=kernel, signature=by_name, constants={"BLOCK": 1024}),
        lambda: ASTSource(fn=kernel, signature=dict(enumerate(by_name.values())), constants={4: 1024}),
    )
    first = None
    for attempt in attempts:
        try:
            compiled = triton.compile(attempt(), target=target)
            break
        except (TypeError, KeyError, ValueError, AttributeError, AssertionError) as e:
            first = first or e
    else:
        raise first
    code = compiled.asm.get("cubin") or compiled.asm.get("ptx")
    if not code:
        raise AssertionError(f"compiled to {sorted(compiled.asm)}, none of which is machine code")
    return {"detail": f"{len(code)} bytes"}


# ---- torch.compile ----------------------------------------------------------------------------------------------------------------


def compiled_model(device, _row):
    """Forward and backward of a small model, against the same model in eager mode."""
    import torch

    if device == "cpu":
        import shutil

        wanted = [os.environ["CXX"]] if os.environ.get("CXX") else ["cl"] if sys.platform == "win32" else ["g++", "clang++", "c++"]
        if not any(shutil.which(name) for name in wanted):
            raise Skip(f"on the CPU torch.compile calls a C++ compiler, and there is no {' or '.join(wanted)}")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.GELU(), torch.nn.LayerNorm(128), torch.nn.Linear(128, 32)).to(device)
    x = torch.randn(16, 64, device=device)
    model(x).softmax(dim=1).square().sum().backward()
    right = [p.grad.detach().cpu().double() for p in model.parameters()]
    answer = model(x).softmax(dim=1).detach().cpu().double()
    for p in model.parameters():
        p.grad = None
    function = torch.compile(lambda t: model(t).softmax(dim=1))
    start = time.perf_counter()
    result = function(x)
    result.square().sum().backward()
    synchronize(torch, device)
    first = time.perf_counter() - start
    compare(torch, result, answer, 5e-3)
    for p, grad in zip(model.parameters(), right):
        compare(torch, p.grad, grad, 5e-3)
    with torch.no_grad():
        return {"run": best_time(torch, device, lambda: function(x)), "detail": f"first call {first:.1f} s"}


# ---- libraries --------------------------------------------------------------------------------------------------------------------


def library(device, row):
    return {"unsloth": unsloth, "xformers": xformers, "bitsandbytes": bitsandbytes}[row](device)


def unsloth(device):
    """RMS norm with its backward, and SwiGLU."""
    if device == "cpu":
        os.environ["UNSLOTH_ALLOW_CPU"] = "1"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
    import types

    try:
        import unsloth.kernels as k
    except NotImplementedError as e:
        raise Skip(f"Unsloth refuses this machine: {e}") from e
    import torch

    torch.manual_seed(0)
    x = torch.randn(2, 9, 320, device=device, requires_grad=True)
    weight = torch.randn(320, device=device)
    y = k.fast_rms_layernorm(types.SimpleNamespace(weight=weight, variance_epsilon=1e-6), x)
    z = x.detach().cpu().double().requires_grad_()
    right = z * torch.rsqrt(z.pow(2).mean(-1, keepdim=True) + 1e-6) * weight.cpu().double()
    right.sum().backward()
    y.sum().backward()
    compare(torch, y, right.detach(), 1e-4)
    compare(torch, x.grad, z.grad, 1e-3)
    gate, up = torch.randn(1, 5, 64, device=device), torch.randn(1, 5, 64, device=device)
    right = torch.nn.functional.silu(gate.cpu().double()) * up.cpu().double()
    compare(torch, k.swiglu_fg_kernel(gate, up), right, 1e-4)
    return {"detail": "RMS norm, SwiGLU"}


def xformers(device):
    """Memory-efficient attention, whichever of its operators takes the call."""
    if device == "cpu":
        raise Skip("xformers has no attention on the CPU")
    import torch
    import xformers.ops as ops

    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 65, 4, 64, device=device, dtype=torch.float16) for _ in range(3))
    out = ops.memory_efficient_attention(q, k, v)
    qd, kd, vd = (t.cpu().double().transpose(1, 2) for t in (q, k, v))
    right = (torch.softmax(qd @ kd.transpose(2, 3) / 8, dim=-1) @ vd).transpose(1, 2)
    compare(torch, out, right, 5e-3)
    return {"detail": "memory_efficient_attention"}


def bitsandbytes(device):
    """Blockwise quantisation to 8 bits and back."""
    import bitsandbytes.functional as f
    import torch

    torch.manual_seed(0)
    x = torch.randn(64, 256, device=device)
    quantised, state = f.quantize_blockwise(x)
    compare(torch, f.dequantize_blockwise(quantised, state), x.cpu().double(), 5e-2)
    return {"detail": "quantize_blockwise"}


GROUPS = {
    "facts": facts,
    "import": imports,
    "torch": torch_operation,
    "triton": triton_operation,
    "machine code": triton_to_machine_code,
    "compile": compiled_model,
    "library": library,
}


def main(group, device, rows):
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or os.curdir) != HERE]  # a program of the user's would not see this folder
    for row in rows:
        tell(begin=row)
        start = time.perf_counter()
        out = {}
        try:
            out = GROUPS[group](device, row) or {}
            verdict = "passed"
        except Skip as e:
            verdict, out = "skipped", {"detail": str(e)}
        except BaseException as e:  # SystemExit too: some libraries call it when they are imported
            traceback.print_exc()
            verdict, out = "failed", {"detail": f"{type(e).__name__}: {e}", "trace": traceback.format_exc()[-4000:]}
        tell(end=row, verdict=verdict, seconds=time.perf_counter() - start, **out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
