"""The search for a set: ask uv, look at what it found, say more exactly what is wanted, ask again, until nothing is left to say.

What is said more exactly, and why, is kept: it becomes the explanation of the versions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from email.message import Message

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from ..pe import linker_of
from .errors import ConflictError, LockError, RequestError
from .index import PYPI, File, Index, Mirrors, pytorch_index
from .partners import cuda_of, glibc_of, names_missing, partner_name, partner_requirement, requirements, triton_line
from .project import Project
from .request import TRITON_NAMES, Platform, Request, Target, marker_for, parse_requirement
from .resolve import Package, Question, Solution, Source, resolve

__all__ = ["Entry", "Pin", "Plan", "make_plan"]

_ROUNDS = 8
_READERS = 8  # metadata files read at once


@dataclass(frozen=True)
class Entry:
    """One version of a pinned package, where it holds and where it comes from."""

    version: Version | None
    platforms: tuple[Platform, ...]
    source: str | None = None
    wheels: tuple[tuple[Target, File], ...] = ()  # with --urls: the wheel of each target
    url: str | None = None  # given so by the user


@dataclass(frozen=True)
class Pin:
    """A package that the file names with its version. ``reasons`` are sentences, the strongest first."""

    name: str
    extras: tuple[str, ...]
    entries: tuple[Entry, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A set that works together, as far as metadata and what was computed can tell."""

    request: Request
    pins: tuple[Pin, ...]
    sources: tuple[Source, ...]
    left_out: tuple[str, ...]
    solutions: dict[Target, Solution]
    notes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()  # of the machine: driver, C library, Visual C++ runtime
    overrides: tuple[str, ...] = ()  # for uv: requirements whose markers it cannot tell apart by platform


@dataclass
class _Search:
    """The state of the loop."""

    request: Request
    project: Project
    default: Index
    torch_index: Index | None
    look_inside: bool
    told: Callable[[str], None]
    roots: dict[str, Requirement] = field(default_factory=dict)
    others: tuple[Requirement, ...] = ()  # what the project depends on already
    sourced: dict[str, tuple[str, tuple[Platform, ...]]] = field(default_factory=dict)
    constraints: list[tuple[Requirement, str]] = field(default_factory=list)
    left_out: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    cleared: set[str] = field(default_factory=set)  # pairs whose names have been compared
    _metadata: dict[tuple[str, str], Message] = field(default_factory=dict)

    def index_of(self, name: str, target: Target) -> Index:
        """The index that a package comes from there."""
        if name in self.sourced and target.platform in self.sourced[name][1] and self.torch_index is not None:
            return self.torch_index
        return self.default

    def wheel(self, name: str, version: Version | None, target: Target) -> File | None:
        """The wheel that installs there, the most special one first."""
        files = [f for f in self.index_of(name, target).files(name) if f.version == version and f.fits(target)]
        return max(files, key=lambda f: (any(t.startswith(f"cp{target.python.replace('.', '')}-") for t in f.tags), f.name), default=None)

    def metadata(self, name: str, version: Version | None, target: Target) -> Message:
        """Of the wheel that installs there; an empty message where there is none."""
        file = self.wheel(name, version, target)
        if file is None:
            return Message()
        key = (name, file.url)
        if key not in self._metadata:
            self._metadata[key] = self.index_of(name, target).metadata(file)
        return self._metadata[key]

    def constrain(self, text: str, why: str) -> bool:
        """Adds a constraint; whether it is new."""
        requirement = parse_requirement(text)
        if any(str(r) == str(requirement) for r, _ in self.constraints):
            return False
        self.constraints.append((requirement, why))
        return True

    def question(self) -> Question:
        sources = self.project.sources
        known = {s.name for s in sources}
        if self.torch_index is not None and self.request.source not in known:
            sources = (*sources, Source(self.request.source, self.torch_index.url))
        everywhere = {n: (s, self.request.platforms) for n, s in self.project.sourced if n not in self.sourced and s in known}
        mirrors = self.default.mirrors
        default = mirrors.ask(self.default.url)
        return Question(
            (*self.roots.values(), *(r for r in self.others if canonicalize_name(r.name) not in self.roots)),
            sources,
            {**everywhere, **self.sourced},
            tuple(r for r, _ in self.constraints),
            self.left_out,
            mirrors,
            default if default != PYPI else None,
        )


def make_plan(
    request: Request,
    project: Project,
    told: Callable[[str], None] = lambda _: None,
    done: Callable[[Target], None] = lambda _: None,
    look_inside: bool = True,
    default_index: str = PYPI,
) -> Plan:
    """Finds a set for every target of the request. ``told`` hears what is being done, ``done`` each target that is resolved.

    With ``look_inside`` parts of wheels are read too: sources, to compare names, and DLL headers. Raises the errors of `errors.py`.
    """
    mirrors = Mirrors(request.mirrors)
    source_url = next((s.url for s in project.sources if s.name == request.source), None)
    build = request.build
    torch_index = Index(source_url or pytorch_index(build), mirrors) if build else None
    search = _Search(request, project, Index(default_index, mirrors), torch_index, look_inside, told, others=project.dependencies)
    search.notes += [*request.notes, *project.notes]
    for r in request.packages:
        search.roots[str(canonicalize_name(r.name))] = r
    _provide_triton(search)
    if torch_index is not None:
        search.roots.setdefault("torch", next((r for r in project.dependencies if r.name == "torch"), Requirement("torch")))
        search.sourced["torch"] = (request.source, tuple(p for p in request.platforms if request.sourced(p)))
        told("looking for what is built for torch")
        _take(search, _foreseen(search))
    for number in range(1, _ROUNDS + 1):
        told(f"resolving, round {number}")
        try:
            solutions = resolve(search.question(), request, done)
        except ConflictError as e:
            said = [f"- {r}: {why}" for r, why in search.constraints]
            raise (ConflictError(e.where, "\n".join([e.why, "Computed beforehand:", *said])) if said else e) from None
        _hanging(search, solutions)
        if not any([_companions(search, solutions), _partners(search, solutions), _agree(search, solutions)]):
            _check_build(search, solutions)
            return _finish(search, solutions)
    raise LockError(f"the set did not settle in {_ROUNDS} rounds; nothing was written. Last said: {search.constraints[-1][1]}")


def _hanging(search: _Search, solutions: dict[Target, Solution]) -> None:
    """Where nothing was asked for, what is pinned: torch, and those of the project's own dependencies that require it.

    What the file names several times, for one platform each, stays as it is written.
    """
    if search.request.packages:
        return
    asking = {name for s in solutions.values() if "torch" in s for name in (*s["torch"].via, "torch")}
    names = [str(canonicalize_name(r.name)) for r in search.others]
    for name, requirement in zip(names, search.others):
        if name in asking and names.count(name) == 1:
            search.roots.setdefault(name, requirement)


def _provide_triton(search: _Search) -> None:
    """anytile as Triton: it is added, and upstream's binaries are left out where the tool can leave a package out."""
    request = search.request
    if request.triton != "anytile":
        return
    if request.tool == "poetry":
        search.notes.append(
            "Poetry cannot leave out what another package requires: a Triton that torch or Unsloth asks for is still installed"
        )
    else:
        search.left_out = TRITON_NAMES
    from ... import __version__

    if search.default.files("anytile"):
        search.roots.setdefault("anytile", Requirement("anytile"))
    else:
        search.notes.append(f"anytile is not on {search.default.url}: install {__version__} beside this set from where you have it")


def _foreseen(search: _Search) -> dict[str, list[Platform]]:
    """Packages that may hang on torch, and where: those asked for, and those that they require under the extras asked for.

    uv must know their index from the start. Where a wheel is on torch's index only, as xformers' for Windows, it would else take
    some old release of what requires it.
    """
    found: dict[str, list[Platform]] = {}
    targets = search.request.targets
    for root in search.question().roots:
        name = canonicalize_name(root.name)
        if name == "torch" or root.url:
            continue
        found.setdefault(name, []).extend(t.platform for t in targets if t.holds(root))
        newest = max((f.version for f in search.default.files(name) if f.fits(targets[0]) and f.version in root.specifier), default=None)
        lines = list(requirements(search.metadata(name, newest, targets[0])))
        extras, grown = set(root.extras), True
        while grown:  # an extra may ask for the package itself with further extras
            more = {e for r in lines if canonicalize_name(r.name) == name and any(t.holds(r, extras) for t in targets) for e in r.extras}
            grown, extras = not more <= extras, extras | more
        for r in lines:
            found.setdefault(canonicalize_name(r.name), []).extend(t.platform for t in targets if t.holds(root) and t.holds(r, extras))
    return {name: where for name, where in found.items() if where and name != "torch"}


def _companions(search: _Search, solutions: dict[Target, Solution]) -> bool:
    """Packages compiled for torch come from torch's own index where it has them: one build for all of them."""
    askers = {name for s in solutions.values() for name in (s["torch"].via if "torch" in s else ())} - {"you", "torch"}
    return _take(search, {name: [t.platform for t, s in solutions.items() if name in s] for name in askers})


def _take(search: _Search, wanted: dict[str, list[Platform]]) -> bool:
    """Has those of ``wanted`` come from torch's index that are built for torch and listed there; whether any is new."""
    index, request = search.torch_index, search.request
    if index is None:
        return False
    new = sorted(set(wanted) - set(search.sourced))
    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(index.files, new))
    found = False
    for name in new:
        fitting = {
            t.platform: f
            for t in request.targets
            for f in index.files(name)
            if t.platform in search.sourced["torch"][1] and f.fits(t) and not any(tag.endswith("-any") for tag in f.tags)
        }
        if not fitting or not any(canonicalize_name(r.name) == "torch" for r in requirements(index.metadata(next(iter(fitting.values()))))):
            continue
        search.sourced[name] = (request.source, tuple(p for p in request.platforms if p in fitting))
        if name not in search.roots:  # uv heeds an index of its own for what the project itself names, and nothing else
            marker = marker_for(wanted[name], request.platforms)
            search.roots[name] = next((r for r in search.others if r.name == name), Requirement(f"{name} ; {marker}" if marker else name))
        found = True
    return found


def _partners(search: _Search, solutions: dict[Target, Solution]) -> bool:
    """Triton where torch's metadata is silent about it."""
    found = False
    for target, solution in solutions.items():
        torch, name = solution.get("torch"), partner_name(target)
        if torch is None or torch.version is None or name is None:
            continue
        wanted = search.request.triton == "upstream"
        if not wanted and name not in solution:
            continue
        line = triton_line(search.metadata("torch", torch.version, target))
        if line is None or (target.holds(line) and name == canonicalize_name(line.name)):
            continue
        partner = partner_requirement(line, name)
        fitting = [f for f in search.default.files(name) if f.fits(target) and f.version in partner.specifier and not f.yanked]
        if not fitting:
            fixed = search.roots.get("torch")
            why = (
                f"torch {torch.version.public} was made for {line.name}{line.specifier}, and no {name} of that minor release fits {target}"
            )
            if fixed is not None and any(s.operator == "==" for s in fixed.specifier):
                raise RequestError(
                    f"{why}. Ask for another torch, another Python, or anytile as Triton (--triton anytile); nothing was written"
                )
            found |= search.constrain(f"torch<{torch.version.public}", why)
            continue
        why = f"torch {torch.version.public} says {line.name}{line.specifier} in its metadata, for Linux; the same holds on {target.platform.name}"
        if search.constrain(f"{partner} ; {target.platform.marker}", why):
            found = True
            if wanted:
                search.roots.setdefault(name, Requirement(f"{name} ; {target.platform.marker}"))
        elif name in solution and search.look_inside:
            _compare_names(search, target, torch.version, name, solution[name].version)
    return found


def _compare_names(search: _Search, target: Target, torch: Version, name: str, version: Version | None) -> None:
    """The last word on a pair: does this Triton define every name that this torch imports from it?"""
    pair = f"torch {torch} with {name} {version}"
    one, other = search.wheel("torch", torch, target), search.wheel(name, version, target)
    if pair in search.cleared or one is None or other is None:
        return
    search.told(f"comparing names: {pair}")
    missing = names_missing(search.index_of("torch", target).open(one), search.default.open(other))
    search.cleared.add(pair)
    if missing:
        m = missing[0]
        raise RequestError(
            f"{pair} does not work: {m.file}, line {m.line}, imports {m.name or m.module} from {m.module}, which that Triton does not define; nothing was written"
        )
    search.notes.append(f"{pair}: every name that torch imports from Triton is defined there (sources of the two wheels compared)")


def _agree(search: _Search, solutions: dict[Target, Solution]) -> bool:
    """What the file pins has one version everywhere: that of the first target, or the search fails with the reason."""
    found = False
    for name in search.roots:
        versions = {Version(p.version.public): t for t, s in reversed(solutions.items()) if (p := s.get(name)) and p.version}
        if len(versions) > 1:
            first, where = next(reversed(versions.items()))
            found |= search.constrain(f"{name}=={first}", f"one version on every platform: {first} is what {where} takes")
    return found


def _check_build(search: _Search, solutions: dict[Target, Solution]) -> None:
    """Whether torch is the build that was asked for; an index also holds builds without CUDA, for machines that have none."""
    request, index = search.request, search.torch_index
    if request.cuda is None or request.cuda == "cpu" or index is None:
        return
    for target, solution in solutions.items():
        torch = solution.get("torch")
        if torch is None or torch.version is None or not request.sourced(target.platform) or torch.version.local == request.build:
            continue
        if cuda_of(search.metadata("torch", torch.version, target), target) == request.cuda:
            continue
        others = sorted({f.version for f in index.files("torch") if f.fits(target) and f.version.local == request.build})
        have = (
            f"with CUDA {request.cuda} there are {', '.join(map(str, others[-4:]))}" if others else f"it has none with CUDA {request.cuda}"
        )
        raise RequestError(
            f"{index.url} has torch {torch.version} for {target}, which is a build without CUDA {request.cuda}; {have}. "
            "Ask for another torch or --cuda, or leave that platform out; nothing was written"
        )


def _finish(search: _Search, solutions: dict[Target, Solution]) -> Plan:
    request = search.request
    names = [n for n in search.roots if any(n in s for s in solutions.values())]
    if not request.packages:  # nothing new was asked for: pin what hangs on torch
        names = [
            n for n in names if n == "torch" or n in search.sourced or any(n in s["torch"].via for s in solutions.values() if "torch" in s)
        ]
    asked: dict[str, Requirement] = {canonicalize_name(r.name): r for r in (*search.others, *request.packages)}
    search.told("reading why")
    why = _reasons(search, solutions, names)
    needs = tuple(_needs(search, solutions))
    pins = tuple(
        Pin(name, tuple(sorted(asked[name].extras)) if name in asked else (), _entries(search, solutions, name), tuple(why[name]))
        for name in names
    )
    overrides = tuple(_overrides(search, solutions)) if request.tool == "uv" else ()
    if request.tool == "pip":
        search.told("reading the hashes of the wheels that fit")
        solutions = _fitting_hashes(search, solutions)
    sources = (Source(request.source, search.torch_index.url),) if search.torch_index is not None else ()
    return Plan(request, pins, sources, search.left_out, solutions, tuple(dict.fromkeys(search.notes)), needs, overrides)


def _overrides(search: _Search, solutions: dict[Target, Solution]) -> Iterable[str]:
    """What uv has to be told once more, to lock for all platforms at once.

    `triton>=3 ; 'linux' in sys_platform` is a marker that it evaluates for one platform, and cannot exclude for another: it would
    look for a Triton on Windows, and find that there is none. Where a package is, and in which version, is known here.
    """
    partial = {name for s in solutions.values() for name in s if any(name not in other for other in solutions.values())}
    for name in sorted(partial):
        vague = False
        for target, solution in solutions.items():
            for asker in solution[name].via if name in solution else ():
                if asker != "you":
                    lines = requirements(search.metadata(asker, solution[asker].version, target))
                    vague |= any(canonicalize_name(r.name) == name and re.search(r"['\"] in \w|\w in ['\"]", str(r.marker)) for r in lines)
        if vague:
            for entry in _entries(search, solutions, name):
                marker = marker_for(entry.platforms, search.request.platforms)
                yield f"{name}=={entry.version}{f' ; {marker}' if marker else ''}"


def _fitting_hashes(search: _Search, solutions: dict[Target, Solution]) -> dict[Target, Solution]:
    """The solutions with the hashes of those wheels only that install on their target; uv gives those of every file of a release."""
    jobs = list({(name, search.index_of(name, t)): None for t, s in solutions.items() for name in s})
    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(lambda job: job[1].files(job[0]), jobs))

    def fitting(target: Target, package: Package) -> Package:
        files = search.index_of(package.name, target).files(package.name)
        hashes = tuple(f"sha256:{f.sha256}" for f in files if f.version == package.version and f.sha256 and f.fits(target))
        return replace(package, hashes=tuple(h for h in hashes if h in package.hashes) or package.hashes)

    return {t: {name: fitting(t, package) for name, package in s.items()} for t, s in solutions.items()}


def _entries(search: _Search, solutions: dict[Target, Solution], name: str) -> tuple[Entry, ...]:
    groups: dict[tuple[Version | None, str | None, str | None], list[Target]] = {}
    for target, solution in solutions.items():
        if name in solution:
            package = solution[name]
            source = search.sourced[name][0] if name in search.sourced and target.platform in search.sourced[name][1] else None
            groups.setdefault((package.version, source, package.url), []).append(target)
    entries = []
    for (version, source, url), targets in groups.items():
        wheels = [(t, search.wheel(name, version, t)) for t in targets] if search.request.urls and source else []
        entries.append(
            Entry(
                version,
                tuple(dict.fromkeys(t.platform for t in targets)),
                source,
                tuple((t, f) for t, f in wheels if f is not None),
                url,
            )
        )
    return tuple(entries)


def _reasons(search: _Search, solutions: dict[Target, Solution], names: Iterable[str]) -> dict[str, list[str]]:
    """Why each version: the request, the metadata of those that ask for it, what was computed."""
    jobs = {}
    for target, solution in solutions.items():
        for name in names:
            for asker in solution[name].via if name in solution else ():
                if asker != "you" and asker in solution and (asker, solution[asker].version) not in jobs:
                    jobs[asker, solution[asker].version] = target
    with ThreadPoolExecutor(_READERS) as pool:
        read = dict(zip(jobs, pool.map(lambda job: search.metadata(job[0][0], job[0][1], job[1]), jobs.items()), strict=True))
    result: dict[str, list[str]] = {}
    for name in names:
        said = [f"you asked for {r}" for r in search.request.packages if canonicalize_name(r.name) == name]
        said += [f"{search.project.path.name} has {r}" for r in search.others if canonicalize_name(r.name) == name and not said]
        said += [why for r, why in search.constraints if canonicalize_name(r.name) == name]
        bounds = []
        for (asker, version), message in read.items():
            lines = {f"{r.name}{r.specifier}" for r in requirements(message) if canonicalize_name(r.name) == name and r.specifier}
            extras = {e for r in search.roots.values() if canonicalize_name(r.name) == asker for e in r.extras}
            held = {
                f"{r.name}{r.specifier}"
                for r in requirements(message)
                if canonicalize_name(r.name) == name and r.specifier and any(t.holds(r, extras) for t in solutions)
            }
            bounds += [
                (not any(c in line for c in ("==", "<", "~=")), f"{asker} {version} requires {line}") for line in sorted(lines & held)
            ]
        said += [text for _, text in sorted(bounds)]
        if name in search.sourced and search.torch_index is not None:
            said.append(f"built for {search.request.build}: from {search.torch_index.url}")
        if not any("==" in s for s in said):
            said.append("the newest that all of this allows")
        result[name] = said
    return result


def _needs(search: _Search, solutions: dict[Target, Solution]) -> Iterable[str]:
    """What the machine must bring, by the wheels themselves."""
    request = search.request
    cuda = request.cuda if request.cuda != "cpu" else None
    linux: list[File] = []
    for target, solution in solutions.items():
        torch = solution.get("torch")
        if torch is None or torch.version is None:
            continue
        if cuda is None and request.cuda is None and target.platform.name.startswith("linux"):
            cuda = cuda_of(search.metadata("torch", torch.version, target), target)
        file = search.wheel("torch", torch.version, target)
        if file is not None and target.platform.name.startswith("linux"):
            linux.append(file)
    if cuda:
        yield f"an NVIDIA driver that runs CUDA {cuda.split('.')[0]}.0 or newer (nvidia-smi shows up to which); for kernels in PTX, CUDA {cuda}"
    if glibc := glibc_of(linux):
        yield f"on Linux, a C library (glibc) {glibc} or newer: the tag of torch's wheel"
    if search.look_inside and (linker := _linker(search, solutions)):
        yield f"on Windows, a Visual C++ runtime {linker[0]}.{linker[1]} or newer (msvcp140.dll): the linker that made torch's c10.dll or libtriton.pyd"


def _linker(search: _Search, solutions: dict[Target, Solution]) -> tuple[int, int] | None:
    found = []
    for target, solution in solutions.items():
        if target.platform.name != "windows":
            continue
        for name, inside in (("torch", "torch/lib/c10.dll"), ("triton-windows", "triton/_C/libtriton.pyd")):
            file = search.wheel(name, solution[name].version, target) if name in solution else None
            if file is not None:
                search.told(f"reading {inside} of {file.name}")
                wheel = search.index_of(name, target).open(file)
                if name == "torch" and search.request.cuda is None and not any("torch_cuda" in n for n in wheel.names):
                    search.notes.append(
                        f"{file.name} is a build without CUDA; --cuda 12.4 or the like takes torch from an index of CUDA builds"
                    )
                linker = linker_of(wheel.beginning(inside, 4096)) if inside in wheel.names else None
                found += [linker] if linker else []
        break  # one Python is enough: the wheels of a release are made together
    return max(found, default=None)
