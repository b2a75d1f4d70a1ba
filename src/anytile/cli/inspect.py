"""`anytile inspect`: compile a kernel of a file, with types given or guessed, and print what it becomes at every stage.

Parameters get their types from `--signature` and `--const`, else from their annotations, else by these guesses, which are printed:

- a constexpr parameter: the first configuration of the kernel's autotuner, else its default, else 64;
- a pointer: a parameter that ends in `ptr`, or that begins an address given to load, store or an atomic; it points to fp32, or
  to i64 where its name speaks of indices;
- a number: fp32 where the name is one of the usual ones (eps, scale, alpha …), else i32.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

from ..compat import hook

__all__ = ["Guess", "guess_parameters", "inspect", "load_kernels"]

_HERE = os.path.dirname(os.path.abspath(__file__))
_FLOAT_WORDS = ("eps", "epsilon", "scale", "alpha", "beta", "gamma", "lr", "p", "dropout", "momentum", "temperature", "softcap")
_INDEX_WORDS = ("idx", "index", "indices", "ids", "labels", "label", "targets", "seqlens", "slots")
_MEMORY = ("load", "store", "make_block_ptr", "make_tensor_descriptor")


class Guess(NamedTuple):
    """What a parameter is taken for.  ``type``: signature text; ``value``: of a constexpr; ``reason``: why, for people."""

    name: str
    type: str
    value: Any
    reason: str


def inspect(target: str, signature: str, const: list[str], stages: list[str], options: list[str]) -> None:
    """Prints the parameters and stages of the kernel ``FILE[:KERNEL]``; ValueError says what is wrong with the request."""
    path, name = _split_target(target)
    kernels = load_kernels(path)
    if not kernels:
        raise ValueError(f"{path} defines no @triton.jit kernel at module level")
    if not name and len(kernels) > 1:
        raise ValueError(f"{path} has several kernels; say which: {', '.join(f'{path}:{k}' for k in kernels)}")
    name = name or next(iter(kernels))
    if name not in kernels:
        raise ValueError(f"{path} has no kernel {name}; it has {', '.join(kernels)}")
    kernel, preset = kernels[name]
    guesses = guess_parameters(kernel, preset, _split_types(signature), _assignments(const, "--const"))

    from ..runtime.compiler import ASTSource, compile

    source = ASTSource(
        kernel,
        {g.name: g.type for g in guesses},
        {(i,): g.value for i, g in enumerate(guesses) if g.type == "constexpr"},
        {},
    )
    compiled = compile(source, options=_assignments(options, "--option"))
    made = _with_assembly(dict(compiled.asm))
    missing = [s for s in stages if s not in made]
    if missing:
        raise ValueError(f"{name} has no stage {missing[0]}; its stages are {', '.join(made)}")
    printed = {s: text for s, text in made.items() if not stages or s in stages}

    width = max((len(g.name) for g in guesses), default=0)
    print(f"# {path}:{name}")
    for g in guesses:
        print(f"#   {g.name:{width}}  {g.type if g.type != 'constexpr' else f'constexpr = {g.value!r}'}  ({g.reason})")
    for stage, text in printed.items():
        print(f"\n# ---- {stage} ----")
        print(f"{len(text)} bytes" if isinstance(text, bytes) else text.rstrip())


def _with_assembly(made: dict[str, str | bytes]) -> dict[str, str | bytes]:
    """The stages with assembly after LLVM IR: the cache keeps only object code, so it is printed anew, by the same compiler."""
    if "asm" in made or "llir" not in made:
        return made
    from ..llvm import engine
    from ..targets.cpu.machine import current

    machine = current()
    llir = made["llir"]
    assert isinstance(llir, str)
    stages: dict[str, str | bytes] = {}
    for stage, text in made.items():
        stages[stage] = text
        if stage == "llir":
            stages["asm"] = engine.emit_assembly(llir, machine.tune, machine.features, level="lite")
    return stages


def load_kernels(path: str) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Imports the file and returns name → (JITFunction, constexprs preset by its autotuner), in order of definition."""
    if not os.path.isfile(path):
        raise ValueError(f"there is no file {path}")
    hook.install()
    from ..runtime.jit import JITFunction

    module = _imported(path)
    found: dict[str, tuple[Any, dict[str, Any]]] = {}
    for value in vars(module).values():
        preset: dict[str, Any] = {}
        # Autotuners and heuristics wrap the kernel, in any order and number.
        while not isinstance(value, JITFunction) and hasattr(value, "fn"):
            configs = getattr(value, "configs", None)
            if configs:
                preset = {**configs[0].kwargs, **preset}
            value = value.fn
        if isinstance(value, JITFunction) and value.__module__ == module.__name__:
            found[value.__name__] = (value, preset)
    return found


def _imported(path: str) -> ModuleType:
    """The file as a module: of its package where it lies in one, for it may import from there by dots."""
    folder, file = os.path.split(os.path.abspath(path))
    name = os.path.splitext(file)[0]
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        name = f"{package}.{name}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file")
    sys.path.insert(0, folder)
    try:
        if "." in name:
            return importlib.import_module(name.removesuffix(".__init__"))
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as e:
        told = "".join(traceback.format_exception_only(e)).strip()
        places = [f for f in traceback.extract_tb(e.__traceback__) if not f.filename.startswith(("<frozen", os.path.dirname(_HERE)))]
        at = f" at {places[-1].filename}:{places[-1].lineno}" if places else ""
        raise ValueError(f"{path} is run to find its kernels, and stopped{at} with {told}") from e
    return module


def guess_parameters(kernel: Any, preset: dict[str, Any], types: list[str], constants: dict[str, Any]) -> list[Guess]:
    """One `Guess` a parameter of ``kernel``, in order.  ValueError where ``types`` or ``constants`` do not fit it."""
    runtime = [p.name for p in kernel.params if not p.is_constexpr and p.name not in constants]
    if types and len(types) != len(runtime):
        raise ValueError(
            f"--signature has {len(types)} types, and {kernel.__name__} has {len(runtime)} runtime parameters: {', '.join(runtime)}"
        )
    unknown = [name for name in constants if name not in kernel.arg_names]
    if unknown:
        raise ValueError(f"--const {unknown[0]}: {kernel.__name__} has no such parameter; it has {', '.join(kernel.arg_names)}")
    given = dict(zip(runtime, types))
    pointers = set(_pointer_names(kernel.parse()))
    guesses = []
    for p in kernel.params:
        words = p.name.lower().split("_")
        if p.name in constants:
            guess = Guess(p.name, "constexpr", constants[p.name], "--const")
        elif p.is_constexpr and p.name in preset:
            guess = Guess(p.name, "constexpr", preset[p.name], "first autotuning configuration")
        elif p.is_constexpr and p.has_default:
            guess = Guess(p.name, "constexpr", p.default, "its default")
        elif p.is_constexpr:
            guess = Guess(p.name, "constexpr", 64, f"guessed; --const {p.name}=VALUE sets it")
        elif p.name in given:
            guess = Guess(p.name, given[p.name], None, "--signature")
        elif p.annotation_type:
            guess = Guess(p.name, p.annotation_type, None, "its annotation")
        elif p.name in pointers or p.name.lower().endswith(("ptr", "ptrs")):
            indices = any(w in words for w in _INDEX_WORDS)
            guess = Guess(
                p.name, "*i64" if indices else "*fp32", None, "guessed: an index array" if indices else "guessed: used as a pointer"
            )
        elif any(w in words for w in _FLOAT_WORDS):
            guess = Guess(p.name, "fp32", None, "guessed by its name")
        else:
            guess = Guess(p.name, "i32", None, "guessed: a number")
        guesses.append(guess)
    return guesses


def _pointer_names(function: ast.FunctionDef) -> Iterator[str]:
    """Names that begin an address: the leftmost term of what load, store and atomics are given, through assignments."""
    assigned: dict[str, set[str]] = {}
    addresses: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            assigned.setdefault(node.targets[0].id, set()).update(_base(node.value))
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in _MEMORY or called.startswith("atomic_"):
                arguments = [*node.args[:1], *(k.value for k in node.keywords if k.arg in ("pointer", "base"))]
                for argument in arguments:
                    addresses |= _base(argument)
    seen: set[str] = set()
    while addresses:
        name = addresses.pop()
        if name not in seen:
            seen.add(name)
            addresses |= assigned.get(name, set())
            yield name


def _base(expression: ast.expr) -> set[str]:
    """The name at the left end of sums, casts and conditionals: `x` in ``x + a * b``."""
    if isinstance(expression, ast.Name):
        return {expression.id}
    if isinstance(expression, ast.BinOp) and isinstance(expression.op, (ast.Add, ast.Sub)):
        return _base(expression.left)
    if isinstance(expression, ast.IfExp):
        return _base(expression.body) | _base(expression.orelse)
    if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Attribute):
        if expression.func.attr in ("to", "cast"):  # x.to(tl.pointer_type(…)) or tl.cast(x, …)
            return _base(expression.args[0] if expression.func.attr == "cast" and expression.args else expression.func.value)
        if expression.func.attr in _MEMORY:
            return set()
    return set()


def _split_target(target: str) -> tuple[str, str]:
    """FILE[:KERNEL]; a colon may also belong to a Windows drive."""
    path, colon, name = target.rpartition(":")
    return (path, name) if colon and name.isidentifier() and not os.path.exists(target) else (target, "")


def _split_types(signature: str) -> list[str]:
    """Splits at commas outside brackets: `tensordesc<fp16[64,64]>` is one type."""
    types, depth, start = [], 0, 0
    for i, c in enumerate(signature):
        depth += (c in "<[(") - (c in ">])")
        if c == "," and depth == 0:
            types.append(signature[start:i].strip())
            start = i + 1
    return [*types, signature[start:].strip()] if signature.strip() else []


def _assignments(texts: list[str], option: str) -> dict[str, Any]:
    """NAME=VALUE pairs; a value that is no Python literal is taken as text."""
    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise ValueError(f"{option} {text!r} is not of the form NAME=VALUE")
        try:
            values[name.strip()] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            values[name.strip()] = value
    return values
