"""What the sources of one package import from another that does not define it: read as syntax, nothing is run.

An import counts unless the program is prepared for its failure (`try` with a handler for ImportError) or makes it only under a
condition (other than that the package is there): what is left fails for certain when the line is reached.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .facts import MissingName

__all__ = ["Binding", "Package", "bindings", "missing_names", "missing_submodules"]

# A condition that asks whether the package is there at all: it is, so what stands under it runs. `has_triton()` asks for a GPU too.
_THERE = re.compile(r"(?i)(?:\w+\.)*(?:_?is_(\w+)_available\(\)|has_(\w+)_package\(\)|_?(\w+)_available|HAS_(\w+))")
_DEFINITION = re.compile(r"^(?:(?:async +)?def|class) +(\w+)|^(\w+)(?: *:[^=\n]+)? *=(?!=)", re.M)
_FROM_IMPORT = re.compile(r"^from +[\w.]+ +import +(?:\(([^)]*)\)|([^(\n\\]+)$)", re.M)
_GOES_ON = re.compile(r"[\s#)\]}]|(?:else|elif|except|finally)\b|$")  # a line that begins no statement of its own
_PREPARED = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


class Package:
    """A package folder as a set of modules and the names that each defines."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.name
        self._names: dict[str, set[str] | None] = {}
        self._plain: dict[str, frozenset[str]] = {}
        self._words: dict[str, frozenset[str]] = {}

    def _file(self, module: str) -> Path | None:
        parts = module.split(".")[1:]
        base = self.folder.joinpath(*parts)
        for candidate in (base / "__init__.py", base.with_suffix(".py") if parts else base / "__init__.py"):
            if candidate.is_file():
                return candidate
        return None

    def has(self, module: str) -> bool:
        """Whether the module can be imported: a .py file, a folder, or a compiled module."""
        parts = module.split(".")[1:]
        base = self.folder.joinpath(*parts)
        return self._file(module) is not None or base.is_dir() or any(base.parent.glob(f"{base.name}.*"))

    def names(self, module: str) -> set[str] | None:
        """Names that the module defines; None where they cannot be known (compiled, `import *` from elsewhere, `__getattr__`)."""
        if module.split(".")[0] != self.name:
            return None
        if module not in self._names:
            self._names[module] = None  # a circle of `import *` ends here
            file = self._file(module)
            self._names[module] = None if file is None else self._defined(file, module)
        return self._names[module]

    def _defined(self, file: Path, module: str) -> set[str] | None:
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):
            return None
        names = {"__file__", "__name__", "__path__", "__doc__"}
        for binding in bindings(tree, module, file.name == "__init__.py"):
            if binding.kind == "def" and binding.name == "__getattr__":
                return None
            if binding.name != "*":
                names.add(binding.name)
                continue
            more = self.names(binding.target)
            if more is None:
                return None
            names |= more
        return names

    def _scan(self, module: str) -> None:
        """What the text says, in a hundredth of the time of a syntax tree: names that unindented lines define, and all its words."""
        file = self._file(module) if module.split(".")[0] == self.name else None
        text = file.read_text(encoding="utf-8", errors="replace") if file else ""
        found = {m[1] or m[2] for m in _DEFINITION.finditer(text)}
        for m in _FROM_IMPORT.finditer(text):
            found |= {words[-1] for part in re.sub(r"#[^\n]*", "", m[1] or m[2]).split(",") if (words := part.split())}
        self._plain[module] = frozenset(found)
        if file:
            self._words[module] = frozenset(re.findall(r"\w+", text)) | ({"*"} if re.search(r"import +\*", text) else set())

    def defines(self, module: str, name: str) -> bool:
        """Whether `from module import name` works, as far as can be told; in doubt, yes."""
        if module not in self._plain:
            self._scan(module)
        if name in self._plain[module] or self.has(f"{module}.{name}"):
            return True
        words = self._words.get(module)
        if words is not None and not words & {name, "*", "__getattr__"}:
            return False
        known = self.names(module)
        return known is None or name in known


def _outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported; the bodies of functions, classes and `if TYPE_CHECKING` do not count."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.orelse:
                yield statement
                yield from _outside_functions(statement)
            continue
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield from _outside_functions(child)


def _absolute(node: ast.ImportFrom, module: str, package: bool) -> str:
    """The full name of the module that ``node``, a line of ``module``, imports from; ``package``: that file is an __init__.py."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    base = parts[: len(parts) - node.level + (1 if package else 0)]
    return ".".join([*base, *([node.module] if node.module else [])])


class Binding(NamedTuple):
    """How a module binds ``name``: "def", "class" (``node`` is it), "value", "module" (``target``) or "from" (``target``: module.name).

    Of `from target import *` the name is "*", and ``target`` the module alone.
    """

    name: str
    kind: str
    target: str = ""
    node: ast.ClassDef | None = None


def bindings(tree: ast.AST, module: str, package: bool) -> Iterator[Binding]:
    """What ``tree``, the source of ``module``, binds when it is imported, in order; ``package``: that file is an __init__.py."""
    for node in _outside_functions(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield Binding(node.name, "def")
        elif isinstance(node, ast.ClassDef):
            yield Binding(node.name, "class", node=node)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.split(".")[0]
                yield Binding(alias.asname or root, "module", alias.name if alias.asname else root)
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, module, package)
            for alias in node.names:
                if alias.name == "*":
                    yield Binding("*", "from", source)
                else:
                    yield Binding(alias.asname or alias.name, "from", f"{source}.{alias.name}")
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield Binding(node.id, "value")


def _is_prepared(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(k is None or (isinstance(k, ast.Name) and k.id in _PREPARED) for k in kinds)


def _wanted(tree: ast.AST, package: Package) -> Iterator[tuple[int, str, str | None]]:
    """(line, module, name) of the imports that fail. A `try` whose body works makes its handlers unreachable."""
    if isinstance(tree, ast.Try) and any(_is_prepared(h) for h in tree.handlers):
        if any(True for statement in tree.body for _ in _wanted(statement, package)):
            for handler in tree.handlers:
                yield from _wanted(handler, package)
        else:
            for statement in tree.orelse:
                yield from _wanted(statement, package)
        for statement in tree.finalbody:
            yield from _wanted(statement, package)
        return
    if isinstance(tree, ast.If):
        test, branch = tree.test, tree.body
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            test, branch = test.operand, tree.orelse
        m = _THERE.fullmatch(ast.unparse(test))
        if m and next(g for g in m.groups() if g).lower() == package.name:
            for statement in branch:
                yield from _wanted(statement, package)
        return
    if isinstance(tree, ast.ImportFrom) and not tree.level and (tree.module or "").split(".")[0] == package.name:
        module = tree.module or ""
        if not package.has(module):
            yield tree.lineno, module, None
        else:
            yield from ((tree.lineno, module, a.name) for a in tree.names if a.name != "*" and not package.defines(module, a.name))
    elif isinstance(tree, ast.Import):
        for alias in tree.names:
            if alias.name.split(".")[0] == package.name and not package.has(alias.name):
                yield tree.lineno, alias.name, None
    for child in ast.iter_child_nodes(tree):
        if not isinstance(child, ast.expr):  # statements hold imports, expressions do not
            yield from _wanted(child, package)


def _suspects(source: str, package: Package) -> Iterator[int]:
    """Where the text names something that the package lacks: cheap, and complete; whether it matters the syntax tree says."""
    name = re.escape(package.name)
    for m in re.finditer(r"^[ \t]*from[ \t]+(" + name + r"(?:\.\w+)*)[ \t]+import[ \t]+(\([^)]*\)|(?:[^\n\\]|\\\r?\n)*)", source, re.M):
        module = m[1]
        text = re.sub(r"#[^\n]*", "", m[2])
        names = [n.split()[0] for n in re.split(r"[,()\\]", text) if n.split()]
        if not package.has(module) or any(n != "*" and not package.defines(module, n) for n in names):
            yield m.start()
    for m in re.finditer(r"^[ \t]*import[ \t]+([^\n]*)", source, re.M):
        for module in re.findall(r"[\w.]+", m[1]):
            if module.startswith(f"{package.name}.") and not package.has(module):
                yield m.start()


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())


def _block(lines: list[str], at: int) -> tuple[int, int]:
    """(first line, line after the last) of the function around line ``at``, if nothing around that is a condition; else of the statement
    of the module around it."""
    around: list[int] = []  # headers, the innermost first
    indentation = _indentation(lines[at])
    for i in range(at - 1, -1, -1):
        text = lines[i].lstrip()
        if text and not text.startswith(("#", ")", "]", "}")) and _indentation(lines[i]) < indentation:
            indentation = _indentation(lines[i])
            around.append(i)
    function = next((n for n, i in enumerate(around) if lines[i].lstrip().startswith(("def ", "async def "))), None)
    if function is not None and all(lines[i].lstrip().startswith(("def ", "async def ", "class ")) for i in around[function:]):
        start = around[function]
    else:
        start = around[-1] if around else at
        while start > 0 and _GOES_ON.match(lines[start]):
            start -= 1
    depth = _indentation(lines[start])
    end = max(at, start) + 1
    while end < len(lines) and (not lines[end].strip() or _indentation(lines[end]) > depth or _GOES_ON.match(lines[end].lstrip())):
        end += 1
    return start, end


def _statements(source: str, places: list[int]) -> Iterator[ast.AST]:
    """Syntax trees of the parts of a module that hold these places; of the whole where the parts are unclear.

    Parts, because the largest modules take longer to parse than everything else that the doctor does.
    """
    lines = source.split("\n")
    parts, end = [], 0
    for line in sorted({source.count("\n", 0, place) for place in places}):
        if line < end:
            continue
        start, end = _block(lines, line)
        try:
            parts.append(ast.parse(textwrap.dedent("\n".join(lines[start:end]))))
        except (SyntaxError, ValueError):  # text without indentation inside a string
            yield ast.parse(source)
            return
    yield from parts


def missing_names(importers: list[Path], package: Package) -> Iterator[MissingName]:
    """What the .py files under ``importers`` (folders or files) import in vain from ``package``."""
    mentions = re.compile(rb"^[ \t]*(?:from|import)[ \t]+[^\n]*\b" + package.name.encode() + rb"\b", re.M)
    for root in importers:
        for file in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            try:
                source = file.read_bytes()
                if package.name.encode() not in source or not mentions.search(source):
                    continue
                text = source.decode("utf-8", "replace")
                places = list(_suspects(text, package))
                if places and any(True for tree in _statements(text, places) for _ in _wanted(tree, package)):
                    for line, module, name in _wanted(ast.parse(text), package):  # a part may have been text inside a string
                        yield MissingName(str(file), line, module, name)
            except (OSError, SyntaxError, ValueError):
                continue


def missing_submodules(folder: Path, package: Package) -> Iterator[MissingName]:
    """Like `missing_names`, of modules only: what a package drops as a whole breaks those that have not moved on."""
    return (m for m in missing_names([folder], package) if m.name is None)
