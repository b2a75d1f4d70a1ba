"""What a kernel says about itself while it runs: print, assert, inline assembly.

Prints go through the driver's ``vprintf``: a format string and a buffer of arguments, floats as doubles and small integers as
32-bit ones, as C's printf takes them.  One thread prints each element of a tile; a scalar is printed by every thread, as with Triton.
Assertions fail by the driver's ``__assertfail``.
"""

from __future__ import annotations

from ...ir import Op
from ...ir.types import Element
from .convert import memory_bytes
from .placement import LANES, Placement, span
from .values import GLOBAL, Generator, eager, llvm_type, unsupported

__all__ = ["inline_text", "stop_where"]


def _text(g: Generator, text: str) -> str:
    """A constant string in global memory, as a generic pointer."""
    data = text.encode() + b"\0"
    name = f"@text{len(g.globals)}"
    body = "".join(chr(b) if 32 <= b < 127 and b not in (34, 92) else f"\\{b:02X}" for b in data)
    g.globals.append(f'{name} = private unnamed_addr addrspace(1) constant [{len(data)} x i8] c"{body}"')
    return g.emit(f"addrspacecast {GLOBAL} {name} to ptr")


def _print(g: Generator, template: str, args: list[tuple[str, str]], predicate: str | None) -> None:
    """printf of ``args`` (LLVM type of 4 or 8 bytes, text), by the threads where ``predicate`` holds."""
    yes, after = g.w.new_label("say"), g.w.new_label("said")
    if predicate is not None:
        g.w.cond_br(predicate, yes, after)
    else:
        g.w.br(yes)
    g.w.open_block(yes)
    size = 8 * max(1, len(args))
    buffer = g.early(f"alloca [{size} x i8], align 8")
    offset = 0
    for t, x in args:
        width = 8 if t in ("i64", "double") else 4
        offset = -(-offset // width) * width
        at = g.emit(f"getelementptr i8, ptr {buffer}, i32 {offset}")
        g.w.put(f"store {t} {x}, ptr {at}, align {width}")
        offset += width
    g.w.declare("vprintf", "i32(ptr, ptr)")
    g.emit(f"call i32 @vprintf(ptr {_text(g, template)}, ptr {buffer})")
    g.w.br(after)
    g.w.open_block(after)


def _argument(g: Generator, x: str, e: Element, signed: bool, is_hex: bool, op: Op) -> tuple[str, str, str]:
    """(conversion of the format, LLVM type, text) of one printed value."""
    t = llvm_type(e)
    if e.is_ptr:
        return "0x%llx", "i64", g.emit(f"ptrtoint {t} {x} to i64")
    if e.is_float and not is_hex:
        if e.bits < 16:
            raise unsupported(f"print of {e}", op)
        return "%f", "double", x if t == "double" else g.emit(f"fpext {t} {x} to double")
    if e.is_float:
        x, t = g.emit(f"bitcast {t} {x} to i{e.bits}"), f"i{e.bits}"
    if e.bits < 32:
        x = g.emit(f"{'sext' if signed and not is_hex and e.bits > 1 else 'zext'} {t} {x} to i32")
    wide = "ll" if e.bits == 64 else ""
    form = f"0x%0{max(1, e.bits // 4)}{wide}x" if is_hex else f"%{wide}{'d' if signed else 'u'}"
    return form, "i64" if e.bits == 64 else "i32", x


@eager("print")
def print_(g: Generator, op: Op) -> None:
    """One line an element: ``pid (x, y, z) idx (i, j) prefix: value``."""
    pid = [("i32", g.special(f"ctaid.{d}")) for d in "xyz"]
    label = op.attrs["prefix"].strip().rstrip(":").rstrip().replace("%", "%%")
    if not op.operands:
        _print(g, f"pid (%u, %u, %u) {label}\n", pid, None)
        return
    for n, v in enumerate(op.operands):
        signed = bool(op.attrs["signed"][n]) if n < len(op.attrs["signed"]) else True
        operand = f"(operand {n}) " if len(op.operands) > 1 else ""
        shape = v.type.shape
        place = g.place_for(v) if shape else Placement((), (), (0,) * LANES, (0,) * g.warp_bits)
        values = g.get(v, place if shape else None)
        coordinates = [g.index(place, *span(shape, d)) for d in range(len(shape))]
        widths = [len(str(n - 1)) for n in shape]
        for r in place.own_registers:
            form, t, x = _argument(g, values[r], v.type.elem, signed, op.attrs["hex"], op)
            where = ", ".join(f"%{w}u" for w in widths)
            title = f" {label}: " if label else ": "
            args = [*pid, *(("i32", c[r]) for c in coordinates), (t, x)]
            who = g.owner(place.owners) if shape else None
            _print(g, f"pid (%u, %u, %u) idx ({where}){title}{operand}{form}\n", args, who)


@eager("assert")
def assert_(g: Generator, op: Op) -> None:
    """A thread that sees a false lane says so and stops the launch."""
    condition, mask = op.operand("cond"), op.operand("mask")
    assert condition is not None
    shape = condition.type.shape
    place = g.place_for(condition) if shape else Placement((), (), (0,) * LANES, (0,) * g.warp_bits)
    where = place if shape else None
    holds, on = g.get(condition, where), g.get(mask, where) if mask is not None else None
    bad: str | None = None
    for r in place.own_registers:
        wrong = g.emit(f"xor i1 {holds[r]}, true")
        if on is not None:
            wrong = g.emit(f"and i1 {wrong}, {on[r]}")
        bad = wrong if bad is None else g.emit(f"or i1 {bad}, {wrong}")
    assert bad is not None
    stop_where(g, op, bad)


def stop_where(g: Generator, op: Op, bad: str) -> None:
    """Threads in which ``bad`` holds stop the launch by the driver's ``__assertfail``, as C's assert does on a GPU.

    The driver writes ``FILE:LINE: FUNCTION: block: [x,y,z], thread: [x,y,z] Assertion `MESSAGE` failed.`` to standard error, and the
    launch ends with CUDA's error 710, "device-side assert triggered".
    """
    a = op.attrs
    file, line, function = (a["file"], a["line"], a["function"]) if a["file"] else (str(op.loc), 0, "")
    yes, after = g.w.new_label("failed"), g.w.new_label("held")
    g.w.cond_br(bad, yes, after)
    g.w.open_block(yes)
    fail = g.w.declare("__assertfail", "void(ptr, ptr, i32, ptr, i64)")
    texts = [_text(g, t) for t in (a["message"], file, function)]
    g.w.put(f"call void {fail}(ptr {texts[0]}, ptr {texts[1]}, i32 {line}, ptr {texts[2]}, i64 1)")
    g.w.br(after)
    g.w.open_block(after)


@eager("inline_asm")
def inline_asm(g: Generator, op: Op) -> None:
    if op.result.type.is_scalar:
        columns, where = [[g.scalar(v)] for v in op.operands], None
    else:
        where = g.homes[op.results[0]]
        columns = [g.get(v, where) for v in op.operands]
    for v, out in zip(op.results, inline_text(g, op, columns), strict=True):
        g.define(v, out, where)


def inline_text(g: Generator, op: Op, columns: list[list[str]]) -> list[list[str]]:
    """Registers of each result of an ``inline_asm`` from those of its operands: the text once for ``pack`` elements.

    Elements below 32 bits travel ``32 / bits`` to a register, as the text expects.
    """
    pack, count = op.attrs["pack"], len(columns[0]) if columns else 1
    results = [r.type for r in op.results]
    made: list[list[str]] = [[] for _ in results]
    for first in range(0, count, pack):
        args: list[tuple[str, str]] = []
        for column, v in zip(columns, op.operands, strict=True):
            group = (column[first : first + pack] + column[-1:] * pack)[:pack]
            args += _packed(g, group, v.type.elem)
        outs = [t for r in results for t in _register_types(r.elem, pack)]
        result = outs[0] if len(outs) == 1 else "{ " + ", ".join(outs) + " }"
        text = op.attrs["asm"].replace('"', "\\22").replace("\n", "\\0A")
        got = g.assembly(text, op.attrs["constraints"].replace(" ", ""), result, args, pure=op.attrs["pure"])
        words = [got] if len(outs) == 1 else [g.emit(f"extractvalue {result} {got}, {i}") for i in range(len(outs))]
        for i, r in enumerate(results):
            n = len(_register_types(r.elem, pack))
            made[i] += _unpacked(g, words[:n], r.elem, pack)[: count - first]
            words = words[n:]
    return made


def _register_types(e: Element, pack: int) -> list[str]:
    """LLVM types of the operands that carry ``pack`` elements."""
    bits = memory_bytes(e) * 8
    if bits >= 32 or pack == 1:
        return ["i64" if e.is_ptr else llvm_type(e) if e.bits > 8 else "i32"] * pack if bits != 16 else ["i16"] * pack
    per = min(pack, 32 // bits)
    return [f"i{per * bits}"] * (pack // per)


def _packed(g: Generator, group: list[str], e: Element) -> list[tuple[str, str]]:
    t, kinds = llvm_type(e), _register_types(e, len(group))
    out = []
    per = len(group) // len(kinds)
    for i, kind in enumerate(kinds):
        part = group[i * per : (i + 1) * per]
        if per == 1:
            x = part[0]
            if e.is_ptr:
                x = g.emit(f"ptrtoint {t} {x} to i64")
            elif t != kind:
                x = g.emit(f"{'bitcast' if memory_bytes(e) == 2 else 'zext'} {t} {x} to {kind}")
        else:
            vector = "poison"
            for k, x in enumerate(part):
                vector = g.emit(f"insertelement <{per} x {t}> {vector}, {t} {x}, i32 {k}")
            x = g.emit(f"bitcast <{per} x {t}> {vector} to {kind}")
        out.append((kind, x))
    return out


def _unpacked(g: Generator, words: list[str], e: Element, pack: int) -> list[str]:
    t, kinds = llvm_type(e), _register_types(e, pack)
    per = pack // len(kinds)
    out = []
    for kind, x in zip(kinds, words, strict=True):
        if per == 1:
            if e.is_ptr:
                x = g.emit(f"inttoptr i64 {x} to {t}")
            elif t != kind:
                x = g.emit(f"{'bitcast' if memory_bytes(e) == 2 else 'trunc'} {kind} {x} to {t}")
            out.append(x)
        else:
            vector = g.emit(f"bitcast {kind} {x} to <{per} x {t}>")
            out += [g.emit(f"extractelement <{per} x {t}> {vector}, i32 {k}") for k in range(per)]
    return out
