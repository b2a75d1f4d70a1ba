"""Ahead-of-time compilation for the CPU: a kernel becomes an object file and a C header that need nothing of Python.

    python -m triton.tools.compile add.py --kernel-name add_kernel --signature "*fp32:16, *fp32:16, *fp32:16, i32, 1024"
                                          --grid "(n + 1023) / 1024, 1, 1" --out-name add

The signature has one entry per parameter, in order: a type (``*fp32``, ``i32``, ``fp32`` …), ``:16`` behind it where the
address or value is a multiple of 16, ``:1`` where the value is 1; or a number, which makes the parameter a constant.
The grid is three C expressions over the parameters' names.  Written are ``<out-path>.<hash>_<hints>.o`` and ``.h``::

    #include "add.3f2a…_0d1d2d3.h"                  the comment in it says all of this again
    int add_3f2a…_0d1d2d3(float *x, float *y, float *out, int32_t n);              runs the grid in the calling thread
    void add_3f2a…_0d1d2d3_range(arguments, scratch, begin, end, gx, gy, gz);      runs some programs, for callers with threads

``--target`` is ``cpu`` (this machine) or ``cpu:ROW`` with a row of `targets.cpu.machine` (``cpu:avx2``, ``cpu:sse2`` …).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import AnytileError, UnsupportedError
from .link import directive

__all__ = ["CompileArgs", "compile_kernel", "main"]


@dataclass
class CompileArgs:
    """What the command line says; `compile_kernel` takes it.  ``target``: None, ``"cpu"`` or ``"cpu:ROW"``."""

    path: str = ""
    kernel_name: str = ""
    signature: str = ""
    grid: str = ""
    target: str | None = None
    num_warps: int = 1
    num_stages: int = 3
    out_name: str | None = None
    out_path: Path | None = None


@dataclass
class _Parameter:
    name: str
    type: str  # signature text, or "constexpr"
    value: Any = None
    hint: str = ""  # "d": a multiple of 16, "c": 1
    kind: str = ""  # signature text, also where the hint made the parameter a constant; "" for those that are constants by themselves


def compile_kernel(args: CompileArgs) -> tuple[str, list[Path]]:
    """Compiles one kernel; the name of the C function, and the files written (header, object).

    AnytileError for a mistake in ``args``, CompilationError for one in the kernel, UnsupportedError for what a program
    without Python cannot have (`device_print`, `device_assert`, tensor descriptors).
    """
    kernel = _load(args)
    parameters = _parse_signature(args.signature, kernel.arg_names)
    grid = _split(args.grid)
    if len(grid) != 3:
        raise AnytileError(f"--grid {args.grid!r} has {len(grid)} entries; give three, separated by commas, such as 'n / 1024, 1, 1'")
    digest = hashlib.sha256(" ".join([args.signature, *grid, str(args.num_warps), str(args.num_stages)]).encode()).hexdigest()[:8]
    out_name = args.out_name or kernel.__name__
    suffix = "".join(f"{i}{p.hint}" for i, p in enumerate(parameters) if p.hint) or "0"
    name = f"{out_name}_{digest}_{suffix}"
    machine = _machine(args.target)
    code, scratch = _object(kernel, parameters, args, machine, f"{name}_range")
    base = f"{args.out_path or Path(out_name)}.{digest}_{suffix}"
    files = [Path(base + ".h"), Path(base + (".obj" if sys.platform == "win32" else ".o"))]
    files[0].parent.mkdir(parents=True, exist_ok=True)
    files[0].write_text(_header(name, kernel.__name__, parameters, grid, scratch, machine.name), encoding="utf-8")
    files[1].write_bytes(code)
    return name, files


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="triton.tools.compile", description="Compile a kernel to an object file and a C header.")
    parser.add_argument("path", help="Python file that holds the kernel; it is executed")
    parser.add_argument("--kernel-name", "-n", default="", required=True, help="name of the kernel in that file")
    parser.add_argument("--signature", "-s", required=True, help="types, hints and constants of the parameters: '*fp32:16, i32, 1024'")
    parser.add_argument("--grid", "-g", required=True, help="three C expressions over the parameters")
    parser.add_argument("--target", "-t", default=None, help="cpu, or cpu:ROW such as cpu:avx2 (default: this machine)")
    parser.add_argument("--num-warps", "-w", type=int, default=1, help="means nothing on a CPU")
    parser.add_argument("--num-stages", "-ns", type=int, default=3, help="means nothing on a CPU")
    parser.add_argument("--out-name", "-on", default=None, help="beginning of the C function's name (default: the kernel's)")
    parser.add_argument("--out-path", "-o", type=Path, default=None, help="beginning of the files' names (default: out-name)")
    try:
        compile_kernel(CompileArgs(**vars(parser.parse_args(argv))))
    except AnytileError as e:
        sys.exit(f"error: {e}")


# --- reading ----------------------------------------------------------------------------------------------------


def _load(args: CompileArgs) -> Any:
    """The `JITFunction` that the file defines under the name."""
    path = Path(args.path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise AnytileError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    from ..runtime.jit import JITFunction

    kernel = getattr(module, args.kernel_name, None)
    while kernel is not None and not isinstance(kernel, JITFunction) and hasattr(kernel, "fn"):
        kernel = kernel.fn  # autotuned, or with heuristics: their values are constants of the signature here
    if not isinstance(kernel, JITFunction):
        found = [n for n, v in vars(module).items() if isinstance(v, JITFunction)]
        raise AnytileError(f"{path} has no kernel {args.kernel_name!r}; its kernels are {', '.join(found) or 'none'}")
    return kernel


def _split(text: str) -> list[str]:
    """The entries between commas that are not inside brackets."""
    return [part.strip() for part in re.split(r",(?![^\[(<]*[\])>])", text) if part.strip()]


def _parse_signature(text: str, names: list[str]) -> list[_Parameter]:
    entries = _split(text)
    if len(entries) != len(names):
        raise AnytileError(
            f"the signature {text!r} has {len(entries)} entries and the kernel {len(names)} parameters ({', '.join(names)}); give one for each"
        )
    return [_parse_entry(name, entry) for name, entry in zip(names, entries)]


_WORDS = {"True": True, "False": False, "None": None}


def _parse_entry(name: str, entry: str) -> _Parameter:
    from ..language.types import parse_signature_type

    if entry in _WORDS:
        return _Parameter(name, "constexpr", _WORDS[entry])
    for number in (int, float):
        try:
            return _Parameter(name, "constexpr", number(entry))
        except ValueError:
            continue
    if entry[0] in "'\"" and entry[-1] == entry[0] and len(entry) > 1:
        return _Parameter(name, "constexpr", entry[1:-1])
    kind, _, hint = (part.strip() for part in entry.partition(":"))
    if hint not in ("", "1", "16"):
        raise AnytileError(f"parameter {name}: the hint in {entry!r} must be :16 or :1")
    try:
        parse_signature_type(kind)
    except ValueError as e:
        raise AnytileError(f"parameter {name}: {e}; a number makes it a constant") from None
    if kind.startswith("tensordesc"):
        raise UnsupportedError(f"the tensor descriptor {name}", "ahead-of-time compilation", "pass pointer, shape and strides")
    return _Parameter(name, "constexpr", 1, "c", kind) if hint == "1" else _Parameter(name, kind, hint="d" if hint else "", kind=kind)


def _machine(target: str | None) -> Any:
    """The row compiled for."""
    from ..targets.cpu import machine as rows
    from ..targets.cpu.ahead import without_permissions

    kind, _, row = (target or "cpu").partition(":")
    if kind != "cpu":
        raise UnsupportedError(f"compiling ahead of time for {target!r}", "this installation", "use --target cpu")
    if not row:
        return without_permissions(rows.current())
    machine = rows.named(row)
    if machine.has("amx-tile"):
        raise UnsupportedError(
            f"compiling ahead of time for {row}", "C programs, which must ask Linux for the tile registers", "use cpu:avx512bf16"
        )
    if machine.architecture not in ("", rows.current().architecture):
        raise UnsupportedError(
            f"compiling ahead of time for {row}", f"a machine of {rows.current().architecture}", "compile on that architecture"
        )
    return machine


# --- writing ----------------------------------------------------------------------------------------------------


def _object(kernel: Any, parameters: list[_Parameter], args: CompileArgs, machine: Any, symbol: str) -> tuple[bytes, int]:
    """(object code whose kernel is called ``symbol``, bytes of scratch)."""
    from ..runtime.compiler import ASTSource
    from ..runtime.driver import GPUTarget
    from ..runtime.options import Options
    from ..targets.cpu.ahead import object_code, refuse
    from ..targets.cpu.driver import compile_module

    source = ASTSource(
        kernel,
        {p.name: p.type for p in parameters},
        {p.name: p.value for p in parameters if p.type == "constexpr"},
        {(i,): [["tt.divisibility", 16]] for i, p in enumerate(parameters) if p.hint == "d"},
    )
    target = GPUTarget("cpu", machine.architecture, 1)
    options = Options.of({"num_warps": args.num_warps, "num_stages": args.num_stages}, target, kernel.__name__)
    artifact = compile_module(source.make_module(options), options, machine, pool=False)
    refuse(artifact, {"device_print": "prints", "device_assert": "asserts"}, "ahead-of-time compilation")
    return object_code(artifact, machine, symbol)


_C_TYPES = {"i1": "int8_t", "u1": "uint8_t", "fp32": "float", "fp64": "double"}


def _c_type(kind: str) -> str:
    """The C type of a parameter; what C has no type for is behind ``void *``."""
    if kind.startswith("*"):
        const, element = ("const ", kind[2:]) if kind.startswith("*k") else ("", kind[1:])
        known = element in _C_TYPES or re.fullmatch(r"[iu](8|16|32|64)", element)
        return f"{const}{_c_type(element) if known else 'void'} *"
    if kind in _C_TYPES:
        return _C_TYPES[kind]
    if m := re.fullmatch(r"([iu])(8|16|32|64)", kind):
        return f"{'u' if m[1] == 'u' else ''}int{m[2]}_t"
    raise UnsupportedError(f"a scalar kernel argument of type {kind}", "the CPU target", "pass it as fp32")


def _slot(i: int, p: _Parameter) -> str:
    """The statement that puts a parameter into its 8 bytes."""
    if p.type.startswith("*"):
        return f"arguments[{i}] = (uint64_t)(uintptr_t){p.name};"
    if p.type in ("fp32", "fp64"):
        return f"memcpy(&arguments[{i}], &{p.name}, sizeof {p.name});"
    return f"arguments[{i}] = (uint64_t)(int64_t){p.name};"


def _constant(p: _Parameter) -> str:
    """The constant under its name, for the expressions of the grid; empty for what C has no number for."""
    if isinstance(p.value, (bool, int)):
        return f"    const int64_t {p.name} = {int(p.value)}; (void){p.name};\n"
    return f"    const double {p.name} = {p.value!r}; (void){p.name};\n" if isinstance(p.value, float) else ""


def _header(name: str, kernel: str, parameters: list[_Parameter], grid: list[str], scratch: int, machine: str) -> str:
    live = [p for p in parameters if p.type != "constexpr"]
    fixed = [p for p in parameters if p.type == "constexpr"]
    declared = ", ".join(f"{(t := _c_type(p.type))}{'' if t.endswith('*') else ' '}{p.name}" for p in live) or "void"
    aligned = [p.name for p in parameters if p.hint == "d"]
    promises = f"\n * {', '.join(aligned)}: multiples of 16 (addresses in bytes); the kernel relies on it." if aligned else ""
    constants = f"\n * Constants: {', '.join(f'{p.name} = {p.value}' for p in fixed)}." if fixed else ""
    taken = [(p.name, _c_type(p.kind), p.hint) for p in parameters if p.kind]
    linked = directive(name, kernel, taken, {p.name: p.value for p in parameters if not p.kind})
    return f"""/* Kernel {kernel}, compiled by anytile for {machine} CPUs.  Link the object file of the same name.{promises}{constants}
 *
 * {name}(...) runs the whole grid in the calling thread.  It returns 0, or 1 where memory ran out.
 *
 * {name}_range(arguments, scratch, begin, end, gx, gy, gz) runs the programs begin ... end - 1 of the
 * gx * gy * gz of a grid; threads may share a grid.  arguments: one uint64_t per parameter, as the function below
 * fills them.  scratch: {name}_SCRATCH bytes for each thread, aligned to 64.
 */
{linked}
#ifndef {name.upper()}_H
#define {name.upper()}_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {{
#endif

enum {{ {name}_SCRATCH = {scratch} }};

void {name}_range(const void *arguments, void *scratch, int64_t begin, int64_t end, int32_t gx, int32_t gy, int32_t gz);

static inline int {name}({declared}) {{
{"".join(_constant(p) for p in fixed)}    const int32_t gx = (int32_t)({grid[0]}), gy = (int32_t)({grid[1]}), gz = (int32_t)({grid[2]});
    uint64_t arguments[{max(1, len(live))}] = {{0}};
{"".join(f"    {_slot(i, p)}{chr(10)}" for i, p in enumerate(live))}    void *memory = malloc({name}_SCRATCH + 64);
    if (memory == NULL) return 1;
    void *scratch = (void *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    {name}_range(arguments, scratch, 0, (int64_t)gx * gy * gz, gx, gy, gz);
    free(memory);
    return 0;
}}

#ifdef __cplusplus
}}
#endif
#endif
"""


if __name__ == "__main__":
    main()
