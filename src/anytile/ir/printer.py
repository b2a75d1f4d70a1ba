"""The text form of the tile IR.  `parser` reads it back; printing what was parsed gives the same text.

Results are named after the source variable where there is one (``%acc``, ``%acc_1``), else numbered.
With ``locs=True`` each line ends in its source position.
"""

from __future__ import annotations

import math
from typing import Any

from .core import Block, Func, Module, Op, Value
from .types import Element, Type

__all__ = ["print_module", "print_func", "format_attr"]


def format_attr(v: Any) -> str:
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, float):
        return repr(v) if math.isfinite(v) else ("nan" if v != v else ("inf" if v > 0 else "-inf"))
    if isinstance(v, (Type, Element)):
        return str(v)
    if isinstance(v, str):
        return '"' + v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r") + '"'
    if isinstance(v, (tuple, list)):
        return "[" + ", ".join(map(format_attr, v)) + "]"
    return str(v)


class _Printer:
    def __init__(self, locs: bool):
        self.names: dict[Value, str] = {}
        self.taken: set[str] = set()
        self.locs = locs
        self.out: list[str] = []

    def name(self, v: Value | None) -> str:
        if v is None:
            return "_"
        got = self.names.get(v)
        if got is None:
            base = v.name if v.name and v.name.isidentifier() else ""
            got, n = (base, 0) if base else (str(len(self.names)), 0)
            while got in self.taken:
                n += 1
                got = f"{base}_{n}" if base else f"v{len(self.names)}_{n}"
            self.taken.add(got)
            self.names[v] = got
        return "%" + got

    def params(self, block: Block) -> str:
        return ", ".join(f"{self.name(a)}: {a.type}" for a in block.args)

    def op(self, op: Op, pad: str) -> None:
        shown = {k: v for k, v in op.attrs.items() if op.defn.attrs.get(k, (0, _NONE))[1] != v or isinstance(v, float)}
        head = ", ".join(self.name(r) for r in op.results)
        text = f"{head} = {op.name}" if head else op.name
        if op.operands:
            text += " " + ", ".join(map(self.name, op.operands))
        if shown:
            text += " {" + ", ".join(f"{k} = {format_attr(v)}" for k, v in shown.items()) + "}"
        tail = " : " + ", ".join(str(r.type) for r in op.results) if op.results else ""
        if self.locs and op.loc.line:
            tail += f" at {format_attr(op.loc.file)}:{op.loc.line}:{op.loc.col}"
        if not op.blocks:
            self.out.append(pad + text + tail)
            return
        for i, b in enumerate(op.blocks):
            lead = pad + text if i == 0 else pad + "}"
            self.out.append(f"{lead} ^({self.params(b)}) {{")
            self.block(b, pad + "  ")
        self.out.append(pad + "}" + tail)

    def block(self, block: Block, pad: str) -> None:
        for op in block.ops:
            self.op(op, pad)

    def func(self, f: Func) -> None:
        params = []
        for a, attrs in zip(f.args, f.arg_attrs):
            text = f"{self.name(a)}: {a.type}"
            if attrs:
                text += " {" + ", ".join(f"{k} = {format_attr(v)}" for k, v in attrs.items()) + "}"
            params.append(text)
        self.out.append(f"func @{f.name}({', '.join(params)}) {{")
        self.block(f.body, "  ")
        self.out.append("}")


_NONE = object()


def print_func(f: Func, locs: bool = False) -> str:
    p = _Printer(locs)
    p.func(f)
    return "\n".join(p.out) + "\n"


def print_module(m: Module, locs: bool = False) -> str:
    head = "".join(f"module {k} = {format_attr(v)}\n" for k, v in m.attrs.items())
    return head + "\n".join(print_func(f, locs) for f in m.funcs)
