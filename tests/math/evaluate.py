"""Runs a straight-line elementwise formula over whole NumPy arrays.

The formula is recorded as scalar tile IR, turned row by row into LLVM text inside a loop over the array and
compiled by LLVM, which vectorises it.  So arithmetic is exactly that of the rows (fma included), and every
f32 there is can be tried in a minute.  This translation knows nothing of anytile's own targets, which makes
it an independent check of them as well.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence

import llvmlite.binding as llvm
import numpy as np

from anytile.ir import Builder, Func, Value
from anytile.ir.types import BF16, F16, F32, F64, Element, Float, scalar

_KEEP: list[object] = []  # execution engines own the machine code

_LLVM_BINARY = {n: n for n in "add sub mul and or xor sdiv udiv srem urem shl lshr ashr fadd fsub fmul fdiv frem".split()}
_MINMAX = {"smin": "slt", "smax": "sgt", "umin": "ult", "umax": "ugt"}
_CAST = {"sext": "sext", "zext": "zext", "trunci": "trunc", "sitofp": "sitofp", "uitofp": "uitofp", "fptosi": "fptosi", "fptoui": "fptoui"}
_INTRINSIC = "sqrt fabs floor ceil trunc rint round".split()


def text_of(e: Element) -> str:
    if isinstance(e, Float):
        return {F64: "double", F32: "float", F16: "half", BF16: "bfloat"}.get(e, "i8")
    return f"i{e.bits}"


def constant_text(value: float | int, e: Element) -> str:
    if not isinstance(e, Float):
        return str(value)
    if e not in (F32, F64):
        raise NotImplementedError(f"constant of {e}")
    if e is F32:
        value = struct.unpack("<f", struct.pack("<f", value))[0]
    return "0x" + struct.pack(">d", value).hex().upper()


class _Emitter:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[Value, str] = {}
        self.declared: set[str] = set()
        self.n = 0

    def fresh(self) -> str:
        self.n += 1
        return f"%v{self.n}"

    def emit(self, text: str) -> str:
        r = self.fresh()
        self.lines.append(f"  {r} = {text}")
        return r

    def intrinsic(self, name: str, t: str, args: Sequence[str]) -> str:
        suffix = {"float": "f32", "double": "f64", "half": "f16"}.get(t, t)
        full = f"llvm.{name}.{suffix}"
        self.declared.add(f"declare {t} @{full}({', '.join([t] * len(args))})")
        return self.emit(f"call {t} @{full}({', '.join(f'{t} {a}' for a in args)})")

    def op(self, op) -> str:
        n, e = op.name, op.results[0].type.elem
        x = [self.names[v] for v in op.operands]
        src = op.operands[0].type.elem if op.operands else None
        t = text_of(src) if src else ""
        if n == "constant":
            return constant_text(op.attrs["value"], e)
        if n in _LLVM_BINARY:
            return self.emit(f"{n} {t} {x[0]}, {x[1]}")
        if n in _MINMAX:
            return self.intrinsic(n, t, x)
        if n in ("fneg",):
            return self.emit(f"fneg {t} {x[0]}")
        if n == "fma":
            return self.intrinsic("fma", t, x)
        if n == "copysign":
            return self.intrinsic(n, t, x)
        if n in ("fmin", "fmax"):
            return self.intrinsic({"fmin": "minnum", "fmax": "maxnum"}[n], t, x)
        if n in _INTRINSIC:
            return self.intrinsic(n, t, x)
        if n in ("umulhi", "smulhi"):
            w, ext = f"i{2 * src.bits}", n[0] == "u" and "zext" or "sext"
            a, b = (self.emit(f"{ext} {t} {v} to {w}") for v in x)
            p = self.emit(f"mul {w} {a}, {b}")
            p = self.emit(f"lshr {w} {p}, {src.bits}")
            return self.emit(f"trunc {w} {p} to {t}")
        if n == "clz":
            self.declared.add(f"declare {t} @llvm.ctlz.{t}({t}, i1)")
            return self.emit(f"call {t} @llvm.ctlz.{t}({t} {x[0]}, i1 false)")
        if n == "popc":
            return self.intrinsic("ctpop", t, x)
        if n in ("icmp", "fcmp"):
            return self.emit(f"{n} {op.attrs['pred']} {t} {x[0]}, {x[1]}")
        if n == "select":
            u = text_of(e)
            return self.emit(f"select i1 {x[0]}, {u} {x[1]}, {u} {x[2]}")
        if n == "bitcast":
            return self.emit(f"bitcast {t} {x[0]} to {text_of(e)}")
        if n == "fpcast":
            assert op.attrs["rounding"] == "rtne" and src.bits >= 32 and e.bits >= 32, f"fpcast {src} to {e} is not for LLVM here"
            return self.emit(f"{'fpext' if src.bits < e.bits else 'fptrunc'} {t} {x[0]} to {text_of(e)}")
        if n in _CAST:
            return self.emit(f"{_CAST[n]} {t} {x[0]} to {text_of(e)}")
        raise NotImplementedError(f"the evaluator has no translation of {n}")


def record(formula: Callable[..., Value], sources: Sequence[Element]) -> tuple[Func, Value]:
    """The function whose arguments are scalars of ``sources`` and the value ``formula(b, *args)`` in it."""
    f = Func("f", tuple(scalar(e) for e in sources), tuple(f"x{i}" for i in range(len(sources))))
    return f, formula(Builder(f.body), *f.args)


def compile_formula(f: Func, result: Value, optimize: bool = True) -> Callable[..., np.ndarray]:
    """A function from arrays of the argument types' bits to an array of the result's bits."""
    em = _Emitter()
    loads = []
    for i, a in enumerate(f.args):
        t = text_of(a.type.elem)
        loads += [f"  %p{i} = getelementptr {t}, ptr %a{i}, i64 %i", f"  %x{i} = load {t}, ptr %p{i}"]
        em.names[a] = f"%x{i}"
    for op in f.body.ops:
        em.names[op.results[0]] = em.op(op)
    rt = text_of(result.type.elem)
    cast = ""
    value = em.names[result]
    if rt == "i1":
        cast, rt = f"  %as8 = zext i1 {value} to i8\n", "i8"
        value = "%as8"
    params = ", ".join([*(f"ptr noalias %a{i}" for i in range(len(f.args))), "ptr noalias %out", "i64 %n"])
    body = "\n".join([*loads, *em.lines])
    text = f"""
define void @run({params}) {{
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%j, %loop]
{body}
{cast}  %po = getelementptr {rt}, ptr %out, i64 %i
  store {rt} {value}, ptr %po
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}}
""" + "\n".join(sorted(em.declared))
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    mod = llvm.parse_assembly(text)
    tm = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
    )
    if optimize:
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        options.loop_vectorization = True
        llvm.create_pass_builder(tm, options).getModulePassManager().run(mod, llvm.create_pass_builder(tm, options))
    engine = llvm.create_mcjit_compiler(mod, tm)
    engine.finalize_object()
    _KEEP.append(engine)
    fn = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (len(f.args) + 1), ctypes.c_int64)(engine.get_function_address("run"))
    out_dtype = {"float": np.float32, "double": np.float64, "i8": np.uint8, "i16": np.uint16, "half": np.float16, "bfloat": np.uint16}.get(
        rt, np.dtype(f"u{rt[1:]}".replace("u", "uint")) if rt[0] == "i" else None
    )

    def call(*arrays: np.ndarray) -> np.ndarray:
        arrays = tuple(np.ascontiguousarray(a) for a in arrays)
        out = np.empty(arrays[0].shape, out_dtype)
        if out.size:
            fn(*(a.ctypes.data for a in arrays), out.ctypes.data, out.size)
        return out

    return call


def evaluator(formula: Callable[..., Value], *sources: Element) -> Callable[..., np.ndarray]:
    """Shorthand: record, then compile."""
    return compile_formula(*record(formula, sources))


def ulp_error(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """|got − exact| in units of the last place of ``exact`` rounded to got's format.

    ``exact`` has a wider format (float64 for float32, longdouble for float64).  Equal infinities and two NaNs
    differ by 0, a finite value and an infinity or NaN by ∞; results that overflow count as the infinity.
    """
    near = exact.astype(got.dtype)
    info = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        unit = np.maximum(np.abs(np.spacing(np.where(np.isfinite(near), near, 1))), info.smallest_subnormal).astype(exact.dtype)
        err = np.abs(got.astype(exact.dtype) - exact) / unit
    err = np.where(np.isnan(near) & np.isnan(got), 0, err)
    err = np.where(np.isinf(near) & (near == got), 0, err)
    wrong = np.isnan(near) != np.isnan(got)
    wrong |= np.isinf(near) & np.isfinite(got) & (np.abs(got) < info.max)
    wrong |= np.isinf(got) & (near != got) & (np.abs(near) < info.max)
    return np.where(wrong, np.inf, err).astype(np.float64)
