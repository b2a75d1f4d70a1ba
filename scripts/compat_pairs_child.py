"""Steps of one pair of torch and Triton, for `compat_pairs.py`: prints ``RESULT STEP ok`` or ``RESULT STEP <what went wrong>``.

    python scripts/compat_pairs_child.py STEP,STEP… anytile|triton

The steps are import, analysis, sm_80, sm_90 and cpu; after an import that fails there are no more.
Both are found on PYTHONPATH.  There is no GPU: the steps sm_80 and sm_90 tell torch of one (name, capability, cores), let Inductor write and
compile a kernel for it, and stop where the kernel would be loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
from typing import Any

MODULES = (
    "torch._inductor.runtime.hints",
    "torch._inductor.runtime.runtime_utils",
    "torch._inductor.runtime.triton_helpers",
    "torch._inductor.runtime.triton_heuristics",
    "torch._inductor.codegen.triton",
    "torch._inductor.codegen.wrapper",
    "torch._inductor.select_algorithm",
    "torch._inductor.kernel.mm",
    "torch._higher_order_ops.triton_kernel_wrap",
    "torch.utils._triton",
)

KERNEL = """
import triton
import triton.language as tl

@triton.jit
def scale(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n)
    tl.store(out_ptr + i, x * 3.0, mask=i < n)
"""


def user_kernel() -> Any:
    with open("user_kernel.py", "w", encoding="utf-8") as f:
        f.write(KERNEL)
    spec = importlib.util.spec_from_file_location("user_kernel", os.path.abspath("user_kernel.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["user_kernel"] = module
    spec.loader.exec_module(module)
    return module.scale


class _Driver:
    """A GPU of one capability that is not there: enough of a driver to compile, and to make a launcher that nobody calls."""

    def __init__(self, capability: int) -> None:
        from triton.backends.compiler import GPUTarget

        self._target = GPUTarget("cuda", capability, 32)
        self.utils = types.SimpleNamespace(
            get_device_properties=lambda device: {
                "max_shared_mem": 166 << 10,
                "multiprocessor_count": 108,
                "max_num_regs": 65536,
                "warpSize": 32,
                "mem_clock_rate": 1215000,
                "mem_bus_width": 5120,
                "sm_clock_rate": 1410000,
            }
        )
        self.launcher_cls = lambda src, metadata: lambda *args: None

    def get_current_target(self) -> Any:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int | None = None) -> int:
        return 0

    def is_active(self) -> bool:
        return True


def pretend_gpu(capability: int) -> None:
    """Tells torch and Triton of one GPU."""
    import torch
    import triton

    major, minor = divmod(capability, 10)
    properties = types.SimpleNamespace(
        name="NVIDIA A100" if capability == 80 else "NVIDIA H100",
        major=major,
        minor=minor,
        multi_processor_count=108,
        total_memory=80 << 30,
        regs_per_multiprocessor=65536,
        max_threads_per_multi_processor=2048,
        max_threads_per_block=1024,
        shared_memory_per_block_optin=166912 if capability == 80 else 232448,
        shared_memory_per_block=49152,
        shared_memory_per_multiprocessor=167936 if capability == 80 else 233472,
        warp_size=32,
        gcnArchName="",
        L2_cache_size=40 << 20,
        uuid="0",
        is_integrated=False,
        clock_rate=1410000,
        memory_clock_rate=1215000,
        memory_bus_width=5120,
    )
    cuda: Any = torch.cuda
    cuda._lazy_init = lambda: None
    cuda.is_available = lambda: True
    cuda.device_count = lambda: 1
    cuda.current_device = lambda: 0
    cuda.synchronize = lambda device=None: None
    cuda.get_device_properties = cuda._get_device_properties = lambda device=None: properties
    cuda.get_device_capability = lambda device=None: (major, minor)
    cuda.get_device_name = lambda device=None: properties.name
    cuda.is_bf16_supported = lambda *a, **k: True
    cuda._exchange_device = cuda._maybe_exchange_device = lambda device: 0
    cuda.set_device = lambda device: None
    cuda.get_rng_state = lambda device=None: torch.zeros(16, dtype=torch.uint8)
    cuda.set_rng_state = lambda state, device=None: None
    torch.version.cuda = torch.version.cuda or "12.8"  # type: ignore[attr-defined]
    for name in ("_cuda_getCurrentRawStream",):
        setattr(torch._C, name, lambda device: 0)
    fake_tensor: Any = importlib.import_module("torch._subclasses.fake_tensor")
    for name in ("init_cuda_context", "init_gpu_context"):
        if hasattr(fake_tensor, name):
            setattr(fake_tensor, name, lambda *a: None)
    # torch keeps properties of devices of its own: fill them before anything asks the missing driver.
    interface: Any = importlib.import_module("torch._dynamo.device_interface")
    interface.caching_worker_device_properties["cuda"] = [properties]
    worker = interface.CudaInterface.Worker
    worker.get_device_properties = staticmethod(lambda device=None: properties)
    worker.current_device = staticmethod(lambda: 0)
    for name, value in (
        ("current_device", lambda: 0),
        ("device_count", lambda: 1),
        ("is_available", lambda: True),
        ("get_compute_capability", lambda device=None: capability),
        ("synchronize", lambda device=None: None),
        ("set_device", lambda device: None),
        ("maybe_exchange_device", lambda device: 0),
        ("exchange_device", lambda device: 0),
        ("get_raw_stream", lambda device: 0),
    ):
        setattr(interface.CudaInterface, name, staticmethod(value))
    interface.CudaInterface.Worker.get_device_properties = staticmethod(lambda device=None: properties)
    triton.runtime.driver.set_active(_Driver(capability))
    helpers: Any = importlib.import_module("torch._inductor.runtime.triton_helpers")
    helpers.set_driver_to_gpu = lambda: None  # it would ask for the driver that is not there


def step_import() -> str:
    for name in MODULES:
        importlib.import_module(name)
    return "ok"


def step_analysis(who: str) -> str:
    import inspect

    import torch
    import triton
    from torch._subclasses.fake_tensor import FakeTensorMode

    if who == "triton":
        triton.runtime.driver.set_active(_Driver(80))
    wrap: Any = importlib.import_module("torch._higher_order_ops.triton_kernel_wrap")
    kernel = user_kernel()
    with FakeTensorMode():
        arguments = {"x_ptr": torch.empty(64), "out_ptr": torch.empty(64), "n": 64, "BLOCK": 64}
    if hasattr(wrap, "identify_accessed_tensors"):
        writes = [d.name for d in wrap.identify_accessed_tensors(kernel, arguments, {}).read_writes.writes]
    else:
        more = [{}] * (len(inspect.signature(wrap.identify_mutated_tensors).parameters) - 2)
        writes = list(wrap.identify_mutated_tensors(kernel, arguments, *more))
    return "ok" if writes == ["out_ptr"] else f"writes {writes}"


def step_gpu(capability: int, who: str) -> str:
    """Inductor writes a kernel for a GPU and compiles it, up to the launcher; the machine code is looked at."""
    import torch

    inductor_config: Any = importlib.import_module("torch._inductor.config")
    for name in ("use_static_cuda_launcher", "use_static_triton_launcher", "fx_graph_cache", "force_disable_caches"):
        if hasattr(inductor_config, name):
            setattr(inductor_config, name, name == "force_disable_caches")
    pretend_gpu(capability)
    compiler: Any = importlib.import_module("triton.compiler")
    compiled: list[Any] = []
    CompiledKernel = compiler.CompiledKernel

    def loaded(self: Any) -> None:
        if not any(self is c for c in compiled):
            compiled.append(self)
            self.module, self.function = object(), 1
            self.n_regs, self.n_spills = 32, 0
            if who == "triton":
                try:
                    self.run = self._run = lambda *args: None
                except AttributeError:
                    self._run = lambda *args: None

    CompiledKernel._init_handles = loaded
    heuristics: Any = importlib.import_module("torch._inductor.runtime.triton_heuristics")
    launchers: list[Any] = []
    autotuner = heuristics.CachingAutotuner
    precompile = autotuner.precompile

    def precompiled(self: Any, *args: Any, **kwargs: Any) -> Any:
        out = precompile(self, *args, **kwargs)
        if hasattr(self, "_make_launchers"):
            self._make_launchers()
        launchers.extend(self.launchers)
        return out

    autotuner.precompile = precompiled
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    compile_fx: Any = importlib.import_module("torch._inductor.compile_fx")

    def f(x: Any, y: Any) -> tuple[Any, ...]:
        return (torch.ops.aten.add.Tensor(torch.ops.aten.mul.Tensor(x, y), x), torch.ops.aten.sum.dim_IntList(x, [1]))

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        x, y = (torch.empty(256, 256, device="cuda") for _ in range(2))
        graph = make_fx(f)(x, y)
    with mode, torch._guards.tracing(torch._guards.TracingContext(mode)):
        compile_fx.compile_fx_inner(graph, [x, y])
    if not compiled or not launchers:
        return f"no result: {len(compiled)} kernels and {len(launchers)} launchers were made"
    for kernel in compiled:
        if kernel.asm["cubin"][:4] != b"\x7fELF":
            return "no machine code came out"
    return "ok"


def step_cpu() -> str:
    """A kernel of the user's, and where Inductor has Triton as a back end for the CPU a compiled function, run and compared."""
    import torch

    x = torch.randn(1000)
    out = torch.empty_like(x)
    user_kernel()[(8,)](x, out, 1000, BLOCK=128)
    torch.testing.assert_close(out, x * 3)
    inductor_config: Any = importlib.import_module("torch._inductor.config")

    def f(a: Any, b: Any) -> Any:
        return torch.nn.functional.gelu(a * b + 1.0).sum(-1)

    release = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if release >= (2, 6):
        inductor_config.cpu_backend = "triton"
    a, b = torch.randn(33, 70), torch.randn(33, 70)
    torch.testing.assert_close(torch.compile(f)(a, b), f(a, b), rtol=2e-5, atol=2e-5)
    return "ok"


def result_of(step: str, who: str) -> str:
    try:
        if step == "import":
            return step_import()
        if step == "analysis":
            return step_analysis(who)
        if step == "cpu":
            return step_cpu()
        return step_gpu(int(step.removeprefix("sm_")), who)
    except Exception as e:
        import traceback

        traceback.print_exc()
        return f"{type(e).__name__}: {e}".splitlines()[0][:300]


def main() -> None:
    steps, who = sys.argv[1:3]
    if who == "anytile":
        import anytile

        anytile.install()
    for step in steps.split(","):
        result = result_of(step, who)
        print(f"RESULT {step} {result}", flush=True)
        if step == "import" and result != "ok":
            break
    sys.stderr.flush()
    os._exit(0)  # libraries of a GPU that is not there need not be taken down


if __name__ == "__main__":
    main()
