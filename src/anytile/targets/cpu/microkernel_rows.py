"""Micro-kernels that broadcast elements of A over rows of B: FMA, and dot products of small groups along k.

The register tile holds `mr` rows of `nv` vectors of C.  One step of k reads `nv` vectors of B and, for each row,
one group of A, copied to all lanes::

    for n in N by nr:                          # nr = nv · lanes
        for m in M by mr:                      # emitted once for full tiles, once for what remains of M
            c[mr][nv] = C
            for k in K by group · unroll:
                b[nv] = B[k, n …]              # a lane holds the group B[k … k+group−1, n]
                for i in mr: c[i] += broadcast(A[m+i, k … k+group−1]) · b
            C = c

A group is one element for FMA, two or four where the instruction sums products of neighbours in k
(`vdpbf16ps`, `vpdpwssd`, `vpmaddwd`, `sdot`): then A must be contiguous along k and B packed [k/group][n][group].
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SIGNATURE", "Step", "Tile", "choose_tile", "emit"]

SIGNATURE = "ptr noalias readonly %A, i64 %a.m, i64 %a.k, ptr noalias readonly %B, i64 %b.k, ptr noalias %C, i64 %c.m"
"""Parameters of every micro-kernel; `microkernels` says what they mean."""

_BYTES = {"float": 4, "double": 8, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "bfloat": 2, "half": 2}


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
    latency of the accumulation (four cycles).  A tile costs a pass over C beside.
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
    step = max(mr * nv / 2, (mr + nv) / 2 * 1.1, 4.0)
    return step * groups + mr * nv * 2 + 10


def emit(name: str, m: int, n: int, k: int, step: Step, tile: Tile, unit_k: bool) -> str:
    """LLVM text of ``void @name(A, a_stride_m, a_stride_k, B, b_stride_k, C, c_stride_m)``, strides in elements.

    ``unit_k``: A is contiguous along k, whatever ``a_stride_k`` says.  ``b_stride_k``: from one group of k to the next.
    """
    out = [*step.declarations]
    out.append(f"define internal void @{name}({SIGNATURE}) nounwind noinline {{")
    out.append("entry:")
    unit = unit_k or step.group > 1
    full, rest = divmod(m, tile.mr)
    bands = [(0, full * tile.mr, tile.mr)] + ([(full * tile.mr, m, rest)] if rest else [])
    out.append("  br label %band0")
    for number, (first, last, mr) in enumerate(bands):
        after = f"band{number + 1}" if number + 1 < len(bands) else "done"
        out.extend(_band(f"{number}", first, last, mr, n, k, step, tile, unit, after))
    out += ["done:", "  ret void", "}", ""]
    return "\n".join(out)


def _band(p: str, first: int, last: int, mr: int, n: int, k: int, step: Step, tile: Tile, unit: bool, after: str) -> list[str]:
    """The loops over tiles of ``mr`` rows, rows ``first`` … ``last`` − 1.  ``p`` makes names unique."""
    nr, nv, acc, lanes = tile.nv * step.lanes, tile.nv, step.acc_vector, step.lanes
    acc_bytes, group = _BYTES[step.accumulator], step.group
    unroll = tile.unroll
    o: list[str] = []
    o += [f"band{p}:", f"  br label %n{p}"]
    o += [f"n{p}:", f"  %n{p}.i = phi i64 [ 0, %band{p} ], [ %n{p}.next, %n{p}.end ]", f"  br label %m{p}"]
    o += [f"m{p}:", f"  %m{p}.i = phi i64 [ {first}, %n{p} ], [ %m{p}.next, %m{p}.end ]"]
    # row pointers of A and C, and the tile of C
    for i in range(mr):
        o += [
            f"  %row{p}.{i} = add i64 %m{p}.i, {i}",
            f"  %ao{p}.{i} = mul i64 %row{p}.{i}, %a.m",
            f"  %ap{p}.{i} = getelementptr {step.element}, ptr %A, i64 %ao{p}.{i}",
            f"  %co{p}.{i} = mul i64 %row{p}.{i}, %c.m",
            f"  %cn{p}.{i} = add i64 %co{p}.{i}, %n{p}.i",
            f"  %cp{p}.{i} = getelementptr {step.accumulator}, ptr %C, i64 %cn{p}.{i}",
        ]
        for j in range(nv):
            o.append(f"  %cq{p}.{i}.{j} = getelementptr {acc}, ptr %cp{p}.{i}, i64 {j}")
            o.append(f"  %c{p}.{i}.{j} = load {acc}, ptr %cq{p}.{i}.{j}, align {acc_bytes}")
    o += [f"  %bn{p} = mul i64 %n{p}.i, {group}", f"  %bp{p} = getelementptr {step.element}, ptr %B, i64 %bn{p}", f"  br label %k{p}"]
    o.append(f"k{p}:")
    o.append(f"  %k{p}.i = phi i64 [ 0, %m{p} ], [ %k{p}.next, %k{p} ]")
    o.append(f"  %b{p}.row = phi ptr [ %bp{p}, %m{p} ], [ %b{p}.{unroll}.row, %k{p} ]")
    for i in range(mr):
        o += [f"  %v{p}.0.{i}.{j} = phi {acc} [ %c{p}.{i}.{j}, %m{p} ], [ %v{p}.{unroll}.{i}.{j}, %k{p} ]" for j in range(nv)]
    word_vector = f"<{lanes} x {step.word}>"
    for u in range(unroll):
        row = f"%b{p}.row" if u == 0 else f"%b{p}.{u}.row"
        for j in range(nv):
            o.append(f"  %bq{p}.{u}.{j} = getelementptr {step.vector}, ptr {row}, i64 {j}")
            o.append(f"  %b{p}.{u}.{j} = load {step.vector}, ptr %bq{p}.{u}.{j}, align {_BYTES[step.element]}")
        o.append(f"  %k{p}.{u} = add i64 %k{p}.i, {u * group}")
        if not unit:
            o.append(f"  %ko{p}.{u} = mul i64 %k{p}.{u}, %a.k")
        offset = f"%k{p}.{u}" if unit else f"%ko{p}.{u}"
        for i in range(mr):
            t = f"{p}.{u}.{i}"
            o += [
                f"  %aq{t} = getelementptr {step.element}, ptr %ap{p}.{i}, i64 {offset}",
                f"  %as{t} = load {step.word}, ptr %aq{t}, align {_BYTES[step.element]}",
                f"  %ai{t} = insertelement {word_vector} poison, {step.word} %as{t}, i32 0",
                f"  %aw{t} = shufflevector {word_vector} %ai{t}, {word_vector} poison, <{lanes} x i32> zeroinitializer",
            ]
            a = f"%aw{t}"
            if word_vector != step.vector:
                o.append(f"  %av{t} = bitcast {word_vector} {a} to {step.vector}")
                a = f"%av{t}"
            for j in range(nv):
                names = {"r": f"%v{p}.{u + 1}.{i}.{j}", "c": f"%v{p}.{u}.{i}.{j}", "a": a, "b": f"%b{p}.{u}.{j}", "t": f"%t{t}.{j}"}
                o += [f"  {line.format(**names)}" for line in step.lines]
        o.append(f"  %b{p}.{u + 1}.row = getelementptr {step.element}, ptr {row}, i64 %b.k")
    o += [
        f"  %k{p}.next = add i64 %k{p}.i, {unroll * group}",
        f"  %k{p}.more = icmp ult i64 %k{p}.next, {k}",
        f"  br i1 %k{p}.more, label %k{p}, label %m{p}.end",
        f"m{p}.end:",
    ]
    for i in range(mr):
        o += [f"  store {acc} %v{p}.{unroll}.{i}.{j}, ptr %cq{p}.{i}.{j}, align {acc_bytes}" for j in range(nv)]
    o += [
        f"  %m{p}.next = add i64 %m{p}.i, {mr}",
        f"  %m{p}.more = icmp ult i64 %m{p}.next, {last}",
        f"  br i1 %m{p}.more, label %m{p}, label %n{p}.end",
        f"n{p}.end:",
        f"  %n{p}.next = add i64 %n{p}.i, {nr}",
        f"  %n{p}.more = icmp ult i64 %n{p}.next, {n}",
        f"  br i1 %n{p}.more, label %n{p}, label %{after}",
    ]
    return o
