"""What the sources of one package import from another that does not define it: read as syntax, nothing is run.

An import counts unless the program is prepared for its failure (`try` with a handler for ImportError) or makes it only under a
condition: what is left fails for certain when the line is reached.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from .facts import MissingName

__all__ = ["Package", "missing_names", "missing_submodules"]

_PREPARED = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


class Package:
    """A package folder as a set of modules and the names that each defines."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.name
        self._names: dict[str, set[str] | None] = {}

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
        for node in _outside_functions(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                if node.name == "__getattr__":
                    return None
                names.add(node.name)
            elif isinstance(node, ast.Import):
                names |= {a.asname or a.name.split(".")[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if alias.name != "*":
                        names.add(alias.asname or alias.name)
                        continue
                    more = self.names(_absolute(node, module, file.name == "__init__.py"))
                    if more is None:
                        return None
                    names |= more
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
        return names

    def defines(self, module: str, name: str) -> bool:
        """Whether `from module import name` works, as far as can be told; in doubt, yes."""
        known = self.names(module)
        return known is None or name in known or self.has(f"{module}.{name}")


def _outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield from _outside_functions(child)


def _absolute(node: ast.ImportFrom, module: str, package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    base = parts[: len(parts) - node.level + (1 if package else 0)]
    return ".".join([*base, *([node.module] if node.module else [])])


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


def _suspect(source: bytes, package: Package) -> bool:
    """Whether the text names something that the package lacks: cheap, and never no where the syntax tree would say yes."""
    name = package.name.encode()
    for m in re.finditer(rb"^[ \t]*from[ \t]+(" + name + rb"(?:\.\w+)*)[ \t]+import[ \t]+(\([^)]*\)|(?:[^\n\\]|\\\r?\n)*)", source, re.M):
        module = m[1].decode()
        text = re.sub(r"#[^\n]*", "", m[2].decode("utf-8", "replace"))
        names = [n.split()[0] for n in re.split(r"[,()\\]", text) if n.split()]
        if not package.has(module) or any(n != "*" and not package.defines(module, n) for n in names):
            return True
    for m in re.finditer(rb"^[ \t]*import[ \t]+([^\n]*)", source, re.M):
        for module in re.findall(r"[\w.]+", m[1].decode("utf-8", "replace")):
            if module.startswith(f"{package.name}.") and not package.has(module):
                return True
    return False


def missing_names(importers: list[Path], package: Package) -> Iterator[MissingName]:
    """What the .py files under ``importers`` (folders or files) import in vain from ``package``."""
    mentions = re.compile(rb"^[ \t]*(?:from|import)[ \t]+[^\n]*\b" + package.name.encode() + rb"\b", re.M)
    for root in importers:
        for file in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            try:
                source = file.read_bytes()
                if package.name.encode() in source and mentions.search(source) and _suspect(source, package):
                    for line, module, name in _wanted(ast.parse(source), package):
                        yield MissingName(str(file), line, module, name)
            except (OSError, SyntaxError, ValueError):
                continue


def missing_submodules(folder: Path, package: Package) -> Iterator[MissingName]:
    """Like `missing_names`, of modules only: what a package drops as a whole breaks those that have not moved on."""
    return (m for m in missing_names([folder], package) if m.name is None)
