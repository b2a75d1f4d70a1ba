"""Module objects of the face, made from `table.py`.

A face module is a plain `types.ModuleType` (cloudpickle and others ask for exactly that type) with a module-level
`__getattr__`: the first access of a name imports its home in anytile and leaves the object in the module's `__dict__`,
so every later access is an ordinary one.  Names that the API level lacks do not exist: torch and others choose between
code paths by `hasattr`.
"""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import CodeType, FunctionType, ModuleType
from typing import Any

from .level import current
from .members import dress
from .refused import why_refused
from .table import MODULES, Entry, Module

__all__ = ["ORIGIN", "find_spec"]


def find_spec(fullname: str) -> "ModuleSpec | None":
    """The spec of face module ``fullname``.

    Where there is none: None to `importlib.util.find_spec`, which asks whether a module exists; to an import,
    ModuleNotFoundError saying why.
    """
    missing = _missing(fullname)
    if missing:
        # find_spec ← TritonFinder.find_spec ← importlib._bootstrap._find_spec ← who asks
        if sys._getframe(3).f_code.co_name == "find_spec":
            return None
        raise ModuleNotFoundError(missing, name=fullname)
    # Not a subclass of importlib.abc.Loader: importing that module would take longer than all of this.
    spec = ModuleSpec(fullname, _LOADER, origin=ORIGIN, is_package=MODULES[fullname].package)  # type: ignore[arg-type]
    spec.has_location = True  # gives the module its __file__
    return spec


def _missing(fullname: str) -> str:
    """Why the face has no module ``fullname``; "" where it has."""
    module = MODULES.get(fullname)
    if module is None:
        return why_refused(fullname) or f"anytile does not have {fullname}"
    return _outside_level(fullname, module)


def _outside_level(name: str, row: "Module | Entry") -> str:
    level = current()
    if row.since <= level.number <= row.until:
        return ""
    before = level.number < row.since
    release = ".".join(map(str, row.since if before else row.until))
    return (
        f"Triton {level.version} has no {name}; Triton has it {'since' if before else 'up to'} {release}. "
        f"The API level is {level.reason}; ANYTILE_TRITON_API={release} in the environment sets one that has it"
    )


# The file that tells a reader of a traceback or of `triton.__file__` where these modules come from.
ORIGIN = import_module("anytile.compat.table").__file__


class _Loader:
    """Makes the module and gives it the two functions through which its names appear."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None  # an ordinary module object

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        description = MODULES[name]
        if description.alias:
            sys.modules[name] = import_module(description.alias)  # the import system takes what lies here after this
            return
        module.__doc__ = description.doc

        def __getattr__(attribute: str) -> Any:
            value = _resolve(name, description, attribute)
            _settle(value, name, attribute)
            module.__dict__[attribute] = value
            return value

        def __dir__() -> list[str]:
            return sorted({*module.__dict__, *_names(name, description)})

        module.__dict__.update(__getattr__=__getattr__, __dir__=__dir__)
        if name == "triton":
            module.__dict__["__version__"] = current().version
        for attribute in description.entries:
            # A name that is a submodule and also something else (`triton.runtime.driver` is an object): the submodule is
            # imported now, because importing it later would put the module over the object.
            if f"{name}.{attribute}" in MODULES:
                import_module(f"{name}.{attribute}")
                module.__dict__.pop(attribute, None)

    def get_code(self, fullname: str) -> "CodeType | None":
        """What ``python -m`` runs: the ``main`` of a face module that has one."""
        entry = MODULES[fullname].entry("main", current().number)
        return compile(f"from {entry.home} import main; main()", fullname, "exec") if entry else None

    def get_source(self, fullname: str) -> None:
        return None  # there is no source: linecache and inspect stop asking

    def is_package(self, fullname: str) -> bool:
        return MODULES[fullname].package


_LOADER = _Loader()


def _names(name: str, description: Module) -> list[str]:
    """Public and listed names of a face module at this level, submodules included."""
    level = current().number
    names = [name_ for name_, forms in description.entries.items() if any(e.since <= level <= e.until for e in forms)]
    prefix = f"{name}."
    for other, module in MODULES.items():
        if other.startswith(prefix) and "." not in other[len(prefix) :] and module.since <= level <= module.until:
            names.append(other[len(prefix) :])
    if description.mirror:
        names += [n for n in import_module(description.mirror).__all__ if n not in description.entries]
    return names


def _settle(value: Any, name: str, attribute: str) -> None:
    """Lets a function of the language, or its class `constexpr`, say that it is of face module ``name``, the first one that had it.

    torch writes user-defined kernels anew, with an import of each global of theirs whose ``__module__`` begins with "triton",
    and with annotations of globals as ``module.name``.
    """
    settles = isinstance(value, FunctionType) or attribute == "constexpr" and isinstance(value, type)
    if settles and value.__name__ == attribute and value.__module__.startswith("anytile.language."):
        value.__module__ = name


def _resolve(name: str, description: Module, attribute: str) -> Any:
    """The object that face module ``name`` has as ``attribute``; AttributeError, with the reason, where it has none."""
    if attribute == "__all__":  # `from triton.language import *`
        return [n for n in sorted(_names(name, description)) if not n.startswith("_") and hasattr(sys.modules[name], n)]
    full = f"{name}.{attribute}"
    entry = description.entry(attribute, current().number)
    if entry is not None:
        missing = _outside_level(full, entry)
        if missing:
            raise AttributeError(missing, name=attribute, obj=sys.modules.get(name))
        try:
            home = import_module(entry.home)
            dress(entry.home)
            return getattr(home, entry.attribute) if entry.attribute else home
        except ModuleNotFoundError as e:
            if e.name is None or not (entry.home == e.name or entry.home.startswith(f"{e.name}.")):
                raise  # a home is there and lacks something else, numpy perhaps
            raise AttributeError(
                f"{full} is {entry.home}.{entry.attribute}, and this installation of anytile has no such module; a frozen program needs the "
                "whole package (PyInstaller: --collect-all anytile)",
                name=attribute,
                obj=sys.modules.get(name),
            ) from None
        except AttributeError:
            pass
    elif full in MODULES:
        missing = _missing(full)
        if not missing:
            return import_module(full)
        raise AttributeError(missing, name=attribute, obj=sys.modules.get(name))
    elif description.mirror and not attribute.startswith("__"):
        home = import_module(description.mirror)
        if attribute in home.__all__:
            return getattr(home, attribute)
    raise AttributeError(why_refused(full) or f"anytile does not have {full}", name=attribute, obj=sys.modules.get(name))
