"""What came and went inside classes, as data: the members that a release has and others have not.

The classes are anytile's own; each has every member that is the same in all releases.  The first time that the face takes
something from a class's module, the members of the API level are set on the class.  A level is a matter of the whole process, so
they are set once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, NamedTuple

from ..runtime.hooks import Setting
from .level import NEWEST, OLDEST, current

__all__ = ["MEMBERS", "Member", "dress"]


class Member(NamedTuple):
    """``name``: what the class gets in releases ``since`` to ``until``; ``home``: "module:object" that it gets.

    ``kind``: "method", "static", or "setting" for a `Setting`.
    """

    name: str
    home: str
    kind: str = "method"
    since: tuple[int, int] = OLDEST
    until: tuple[int, int] = NEWEST


#: Module → class → members that depend on the level.
MEMBERS: dict[str, dict[str, tuple[Member, ...]]] = {
    "anytile.runtime.compiler": {
        "CompiledKernel": (
            # From 3.4 on they are `triton.knobs.runtime.launch_enter_hook` and `launch_exit_hook`.
            Member("launch_enter_hook", "compat.members:LAUNCH_ENTER", "setting", until=(3, 3)),
            Member("launch_exit_hook", "compat.members:LAUNCH_EXIT", "setting", until=(3, 3)),
        ),
        "ASTSource": (
            # Programs count its parameters.
            Member("make_ir", "compat.ttir:make_ir_0", until=(3, 1)),
            Member("make_ir", "compat.ttir:make_ir_2", since=(3, 2), until=(3, 4)),
            Member("make_ir", "compat.ttir:make_ir_5", since=(3, 5)),
        ),
    },
    "anytile.runtime.jit": {
        "JITFunction": (
            Member("_key_of", "compat.specialisation:key_of", "static", until=(3, 2)),
            Member("_type_of", "compat.specialisation:type_of", "static", until=(3, 2)),
            Member("_get_config", "compat.specialisation:get_config", until=(3, 1)),
            # From 3.4 on they are `triton.knobs.runtime.jit_cache_hook` and `jit_post_compile_hook`.
            Member("cache_hook", "compat.members:CACHE_HOOK", "setting", until=(3, 3)),
            Member("is_gluon", "compat.members:is_gluon", since=(3, 4)),
            Member("compiled_hook", "compat.members:COMPILED_HOOK", "setting", since=(3, 2), until=(3, 3)),
            # Kernels that are written from templates get the template's.
            Member("def_file_line_number", "compat.members:DEF_FILE_LINE_NUMBER", since=(3, 8)),
            Member("def_file_col_number", "compat.members:DEF_FILE_COL_NUMBER", since=(3, 8)),
            Member("file_name", "compat.members:FILE_NAME", since=(3, 8)),
        ),
    },
    "anytile.compat.backends": {
        "BaseBackend": (
            Member("get_codegen_implementation", "compat.backends:no_replacements_0", until=(3, 2)),
            Member("get_codegen_implementation", "compat.backends:no_replacements_3", since=(3, 3)),
            Member("get_module_map", "compat.backends:no_modules", since=(3, 2)),
            Member("get_attrs_descriptor", "compat.specialisation:get_attrs_descriptor", since=(3, 2), until=(3, 2)),
            Member("compute_spec_key", "compat.specialisation:compute_spec_key", since=(3, 2), until=(3, 2)),
            Member("parse_attr", "compat.specialisation:parse_attr", "static", since=(3, 3)),
            Member("get_arg_specialization", "compat.specialisation:get_arg_specialization", "static", since=(3, 3), until=(3, 5)),
            Member("get_int_specialization", "compat.specialisation:get_int_specialization", "static", since=(3, 6)),
            Member("get_tensor_specialization", "compat.specialisation:get_tensor_specialization", "static", since=(3, 6)),
        ),
    },
}


def _chain(name: str) -> Setting:
    """A launch hook of `knobs.runtime`, as one function or None."""

    def read() -> Any:
        return getattr(_runtime_knobs(), name) or None

    def write(hook: Any) -> None:
        chain = getattr(_runtime_knobs(), name)
        chain.clear()
        if hook is not None:
            chain.add(hook)

    return Setting(read, write)


def _knob(name: str) -> Setting:
    return Setting(lambda: getattr(_runtime_knobs(), name), lambda hook: setattr(_runtime_knobs(), name, hook))


def _runtime_knobs() -> Any:
    from ..runtime import knobs

    return knobs.runtime


LAUNCH_ENTER = _chain("launch_enter_hook")
LAUNCH_EXIT = _chain("launch_exit_hook")
CACHE_HOOK = _knob("jit_cache_hook")
COMPILED_HOOK = _knob("jit_post_compile_hook")


def is_gluon(self: Any) -> bool:
    """``JITFunction.is_gluon``: no, those of Gluon are a `GluonKernel` (`gluon.py`)."""
    return False


def _set_line(self: Any, line: int) -> None:
    self.starting_line_number = line


def _set_indent(self: Any, column: int) -> None:
    self.indent = column - 1


def _set_file(self: Any, name: str) -> None:
    self.file = name


#: Line of ``def``, its column (the first is 1), and the file.
DEF_FILE_LINE_NUMBER = property(lambda self: self.starting_line_number, _set_line)
DEF_FILE_COL_NUMBER = property(lambda self: self.indent + 1, _set_indent)
FILE_NAME = property(lambda self: self.file, _set_file)


_dressed: set[str] = set()


def dress(module: str) -> None:
    """Sets the members of the API level on the classes of ``module``, an anytile module; once."""
    if module in _dressed or module not in MEMBERS:
        return
    _dressed.add(module)
    level = current().number
    for name, members in MEMBERS[module].items():
        cls = getattr(sys.modules[module], name)
        chosen = [m for m in members if m.since <= level <= m.until]
        for member in chosen:
            home, _, attribute = member.home.partition(":")
            value = getattr(import_module(f"anytile.{home}"), attribute)
            setattr(cls, member.name, staticmethod(value) if member.kind == "static" else value)
