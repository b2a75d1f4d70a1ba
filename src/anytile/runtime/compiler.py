"""`compile`: source → key → (disk cache, or trace → target) → a kernel that can be launched.

src ──hash──▶ key ──cache──▶ Artifact ─────────────────▶ CompiledKernel ──first launch──▶ target.load
               └──miss──▶ frontend.trace ──▶ target.compile ──▶ cache ──┘
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import UnsupportedError
from ..language.source import JITCallable, describe
from ..language.types import parse_signature_type
from ..targets.base import Artifact
from . import cache, knobs
from .arguments import HOST, unwrap
from .cache import get_cache_key
from .driver import GPUTarget, driver, target_object
from .errors import ArgumentError, DeviceError
from .garbage import no_collections
from .hooks import LazyDict, SettingsClass
from .knobs import CompileTimes
from .launcher import make_packer, normalize_grid
from .options import Options
from .runner import make_native_runner, make_runner

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ASTSource",
    "CompileTimes",
    "CompiledKernel",
    "GPUTarget",
    "IRSource",
    "LazyDict",
    "argument_slots",
    "compile",
    "get_cache_key",
    "max_shared_mem",
]


class Specialized(NamedTuple):
    """What ``jit(repr=…)`` is told: values by parameter name, and the signature."""

    constants: dict[str, Any]
    signature: dict[str, Any]


class ASTSource:
    """A Python function with the types and constants to compile it for.

    ``signature``: parameter name → type text (``"*fp32"``, ``"i32"``, ``"constexpr"``, nested tuples).
    ``constexprs``: values by parameter name, index or path ``(i, j)`` into tuples (``constants`` in Triton ≤ 3.2).
    ``attrs``: path → ``[["tt.divisibility", 16]]``.
    """

    ext = "ttir"

    def __init__(
        self,
        fn: JITCallable,
        signature: Mapping[Any, Any],
        constexprs: Mapping[Any, Any] | None = None,
        attrs: Any = None,
        constants: Mapping[Any, Any] | None = None,
    ):
        self.fn = fn
        self.name = fn.__name__
        names = fn.arg_names
        index = {n: i for i, n in enumerate(names)}
        self.constexprs: dict[tuple[int, ...], Any] = {}
        for where, value in {**(constants or {}), **(constexprs or {})}.items():
            path = where if isinstance(where, tuple) else (index[where] if isinstance(where, str) else int(where),)
            self.constexprs[path] = value.value if type(value).__name__ == "constexpr" else value
        given = {(names[k] if isinstance(k, int) else k): v for k, v in signature.items()}
        if unknown := [n for n in given if n not in index]:
            raise ArgumentError(
                f"the signature of {self.name} names {', '.join(map(repr, unknown))}, which it has no parameter for ({', '.join(names)})"
            )
        #: Parameters that a launch by `CompiledKernel.run` passes: Triton ≤ 3.2 leaves out of the signature what is constexpr.
        self.listed = frozenset(given)
        self.signature: dict[str, Any] = {}
        for i, n in enumerate(names):
            if (i,) in self.constexprs:
                self.signature[n] = "constexpr"
            elif n in given:
                self.signature[n] = given[n]
            elif fn.params[i].has_default:
                self.signature[n], self.constexprs[(i,)] = "constexpr", fn.params[i].default
            else:
                raise ArgumentError(f"the signature of {self.name} has no type for parameter {n}, and constexprs no value")
        self.attrs: dict[tuple[int, ...], Any] = {}
        if isinstance(attrs, Mapping):
            self.attrs = {(k if isinstance(k, tuple) else (k,)): v for k, v in attrs.items()}
        elif attrs is not None:  # the AttrsDescriptor of Triton ≤ 3.1, or of 3.2
            divisible = getattr(attrs, "divisible_by_16", None) or getattr(attrs, "divisibility_16", None) or ()
            self.attrs = {(i,): [["tt.divisibility", 16]] for i in divisible}

    @property
    def constants(self) -> dict[tuple[int, ...], Any]:
        return self.constexprs

    def display_name(self) -> str:
        """The kernel's name in profiles: what ``jit(repr=…)`` makes of ``constants`` (by parameter name) and ``signature``."""
        if getattr(self.fn, "_repr", None) is None:
            return self.name
        constants = {self.fn.arg_names[path[0]]: v for path, v in self.constexprs.items() if len(path) == 1}
        return self.fn._repr(Specialized(constants, self.signature))  # type: ignore[attr-defined]

    def hash(self) -> str:
        """Content hash of everything here; stable from process to process."""
        constants = sorted((k, describe(v)) for k, v in self.constexprs.items())
        text = f"{self.fn.cache_key};{self.signature};{constants};{sorted(self.attrs.items())}"
        return hashlib.sha256(text.encode()).hexdigest()

    def make_module(self, options: Options) -> Any:
        """The tile IR of this source."""
        from ..frontend import trace

        return trace(self.fn, self.signature, self.constexprs, self.attrs, options)


class IRSource:
    """A file of tile IR text.  Its kernel's arguments are the runtime parameters in order.

    Raises UnsupportedError for text of Triton's own stages (TTIR, TTGIR, LLVM IR, PTX).
    """

    def __init__(self, path: str | Path):
        from pathlib import Path

        self.path = Path(path)
        self.text = self.path.read_text(errors="replace")  # machine code is refused by its name
        _refuse_foreign_text(self.path, self.text)
        self.module = self._parse()
        self.fn = None
        self.name = self.module.kernel.name
        self.signature = {v.name or f"arg{i}": _type_text(v.type) for i, v in enumerate(self.module.kernel.args)}
        self.listed = frozenset(self.signature)
        self.constexprs: dict[tuple[int, ...], Any] = {}
        self.attrs: dict[tuple[int, ...], Any] = {}

    def _parse(self) -> Any:
        from ..ir.parser import parse_module

        return parse_module(self.text)

    def hash(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def make_module(self, options: Options) -> Any:
        return self._parse()


#: How text of Triton's stages begins, comments apart, or what it holds; file names tell the rest.
_FOREIGN_TEXT = re.compile(r"^\s*(module\b|#\w+ = |\"builtin\.module\")|\btt\.func\b", re.M)
_FOREIGN_SUFFIXES = {".ttgir": "TTGIR", ".llir": "LLVM IR", ".ptx": "PTX", ".amdgcn": "AMDGCN", ".cubin": "machine code"}


def _refuse_foreign_text(path: Path, text: str) -> None:
    kind = _FOREIGN_SUFFIXES.get(path.suffix) or ("TTIR" if _FOREIGN_TEXT.search(text) else "")
    if kind:
        raise UnsupportedError(
            f"compiling {kind} text ({path.name})",
            "anytile",
            "compile the Python kernel by ASTSource; asm['tile'] holds text that can be read back",
        )


def _type_text(type: Any) -> str:
    """Signature name of a scalar IR type."""
    e = type.elem
    if e.is_ptr:
        return "*i8"
    return str(e) if e.is_int else {"f16": "fp16", "bf16": "bf16", "f32": "fp32", "f64": "fp64"}[str(e)]


def argument_slots(signature: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Per slot of the argument block: expression over the parameters' values ``v0`` …, type, parameter name."""
    out: list[tuple[str, str, str]] = []

    def walk(entry: Any, expression: str, name: str) -> None:
        if isinstance(entry, (tuple, list)):
            for i, e in enumerate(entry):
                walk(e, f"{expression}[{i}]", name)
        elif entry.startswith("tensordesc"):
            types = [slot.type for slot in parse_signature_type(entry).slots()]  # type: ignore[attr-defined]
            out.extend((f"{expression}[{i}]", "*" + t.element_ty.mangle() if t.is_ptr() else t.mangle(), name) for i, t in enumerate(types))
        elif entry != "constexpr":
            out.append((expression, entry, name))

    for i, (name, entry) in enumerate(signature.items()):
        walk(entry, f"v{i}", name)
    return out


def compile(src: Any, target: GPUTarget | None = None, options: Any = None, _env_vars: Any = None) -> CompiledKernel:
    """The kernel for ``src`` (an `ASTSource`, or the path of a file of tile IR), from the disk cache if it is there.

    ``options``: a dictionary of launch keywords, or `Options`.  Raises CompilationError for mistakes in the
    kernel, UnsupportedError for what the target lacks.
    """
    start = time.perf_counter()
    if not isinstance(src, ASTSource):
        src = IRSource(src)
    if target is None:
        target = driver.active.get_current_target()
    if not isinstance(options, Options):
        options = Options.of(options or {}, target, src.name)
    machine = target_object(target)
    key = get_cache_key(src, machine, options)
    custom = options.ir_override is not None
    artifact = None if custom or knobs.compilation.always_compile else cache.load(key)
    hit = artifact is not None
    if artifact is not None:
        times = CompileTimes(0, [], 0, _microseconds(start))
        clock = {"load from cache": time.perf_counter() - start}
    else:
        artifact, times, clock = _compile_anew(src, machine, options, key, custom)
    cubin = artifact.stages.get("cubin")
    if "torch._inductor" in sys.modules and isinstance(cubin, bytes):
        cache.lay_out(key, f"{src.name}.cubin", cubin)
    kernel = CompiledKernel(src, artifact, key, target, options, clock)
    if (folder := knobs.compilation.anytile_dump) is not None:
        from pathlib import Path

        from .dump import dump_artifact

        dump_artifact(Path(folder), kernel)
    if knobs.compilation.listener is not None:
        knobs.compilation.listener(
            src=src, metadata=kernel.metadata._asdict(), metadata_group=kernel.metadata_group, times=times, cache_hit=hit
        )
    return kernel


# What only a compilation imports is imported under a lock that a fork waits for: Python gives a child the locks of modules
# that another thread was importing, and nobody to release them.
_importing = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release)


def import_compiler(machine: Any) -> None:
    """Imports what only a compilation for the target object ``machine`` needs."""
    with _importing:
        from .. import frontend  # noqa: F401
        from . import elsewhere, stores  # noqa: F401

        getattr(machine, "prepare", lambda: None)()


def _compile_anew(src: Any, machine: Any, options: Options, key: str, custom: bool) -> tuple[Artifact, CompileTimes, dict[str, float]]:
    import_compiler(machine)
    from .elsewhere import target_compile
    from .stores import stored_arguments

    with no_collections():
        t0 = time.perf_counter()
        module = (IRSource(str(options.ir_override)) if custom else src).make_module(options)
        t1 = time.perf_counter()
        stores = stored_arguments(module)  # before target.compile, which may rewrite the module
        made = target_compile(machine, module, options)
    artifact = Artifact(made.stages, {"stores": stores, "name": src.name, **made.metadata})
    t2 = time.perf_counter()
    if not custom:
        cache.store(key, artifact)
    t3 = time.perf_counter()
    inner = {f"  {name}": float(t) for name, t in made.metadata.get("timings", {}).items()}
    clock = {"trace": t1 - t0, "compile": t2 - t1, **inner, "store in cache": t3 - t2}
    times = CompileTimes(int((t1 - t0) * 1e6), [(machine.name, int((t2 - t1) * 1e6))], int((t3 - t2) * 1e6))
    return artifact, times, clock


def _microseconds(start: float) -> int:
    return int((time.perf_counter() - start) * 1e6)


#: Triton's names for stages → the names that targets here give theirs, first found wins.
_STAGE_NAMES = {"ttir": ("tile",), "ttgir": ("tile_opt", "tile"), "source": ("tile",), "ptx": (), "cubin": (), "so": ("obj",)}


class _Stages(dict[str, Any]):
    """Stage name → text or bytes; Triton's names work where there is a counterpart.

    What is wanted rarely (disassembled machine code) the target derives from the artifact.
    """

    def __init__(self, artifact: Artifact, target: GPUTarget):
        super().__init__(artifact.stages)
        self._artifact, self._target = artifact, target

    def __reduce__(self) -> Any:
        return _Stages, (self._artifact, self._target)

    def __missing__(self, name: str) -> Any:
        machine = target_object(self._target)
        made = machine.derived(self._artifact, name) if hasattr(machine, "derived") else None
        if made is not None:
            self[name] = made
            return made
        for other in _STAGE_NAMES.get(name, ()):
            if other in self:
                return self[other]
        raise KeyError(f"this kernel has no stage {name!r}; it has {', '.join(self)}")

    def get(self, name: str, default: Any = None) -> Any:
        """As by brackets: torch asks so for what may not be there."""
        try:
            return self[name]
        except KeyError:
            return default


@lru_cache(maxsize=64)
def _metadata_class(names: tuple[str, ...]) -> Any:
    return namedtuple("KernelMetadata", names)  # type: ignore[misc]  # the names are known at run time


class CompiledKernel(metaclass=SettingsClass):
    """A kernel for one specialisation.  Loading into the process waits for the first launch.

    ``asm``: stage → text or bytes.  ``metadata``: named tuple (name, hash, target, shared, num_warps …).

    torch sends kernels between processes by their ``__dict__``, with ``module``, ``function`` and ``run`` set to None, and makes new
    ones by ``__new__`` alone: so what belongs to this process lies in slots.
    """

    module: Any = None  # what the target loaded; also where __init__ failed, for __del__

    __slots__ = ("__dict__", "__weakref__", "_go_on", "_living", "_runner", "go")

    #: go(gx, gy, gz, *values): packs and runs; the first call loads the kernel and puts the real one here.
    go: Callable[..., None]
    _go_on: Callable[..., None] | None  # the same on a stream, which comes first
    _runner: Callable[..., None] | None
    _living: ctypes.c_int64 | None

    def __new__(cls, *_: Any) -> CompiledKernel:
        self = super().__new__(cls)
        self.go, self._go_on, self._runner = self._first, None, None
        self._living = None
        return self

    def __init__(self, src: Any, artifact: Artifact, key: str, target: GPUTarget, options: Options, clock: dict[str, float]):
        self.src, self.artifact, self.hash, self.target = src, artifact, key, target
        self.name: str = src.display_name() if isinstance(src, ASTSource) else artifact.metadata["name"]
        told = {**artifact.metadata, "name": self.name, "signature": dict(src.signature)}
        self.asm = _Stages(Artifact(artifact.stages, told), target)
        self.timings = clock
        facts = {
            **options.as_dict(),
            **{k: v for k, v in artifact.metadata.items() if k.isidentifier()},
            "name": self.name,
            "hash": key,
            "target": target,
        }
        for name, value in (
            ("shared", 0),
            ("tmem_size", 0),
            ("global_scratch_size", 0),
            ("global_scratch_align", 1),
            ("profile_scratch_size", 0),
        ):
            facts.setdefault(name, value)
        self.metadata: Any = _metadata_class(tuple(sorted(facts)))(**facts)
        self.packed_metadata = (options.num_warps, options.num_ctas, facts["shared"])
        self.metadata_group: dict[str, str] = {}
        self.function: Any = None
        self.n_regs, self.n_spills, self.n_max_threads = 0, 0, 1024
        self.fn: Any = getattr(src, "fn", None)

    @property
    def kernel(self) -> Any:
        """The bytes that are loaded: the last stage made."""
        return next(reversed(self.artifact.stages.values()), b"")

    def stored_parameters(self) -> list[int]:
        """Slots of the argument block through which the kernel may store."""
        return list(self.artifact.metadata.get("stores", ()))

    # -- loading and running -----------------------------------------------------------------------------

    def _init_handles(self) -> None:
        """Load the kernel into this process, once."""
        if self.module is not None:
            return
        runtime = knobs.runtime
        if runtime.kernel_load_start_hook:
            runtime.kernel_load_start_hook(self.module, self.function, self.name, self.metadata_group, self.hash)
        start = time.perf_counter()
        self.module = target_object(self.target).load(self.artifact)
        self.function = self.module.run
        if self.target.backend == "cuda":
            self.module.prepare(driver.active.get_current_device())
            self.n_regs, self.n_spills, self.n_max_threads = self.module.n_regs, self.module.n_spills, self.module.n_max_threads
        self.timings["load"] = time.perf_counter() - start
        if runtime.kernel_load_end_hook:
            runtime.kernel_load_end_hook(self.module, self.function, self.name, self.metadata_group, self.hash)

    def unload(self) -> None:
        """Let go of the loaded code; the next launch loads it again.  Does nothing where it is not loaded."""
        if self.module is None:
            return
        if knobs.runtime.kernel_unload_hook:
            knobs.runtime.kernel_unload_hook(self.module, self.function, self.name, self.metadata_group, self.hash)
        self.module = self.function = self._go_on = self._runner = None
        self.go = self._first
        if self._living is not None:
            self._living.value = 0
            self._living = None

    def living(self) -> ctypes.c_int64:
        """A word that is not 0 for as long as what is loaded now is: native launchers look at it."""
        if self._living is None:
            self._init_handles()
            self._living = ctypes.c_int64(1)
        return self._living

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.unload()

    def _first(self, *args: Any) -> None:
        self._init_handles()
        self._pack()
        self.go(*args)

    def _pack(self) -> None:
        signature = self.src.signature
        direct = getattr(self.module, "direct", None)
        self.go = make_packer(self.name, self.module.run, argument_slots(signature), len(signature), direct=direct)

    def _go_on_stream(self, stream: int | None, *args: Any) -> None:
        """``go`` on a stream of the GPU, None for the current one; on the CPU there are none, and work is done when a launch returns."""
        if self.target.backend != "cuda":
            self.go(*args)
            return
        if self._go_on is None:
            self._go_on = self._packer_on_stream()
        self._go_on(stream, *args)

    def _packer_on_stream(self, direct: Callable[..., Callable[..., None]] | None = None) -> Callable[..., None]:
        """``go(stream, gx, gy, gz, *values)`` of a GPU kernel."""
        self._init_handles()
        signature = self.src.signature
        return make_packer(self.name, self.module.run, argument_slots(signature), len(signature), with_stream=True, direct=direct)

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        """``kernel[grid](*args)``: all arguments in order, compile-time ones included or left out."""
        extents = normalize_grid(self.name, grid)

        def runner(*args: Any, stream: Any = None) -> None:
            entries = list(self.src.signature.values())
            args = self._in_all_places(args, entries)
            ready = [None if e == "constexpr" else unwrap(a) for e, a in zip(entries, args)]
            self._check_places([(n, r) for n, r in zip(self.src.signature, ready) if r is not None])
            if 0 not in extents:
                values = [r and r.value for r in ready]
                # On a GPU `go` is for the one that was current at the first launch; here any may be.
                self._go_on_stream(None if stream is None else int(stream), *extents, *values)

        return runner

    def _in_all_places(self, args: tuple[Any, ...], entries: list[str]) -> tuple[Any, ...]:
        """``args`` with None where they leave out what is compile-time: what the kernel declares so, or all that was compiled in.

        The two differ by arguments that were specialised on (an integer that is 1, a None).
        """
        if len(args) == len(entries):
            return args
        compiled_in = [e == "constexpr" for e in entries]
        declared = [p.is_constexpr for p in self.fn.params] if self.fn is not None else compiled_in
        for left_out in (declared, compiled_in):
            if len(args) == left_out.count(False):
                rest = iter(args)
                return tuple(None if out else next(rest) for out in left_out)
        raise ArgumentError(
            f"kernel {self.name} takes {len(entries)} arguments, or {declared.count(False)} without the compile-time ones; "
            f"{len(args)} were given"
        )

    def _check_places(self, arguments: list[tuple[str, Any]]) -> None:
        """Raises DeviceError where memory is not that of the kernel's kind of device."""
        on_gpu = self.target.backend == "cuda"
        for name, ready in arguments:
            if ready.place is not None and (ready.place != HOST) != on_gpu:
                where, remedy = ("GPU", '.to("cuda")') if on_gpu else ("CPU", ".cpu()")
                raise DeviceError(
                    f"argument {name} of kernel {self.name} is not memory of the {where} it was compiled for; call {remedy} on it"
                )

    @property
    def run(self) -> Callable[..., None]:
        """``run(gx, gy, gz, stream, function, packed_metadata, launch_metadata, enter, exit, *args)``, as Triton's launchers take them."""
        if self._runner is None:
            self._init_handles()
            if self.target.backend == "cuda":
                # What is quickest is for one GPU: where there are several, each launch asks which is current.
                alone = driver.active.device_count == 1
                direct = partial(self.module.direct, with_stream=True) if alone else None
                runner = make_runner(self, self._run, self._packer_on_stream(direct), with_stream=True)
                self._runner = make_native_runner(self, runner) if alone else runner
            else:
                if self.go == self._first:
                    self._pack()
                self._runner = make_native_runner(self, make_runner(self, self._run, self.go))
        return self._runner

    def _run(self, *args: Any) -> None:
        gx, gy, gz, stream, _, _, launch_metadata, enter, exit, *rest = args
        if enter is not None:
            enter(launch_metadata)
        self[(gx, gy, gz)](*rest, stream=stream)
        if exit is not None:
            exit(launch_metadata)

    def launch_metadata(self, grid: Any, stream: Any, *args: Any) -> LazyDict:
        """What launch hooks are given; `jit(launch_metadata=…)` adds to it."""
        self._init_handles()
        facts = LazyDict({"name": self.name, "function": self.function, "stream": stream})
        more = getattr(self.fn, "launch_metadata", None)
        if more is not None:
            facts.add(more, (grid, self.metadata, dict(zip(self.fn.arg_names, args))))
        return facts

    def __repr__(self) -> str:
        return f"<CompiledKernel {self.name} for {self.target.backend}, {self.hash[:12]}>"


def max_shared_mem(device: int = 0) -> int:
    """Bytes of on-chip memory that a program's tiles should fit in."""
    return driver.active.utils.get_device_properties(device)["max_shared_mem"]
