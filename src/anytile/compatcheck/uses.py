"""What a torch touches of Triton, read off its sources.

A `Use` is one touched name with its place, when it is reached (`PHASES`) and what guards it.  Understood as guards are `try` with a
handler that goes on, `hasattr` and `getattr` with a default, tests of versions, tests of platforms, and blocks that end in
`return` or `raise` before the use.  torch's own module of re-exports (`runtime/triton_compat.py`) is seen through.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .sources import Sources
from .templates import in_template, in_text

__all__ = ["PHASES", "Use", "area_of", "uses_of"]

#: import: when the module of torch is imported; call: inside a function; kernel: inside a `@triton.jit` function;
#: gen: in code that Inductor writes out.
PHASES = ("import", "call", "kernel", "gen")


class Use(NamedTuple):
    """``name``: dotted, from ``triton``; ``how``: "import" (as a module), "from" (a name of a module), "attribute" or "text".

    ``guards``, outermost first: ``try:ID`` (failure is swallowed), ``except:ID`` (reached where something in the body of that try
    failed), ``passed:ID`` (reached only if that body worked), ``has:NAME`` and ``lacks:NAME`` (a probe), ``version``, ``platform``,
    ``rare`` (a handler for other errors).  ID names a try.
    """

    name: str
    file: str
    line: int
    phase: str
    how: str
    guards: tuple[str, ...]

    @property
    def area(self) -> str:
        return area_of(self.file)


_AREAS = (  # the first that matches
    ("testing", r"torch/testing/|torch/utils/benchmark|/test"),
    ("internal", r"/fb/|/fb\.py"),
    ("distributed", r"torch/distributed/"),
    ("sparse", r"torch/sparse/"),
    ("native ops", r"torch/_vendor/|torch/_native/"),
    ("templates", r"torch/_inductor/(?:kernel|template_heuristics|heuristics/template)/|torch/_inductor/(?:select_algorithm|choices)"),
    ("user kernels", r"torch/_higher_order_ops/|torch/_library/triton|torch/_dynamo/variables/|torch/_export/|torch/utils/flop"),
    ("debug", r"torch/_dynamo/(?:repro|debug|backends)|torch/_inductor/(?:debug|compile_worker)|torch/_dynamo/logging"),
    ("other back ends", r"torch/_inductor/codegen/(?:cuda|rocm|halide|xpu|cutedsl|cutlass|nv_universal|pallas|mps)"),
    ("core", r"torch/_inductor/|torch/utils/_triton|torch/_dynamo/(?:utils|device_interface)|torch/_functorch|torch/_utils_internal"),
)


def area_of(file: str) -> str:
    """Which part of torch a file belongs to; "core" is on the path of every `torch.compile`."""
    return next((area for area, pattern in _AREAS if re.search(pattern, file)), "other")


def uses_of(torch: Sources) -> list[Use]:
    """Every use in every file of ``torch``.  Files that this Python cannot parse are left out: none of theirs is imported either."""
    out: list[Use] = []
    for file in torch.files:
        if file.endswith(".jinja"):
            if "_inductor" in file:
                out += [Use(name, file, line, "gen", how, ()) for line, name, how in in_template(torch.text(file))]
            continue
        text = torch.text(file)
        if "triton" not in text and "tl." not in text and "libdevice" not in text:
            continue
        try:
            tree = ast.parse(text)
        except SyntaxError:
            continue
        out += _Reader(file, tree).uses
    return out


# What `triton_compat` and `triton_helpers` of torch hand on, under the names by which its other modules import them.
_HANDED_ON = {
    "triton": "triton",
    "tl": "triton.language",
    "libdevice": "triton.language.extra.libdevice",
    "math": "triton.language.math",
    "Config": "triton.Config",
    "CompiledKernel": "triton.compiler.CompiledKernel",
    "OutOfResources": "triton.runtime.autotuner.OutOfResources",
    "JITFunction": "triton.runtime.jit.JITFunction",
    "KernelInterface": "triton.runtime.jit.KernelInterface",
    "PTXASError": "triton.runtime.autotuner.PTXASError",
    "ASTSource": "triton.compiler.compiler.ASTSource",
    "GPUTarget": "triton.backends.compiler.GPUTarget",
    "knobs": "triton.knobs",
}
_SWALLOWED = {"ImportError", "ModuleNotFoundError", "AttributeError", "Exception", "BaseException", "RuntimeError"}
_VERSION_TEST = re.compile(
    r"triton_version|attrs_descriptor_version|TritonAttrsDescriptorVersion|_tma|tma_|semantic_kwarg|tlx|TRITON_VERSION"
    r"|triton\.__version__|reduction_ordering|warp_spec|WARP_SPEC|knobs"
)
_PLATFORM_TEST = re.compile(r"\bhip\b|is_hip|rocm|ROCM|ROCm|xpu|mtia|fbcode|TYPE_CHECKING|parse_fb")

Scope = dict[str, "str | None"]  # a name → what of Triton it is bound to; None: bound to something else


def _chain(node: ast.expr) -> tuple[str, list[str]] | None:
    """``a.b.c`` as ("a", ["b", "c"]); None for anything but names and attributes."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return (node.id, parts[::-1]) if isinstance(node, ast.Name) else None


def _is_triton(module: str | None) -> bool:
    return module is not None and (module == "triton" or module.startswith("triton."))


def _caught(handler: ast.ExceptHandler) -> bool:
    """Whether a name that is missing ends up in this handler."""
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any((k.id if isinstance(k, ast.Name) else getattr(k, "attr", "")) in _SWALLOWED for k in kinds)


def _raises(body: Sequence[ast.stmt]) -> bool:
    return any(isinstance(n, ast.Raise) for statement in body for n in ast.walk(statement))


def _leaves(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break))


def _bindings(body: Sequence[ast.stmt], outer: Sequence[Scope] = ()) -> Scope:
    """What the statements of one scope inside ``outer`` bind, functions and classes inside it left alone."""
    scope: Scope = {}

    def visit(node: ast.AST) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            scope.setdefault(node.name, None)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.split(".")[0]
                if root == "triton":
                    scope[alias.asname or "triton"] = alias.name if alias.asname else "triton"
                else:
                    scope.setdefault(alias.asname or root, None)
        elif isinstance(node, ast.ImportFrom):
            handed_on = (node.module or "").endswith(("triton_compat", "runtime.triton_helpers"))
            for alias in node.names:
                if not node.level and _is_triton(node.module):
                    scope[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                elif handed_on and alias.name in _HANDED_ON:
                    scope[alias.asname or alias.name] = _HANDED_ON[alias.name]
                else:
                    scope.setdefault(alias.asname or alias.name, None)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            chain = _chain(node.value)
            base = next((s[chain[0]] for s in (scope, *reversed(outer)) if chain[0] in s), None) if chain else None
            if chain and base:
                scope.setdefault(node.targets[0].id, ".".join([base, *chain[1]]))
            elif not (isinstance(node.value, ast.Constant) and node.value.value is None):
                scope.setdefault(node.targets[0].id, None)
        else:
            for inner in _inner_statements(node):
                visit(inner)

    for statement in body:
        visit(statement)
    return scope


def _inner_statements(node: ast.AST) -> Iterator[ast.AST]:
    """The statements directly inside a statement."""
    for field in ("body", "orelse", "finalbody"):
        yield from getattr(node, field, ())
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield from part.body


class _Reader:
    """Walks one file; ``uses`` is what it found."""

    def __init__(self, file: str, tree: ast.Module) -> None:
        self.file, self.uses = file, list[Use]()
        self._kernels = 0  # depth of `@triton.jit` functions around the present place
        self._writes_code = bool(re.search(r"torch/_inductor/|torch/_dynamo/repro", file))
        self._block(tree.body, [_bindings(tree.body)], (), "import")

    def _add(self, name: str, node: ast.AST, guards: tuple[str, ...], phase: str, how: str) -> None:
        phase = "kernel" if self._kernels and phase == "call" else phase
        self.uses.append(Use(name, self.file, getattr(node, "lineno", 0), phase, how, guards))

    def _resolve(self, node: ast.expr, scopes: list[Scope]) -> str | None:
        """The dotted name of Triton that an expression is, or None."""
        chain = _chain(node)
        if chain is None:
            return None
        base = next((scope[chain[0]] for scope in reversed(scopes) if chain[0] in scope), None)
        return ".".join([base, *chain[1]]) if base else None

    # -- guards ------------------------------------------------------------------------------------------------

    def _tested(self, test: ast.expr, scopes: list[Scope]) -> tuple[list[str], list[str]]:
        """Guards that hold where ``test`` is true, and where it is false."""
        if isinstance(test, ast.NamedExpr):
            return self._tested(test.value, scopes)
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            true, false = self._tested(test.operand, scopes)
            return false, true
        if isinstance(test, ast.BoolOp):
            sides = [self._tested(v, scopes) for v in test.values]
            if isinstance(test.op, ast.And):
                return [g for true, _ in sides for g in true], []
            # Either side may be what made it true: only that a version or a platform was asked for is certain.
            return [g for true, _ in sides for g in true if g in ("version", "platform")], [g for _, false in sides for g in false]
        if isinstance(test, ast.Compare) and any(isinstance(c, ast.Constant) and c.value is None for c in test.comparators):
            left = test.left.value if isinstance(test.left, ast.NamedExpr) else test.left
            if isinstance(left, ast.Call) and isinstance(left.func, ast.Name) and left.func.id == "getattr":
                true, false = self._tested(left, scopes)
                return (true, false) if isinstance(test.ops[0], (ast.IsNot, ast.NotEq)) else (false, true)
        probed = self._probed(test, scopes)
        if probed:
            return [f"has:{probed}"], [f"lacks:{probed}"]
        text = ast.unparse(test)
        if _PLATFORM_TEST.search(text):
            return ["platform"], [] if "fbcode" in text else ["platform"]
        return (["version"], ["version"]) if _VERSION_TEST.search(text) else ([], [])

    def _probed(self, node: ast.expr, scopes: list[Scope]) -> str | None:
        """The name that ``hasattr(x, "y")`` or ``getattr(x, "y", …)`` asks for, where x is of Triton."""
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("hasattr", "getattr")):
            return None
        asked = node.args[1].value if len(node.args) > 1 and isinstance(node.args[1], ast.Constant) else None
        if not isinstance(asked, str):
            return None
        base = self._resolve(node.args[0], scopes)
        return f"{base}.{asked}" if base else None

    # -- statements --------------------------------------------------------------------------------------------

    def _block(self, body: Sequence[ast.stmt], scopes: list[Scope], guards: tuple[str, ...], phase: str) -> None:
        for statement in body:
            self._statement(statement, scopes, guards, phase)
            if isinstance(statement, ast.If):
                true, false = self._tested(statement.test, scopes)
                if _leaves(statement.body) and not statement.orelse:
                    guards = (*guards, *false)
                elif _leaves(statement.orelse):
                    guards = (*guards, *true)
            elif isinstance(statement, ast.Try):
                caught = [h for h in statement.handlers if _caught(h)]
                if caught and all(_leaves(h.body) for h in caught) and not all(_raises(h.body) for h in caught):
                    guards = (*guards, f"passed:{self.file}:{statement.lineno}")

    def _statement(self, s: ast.stmt, scopes: list[Scope], guards: tuple[str, ...], phase: str) -> None:
        if isinstance(s, ast.Import):
            for alias in s.names:
                if _is_triton(alias.name):
                    self._add(alias.name, s, guards, phase, "import")
        elif isinstance(s, ast.ImportFrom):
            if not s.level and _is_triton(s.module):
                for alias in s.names:
                    self._add(f"{s.module}.{alias.name}", s, guards, phase, "from")
        elif isinstance(s, ast.Try):
            self._try(s, scopes, guards, phase)
        elif isinstance(s, ast.If):
            true, false = self._tested(s.test, scopes)
            self._expression(s.test, scopes, guards, phase)
            self._block(s.body, scopes, (*guards, *true), phase)
            self._block(s.orelse, scopes, (*guards, *false), phase)
        elif isinstance(s, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self._function(s, scopes, guards, phase)
        elif isinstance(s, ast.ClassDef):
            for e in (*s.decorator_list, *s.bases):
                self._expression(e, scopes, guards, phase)
            self._block(s.body, [*scopes, _bindings(s.body, scopes)], guards, phase)
        elif isinstance(s, (ast.With, ast.AsyncWith)):
            for item in s.items:
                if "suppress" in ast.unparse(item.context_expr):
                    guards = (*guards, f"try:{self.file}:{s.lineno}")
                self._expression(item.context_expr, scopes, guards, phase)
            self._block(s.body, scopes, guards, phase)
        elif isinstance(s, (ast.For, ast.AsyncFor, ast.While)):
            self._expression(s.test if isinstance(s, ast.While) else s.iter, scopes, guards, phase)
            self._block(s.body, scopes, guards, phase)
            self._block(s.orelse, scopes, guards, phase)
        elif isinstance(s, ast.Match):
            self._expression(s.subject, scopes, guards, phase)
            for case in s.cases:
                self._block(case.body, scopes, guards, phase)
        elif isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant):
            pass  # a docstring
        elif isinstance(s, ast.AnnAssign):  # annotations are text or are never looked at
            if s.value is not None:
                self._expression(s.value, scopes, guards, phase)
        else:
            for child in ast.iter_child_nodes(s):
                self._any(child, scopes, guards, phase)

    def _try(self, s: ast.Try, scopes: list[Scope], guards: tuple[str, ...], phase: str) -> None:
        identity = f"{self.file}:{s.lineno}"
        caught = [h for h in s.handlers if _caught(h)]
        goes_on = bool(caught) and not all(_raises(h.body) for h in caught)
        inside = (*guards, f"try:{identity}") if goes_on else guards
        self._block(s.body, scopes, inside, phase)
        self._block(s.orelse, scopes, inside, phase)
        for handler in s.handlers:
            self._block(handler.body, scopes, (*guards, f"except:{identity}" if handler in caught else "rare"), phase)
        self._block(s.finalbody, scopes, guards, phase)

    def _function(self, s: ast.FunctionDef | ast.AsyncFunctionDef, scopes: list[Scope], guards: tuple[str, ...], phase: str) -> None:
        is_kernel = any("jit" in (text := ast.unparse(d)) and "torch.jit" not in text for d in s.decorator_list)
        for e in (*s.decorator_list, *s.args.defaults, *filter(None, s.args.kw_defaults)):
            self._expression(e, scopes, guards, phase)
        parameters = [*s.args.posonlyargs, *s.args.args, *s.args.kwonlyargs]
        scope = _bindings(s.body, scopes)
        for p in parameters:
            if is_kernel and p.annotation is not None:
                self._expression(p.annotation, scopes, guards, phase)
            if p.arg not in ("tl", "triton", "libdevice"):  # torch passes these modules about by their own names
                scope.setdefault(p.arg, None)
        self._kernels += is_kernel
        self._block(s.body, [*scopes, scope], guards, "call")
        self._kernels -= is_kernel

    # -- expressions -------------------------------------------------------------------------------------------

    def _any(self, node: ast.AST, scopes: list[Scope], guards: tuple[str, ...], phase: str) -> None:
        if isinstance(node, ast.stmt):
            self._statement(node, scopes, guards, phase)
        elif isinstance(node, ast.expr):
            self._expression(node, scopes, guards, phase)
        else:
            for child in ast.iter_child_nodes(node):
                self._any(child, scopes, guards, phase)

    def _expression(self, e: ast.expr, scopes: list[Scope], guards: tuple[str, ...], phase: str) -> None:
        if isinstance(e, ast.IfExp):
            true, false = self._tested(e.test, scopes)
            self._expression(e.test, scopes, guards, phase)
            self._expression(e.body, scopes, (*guards, *true), phase)
            self._expression(e.orelse, scopes, (*guards, *false), phase)
        elif isinstance(e, ast.BoolOp):
            for value in e.values:  # what stands later is reached only as the earlier ones were
                self._expression(value, scopes, guards, phase)
                guards = (*guards, *self._tested(value, scopes)[0 if isinstance(e.op, ast.And) else 1])
        elif isinstance(e, ast.Attribute):
            name = self._resolve(e, scopes)
            if name is not None:
                self._add(name, e, guards, phase, "attribute")
            else:
                self._expression(e.value, scopes, guards, phase)
        elif isinstance(e, ast.Lambda):
            self._expression(e.body, scopes, guards, "call" if phase == "import" else phase)
        elif isinstance(e, ast.Constant):
            if isinstance(e.value, str):
                self._text(e.value, e, guards)
        elif isinstance(e, ast.JoinedStr):
            # The parts that are computed stand as a character which no name holds.
            self._text("".join(str(v.value) if isinstance(v, ast.Constant) else "\x01" for v in e.values), e, guards)
            for v in e.values:
                if isinstance(v, ast.FormattedValue):
                    self._expression(v.value, scopes, guards, phase)
        else:
            if isinstance(e, ast.Call) and (probed := self._probed(e, scopes)):
                may_lack = e.func.id == "hasattr" or len(e.args) > 2  # type: ignore[attr-defined]  # `_probed` saw a Name
                self._add(probed, e, (*guards, f"has:{probed}") if may_lack else guards, phase, "attribute")
            for child in ast.iter_child_nodes(e):
                self._any(child, scopes, guards, phase)

    def _text(self, text: str, node: ast.AST, guards: tuple[str, ...]) -> None:
        if self._writes_code:
            for _, name, how in in_text(text):
                self._add(name, node, guards, "gen", how)
