"""Which room may import which, read off the sources: docs/architecture.md draws the same picture."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCES = Path(__file__).parent.parent / "src" / "anytile"

# Room → the rooms that it may import.  Reading downwards is reading from the user to the machine.
ALLOWED = {
    "cli": {"compat", "compatcheck", "runtime", "targets", "llvm", "env"},  # targets, llvm: `inspect` prints assembly, which no cache keeps
    "compatcheck": {"compat", "env"},  # compat: the face is asked; env: its reader of imports
    "env": set(),  # reads files and text; knows nothing of kernels
    "compat": {"runtime", "language", "ir"},  # language: `triton.language` is that package; ir: `ttir.py` tells it in TTIR's words
    "tools": {"runtime", "targets", "llvm", "language"},  # host-side helpers that programs import by name
    "torch": {"inductor"},
    "inductor": {"compat"},
    "tune": {"runtime"},
    "testing": set(),  # timing, comparing: plain Python
    "runtime": {"targets", "native", "frontend", "language", "ir", "testing"},  # testing: the driver's benchmarker; ir: IRSource
    "targets": {"layouts", "passes", "llvm", "math", "ir", "native"},  # native: what it must be told to launch their kernels
    "native": {"llvm"},  # warm launches
    "layouts": set(),
    "frontend": {"language", "ir"},
    "language": {"ir"},
    "passes": {"math", "ir"},
    "math": {"ir"},
    "llvm": set(),
    "ir": set(),
    "cpus": set(),  # how many this process may use: plain Python
    "recursion": set(),  # Python's limit of it, while compiling
    "process": set(),  # settings of the whole process, while any thread needs them
    "errors": set(),
}
EVERYONE = {"errors", "cpus", "process", "recursion", "__version__"}
LAZY = {"numpy", "torch", "llvmlite", "rich"}  # what `import triton` must not load
LAZY_ROOMS = {
    "process",
    "recursion",
    "language",
    "frontend",
    "runtime",
    "compat",
    "ir",
    "passes",
    "errors",
    "cpus",
    "testing",
    "tools",
    "env",
    "torch",
    "inductor",
}


class Import(NamedTuple):
    file: Path
    line: int
    module: tuple[str, ...]  # absolute, e.g. ("anytile", "ir", "core", "Op"); names imported from a module count as its last part
    top: bool  # made when the file is imported

    def __str__(self) -> str:
        return f"{self.file.relative_to(SOURCES.parent)}:{self.line} imports {'.'.join(self.module)}"


def _imports(file: Path) -> Iterator[Import]:
    package = ("anytile", *file.relative_to(SOURCES).parent.parts)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    deferred = {
        child
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or _is_type_checking(node)
        for child in ast.walk(node)
        if child is not node
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, tuple(alias.name.split(".")), node not in deferred)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            for alias in node.names:
                yield Import(file, node.lineno, (*base, alias.name), node not in deferred)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _room(file: Path) -> str:
    first = file.relative_to(SOURCES).parts[0]
    return first.removesuffix(".py")


ALL = [i for file in sorted(SOURCES.rglob("*.py")) for i in _imports(file)]


def _complain(wrong: list[Import], rule: str) -> None:
    assert not wrong, rule + ":\n  " + "\n  ".join(map(str, wrong))


def test_every_room_is_on_the_map() -> None:
    rooms = {_room(f) for f in SOURCES.rglob("*.py")} - {"__init__", "__main__"}
    assert rooms == set(ALLOWED)


def test_the_map_has_no_cycle() -> None:
    remaining = {room: set(right) for room, right in ALLOWED.items()}
    while remaining:
        ends = {room for room, right in remaining.items() if not right & remaining.keys()}
        assert ends, f"these rooms may import each other in a circle: {sorted(remaining)}"
        for room in ends:
            del remaining[room]


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_import_only_to_their_right(room: str) -> None:
    may = {room, *ALLOWED[room], *EVERYONE}
    wrong = [i for i in ALL if _room(i.file) == room and i.module[0] == "anytile" and len(i.module) > 1 and i.module[1] not in may]
    _complain(wrong, f"{room}/ may import {', '.join(sorted(may))} and nothing else of anytile")


def test_only_the_llvm_room_imports_llvmlite() -> None:
    _complain([i for i in ALL if i.module[0] == "llvmlite" and _room(i.file) != "llvm"], "llvmlite belongs to llvm/")


def test_targets_do_not_know_each_other() -> None:
    wrong = []
    for i in ALL:
        parts = i.file.relative_to(SOURCES).parts
        if parts[0] == "targets" and len(parts) == 3 and i.module[:2] == ("anytile", "targets"):
            other = i.module[2]
            if (SOURCES / "targets" / other).is_dir() and other != parts[1]:
                wrong.append(i)
    _complain(wrong, "a target may import targets/*.py, and no other target")


def test_heavy_packages_are_imported_where_they_are_used() -> None:
    wrong = [i for i in ALL if i.top and i.module[0] in LAZY and _room(i.file) in LAZY_ROOMS]
    _complain(wrong, "`import triton` loads these rooms and must load none of " + ", ".join(sorted(LAZY)))
