"""Writes docs/ir-reference.md from the operation table: ``python scripts/ir_reference.py`` after changing a row.

``--check`` writes nothing and fails when the file is out of date (the tests run it so).
"""

from __future__ import annotations

import sys
from pathlib import Path

from anytile.ir.ops import TABLE, Effect, OpDef
from anytile.ir.printer import format_attr
from anytile.ir.types import FLOATS

TARGET = Path(__file__).parent.parent / "docs" / "ir-reference.md"

HEAD = """# Tile IR reference

Written by `scripts/ir_reference.py` from `src/anytile/ir/ops.py`; edit the table there, not this file.

The text form is read by `ir/parser.py` and written by `ir/printer.py`:

    %sum = fadd %x, %y : tile<64xf32>
    %v = load %p, %mask, _ : tile<64xf32>              _ stands for an operand that is absent
    %r = reduce %x {axis = 0} ^(%a: f32, %b: f32) {    one ^(…) {…} per block
      ...
    } : f32

`x?` is an optional operand, `xs*` stands for any number. *Pure* operations only compute and may be moved,
merged or removed; *elementwise* ones take operands of one shape and give that shape.

## Types

Integers `i1 i8 i16 i32 i64` carry no sign; pointers are `ptr<f32>`; tiles are `tile<64x32xf32>` with dimensions
that are powers of two, and a scalar is a tile of rank 0.

| float | bits | exponent | mantissa | bias | infinities | negative zero |
|---|---|---|---|---|---|---|
"""


def _row(d: OpDef) -> str:
    attrs = ", ".join(
        f"`{name}`: {kind}" + ("" if d.required_attr(name) else f" = {format_attr(default)}") for name, (kind, default) in d.attrs.items()
    )
    notes = []
    if d.elementwise:
        notes.append("elementwise")
    elif d.pure and not d.n_blocks:
        notes.append("pure")
    if d.commutative:
        notes.append("commutative")
    if d.terminator:
        notes.append("ends a block")
    if d.n_blocks:
        notes.append("1 block" if d.n_blocks == 1 else f"{d.n_blocks} blocks")
    notes += [word for flag, word in _EFFECTS.items() if d.effects & flag]
    cells = (f"`{d.name}`", " ".join(d.operands), attrs, ", ".join(notes), d.doc.replace("|", "\\|"))
    return "| " + " | ".join(cells) + " |\n"


_EFFECTS = {Effect.READ: "reads", Effect.WRITE: "writes", Effect.SYNC: "synchronises", Effect.IO: "visible outside"}


def render() -> str:
    out = [HEAD]
    for f in FLOATS:
        zero = "no" if f.fnuz else "yes"
        out.append(f"| `{f}` | {f.bits} | {f.exponent} | {f.mantissa} | {f.bias} | {'no' if f.finite else 'yes'} | {zero} |\n")
    groups: dict[str, list[OpDef]] = {}
    for d in TABLE.values():
        groups.setdefault(d.group, []).append(d)
    for group, rows in groups.items():
        out.append(f"\n## {group.capitalize()}\n\n| operation | operands | attributes | properties | meaning |\n|---|---|---|---|---|\n")
        out += map(_row, rows)
    return "".join(out)


def main() -> int:
    text = render()
    if "--check" in sys.argv[1:]:
        if TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET} is out of date; run python scripts/ir_reference.py", file=sys.stderr)
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
