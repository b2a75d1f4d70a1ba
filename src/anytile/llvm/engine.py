"""LLVM text in; object code, assembly or addresses out.  The only file that imports llvmlite.

Life of a kernel here::

    text ──gate──▶ parse, verify ──level──▶ optimise ──▶ object bytes ──▶ (disk cache) ──▶ load_object ──▶ address

Two decisions explain the rest of the file:

*Features are explicit.*  The name LLVM gives a virtual machine's CPU is often wrong (it may say ``rocketlake``
where AMX is present, or name a CPU whose AVX-512 the hypervisor masks).  So the CPU name selects only the
scheduling model, and the feature string grants *and denies* every feature by name.

*Objects are linked, not recompiled.*  Each object becomes one library of an ORC JIT (JITLink on ELF and
MachO: one contiguous allocation, so relative relocations always reach; RuntimeDyld on COFF), with its own
table of symbols.  A missing symbol is an exception there; MCJIT would abort the process.

Threads: every llvmlite call holds llvmlite's own lock; what takes several calls here is guarded by `_lock`.  A fork
waits for it, so that no child is born with LLVM in the middle of something that nobody in it will end.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import AnytileError
from . import gate
from .host import Host, architecture, host, llvmlite_package

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

__all__ = [
    "LEVELS",
    "LLVMError",
    "LoadedObject",
    "architecture",
    "ask_host",
    "compile_object",
    "emit_assembly",
    "host",
    "load_object",
    "optimize",
]

LEVELS = ("none", "plain", "lite", "O2")
"""``none``: no passes and the fastest code generation, a fifth of the time, for text that runs rarely.  ``plain``: no passes, but full
code generation, for text that another compiler will optimise again (PTX).  ``lite``: a few function passes, for text that is already
clean (folded constants, no allocas, addresses shared).  ``O2``: LLVM's own pipeline, vectorisers and unroller off (anytile vectorises
itself; the unroller costs most of the time and gains nothing on loops over native vectors)."""

_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class LLVMError(AnytileError):
    """LLVM refused a text or an object.  A bug in the code generator, not in a kernel; the message shows the place."""


@lru_cache(maxsize=1)
def _binding() -> Any:
    """llvmlite.binding, with the host's code generator switched on (2 ms after the import's 20–100 ms)."""
    with _lock:
        llvmlite_package()
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        return llvm


@lru_cache(maxsize=1)
def _foreign_targets() -> None:
    """Makes every target LLVM was built with available.  Only cross-compilation pays for it."""
    with _lock:
        llvm = _binding()
        # NVPTX runs "straight line strength reduction", whose time grows with the square of a kernel's addresses, up to half of all that
        # LLVM takes, and "n-ary reassociation", for code that is no better.  x86 and ARM do without them; releases that lack the option
        # ignore it.  It also looks for common expressions three times, twice of them by GVN where optimisation is "aggressive", which level
        # `plain` therefore asks for: without GVN the one time that is left finds the same (level `O2` then does without GVN, too).
        llvm.set_option("", "-opt-disable=slsr,nary-reassociate,gvn")
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()


def ask_host() -> Host:
    """Facts about the running machine, from LLVM itself.  `host` remembers them."""
    llvm = _binding()
    triple = llvm.get_process_triple()
    try:
        detected = dict(llvm.get_host_cpu_features())
    except RuntimeError:
        detected = {}  # LLVM has no detection for this system
    return Host(
        triple,
        llvm.get_host_cpu_name(),
        frozenset(name for name, present in detected.items() if present),
        frozenset(name for name, present in detected.items() if not present),
        str(llvm.Target.from_triple(triple).create_target_machine().target_data),
        f"llvmlite {llvmlite_package().__version__}, LLVM {'.'.join(map(str, llvm.llvm_version_info))}",
    )


# --- text → object, assembly, text ----------------------------------------------------------------------------


def compile_object(
    text: str, cpu: str | None = None, features: Collection[str] | None = None, level: str = "lite", triple: str | None = None
) -> bytes:
    """Object code (ELF, COFF or MachO) of an LLVM module.

    ``cpu``: LLVM name whose scheduling model is used; default: the baseline of the architecture.
    ``features``: features the code may use; default: those of the host, or none where ``triple`` is foreign.
    Raises `LLVMError` where the text is malformed, `UnsupportedError` where it uses an intrinsic that
    ``features`` do not allow.
    """
    with _prepared(text, cpu, features, level, triple) as (module, machine):
        return machine.emit_object(module)


def emit_assembly(
    text: str, cpu: str | None = None, features: Collection[str] | None = None, level: str = "lite", triple: str | None = None
) -> str:
    """Assembly of an LLVM module; arguments as in `compile_object`."""
    with _prepared(text, cpu, features, level, triple) as (module, machine):
        return machine.emit_assembly(module)


def optimize(
    text: str, cpu: str | None = None, features: Collection[str] | None = None, level: str = "O2", triple: str | None = None
) -> str:
    """The module's text after the passes of ``level``; arguments as in `compile_object`."""
    with _prepared(text, cpu, features, level, triple) as (module, _):
        return str(module)


@contextmanager
def _prepared(text: str, cpu: str | None, features: Collection[str] | None, level: str, triple: str | None) -> Iterator[tuple[Any, Any]]:
    """(verified and optimised module, target machine), for the length of a ``with``."""
    if level not in LEVELS:
        raise ValueError(f"optimisation level {level!r} is none of {', '.join(LEVELS)}")
    llvm = _binding()
    triple = triple or host().triple
    native = architecture(triple) == architecture(host().triple)
    if features is None:
        features = host().features if native else frozenset()
    gate.check(text, features, architecture(triple))
    if not native:
        _foreign_targets()
    with _lock, _parsed(text) as module:
        machine = _target_machine(triple, cpu or _baseline(triple), _feature_string(features, native), level)
        module.triple = triple
        module.data_layout = str(machine.target_data)
        if level not in ("none", "plain"):
            _run_passes(llvm, module, machine, level)
        if level != "plain":
            yield module, machine
            return
        # The other compiler reduces strength itself, and knows what that costs in registers.
        llvm.set_option("", "-disable-lsr=true")
        try:
            yield module, machine
        finally:
            llvm.set_option("", "-disable-lsr=false")


@contextmanager
def _parsed(text: str) -> Iterator[Any]:
    """A verified module in a context of its own, so that its types go away with it and struct names never collide.

    Both are closed here, in this order: left to the garbage collector, in a cycle with a traceback, the context
    may go first, which crashes.
    """
    llvm = _binding()
    context = llvm.create_context()
    module = None
    try:
        try:
            module = llvm.parse_assembly(text, context)
        except RuntimeError as error:
            raise LLVMError(f"LLVM cannot parse the generated text: {_with_context(str(error), text)}") from None
        try:
            module.verify()
        except RuntimeError as error:
            raise LLVMError(f"LLVM refuses the generated text: {_with_instruction(str(error), text)}") from None
        yield module
    finally:
        if module is not None:
            module.close()
        context.close()


def _with_context(message: str, text: str) -> str:
    """Adds the lines around the line that a parse error names."""
    message = message.replace("LLVM IR parsing error\n", "").strip()
    place = re.match(r"<string>:(\d+):\d+: error: ([^\n]*)", message)
    if not place:
        return message
    return f"{place[2]}\n{_excerpt(text, int(place[1]) - 1)}"


def _with_instruction(message: str, text: str) -> str:
    """Adds the lines around the first instruction that a verifier message quotes."""
    lines = [line.strip() for line in text.splitlines()]
    for quoted in (line.strip() for line in message.splitlines()[1:]):
        defined = quoted.split(" = ")[0] + " = " if quoted.startswith("%") and " = " in quoted else quoted
        for number, line in enumerate(lines):
            if quoted and line.startswith(defined):
                return f"{message.strip()}\n{_excerpt(text, number)}"
    return message.strip()


def _excerpt(text: str, number: int, around: int = 3) -> str:
    lines = text.splitlines()
    first, last = max(0, number - around), min(len(lines), number + around + 1)
    return "\n".join(f"{'>' if i == number else ' '} {i + 1:5d} | {lines[i]}" for i in range(first, last))


def _baseline(triple: str) -> str:
    return "x86-64" if architecture(triple) == "x86_64" else "generic"


# What every x86-64 and AArch64 processor has.  Denying these breaks calling conventions or 64-bit mode itself.
_NEVER_DENIED = frozenset(["64bit", "cmov", "cx8", "fxsr", "mmx", "sse", "sse2", "x87", "neon", "fp-armv8", "v8a"])


def _feature_string(features: Collection[str], native: bool) -> str:
    """LLVM feature string that grants ``features`` and, on the host, denies all others.

    Denials come first: ``-avx`` also withdraws whatever builds on AVX, and a later ``+fma`` brings AVX back.
    """
    detected = host().features | host().absent if native else frozenset()
    denied = detected - frozenset(features) - _NEVER_DENIED
    return ",".join([*(f"-{name}" for name in sorted(denied)), *(f"+{name}" for name in sorted(features))])


@lru_cache(maxsize=32)
def _target_machine(triple: str, cpu: str, features: str, level: str) -> Any:
    llvm = _binding()
    # RuntimeDyld does not extend 32-bit references to data on COFF; 64-bit addresses need no such luck.
    model = "large" if "windows" in triple and architecture(triple) == "x86_64" else "default"
    target = llvm.Target.from_triple(triple)
    opt = {"none": 0, "plain": 3}.get(level, 2)  # 3: see `_foreign_targets`
    return target.create_target_machine(cpu=cpu, features=features, opt=opt, reloc="pic", codemodel=model)


def _run_passes(llvm: Any, module: Any, machine: Any, level: str) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = options.loop_interleaving = False
    builder = llvm.create_pass_builder(machine, options)
    if level == "O2":
        passes = builder.getModulePassManager()
    else:
        passes = llvm.create_new_module_pass_manager()
        passes.add_always_inliner_pass()
        passes.add_sroa_pass()
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
        passes.add_dead_code_elimination_pass()
    passes.run(module, builder)


# --- object → addresses ------------------------------------------------------------------------------------------

_library_numbers = itertools.count()


@lru_cache(maxsize=1)
def _linker() -> Any:
    """The process's one ORC JIT.  It is never destroyed: at exit native threads may still be inside its code."""
    llvm = _binding()
    machine = llvm.Target.from_triple(host().triple).create_target_machine(reloc="pic")
    linker = llvm.create_lljit_compiler(machine, use_jit_link="windows" not in host().triple)
    linker._owned = True  # llvmlite's own way to say that Python does not dispose of it
    return linker


@lru_cache(maxsize=1)
def _system_symbols() -> dict[str, int]:
    """What LLVM's objects refer to on Windows beside the C library: elsewhere nothing.

    ``_fltused`` marks objects that use floating point, and only its existence counts; ``__chkstk`` touches the
    pages of a large stack frame.
    """
    if "windows" not in host().triple:
        return {}
    import ctypes

    system = ctypes.CDLL("ntdll")
    stack_probe = ctypes.cast(system["__chkstk"], ctypes.c_void_p).value or 0
    return {"_fltused": stack_probe, "__chkstk": stack_probe}


class LoadedObject:
    """Object code linked into this process; it stays as long as this object lives.  Made by `load_object`."""

    def __init__(self, library: Any, name: str, symbols: Mapping[str, int]):
        self._library = library
        self._name = name
        self._kept = [dict(symbols)]
        self._addresses: dict[str, int] = {}

    def address(self, name: str) -> int:
        """Address of a function or variable that the object defines.

        The first call relocates the object.  Raises `LLVMError` where the object does not define ``name``
        or where something it refers to is found neither in its symbols nor in the process.
        """
        with _lock:
            if name not in self._addresses:
                try:
                    found = _linker().lookup(self._name, name)
                except RuntimeError as error:
                    # LLVM writes the names of missing symbols to stderr; the error has only the victims.
                    raise LLVMError(f"cannot load {name!r}, or what it refers to (see stderr): {str(error).strip()}") from None
                self._kept.append(found)
                self._addresses[name] = found[name]
            return self._addresses[name]


def load_object(data: bytes, symbols: Mapping[str, int] | None = None) -> LoadedObject:
    """Links object code of `compile_object` into this process, without compiling anything.

    ``symbols``: name → address of what the object refers to; the C library's functions are found without it.
    Raises `LLVMError` where ``data`` is not object code of this platform.
    """
    from . import softfloat

    symbols = {**_system_symbols(), **softfloat.symbols_for(data), **(symbols or {})}
    with _lock:
        name = f"anytile.{next(_library_numbers)}"
        builder = _binding().JITLibraryBuilder().add_object_img(data).add_current_process()
        for symbol, address in symbols.items():
            builder.import_symbol(symbol, address)
        try:
            library = builder.link(_linker(), name)
        except RuntimeError as error:
            raise LLVMError(f"cannot load {len(data)} bytes of object code: {str(error).strip()}") from None
        return LoadedObject(library, name, symbols)
