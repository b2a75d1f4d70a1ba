"""Arm matrix-multiply-accumulate micro-kernels: `bfmmla` and `smmla`.

One instruction multiplies 2×d of A by d×2 of B (d = 4 bfloat or 8 i8) into a vector that holds a 2×2 block of C,
row by row.  So A is packed in pairs of rows, [m/2][k/d][2][d], B in pairs of columns, [n/2][k/d][2][d], and the
rows of C are zipped into blocks on the way in and unzipped on the way out::

    for m in M by mr: for n in N by nr:
        blocks = zip(C)
        for k in K by d:  blocks[i][j] += A[m/2+i, k] · B[n/2+j, k]
        C = unzip(blocks)
"""

from __future__ import annotations

from .microkernel_rows import SIGNATURE

__all__ = ["emit", "tile"]


def tile(m: int, n: int) -> tuple[int, int]:
    """(rows, columns) of the register tile: 8×8 is 16 of 32 registers, with 4 + 4 for the operands."""
    return min(8, m), min(8, n)


def emit(name: str, m: int, n: int, k: int, depth: int, element: str, accumulator: str, intrinsic: str) -> str:
    """LLVM text; arguments of the function as in `microkernels`, of which A's stride and distance are not read."""
    mr, nr = tile(m, n)
    pairs_m, pairs_n = mr // 2, nr // 2
    acc, operand = f"<4 x {accumulator}>", f"<{2 * depth} x {element}>"
    o = [
        f"declare {acc} @{intrinsic}({acc}, {operand}, {operand})",
        f"define internal void @{name}({SIGNATURE}) nounwind noinline {{",
        "entry:",
        "  br label %m",
        "m:",
        "  %m.i = phi i64 [ 0, %entry ], [ %m.next, %m.end ]",
        "  br label %n",
        "n:",
        "  %n.i = phi i64 [ 0, %m ], [ %n.next, %n.end ]",
    ]
    for i in range(mr):
        o += [
            f"  %row.{i} = add i64 %m.i, {i}",
            f"  %c.row.{i} = mul i64 %row.{i}, {n}",
            f"  %c.at.{i} = add i64 %c.row.{i}, %n.i",
            f"  %c.{i} = getelementptr {accumulator}, ptr %C, i64 %c.at.{i}",
        ]
        for q in range(nr // 4):
            o.append(f"  %c.{i}.{q}.p = getelementptr {acc}, ptr %c.{i}, i64 {q}")
            o.append(f"  %c.{i}.{q} = load {acc}, ptr %c.{i}.{q}.p, align 4")
    for i in range(pairs_m):
        for j in range(pairs_n):
            lanes = (0, 1, 4, 5) if j % 2 == 0 else (2, 3, 6, 7)
            upper, lower = f"{acc} %c.{2 * i}.{j // 2}", f"{acc} %c.{2 * i + 1}.{j // 2}"
            o.append(f"  %in.{i}.{j} = shufflevector {upper}, {lower}, {_mask(lanes)}")
    for letter, index, count in (("a", "m", pairs_m), ("b", "n", pairs_n)):
        o.append(f"  %{letter}.first = mul i64 %{index}.i, {k}")  # a pair of rows is 2·k elements
        o.append(f"  %{letter}.base = getelementptr {element}, ptr %{letter.upper()}, i64 %{letter}.first")
        o += [f"  %{letter}.p.{i} = getelementptr {element}, ptr %{letter}.base, i64 {2 * k * i}" for i in range(count)]
    o += ["  br label %k", "k:", "  %k.i = phi i64 [ 0, %n ], [ %k.next, %k ]"]
    blocks = [(i, j) for i in range(pairs_m) for j in range(pairs_n)]
    o += [f"  %v.{i}.{j} = phi {acc} [ %in.{i}.{j}, %n ], [ %w.{i}.{j}, %k ]" for i, j in blocks]
    o.append("  %k.at = mul i64 %k.i, 2")
    for letter, count in (("a", pairs_m), ("b", pairs_n)):
        for i in range(count):
            o.append(f"  %{letter}.q.{i} = getelementptr {element}, ptr %{letter}.p.{i}, i64 %k.at")
            o.append(f"  %{letter}.{i} = load {operand}, ptr %{letter}.q.{i}, align 16")
    o += [f"  %w.{i}.{j} = call {acc} @{intrinsic}({acc} %v.{i}.{j}, {operand} %a.{i}, {operand} %b.{j})" for i, j in blocks]
    o += [
        f"  %k.next = add i64 %k.i, {depth}",
        f"  %k.more = icmp ult i64 %k.next, {k}",
        "  br i1 %k.more, label %k, label %n.end",
        "n.end:",
    ]
    for i in range(mr):
        for q in range(nr // 4):
            lanes = (0, 1, 4, 5) if i % 2 == 0 else (2, 3, 6, 7)
            left, right = f"{acc} %w.{i // 2}.{2 * q}", f"{acc} %w.{i // 2}.{2 * q + 1}"
            o.append(f"  %out.{i}.{q} = shufflevector {left}, {right}, {_mask(lanes)}")
            o.append(f"  store {acc} %out.{i}.{q}, ptr %c.{i}.{q}.p, align 4")
    o += [
        f"  %n.next = add i64 %n.i, {nr}",
        f"  %n.more = icmp ult i64 %n.next, {n}",
        "  br i1 %n.more, label %n, label %m.end",
        "m.end:",
        f"  %m.next = add i64 %m.i, {mr}",
        f"  %m.more = icmp ult i64 %m.next, {m}",
        "  br i1 %m.more, label %m, label %done",
        "done:",
        "  ret void",
        "}",
        "",
    ]
    return "\n".join(o)


def _mask(lanes: tuple[int, ...]) -> str:
    return f"<{len(lanes)} x i32> <{', '.join(f'i32 {lane}' for lane in lanes)}>"
