"""One C function for several ahead-of-time compilations of a kernel: it calls the most specialised one that the arguments allow.

    python -m triton.tools.link add.*.h --out add

takes headers that `triton.tools.compile` wrote for one kernel: signatures that differ in their hints (``:16``, ``:1``) and in
constants.  It writes ``<out>.h``, which includes them::

    int add(float *x, float *y, float *out, int32_t n)                  the first set of constants
    int add_algorithm(int algorithm, float *x, …)                       any: 0 … add_ALGORITHMS - 1, in the order of the headers

Both return what the kernel's own function does (0, or 1 where memory ran out), or 2 where no header fits the arguments.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import AnytileError

__all__ = ["link_headers", "main"]

#: Begins the line of a header that says what its function takes; JSON follows.
DIRECTIVE = "// anytile-link: "


@dataclass(frozen=True)
class _Variant:
    """One compilation.  ``parameters``: (name, C type, hint) of what the linked function takes; hint "d": a multiple of 16, "c": 1."""

    header: str
    function: str
    kernel: str
    parameters: tuple[tuple[str, str, str], ...]
    constants: tuple[tuple[str, str], ...]

    @property
    def declared(self) -> list[tuple[str, str]]:
        return [(name, ctype) for name, ctype, _ in self.parameters]

    @property
    def condition(self) -> str:
        """A C expression: whether the arguments are what the code relies on."""
        tests = {"d": "((uintptr_t){} % 16 == 0)", "c": "({} == 1)"}
        return " && ".join(tests[hint].format(name) for name, _, hint in self.parameters if hint) or "1"

    @property
    def call(self) -> str:
        return f"{self.function}({', '.join(name for name, _, hint in self.parameters if hint != 'c')})"


def directive(function: str, kernel: str, parameters: Sequence[tuple[str, str, str]], constants: dict[str, Any]) -> str:
    """The line of a header from which `link_headers` reads it again."""
    told = {"function": function, "kernel": kernel, "parameters": parameters, "constants": {k: repr(v) for k, v in constants.items()}}
    return DIRECTIVE + json.dumps(told)


def link_headers(headers: Sequence[Path], out: Path) -> Path:
    """Writes ``<out>.h``, whose functions begin with ``out``'s name; its path.

    AnytileError for a header that `compile` did not write, and for headers of different kernels or argument types.
    """
    variants = [_read(Path(header)) for header in headers]
    if not variants:
        raise AnytileError("there is nothing to link; give headers that triton.tools.compile wrote")
    first = variants[0]
    for v in variants[1:]:
        if (v.kernel, v.declared) != (first.kernel, first.declared):
            raise AnytileError(
                f"{v.header} takes ({_signature(v)}) of kernel {v.kernel}, and {first.header} ({_signature(first)}) of {first.kernel}; "
                "link headers of one kernel with the same argument types"
            )
    algorithms: dict[tuple[tuple[str, str], ...], list[_Variant]] = {}
    for v in variants:
        algorithms.setdefault(v.constants, []).append(v)
    path = out.with_suffix(".h")
    path.write_text(_text(out.stem, first, list(algorithms.values())), encoding="utf-8")
    return path


def _read(path: Path) -> _Variant:
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(DIRECTIVE):
                told = json.loads(line[len(DIRECTIVE) :])
                parameters = tuple((name, ctype, hint) for name, ctype, hint in told["parameters"])
                return _Variant(path.name, told["function"], told["kernel"], parameters, tuple(sorted(told["constants"].items())))
    raise AnytileError(f"{path} is no header that triton.tools.compile wrote")


def _signature(v: _Variant) -> str:
    return ", ".join(f"{ctype}{'' if ctype.endswith('*') else ' '}{name}" for name, ctype in v.declared)


def _text(name: str, first: _Variant, algorithms: list[list[_Variant]]) -> str:
    includes = "".join(f'#include "{v.header}"\n' for variants in algorithms for v in variants)
    cases = ""
    for number, variants in enumerate(algorithms):
        constants = ", ".join(f"{k} = {v}" for k, v in variants[0].constants)
        cases += f"    case {number}:{f'  /* {constants} */' if constants else ''}\n"
        for v in sorted(variants, key=lambda v: -sum(bool(hint) for _, _, hint in v.parameters)):
            cases += f"        if ({v.condition}) return {v.call};\n"
        cases += "        return 2;\n"
    passed = "".join(f", {n}" for n, _ in first.declared)
    declared = _signature(first)
    return f"""/* Kernel {first.kernel}: {len(algorithms)} set(s) of constants, compiled by anytile.  Link the object file of each header below.
 * The functions return 0, 1 where memory ran out, or 2 where no compilation fits the arguments.
 */
#ifndef {name.upper()}_H
#define {name.upper()}_H
{includes}
enum {{ {name}_ALGORITHMS = {len(algorithms)} }};

static inline int {name}_algorithm(int algorithm{", " if declared else ""}{declared}) {{
    switch (algorithm) {{
{cases}    default:
        return 2;
    }}
}}

static inline int {name}({declared or "void"}) {{
    return {name}_algorithm(0{passed});
}}
#endif
"""


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="triton.tools.link", description="One C function for several compilations of a kernel.")
    parser.add_argument("headers", nargs="+", type=Path, help="headers that triton.tools.compile wrote")
    parser.add_argument("--out", "-o", type=Path, required=True, help="the file to write, without .h; its name is the function's")
    arguments = parser.parse_args(argv)
    try:
        link_headers(arguments.headers, arguments.out)
    except AnytileError as e:
        sys.exit(f"error: {e}")


if __name__ == "__main__":
    main()
