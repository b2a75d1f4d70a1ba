"""Every setting, as an attribute that an environment variable backs: ``knobs.cache.dir`` is ``TRITON_CACHE_DIR``.

A knob answers with, in this order: what was assigned to it, its environment variable at this moment, its
default.  Assigning also writes the variable, so that child processes see it (``propagate_env = False`` stops
that); ``del group.knob`` and ``group.knob = knobs.env`` go back to the environment.

    with knobs.cache.scope():          # on leaving: knobs and their environment variables as before
        knobs.cache.dir = "/tmp/x"

``TRITON_*`` names are Triton's; ``ANYTILE_*`` are this package's own.  Knobs of GPU tools exist so that
programs which set them run; the CPU target reads none of them.
"""

from __future__ import annotations

import ctypes
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..errors import SettingError
from .hooks import HookChain

__all__ = ["CompileTimes", "Env", "HookChain", "base_knobs", "env", "propagate_env", "refresh_knobs"]

T = TypeVar("T")
K = TypeVar("K", bound="base_knobs")

_TRUE = frozenset({"1", "true", "yes", "on", "y"})
_FALSE = frozenset({"0", "false", "no", "off", "n", ""})


class Env:
    """The type of `env`: assigned to a knob it means "as the environment says"."""


env = Env()
propagate_env: bool = True


@dataclass(frozen=True)
class CompileTimes:
    """Microseconds that a compilation took; on a cache hit only ``load_results`` is not zero."""

    ir_initialization: int
    lowering_stages: list[tuple[str, int]]
    store_results: int
    load_results: int = 0

    @property
    def total_lowering(self) -> int:
        return sum(t for _, t in self.lowering_stages)

    @property
    def total(self) -> int:
        return self.ir_initialization + self.total_lowering + self.store_results + self.load_results


class Knob(Generic[T]):
    """A descriptor for one setting; subclasses say how text becomes a value."""

    def __init__(self, key: str, default: Any = None):
        self.key, self.default = key, default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, group: Any, owner: type | None = None) -> T:
        if group is None:
            return self  # type: ignore[return-value]
        try:
            return self.present(group.__dict__[self.name])
        except KeyError:
            return self.from_environment()

    def __set__(self, group: Any, value: Any) -> None:
        if isinstance(value, Env):
            group.__dict__.pop(self.name, None)
            return
        group.__dict__[self.name] = value
        text = _as_text(value)
        if propagate_env and (text is not None or value is None):
            _set_variable(self.key, text)

    def __delete__(self, group: Any) -> None:
        group.__dict__.pop(self.name, None)

    def get(self) -> T:
        """The value, of a knob that belongs to no group."""
        return self.from_environment()

    def from_environment(self) -> T:
        text = os.environ.get(self.key)
        return self.fallback() if text is None else self.parse(text)

    def fallback(self) -> Any:
        return self.default() if callable(self.default) else self.default

    def parse(self, text: str) -> Any:
        """The value that ``text`` in the environment stands for."""
        return text

    def present(self, value: Any) -> T:
        """What reading gives after ``value`` was assigned."""
        return value


def _as_text(value: Any) -> str | None:
    """How a value is written into the environment; None for what cannot be (classes, callbacks)."""
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value) if isinstance(value, (str, int)) else None


def _set_variable(key: str, text: str | None) -> None:
    if text is None:
        os.environ.pop(key, None)
    else:
        os.environ[key] = text


class env_str(Knob[str]):
    """Text; the default may be a function that is called at each reading."""


class env_opt_str(Knob["str | None"]):
    """Text or None."""


class env_bool(Knob[bool]):
    """1/true/yes/on/y or 0/false/no/off/n, in any case; ValueError for anything else."""

    def __init__(self, key: str, default: bool | None = False):
        super().__init__(key, default)

    def parse(self, text: str) -> bool:
        word = text.strip().lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise ValueError(f"{self.key}={text!r} is no truth value; use 1 or 0")


class env_opt_bool(env_bool):
    """A truth value, or None where nothing is said."""

    def __init__(self, key: str):
        super().__init__(key, None)


class env_int(Knob[int]):
    """A decimal integer; SettingError for anything else."""

    def __init__(self, key: str, default: int = 0):
        super().__init__(key, default)

    def parse(self, text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise SettingError(f"{self.key}={text!r} is no integer") from None


class env_class(Knob["type | None"]):
    """A class named ``module:class``, which must have a base called ``base``."""

    def __init__(self, key: str, base: str):
        super().__init__(key)
        self.base = base

    def parse(self, text: str) -> type:
        module, colon, name = text.partition(":")
        if not colon:
            raise SettingError(f"{self.key}={text!r} is not of the form module:class")
        cls = getattr(importlib.import_module(module), name)
        if self.base not in (c.__name__ for c in cls.__mro__):
            raise SettingError(f"{self.key}={text!r} is no {self.base}")
        return cls


class base_knobs:
    """A group of knobs."""

    @property
    def knob_descriptors(self) -> dict[str, Knob[Any]]:
        return {name: d for cls in reversed(type(self).__mro__) for name, d in vars(cls).items() if isinstance(d, Knob)}

    @property
    def knobs(self) -> dict[str, Any]:
        """Names and present values."""
        return {name: getattr(self, name) for name in self.knob_descriptors}

    def copy(self: K) -> K:
        """Another group with the same assignments."""
        other = type(self)()
        other.__dict__.update(self.__dict__)
        return other

    def changed(self) -> None:
        """Called after a change, by groups that somebody watches, and after `scope`."""

    def reset(self: K) -> K:
        """Forget every assignment; the environment speaks again."""
        for name in self.knob_descriptors:
            delattr(self, name)
        return self

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Assignments and their environment variables last until the end of the block."""
        assigned = dict(self.__dict__)
        variables = {d.key: os.environ.get(d.key) for d in self.knob_descriptors.values()}
        try:
            yield
        finally:
            # In place: the launch path holds a reference to the dictionary.
            self.__dict__.clear()
            self.__dict__.update(assigned)
            self.changed()
            for key, text in variables.items():
                _set_variable(key, text)


def _home() -> str:
    home = os.path.expanduser("~/")
    return os.sep if home == "~/" else home  # a user whom nobody knows has no home, and "~" would be a folder of the current one


def _under_home(leaf: str) -> Callable[[], str]:
    return lambda: os.path.join(cache.home_dir, ".triton", leaf)


class build_knobs(base_knobs):
    """Building host code with a C compiler; nothing in this package does."""

    cc = env_opt_str("CC")
    cudacrt_path = env_opt_str("TRITON_CUDACRT_PATH")
    cudart_path = env_opt_str("TRITON_CUDART_PATH")
    impl: Callable[..., str] | None = None

    @property
    def backend_dirs(self) -> set[str]:
        return {path for path in (self.cudacrt_path, self.cudart_path) if path is not None}


class redis_knobs(base_knobs):
    key_format = env_str("TRITON_REDIS_KEY_FORMAT", "triton:{key}:{filename}")
    host = env_str("TRITON_REDIS_HOST", "localhost")
    port = env_int("TRITON_REDIS_PORT", 6379)


class cache_knobs(base_knobs):
    """Where compiled kernels lie.  `anytile.runtime.cache.directory` says which directory is really used."""

    home_dir = env_str("TRITON_HOME", _home)
    dir = env_str("TRITON_CACHE_DIR", _under_home("cache"))
    dump_dir = env_str("TRITON_DUMP_DIR", _under_home("dump"))
    override_dir = env_str("TRITON_OVERRIDE_DIR", _under_home("override"))
    manager_class = env_class("TRITON_CACHE_MANAGER", "CacheManager")
    remote_manager_class = env_class("TRITON_REMOTE_CACHE_BACKEND", "RemoteCacheBackend")
    #: Where machines share compiled kernels (`remote`): a URL of fsspec or Redis.
    url = env_opt_str("ANYTILE_CACHE_URL")
    #: Bytes that the cache may hold; the least recently used kernels go first.
    size = env_int("ANYTILE_CACHE_SIZE", 1 << 30)

    def get_triton_dir(self, dirname: str) -> str:
        return os.path.join(self.home_dir, ".triton", dirname)


class compilation_knobs(base_knobs):
    override = env_bool("TRITON_KERNEL_OVERRIDE")
    dump_ir = env_bool("TRITON_KERNEL_DUMP")
    dump_ir_extract_di_local_variables = env_bool("LLVM_EXTRACT_DI_LOCAL_VARIABLES")
    store_binary_only = env_bool("TRITON_STORE_BINARY_ONLY")
    always_compile = env_bool("TRITON_ALWAYS_COMPILE")
    use_ir_loc = env_opt_str("USE_IR_LOC")
    enable_asan = env_bool("TRITON_ENABLE_ASAN")
    disable_line_info = env_bool("TRITON_DISABLE_LINE_INFO")
    front_end_debugging = env_bool("TRITON_FRONT_END_DEBUGGING")
    allow_non_constexpr_globals = env_bool("TRITON_ALLOW_NON_CONSTEXPR_GLOBALS")
    instrumentation_mode = env_str("TRITON_INSTRUMENTATION_MODE", "")
    fpsan_homomorphic_casts = env_bool("TRITON_FPSAN_HOMOMORPHIC_CASTS")
    #: Directory that receives every stage of each compilation (`dump`).
    anytile_dump = env_opt_str("ANYTILE_DUMP")
    #: Called as listener(src=…, metadata=…, metadata_group=…, times=…, cache_hit=…) after each compilation.
    listener: Callable[..., None] | None = None


class autotuning_knobs(base_knobs):
    cache = env_bool("TRITON_CACHE_AUTOTUNING")
    print = env_bool("TRITON_PRINT_AUTOTUNING")
    #: Processes that compile configurations; 0: as many as cores are free, 1: none besides this one.
    workers = env_int("ANYTILE_TUNE_WORKERS", 0)
    #: Called as listener(fn=…, key=…, best_config=…, configs_timings=…, duration=…, cache_hit=…).
    listener: Callable[..., None] | None = None


#: Counts the changes of `runtime_knobs`: native launches look at those again after each.
runtime_changes = ctypes.c_int64(1)


class runtime_knobs(base_knobs):
    interpret = env_bool("TRITON_INTERPRET")
    debug = env_bool("TRITON_DEBUG")
    native_launch = env_bool("ANYTILE_NATIVE_LAUNCH", True)
    check_bounds = env_bool("ANYTILE_CHECK_BOUNDS")
    override_arch = env_opt_str("TRITON_OVERRIDE_ARCH")
    #: Called with (key=, repr=, fn=, compile=, is_manual_warmup=, already_compiled=); the first may return
    #: True to prevent the compilation.
    jit_cache_hook: Callable[..., Any] | None = None
    jit_post_compile_hook: Callable[..., Any] | None = None
    add_stages_inspection_hook: Callable[..., Any] | None = None

    def __init__(self) -> None:
        #: Called with a `LazyDict` of launch facts before and after each launch.
        self.launch_enter_hook: HookChain = HookChain()
        self.launch_exit_hook: HookChain = HookChain(reversed=True)
        #: Called with (module, function, name, metadata_group, hash) when a kernel is loaded.
        self.kernel_load_start_hook: HookChain = HookChain()
        self.kernel_load_end_hook: HookChain = HookChain(reversed=True)
        self.kernel_unload_hook: HookChain = HookChain(reversed=True)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        self.changed()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self.changed()

    def changed(self) -> None:
        runtime_changes.value += 1


class language_knobs(base_knobs):
    fp32_default = env_opt_str("TRITON_F32_DEFAULT")
    default_fp_fusion = env_bool("TRITON_DEFAULT_FP_FUSION", True)
    force_disable_fp_fusion = env_bool("TRITON_FORCE_DISABLE_FP_FUSION")

    def fp_fusion_enabled(self, requested: bool | None) -> bool:
        """Whether a·b + c may be rounded once, where a launch said ``requested`` (None: nothing)."""
        return not self.force_disable_fp_fusion and (self.default_fp_fusion if requested is None else requested)


class NvidiaTool:
    """A program of NVIDIA's: ``path``, and the CUDA ``version`` it belongs to ("12.8")."""

    def __init__(self, path: str):
        self.path = path

    @property
    def version(self) -> str:
        from ..targets.nvidia import assemble

        return assemble.tool_version(self.path)

    def __repr__(self) -> str:
        return f"NvidiaTool({self.path!r})"


class env_nvidia_tool(Knob[NvidiaTool]):
    """A program by its path; where none is named, the one that kernels would be compiled with.  SettingError where there is none."""

    def __init__(self, key: str, program: str):
        super().__init__(key)
        self.program = program

    def parse(self, text: str) -> Any:
        return NvidiaTool(text)

    def present(self, value: Any) -> NvidiaTool:
        return value if isinstance(value, NvidiaTool) else NvidiaTool(str(value))

    def fallback(self) -> NvidiaTool:
        from ..targets.nvidia import assemble

        found = assemble.find_tool(self.program)
        if found is None:
            raise SettingError(f"Cannot find {self.program}: set {self.key} to its path, or pip install nvidia-cuda-nvcc")
        return NvidiaTool(found)


class nvidia_knobs(base_knobs):
    cuobjdump = env_nvidia_tool("TRITON_CUOBJDUMP_PATH", "cuobjdump")
    nvdisasm = env_nvidia_tool("TRITON_NVDISASM_PATH", "nvdisasm")
    ptxas = env_nvidia_tool("TRITON_PTXAS_PATH", "ptxas")
    ptxas_blackwell = env_nvidia_tool("TRITON_PTXAS_BLACKWELL_PATH", "ptxas")
    dump_nvptx = env_bool("NVPTX_ENABLE_DUMP")
    disable_ptxas_opt = env_bool("DISABLE_PTXAS_OPT")
    ptxas_options = env_opt_str("PTXAS_OPTIONS")
    mock_ptx_version = env_opt_str("TRITON_MOCK_PTX_VERSION")
    dump_ptxas_log = env_bool("TRITON_DUMP_PTXAS_LOG")
    libdevice_path = env_opt_str("TRITON_LIBDEVICE_PATH")
    libcuda_path = env_opt_str("TRITON_LIBCUDA_PATH")


class amd_knobs(base_knobs):
    use_buffer_ops = env_bool("AMDGCN_USE_BUFFER_OPS", True)
    use_buffer_atomics = env_bool("AMDGCN_USE_BUFFER_ATOMICS", True)
    dump_amdgcn = env_bool("AMDGCN_ENABLE_DUMP")
    libhip_path = env_opt_str("TRITON_LIBHIP_PATH")
    use_block_pingpong = env_opt_bool("TRITON_HIP_USE_BLOCK_PINGPONG")
    use_in_thread_transpose = env_opt_bool("TRITON_HIP_USE_IN_THREAD_TRANSPOSE")
    use_async_copy = env_opt_bool("TRITON_HIP_USE_ASYNC_COPY")
    global_prefetch = env_int("TRITON_HIP_GLOBAL_PREFETCH")
    local_prefetch = env_int("TRITON_HIP_LOCAL_PREFETCH")
    scalarize_packed_fops = env_bool("AMDGCN_SCALARIZE_PACKED_FOPS")
    lld_path = env_opt_str("TRITON_HIP_LLD_PATH")
    codegen_path = env_opt_str("TRITON_AMD_CODEGEN_PATH")
    buffer_ops_analyze_small_tensor_range = env_bool("AMDGCN_ANALYZE_SMALL_TENSOR_RANGE")
    use_coexec_scheduler = env_opt_bool("TRITON_HIP_USE_COEXEC_SCHEDULER")
    use_expert_scheduling = env_opt_bool("TRITON_HIP_USE_EXPERT_SCHEDULING")
    dump_mir = env_opt_str("TRITON_DUMP_MIR")
    swap_mir = env_opt_str("TRITON_SWAP_MIR")
    swap_mir_enable_misched = env_bool("TRITON_SWAP_MIR_ENABLE_MISCHED")


class proton_knobs(base_knobs):
    disable = env_bool("TRITON_PROTON_DISABLE")
    cupti_lib_dir = env_opt_str("TRITON_CUPTI_LIB_PATH")
    cupti_dir = env_opt_str("TRITON_CUPTI_LIB_PATH")
    cupti_lib_blackwell_dir = env_opt_str("TRITON_CUPTI_LIB_BLACKWELL_PATH")
    hsa_runtime_path = env_opt_str("TRITON_HSA_RUNTIME_PATH")
    hsa_runtime_library = env_opt_str("TRITON_HSA_RUNTIME_LIBRARY")
    rocprofiler_sdk_include_path = env_opt_str("TRITON_ROCPROFILER_SDK_INCLUDE_PATH")
    rocprofiler_sdk_lib_path = env_opt_str("TRITON_ROCPROFILER_SDK_LIB_PATH")
    rocprofiler_sdk_library = env_opt_str("TRITON_ROCPROFILER_SDK_LIBRARY")
    roctracer_lib_path = env_opt_str("TRITON_ROCTRACER_LIB_PATH")
    roctracer_library = env_opt_str("TRITON_ROCTRACER_LIBRARY")
    roctx_lib_path = env_opt_str("TRITON_ROCTX_LIB_PATH")
    roctx_library = env_str("TRITON_ROCTX_LIBRARY", "libroctx64.so")
    profile_buffer_size = env_int("TRITON_PROFILE_BUFFER_SIZE", 64 << 20)
    profile_metric_buffer_size = env_int("TRITON_PROFILE_METRIC_BUFFER_SIZE", 64 << 20)
    enable_nvtx = env_bool("TRITON_ENABLE_NVTX", True)
    enable_hw_trace = env_bool("TRITON_ENABLE_HW_TRACE")


build = build_knobs()
redis = redis_knobs()
cache = cache_knobs()
compilation = compilation_knobs()
autotuning = autotuning_knobs()
runtime = runtime_knobs()
language = language_knobs()
nvidia = nvidia_knobs()
amd = amd_knobs()
proton = proton_knobs()


def refresh_knobs() -> None:
    """Nothing to do: knobs read the environment at each use.  Programs call it after changing variables."""
