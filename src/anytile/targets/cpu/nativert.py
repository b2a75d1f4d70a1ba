"""A kernel as two shared libraries that a model of AOTInductor loads on the CPU (torch 2.13 on, Linux).

torch's packages of CPU models bring each Triton kernel along as ``so`` and ``launcher.so`` of `CompiledKernel.asm`, and call
(torch/csrc/inductor/aoti_runtime/cpu_triton_runtime_wrappers.h)::

    run_from_nativert(uint32 gx, uint32 gy, uint32 gz, int threads, void **arguments, void *kernel)     of launcher.so
    kernel: the address of the symbol that is called like the kernel                                   of so

Who may load them knows nothing of Python or of this package, so they bring no thread pool: programs are shared among the threads of
the OpenMP runtime that torch's own kernels use.  torch says one thread for every launch, having nothing to say yet; that is taken for
as many as OpenMP has.

Between the two, ours alone: ``const char *kernel(slots, begin, end, gx, gy, gz)`` runs a range of programs with the argument block
of `targets.base` and returns null, or what went wrong.  The launcher throws that as torch's exception (``aoti_torch_check``), which is
why only its frame can be unwound; without torch in the process there is nobody who would catch it, and it aborts.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import AnytileError, UnsupportedError
from ...llvm import engine
from ..base import Artifact
from .ahead import object_code, refuse, without_permissions
from .driver import lower_for_any_grid
from .machine import Machine

__all__ = ["STAGES", "library"]

#: What torch asks `CompiledKernel.asm` for.
STAGES = ("so", "launcher.so")
_WHERE = "a model compiled ahead of time"
_PROGRAMS = "anytile.programs"  # with a point, as no function of Python has


def library(artifact: Artifact, stage: str, machine: Machine) -> bytes:
    """The shared library of one of `STAGES`.

    ``artifact``: with ``name`` and ``signature`` (parameter → type, "constexpr" for what is compiled in) in its metadata.
    UnsupportedError for other systems than Linux and for kernels that print; AnytileError where there is no linker.
    """
    if not sys.platform.startswith("linux"):
        raise UnsupportedError(
            "a kernel for a model compiled ahead of time", f"{sys.platform}: torch's loader is Linux's", "compile the model there"
        )
    machine = without_permissions(machine)
    if stage == "so":
        return _linked(_kernel(artifact, machine))
    text = _launcher(list(artifact.metadata["signature"].values()))
    return _linked(engine.compile_object(text, machine.tune, machine.features, level="lite"))


# --- the kernel ---------------------------------------------------------------------------------------------------


def _kernel(artifact: Artifact, machine: Machine) -> bytes:
    refuse(artifact, {"device_print": "prints"}, _WHERE)
    name = artifact.metadata["name"]
    again = lower_for_any_grid(artifact, machine)
    messages = [_said(name, row["attrs"]) for row in again.metadata.get("asserts", ())]
    scratch = int(again.metadata["scratch"])
    text = _ranges(name, scratch, messages)
    if name in _names(text) | _names(str(again.stages["llir"]).replace("@kernel(", f"@{_PROGRAMS}(")):
        raise UnsupportedError(f"a kernel called {name}", f"{_WHERE}, whose library has another function of this name", "rename it")
    return object_code(again, machine, _PROGRAMS, text)[0]


def _names(text: str) -> set[str]:
    """What LLVM text has or calls, less what stands in quotes."""
    return set(re.findall(r"@([\w.$]+)", text))


def _said(kernel: str, attrs: Mapping[str, str]) -> str:
    return f"device_assert failed in kernel {kernel}: {attrs['message']} ({attrs['file']}:{attrs['line']})"


def _ranges(name: str, scratch: int, messages: Sequence[str]) -> str:
    """``name`` around `_PROGRAMS`.  The first assert that fails in a thread is noted for that thread."""
    texts = ["out of memory for the scratch of a kernel", *messages]
    return f"""
{"".join(f"@anytile.said.{i} = private constant {_c_string(text)}{chr(10)}" for i, text in enumerate(texts))}
@anytile.said = private constant [{len(texts)} x ptr] [{", ".join(f"ptr @anytile.said.{i}" for i in range(len(texts)))}]
@anytile.failed = internal thread_local global i32 0

declare ptr @malloc(i64)
declare void @free(ptr)

define internal void @anytile_assert(ptr %report) nounwind {{
  %number = load i32, ptr %report
  %one = add i32 %number, 1
  %before = load i32, ptr @anytile.failed
  %first = icmp eq i32 %before, 0
  %now = select i1 %first, i32 %one, i32 %before
  store i32 %now, ptr @anytile.failed
  ret void
}}

define ptr @"{name}"(ptr %slots, i64 %begin, i64 %end, i32 %gx, i32 %gy, i32 %gz) nounwind {{
  %memory = call ptr @malloc(i64 {scratch + 64})
  %none = icmp eq ptr %memory, null
  br i1 %none, label %poor, label %run
poor:
  %why.not = load ptr, ptr @anytile.said
  ret ptr %why.not
run:
  %address = ptrtoint ptr %memory to i64
  %up = add i64 %address, 63
  %aligned = and i64 %up, -64
  %scratch = inttoptr i64 %aligned to ptr
  store i32 0, ptr @anytile.failed
  call void @{_PROGRAMS}(ptr %slots, ptr %scratch, i64 %begin, i64 %end, i32 %gx, i32 %gy, i32 %gz)
  call void @free(ptr %memory)
  %which = load i32, ptr @anytile.failed
  %fine = icmp eq i32 %which, 0
  br i1 %fine, label %well, label %ill
well:
  ret ptr null
ill:
  %at = getelementptr ptr, ptr @anytile.said, i32 %which
  %why = load ptr, ptr %at
  ret ptr %why
}}
"""


def _c_string(text: str) -> str:
    """``[n x i8] c"…"`` of the text's bytes and a zero."""
    data = text.encode() + b"\0"
    return f'[{len(data)} x i8] c"{"".join(chr(b) if 32 <= b < 127 and b not in (34, 92) else f"{chr(92)}{b:02X}" for b in data)}"'


# --- the launcher --------------------------------------------------------------------------------------------------


def _launcher(signature: list[str]) -> str:
    """``run_from_nativert`` for kernels of this signature."""
    live = [(i, kind) for i, kind in enumerate(signature) if kind != "constexpr"]
    filled = "".join(_slot(slot, i, kind) for slot, (i, kind) in enumerate(live))
    return f"""
%launch = type {{ ptr, ptr, ptr, i64, i32, i32, i32 }} ; kernel, slots, what went wrong, programs, extents

@torch = private constant {_c_string("libtorch_cpu.so")}
@check = private constant {_c_string("aoti_torch_check")}
@here = private constant {_c_string("run_from_nativert")}
@line = private constant {_c_string("%s" + chr(10))}

declare extern_weak void @GOMP_parallel(ptr, ptr, i32, i32)
declare extern_weak i32 @omp_get_max_threads()
declare extern_weak i32 @omp_get_num_threads()
declare extern_weak i32 @omp_get_thread_num()
declare ptr @dlopen(ptr, i32)
declare ptr @dlsym(ptr, ptr)
declare i32 @dprintf(i32, ptr, ...)
declare void @abort() noreturn

; The programs of one of so many threads.
define internal void @share(ptr %open, i64 %thread, i64 %threads) nounwind {{
  %kernel = load ptr, ptr %open
  %slots.at = getelementptr %launch, ptr %open, i32 0, i32 1
  %slots = load ptr, ptr %slots.at
  %said.at = getelementptr %launch, ptr %open, i32 0, i32 2
  %total.at = getelementptr %launch, ptr %open, i32 0, i32 3
  %total = load i64, ptr %total.at
  %x.at = getelementptr %launch, ptr %open, i32 0, i32 4
  %gx = load i32, ptr %x.at
  %y.at = getelementptr %launch, ptr %open, i32 0, i32 5
  %gy = load i32, ptr %y.at
  %z.at = getelementptr %launch, ptr %open, i32 0, i32 6
  %gz = load i32, ptr %z.at
  %each = udiv i64 %total, %threads
  %more = urem i64 %total, %threads
  %longer = icmp ult i64 %thread, %more
  %extra = zext i1 %longer to i64
  %mine = add i64 %each, %extra
  %before.more = call i64 @llvm.umin.i64(i64 %thread, i64 %more)
  %before.each = mul i64 %thread, %each
  %begin = add i64 %before.each, %before.more
  %end = add i64 %begin, %mine
  %none = icmp eq i64 %mine, 0
  br i1 %none, label %out, label %run
run:
  %said = call ptr %kernel(ptr %slots, i64 %begin, i64 %end, i32 %gx, i32 %gy, i32 %gz)
  %fine = icmp eq ptr %said, null
  br i1 %fine, label %out, label %ill
ill:
  store atomic ptr %said, ptr %said.at monotonic, align 8
  br label %out
out:
  ret void
}}

define internal void @member(ptr %open) nounwind {{
  %number = call i32 @omp_get_thread_num()
  %many = call i32 @omp_get_num_threads()
  %thread = zext i32 %number to i64
  %threads = zext i32 %many to i64
  call void @share(ptr %open, i64 %thread, i64 %threads)
  ret void
}}

define internal void @raise(ptr %said) uwtable noinline {{
  %torch = call ptr @dlopen(ptr @torch, i32 5) ; RTLD_LAZY, RTLD_NOLOAD: only if the process has it
  %absent = icmp eq ptr %torch, null
  br i1 %absent, label %alone, label %ask
ask:
  %check = call ptr @dlsym(ptr %torch, ptr @check)
  %old = icmp eq ptr %check, null
  br i1 %old, label %alone, label %throw
throw:
  call void %check(i1 zeroext false, ptr @here, ptr @here, i32 0, ptr %said)
  ret void
alone:
  call i32 (i32, ptr, ...) @dprintf(i32 2, ptr @line, ptr %said)
  call void @abort()
  unreachable
}}

define void @run_from_nativert(i32 %gx, i32 %gy, i32 %gz, i32 %asked, ptr %arguments, ptr %kernel) uwtable {{
  %open = alloca %launch, align 16
  %slots = alloca [{max(1, len(live))} x i64], align 16
{filled}  %wide.x = zext i32 %gx to i64
  %wide.y = zext i32 %gy to i64
  %wide.z = zext i32 %gz to i64
  %plane = mul i64 %wide.x, %wide.y
  %total = mul i64 %plane, %wide.z
  %nobody = icmp eq i64 %total, 0
  br i1 %nobody, label %out, label %begin
begin:
  store ptr %kernel, ptr %open
  %slots.at = getelementptr %launch, ptr %open, i32 0, i32 1
  store ptr %slots, ptr %slots.at
  %said.at = getelementptr %launch, ptr %open, i32 0, i32 2
  store ptr null, ptr %said.at
  %total.at = getelementptr %launch, ptr %open, i32 0, i32 3
  store i64 %total, ptr %total.at
  %x.at = getelementptr %launch, ptr %open, i32 0, i32 4
  store i32 %gx, ptr %x.at
  %y.at = getelementptr %launch, ptr %open, i32 0, i32 5
  store i32 %gy, ptr %y.at
  %z.at = getelementptr %launch, ptr %open, i32 0, i32 6
  store i32 %gz, ptr %z.at
  %openmp = icmp ne ptr @GOMP_parallel, null
  %few = icmp ult i64 %total, 2
  %not.few = xor i1 %few, true
  %shared = and i1 %openmp, %not.few
  br i1 %shared, label %count, label %here
count:
  %free = call i32 @omp_get_max_threads()
  %said.many = icmp sgt i32 %asked, 1
  %wanted = select i1 %said.many, i32 %asked, i32 %free
  %wide.wanted = zext i32 %wanted to i64
  %most = call i64 @llvm.umin.i64(i64 %wide.wanted, i64 %total)
  %threads = trunc i64 %most to i32
  call void @GOMP_parallel(ptr @member, ptr %open, i32 %threads, i32 0)
  br label %over
here:
  call void @share(ptr %open, i64 0, i64 1)
  br label %over
over:
  %said = load atomic ptr, ptr %said.at monotonic, align 8
  %fine = icmp eq ptr %said, null
  br i1 %fine, label %out, label %ill
ill:
  call void @raise(ptr %said)
  br label %out
out:
  ret void
}}
"""


def _slot(slot: int, i: int, kind: Any) -> str:
    """Puts argument ``i`` of the array into its slot: pointers lie in it, numbers behind it, as int64_t, float or bool."""
    if not (isinstance(kind, str) and re.fullmatch(r"\*.*|[iu](1|8|16|32|64)|fp(16|32|64)|bf16", kind)):
        raise UnsupportedError(f"a kernel parameter of type {kind}", _WHERE, "pass pointers and numbers")
    a = f"%a{slot}"
    text = f"""  {a}.at = getelementptr ptr, ptr %arguments, i32 {i}
  {a} = load ptr, ptr {a}.at
  {a}.slot = getelementptr i64, ptr %slots, i32 {slot}
  store i64 0, ptr {a}.slot
"""
    if kind.startswith("*"):
        return f"{text}  store ptr {a}, ptr {a}.slot\n"
    if kind in ("i1", "u1"):
        return f"{text}  {a}.value = load i8, ptr {a}\n  store i8 {a}.value, ptr {a}.slot\n"
    if kind[0] in "iu":
        return f"{text}  {a}.value = load i64, ptr {a}, align 1\n  store i64 {a}.value, ptr {a}.slot\n"
    if kind == "fp64":
        return f"{text}  {a}.single = load float, ptr {a}\n  {a}.value = fpext float {a}.single to double\n  store double {a}.value, ptr {a}.slot\n"
    return f"{text}  {a}.value = load float, ptr {a}\n  store float {a}.value, ptr {a}.slot\n"


# --- linking --------------------------------------------------------------------------------------------------------


def _linked(code: bytes) -> bytes:
    """The object code as a shared library, by the system's linker: who compiles models ahead of time has a C++ compiler, since torch needs it."""
    linker = _linker()
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "kernel.o"), Path(folder, "kernel.so")
        source.write_bytes(code)
        done = subprocess.run(
            [*linker, "-shared", "-nostartfiles", "-o", str(made), str(source)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise AnytileError(f"{' '.join(linker)} could not make a shared library of a kernel: {done.stderr.strip()}")
        return made.read_bytes()


def _linker() -> list[str]:
    """The command that links: what the environment names (with arguments, as in ``ccache g++``), else the first that is there."""
    for variable in ("CXX", "CC"):
        words = shlex.split(os.environ.get(variable, ""))
        if words and shutil.which(words[0]) is None:
            raise AnytileError(
                f"the environment variable {variable} names {words[0]}, which is not there; unset it, or let it name a C++ compiler"
            )
        if words:
            return words
    found = next(filter(None, map(shutil.which, ("c++", "g++", "clang++", "cc"))), None)
    if found is None:
        raise AnytileError(
            "a kernel becomes a shared library by the system's linker, and no C++ compiler was found that would call it; "
            "torch needs one for the model, too: install g++ or clang, or name it by the environment variable CXX"
        )
    return [found]
