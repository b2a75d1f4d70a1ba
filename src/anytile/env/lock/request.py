"""What the user wants, checked before anything is asked of a server."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from .errors import RequestError

__all__ = ["PLATFORMS", "TOOLS", "TRITON_NAMES", "Platform", "Request", "Target", "marker_for", "minors", "parse_requirement"]

TOOLS = ("poetry", "uv", "pip")
# Distributions that install a folder triton/ of upstream's making. Names only: which version belongs to which torch is computed.
TRITON_NAMES = ("triton", "triton-windows", "pytorch-triton")

_NEWEST_MINOR = 20  # of Python 3, when a range with an upper end is counted out


@dataclass(frozen=True)
class Platform:
    """A system and machine. ``tag`` is how its wheels' file names end, ``environment`` what markers see there."""

    name: str
    uv: str  # what uv calls it
    marker: str
    tag: str  # regular expression over the platform tag of a wheel
    environment: dict[str, str] = field(hash=False, default_factory=dict)


def _platform(name: str, uv: str, marker: str, tag: str, sys: str, os_: str, system: str, machine: str) -> Platform:
    return Platform(name, uv, marker, tag, {"sys_platform": sys, "os_name": os_, "platform_system": system, "platform_machine": machine})


_LINUX = "sys_platform == 'linux' and platform_machine == '{}'"
PLATFORMS: dict[str, Platform] = {
    p.name: p
    for p in (
        _platform(
            *("linux-x86_64", "x86_64-manylinux_2_28", _LINUX.format("x86_64"), r"(?:many)?linux\w*_x86_64$"),
            *("linux", "posix", "Linux", "x86_64"),
        ),
        _platform(
            *("linux-aarch64", "aarch64-manylinux_2_28", _LINUX.format("aarch64"), r"(?:many)?linux\w*_aarch64$"),
            *("linux", "posix", "Linux", "aarch64"),
        ),
        _platform("windows", "x86_64-pc-windows-msvc", "sys_platform == 'win32'", r"win_amd64$", "win32", "nt", "Windows", "AMD64"),
        _platform(
            "macos",
            "aarch64-apple-darwin",
            "sys_platform == 'darwin'",
            r"macosx_\w+_(?:arm64|universal2)$",
            "darwin",
            "posix",
            "Darwin",
            "arm64",
        ),
    )
}
_ALIASES = {
    "linux": "linux-x86_64",
    "linux-arm64": "linux-aarch64",
    "win": "windows",
    "windows-x86_64": "windows",
    "darwin": "macos",
    "macos-arm64": "macos",
}


@dataclass(frozen=True)
class Target:
    """One platform under one Python minor release: what is resolved at a time."""

    platform: Platform
    python: str  # "3.11"

    def __str__(self) -> str:
        return f"{self.platform.name}, Python {self.python}"

    def holds(self, requirement: Requirement, extras: Iterable[str] = ()) -> bool:
        """Whether the requirement's marker is true here, with any of the given extras or none."""
        if requirement.marker is None:
            return True
        base = {
            **self.platform.environment,
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
        }
        return any(requirement.marker.evaluate({**base, "extra": extra}) for extra in ("", *extras))


@dataclass(frozen=True)
class Request:
    """All that decides the outcome. Build it with `Request.parse`, which checks the words of a command line."""

    packages: tuple[Requirement, ...]
    python: SpecifierSet
    targets: tuple[Target, ...]
    cuda: str | None  # "12.4", "cpu", or None: whatever build the default index has
    tool: str
    triton: str  # "anytile" or "upstream"
    source: str  # what the index of torch's builds is called in the file
    urls: bool = False  # name torch and what is built for it by the URLs of their wheels
    mirrors: tuple[tuple[str, str], ...] = ()  # (prefix of an address, what to ask instead)
    notes: tuple[str, ...] = ()

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """Each once, in the order asked for."""
        return tuple(dict.fromkeys(t.platform for t in self.targets))

    @property
    def pythons(self) -> tuple[str, ...]:
        """Minor releases, oldest first."""
        return tuple(dict.fromkeys(t.python for t in self.targets))

    @property
    def build(self) -> str | None:
        """The name of torch's build as its index and local versions spell it: "cu124", "cpu"."""
        return None if self.cuda is None else "cpu" if self.cuda == "cpu" else "cu" + self.cuda.replace(".", "")

    def sourced(self, platform: Platform) -> bool:
        """Whether torch comes from an index of its own there. For macOS there is one build, on the default index."""
        return self.cuda is not None and platform.name != "macos"

    @staticmethod
    def parse(
        packages: Iterable[str],
        python: str,
        platforms: Iterable[str],
        cuda: str | None,
        tool: str,
        triton: str = "anytile",
        source: str | None = None,
        urls: bool = False,
        mirrors: Iterable[str] = (),
    ) -> Request:
        """Raises `RequestError` naming the word that is wrong and what would be right."""
        if tool not in TOOLS:
            raise RequestError(f"--tool {tool}: give one of {', '.join(TOOLS)}")
        if triton not in ("anytile", "upstream"):
            raise RequestError(f"--triton {triton}: give anytile or upstream")
        if cuda is not None and cuda != "cpu" and not re.fullmatch(r"\d+\.\d+", cuda):
            raise RequestError(f"--cuda {cuda}: give a version such as 12.4, or cpu")
        if source is not None and not re.fullmatch(r"[A-Za-z0-9][\w.-]*", source):
            raise RequestError(f"--source {source}: a name of letters, digits, - and _ is needed")
        wanted = tuple(parse_requirement(p) for p in packages)
        chosen = []
        for name in platforms:
            key = _ALIASES.get(name.lower(), name.lower())
            if key not in PLATFORMS:
                raise RequestError(f"--platform {name}: give one of {', '.join(PLATFORMS)}")
            chosen.append(PLATFORMS[key])
        specifier, versions, note = minors(python)
        clash = [r.name for r in wanted if canonicalize_name(r.name) in TRITON_NAMES]
        if triton == "anytile" and clash:
            raise RequestError(f"{clash[0]} is asked for, and anytile as Triton: add --triton upstream, or leave {clash[0]} out")
        pairs = []
        for mirror in mirrors:
            before, equals, after = mirror.partition("=")
            if not equals or "://" not in before or "://" not in after:
                raise RequestError(f"--mirror {mirror}: give FROM=TO, two addresses")
            pairs.append((before, after))
        return Request(
            wanted,
            specifier,
            tuple(Target(p, v) for v in versions for p in dict.fromkeys(chosen)),
            cuda,
            tool,
            triton,
            source or ("pytorch-cpu" if cuda == "cpu" else "pytorch-gpu"),
            urls,
            tuple(pairs),
            (note,) if note else (),
        )


def parse_requirement(text: str) -> Requirement:
    """A requirement as pip writes it; `RequestError` otherwise."""
    try:
        return Requirement(text)
    except InvalidRequirement as e:
        raise RequestError(f"{text!r} is no requirement ({str(e).splitlines()[0]}); write it like unsloth[huggingface]>=2025.1") from e


def minors(python: str) -> tuple[SpecifierSet, tuple[str, ...], str]:
    """(range of versions, minor releases in it, a note): "3.11" is that minor release; a range without an end stands for its first."""
    text = python.strip()
    if re.fullmatch(r"3\.\d+", text):
        n = int(text[2:])
        return SpecifierSet(f">=3.{n},<3.{n + 1}"), (text,), ""
    try:
        specifier = SpecifierSet(text)
    except InvalidSpecifier as e:
        raise RequestError(f"Python {text!r} is no release of Python 3: write 3.11, or a range such as '>=3.11,<3.13'") from e
    found = [f"3.{n}" for n in range(8, _NEWEST_MINOR + 1) if any(specifier.contains(f"3.{n}.{patch}") for patch in (0, 99))]
    if not found:
        raise RequestError(f"Python {text!r} has no version in it: write 3.11, or a range such as '>=3.11,<3.13'")
    if found[-1] != f"3.{_NEWEST_MINOR}":
        return specifier, tuple(found), ""
    return specifier, tuple(found[:1]), f"Python {text!r} has no end; the set was sought for {found[0]} only (--python names others)"


def marker_for(platforms: Iterable[Platform], among: Iterable[Platform]) -> str:
    """The shortest marker that is true on ``platforms`` and on no other of ``among``; empty where they are all."""
    inside, all_ = list(dict.fromkeys(platforms)), list(dict.fromkeys(among))
    outside = [p for p in all_ if p not in inside]
    if not outside:
        return ""

    def words(group: list[Platform]) -> list[tuple[str, str]]:
        """The group as (system, machine or empty), machines left out where the system's are all meant."""
        result = []
        for p in group:
            system, machine = p.environment["sys_platform"], p.environment["platform_machine"]
            rivals = [q for q in all_ if q not in group and q.environment["sys_platform"] == system]
            result.append((system, machine if rivals else ""))
        return list(dict.fromkeys(result))

    yes, no = words(inside), words(outside)
    if len(no) < len(yes) and all(not machine for _, machine in no):
        return " and ".join(f"sys_platform != '{system}'" for system, _ in no)
    parts = [f"sys_platform == '{s}'" + (f" and platform_machine == '{m}'" if m else "") for s, m in yes]
    return parts[0] if len(parts) == 1 else " or ".join(f"({p})" if " and " in p else p for p in parts)
