"""AMX micro-kernels: tile registers of 16 rows × 64 bytes, blocks of 2×2 accumulators.

Tiles 0–3 accumulate, 4–5 hold A (rows of m, 64 bytes along k), 6–7 hold B (rows of k groups, 16 columns of n)::

    ldtilecfg
    for m in M by 2 tiles: for n in N by 2 tiles:
        t0…t3 = C
        for k in K by one tile:  t4, t5 = A;  t6, t7 = B;  t0 += t4·t6;  t1 += t4·t7;  t2 += t5·t6;  t3 += t5·t7
        C = t0…t3
    tilerelease

Sizes under a full tile shrink the tiles by configuration, not by masks.  The configuration is per thread and set
at each call (some tens of cycles beside thousands); releasing it spares the kernel's context switches 8 KiB.
The process needs the system's permission first: `machine.current` asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .microkernel_rows import PREFETCH, SIGNATURE, prefetch_row

__all__ = ["Shape", "emit", "shape"]


@dataclass(frozen=True)
class Shape:
    """Tiles of ``rows`` (m) × ``columns`` (n), ``depth`` k groups; ``block_m`` × ``block_n`` of them at once."""

    rows: int
    columns: int
    depth: int
    block_m: int
    block_n: int

    def __post_init__(self) -> None:
        for value, most in ((self.rows, 16), (self.columns, 16), (self.depth, 16), (self.block_m, 2), (self.block_n, 2)):
            if not 1 <= value <= most:
                raise ValueError(f"AMX has no tile of {self}")


def shape(m: int, n: int, k: int, group: int) -> Shape:
    rows, columns = min(16, m), min(16, n)
    return Shape(rows, columns, min(16, k // group), min(2, m // rows), min(2, n // columns))


def _configuration(s: Shape) -> str:
    """The 64 bytes of ldtilecfg: palette 1; per tile, bytes of a row and rows."""
    a_bytes, wide = s.depth * 4, s.columns * 4
    tiles = [(wide, s.rows)] * 4 + [(a_bytes, s.rows)] * 2 + [(wide, s.depth)] * 2
    data = bytearray(64)
    data[0] = 1
    for number, (bytes_of_row, rows) in enumerate(tiles):
        data[16 + 2 * number : 18 + 2 * number] = bytes_of_row.to_bytes(2, "little")
        data[48 + number] = rows
    return "".join(f"\\{byte:02X}" for byte in data)


def emit(name: str, m: int, n: int, k: int, group: int, s: Shape, element: str, accumulator: str, instruction: str) -> str:
    """LLVM text; arguments of the function as in `microkernels`.  B is packed [k/group][n][group], C row-major."""
    size = 4 // group
    step_m, step_n, step_k = s.rows * s.block_m, s.columns * s.block_n, s.depth * group
    o = [
        "declare void @llvm.x86.ldtilecfg(ptr)",
        "declare void @llvm.x86.tilerelease()",
        "declare void @llvm.x86.tileloadd64(i8, ptr, i64)",
        "declare void @llvm.x86.tilestored64(i8, ptr, i64)",
        PREFETCH,
        f"declare void @llvm.x86.{instruction}(i8, i8, i8)",
        f'@{name}.tiles = internal constant [64 x i8] c"{_configuration(s)}", align 64',
        f"define internal void @{name}({SIGNATURE}) nounwind noinline {{",
        "entry:",
        f"  call void @llvm.x86.ldtilecfg(ptr @{name}.tiles)",
        f"  %a.bytes = mul i64 %a.m, {size}",
        f"  %ahead = mul i64 %a.ahead, {size}",
        "  %requests = icmp ne i64 %a.ahead, 0",
        "  br label %m",
        "m:",
        "  %m.i = phi i64 [ 0, %entry ], [ %m.next, %m.end ]",
        "  %a.next.row = mul i64 %m.i, %a.bytes",
        "  %a.next.at = add i64 %a.next.row, %ahead",
        "  %a.next = getelementptr i8, ptr %A, i64 %a.next.at",
        "  br i1 %requests, label %request, label %rows",
        "request:  ; the rows of A that come next",
        "  %request.i = phi i64 [ 0, %m ], [ %request.next, %request ]",
        "  %request.row = phi ptr [ %a.next, %m ], [ %request.row.next, %request ]",
        *prefetch_row("%request.row", k * size),
        "  %request.row.next = getelementptr i8, ptr %request.row, i64 %a.bytes",
        "  %request.next = add i64 %request.i, 1",
        f"  %request.more = icmp ult i64 %request.next, {step_m}",
        "  br i1 %request.more, label %request, label %rows",
        "rows:",
        "  br label %n",
        "n:",
        "  %n.i = phi i64 [ 0, %rows ], [ %n.next, %n.end ]",
    ]
    for i in range(s.block_m):
        o += [
            f"  %row.{i} = add i64 %m.i, {i * s.rows}",
            f"  %a.row.{i} = mul i64 %row.{i}, %a.bytes",
            f"  %a.{i} = getelementptr i8, ptr %A, i64 %a.row.{i}",
            f"  %c.row.{i} = mul i64 %row.{i}, {n * 4}",
            f"  %c.{i} = getelementptr i8, ptr %C, i64 %c.row.{i}",
        ]
        for j in range(s.block_n):
            o += [
                f"  %column.{i}.{j} = add i64 %n.i, {j * s.columns}",
                f"  %c.{i}.{j} = getelementptr {accumulator}, ptr %c.{i}, i64 %column.{i}.{j}",
                f"  call void @llvm.x86.tileloadd64(i8 {2 * i + j}, ptr %c.{i}.{j}, i64 {n * 4})",
            ]
    o += ["  %b.n = getelementptr i32, ptr %B, i64 %n.i", "  br label %k", "k:", "  %k.i = phi i64 [ 0, %n ], [ %k.next, %k ]"]
    for i in range(s.block_m):
        o.append(f"  %a.{i}.k = getelementptr {element}, ptr %a.{i}, i64 %k.i")
        o.append(f"  call void @llvm.x86.tileloadd64(i8 {4 + i}, ptr %a.{i}.k, i64 %a.bytes)")
    o.append(f"  %b.row = mul i64 %k.i, {n * size}")  # k groups · n lanes of four bytes
    o.append("  %b.k.0 = getelementptr i8, ptr %b.n, i64 %b.row")
    for j in range(s.block_n):
        o.append(f"  %b.tile.{j} = getelementptr i32, ptr %b.k.0, i64 {j * s.columns}")
        o.append(f"  call void @llvm.x86.tileloadd64(i8 {6 + j}, ptr %b.tile.{j}, i64 {n * 4})")
    for i in range(s.block_m):
        o += [f"  call void @llvm.x86.{instruction}(i8 {2 * i + j}, i8 {4 + i}, i8 {6 + j})" for j in range(s.block_n)]
    o += [
        f"  %k.next = add i64 %k.i, {step_k}",
        f"  %k.more = icmp ult i64 %k.next, {k}",
        "  br i1 %k.more, label %k, label %n.end",
        "n.end:",
    ]
    for i in range(s.block_m):
        for j in range(s.block_n):
            o.append(f"  call void @llvm.x86.tilestored64(i8 {2 * i + j}, ptr %c.{i}.{j}, i64 {n * 4})")
    o += [
        f"  %n.next = add i64 %n.i, {step_n}",
        f"  %n.more = icmp ult i64 %n.next, {n}",
        "  br i1 %n.more, label %n, label %m.end",
        "m.end:",
        f"  %m.next = add i64 %m.i, {step_m}",
        f"  %m.more = icmp ult i64 %m.next, {m}",
        "  br i1 %m.more, label %m, label %done",
        "done:",
        "  call void @llvm.x86.tilerelease()",
        "  ret void",
        "}",
        "",
    ]
    return "\n".join(o)
