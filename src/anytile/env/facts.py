"""What can be known of an environment, as plain data.

`collect` fills these records from the files of an interpreter, `log` from text that somebody pasted; rules read them and nothing
else. A fact that could not be had is None (or an empty tuple), never a guess: a rule has to tell "no" from "not known".
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "Cache",
    "Distribution",
    "Facts",
    "Gpu",
    "Interpreter",
    "Library",
    "Log",
    "Mention",
    "MissingName",
    "Platform",
    "Project",
    "Torch",
    "Triton",
]


@dataclass(frozen=True)
class Platform:
    """The operating system under the environment."""

    system: str | None = None  # "linux", "windows", "darwin"
    machine: str | None = None  # "x86_64", "aarch64"
    wsl: bool = False
    long_paths: bool | None = None  # Windows: whether paths over 260 characters are allowed


@dataclass(frozen=True)
class Interpreter:
    """A Python and its folders. Paths are text: a Windows tree may be looked at from Linux."""

    executable: str = ""
    version: str | None = None  # "3.11.4" or, where only the minor is known, "3.11"
    prefix: str = ""
    base_prefix: str = ""
    site_packages: tuple[str, ...] = ()
    user_site: str | None = None  # where it exists and this Python would read it
    python_h: bool | None = None  # include/Python.h is there
    import_library: bool | None = None  # Windows: libs/pythonXY.lib is there
    foreign_libraries: tuple[str, ...] = ()  # Windows: libs/pythonXY.lib of other minors
    pip: bool | None = None  # `python -m pip` works
    made_by_uv: bool = False  # pyvenv.cfg says so
    on_path: tuple[str, ...] = ()  # every python that PATH finds, first to last
    stale: str | None = None  # what befell the Python that a virtual environment was made of, as a sentence

    @property
    def minor(self) -> str | None:
        """`"3.11"` of `"3.11.4"`."""
        return ".".join(self.version.split(".")[:2]) if self.version else None


@dataclass(frozen=True)
class Distribution:
    """One *.dist-info folder."""

    name: str  # canonical: lower case, hyphens
    version: str
    location: str  # the site-packages folder
    requires: tuple[str, ...] = ()
    requires_python: str | None = None
    tags: tuple[str, ...] = ()  # of the wheel: "cp311-cp311-win_amd64"
    packages: tuple[str, ...] = ()  # top-level names in RECORD
    extensions: tuple[str, ...] = ()  # *.so, *.pyd in RECORD, relative to location
    installer: str | None = None
    direct_url: str | None = None
    has_record: bool = True
    modified: float = 0.0  # mtime of the folder, seconds since 1970


@dataclass(frozen=True)
class Torch:
    """The torch that would be imported, read from its files."""

    version: str
    cuda: str | None  # torch/version.py: "12.4"; None: a build without CUDA
    hip: str | None
    cuda_library: bool  # torch/lib holds a *torch_cuda* library
    location: str  # the folder torch/
    xpu: str | None = None  # Intel's GPUs: "20250100"


@dataclass(frozen=True)
class MissingName:
    """A name that one package imports from another, which does not define it."""

    file: str
    line: int
    module: str  # "triton.compiler.compiler"
    name: str | None  # None: the module itself is not there


@dataclass(frozen=True)
class Triton:
    """The triton that would be imported."""

    version: str | None
    owners: tuple[str, ...]  # distributions whose RECORD holds triton/
    location: str  # the folder triton/, or the switch that `anytile enable` wrote
    missing_names: tuple[MissingName, ...] = ()  # what this torch imports from it in vain


@dataclass(frozen=True)
class Gpu:
    """A GPU and its driver as nvidia-smi or the driver's files tell."""

    name: str
    capability: str | None = None  # "8.9"
    driver: str | None = None  # "550.54.14"
    cuda: str | None = None  # highest CUDA that the driver runs: "12.4"


@dataclass(frozen=True)
class Library:
    """Something wrong with a shared library (ELF or PE), or with what a package imports or ships, found by reading it."""

    path: str
    problem: str  # "undefined", "missing", "version", "python", "old_runtime", "shadowed", "removed_module", "no_binary"
    value: str  # the symbol, library name, version node, Python library, or version
    detail: str = ""
    distribution: str | None = None


@dataclass(frozen=True)
class Cache:
    """A folder of compiled things."""

    kind: str  # "triton", "inductor", "pip", "uv", "poetry"
    path: str
    bytes: int | None = None
    writable: bool = True
    network: bool = False  # on NFS or the like
    corrupt: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()  # compiled for another Python
    longest: int = 0  # characters of the longest path in it


@dataclass(frozen=True)
class Project:
    """What manages the environment."""

    tool: str = "pip"  # "poetry", "uv", "conda", "pip", or that of one of `managers.MANAGERS`
    files: tuple[str, ...] = ()
    stale_lock: bool = False  # the lock file is older than pyproject.toml


@dataclass(frozen=True)
class Mention:
    """One thing that a log names, and where."""

    kind: str
    value: str
    detail: str = ""
    line: int = 0  # from 1
    text: str = ""  # the line, shortened


@dataclass(frozen=True)
class Log:
    """What a pasted log names: see `log.PATTERNS` for the kinds."""

    mentions: tuple[Mention, ...] = ()
    lines: tuple[str, ...] = ()
    failing: bool = False  # it tells of a failure at all, and is not the output of a program that works
    complaining: tuple[int, ...] = ()  # numbers of the lines that do, and of those in which a person speaks
    listed: frozenset[int] = frozenset()  # numbers of the lines of listings: packages with versions, the parts of a machine

    def said(self) -> list[tuple[int, str]]:
        """The lines, each with its number, that somebody or a program says: no listings, nothing blank."""
        return [(n, line) for n, line in enumerate(self.lines, start=1) if line.strip() and n not in self.listed]

    def of(self, *kinds: str) -> tuple[Mention, ...]:
        """The mentions of these kinds in the order of the log."""
        return tuple(m for m in self.mentions if m.kind in kinds)

    def has(self, kind: str, *values: str) -> Mention | None:
        """The first mention of ``kind``, if ``values`` are given with one of them as value."""
        return next((m for m in self.mentions if m.kind == kind and (not values or m.value in values)), None)


@dataclass(frozen=True)
class Facts:
    """Everything known. `log` is None when an environment was looked at, and set when a log was read."""

    platform: Platform = field(default_factory=Platform)
    interpreter: Interpreter = field(default_factory=Interpreter)
    distributions: tuple[Distribution, ...] = ()
    torch: Torch | None = None
    triton: Triton | None = None
    gpus: tuple[Gpu, ...] = ()
    libraries: tuple[Library, ...] = ()
    caches: tuple[Cache, ...] = ()
    project: Project = field(default_factory=Project)
    compilers: tuple[str, ...] | None = None  # C compilers found; None: not looked
    variables: tuple[tuple[str, str], ...] = ()  # environment variables that matter
    libcuda: tuple[str, ...] | None = None  # files that a linker or loader could take for -lcuda; None: not looked
    leftovers: tuple[str, ...] = ()  # ~folders and dist-info without RECORD
    shadows: tuple[str, ...] = ()  # files in the working folder that hide an installed package
    log: Log | None = None

    def distribution(self, name: str) -> Distribution | None:
        """The distribution of this canonical name, if installed."""
        return next((d for d in self.distributions if d.name == name), None)

    def variable(self, name: str) -> str | None:
        """The value of an environment variable, if it is set and one of those collected."""
        return dict(self.variables).get(name)
