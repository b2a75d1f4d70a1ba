"""`Definitions` of anytile itself, at an API level: the real face is asked, in a process of its own.

A level is a matter of a whole process, so the questions go to a child Python that runs with it.  What the child answers is what a
program would find: it imports and gets attributes as programs do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from ..compat.level import Level
from ..errors import AnytileError
from .forms import TritonForms
from .sources import LookError

__all__ = ["Face"]

_CHILD = "from anytile.compatcheck.face import answer_questions; answer_questions()"


class Face:
    """`Definitions` of anytile as Triton ``level``, for the ``questions`` (name, how) given at once.  LookError where its process fails."""

    is_face = True

    def __init__(self, level: Level, questions: Iterable[tuple[str, str]]) -> None:
        self.label = f"anytile as Triton {level.version}"
        asked = sorted(set(questions))
        source = str(Path(__file__).parents[2])
        env = {**os.environ, "ANYTILE_TRITON_API": level.version, "ANYTILE_TARGET": "cpu"}
        env["PYTHONPATH"] = os.pathsep.join([source, *filter(None, [env.get("PYTHONPATH")])])
        done = subprocess.run([sys.executable, "-c", _CHILD], input=json.dumps(asked), env=env, capture_output=True, text=True, timeout=300)
        if done.returncode:
            said = " ".join(done.stderr.strip().splitlines()[-1:])
            raise LookError(f"the face at level {level.version} could not be asked (exit status {done.returncode}): {said}")
        answer = json.loads(done.stdout)
        self._has: dict[tuple[str, str], bool] = dict(zip(asked, answer["has"], strict=True))
        self.forms = TritonForms(**answer["forms"])

    def has(self, name: str, how: str) -> bool | None:
        return self._has.get((name, how))


def answer_questions() -> None:
    """The child: reads [[name, how], …] from standard input and writes {"has": […], "forms": {…}}."""
    import anytile

    questions = json.load(sys.stdin)
    anytile.install()
    # Whatever the face prints while it is asked is not the answer.
    out, sys.stdout = sys.stdout, sys.stderr
    json.dump({"has": [_there(name, how) for name, how in questions], "forms": _forms()}, out)


def _there(name: str, how: str) -> bool:
    parts = name.split(".")
    if how == "import":
        return _module(name) is not None
    if how == "from":
        module = _module(".".join(parts[:-1]))
        return module is not None and _member(module, parts[-1]) is not None
    # A chain may begin at the package or, where `from package import module` gave an object, at the module of that name.
    return any(_leads_on(_module(".".join(parts[:i])), parts[i:]) for i in range(1, len(parts) + 1))


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


def _leads_on(module: Any, rest: list[str]) -> bool:
    if module is None:
        return False
    found = module
    for part in rest:
        got = _member(found, part)
        if got is None:
            return False
        (found,) = got  # which may well be None: a hook that nobody set
    return True


def _member(owner: Any, name: str) -> tuple[Any] | None:
    """What ``owner`` has as ``name``, a submodule also where nobody imported it before; None where it has none."""
    try:
        return (getattr(owner, name),)
    except (AttributeError, AnytileError):
        pass
    module = _module(f"{owner.__name__}.{name}") if hasattr(owner, "__path__") else None
    return None if module is None else (module,)


def _forms() -> dict[str, Any]:
    import dataclasses
    import inspect

    compiler: Any = import_module("triton.compiler.compiler")
    jit: Any = import_module("triton.runtime.jit")
    attrs = getattr(compiler, "AttrsDescriptor", None)
    return {
        "attrs": "none" if attrs is None else "dataclass" if dataclasses.is_dataclass(attrs) else "class",
        "make_ir": len(inspect.signature(compiler.ASTSource.make_ir).parameters) - 1,
        "constexprs": not _takes_numbers(compiler, jit),
        "hooks_on_class": hasattr(compiler.CompiledKernel, "launch_enter_hook"),
        "cluster_dims": "cluster_dims" in vars(_default_options(compiler)),
        "native_specialisation": hasattr(jit, "native_specialize_impl") and not hasattr(jit, "create_specialize_impl"),
        "hash_lock": _holds_a_lock(jit.jit(_empty)),
        "constants_by_value": True,  # the analysis reads anytile's own IR, in which every argument has its place
    }


def _empty(x):  # type: ignore[no-untyped-def]
    """A kernel to look at; it is never compiled."""


def _holds_a_lock(kernel: Any) -> bool:
    """Whether a kernel cannot be pickled after what torch drops of it before it sends one."""
    import pickle

    kernel.fn = kernel.__globals__ = kernel.used_global_vals = None
    kernel.repr = str
    try:
        pickle.dumps(kernel)
    except (TypeError, AttributeError, pickle.PicklingError):
        return True
    return False


def _takes_numbers(compiler: Any, jit: Any) -> bool:
    """Whether an `ASTSource` can be made with a signature by numbers."""
    try:
        compiler.ASTSource(jit.jit(_empty), {0: "*fp32"}, {}, None)
    except (AnytileError, TypeError, AssertionError):
        return False
    return True


def _default_options(compiler: Any) -> Any:
    target = import_module("triton.backends.compiler").GPUTarget("cuda", 80, 32)  # type: ignore[attr-defined]
    return compiler.make_backend(target).parse_options({})
