"""Micro-kernels of `dot`: LLVM text for C[M×N] += A[M×K] · B[K×N] with all sizes known.

`select` takes the first kind in the machine's order of preference that accepts the element types and sizes.
Every kernel has one signature::

    void @name(ptr A, i64 a_stride, i64 a_ahead, ptr B, ptr C)

B lies packed as `packed_b` says, C row-major in the accumulator type.  A lies as `packed_a` says, or, where ``direct_a``
holds, where the user has it: in exactly the stored element type, each row contiguous along k, ``a_stride`` elements from row
to row.  ``a_ahead``: elements from this A to the one of the next call, whose lines are requested meanwhile (0: none).

| kind     | machines          | A, B stored       | accumulates | A            | B                     |
|----------|-------------------|-------------------|-------------|--------------|-----------------------|
| amx_*    | AMX               | bf16, f16, i8     | f32, i32    | rows         | [k/2][n][2], [k/4][n][4] |
| vdpbf16  | AVX512-BF16       | bf16              | f32         | rows         | [k/2][n][2]           |
| vnni     | AVX512-VNNI       | i16 (from i8)     | i32         | rows         | [k/2][n][2]           |
| bfmmla   | Armv8.6           | bf16              | f32         | [m/2][k/4][2][4] | [n/2][k/4][2][4]  |
| smmla    | Armv8.6           | i8                | i32         | [m/2][k/8][2][8] | [n/2][k/8][2][8]  |
| sdot     | Armv8.2           | i8                | i32         | rows         | [k/4][n][4]           |
| fma      | all with FMA      | f32, f64          | the same    | rows         | rows                  |
| generic  | all               | f32, f64, i32, i64 | the same   | rows         | rows                  |

`fma` and `generic` take every narrower element type: it is widened to the accumulator's when packed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ...errors import UnsupportedError
from . import microkernel_mmla, microkernel_rows, microkernel_tiles
from .machine import Machine
from .microkernel_layout import PackedLayout, Term, blocked

__all__ = ["Microkernel", "PackedLayout", "Term", "select"]


@dataclass(frozen=True)
class Microkernel:
    """A kernel for one size on one machine.  Made by `select`.

    ``accumulator``: LLVM type of C.  ``direct_a``: whether A may lie where the user has it; ``columns_a``: whether by columns.
    ``tile``: the register tile, rows×columns, for reports.  Narrow integers are widened with sign when packed.
    """

    kind: str
    m: int
    n: int
    k: int
    accumulator: str
    packed_a: PackedLayout
    packed_b: PackedLayout
    direct_a: bool
    tile: str
    _text: Callable[[str], str]
    _text_by_columns: Callable[[str], str] | None = None

    @property
    def columns_a(self) -> bool:
        return self._text_by_columns is not None

    @property
    def packed_stride(self) -> int:
        """``a_stride`` to pass where A is packed; 0 where the kernel knows."""
        return self.k if self.direct_a else 0

    def emit(self, name: str, columns: bool = False) -> str:
        """LLVM text: declarations and ``define internal void @name(…)``; with ``columns``, for A by columns (if ``columns_a``).

        Declarations repeat where several kernels share a module: keep one of each line.
        """
        text = self._text_by_columns if columns else self._text
        assert text is not None
        return text(name)


def select(machine: Machine, a_elem: str, b_elem: str, acc_elem: str, m: int, n: int, k: int) -> Microkernel:
    """The best micro-kernel for these LLVM element types (``float``, ``bfloat``, ``i8`` …) and sizes (powers of two).

    Raises `UnsupportedError` where no kind accumulates in ``acc_elem``.
    """
    for size in (m, n, k):
        if size < 1 or size & (size - 1):
            raise ValueError(f"micro-kernel sizes are powers of two, not {m}×{n}×{k}")
    for kind in machine.kernels:
        if (found := _KINDS[kind](machine, kind, a_elem, b_elem, acc_elem, m, n, k)) is not None:
            return found
    raise UnsupportedError(f"dot of {a_elem} and {b_elem} into {acc_elem}", f"machine {machine.name}")


def _rows_layout(element: str, m: int, k: int) -> PackedLayout:
    return blocked(element, ("m", 1, m), ("k", 1, k))


def _grouped_layout(element: str, k: int, n: int, group: int) -> PackedLayout:
    """B as [k/group][n][group]."""
    return blocked(element, ("k", group, k // group), ("n", 1, n), ("k", 1, group))


# --- broadcast and multiply-add: every machine, every type -------------------------------------------------------

_FLOATS, _INTEGERS = ("float", "double"), ("i32", "i64")


def _broadcast(machine: Machine, kind: str, a: str, b: str, acc: str, m: int, n: int, k: int) -> Microkernel | None:
    if acc not in _FLOATS + _INTEGERS or (kind == "fma" and acc not in _FLOATS):
        return None
    lanes = min(n, machine.lanes_of(64 if acc in ("double", "i64") else 32))
    vector = f"<{lanes} x {acc}>"
    if acc in _INTEGERS:
        lines: tuple[str, ...] = (f"{{t}} = mul {vector} {{a}}, {{b}}", f"{{r}} = add {vector} {{c}}, {{t}}")
        declarations: tuple[str, ...] = ()
    elif kind == "fma":
        intrinsic = f"@llvm.fma.v{lanes}f{64 if acc == 'double' else 32}"
        lines = (f"{{r}} = call {vector} {intrinsic}({vector} {{a}}, {vector} {{b}}, {vector} {{c}})",)
        declarations = (f"declare {vector} {intrinsic}({vector}, {vector}, {vector})",)
    else:
        lines = (f"{{t}} = fmul {vector} {{a}}, {{b}}", f"{{r}} = fadd {vector} {{c}}, {{t}}")
        declarations = ()
    step = microkernel_rows.Step(acc, acc, lanes, 1, acc, vector, lines, declarations)
    tile = microkernel_rows.choose_tile(m, n, k, lanes, machine.vector_registers)
    if acc == "i64":  # a 64-bit multiply is many instructions on most machines: unrolling would only cost compile time
        tile = replace(tile, unroll=1)
    return Microkernel(
        kind,
        m,
        n,
        k,
        acc,
        _rows_layout(acc, m, k),
        blocked(acc, ("k", 1, k), ("n", 1, n)),
        True,
        f"{tile.mr}x{tile.nv * lanes}",
        lambda name: microkernel_rows.emit(name, m, n, k, step, tile),
        lambda name: microkernel_rows.emit(name, m, n, k, step, tile, columns=True),
    )


# --- dot products of groups along k --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Grouped:
    """A row instruction: ``stored`` element, ``group`` of them in a 32-bit lane, from operands of type ``accepts``.

    ``vector_elements``: LLVM type in which the instruction takes them, by lanes; ``bits``: width of the instruction.
    """

    accepts: tuple[str, ...]
    stored: str
    group: int
    accumulator: str
    bits: int
    instruction_element: str
    lines: tuple[str, ...]
    declarations: tuple[str, ...]


def _call(name: str, acc: str, operand: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(lines, declarations) of an instruction c + a·b that is one intrinsic."""
    return (
        (f"{{r}} = call {acc} @{name}({acc} {{c}}, {operand} {{a}}, {operand} {{b}})",),
        (f"declare {acc} @{name}({acc}, {operand}, {operand})",),
    )


_GROUPED = {
    "vdpbf16": _Grouped(
        ("bfloat",),
        "bfloat",
        2,
        "float",
        512,
        "bfloat",
        *_call("llvm.x86.avx512bf16.dpbf16ps.512", "<16 x float>", "<32 x bfloat>"),
    ),
    "vnni": _Grouped(
        ("i8",),
        "i16",
        2,
        "i32",
        512,
        "i16",
        *_call("llvm.x86.avx512.vpdpwssd.512", "<16 x i32>", "<32 x i16>"),
    ),
    "sdot": _Grouped(
        ("i8",),
        "i8",
        4,
        "i32",
        128,
        "i8",
        *_call("llvm.aarch64.neon.sdot.v4i32.v16i8", "<4 x i32>", "<16 x i8>"),
    ),
}


def _grouped(machine: Machine, kind: str, a: str, b: str, acc: str, m: int, n: int, k: int) -> Microkernel | None:
    row = _GROUPED[kind]
    lanes = row.bits // 32
    if a not in row.accepts or b not in row.accepts or acc != row.accumulator or n < lanes or k < row.group:
        return None
    vector = f"<{lanes * row.group} x {row.instruction_element}>"
    step = microkernel_rows.Step(row.stored, acc, lanes, row.group, "i32", vector, row.lines, row.declarations)
    tile = microkernel_rows.choose_tile(m, n, k // row.group, lanes, machine.vector_registers)
    return Microkernel(
        kind,
        m,
        n,
        k,
        acc,
        _rows_layout(row.stored, m, k),
        _grouped_layout(row.stored, k, n, row.group),
        True,
        f"{tile.mr}x{tile.nv * lanes}",
        lambda name: microkernel_rows.emit(name, m, n, k, step, tile),
    )


# --- matrix units ----------------------------------------------------------------------------------------------------

# kind → (element, group of k in 32 bits, accumulator, instruction)
_AMX = {
    "amx_bf16": ("bfloat", 2, "float", "tdpbf16ps"),
    "amx_fp16": ("half", 2, "float", "tdpfp16ps"),
    "amx_int8": ("i8", 4, "i32", "tdpbssd"),
}


def _amx(machine: Machine, kind: str, a: str, b: str, acc: str, m: int, n: int, k: int) -> Microkernel | None:
    element, group, accumulator, instruction = _AMX[kind]
    if (a, b, acc) != (element, element, accumulator) or k < group:
        return None
    shape = microkernel_tiles.shape(m, n, k, group)
    return Microkernel(
        kind,
        m,
        n,
        k,
        acc,
        _rows_layout(element, m, k),
        _grouped_layout(element, k, n, group),
        True,
        f"{shape.block_m * shape.rows}x{shape.block_n * shape.columns}",
        lambda name: microkernel_tiles.emit(name, m, n, k, group, shape, element, accumulator, instruction),
    )


# kind → (element, k of one instruction, accumulator, intrinsic)
_MMLA = {
    "bfmmla": ("bfloat", 4, "float", "llvm.aarch64.neon.bfmmla"),
    "smmla": ("i8", 8, "i32", "llvm.aarch64.neon.smmla.v4i32.v16i8"),
}


def _mmla(machine: Machine, kind: str, a: str, b: str, acc: str, m: int, n: int, k: int) -> Microkernel | None:
    element, depth, accumulator, intrinsic = _MMLA[kind]
    if (a, b, acc) != (element, element, accumulator) or m < 2 or n < 4 or k < depth:
        return None
    return Microkernel(
        kind,
        m,
        n,
        k,
        acc,
        blocked(element, ("m", 2, m // 2), ("k", depth, k // depth), ("m", 1, 2), ("k", 1, depth)),
        blocked(element, ("n", 2, n // 2), ("k", depth, k // depth), ("n", 1, 2), ("k", 1, depth)),
        False,
        "x".join(map(str, microkernel_mmla.tile(m, n))),
        lambda name: microkernel_mmla.emit(name, m, n, k, depth, element, accumulator, intrinsic),
    )


_KINDS: dict[str, Callable[[Machine, str, str, str, str, int, int, int], Microkernel | None]] = {
    **dict.fromkeys(_AMX, _amx),
    **dict.fromkeys(_GROUPED, _grouped),
    **dict.fromkeys(_MMLA, _mmla),
    "fma": _broadcast,
    "generic": _broadcast,
}
