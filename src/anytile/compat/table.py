"""The face as data: every module of `triton` that anytile serves, and where each of its names lives.

`_serve("triton.x", doc, rows…)` declares a module.  A row is made by `_at(home, names, since, until)`: "these names are the
attributes of the same name in that anytile module, in releases ``since`` to ``until`` (inclusive)".  `face=home` in ``names``
renames.  ``mirror`` adds whatever the `__all__` of an anytile module holds.

Levels are stated where a program can tell: names that came or went between Triton 3.0 and 3.9.  One departure from upstream is
meant: block pointers (`make_block_ptr`, `advance`), which 3.9 removed, stay, because published kernels use them beside the
additions of 3.9.
"""

from .level import NEWEST, OLDEST

__all__ = ["MODULES", "Entry", "Module"]


class Entry:
    """One name: ``attribute`` of module ``home`` (the module itself where ``attribute`` is empty)."""

    __slots__ = ("attribute", "home", "since", "until")

    def __init__(self, home: str, attribute: str, since: tuple[int, int], until: tuple[int, int]) -> None:
        self.home, self.attribute, self.since, self.until = home, attribute, since, until


class Module:
    """One module: ``entries`` by name; ``mirror``, an anytile module whose `__all__` is served too, or ""."""

    __slots__ = ("doc", "entries", "mirror", "package", "since", "until")

    def __init__(self, doc: str, since: tuple[int, int], until: tuple[int, int], mirror: str) -> None:
        self.doc, self.since, self.until, self.mirror = doc, since, until, mirror
        self.entries: dict[str, Entry] = {}
        self.package = False


MODULES: dict[str, Module] = {}


def _at(home: str, names: str, since: tuple[int, int] = OLDEST, until: tuple[int, int] = NEWEST) -> list[tuple[str, Entry]]:
    rows = []
    for name in names.split():
        face, _, attribute = name.partition("=")
        rows.append((face, Entry(f"anytile.{home}", attribute or face, since, until)))
    return rows


def _serve(
    name: str,
    doc: str,
    *rows: list[tuple[str, Entry]],
    since: tuple[int, int] = OLDEST,
    until: tuple[int, int] = NEWEST,
    mirror: str = "",
) -> None:
    module = MODULES[name] = Module(doc, since, until, mirror)
    for row in rows:
        module.entries.update(row)
    parent = name.rpartition(".")[0]
    if parent:
        MODULES[parent].package = True


_serve(
    "triton",
    "The Triton API, served by anytile.",
    _at("runtime.jit", "jit JITFunction KernelInterface MockTensor TensorWrapper reinterpret"),
    _at("runtime.autotuner", "autotune heuristics Config"),
    _at("runtime.compiler", "compile"),
    _at("runtime.errors", "OutOfResources InterpreterError TritonError"),
    _at("frontend.errors", "CompilationError"),
)
_serve("triton.language", "What kernels are written in.", mirror="anytile.language")
