"""Writes the printed stages of one kernel into docs/architecture.md: ``python scripts/architecture_journey.py``.

The document holds a marker per stage, ``<!-- stage: NAME -->``, and the fenced block behind it belongs to this script.
``--check`` writes nothing and fails where a block is out of date (the tests run it so).  Everything is made for one machine of
`targets.cpu.machine.MACHINES`, so the text does not depend on the host.  Assembly is LLVM's and may change with its version:
``--check`` skips that block where llvmlite is another one than the block names.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import anytile.language as tl
from anytile.frontend import trace
from anytile.ir import Module, print_module
from anytile.ir.core import Block, Func, Op, Value
from anytile.ir.printer import print_func
from anytile.language.source import JITCallable
from anytile.llvm import engine
from anytile.passes.axis_info import AxisInfo
from anytile.passes.pipeline import optimize
from anytile.targets.cpu import driver
from anytile.targets.cpu.forward import Group
from anytile.targets.cpu.machine import Machine, named
from anytile.targets.cpu.program import Program
from anytile.targets.nvidia import codegen
from anytile.targets.nvidia.assignment import Assignment
from anytile.targets.nvidia.chips import chip
from anytile.targets.nvidia.placement import Placement

DOCUMENT = Path(__file__).parent.parent / "docs" / "architecture.md"
MACHINE = "avx2"
TRIPLE = "x86_64-unknown-linux-gnu"
OPTIONS = SimpleNamespace(
    num_warps=4,
    num_stages=3,
    num_ctas=1,
    debug=False,
    sanitize_overflow=False,
    enable_fp_fusion=True,
    default_dot_input_precision="tf32",
    target=None,
)


def share(part, whole):
    return part / whole


def normalise(x_ptr, out_ptr, n_cols, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    offsets = tl.program_id(0) * n_cols + cols
    mask = (cols >= 0) & (cols < n_cols)
    x = tl.load(x_ptr + offsets, mask=mask, other=0.0)
    tl.store(out_ptr + offsets, share(x, tl.sum(x, axis=0)), mask=mask)


def matmul(a_ptr, b_ptr, c_ptr, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    cols = tl.program_id(1) * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    a_ptrs = a_ptr + rows[:, None] * K + inner[None, :]
    b_ptrs = b_ptr + inner[:, None] * N + cols[None, :]
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for _ in range(0, K, BK):
        acc = tl.dot(tl.load(a_ptrs), tl.load(b_ptrs), acc)
        a_ptrs += BK
        b_ptrs += BK * N
    tl.store(c_ptr + rows[:, None] * N + cols[None, :], acc.to(tl.bfloat16))


KERNELS = {
    normalise: ({"x_ptr": "*fp32", "out_ptr": "*fp32", "n_cols": "i32"}, {"BLOCK": 1024}),
    matmul: ({"a_ptr": "*bf16", "b_ptr": "*bf16", "c_ptr": "*bf16", "N": "i32", "K": "i32"}, {"BM": 128, "BN": 256, "BK": 64}),
}


def traced(kernel: Callable) -> Module:
    """The kernel as the frontend records it, with what a launch would have found: everything divisible by 16, but for `n_cols`."""
    globals()["share"] = share if isinstance(share, JITCallable) else JITCallable(share)
    runtime, constants = KERNELS[kernel]
    signature = runtime | dict.fromkeys(constants, "constexpr")
    attrs = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(runtime) if name != "n_cols"}
    return trace(JITCallable(kernel), signature, {(len(runtime) + i,): v for i, v in enumerate(constants.values())}, attrs, OPTIONS)


def source(*functions: Callable) -> str:
    plain = [f.fn if isinstance(f, JITCallable) else f for f in functions]
    return "\n\n".join("@triton.jit\n" + inspect.getsource(f).rstrip() for f in plain) + "\n"


def tile_text(module: Module) -> str:
    return print_func(module.kernel) + "\n"


def lowered(module: Module, machine: Machine) -> Program:
    """The program that the CPU target makes of ``module``: `driver.lower` does the same and joins the texts."""
    optimize(module)
    driver.to_machine(module, machine, changed=True)
    program = Program(module.kernel, machine, contract=True)
    program.emit()
    return program


def names_of(func: Func) -> dict[Value, str]:
    """Names as the printer gives them: it writes arguments, blocks and results in walking order."""
    lines = iter(print_func(func).splitlines())
    names = dict(zip(func.args, re.findall(r"(%\w+): ", next(lines))))

    def walk(block: Block) -> None:
        for op in block.ops:
            line = next(lines)
            left, _, right = line.partition(" = ")
            if op.results:
                names.update(zip(op.results, re.findall(r"%\w+", left)))
            for inner in op.blocks:
                names.update(zip(inner.args, re.findall(r"(%\w+): ", right)))
                walk(inner)
                right = next(lines)

    walk(func.body)
    return names


def plan(program: Program) -> str:
    """The steps of ``program``, one a line."""
    names, planner = names_of(program.func), program.planner

    def written(op: Op) -> str:
        if op.results:
            return f"{', '.join(names[r] for r in op.results)} = {op.name}"
        return " ".join([op.name, *(names[v] for v in op.operands[op.name == "store" :][:1] if v is not None)])

    lines = []

    def walk(block: Block, indent: str) -> None:
        scalars: list[str] = []

        def flush() -> None:
            if scalars:
                lines.append(f"{indent}scalars: {', '.join(scalars)}")
                scalars.clear()

        for step in planner.plans[block].steps:
            if isinstance(step, Group):
                flush()
                filled = [f"buffer of {names[v]}" + (", packed" if _packed(program, v) else "") for v in step.writes]
                lines.append(f"{indent}nest over {'x'.join(map(str, step.shape))}: " + "; ".join([*filled, *map(written, step.roots)]))
            elif step.op.name in ("for", "while", "if"):
                flush()
                lines.append(f"{indent}{written(step.op)}")
                for inner in step.op.blocks:
                    walk(inner, indent + "  ")
            elif step.op.name == "dot":
                flush()
                home = planner.home.get(step.op.results[0])
                into = f" into the home of {names[home]}" if home is not None else ""
                lines.append(f"{indent}{written(step.op)} by @{program.dots.function(program.dots.kernels[step.op])}{into}")
            elif step.op.results and step.op.results[0].type.is_scalar:
                scalars.append(names[step.op.results[0]])
            else:
                flush()
                lines.append(f"{indent}{written(step.op)}")
        flush()

    walk(program.func.body, "")
    return "\n".join(lines) + f"\nscratch: {program.scratch} bytes\n"


def _packed(program: Program, v: Value) -> bool:
    return any(op.name == "dot" and i == 1 and program.dots.kernels[op].packed_b is not None for op, i in v.uses)


def homes(module: Module, num_warps: int, num_stages: int) -> str:
    """Placements that the NVIDIA target chooses on sm_90: the coordinates that each bit of a place contributes, lowest bit first."""
    hopper = chip(90)
    options = SimpleNamespace(num_warps=num_warps, num_stages=num_stages)
    _, metadata = codegen.lower(module, options, hopper)  # rewrites the module: the table below is that of the same operations
    func = module.kernel
    names = names_of(func)
    lying: dict[Placement | None, list[str]] = {}
    for v, place in Assignment(func, num_warps, hopper.arch, AxisInfo(func, trusting=True)).homes.items():
        lying.setdefault(place, []).append(names[v])
    lines = []
    for place, values in lying.items():
        assert place is not None
        rows = (" ".join("({}, {})".format(*place.layout.unpack(b).values()) for b in bases) for bases in place.layout.ins.values())
        lines += [", ".join(values), *(f"  {d:8}  {row}" for d, row in zip(place.layout.ins, rows))]
    return "\n".join(lines) + f"\nshared: {metadata['shared']} bytes\n"


def program_text(llir: str) -> str:
    """``@program`` without the entry around it, which is the same for every kernel."""
    return re.search(r"define internal void @program\(.*?\n}\n", llir, re.S)[0]  # type: ignore[index]


_STORE = re.compile(r"vmovups\s+%ymm\d+, .*\(")


def hot_loop(assembly: str) -> str:
    """The first loop that stores several vectors: instructions from its label to the jump back."""
    blocks = re.split(r"\n(?=\.L\w+:)", assembly)
    for block in blocks:
        label = block.split(":", 1)[0].strip()
        lines = [line.split("#")[0].rstrip() for line in block.splitlines() if not line.strip().startswith((".p2align", ".cfi", "#"))]
        for last, line in enumerate(lines):
            if re.search(rf"\sj\w+\s+{re.escape(label)}\b", line) and sum(bool(_STORE.search(x)) for x in lines[:last]) >= 2:
                return "\n".join(line.expandtabs(8) for line in lines[: last + 1]) + "\n"
    raise AssertionError("no loop that stores vectors in the assembly")


def stages() -> dict[str, tuple[str, str]]:
    """Stage name → (language of the fenced block, text)."""
    out = {"source": ("python", source(share, normalise))}
    module = traced(normalise)
    out["traced"] = ("text", tile_text(module))
    located = [line for line in print_module(module, locs=True).splitlines() if " fdiv " in line]
    out["located"] = ("text", "".join(map(_shortened, located)))
    optimize(module)
    out["optimised"] = ("text", tile_text(module))
    machine = named(MACHINE)
    out["plan"] = ("text", plan(lowered(module, machine)))
    _, llir, _ = driver.lower(traced(normalise), OPTIONS, machine)
    out["llvm"] = ("llvm", program_text(llir))
    assembly = engine.emit_assembly(llir, machine.tune, machine.features, level="lite", triple=TRIPLE)
    out["assembly"] = ("asm", f"# the unmasked loop of the second nest, by llvmlite {_llvmlite()}\n" + hot_loop(assembly))

    out["matmul"] = ("python", source(matmul))
    module = traced(matmul)
    optimize(module)
    out["matmul_tile"] = ("text", tile_text(module))
    out["matmul_plan"] = ("text", plan(lowered(module, named("amx"))))
    out["matmul_homes"] = ("text", homes(traced(matmul), num_warps=8, num_stages=3))
    return out


def _llvmlite() -> str:
    from importlib.metadata import version

    return version("llvmlite")


def _shortened(line: str) -> str:
    """The line with its position in `share` counted in the printed source, not in this file."""
    first = inspect.getsourcelines(getattr(share, "fn", share))[1]
    found = re.search(r'"[^"]*":(\d+):(\d+)$', line)
    assert found is not None
    return f'{line[: found.start()].rstrip().lstrip()} "kernels.py":{int(found[1]) - first + 2}:{found[2]}\n'


def render(document: str, made: dict[str, tuple[str, str]], keep: frozenset[str] = frozenset()) -> str:
    """``document`` with every stage's block replaced, but for those in ``keep``."""
    seen = re.findall(r"<!-- stage: (\w+) -->", document)
    if sorted(seen) != sorted(made):
        raise SystemExit(f"{DOCUMENT} must have one marker per stage ({', '.join(made)}); it has {', '.join(seen)}")
    for name, (language, text) in made.items():
        if name not in keep:
            block = f"<!-- stage: {name} -->\n```{language}\n{text}```\n"
            pattern = rf"<!-- stage: {name} -->\n(?:```\w*\n.*?\n?```\n)?"
            document = re.sub(pattern, lambda _, block=block: block, document, count=1, flags=re.S)
    return document


def main() -> int:
    document = DOCUMENT.read_text(encoding="utf-8")
    check = "--check" in sys.argv[1:]
    same_llvm = f"by llvmlite {_llvmlite()}\n" in document
    text = render(document, stages(), frozenset() if same_llvm or not check else frozenset({"assembly"}))
    if text == document:
        return 0
    if check:
        print(f"{DOCUMENT} is out of date; run python scripts/architecture_journey.py", file=sys.stderr)
        return 1
    DOCUMENT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
