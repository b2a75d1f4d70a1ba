"""One-op kernels: every elementwise row of the op table with every element type that its check accepts.

`cases()` maps a name like ``fadd f16 f16`` to the function that builds the operation.  As a program, this file is
the process in which cases are compiled and run, so that a crash of the compiler or of its code takes nothing else
along: it reads names from standard input, writes ``begin NAME`` before each and ``ok NAME`` or ``bad NAME: why``
after it.  The argument is a triple to compile for, or ``run``, which also compares with the reference target.
"""

from __future__ import annotations

import functools
import struct
import sys
import types
from typing import Any

import numpy as np

from anytile.errors import IRError
from anytile.ir import TABLE, Block, Builder, Func, Module, Type, ptr, tile
from anytile.ir.types import BF16, BOOL, F8E4M3, F8E5M2, F16, F32, F64, I8, I16, I32, I64, Element, ptr_element
from anytile.targets import formats
from anytile.targets.base import struct_format

ELEMENTS = (BOOL, I8, I16, I32, I64, F8E4M3, F8E5M2, F16, BF16, F32, F64)
SIZE = 64  # several vectors on every machine
_FROM_ZERO = ("fptosi", "fptoui")  # unspecified out of range
_TOLERANCE = {F64: 1e-12, F32: 4e-6, F16: 2e-3, BF16: 1.6e-2, F8E4M3: 0.13, F8E5M2: 0.26}
EXACT = {"fadd", "fsub", "fmul", "fmin", "fmax", "fminimum", "fmaximum", "fneg", "fabs", "floor", "ceil", "trunc", "rint", "copysign"}


def _attributes(name: str) -> list[dict[str, Any]]:
    from anytile.ir.ops import CMP_FLOAT, CMP_INT

    if name in ("icmp", "fcmp"):
        return [{"pred": p} for p in (CMP_INT if name == "icmp" else CMP_FLOAT)]
    if name == "inttoptr":
        return [{"to": ptr_element(F32)}]
    if name == "ptrtoint":
        return [{"to": I64}]
    if "to" in TABLE[name].attrs:
        return [{"to": e} for e in ELEMENTS]
    return [{}]


def _operand_elements(name: str) -> list[tuple[Element, ...]]:
    n = len(TABLE[name].operands)
    if name == "select":
        return [(BOOL, e, e) for e in (*ELEMENTS, ptr_element(F32))]
    if name == "addptr":
        return [(ptr_element(e), i) for e in ELEMENTS for i in (I32, I64)]
    if name == "ptrtoint":
        return [(ptr_element(F32),)]
    if name == "inttoptr":
        return [(I64,)]
    if name in ("sdiv", "udiv", "srem", "urem", "shl", "lshr", "ashr"):
        return [(e, e) for e in ELEMENTS if e is not BOOL]  # of one bit, next to nothing is defined
    if name == "nextafter":
        return [(e, e) for e in (F32, F64)]  # the reference target has no others
    out = [(e,) * n for e in ELEMENTS]
    return out + ([(e, I32) for e in ELEMENTS if e.is_float] if n == 2 else [])


@functools.cache
def cases() -> dict[str, tuple[str, tuple[Element, ...], dict[str, Any]]]:
    """Name → (row, elements of the operands, attributes)."""
    out = {}
    for name, row in TABLE.items():
        if not row.elementwise:
            continue
        for elements in _operand_elements(name):
            for attrs in _attributes(name):
                block = Block(tuple(tile((SIZE,), e) for e in elements))
                try:
                    Builder(block).make(name, list(block.args), dict(attrs))
                except IRError:
                    continue  # the row does not take these types
                out[" ".join([name, *map(str, elements), *map(str, attrs.values())])] = (name, elements, attrs)
    return out


def build(case: str) -> tuple[Module, list[Type]]:
    """The kernel that loads the operands, applies the row and stores the result (addresses and pointers as i64)."""
    name, elements, attrs = cases()[case]
    stored = [I64 if e.is_ptr else e for e in elements]
    block = Block(tuple(tile((SIZE,), e) for e in elements))
    result = Builder(block).make(name, list(block.args), dict(attrs)).result.type.elem
    params = [ptr(e) for e in stored] + [ptr(I64 if result.is_ptr else result)]
    f = Func("kernel", tuple(params), tuple(f"a{i}" for i in range(len(params))))
    b = Builder(f.body)
    lanes = b.arange(start=0, end=SIZE)

    def at(p):
        return b.addptr(b.splat(p, shape=(SIZE,)), lanes)

    xs = [b.load(at(p)) for p in f.args[:-1]]
    xs = [b.inttoptr(x, to=e) if e.is_ptr else x for x, e in zip(xs, elements)]
    r = b.make(name, xs, dict(attrs)).result
    b.store(at(f.args[-1]), b.ptrtoint(r, to=I64) if result.is_ptr else r)
    b.return_()
    return Module([f], {"num_warps": 4}), params


def _inputs(name: str, elements: tuple[Element, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(sum(map(ord, name)))
    out = []
    for k, e in enumerate(elements):
        if e.is_float:
            x = rng.uniform(0 if name in _FROM_ZERO else -3, 3, SIZE).astype(np.float32)
            if name not in _FROM_ZERO:
                x[:4] = (0.0, 1.0, -1.0, np.inf)
            out.append(formats.encode(x.astype(np.float64) if e is F64 else x, e))
        elif e is BOOL:
            out.append(rng.integers(0, 2, SIZE).astype(bool))
        elif e.is_ptr:
            out.append(rng.integers(0, 1 << 40, SIZE))
        else:
            limit = 1 << (e.bits - 1)
            x = rng.integers(-limit, limit - 1, SIZE, dtype=np.int64)
            if k == 1 and name in ("sdiv", "udiv", "srem", "urem"):
                x = rng.integers(1, 100, SIZE)
            elif k == 1 and (name in ("shl", "lshr", "ashr") or elements[0].is_float):
                x = rng.integers(0, min(e.bits, 8), SIZE)
            out.append(x.astype(formats.storage(e)))
    return out


def _run(case: str) -> str:
    from anytile.targets.cpu import CpuTarget
    from anytile.targets.reference import ReferenceTarget

    name, elements, _ = cases()[case]
    outs = []
    for target in (CpuTarget(), ReferenceTarget()):
        module, params = build(case)
        result = params[-1].elem.pointee
        arrays = [*_inputs(name, elements), np.zeros(SIZE, formats.storage(result))]
        target.load(target.compile(module, types.SimpleNamespace(enable_fp_fusion=False))).run(
            struct.pack(struct_format(params), *(a.ctypes.data for a in arrays)), 1, 1, 1
        )
        outs.append(arrays[-1])
    got, want = outs
    if result.is_float:
        got, want = (formats.decode(x, result).astype(np.float64) for x in outs)
        tolerance = 0.0 if name in EXACT or name.endswith("tofp") or name == "fpcast" else _TOLERANCE[result]
        wrong = ~np.isclose(got, want, rtol=tolerance, atol=tolerance, equal_nan=True)
    else:
        wrong = got != want
    if not wrong.any():
        return ""
    i = int(np.argmax(wrong))
    return f"lane {i}: {got[i]} instead of {want[i]} from {[x[i] for x in _inputs(name, elements)]}"


def _compile(case: str, triple: str) -> str:
    from anytile.llvm import engine
    from anytile.targets.cpu import driver, machine

    row = machine.for_triple(triple)
    _, text, _ = driver.lower(build(case)[0], types.SimpleNamespace(enable_fp_fusion=False), row)
    return "" if engine.compile_object(text, row.tune, row.features, level="lite", triple=triple) else "no object"


def main(mode: str) -> None:
    np.seterr(all="ignore")
    for case in map(str.strip, sys.stdin):
        print("begin", case, flush=True)
        try:
            why = _run(case) if mode == "run" else _compile(case, mode)
        except Exception as e:
            why = f"{type(e).__name__}: {str(e)[:300]}".replace("\n", " | ")
        print(f"bad {case}: {why}" if why else f"ok {case}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
