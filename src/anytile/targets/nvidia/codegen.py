"""From tile IR to LLVM text for NVPTX: one line per step.

    shared passes → what this machine lacks is expanded → placements → text

The kernel is ``define ptx_kernel void @NAME(…)`` with one parameter for each of the tile function's (pointers in the
global address space, i1 as i8, floats below 32 bits as f32), for blocks of ``32 · num_warps`` threads.  Shared
memory is dynamic: the launch gives it ``metadata["shared"]`` bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from ...errors import UnsupportedError
from ...ir import Func, Module, Op, print_module
from ...ir.types import BOOL
from ...passes.axis_info import AxisInfo
from ...passes.canonicalize import canonicalize
from ...passes.cse import cse
from ...passes.dce import dce
from ...passes.expand_casts import expand_casts
from ...passes.expand_math import expand_math
from ...passes.fuse_dot import fuse_dot
from ...passes.pipeline import Pass, optimize, run_passes
from ...passes.short_integers import short_integers
from ...passes.unpack_map import unpack_map
from ...passes.widen_floats import widen_floats
from ...recursion import deep_recursion
from . import bulk_stores, copies, straight_copies
from .assignment import Assignment
from .bit_tests import bit_tests
from .chips import Chip
from .control import emit_block
from .dot_table import instruction
from .elementwise import NATIVE_MATH, native_casts
from .fixed_first import fixed_first
from .fixed_loads import fixed_loads
from .formulas import FORMULAS
from .legalize_dot import legalize_dot
from .occupancy import Work
from .shared_use import told
from .short_masks import short_masks
from .small_branches import small_branches
from .tensor_maps import MAP_BYTES, wanted
from .values import BARRIERS, SHARED, STAGING, Generator, Means, llvm_type

__all__ = ["lower", "machine_passes"]


def machine_passes(sm: int) -> list[Pass]:
    """What turns shared tile IR into operations that the generator has instructions for."""
    return [
        fixed_loads,  # before all that makes more operations of one
        unpack_map,  # lanes of a map become tiles of their own
        _named("fuse_dot", lambda m: fuse_dot(m, broadcast=False)),  # before widening turns the additions into other shapes
        _named("legalize_dot", lambda m: legalize_dot(m, sm)),  # before expand_casts, which does its casts
        short_integers,  # before widening, which takes what is not known to be short by way of f64
        widen_floats,  # before expand_math, which expands f32 and f64 only
        _named("expand_math", lambda m: expand_math(m, NATIVE_MATH, FORMULAS)),
        _named("expand_casts", lambda m: expand_casts(m, native_casts(sm))),  # after widening made its casts
        fixed_first,
        short_masks,
        small_branches,
        bit_tests,
        canonicalize,
        cse,  # expansions repeat constants and sub-terms
        dce,
    ]


_DISPENSABLE: tuple[tuple[Callable[[Generator], int], Callable[[Means], Means]], ...] = (
    # With three slots or more a ring that goes on is faster than one of a slot more that does not.
    (lambda g: g.rings_over_tiles, lambda means: replace(means, spare_over_tiles=1)),
    # A ring of one tile's leaves its memory to what is stored, which needs none of its own then.
    (lambda g: g.rings_over_tiles, lambda means: replace(means, over_tiles=False, staging_apart=False)),
    (lambda g: g.staging, lambda means: replace(means, staging_apart=False)),
    (lambda g: g.overlaps, lambda means: replace(means, overlap=False)),
    (lambda g: g.own_rings, lambda means: replace(means, own_ahead=False)),
    (lambda g: len(g.copied), lambda means: replace(means, straight_copies=False)),
    (lambda g: g.large_operands, lambda means: replace(means, large_in_shared=False)),
    (lambda g: g.table_rings, lambda means: replace(means, table_slots=False)),
    (lambda g: g.table_rings, lambda means: replace(means, tables=False)),
    (lambda g: g.lookups, lambda means: replace(means, lookups=False)),
)
"""What takes shared memory to save time or registers, which is no reason to refuse a kernel: whether one has it, and how it does without."""


def lower(module: Module, options: Any, chip: Chip) -> tuple[str, dict[str, Any]]:
    """(LLVM text, metadata) of ``module``, which is rewritten in place.

    Metadata: ``name``, ``num_warps``, ``shared`` (bytes of dynamic shared memory), ``slots`` (types of the parameters),
    ``tile`` (the tile IR after the shared passes), ``shared_use`` (what the shared memory is for, where it is too much),
    ``work`` (the fields of `occupancy.Work`).
    """
    sm = chip.arch
    optimize(module)
    tile = print_module(module)
    run_passes(module, machine_passes(sm))
    kernel = module.kernel
    num_warps = options.num_warps
    info = AxisInfo(kernel, trusting=True)
    assignment = Assignment(kernel, num_warps, sm, info)
    contract, ftz = (bool(getattr(options, name, True)) for name in ("enable_fp_fusion", "enable_reflect_ftz"))

    def emitted(means: Means) -> tuple[Generator, list[str]]:
        g = Generator(kernel, num_warps, options.num_stages, sm, contract, ftz, assignment, info, means)
        g.tma = sm == 90 and wanted(options)
        g.bulk_stores = bulk_stores.planned(g, kernel)
        g.staging = bulk_stores.apart(g.bulk_stores) if means.staging_apart else 0
        parameters = _parameters(g, kernel)
        straight_copies.plan(g, kernel)
        emit_block(g, kernel.body)
        _finish(g)
        # Whatever is done without: a loop may be a chain only then (`chain.chain`).
        return emitted(replace(means, turns=False)) if g.disturbed else (g, parameters)

    with deep_recursion():  # lazy values are emitted recursively along their definitions
        means = Means()
        g, parameters = emitted(means)
        for used, less in _DISPENSABLE:
            if used(g) and g.shared_bytes > chip.shared_per_block:
                smaller, same = emitted(less(means))
                if smaller.shared_bytes < g.shared_bytes:  # else it is another loop that fills the memory
                    means, g, parameters = less(means), smaller, same
        if sm < 90 and g.shared_bytes > chip.shared_per_block:
            # Triton's rings have a slot less than num_stages before Hopper, and kernels are tuned to fill the memory with those.
            smaller, same = emitted(replace(means, spare_slots=1))
            if smaller.shared_bytes <= chip.shared_per_block:
                g, parameters = smaller, same
    limits = f'"nvvm.reqntid"="{num_warps * 32}"'
    if getattr(options, "maxnreg", None):
        limits += f' "nvvm.maxnreg"="{options.maxnreg}"'
    parameters += [f'ptr byval([{MAP_BYTES} x i8]) align {MAP_BYTES} "nvvm.grid_constant" {name}' for name in g.maps.values()]
    body = g.w.text()
    text = "\n".join(
        [
            'target triple = "nvptx64-nvidia-cuda"',
            *(["@shared = external addrspace(3) global [0 x i8], align 1024"] if "@shared" in body else []),
            *g.globals,
            *sorted(g.w.declared.values()),
            f"define ptx_kernel void @{kernel.name}({', '.join(parameters)}) #0 {{",
            "entry:",
            body,
            "}",
            f"attributes #0 = {{ nounwind {limits} }}",
            "attributes #1 = { convergent nounwind }",
        ]
    )
    metadata = {
        "name": kernel.name,
        "num_warps": num_warps,
        "shared": g.shared_bytes,
        "shared_use": told(g.fullest, options.num_stages, chip.shared_per_block) if g.shared_bytes > chip.shared_per_block else "",
        "work": asdict(_work(g, kernel)),
        "slots": [str(a.type) for a in kernel.args],
        "tile": tile,
        "tensor_maps": [asdict(m) for m in g.maps],
    }
    return text + "\n", metadata


def _finish(g: Generator) -> None:
    """The end of the kernel, and what its entry does for memory above all other shared memory."""
    if g.bulk_stores:
        g.assembly("cp.async.bulk.wait_group.read 0;", "", "void", [])
    g.w.put("ret void")
    top = -(-g.shared_bytes // 1024) * 1024
    if g.staging:
        g.prologue.append(f"  {STAGING} = getelementptr i8, {SHARED} @shared, i32 {top}")
        top += g.staging
    if g.barrier_count:
        at = g.early(f"getelementptr i8, {SHARED} @shared, i32 {top}")
        g.prologue.append(f"  {BARRIERS} = ptrtoint {SHARED} {at} to i32")
        g.prologue += [f"  {line}" for line in copies.initialize(g, BARRIERS, g.barrier_count)]
        top += 8 * g.barrier_count
    if g.staging or g.barrier_count:
        g.shared_bytes = top


def _parameters(g: Generator, kernel: Func) -> list[str]:
    """Declares the kernel's parameters and defines its arguments."""
    out = []
    for i, a in enumerate(kernel.args):
        e = a.type.elem
        if e.is_float and e.bits < 16:
            raise UnsupportedError(f"a scalar kernel argument of type {e}", "the NVIDIA target", "pass it as fp32")
        if e is BOOL:
            out.append(f"i8 %p{i}")
            value = g.early(f"icmp ne i8 %p{i}, 0")
        elif e.is_float and e.bits == 16:
            out.append(f"float %p{i}")
            value = g.early(f"fptrunc float %p{i} to {llvm_type(e)}")
        else:
            out.append(f"{llvm_type(e)} %p{i}")
            value = f"%p{i}"
        g.define(a, [value])
    return out


def _work(g: Generator, kernel: Func) -> Work:
    """What `occupancy` wants to know of a kernel whose text is complete."""
    ops, threads = list(kernel.walk()), 32 * g.num_warps
    loops = [op for op in ops if op.name in ("for", "while")]
    return Work(
        small_chain=g.small_chain,
        reduces=max((-(-op.operands[0].type.numel // threads) for op in ops if _reduces(op)), default=0),
        reduces_in_loop=any(_reduces_what_it_loads(op) for op in loops),
        held_in_loop=max((_held(op, threads) for op in loops), default=0),
        products=max((g.homes[op.result].registers for op in ops if op.name == "dot" and instruction(op, g.sm) is None), default=0),
    )


def _reduces(op: Op) -> bool:
    """Whether ``op`` combines elements of a tile."""
    return op.name in ("reduce", "scan", "sort") and not op.operands[0].type.is_scalar


def _reduces_what_it_loads(loop: Op) -> bool:
    """Whether ``loop`` loads tiles and reduces tiles."""
    inside = [op for block in loop.blocks for op in block.walk()]
    return any(_reduces(op) for op in inside) and any(op.name == "load" and not op.result.type.is_scalar for op in inside)


def _held(loop: Op, threads: int) -> int:
    """32-bit words of the tiles that a thread loads in an iteration of ``loop`` itself and carries to the next."""
    loaded = [op.result.type for block in loop.blocks for op in block.ops if op.name == "load"]
    tiles = [t for t in (*loaded, *(r.type for r in loop.results)) if t.shape]
    return sum(-(-t.numel * t.elem.bits // (32 * threads)) for t in tiles)


def _named(name: str, run: Pass) -> Pass:
    run.__name__ = name
    return run
