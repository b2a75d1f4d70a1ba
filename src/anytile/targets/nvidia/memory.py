"""Loads, stores and atomics in global memory.

One instruction moves up to 16 bytes: registers that hold neighbours in memory, as the axis information proves, go
together; those that it proves to be of one address are loaded once.  Masks become predicates of the instruction, so an
address whose lane is off is never touched.  Where several threads hold copies of an element, all of them load it and one
of them stores it.
"""

from __future__ import annotations

from ...ir import Op, Value
from ...ir.rewrite import const_value
from ...ir.types import BF16, F16, F32, F64, Element
from .convert import addresses, memory_bytes, shared_load, shared_store
from .placement import LANES, Placement, span
from .values import GLOBAL, Generator, eager, lazy, literal, llvm_type, unsupported

__all__ = ["alike", "load_in", "vector_width"]

_CACHE = {"": "", ".ca": ".ca", ".cg": ".cg", ".cs": ".cs", ".cv": ".cv", ".wb": ".wb", ".wt": ".wt"}
_EVICT = {"": "", "evict_first": ".L1::evict_first", "evict_last": ".L1::evict_last", "evict_normal": ""}


def vector_width(g: Generator, pointer: Value, place: Placement, mask: Value | None) -> int:
    """How many consecutive registers one access may move."""
    e = pointer.type.elem.pointee  # type: ignore[attr-defined]
    size, fact, n = memory_bytes(e), g.info[pointer], 0
    strides = _last_bits(place)
    while n < len(place.register) and (2 << n) * size <= 16 and n < len(strides) and place.register[n] == strides[n]:
        n += 1
    d = _vector_dim(place)
    while n:
        v = 1 << n
        aligned = fact.contiguity[d] >= v and fact.at(d, v) >= v * size
        same_mask = mask is None or g.info[mask].constancy[d] >= v
        low = sum(strides[:n])
        clean = not any(b & low for b in (*place.register[n:], *place.thread))
        if aligned and same_mask and clean:
            break
        n -= 1
    return 1 << n


def _vector_dim(place: Placement) -> int:
    """The dimension along which a thread's first registers lie."""
    if not place.register or not place.register[0]:
        return len(place.shape) - 1
    bit = place.register[0].bit_length() - 1
    for d in reversed(range(len(place.shape))):
        bit -= place.shape[d].bit_length() - 1
        if bit < 0:
            return d
    return 0


def _last_bits(place: Placement) -> list[int]:
    d = _vector_dim(place)
    low = sum(n.bit_length() - 1 for n in place.shape[d + 1 :])
    return [1 << (low + k) for k in range(place.shape[d].bit_length() - 1)]


def alike(g: Generator, values: list[Value], place: Placement) -> int:
    """Bits of an element's number on which none of ``values`` depends: elements that differ in these alone are loaded once a thread."""
    bits = shift = 0
    for d in reversed(range(len(place.shape))):
        same = min(g.info[v].constancy[d] for v in values if not v.type.is_scalar)
        bits |= (min(same, place.shape[d]) - 1) << shift
        shift += place.shape[d].bit_length() - 1
    return bits


# --- one access ------------------------------------------------------------------------------------------------


def _words(n: int, e: Element) -> tuple[int, int]:
    """(number, width) of the machine registers that carry ``n`` neighbours."""
    each = memory_bytes(e) * 8
    return (n, 64) if each == 64 else (n * each // 32, 32) if n * each >= 64 else (1, max(n * each, 8))


_CONSTRAINT = {8: "h", 16: "h", 32: "r", 64: "l"}


def _shape_suffix(n: int, width: int) -> str:
    return (f".v{n}" if n > 1 else "") + f".b{width}"


def _load_vector(g: Generator, address: str, n: int, e: Element, mask: str | None, other: list[str] | None, how: str) -> list[str]:
    """``n`` neighbours at ``address``; where ``mask`` is off ``other``, or zeros."""
    count, width = _words(n, e)
    asm_type = {8: "i16", 16: "i16", 32: "i32", 64: "i64"}[width]
    outs = ", ".join(f"${i}" for i in range(count))
    target = f"{{{outs}}}" if count > 1 else outs
    constraints = [f"={_CONSTRAINT[width]}"] * count
    args: list[tuple[str, str]] = []
    code = f"ld{how}{_shape_suffix(count, width)} {target}, [${count}];"
    if mask is not None:
        start = _pack(g, other, n, e, count, width) if other else ["0"] * count
        code = f"@${count + 1} {code}"
        args = [(GLOBAL, address), ("i1", mask), *((asm_type, s) for s in start)]
        constraints += ["l", "b", *(str(i) for i in range(count))]
    else:
        args = [(GLOBAL, address)]
        constraints.append("l")
    result = g.several(asm_type, count)
    got = g.assembly(code, ",".join(constraints), result, args)
    words = [got] if count == 1 else [g.emit(f"extractvalue {result} {got}, {i}") for i in range(count)]
    return _unpack(g, words, n, e, width)


def _store_vector(g: Generator, address: str, values: list[str], e: Element, mask: str | None, how: str) -> None:
    n = len(values)
    count, width = _words(n, e)
    asm_type = {8: "i16", 16: "i16", 32: "i32", 64: "i64"}[width]
    words = _pack(g, values, n, e, count, width)
    ins = ", ".join(f"${i + 1}" for i in range(count))
    source = f"{{{ins}}}" if count > 1 else ins
    code = f"st{how}{_shape_suffix(count, width)} [$0], {source};"
    constraints = ["l", *([_CONSTRAINT[width]] * count)]
    args = [(GLOBAL, address), *((asm_type, w) for w in words)]
    if mask is not None:
        code = f"@${count + 1} {code}"
        constraints.append("b")
        args.append(("i1", mask))
    g.assembly(code, ",".join(constraints), "void", args)


def _pack(g: Generator, values: list[str], n: int, e: Element, count: int, width: int) -> list[str]:
    """``n`` elements as ``count`` integers of ``width`` bits (8-bit ones in 16)."""
    t, bits = llvm_type(e), memory_bytes(e) * 8
    if e.is_ptr:
        values, t = [g.emit(f"ptrtoint {t} {x} to i64") for x in values], "i64"
    if e.bits == 1:
        values, t = [g.emit(f"zext i1 {x} to i8") for x in values], "i8"
    per = n // count
    out = []
    for i in range(count):
        group = values[i * per : (i + 1) * per]
        if per == 2 and (known := g.words.get((group[0], group[1]))):
            word = known
        elif all(x[0] != "%" for x in group) and t != f"i{width}":  # constants, as what stands for elements that are not loaded
            whole = f"{t} {group[0]}" if per == 1 else f"<{per} x {t}> <{', '.join(f'{t} {x}' for x in group)}>"
            word = f"bitcast ({whole} to i{bits * per})"
        elif per == 1:
            word = group[0] if t == f"i{bits}" else g.emit(f"bitcast {t} {group[0]} to i{bits}")
        else:
            vector = "poison"
            for k, x in enumerate(group):
                vector = g.emit(f"insertelement <{per} x {t}> {vector}, {t} {x}, i32 {k}")
            word = g.emit(f"bitcast <{per} x {t}> {vector} to i{width}")
        out.append(g.emit(f"zext i8 {word} to i16") if width == 8 else word)
    return out


def _unpack(g: Generator, words: list[str], n: int, e: Element, width: int) -> list[str]:
    t, bits = llvm_type(e), memory_bytes(e) * 8
    if e.is_ptr or e.bits == 1:
        t = "i64" if e.is_ptr else "i8"
    per = n // len(words)
    out: list[str] = []
    for word in words:
        if width == 8:
            word = g.emit(f"trunc i16 {word} to i8")
        if per == 1:
            out.append(word if t == f"i{bits}" else g.emit(f"bitcast i{bits} {word} to {t}"))
        else:
            vector = g.emit(f"bitcast i{width} {word} to <{per} x {t}>")
            out += [g.emit(f"extractelement <{per} x {t}> {vector}, i32 {k}") for k in range(per)]
            if per == 2 and width == 32:
                g.pair(out[-2], out[-1], word)
    if e.is_ptr:
        return [g.emit(f"inttoptr i64 {x} to {GLOBAL}") for x in out]
    if e.bits == 1:
        return [g.emit(f"icmp ne i8 {x}, 0") for x in out]
    return out


# --- the rows ------------------------------------------------------------------------------------------------


def _how(op: Op) -> str:
    if op.attrs.get("volatile"):
        return ".volatile.global"
    cache, evict = op.attrs["cache"], op.attrs["evict"]
    if cache not in _CACHE or evict not in _EVICT:
        raise unsupported(f"cache modifier {cache!r} with eviction policy {evict!r}", op)
    return ".global" + (_CACHE[cache] if cache else _EVICT[evict])


@eager("load")
def load(g: Generator, op: Op) -> None:
    if op.result in g.ring:  # a copy that was started earlier
        return
    if op in g.own_copies:
        g.own_copies[op]()
        return
    if op.result.type.is_scalar or not g.is_lazy(op.result):  # a table is read where addresses ask for it
        for place in [None] if op.result.type.is_scalar else g.assignment.places(op.result):
            g.define(op.result, load_in(g, op, place), place)
        g.unordered |= op.result in g.assignment.small


def _ordered(g: Generator) -> None:
    """Before a write: all threads have their copies of small tiles (`small_loads`), which may lie where it goes, by another argument."""
    if g.unordered and g.num_warps > 1:
        g.barrier()


@lazy("load")
def load_in(g: Generator, op: Op, place: Placement | None, condition: str | None = None) -> list[str]:
    """What ``op`` loads, in ``place`` (None: a scalar); nothing is read where ``condition`` is off."""
    pointer, mask, other = (op.operand(n) for n in ("ptr", "mask", "other"))
    assert pointer is not None
    e, how = op.result.type.elem, _how(op)
    if const_value(mask) == 1:
        mask = None
    if place is None:
        on = g.conjunction(condition, g.scalar(mask) if mask is not None else None)
        instead = [g.scalar(other)] if other is not None else None
        return _load_vector(g, g.scalar(pointer), 1, e, on, instead, how)
    n = vector_width(g, pointer, place, mask)
    p = g.every(pointer, place, n)
    m = g.every(mask, place, n) if mask is not None else None
    o = g.get(other, place) if other is not None else None
    out: list[str] = []
    known: dict[int, list[str]] = {}
    same = 0 if op.attrs.get("volatile") else alike(g, [v for v in (pointer, mask, other) if v is not None], place)
    for i, r in enumerate(range(0, place.registers, n)):
        c = place.constants[r] & ~same
        if c not in known:
            on = g.conjunction(condition, m[i] if m else None)
            known[c] = _load_vector(g, p[i], n, e, on, o[r : r + n] if o else None, how)
        out += known[c]
    return out


def _store_place(g: Generator, pointer: Value, value: Value, mask: Value | None) -> Placement:
    """Where a store takes its value: where the value is, unless that would scatter the accesses."""
    best = g.assignment.coalesced(pointer)
    here = g.assignment.where(value)
    if here is None:
        return best
    n = vector_width(g, pointer, here, mask)
    if n < vector_width(g, pointer, best, mask):
        return best
    # A thread whose run goes on behind the vector writes parts of sectors, several times; a move through shared memory is cheaper.
    step = n << span(here.shape, g.assignment.fastest(pointer))[0]
    return best if step in here.register and step in best.thread else here


@eager("store")
def store(g: Generator, op: Op) -> None:
    pointer, value, mask = (op.operand(n) for n in ("ptr", "value", "mask"))
    assert pointer is not None and value is not None
    if op in g.bulk_stores:
        from .bulk_stores import by_accelerator  # it needs vector_width

        by_accelerator(g, op, g.bulk_stores[op])
        return
    _ordered(g)
    e, how = value.type.elem, _how(op)
    if const_value(mask) == 1:
        mask = None
    if value.type.is_scalar:
        on = g.conjunction(g.scalar(mask) if mask is not None else None, g.owner(g.all_threads()))
        _store_vector(g, g.scalar(pointer), [g.scalar(value)], e, on, how)
        return
    place = _store_place(g, pointer, value, mask)
    n = vector_width(g, pointer, place, mask)
    p, x = g.every(pointer, place, n), g.get(value, place)
    m = g.every(mask, place, n) if mask is not None else None
    owner = g.owner(place.owners)
    done: set[int] = set()
    for i, r in enumerate(range(0, place.registers, n)):
        if place.constants[r] not in done:
            done.add(place.constants[r])
            _store_vector(g, p[i], x[r : r + n], e, g.conjunction(m[i] if m else None, owner), how)


# --- atomics ------------------------------------------------------------------------------------------------

_ORDERS, _SCOPES = ("relaxed", "acquire", "release", "acq_rel"), ("gpu", "cta", "sys")
_SIGNED = {"smax": "max.s", "smin": "min.s", "umax": "max.u", "umin": "min.u", "add": "add.u"}
_BITS = {"and": "and.b", "or": "or.b", "xor": "xor.b", "xchg": "exch.b"}
_FADD = {F32: "add.f32", F64: "add.f64", F16: "add.noftz.f16", BF16: "add.noftz.bf16"}


def _order(op: Op) -> tuple[str, str]:
    """(order, scope) of an atomic operation, in PTX's words too."""
    sem, scope = op.attrs["sem"], op.attrs["scope"]
    if sem not in _ORDERS or scope not in _SCOPES:
        raise unsupported(f"an atomic operation of order {sem!r} and scope {scope!r}", op)
    return sem, scope


def _atomic(g: Generator, op: Op, address: str, operands: list[str], e: Element, predicate: str | None, what: str) -> str:
    """One atom instruction on bit patterns; zero where ``predicate`` is off."""
    width = e.bits
    t = {16: "i16", 32: "i32", 64: "i64"}.get(width)
    if t is None:
        raise unsupported(f"an atomic operation on {e}", op)
    k = _CONSTRAINT[width]
    order, scope = _order(op)
    bits = [_as_bits(g, x, e) for x in operands]
    ins = ", ".join(f"${i + 2}" for i in range(len(bits)))
    # Both orders mean the same; Triton writes them so, and programs look for that.
    both = f"{order}.{scope}" if what.startswith("cas") else f"{scope}.{order}"
    code = f"atom.global.{both}.{what} $0, [$1], {ins};"
    constraints = [f"={k}", "l", *([k] * len(bits))]
    args = [(GLOBAL, address), *((t, b) for b in bits)]
    if predicate is not None:
        code = f"@${len(bits) + 2} {code}"
        constraints += ["b", "0"]
        args += [("i1", predicate), (t, "0")]
    return _from_bits(g, g.assembly(code, ",".join(constraints), t, args), e)


def _as_bits(g: Generator, x: str, e: Element) -> str:
    t = llvm_type(e)
    if e.is_ptr:
        return g.emit(f"ptrtoint {t} {x} to i64")
    return x if t == f"i{e.bits}" else g.emit(f"bitcast {t} {x} to i{e.bits}")


def _from_bits(g: Generator, x: str, e: Element) -> str:
    t = llvm_type(e)
    if e.is_ptr:
        return g.emit(f"inttoptr i64 {x} to {t}")
    return x if t == f"i{e.bits}" else g.emit(f"bitcast i{e.bits} {x} to {t}")


def _modify(g: Generator, op: Op, address: str, x: str, e: Element, predicate: str | None) -> str:
    kind = op.attrs["kind"]
    if kind in _SIGNED and e.is_int:
        return _atomic(g, op, address, [x], e, predicate, f"{_SIGNED[kind]}{e.bits}")
    if kind in _BITS:
        return _atomic(g, op, address, [x], e, predicate, f"{_BITS[kind]}{e.bits}")
    if kind == "fadd" and e in _FADD and (e is not BF16 or g.sm >= 90):
        return _atomic(g, op, address, [x], e, predicate, _FADD[e])  # type: ignore[index]
    if kind in ("fmax", "fmin") and e in (F32, F64):
        # Bit patterns of floats are ordered as signed integers where the sign is off, and the other way round as
        # unsigned ones where it is on; the operand's sign says which order decides.
        bits = _as_bits(g, x, e)
        positive = g.emit(f"icmp sge i{e.bits} {bits}, 0")
        negative = g.emit(f"xor i1 {positive}, true")
        up, down = ("max.s", "min.u") if kind == "fmax" else ("min.s", "max.u")
        a = _atomic(g, op, address, [x], e, g.conjunction(predicate, positive), f"{up}{e.bits}")
        b = _atomic(g, op, address, [x], e, g.conjunction(predicate, negative), f"{down}{e.bits}")
        t = llvm_type(e)
        return g.emit(f"select i1 {positive}, {t} {a}, {t} {b}")
    if g.sm >= 80 and kind in ("fmax", "fmin") and e in (F16, BF16):
        return _exchange_loop(g, op, address, x, e, predicate, f"{kind[1:]}.{'f16' if e is F16 else 'bf16'} n, o, $2;")
    if g.sm >= 80 and kind == "fadd" and e is BF16:  # there is no add.bf16 before sm_90 either: o · 1 + x
        return _exchange_loop(g, op, address, x, e, predicate, "mov.b16 n, 0x3F80; fma.rn.bf16 n, o, n, $2;")
    raise unsupported(f"atomic {kind} on {e}", op)


def _exchange_loop(g: Generator, op: Op, address: str, x: str, e: Element, predicate: str | None, combine: str) -> str:
    """The old value, replaced once nobody changed it meanwhile: for what no atom instruction does.

    ``combine`` is PTX that computes the new value, n, of the old one, o, and ``x``, $2.
    """
    order, scope = _order(op)
    code = (
        "{ .reg .pred q; .reg .b16 o, n, c; mov.b16 $0, 0; @!$3 bra DONE; "
        f"ld.relaxed.{scope}.global.b16 o, [$1]; AGAIN: {combine} "
        f"atom.global.{scope}.{order}.cas.b16 c, [$1], o, n; "
        "setp.ne.u16 q, c, o; mov.b16 o, c; @q bra AGAIN; mov.b16 $0, c; DONE: }"
    )
    args = [(GLOBAL, address), ("i16", _as_bits(g, x, e)), ("i1", predicate or "true")]
    return _from_bits(g, g.assembly(code, "=&h,l,h,b", "i16", args), e)


def packed_addition(op: Op, sm: int) -> bool:
    """Whether ``op`` adds floats that one instruction can add several of: nobody reads the old values."""
    if op.name != "atomic_rmw" or op.attrs["kind"] != "fadd" or op.result.uses or op.result.type.is_scalar:
        return False
    return op.result.type.elem in (F16, BF16, F32) and sm >= 90


def _add_packed(g: Generator, op: Op, address: str, values: list[str], e: Element, predicate: str | None) -> None:
    """2 to 8 neighbours of 16 bits, 2 or 4 of 32 bits, by one instruction."""
    order, scope = _order(op)
    if e is F32:
        words, k, t, kind = values, "f", "float", "f32"
    else:
        words, k, t, kind = [], "r", "i32", "noftz.f16x2" if e is F16 else "noftz.bf16x2"
        pair = f"<2 x {llvm_type(e)}>"
        for low, high in zip(values[::2], values[1::2]):
            both = g.emit(f"insertelement {pair} poison, {llvm_type(e)} {low}, i32 0")
            both = g.emit(f"insertelement {pair} {both}, {llvm_type(e)} {high}, i32 1")
            words.append(g.emit(f"bitcast {pair} {both} to i32"))
    n = len(words)
    before, _, unit = kind.rpartition(".")
    what = ".".join(p for p in ("add", before, f"v{n}" if n > 1 else "", unit) if p)
    listed = ["{" + ", ".join(f"${i + first}" for i in range(n)) + "}" if n > 1 else f"${first}" for first in (0, n + 1)]
    code = f"atom.global.{scope}.{order}.{what} {listed[0]}, [${n}], {listed[1]};"
    constraints = [*([f"={k}"] * n), "l", *([k] * n)]
    args = [(GLOBAL, address), *((t, w) for w in words)]
    if predicate is not None:
        code = f"@${2 * n + 1} {code}"
        constraints.append("b")
        args.append(("i1", predicate))
    result = g.several(t, n)
    g.assembly(code, ",".join(constraints), result, args)


@eager("atomic_rmw", "atomic_cas")
def atomic(g: Generator, op: Op) -> None:
    """One thread acts for each element; where the result is used, the others are told it.

    Sums whose old values nobody reads are added several at a time.
    """
    _ordered(g)
    pointer = op.operands[0]
    mask = op.operand("mask") if op.name == "atomic_rmw" else None
    values = [op.operand(n) for n in (("value",) if op.name == "atomic_rmw" else ("cmp", "value"))]
    e = op.result.type.elem
    place = g.home(op.result)
    scalar = place is None
    if place is None:
        place = Placement((), (), (0,) * LANES, (0,) * g.warp_bits)
    where = None if scalar else place
    p, xs = g.get(pointer, where), [g.get(v, where) for v in values if v is not None]
    m = g.get(mask, where) if mask is not None else None
    owner = g.owner(place.owners)
    known: dict[int, str] = {}
    if op.attrs["sem"] in ("acq_rel", "release"):
        g.barrier()  # what other threads of the program wrote before is released as well
    n = vector_width(g, pointer, place, mask) if packed_addition(op, g.sm) else 1
    for r, c in enumerate(place.constants):
        if c in known:
            continue
        predicate = g.conjunction(m[r] if m else None, owner)
        operands = [x[r] for x in xs]
        if n > 1:
            if r % n == 0:
                _add_packed(g, op, p[r], xs[0][r : r + n], e, predicate)
            known[c] = literal(0.0, e)  # nobody reads it
        elif op.name == "atomic_cas":
            known[c] = _atomic(g, op, p[r], operands, e, predicate, f"cas.b{e.bits}")
        else:
            known[c] = _modify(g, op, p[r], operands[0], e, predicate)
    out = [known[c] for c in place.constants]
    if place.owners and op.result.uses:
        out = _tell(g, out, place, e, owner)
    elif op.attrs["sem"] in ("acq_rel", "acquire"):
        g.barrier()
    g.define(op.result, out, where)


def _tell(g: Generator, registers: list[str], place: Placement, e: Element, owner: str | None) -> list[str]:
    """Each element from the thread that owns it to all that hold a copy, through shared memory."""
    numel = 1
    for n in place.shape:
        numel *= n
    size = memory_bytes(e)
    g.scratch(numel * size)
    where = addresses(g, place, lambda v: v * size)
    yes, after = g.w.new_label("own"), g.w.new_label("told")
    assert owner is not None
    g.w.cond_br(owner, yes, after)
    g.w.open_block(yes)
    for r in place.own_registers:
        shared_store(g, where[r], [registers[r]], e)
    g.w.br(after)
    g.w.open_block(after)
    g.barrier()
    got = {c: shared_load(g, where[r], 1, e)[0] for c, r in place.register_of.items()}
    return [got[c] for c in place.constants]


@eager("barrier")
def barrier(g: Generator, op: Op) -> None:
    if g.under_way:  # what is loaded in front of it is read in front of it
        g.assembly("cp.async.wait_group 0;", "", "void", [])
        g.under_way.clear()
    g.barrier()
