"""The CPU compiler: one line per step from tile IR to machine code."""

from __future__ import annotations

from typing import Any

from ...errors import UnsupportedError
from ...ir import Func, Module, print_module
from ...ir.parser import parse_module
from ...ir.types import BF16
from ...llvm import engine
from ...passes.canonicalize import canonicalize
from ...passes.cse import cse
from ...passes.dce import dce
from ...passes.expand_casts import expand_casts
from ...passes.expand_math import expand_math
from ...passes.fuse_dot import fuse_dot
from ...passes.nan_payload import shorten_scalars
from ...passes.pipeline import Pass, optimize, run_passes
from ...passes.unpack_map import unpack_map
from ...passes.widen_floats import widen_floats
from ...recursion import deep_recursion
from ..base import Artifact
from .arith import NATIVE_MATH
from .dot import legalize_dot
from .grid import ANY, assume_grid
from .machine import Machine
from .near import NATIVE_NEAR
from .program import Program
from .program_order import along_y, tells_order
from .shared_loop import Stage, shared_loop
from .split import Split, split_loop
from .text import llvm_type, round_to_bf16
from .turned import turn_dots

__all__ = ["compile_for_any_grid", "compile_module", "lower", "lower_for_any_grid", "machine_passes", "native_casts", "to_machine"]


def native_casts(machine: Machine) -> frozenset[str]:
    """Which float conversions the machine (or `arith`) does without integer arithmetic, and what else `expand_casts` asks for."""
    names = {"fpcast.bf16.f32", "fpcast.bf16.f64"}
    if machine.architecture in ("x86_64", "aarch64"):
        names.add("short_nans")
    if machine.architecture == "x86_64" and machine.vector_bits == 512:  # registers for masks: three instructions instead of four
        names.add("cheap_select")
    if machine.f16c:
        names |= {"fpcast.f16.f32", "fpcast.f32.f16", "fpcast.f16.f64"}
    if machine.bf16_convert:
        names |= {"fpcast.f32.bf16"}
    return frozenset(names)


def machine_passes(machine: Machine) -> list[Pass]:
    """What turns shared tile IR into operations that `Program` has instructions for."""
    return [
        _named("legalize_dot", lambda m: legalize_dot(m, machine)),  # before expand_casts, which does its casts
        unpack_map,  # lanes of a map become tiles of their own
        fuse_dot,  # acc + dot(a, b, 0): before widening turns the additions into other shapes
        _named("turn_dots", lambda m: turn_dots(m, machine)),  # after fuse_dot, which says what accumulates
        widen_floats,  # before expand_math, which expands f32 and f64 only
        _named("expand_math", lambda m: expand_math(m, NATIVE_MATH | NATIVE_NEAR)),
        *([shorten_scalars] if "short_nans" in native_casts(machine) else []),  # before expand_casts, which asks for NaNs
        _named("expand_casts", lambda m: expand_casts(m, native_casts(machine))),  # after widening made its casts
    ]


def to_machine(module: Module, machine: Machine, changed: bool) -> None:
    """Runs `machine_passes`; and where one of them, or what came after the shared passes (``changed``), left something to tidy up, does."""
    if run_passes(module, machine_passes(machine)) or changed:
        run_passes(module, [canonicalize, cse, dce])  # expansions repeat constants and sub-terms


def lower(module: Module, options: Any, machine: Machine, pool: bool = True) -> tuple[str, str, dict[str, Any]]:
    """(final tile IR, LLVM IR, metadata that came up on the way) of ``module``, which is rewritten in place.

    ``pool``: whether a thread pool runs it, so that a lone program's loop may be split (`split`).
    """
    optimize(module)
    tile_text = print_module(module)
    programs = assume_grid(module)
    fusion = bool(getattr(options, "enable_fp_fusion", True))
    text, found = lower_further(module, fusion, machine, pool, changed=programs != ANY)
    found["fp_fusion"] = fusion  # for those that lower the tile IR again
    if programs != ANY:
        found["programs"] = list(programs)
    return tile_text, text, found


def lower_further(module: Module, fusion: bool, machine: Machine, pool: bool, changed: bool = False) -> tuple[str, dict[str, Any]]:
    """(LLVM IR, metadata that came up on the way) of a module after the shared passes (``changed`` since), which is rewritten in place."""
    to_machine(module, machine, changed)
    split = split_loop(module.kernel) if pool else None
    program = Program(module.kernel, machine, fusion)
    body = program.emit()
    columns = along_y(module.kernel)
    declared, scratch, split_text = dict(program.w.declared), program.scratch, ""
    if split is not None:
        split_text, split_scratch = _split_text(split, len(module.kernel.args), fusion, machine, declared)
        scratch = max(scratch, split_scratch)
    text = "\n".join(
        [
            "@anytile_dummy = private unnamed_addr constant [64 x i8] zeroinitializer, align 64",
            *sorted(declared.values()),
            body,
            split_text,
            _entry(module.kernel, program, splits=split is not None, columns=columns),
            *_ATTRIBUTES,
        ]
    )
    found = {"scratch": scratch, "in_launch": bool(program.launch.bytes), **program.hostcalls.metadata()}
    facts = {"split": split is not None, "columns": columns, "ordered": tells_order(module.kernel)}
    return text + "\n", found | {name: True for name, holds in facts.items() if holds}


def _split_text(split: Split, slots: int, fusion: bool, machine: Machine, declared: dict[str, str]) -> tuple[str, int]:
    """(functions that run a split loop, bytes of scratch); what they declare is added to ``declared``."""
    texts, stages = [], []
    for func in (split.check, split.part, split.finish):
        program = Program(func, machine, fusion, f"{func.name}_program", "#1" if func is split.check else "#0")
        texts += [program.emit(), _entry(func, program, name=f"{func.name}_kernel")]
        declared |= program.w.declared
        stages.append(Stage(f"{func.name}_kernel", program.scratch))
    text, scratch = shared_loop(split, slots, *stages)
    return "\n".join([*texts, text]), scratch


def compile_module(module: Module, options: Any, machine: Machine, pool: bool = True) -> Artifact:
    """Artifact of ``module``: stages ``tile``, ``llir``, ``asm`` (made when asked for) and ``obj``; ``pool`` as for `lower`."""
    kernel = module.kernel
    slots = [str(a.type) for a in kernel.args]
    stores = _stored_parameters(kernel)
    with deep_recursion():
        tile_text, llir, found = lower(module, options, machine, pool)
    data = engine.compile_object(llir, machine.tune, machine.features, level="lite")
    metadata = {"name": kernel.name, "slots": slots, "stores": stores, "machine": machine.name, **found}
    return Artifact({"tile": tile_text, "llir": llir, "obj": data}, metadata)


def compile_for_any_grid(artifact: Artifact, machine: Machine) -> Artifact:
    """The same kernel without what ``artifact`` takes for granted of its grids (`grid`).

    It has no split loop: a lone program is never too many for ``artifact``.
    """
    again = lower_for_any_grid(artifact, machine)
    data = engine.compile_object(str(again.stages["llir"]), machine.tune, machine.features, level="lite")
    return Artifact({**again.stages, "obj": data}, again.metadata)


def lower_for_any_grid(artifact: Artifact, machine: Machine) -> Artifact:
    """`compile_for_any_grid` without machine code, for those who add to the text (`ahead`)."""
    old = artifact.metadata
    module = parse_module(str(artifact.stages["tile"]))
    with deep_recursion():
        llir, found = lower_further(module, old["fp_fusion"], machine, pool=False)
    metadata = {key: old[key] for key in ("name", "slots", "stores", "machine")} | found
    return Artifact({"tile": artifact.stages["tile"], "llir": llir}, metadata)


# `#1`: what passes on and decides, where better code would not be seen but in the time that LLVM takes to make it.
_ATTRIBUTES = ("attributes #0 = { nounwind }", "attributes #1 = { nounwind noinline optnone }")

_SIGNATURE = "ptr noalias %args, ptr noalias %scratch, i64 %begin, i64 %end, i32 %gx, i32 %gy, i32 %gz"
_FORGETFUL = f"""
define void @kernel({_SIGNATURE}) #1 {{
  store i64 0, ptr %scratch, align 8
  call void @kernel_in_launch({_SIGNATURE.replace("noalias ", "")})
  ret void
}}"""

_LONE = [
    "  %gxy = or i32 %gx, %gy",
    "  %gxyz = or i32 %gxy, %gz",
    "  %lone = icmp eq i32 %gxyz, 1",
    "  br i1 %lone, label %split, label %kernel",
    "split:",
    "  %split.over = call i1 @run_split(ptr %args, ptr %scratch)",
    "  br i1 %split.over, label %out, label %kernel",
    "kernel:",
]


def _entry(kernel: Func, program: Program, splits: bool = False, name: str = "kernel", columns: bool = False) -> str:
    """``@name`` of the ABI in docs/architecture.md: unpacks the slots, then runs its range of programs, each by ``program``'s function.

    Where programs keep something for each other (`launch_memory`), that is ``@kernel_in_launch``, which goes on with what earlier
    ranges of the same launch have left in ``scratch``; ``@kernel`` takes each range for a launch of its own.  Where a lone program's loop
    can be split, ``@run_split`` (`shared_loop`) is asked first.  ``columns``: programs are counted along y first (`program_order`).
    """
    inner, outer = "yx" if columns else "xy"
    keeps, combines = bool(program.launch.bytes), bool(program.combining.ops)
    loads, args = [], ["ptr %scratch"]
    for i, a in enumerate(kernel.args):
        e = a.type.elem
        t = llvm_type(e)
        loads.append(f"  %s{i} = getelementptr i8, ptr %args, i64 {8 * i}")
        if e.is_float and e.bits < 16:
            raise UnsupportedError(f"a scalar kernel argument of type {e}", "the CPU target", "pass it as fp32")
        if e.is_int and e.bits == 1:
            loads += [f"  %b{i} = load i8, ptr %s{i}, align 8", f"  %v{i} = icmp ne i8 %b{i}, 0"]
        elif e.is_float and e.bits == 16:  # passed as f32
            loads.append(f"  %f{i} = load float, ptr %s{i}, align 8")
            loads.append(round_to_bf16(f"%v{i}", f"%f{i}") if e is BF16 else f"  %v{i} = fptrunc float %f{i} to {t}")
        else:
            loads.append(f"  %v{i} = load {t}, ptr %s{i}, align 8")
        args.append(f"{t} %v{i}")
    args += ["i32 %x", "i32 %gx", "i32 %y", "i32 %gy", "i32 %z", "i32 %gz"]
    return "\n".join(
        [
            f"define {'internal ' if name != 'kernel' else ''}void @{name + '_in_launch' * keeps}({_SIGNATURE}) #1 {{",
            "entry:",
            *(["  call void @forget(ptr %scratch)"] if keeps else []),
            *(_LONE if splits else []),
            *loads,
            "  %any = icmp ult i64 %begin, %end",
            "  br i1 %any, label %where, label %out",
            "where:",
            "  %beginning = icmp eq i64 %begin, 0",
            "  br i1 %beginning, label %loop, label %middle",
            "middle:",
            f"  %wa = zext i32 %g{inner} to i64",
            f"  %wb = zext i32 %g{outer} to i64",
            "  %bbz = udiv i64 %begin, %wa",
            "  %bz = udiv i64 %bbz, %wb",
            "  %as = mul i64 %bbz, %wa",
            "  %bs = mul i64 %bz, %wb",
            "  %ba = sub i64 %begin, %as",
            "  %bb = sub i64 %bbz, %bs",
            f"  %{inner}0 = trunc i64 %ba to i32",
            f"  %{outer}0 = trunc i64 %bb to i32",
            "  %z0 = trunc i64 %bz to i32",
            "  br label %loop",
            "loop:",
            "  %i = phi i64 [ 0, %where ], [ %begin, %middle ], [ %i1, %loop ]",
            *(
                f"  %{v} = phi i32 [ 0, %where ], [ %{v}0, %middle ], [ %{new}, %loop ]"
                for v, new in ((inner, f"{inner}2"), (outer, f"{outer}2"), ("z", "z1"))
            ),
            f"  call void @{program.name}({', '.join(args)})",
            f"  %{inner}1 = add i32 %{inner}, 1",
            f"  %{inner}o = icmp eq i32 %{inner}1, %g{inner}",
            f"  %{inner}2 = select i1 %{inner}o, i32 0, i32 %{inner}1",
            f"  %{outer}c = zext i1 %{inner}o to i32",
            f"  %{outer}1 = add i32 %{outer}, %{outer}c",
            f"  %{outer}o = icmp eq i32 %{outer}1, %g{outer}",
            f"  %{outer}2 = select i1 %{outer}o, i32 0, i32 %{outer}1",
            f"  %zc = zext i1 %{outer}o to i32",
            "  %z1 = add i32 %z, %zc",
            "  %i1 = add i64 %i, 1",
            "  %more = icmp ult i64 %i1, %end",
            "  br i1 %more, label %loop, label %out",
            "out:",
            *(["  call void @hand_over_all(ptr %scratch)"] if combines else []),
            *(["  call void @llvm.x86.sse.sfence()"] if program.waits else []),
            "  ret void",
            "}" + (_FORGETFUL if keeps else ""),
        ]
    )


def _named(name: str, run):
    run.__name__ = name
    return run


def _stored_parameters(kernel: Func) -> list[int]:
    """Indices of the pointer parameters that the kernel may write through."""
    from ...ir import Effect

    written: set[int] = set()
    for op in kernel.walk():
        if op.defn.effects & Effect.WRITE and op.operands:
            written |= _roots_of(op.operands[0], kernel)
    return sorted(written)


def _roots_of(v, kernel: Func) -> set[int]:
    """The parameters that pointer ``v`` may be derived from."""
    out, seen, stack = set(), set(), [v]
    while stack:
        x = stack.pop()
        if x in seen:
            continue
        seen.add(x)
        if x.owner is kernel.body:
            out.add(x.index)
            continue
        if x.op is None:  # carried by a loop: whatever comes in
            parent = x.owner.parent
            stack += [y for y in parent.operands if y.type.elem.is_ptr]
            stack += [y for b in parent.blocks for y in b.terminator.operands if y.type.elem.is_ptr]
        elif x.op.blocks:
            stack += [y for b in x.op.blocks for y in b.terminator.operands if y is not None and y.type.elem.is_ptr]
            stack += [y for y in x.op.operands if y is not None and y.type.elem.is_ptr]
        elif x.op.name != "load":
            stack += [y for y in x.op.operands if y is not None and y.type.elem.is_ptr]
    return out
