"""Micro-kernels that broadcast elements of A over rows of B: FMA, and dot products of small groups along k.

The register tile holds `mr` rows of `nv` vectors of C.  One step of k reads `nv` vectors of B and, for each row,
one group of A, copied to all lanes::

    for n in N by nr:                          # nr = nv · lanes
        for m in M by mr:                      # emitted once for full tiles, once for what remains of M
            request the rows of A that are read in the next call
            c[mr][nv] = C
            for k in K by group · unroll:
                b[nv] = B[k, n …]              # a lane holds the group B[k … k+group−1, n]
                for i in mr: c[i] += broadcast(A[m+i, k … k+group−1]) · b
            C = c

A group is one element for FMA, two or four where the instruction sums products of neighbours in k
(`vdpbf16ps`, `vpdpwssd`, `vpmaddwd`, `sdot`): then B lies packed [k/group][n][group].

Addresses.  B and C have strides known here, so all of their addresses are one register and a constant.  The rows of A lie at
a distance known at run time; LLVM's loop strength reduction would derive them from each other with an addition per row
and step, so their pointers are `opaque` to it.

A by columns.  A transposed operand (the gradient of a weight, dYᵀ·X) is contiguous along m.  Copying elements needs no rows: A
lies as [k][m], and all of its addresses are one register and a constant, too.  Turning it around first cost 256 shuffles for
32×32 floats, a quarter of what the product of 32×32×32 takes.
"""

from __future__ import annotations

from dataclasses import dataclass

from .text import opaque

__all__ = ["PREFETCH", "SIGNATURE", "Step", "Tile", "choose_tile", "emit", "prefetch_row"]

SIGNATURE = "ptr noalias readonly %A, i64 %a.m, i64 %a.ahead, ptr noalias readonly %B, ptr noalias %C"
"""Parameters of every micro-kernel; `microkernels` says what they mean."""

_BYTES = {"float": 4, "double": 8, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "bfloat": 2, "half": 2}
PREFETCH = "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)"
_LINE = 64


@dataclass(frozen=True)
class Step:
    """How a vector of C takes in one group.  ``lines`` has {r} result, {c} accumulator, {a}, {b}, and {t} a name
    for temporaries.  ``vector``: type of {a} and {b}; ``word``: type that holds a group of A."""

    element: str
    accumulator: str
    lanes: int
    group: int
    word: str
    vector: str
    lines: tuple[str, ...]
    declarations: tuple[str, ...]

    @property
    def acc_vector(self) -> str:
        return f"<{self.lanes} x {self.accumulator}>"


@dataclass(frozen=True)
class Tile:
    """Register tile: ``mr`` rows by ``nv`` vectors; ``unroll`` groups of k a trip; ``cycles``: the estimate it won with."""

    mr: int
    nv: int
    unroll: int
    cycles: float


def choose_tile(m: int, n: int, groups: int, lanes: int, registers: int) -> Tile:
    """The register tile with the least estimated time for an m×n block, ``groups`` steps along k.

    A step takes the longest of: multiplies (two a cycle), loads (two a cycle: nv of B, mr of A), and the
    latency of the accumulation (four cycles); and a little for each load, which takes its turn in the front end.
    A tile costs a pass over C beside.

    Rows of A often lie a power of two apart, in one set of the first-level cache, which has eight places: more rows than that drive each
    other out before their lines are read to the end (64×16×64 on Cascade Lake: 16 rows 1.5 cycles a vector, 8 rows 1.0).  Only where C is
    one vector wide is there room for so many.
    """
    best: Tile | None = None
    unroll = min(4, groups)
    for nv in (1, 2, 4, 8):
        if n % (nv * lanes):
            continue
        for mr in range(1, min(m, 16) + 1):
            if mr * nv + nv + 1 > registers:
                break
            full, rest = divmod(m, mr)
            cycles = full * _tile_cycles(mr, nv, groups) + (_tile_cycles(rest, nv, groups) if rest else 0.0)
            # A second body costs compile time and instruction cache: it must win by something.
            cycles *= (n // (nv * lanes)) * (1.03 if rest else 1.0)
            if best is None or cycles < best.cycles:
                best = Tile(mr, nv, unroll, cycles)
    assert best is not None  # nv = 1, mr = 1 always fits
    return best


def _tile_cycles(mr: int, nv: int, groups: int) -> float:
    step = max(mr * nv / 2, (mr + nv) / 2 * 1.1, 4.0) + (mr + nv) * 0.1 + (mr * 0.5 if mr > 8 else 0.0)
    return step * groups + mr * nv * 2 + 10


def prefetch_row(row: str, nbytes: int) -> list[str]:
    """Requests the lines of ``nbytes`` at pointer ``row`` for the second-level cache.

    Not the first: rows a power of two apart share its sets, and would drive each other out before they are read.
    """
    o: list[str] = []
    for at in range(0, nbytes, _LINE):
        o.append(f"  {row}.line{at} = getelementptr i8, ptr {row}, i64 {at}")
        o.append(f"  call void @llvm.prefetch.p0(ptr {row}.line{at}, i32 0, i32 2, i32 1)")
    return o


def emit(name: str, m: int, n: int, k: int, step: Step, tile: Tile, columns: bool = False) -> str:
    """LLVM text of ``void @name(A, a_stride_m, a_ahead, B, C)``; with ``columns``, A lies as [k][m] and the two numbers mean nothing."""
    out = [*step.declarations, PREFETCH]
    out.append(f"define internal void @{name}({SIGNATURE}) nounwind noinline {{")
    size = _BYTES[step.element]
    out.append("entry:")
    if not columns:
        out += [f"  %pitch = mul i64 %a.m, {size}", f"  %ahead = mul i64 %a.ahead, {size}", "  %requests = icmp ne i64 %a.ahead, 0"]
    full, rest = divmod(m, tile.mr)
    bands = [(0, full * tile.mr, tile.mr)] + ([(full * tile.mr, m, rest)] if rest else [])
    out.append("  br label %band0")
    for number, (first, last, mr) in enumerate(bands):
        after = f"band{number + 1}" if number + 1 < len(bands) else "done"
        a = _columns_of_a(f"{number}", m, k, size) if columns else _rows_of_a(f"{number}", first, mr, k, step.group, size)
        out.extend(_band(f"{number}", first, last, mr, n, step, tile, a, after))
    out += ["done:", "  ret void", "}", ""]
    return "\n".join(out)


@dataclass(frozen=True)
class _Operand:
    """How a band finds A.  ``before``: lines in front of the loop over m; ``phis`` and ``at``: lines at its head, which end in
    block tile{p}; there ``pointers`` lie, to the rows or to all.  Element (row i, step u of a trip) is at ``places[i]``: pointer
    number, and bytes of step 0; each step is ``per_step`` bytes further, and the whole of k ``end``."""

    before: list[str]
    phis: list[str]
    at: list[str]
    pointers: list[str]
    places: list[tuple[int, int]]
    per_step: int
    end: int


def _rows_of_a(p: str, first: int, mr: int, k: int, group: int, size: int) -> _Operand:
    before = [f"  %a.first{p} = mul i64 %pitch, {first}", f"  %a.begin{p} = getelementptr i8, ptr %A, i64 %a.first{p}"]
    phis = [f"  %a{p}.0 = phi ptr [ %a.begin{p}, %n{p} ], [ %a{p}.{mr}, %m{p}.end ]"]
    o = [f"  %a{p}.{i + 1} = getelementptr i8, ptr %a{p}.{i}, i64 %pitch" for i in range(mr)]
    o += [f"  %ap{p}.{i} = {opaque('ptr', f'%a{p}.{i}')}" for i in range(mr)]
    o += [f"  br i1 %requests, label %request{p}, label %tile{p}", f"request{p}:"]
    for i in range(mr):
        o.append(f"  %ahead{p}.{i} = getelementptr i8, ptr %ap{p}.{i}, i64 %ahead")
        o += prefetch_row(f"%ahead{p}.{i}", k * size)
    o.append(f"  br label %tile{p}")
    return _Operand(before, phis, o, [f"%ap{p}.{i}" for i in range(mr)], [(i, 0) for i in range(mr)], group * size, k * size)


def _columns_of_a(p: str, m: int, k: int, size: int) -> _Operand:
    o = [
        f"  %a.first{p} = mul i64 %m{p}.i, {size}",
        f"  %ap{p} = getelementptr i8, ptr %A, i64 %a.first{p}",
        f"  br label %tile{p}",
    ]
    return _Operand([], [], o, [f"%ap{p}"], [(0, i * size) for i in range(m)], m * size, k * m * size)


def _band(p: str, first: int, last: int, mr: int, n: int, step: Step, tile: Tile, a: _Operand, after: str) -> list[str]:
    """The loops over tiles of ``mr`` rows, rows ``first`` … ``last`` − 1.  ``p`` makes names unique."""
    nr, nv, acc, lanes = tile.nv * step.lanes, tile.nv, step.acc_vector, step.lanes
    acc_bytes, size, group, unroll = _BYTES[step.accumulator], _BYTES[step.element], step.group, tile.unroll
    b_row = n * group * size  # bytes from one group of k to the next
    o: list[str] = []
    o += [f"band{p}:", f"  br label %n{p}"]
    o += [f"n{p}:", f"  %n{p}.i = phi i64 [ 0, %band{p} ], [ %n{p}.next, %n{p}.end ]"]
    o += [
        f"  %bn{p} = mul i64 %n{p}.i, {group * size}",
        f"  %bp{p} = getelementptr i8, ptr %B, i64 %bn{p}",
        *a.before,
        f"  br label %m{p}",
        f"m{p}:",
        f"  %m{p}.i = phi i64 [ {first}, %n{p} ], [ %m{p}.next, %m{p}.end ]",
        *a.phis,
        *a.at,
        f"tile{p}:",
        f"  %cm{p} = mul i64 %m{p}.i, {n}",
        f"  %cn{p} = add i64 %cm{p}, %n{p}.i",
        f"  %cp{p} = getelementptr {step.accumulator}, ptr %C, i64 %cn{p}",
    ]
    for i in range(mr):
        for j in range(nv):
            o.append(f"  %cq{p}.{i}.{j} = getelementptr i8, ptr %cp{p}, i64 {(i * n + j * lanes) * acc_bytes}")
            o.append(f"  %c{p}.{i}.{j} = load {acc}, ptr %cq{p}.{i}.{j}, align {acc_bytes}")
    o += [
        f"  br label %k{p}",
        f"k{p}:",
        f"  %k{p}.i = phi i64 [ 0, %tile{p} ], [ %k{p}.next, %k{p} ]",
        f"  %b{p}.row = phi ptr [ %bp{p}, %tile{p} ], [ %b{p}.next, %k{p} ]",
    ]
    for i in range(mr):
        o += [f"  %v{p}.0.{i}.{j} = phi {acc} [ %c{p}.{i}.{j}, %tile{p} ], [ %v{p}.{unroll}.{i}.{j}, %k{p} ]" for j in range(nv)]
    o += [f"  %ak{p}.{i} = getelementptr i8, ptr {pointer}, i64 %k{p}.i" for i, pointer in enumerate(a.pointers)]
    word_vector = f"<{lanes} x {step.word}>"
    for u in range(unroll):
        for j in range(nv):
            o.append(f"  %bq{p}.{u}.{j} = getelementptr i8, ptr %b{p}.row, i64 {u * b_row + j * lanes * group * size}")
            o.append(f"  %b{p}.{u}.{j} = load {step.vector}, ptr %bq{p}.{u}.{j}, align {size}")
        for i in range(mr):
            t = f"{p}.{u}.{i}"
            pointer, offset = a.places[i]
            o += [
                f"  %aq{t} = getelementptr i8, ptr %ak{p}.{pointer}, i64 {offset + u * a.per_step}",
                f"  %as{t} = load {step.word}, ptr %aq{t}, align {size}",
                f"  %ai{t} = insertelement {word_vector} poison, {step.word} %as{t}, i32 0",
                f"  %aw{t} = shufflevector {word_vector} %ai{t}, {word_vector} poison, <{lanes} x i32> zeroinitializer",
            ]
            word = f"%aw{t}"
            if word_vector != step.vector:
                o.append(f"  %av{t} = bitcast {word_vector} {word} to {step.vector}")
                word = f"%av{t}"
            for j in range(nv):
                names = {"r": f"%v{p}.{u + 1}.{i}.{j}", "c": f"%v{p}.{u}.{i}.{j}", "a": word, "b": f"%b{p}.{u}.{j}", "t": f"%t{t}.{j}"}
                o += [f"  {line.format(**names)}" for line in step.lines]
    o += [
        f"  %b{p}.after = getelementptr i8, ptr %b{p}.row, i64 {unroll * b_row}",
        f"  %b{p}.next = {opaque('ptr', f'%b{p}.after')}",
        f"  %k{p}.after = add i64 %k{p}.i, {unroll * a.per_step}",
        f"  %k{p}.next = {opaque('i64', f'%k{p}.after')}",
        f"  %k{p}.more = icmp ult i64 %k{p}.next, {a.end}",
        f"  br i1 %k{p}.more, label %k{p}, label %m{p}.end",
        f"m{p}.end:",
    ]
    for i in range(mr):
        o += [f"  store {acc} %v{p}.{unroll}.{i}.{j}, ptr %cq{p}.{i}.{j}, align {acc_bytes}" for j in range(nv)]
    o += [
        f"  %m{p}.after = add i64 %m{p}.i, {mr}",
        f"  %m{p}.next = {opaque('i64', f'%m{p}.after')}",
        f"  %m{p}.more = icmp ult i64 %m{p}.next, {last}",
        f"  br i1 %m{p}.more, label %m{p}, label %n{p}.end",
        f"n{p}.end:",
        f"  %n{p}.next = add i64 %n{p}.i, {nr}",
        f"  %n{p}.more = icmp ult i64 %n{p}.next, {n}",
        f"  br i1 %n{p}.more, label %n{p}, label %{after}",
    ]
    return o
