"""What a Triton defines, read off its sources: modules, their names, members of classes, forms.

Compiled modules (`triton._C`) and attributes that objects get at run time cannot be read; questions about them are answered by
"unknown".
"""

from __future__ import annotations

import ast
from functools import cached_property
from typing import Protocol

from ..env.sources import Binding, bindings
from .forms import TritonForms
from .sources import Sources

__all__ = ["Definitions", "TritonSources"]


class Definitions(Protocol):
    """Something that can be asked whether it has a name."""

    label: str  # "Triton 3.6.0", "anytile as Triton 3.6.0"
    is_face: bool  # anytile's own

    def has(self, name: str, how: str) -> bool | None:
        """Whether the dotted ``name`` is there when asked for as a `uses.Use` of kind ``how`` does; None where it cannot be known."""
        ...

    @property
    def forms(self) -> TritonForms: ...


class TritonSources:
    """`Definitions` of a Triton in a wheel or folder."""

    is_face = False

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self.label = f"Triton {sources.version}"
        parts = sources.version.split("+")[0].split(".")
        self.level = (int(parts[0]), int(parts[1])) if len(parts) > 1 and parts[0].isdigit() and parts[1].isdigit() else (0, 0)
        self._files = {self._module_of(f): f for f in sources.files if f.endswith(".py")}
        self._bindings: dict[str, dict[str, Binding]] = {}
        self._classes: dict[str, ast.ClassDef] = {}

    @staticmethod
    def _module_of(file: str) -> str:
        return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    # -- reading -----------------------------------------------------------------------------------------------

    def _names(self, module: str) -> dict[str, Binding]:
        """What ``module`` binds; a circle of `import *` ends where it began."""
        if module in self._bindings or module not in self._files:
            return self._bindings.get(module, {})
        out = self._bindings[module] = {}
        file = self._files[module]
        try:
            tree = ast.parse(self._sources.text(file))
        except SyntaxError:
            return out
        for binding in bindings(tree, module, file.endswith("/__init__.py")):
            if binding.name == "*":
                out.update((name, Binding(name, "from", f"{binding.target}.{name}")) for name in self._exported(binding.target))
                continue
            out[binding.name] = binding
            if binding.node is not None:
                self._classes[f"{module}.{binding.name}"] = binding.node
        return out

    def _exported(self, module: str) -> list[str]:
        """The names that `from module import *` binds."""
        names = self._names(module)
        if module in self._files:
            for node in ast.parse(self._sources.text(self._files[module])).body:
                if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
                    try:
                        return [n for n in ast.literal_eval(node.value) if n in names]
                    except ValueError:
                        break
        return [n for n in names if not n.startswith("_")]

    def _members(self, module: str, name: str) -> tuple[set[str], bool]:
        """Members of a class that can be read off, and whether these are all."""
        cls = self._classes.get(f"{module}.{name}")
        if cls is None:
            return set(), False
        members, complete = set[str](), True
        for s in cls.body:
            if isinstance(s, (ast.FunctionDef, ast.AsyncFunctionDef)):
                members.add(s.name)
                members |= {
                    n.attr
                    for n in ast.walk(s)
                    if isinstance(n, ast.Attribute)
                    and isinstance(n.ctx, ast.Store)
                    and isinstance(n.value, ast.Name)
                    and n.value.id == "self"
                }
            elif isinstance(s, (ast.Assign, ast.AnnAssign)):
                for target in s.targets if isinstance(s, ast.Assign) else [s.target]:
                    members |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
        for base in cls.bases:
            text = ast.unparse(base).split("[")[0]
            if text in ("object", "ABC", "Generic", "Protocol"):
                continue
            binding = self._names(module).get(text)
            if binding is not None and binding.kind == "from":
                home, _, original = binding.target.rpartition(".")
                self._names(home)
            else:
                home, original = module, text
            inherited, known = self._members(home, original)
            members |= inherited
            complete &= known
        return members, complete and "__getattr__" not in members

    # -- answering ---------------------------------------------------------------------------------------------

    def has(self, name: str, how: str) -> bool | None:
        if name.startswith("triton._C.libtriton"):
            return None
        if how == "import":
            return name in self._files
        if how == "from":
            module, _, attribute = name.rpartition(".")
            if module not in self._files:
                return False
            return self._attribute(module, [attribute], 0)
        return self._attribute("triton", name.split(".")[1:], 0)

    def _attribute(self, module: str, rest: list[str], depth: int) -> bool | None:
        """Whether the chain ``rest`` leads somewhere from ``module``.  What a package binds hides its submodule of that name."""
        if not rest:
            return True
        if depth > 14:
            return None
        first, further = rest[0], rest[1:]
        if first in ("__version__", "__path__", "__file__", "__name__", "_C"):
            return True if not further else None
        binding = self._names(module).get(first)
        if binding is None:
            submodule = f"{module}.{first}"
            return self._attribute(submodule, further, depth + 1) if submodule in self._files else False
        if binding.kind == "module":
            return self._attribute(binding.target, further, depth + 1) if binding.target in self._files else None
        if binding.kind == "from":
            if not binding.target.startswith("triton"):
                return True if not further else None
            home, _, original = binding.target.rpartition(".")
            if home in self._files and (home, original) != (module, first) and original in self._names(home):
                return self._attribute(home, [original, *further], depth + 1)
            if binding.target in self._files:
                return self._attribute(binding.target, further, depth + 1)
            return True if not further else None
        if not further:
            return True
        if binding.kind == "class":
            members, complete = self._members(module, first)
            if further[0] in members:
                return True if len(further) == 1 else None
            return False if complete and not further[0].startswith("__") else None
        return None

    # -- forms -------------------------------------------------------------------------------------------------

    @cached_property
    def forms(self) -> TritonForms:
        compiler, back_ends, jit = "triton.compiler.compiler", "triton.backends.compiler", "triton.runtime.jit"
        for module in (compiler, back_ends, jit, "triton.compiler.code_generator", "triton.backends.nvidia.compiler"):
            self._names(module)
        function = self._parameters("triton.compiler.code_generator.ASTFunction", "__init__")
        described = self._classes.get(f"{compiler}.AttrsDescriptor") or self._classes.get(f"{back_ends}.AttrsDescriptor")
        decorated = described is not None and any("dataclass" in ast.unparse(d) for d in described.decorator_list)
        return TritonForms(
            attrs="none" if described is None else "dataclass" if decorated else "class",
            make_ir=len(self._parameters(f"{compiler}.ASTSource", "make_ir")),
            constexprs="constexprs" in self._parameters(f"{compiler}.ASTSource", "__init__"),
            hooks_on_class="launch_enter_hook" in self._members(compiler, "CompiledKernel")[0],
            cluster_dims="cluster_dims" in self._members("triton.backends.nvidia.compiler", "CUDAOptions")[0],
            native_specialisation="native_specialize_impl" in self._names(jit) and "create_specialize_impl" not in self._names(jit),
            hash_lock="_hash_lock" in self._members(jit, "JITCallable")[0],
            constants_by_value=not function or "constants" in function,
        )

    def _parameters(self, cls: str, method: str) -> list[str]:
        """Names of a method's parameters without ``self``."""
        found = self._classes.get(cls)
        for s in found.body if found else ():
            if isinstance(s, ast.FunctionDef) and s.name == method:
                return [a.arg for a in [*s.args.posonlyargs, *s.args.args][1:]]
        return []
