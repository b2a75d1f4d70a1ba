"""Writes docs/language.md from the language's own tables: ``python scripts/language_reference.py``.

``--check`` writes nothing and fails when the file is out of date (the tests run it so).
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import anytile.frontend  # noqa: F401 - fills the tracer's tables
import anytile.language as tl
from anytile.compat import refused
from anytile.compat.level import NEWEST, OLDEST
from anytile.compat.table import MODULES
from anytile.frontend import builtin_functions, visitor
from anytile.language import libdevice, ptx_table
from anytile.runtime import knobs

TARGET = Path(__file__).parent.parent / "docs" / "language.md"

HEAD = """# The language of kernels

Written by `scripts/language_reference.py` from the tables and docstrings in `src/anytile/language` and `src/anytile/frontend`; edit
them, not this file.

A kernel is a Python function under `@triton.jit`. It runs as many *programs*, one per point of the launch grid; a program works on
*tiles*, arrays whose dimensions are powers of two. `tl` stands for `triton.language`. What is known when the kernel is compiled
(`tl.constexpr` parameters, shapes, dtypes, functions, numbers written down) is ordinary Python; the rest are tensors, and operators and
functions on them become the kernel's code.
"""

# Where a function is described, by the file that holds it: heading and files, in the order of the document.
SUBJECTS = {
    "Programs, shapes and indices": ("shaping",),
    "Memory": ("memory", "descriptor"),
    "Arithmetic": ("arithmetic", "casting"),
    "Mathematics": ("math",),
    "Matrix products": ("matmul",),
    "Reductions, scans, sorting": ("reduction", "standard"),
    "Random numbers": ("random",),
    "Hints and loops": ("hints",),
    "Debugging": ("debug",),
    "Target assembly and libraries": ("inline", "external"),
    "Values that are no tensors": ("constexpr", "tuples", "records", "tensor"),
    "Types as objects, and what libraries use": ("types", "builtin", "core"),
}

STATEMENTS = {
    ast.Assign: "`x = …`, `a, b = …`, `x[…]` and attributes of aggregates",
    ast.AnnAssign: "`x: tl.constexpr = …` demands a compile-time value; other annotations are read past",
    ast.AugAssign: "`x += …`",
    ast.Expr: "a call for its effect; docstrings",
    ast.Pass: "`pass`",
    ast.Return: "`return`, early too, but not inside a run-time loop; a kernel itself returns nothing",
    ast.Assert: "`assert` on a tensor is `tl.device_assert`, on a compile-time value `tl.static_assert`",
    ast.With: "`with` over a context manager of the language",
    ast.If: "`if`: on a scalar tensor both branches are compiled, on a compile-time value one",
    ast.For: "`for` over `range`, `tl.range`, `tl.static_range`, and compile-time sequences, which are unrolled",
    ast.While: "`while`",
}
#: Where an operator of a kernel is not what Python makes of it (tests/language/test_arithmetic.py).
OPERATORS = {
    "a tensor and a number": "the number takes the tensor's type where that has its kind: `int8 + 1` is int8 (a number that does not fit is refused), "
    "`float16 * 2.5` float16; else int32 or float32: `int8 + 1.5` is float32, a truth value `+ 1` int32",
    "two tensors": "floats before integers (`int64 + float16` is float16), the wider before the narrower, of float16 and bfloat16 float16, of integers of "
    "one width the unsigned: −1 as int32 is greater than 1 as uint32",
    "`/`": "of integers and of 16-bit floats float32",
    "`//` and `%` of integers": "towards zero, the remainder with the sign of the dividend, as in C: `-7 // 2` is −3, `-7 % 2` is −1; a signed and an unsigned "
    "operand are refused",
    "`//` of floats, `**`, `@`": "refused; `tl.floor(x / y)`, `libdevice.pow`, `tl.dot`.  `%` of floats has the sign of the dividend",
    "`and`, `or`, `not`, `a < b < c`": "of tensors: all operands are evaluated, and combined element by element; what is known when the kernel is compiled "
    "decides as in Python",
    "left open": "`x // 0` and `x % 0`, shifts by as many bits as the type has or more, a float that does not fit the integer that it becomes, where `sort` and "
    "`topk` put NaN, the sign of zero of `maximum` and `minimum` of zeros: some number, which differs between targets",
}
EXPRESSIONS = {
    ast.Constant: "numbers, strings, `True`, `False`, `None`, `...`",
    ast.Name: "variables, parameters, globals that are functions, modules, dtypes or `tl.constexpr`",
    ast.BinOp: "`+ - * / // % ** & \\| ^ << >>`",
    ast.UnaryOp: "`-x`, `+x`, `~x`, `not x`",
    ast.Compare: "`== != < <= > >=`, chained; `is`, `in` on compile-time values",
    ast.BoolOp: "`and`, `or`",
    ast.IfExp: "`a if c else b`",
    ast.Attribute: "attributes of modules, tensors, tuples, aggregates",
    ast.Subscript: "`x[:, None]` and `x[None]` of a tensor; any index of a tuple",
    ast.Tuple: "tuples",
    ast.List: "lists, which are tuples here",
    ast.ListComp: "list comprehensions over compile-time sequences",
    ast.NamedExpr: "`:=`",
    ast.JoinedStr: "f-strings of compile-time values",
    ast.FormattedValue: "their fields",
    ast.Starred: "`*args` in calls, tuples and lists",
    ast.Slice: "`:` in an index",
    ast.Call: "calls of the language, of `@triton.jit` functions (inlined), of dtypes, of the builtins below",
}


def render() -> str:
    return "".join([HEAD, *_dtypes(), *_functions(), *_methods(), *_python(), *_libdevice(), *_ptx(), *_modules()])


def _dtypes() -> Iterator[str]:
    yield "\n## Element types\n\n| `tl.` | in signatures | bits | kind |\n|---|---|---|---|\n"
    scalars = {name: t for name in tl.__all__ if isinstance(t := getattr(tl, name), tl.dtype) and t.primitive_bitwidth and not t.is_ptr()}
    for name, t in sorted(scalars.items(), key=lambda x: (x[1].is_floating(), x[1].is_int_unsigned(), x[1].primitive_bitwidth, x[0])):
        if t.is_floating():
            kind = f"float: 1 sign, {t.primitive_bitwidth - 1 - t.fp_mantissa_width} exponent, {t.fp_mantissa_width} fraction bits"
            kind += f", bias {t.exponent_bias}"
        else:
            kind = "truth value" if t.is_bool() else ("signed integer" if t.is_int_signed() else "unsigned integer")
        yield f"| `{name}` | `{t.mangle()}` | {t.primitive_bitwidth} | {kind} |\n"
    yield "\nA pointer to one of them is `*fp32` in signatures, `*kfp32` where nothing may be stored through it.\n"


def _functions() -> Iterator[str]:
    by_file: dict[str, list[str]] = {}
    for name in sorted(set(tl.__all__), key=str.lower):
        value = getattr(tl, name)
        if inspect.isroutine(value) or inspect.isclass(value) or hasattr(value, "fn"):
            by_file.setdefault(value.__module__.rpartition(".")[2], []).append(name)
    yield (
        "\n## Functions\n\nKeyword-only parameters stand after `*`. *since*: the first release of Triton whose face "
        "shows the name (`ANYTILE_TRITON_API`), where it is not 3.0.\n"
    )
    for heading, files in SUBJECTS.items():
        yield f"\n### {heading}\n\n| `tl.` | |\n|---|---|\n"
        for name in sorted((n for f in files for n in by_file.pop(f, ())), key=str.lower):
            value = getattr(tl, name)
            yield f"| `{name}{_signature(value)}` | {_line(value)}{_releases(name)} |\n"
    if by_file:
        raise SystemExit(f"no subject of the document takes the names of language/{next(iter(by_file))}.py: add it to SUBJECTS")


def _methods() -> Iterator[str]:
    functions = {n for n in tl.__all__ if callable(getattr(tl, n)) and not isinstance(getattr(tl, n), type)}
    methods = [n for n in dir(tl.tensor) if not n.startswith("_") and n in functions]
    yield "\n### Functions that are methods too\n\n`x.sum(0)` is `tl.sum(x, 0)`. So are:\n"
    yield (
        ", ".join(f"`{n}`" for n in methods)
        + ".\n\nBesides them a tensor has `.dtype`, `.shape`, `.numel`, `.type`, `.T` and `.to(dtype, …)`.\n"
    )


def _python() -> Iterator[str]:
    yield "\n## Python in kernels\n\n| statement | |\n|---|---|\n"
    yield from _described(visitor.STATEMENTS, STATEMENTS)
    yield "\n| expression | |\n|---|---|\n"
    yield from _described(visitor.EXPRESSIONS, EXPRESSIONS)
    names = ", ".join(f"`{f.__name__}`" for f in builtin_functions.HANDLERS)
    yield f"\nPython's builtin functions that a kernel has: {names}.\n"
    yield "\n### Operators, beside Python's\n\n| | |\n|---|---|\n"
    for about, text in OPERATORS.items():
        yield f"| {about} | {text} |\n"
    yield "\n### What is refused\n\n| construct | what the error says |\n|---|---|\n"
    for kind, text in visitor._REFUSED.items():
        yield f"| `{kind.__name__}` | {text} |\n"


def _described(handlers: Iterable[type], texts: dict[Any, str]) -> Iterator[str]:
    for kind in handlers:
        if kind not in texts:
            raise SystemExit(f"the frontend takes ast.{kind.__name__}, and this script does not say so: add a line")
        yield f"| `{kind.__name__}` | {texts[kind]} |\n"


def _libdevice() -> Iterator[str]:
    names = sorted(libdevice.__all__)
    yield f"\n## libdevice\n\n`from triton.language.extra import libdevice` has {len(names)} functions, by the names that CUDA gives them:\n"
    yield ", ".join(f"`{n}`" for n in names) + ".\n"


def _ptx() -> Iterator[str]:
    yield (
        "\n## Inline PTX\n\n`tl.inline_asm_elementwise` takes straight-line PTX on every target: what is not CUDA gets it translated, instruction by "
        "instruction. Approximate forms are computed exactly. Instructions and the modifiers that they may have besides their types:\n\n"
    )
    yield "| instruction | modifiers |\n|---|---|\n"
    for name, row in ptx_table.TABLE.items():
        yield f"| `{name}` | {' '.join(f'`{m}`' for m in sorted(row.modifiers))} |\n"


def _modules() -> Iterator[str]:
    yield (
        "\n## Around kernels\n\nWhat the other modules of `triton` have, for programs and libraries, with the releases whose face shows a name "
        "where they are not all of 3.0 to 3.9. `tests/compat` holds the forms that changed between releases.\n\n| module | names |\n|---|---|\n"
    )
    for name, module in MODULES.items():
        beside = name in ("triton.language.extra.cuda", "triton.language.extra.hip", "triton.language.target_info")
        if (name.startswith("triton.language") and not beside) or name.startswith("triton._"):
            continue
        forms = {n: entries for n, entries in module.entries.items() if not n.startswith("_")}
        names = {n: (min(e.since for e in entries), max(e.until for e in entries)) for n, entries in forms.items()}
        for n in import_module(module.mirror).__all__ if module.mirror else ():
            names.setdefault(n, (OLDEST, NEWEST))
        if module.alias == "anytile.runtime.knobs":
            names |= {n: (OLDEST, NEWEST) for n, value in vars(knobs).items() if isinstance(value, knobs.base_knobs)}
        if names:
            shown = ", ".join(f"`{n}`{_span(*span)}" for n, span in sorted(names.items(), key=lambda x: x[0].lower()))
            yield f"| `{name}`{_span(module.since, module.until)} | {shown} |\n"
    yield "\nAsking for one of these is an error that says so:\n\n| name | what the error says |\n|---|---|\n"
    for name, why in refused.REFUSED.items():
        yield f"| `{name}` | {why} |\n"
    yield (
        "| a kernel of `triton.experimental.gluon` launched, or a name of it used in a kernel; both may be imported, as libraries do beside "
        "other kernels | write the kernel in triton.language, which every target runs |\n"
    )
    yield "| text of Triton's stages (TTIR, TTGIR, LLVM IR, PTX) in `triton.compile` | compile the Python kernel by ASTSource |\n"


def _span(since: tuple[int, int], until: tuple[int, int]) -> str:
    first, last = (".".join(map(str, x)) for x in (since, until))
    if until < NEWEST:
        return f" ({first} to {last})" if since < until else f" ({first})"
    return f" (since {first})" if since > OLDEST else ""


def _signature(value: Any) -> str:
    if isinstance(value, type):
        return ""
    signature = inspect.signature(getattr(value, "fn", value))
    parameters = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values() if not p.name.startswith("_")]
    text = str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    text = re.sub(r"<(\w+\.\w+): [^>]*>", r"\1", text)  # members of enumerations
    return text.replace("triton.language.", "tl.").replace("|", "\\|")


def _line(value: Any) -> str:
    """The first paragraph of the docstring, as one line of Markdown."""
    text = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
    if not text:
        raise SystemExit(f"tl.{value.__name__} has no docstring")
    return text.replace("``", "`").replace("|", "\\|")


def _releases(name: str) -> str:
    module = MODULES["triton.language"]
    if module.entry(name, NEWEST) is None:
        return ""
    since = min(form.since for form in module.entries[name])  # older releases may have the name in another form
    return f" *since {'.'.join(map(str, since))}*" if since > OLDEST else ""


def main() -> int:
    text = render()
    if "--check" in sys.argv[1:]:
        if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET} is out of date; run python scripts/language_reference.py", file=sys.stderr)
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
