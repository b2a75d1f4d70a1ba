"""What was installed, into what, by what: Python versions, sources, builds, leftovers, foreign folders, caches."""

from __future__ import annotations

import ntpath
import shlex
from collections.abc import Iterator

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from ..facts import Distribution, Facts
from .clues import USER_SITE, all_of, any_of, in_log, on, seen, text, unless
from .model import CERTAIN, Clue, Evidence, Fix, Rule, install
from .windows import NO_PROGRAM, library

__all__ = ["RULES"]

_IN_VENV = any_of(seen("path", r".*[\\/]\.?v?env[\\/].*"), seen("frame", r".*[\\/]\.?venv[\\/].*"), seen("tool", r"poetry"))
_PLACEHOLDER = (0, 1, 2)  # torch 0.1.2, a source release without content, fits every Python
_CACHE = r"\.triton\b|torchinductor|inductor_cache|triton[\\/]runtime[\\/]cache\.py|triton[\\/_]+cache|TRITON_CACHE"
_STACK = ("torch", "triton", "triton-windows", "torchvision", "torchaudio", "xformers", "bitsandbytes", "numpy", "flash-attn", "unsloth")


def _user_site(facts: Facts) -> Iterator[Evidence]:
    user = facts.interpreter.user_site
    for d in facts.distributions if user and facts.log is None else ():
        if d.location == user and (d.name in _STACK):
            yield Evidence(f"{d.name} {d.version} comes from the user's folder, which this environment reads", d.location)


def _python_tags(facts: Facts) -> Iterator[Evidence]:
    version = facts.interpreter.version
    if version is None or facts.log is not None:
        return
    for d in facts.distributions:
        if d.requires_python and d.name in _STACK:
            try:
                fits = SpecifierSet(d.requires_python).contains(version, prereleases=True)
            except InvalidSpecifier:
                continue
            if not fits:
                yield Evidence(f"{d.name} {d.version} is for Python {d.requires_python}, this is {version}", f"{d.name} METADATA")


def _stale_base(facts: Facts) -> Iterator[Evidence]:
    if facts.interpreter.stale:
        yield Evidence(facts.interpreter.stale, f"{facts.interpreter.prefix}/pyvenv.cfg")


def _unfit_wheels(facts: Facts) -> Iterator[tuple[Distribution, Evidence]]:
    """Wheels for another system, and extensions compiled for another CPython minor: only with these does a foreign tag matter."""
    minor = (facts.interpreter.minor or "").replace(".", "")
    mine = {"windows": "win", "linux": "linux", "darwin": "macosx"}.get(facts.platform.system or "")
    for d in facts.distributions if facts.log is None else ():
        pythons = {t.split("-")[0] for t in d.tags}
        abis = {t.split("-")[1] for t in d.tags if t.count("-") >= 2}
        platforms = {t.rsplit("-", 1)[1] for t in d.tags if t.count("-") >= 2} - {"any"}
        compiled = d.extensions and pythons and all(p.startswith("cp3") for p in pythons) and "abi3" not in abis
        if minor and compiled and f"cp{minor}" not in pythons:
            what = f"{d.name} {d.version} was compiled for {'/'.join(sorted(pythons))}, this is cp{minor}"
            yield d, Evidence(what, f"{d.location}/{d.name}")
        if mine and platforms and not any(mine in p for p in platforms):
            yield d, Evidence(f"{d.name} {d.version} is a wheel for {'/'.join(sorted(platforms))}", d.location)


def _offered(facts: Facts) -> Iterator[Evidence]:
    """pip lists what there is for this Python: all of it newer than what was asked for, or older."""
    for m in facts.log.of("offered") if facts.log else ():
        try:
            asked = Version(m.value.partition("==")[2]).release
            there = sorted(Version(v.strip()).release for v in m.detail.split(",") if v.strip()[:1].isdigit())
        except InvalidVersion:
            continue
        if there and not there[0] <= asked <= there[-1]:
            yield Evidence(
                f"{m.value} was asked for; what pip finds for this Python is {'newer' if asked < there[0] else 'older'}",
                f"log line {m.line}",
            )
        elif there and asked not in there and there[0] == _PLACEHOLDER:
            yield Evidence(f"{m.value} was asked for; of that time pip finds only torch's placeholder", f"log line {m.line}")


def _leftovers(facts: Facts) -> Iterator[Evidence]:
    for path in facts.leftovers:
        yield Evidence("left over from an interrupted installation", path)


def _for_this_python(facts: Facts) -> Iterator[Fix]:
    """With pip the packages in question; a project's own tool has the list of all of them."""
    unfit = {d.name for d, _ in _unfit_wheels(facts)}
    wrong = unfit | {x.distribution for x in facts.libraries if x.problem == "python"}
    named = [f"{d.name}=={d.version}" for d in facts.distributions if d.name in wrong]
    tool = facts.project.tool
    if named and tool not in ("poetry", "uv"):
        command = f"python -m pip install --force-reinstall --no-deps {' '.join(named)}"
        yield Fix("Install those packages again, for this Python", (command,))
    # A wheel whose tags do not fit came past the lock file; where only words tell of it, the lock file may name it.
    lock = () if unfit else (f"{tool} lock",)
    inner = r".venv\Scripts\python" if facts.platform.system in ("windows", None) else ".venv/bin/python"
    rebuild = {
        "poetry": ("poetry env remove --all", *lock, "poetry sync"),
        "uv": (*lock, "uv sync --reinstall"),
    }.get(tool, ("python -m venv --clear .venv", f"{inner} -m pip install -r requirements.txt"))
    yield Fix("Build the environment anew from pinned requirements", rebuild)


def _leaking(facts: Facts) -> list[str]:
    user = facts.interpreter.user_site
    return [d.name for d in facts.distributions if user and d.location == user and d.name in _STACK]


def _corrupt(facts: Facts) -> Iterator[Evidence]:
    for cache in facts.caches:
        for path in cache.corrupt[:3]:
            yield Evidence("cannot be read back: empty or cut short", path)


def _stale(facts: Facts) -> Iterator[Evidence]:
    for cache in facts.caches:
        for path in cache.stale[:3]:
            yield Evidence(f"compiled for another Python than {facts.interpreter.minor}", path)


def _denied(facts: Facts) -> Iterator[Evidence]:
    for cache in facts.caches:
        if not cache.writable and cache.kind in ("triton", "inductor"):
            yield Evidence("the cache cannot be written", cache.path)


def _move(path: str, windows: bool) -> str:
    """The command that moves something aside, beside itself."""
    return f'ren "{path}" {ntpath.basename(path)}.old' if windows else f"mv {shlex.quote(path)} {shlex.quote(path + '.old')}"


def _clear(facts: Facts) -> list[Fix]:
    windows = facts.platform.system == "windows"
    bad = [c for c in facts.caches if c.corrupt or c.stale]
    if bad:  # the folders are known: those, and no others
        return [Fix("Move the cache aside; it fills again", tuple(_move(c.path, windows) for c in bad), safe=True)]
    if facts.platform.system == "windows":
        remove: tuple[str, ...] = (r"ren %USERPROFILE%\.triton\cache cache.old", r"ren %TEMP%\torchinductor_%USERNAME% torchinductor.old")
    else:
        remove = ("mv ~/.triton/cache ~/.triton/cache.old", "mv ${TMPDIR:-/tmp}/torchinductor_$USER ${TMPDIR:-/tmp}/torchinductor.old")
    return [Fix("Move both caches aside; they fill again", remove, safe=True)]


RULES = (
    Rule(
        "python_unsupported",
        "this Python is one for which the package has no release",
        (
            Clue(CERTAIN, _python_tags),
            Clue(0.85, _offered),
            Clue(0.5, text(r"doesn't have a source distribution or wheel for the current platform")),
            Clue(
                0.8,
                text(r"only found wheels for|not compatible with some of the required packages Python requirement|matching Python ABI tag"),
            ),
            Clue(0.93, text(r"Dynamo is not supported on Python|torch\.compile is not supported on Python")),
            Clue(0.75, seen("wrong_wheel")),
            Clue(0.8, seen("other_python")),
            Clue(0.7, seen("requires_python")),
            Clue(
                0.7,
                all_of(any_of(seen("no_versions", r"(?!triton).*"), seen("no_distribution", r"(?!triton\b).*")), unless(seen("machine"))),
            ),
            Clue(0.4, all_of(seen("no_distribution", r"triton"), unless(seen("no_versions")))),
            Clue(0.3, seen("no_versions", r"triton")),
            Clue(0.6, seen("no_wheel", r"(?:cp|py)3\d+")),
            Clue(0.5, seen("python_limit")),
            Clue(0.9, seen("only_wheels", "Python")),
            Clue(0.65, seen("missing_module", r"distutils(?:\.\w+)*|imp")),
        ),
        lambda f: [
            Fix(
                "Use a Python that the package names: see the cp tags of its files",
                {
                    "poetry": ("poetry env use 3.12",),
                    "uv": ("uv python pin 3.12", "uv sync"),
                    "conda": ("conda create -n new python=3.12",),
                }.get(f.project.tool, ("python3.12 -m venv .venv",)),
            )
        ],
        decide=("python -VV", "pip debug --verbose | grep -A5 'Compatible tags'"),
    ),
    Rule(
        "win_wrong_wheel_or_stale_venv",
        "the files belong to another Python, platform or lock file than this environment",
        (
            Clue(CERTAIN, lambda f: [evidence for _, evidence in _unfit_wheels(f)]),
            Clue(CERTAIN, library("python", "site-packages")),
            Clue(CERTAIN, _stale_base),
            Clue(0.75, seen("win_error", r"193")),
            Clue(0.9, seen("python_library")),
            Clue(0.44, seen("failed_extension", r"libtriton")),
            Clue(0.2, all_of(seen("failed_extension", r"libtriton"), _IN_VENV)),
            Clue(0.2, seen("win_error", r"127")),
        ),
        _for_this_python,
        against=(Clue(0.9, all_of(on("linux", "darwin"), in_log)),),
        decide=("python -VV", "python -m pip debug --verbose", "anytile doctor"),
    ),
    Rule(
        "poetry_source",
        "the lock file names a build that the source does not have for this Python or system",
        (
            Clue(0.92, seen("no_candidate")),
            Clue(0.6, text(r"poetry[\\/]installation[\\/]chooser\.py|wheel\(s\) were skipped as your project's environment")),
            Clue(0.7, all_of(text(r"@ registry\+https://download\.pytorch\.org"), text(r"doesn't have a source distribution or wheel"))),
            Clue(
                0.6,
                all_of(
                    seen("tool", "poetry"),
                    text(r"(?i)no matching|version solving failed|source|priority"),
                    seen("exception", r"RuntimeError|SolverProblemError|PackageNotFound\w*"),
                ),
            ),
            Clue(0.4, all_of(seen("tool", "poetry"), text(r"[Vv]ersion solving failed|SolverProblemError"))),
        ),
        lambda f: [
            Fix(
                "Name torch's index as an explicit source and lock again",
                (
                    "poetry source add --priority=explicit pytorch-gpu https://download.pytorch.org/whl/cuXYZ",
                    "poetry add torch --source pytorch-gpu",
                    "poetry lock",
                ),
            )
        ],
        against=(Clue(0.6, seen("only_wheels", "Python")),),
        rules_out=("python_unsupported",),
        decide=("poetry env info", "poetry source show"),
    ),
    Rule(
        "build_isolation",
        "a package is built from source in an environment of its own, in which torch is not installed",
        (
            Clue(0.88, all_of(seen("missing_module", r"torch(?:\.\w+)*"), seen("building"))),
            Clue(0.45, all_of(seen("missing_module", r"torch"), unless(seen("building")))),
            Clue(
                0.7,
                all_of(
                    seen("missing_module", r"packaging|wheel|setuptools|ninja|psutil"),
                    any_of(seen("building"), text(r"flash|xformers|deepspeed")),
                ),
            ),
            Clue(0.5, text(r"no-build-isolation")),
            Clue(0.75, all_of(seen("building"), text(r"(?i)(?:unable to|cannot|could not) import torch\b"))),
        ),
        lambda f: [
            Fix(
                "Build with the installed torch",
                ("python -m pip install --no-build-isolation PACKAGE",)
                if f.project.tool != "uv"
                else ("uv pip install --no-build-isolation PACKAGE",),
            ),
            Fix("Or install a wheel built for this torch and Python"),
        ],
        decide=("pip show torch",),
    ),
    Rule(
        "leftover_files",
        "an interrupted installation left folders behind",
        (
            Clue(CERTAIN, _leftovers),
            Clue(0.95, seen("invalid_distribution")),
            Clue(0.85, text(r"no RECORD file was found|uninstall-no-record|missing 'RECORD' file")),
            Clue(0.4, text(r"Cannot uninstall")),
        ),
        lambda f: [
            Fix("Delete them, then install the package again", tuple(f"rm -r {p!r}" for p in f.leftovers) or ("rm -r SITE_PACKAGES/~*",))
        ],
        decide=("ls -d SITE_PACKAGES/~*",),
    ),
    Rule(
        "user_site_leak",
        "a package from the user's own folder is taken into an environment that has, or should have, its own copy",
        (
            Clue(0.95, _user_site),
            Clue(
                0.72,
                all_of(
                    text(USER_SITE),
                    any_of(seen("exception"), seen("failed_extension")),
                    unless(seen("undefined_symbol"), seen("version_node")),
                ),
            ),
            Clue(0.3, all_of(text(USER_SITE), any_of(seen("exception"), seen("missing_module"), seen("statement")))),
            Clue(0.36, seen("failed_extension", r"libtriton")),
        ),
        lambda f: [
            Fix(
                "Do not read that folder, and install what came from there into the environment itself",
                (
                    "set PYTHONNOUSERSITE=1" if f.platform.system == "windows" else "export PYTHONNOUSERSITE=1",
                    *(install(f, *_leaking(f)) if _leaking(f) else ()),
                ),
            ),
        ],
        decide=("python -m site",),
    ),
    Rule(
        "cache_corrupt",
        "an entry of a compile cache is damaged or was written by two processes at once",
        (
            Clue(0.95, _corrupt),
            Clue(
                0.85,
                all_of(
                    seen("exception", r"JSONDecodeError|EOFError|UnpicklingError|BadZipFile"), text(rf"{_CACHE}|triton|inductor|codecache")
                ),
            ),
            Clue(0.5, seen("exception", r"JSONDecodeError")),
            Clue(0.75, seen("statement", r"(?i)stale.*|Text file busy")),
            Clue(
                0.75,
                all_of(
                    any_of(
                        seen("exception", r"FileNotFoundError|FileExistsError"),
                        seen("errno", r"2|17|39|116"),
                        seen("win_error", r"183"),
                        text(r"No such file or directory"),
                    ),
                    text(_CACHE),
                    unless(seen("header"), seen("statement", r"Failed to find.*")),
                ),
            ),
            Clue(0.3, text(_CACHE)),
            Clue(0.75, all_of(text(r"file too short|invalid ELF header|truncated"), text(_CACHE))),
        ),
        lambda f: [
            *_clear(f),
            Fix("On a shared home: keep the cache on a local disk", ("export TRITON_CACHE_DIR=/tmp/triton-$USER",), safe=True),
        ],
        against=(
            Clue(0.5, all_of(on("windows"), unless(seen("exception", r"JSONDecodeError|EOFError")))),
            Clue(0.8, any_of(seen("win_error", "5"), seen("errno", "13"), seen("exception", "PermissionError"))),
        ),
        decide=("find ~/.triton/cache -size 0", "df -T ~/.triton"),
    ),
    Rule(
        "cache_stale_after_upgrade",
        "the compile cache holds extensions built for an earlier Python, torch or Triton",
        (
            Clue(0.6, _stale),  # a cache that two Pythons share may hold such files without harm
            Clue(0.6, seen("failed_extension", r"__triton_launcher|\w*launcher\w*")),
            Clue(0.5, seen("failed_extension", r"cuda_utils|__triton_cuda_utils")),
            Clue(0.85, text(r"PY_SSIZE_T_CLEAN")),
            Clue(0.5, seen("missing_module", r"__triton_launcher|cuda_utils")),
            Clue(0.4, all_of(seen("undefined_symbol"), text(_CACHE))),
            Clue(0.7, all_of(seen("undefined_symbol", r"_?Py[A-Z_]\w*"), text(_CACHE))),
        ),
        _clear,
        decide=("dir %USERPROFILE%\\.triton\\cache /s /o:d",),
    ),
    Rule(
        "permission",
        "a cache folder cannot be written by this user",
        (
            Clue(0.95, _denied),
            Clue(0.7, seen("statement", r"Could not create or locate cache dir|failed to map segment")),
            Clue(
                0.85, all_of(any_of(seen("win_error", r"5"), seen("errno", r"13|30"), seen("exception", r"PermissionError")), text(_CACHE))
            ),
            Clue(0.4, all_of(any_of(seen("exception", r"PermissionError"), seen("errno", r"13")), unless(NO_PROGRAM))),
            Clue(0.8, seen("statement", r"getpwuid.*")),  # the folder is named after a user, and the container knows none of that number
            Clue(0.6, all_of(text(r"pwd\.getpwuid|getpass\.getuser"), seen("exception", r"KeyError|OSError"))),
        ),
        lambda f: [
            Fix(
                "Use a cache folder of your own",
                (r"set TRITON_CACHE_DIR=%LOCALAPPDATA%\tc",)
                if f.platform.system == "windows"
                # by name, where the user has none: torch's own folder is named after the user
                else (
                    ("export TRITON_CACHE_DIR=/tmp/triton TORCHINDUCTOR_CACHE_DIR=/tmp/inductor",)
                    if f.log and any("getpwuid" in line or "getuser" in line for line in f.log.lines)
                    else ("export TRITON_CACHE_DIR=$HOME/.cache/triton",)
                ),
                safe=True,
            )
        ],
        decide=("ls -ld ~/.triton /tmp/torchinductor_*; id", "icacls %USERPROFILE%\\.triton"),
    ),
)
