"""The face as data: every module of `triton` that anytile serves, and where each of its names lives.

`_serve("triton.x", doc, rows…)` declares a module.  A row is made by `_at(home, names, since, until)`: "these names are the
attributes of the same name in that anytile module, in releases ``since`` to ``until`` (inclusive)".  `face=home` in ``names``
renames; a name whose form changed has one row for each form.  ``mirror`` adds whatever the `__all__` of an anytile module holds,
less the names that have rows; ``alias`` puts the anytile module itself there.  What changed inside a class is in `members.py`.

Levels are stated where a program can tell: names that came or went between Triton 3.0 and 3.9.  One departure from upstream is
meant: block pointers (`make_block_ptr`, `advance`), which 3.9 removed, stay, because published kernels use them beside the
additions of 3.9.  What upstream has at a level and this face has not is in `declined.py`, with what a program does then.
"""

from .level import NEWEST, OLDEST

__all__ = ["MODULES", "Entry", "Module"]


class Entry:
    """One name: ``attribute`` of module ``home`` (the module itself where ``attribute`` is empty)."""

    __slots__ = ("attribute", "home", "since", "until")

    def __init__(self, home: str, attribute: str, since: tuple[int, int], until: tuple[int, int]) -> None:
        self.home, self.attribute, self.since, self.until = home, attribute, since, until


class Module:
    """One module: ``entries`` by name, the forms of a name in separate ranges of levels.

    ``mirror``: an anytile module whose `__all__` is served too, or "".

    ``alias``: the anytile module that *is* this module, because programs assign to its globals; "" for all others.
    """

    __slots__ = ("alias", "doc", "entries", "mirror", "package", "since", "until")

    def __init__(self, doc: str, since: tuple[int, int], until: tuple[int, int], mirror: str, alias: str) -> None:
        self.doc, self.since, self.until, self.mirror, self.alias = doc, since, until, mirror, alias
        self.entries: dict[str, list[Entry]] = {}
        self.package = False

    def entry(self, name: str, level: tuple[int, int]) -> Entry | None:
        """The row of ``name`` at ``level``; of its other levels the nearest where that has none; None where no level has the name."""
        forms = self.entries.get(name, ())
        return min(forms, key=lambda e: 0 if e.since <= level <= e.until else 1 + abs(e.since[1] - level[1]), default=None)


MODULES: dict[str, Module] = {}


def _at(home: str, names: str, since: tuple[int, int] = OLDEST, until: tuple[int, int] = NEWEST) -> list[tuple[str, Entry]]:
    rows = []
    for name in names.split():
        face, _, attribute = name.partition("=")
        rows.append((face, Entry(f"anytile.{home}", attribute or face, since, until)))
    return rows


def _serve(
    name: str,
    doc: str,
    *rows: list[tuple[str, Entry]],
    since: tuple[int, int] = OLDEST,
    until: tuple[int, int] = NEWEST,
    mirror: str = "",
    alias: str = "",
) -> None:
    module = MODULES[name] = Module(doc, since, until, mirror, alias)
    for row in rows:
        for face, entry in row:
            module.entries.setdefault(face, []).append(entry)
    parent = name.rpartition(".")[0]
    if parent:
        MODULES[parent].package = True


# ---- triton ----

_serve(
    "triton",
    "The Triton API, served by anytile.",
    _at("runtime.jit", "jit JITFunction KernelInterface"),
    _at("runtime.wrappers", "MockTensor TensorWrapper reinterpret"),
    _at("runtime.jit", "constexpr_function", since=(3, 5)),
    _at("runtime.autotuner", "autotune heuristics Config"),
    _at("runtime.compiler", "compile"),
    _at("runtime.errors", "OutOfResources InterpreterError"),
    _at("runtime.allocation", "set_allocator", since=(3, 3)),
    _at("runtime.async_compile", "AsyncCompileMode FutureKernel", since=(3, 5)),
    _at("frontend.errors", "CompilationError"),
    _at("errors", "TritonError=AnytileError"),
    _at("runtime.jit", "must_use_result", since=(3, 4)),
    _at("language.records", "aggregate", since=(3, 8)),
    _at("compat.host", "cdiv next_power_of_2"),
)
_serve("triton.errors", "The root of the errors.", _at("errors", "TritonError=AnytileError"))
_serve(
    "triton._utils",
    "Paths into nested arguments, and names of types.",
    _at("compat.host", "find_paths_if get_iterable_path"),
    _at("language.parameters", "canonicalize_dtype=normalize_type", since=(3, 5)),
    since=(3, 3),
)
_serve(
    "triton.testing",
    "Measuring kernels, and comparing tensors.",
    _at("testing", "do_bench_proton do_bench_cudagraph_proton", since=(3, 8)),
    _at("testing", "cublas cuda_graph_without_gc", since=(3, 9)),
    mirror="anytile.testing",
)
_serve("triton.knobs", "Settings.", since=(3, 4), alias="anytile.runtime.knobs")

# ---- triton.language ----

_MATH = "abs ceil cos div_rn erf exp exp2 fdiv floor fma log log2 rsqrt sin sqrt sqrt_rn umulhi"
_STANDARD = "argmax argmin cdiv cumprod cumsum flip interleave max min ravel sigmoid softmax sort swizzle2d xor_sum zeros zeros_like"
_RANDOM = "pair_uniform_to_normal philox philox_impl rand rand4x randint randint4x randn randn4x uint_to_uniform_float"
_CORE = """
    dtype int1 int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64
    float8e4nv float8e5 float8e4b8 float8e5b16 float8e4b15 pi32_t void pointer_type block_type
    tensor constexpr const PropagateNan TRITON_MAX_TENSOR_NUMEL
    program_id num_programs arange full cast cat
    broadcast broadcast_to expand_dims reshape view trans permute join split
    dot load store make_block_ptr advance
    atomic_add atomic_max atomic_min atomic_and atomic_or atomic_xor atomic_xchg atomic_cas
    where maximum minimum clamp reduce associative_scan histogram inline_asm_elementwise
    range static_range multiple_of max_contiguous max_constancy debug_barrier
    static_print static_assert device_print device_assert
"""


def _core_rows(home: str) -> list[tuple[str, Entry]]:
    return [
        *_at(home, _CORE),
        *_at(home, "assume dot_scaled", since=(3, 2)),
        *_at(home, "tuple tuple_type slice gather", since=(3, 3)),
        *_at(home, "make_tensor_descriptor load_tensor_descriptor store_tensor_descriptor tensor_descriptor", since=(3, 4)),
        *_at(home, "constexpr_type map_elementwise condition", since=(3, 5)),
        *_at(home, "add sub mul", since=(3, 6)),
        *_at(home, "to_tensor", since=(3, 7)),
        *_at(home, "expect_zero", since=(3, 8)),
        *_at("language.records", "aggregate_replace", since=(3, 8)),
        *_at(home, "atomic_load atomic_store atomic_poll", since=(3, 9)),
    ]


def _standard_rows(home: str) -> list[tuple[str, Entry]]:
    return [
        *_at(home, _STANDARD),
        *_at("language.standard", "sum=sum_in_own_width", until=(3, 2)),  # torch 2.6 sorts by sums of narrow integers
        *_at(home, "sum", since=(3, 3)),
        *_at(home, "topk bitonic_merge reduce_or", since=(3, 4)),
        *_at(home, "squeeze unsqueeze", since=(3, 7)),
    ]


_serve(
    "triton.language",
    "What kernels are written in.",
    _core_rows("language"),
    _standard_rows("language"),
    _at("language.core", "str_to_ty"),
    _at("language", _MATH),
    _at("language", _RANDOM),
    _at("compat.host", "constexpr_function", since=(3, 4), until=(3, 4)),  # a name of `triton` from 3.5 on
)
_serve(
    "triton.language.core",
    "Types, values and operations.",
    _core_rows("language"),
    _at("compat.host", "constexpr_function", since=(3, 4), until=(3, 4)),
    _at("language.builtin", "builtin extern is_builtin"),
    _at("language.core", "get_int_dtype CONSTEXPR_0"),
    _at("language", "to_tensor", until=(3, 6)),  # from 3.7 on it is a name of `triton.language` as well
    _at("language.types", "tensor_descriptor_type", since=(3, 3)),
    _at("runtime.jit", "must_use_result", since=(3, 4)),
    _at("language.core", "tensor_descriptor_base _aggregate", since=(3, 4)),
    _at("language.core", "_constexpr_to_value=_unwrap_if_constexpr", until=(3, 3)),
    _at("language.core", "_unwrap_if_constexpr", since=(3, 2)),
    _at("language.core", "extern_elementwise"),
)
_serve("triton.language.math", "Elementwise mathematics.", _at("language", _MATH))
_serve(
    "triton.language.standard",
    "Functions written in the language itself.",
    _standard_rows("language"),
    _at("language.standard", "_sum_combine _prod_combine _xor_combine _elementwise_max _elementwise_min _log2"),
    _at("language.standard", "_or_combine", since=(3, 4)),
    _at("language.standard", "_argmax_combine_tie_break_left _argmax_combine_tie_break_fast"),
    _at("language.standard", "_argmin_combine_tie_break_left _argmin_combine_tie_break_fast"),
)
_serve("triton.language.random", "Counter-based random numbers.", _at("language.random", f"{_RANDOM} N_ROUNDS_DEFAULT"))
_serve("triton.language.target_info", "What is compiled for.", since=(3, 5), mirror="anytile.language.target_info")
_serve("triton.language.extra", "Functions beyond the portable language.")
_serve(
    "triton.language.extra.libdevice",
    "The mathematical library, by its CUDA names.",
    _at("language.libdevice", "fast_tanhf", since=(3, 5)),
    mirror="anytile.language.libdevice",
)
_serve(
    "triton.language.extra.cuda",
    "What is particular to NVIDIA GPUs, with a meaning on every target.",
    _at("language.extra.cuda", "convert_custom_float8_sm70 convert_custom_float8_sm80 globaltimer num_threads num_warps smid"),
    _at("language.extra.cuda", "gdc_launch_dependents gdc_wait", since=(3, 4)),
)
_serve(
    "triton.language.extra.cuda.libdevice",
    "The mathematical library, by its CUDA names.",
    _at("language.libdevice", "fast_tanhf", since=(3, 5)),
    mirror="anytile.language.libdevice",
)
_serve(
    "triton.language.extra.hip",
    "What is particular to AMD GPUs, with a meaning on every target.",
    _at("language.extra.hip", "memrealtime", since=(3, 5)),
    _at("language.extra.hip", "num_threads num_warps smid", since=(3, 8)),
)
_serve("triton.language.extra.hip.libdevice", "The mathematical library, by its CUDA names.", mirror="anytile.language.libdevice")

# ---- triton.runtime ----

_serve(
    "triton.runtime",
    "Compiling, caching, tuning and launching.",
    _at("runtime.jit", "JITFunction KernelInterface"),
    _at("runtime.wrappers", "MockTensor TensorWrapper reinterpret"),
    _at("runtime.autotuner", "Autotuner Config Heuristics autotune heuristics"),
    _at("runtime.driver", "driver"),
    _at("runtime.cache", "RemoteCacheBackend"),
    _at("runtime.remote", "RedisRemoteCacheBackend"),
    _at("runtime.errors", "OutOfResources InterpreterError"),
)
_serve(
    "triton.runtime.jit",
    "Kernels as Python objects.",
    _at("runtime.jit", "jit JITFunction KernelInterface"),
    _at("runtime.wrappers", "MockTensor TensorWrapper reinterpret"),
    _at("runtime.jit", "constexpr_function ConstexprFunction", since=(3, 5)),
    _at("runtime.jit", "type_canonicalisation_dict"),
    _at("runtime.jit", "JitFunctionInfo", since=(3, 4)),
    _at("compat.specialisation", "mangle_type=mangle_type_0", until=(3, 2)),
    _at("compat.specialisation", "mangle_type=mangle_type_3", since=(3, 3)),
    _at("compat.specialisation", "create_specialize_impl=create_specialize_impl_3", (3, 3), (3, 3)),
    _at("compat.specialisation", "create_specialize_impl=create_specialize_impl_4", (3, 4), (3, 5)),
    _at("compat.specialisation", "native_specialize_impl", since=(3, 6)),
    _at("language.parameters", "KernelParam"),
    _at("language.source", "JITCallable", since=(3, 5)),
)
_serve(
    "triton.runtime.autotuner",
    "Choosing the fastest configuration.",
    _at("runtime.autotuner", "Autotuner Config Heuristics autotune heuristics"),
    _at("runtime.errors", "OutOfResources"),
    _at("runtime.errors", "PTXASError", since=(3, 3)),
)
_serve(
    "triton.runtime._allocation",
    "Scratch memory.",
    _at("runtime.allocation", "set_allocator NullAllocator _allocator"),
    _at("runtime.allocation", "set_profile_allocator _profile_allocator", since=(3, 5)),
    _at("runtime.allocation", "has_profile_allocator", since=(3, 8)),
    since=(3, 3),
)
_serve(
    "triton.runtime._async_compile",
    "Compiling ahead.",
    _at("runtime.async_compile", "AsyncCompileMode FutureKernel active_mode"),
    since=(3, 5),
)
_serve("triton.runtime.interpreter", "Kernels run by the reference executor.", _at("runtime.interpreted", "InterpretedFunction"))
_serve("triton.runtime.driver", "The active driver.", _at("runtime.driver", "driver DriverConfig"))
_serve(
    "triton.runtime.errors",
    "What goes wrong in a launch.",
    _at("runtime.errors", "OutOfResources InterpreterError"),
    _at("runtime.errors", "PTXASError", since=(3, 3)),
    _at("runtime.errors", "AutotunerError", since=(3, 5)),
)
_serve(
    "triton.runtime.cache",
    "The compile cache.",
    _at("runtime.remote", "RemoteCacheManager RedisRemoteCacheBackend"),
    _at("runtime.cache", "CacheManager FileCacheManager RemoteCacheBackend get_cache_manager get_dump_manager get_override_manager"),
    _at("runtime.cache", "default_cache_dir", until=(3, 3)),
    _at("runtime.cache", "_base64=_base32", (3, 2), (3, 2)),  # renamed to what it was
    _at("runtime.cache", "_base32", since=(3, 3)),
    _at("runtime.cache", "knobs", since=(3, 4)),
    _at("compat.worker", "triton_key", since=(3, 5)),
    _at("runtime.cache", "get_cache_key", since=(3, 5)),
)

# ---- triton.compiler and triton.backends ----

_COMPILER = "CompiledKernel ASTSource compile"
_serve(
    "triton.compiler",
    "From a kernel to code.",
    _at("runtime.compiler", _COMPILER),
    _at("runtime.compiler", "IRSource", since=(3, 3)),
    _at("runtime.compiler", "max_shared_mem", since=(3, 7)),
    _at("runtime.cache", "get_cache_key", since=(3, 5)),
    _at("compat.attrs", "AttrsDescriptor=AttrsDescriptor0", until=(3, 1)),
    _at("compat.attrs", "AttrsDescriptor=AttrsDescriptor2", (3, 2), (3, 2)),
    _at("compat.backends", "make_backend"),
    _at("runtime.hooks", "LazyDict"),
    _at("frontend.errors", "CompilationError"),
)
_serve(
    "triton.compiler.compiler",
    "From a kernel to code.",
    _at("runtime.compiler", f"{_COMPILER} IRSource"),
    _at("runtime.compiler", "max_shared_mem", since=(3, 4)),
    _at("compat.backends", "make_backend GPUTarget"),
    _at("compat.attrs", "AttrsDescriptor=AttrsDescriptor0", until=(3, 1)),
    _at("compat.attrs", "AttrsDescriptor=AttrsDescriptor2", (3, 2), (3, 2)),
    _at("compat.worker", "triton_key", until=(3, 4)),
    _at("runtime.cache", "get_cache_key", since=(3, 5)),
    _at("runtime.hooks", "LazyDict"),
)
_serve(
    "triton.compiler.errors",
    "Mistakes in a kernel.",
    _at("frontend.errors", "CompilationError CompileTimeAssertionFailure UnsupportedLanguageConstruct"),
)
_serve("triton.backends", "The targets.", _at("compat.backends", "Backend backends BaseBackend DriverBase"))
_serve(
    "triton.backends.compiler",
    "What a back end offers the compiler.",
    _at("compat.backends", "BaseBackend GPUTarget"),
    _at("compat.backends", "Language", since=(3, 4)),
    _at("compat.attrs", "AttrsDescriptor=AttrsDescriptor2", (3, 2), (3, 2)),
)
_serve(
    "triton.backends.driver",
    "What a back end offers a launch.",
    _at("compat.backends", "DriverBase GPUDriver=CudaDriver"),
    _at("compat.backends", "Benchmarker", since=(3, 2)),
)
_serve("triton.backends.nvidia", "The back end for NVIDIA GPUs.")
_serve("triton.backends.nvidia.compiler", "What it offers the compiler.", _at("compat.backends", "CUDABackend=CudaBackend"))
_serve("triton.backends.nvidia.driver", "What it offers a launch.", _at("compat.backends", "CudaDriver"))

# ---- triton._C ----

_serve("triton._C", "Where Triton keeps its compiled modules; here they are Python.")
_serve(
    "triton._C.libtriton",
    "The compiler, as far as programs ask it directly.",
    _at("compat.specialisation", "native_specialize_impl", since=(3, 6)),
)
_serve("triton._C.libtriton.ir", "Kernels in the words of TTIR, for programs that analyse them.", mirror="anytile.compat.ttir")

# ---- triton.ops, up to 3.1 ----

_serve("triton.ops", "Ready operators; of them what libraries take for kernels of their own.", until=(3, 1))
_serve("triton.ops.matmul_perf_model", "Which configurations to measure.", until=(3, 1), mirror="anytile.compat.matmul_model")

# ---- triton.tools ----

_serve("triton.tools", "Host-side helpers.")
_serve(
    "triton.tools.compile",
    "Ahead-of-time compilation to object files.",
    _at("tools.compile", "main"),  # what `python -m` runs; upstream has it as a name since 3.5
    _at("tools.compile", "CompileArgs compile_kernel", since=(3, 5)),
)
_serve("triton.tools.link", "One C function for several compilations of a kernel.", _at("tools.link", "main"))
_serve(
    "triton.tools.tensor_descriptor",
    "Descriptors of tensors, as kernel arguments.",
    _at("tools.tensor_descriptor", "TensorDescriptor"),
    since=(3, 4),
)
_serve("triton.tools.ragged_tma", "Slices of a tensor, through descriptors.", since=(3, 5), mirror="anytile.tools.ragged_tma")
_serve("triton.tools.mxfp", "Microscaling formats on the host.", since=(3, 4), mirror="anytile.tools.mxfp")

# ---- triton.profiler: Proton, times of launches ----

_serve(
    "triton.profiler",
    "Where the time of launches goes.",
    _at("tools.proton", "DEFAULT_PROFILE_NAME activate deactivate enter_scope exit_scope finalize profile scope start"),
    _at("tools.proton", "cpu_timed_scope enter_state exit_state state", since=(3, 3)),
)
_serve("triton.profiler.viewer", "Reading what a session has written.", _at("tools.proton_viewer", "parse print_tree"))

# ---- triton.experimental: Gluon, which may be imported and not used ----

_serve("triton.experimental", "What upstream tries out: Gluon.", since=(3, 4))
for _names in (
    "gluon",
    "gluon.amd gluon.amd.gfx1250 gluon.nvidia gluon.nvidia.ampere gluon.nvidia.hopper gluon.nvidia.blackwell",
    "gluon.language gluon.language.extra gluon.language.amd gluon.language.nvidia",
    "gluon.language.amd.cdna3 gluon.language.amd.cdna4 gluon.language.amd.rdna3 gluon.language.amd.rdna4 gluon.language.amd.gfx1250",
    "gluon.language.nvidia.ampere gluon.language.nvidia.hopper gluon.language.nvidia.blackwell",
    "gluon.language.nvidia.ampere.async_copy gluon.language.nvidia.ampere.mbarrier",
    "gluon.language.nvidia.hopper.mbarrier gluon.language.nvidia.hopper.tma",
    "gluon.language.nvidia.blackwell.mbarrier gluon.language.nvidia.blackwell.tma",
):
    for _name in _names.split():
        _serve(f"triton.experimental.{_name}", "Gluon's names.", since=(3, 4), alias="anytile.compat.gluon")
