"""torch, Triton and the packages that use Triton: one of them asks for a name that another does not have."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from ..dists import triton_requirement
from ..facts import Distribution, Facts
from .clues import all_of, any_of, failing, in_log, on, raised_in, seen, text, unless
from .model import CERTAIN, Clue, Evidence, Fix, Rule, install

__all__ = ["RULES", "conflicts"]

# Parts that every Triton has had since 2.0: where one of them is missing, what answers to `triton` is not Triton.
_ALWAYS = r"triton\.(?:language|compiler|runtime|testing)"
_OTHER_PROJECTS = (
    r"TritonContext|ARCH|OPCODE|AST_\w+|Instruction|MemoryAccess|InferenceServerClient"  # of programs that are also named Triton
)
_ALWAYS_NAMES = r"jit|autotune|heuristics|Config|cdiv|next_power_of_2|language|testing|compile|runtime|compiler|libtriton"
# Classes of Triton that torch makes objects of.
_API = r"GPUTarget|ASTSource|CompiledKernel|JITFunction|AttrsDescriptor|KernelMetadata|IRSource"
# One file of Triton asks another of its files: torch has no part in it.
_WITHIN_TRITON = any_of(
    raised_in(r"[\\/](?:site|dist)-packages[\\/]triton[\\/]", "missing_name", "missing_module", "missing_attribute"),
    text(r"\b(?:via|at|in|by) triton(?:\.\w+){2,}"),
)
# A module of Python's own, loaded from another place than Python's library.
_OWN_MODULE_HIDDEN = (
    r"cannot import name ['\"]\w+['\"] from ['\"](?P<m>random|types|copy|enum|select|queue|code|token|tokenize|math|string|platform|logging"
    r"|statistics|typing|warnings|signal|operator|numbers|inspect|secrets|dataclasses|glob|io|csv|json|abc|ast|time|email|profile)['\"] "
    r"\((?![^)]*[\\/]lib(?:64)?[\\/](?:python\d[\d.]*t?[\\/])?(?P=m)(?:\.py|[\\/]))[^)]+\)"
)


def _pin(facts: Facts) -> Requirement | None:
    torch = facts.distribution("torch")
    return triton_requirement(torch.requires) if torch else None


def _own_triton(facts: Facts) -> tuple[str, str | None, str | None]:
    """(what to install, the version that torch asks for, the index that has it if it is not PyPI): `triton-windows==3.2.*` and 3.2.0.

    The bare name where torch asks for none. What nightly builds, ROCm's and Intel's ask for (`pytorch-triton…`) lies beside them alone.
    """
    pin = _pin(facts)
    asked = next((s.version for s in pin.specifier), None) if pin else None
    if pin and asked and facts.torch and pin.name.replace("_", "-").startswith("pytorch-triton"):
        public, _, local = facts.torch.version.partition("+")
        nightly = "nightly/" if ".dev" in public else ""
        return f"{pin.name}{pin.specifier}", asked, f"https://download.pytorch.org/whl/{nightly}{local or 'cpu'}"
    name = "triton-windows" if facts.platform.system == "windows" else "triton"
    return (f"{name}=={'.'.join(asked.split('.')[:2])}.*" if asked else name), asked, None


def conflicts(facts: Facts, package: str, needs: str) -> Iterator[tuple[Distribution, Requirement]]:
    """Requirements of the installed ``package`` on ``needs`` that the installed ``needs`` does not meet (local versions aside)."""
    one, other = facts.distribution(package), facts.distribution(needs)
    if one is None or other is None or facts.log is not None:
        return
    for text_ in one.requires:
        try:
            requirement = Requirement(text_)
            version = Version(other.version).public
        except (InvalidRequirement, InvalidVersion):
            continue
        if requirement.name.replace("_", "-").lower() != needs or (requirement.marker and "extra" in str(requirement.marker)):
            continue
        if requirement.specifier and not requirement.specifier.contains(version, prereleases=True):
            yield one, requirement


def _missing_names(facts: Facts) -> Iterator[Evidence]:
    for m in (facts.triton.missing_names if facts.triton else ())[:6]:
        what = f"{m.name} from {m.module}" if m.name else m.module
        yield Evidence(f"imports {what}, which Triton {facts.triton.version if facts.triton else ''} does not define", f"{m.file}:{m.line}")


def _pin_missed(facts: Facts) -> Iterator[Evidence]:
    """The pin compared at the minor release: private names move between minors, not between patches."""
    pin = _pin(facts)
    if pin is None or facts.torch is None or facts.triton is None or not facts.triton.version or "anytile" in facts.triton.owners:
        return
    asked = next((s.version for s in pin.specifier if s.operator in ("==", "~=", "===")), None)
    try:
        if asked is None or Version(asked).release[:2] == Version(facts.triton.version).release[:2]:
            return
    except InvalidVersion:
        return
    yield Evidence(f"torch {facts.torch.version} asks for {pin.name}{pin.specifier}; installed is {facts.triton.version}", "torch METADATA")


def _skew_fixes(facts: Facts) -> Iterator[Fix]:
    wanted, asked, index = _own_triton(facts)
    if asked:
        yield Fix(f"Install the Triton that this torch was made for ({asked})", install(facts, wanted, index=index))
    else:
        yield Fix(
            "Install the Triton minor release that torch's own metadata names: see its Requires-Dist (the Linux wheel's line holds for Windows too)",
            ("python -c \"import importlib.metadata as m; print([r for r in m.requires('torch') if 'triton' in r])\"",),
            safe=True,
        )
    yield Fix("Or let anytile answer `import triton` with the API that this torch expects", ("anytile enable",), safe=True)


def _consumer(facts: Facts) -> Iterator[Fix]:
    if facts.log is None:
        names = sorted({library.distribution or "PACKAGE" for library in facts.libraries if library.problem == "removed_module"})
    else:
        names = ["bitsandbytes"] if facts.log.has("missing_module", "triton.ops") else ["PACKAGE"]
    yield Fix("Upgrade the package that imports the removed module (the last frame of the traceback names it)", install(facts, *names))


def _old_consumers(facts: Facts) -> Iterator[Evidence]:
    if facts.triton and facts.log is None:
        for library in facts.libraries:
            if library.problem == "removed_module":
                yield Evidence(f"{library.distribution} imports {library.value}, which the installed Triton does not have", library.path)


def _wrong_owner(facts: Facts) -> Iterator[Evidence]:
    for owner in facts.triton.owners if facts.triton and facts.log is None else ():
        if not owner.startswith(("triton", "pytorch-triton", "anytile", "intel-xpu-backend")) or owner in (
            "triton-library",
            "tritonclient",
        ):
            yield Evidence(f"{owner} installed the folder triton/", facts.triton.location if facts.triton else "")


def _one_triton(facts: Facts) -> list[Fix]:
    owners = facts.triton.owners if facts.triton and len(facts.triton.owners) > 1 else ("triton", "triton-windows", "pytorch-triton")
    wanted, _, index = _own_triton(facts)
    return [
        Fix(
            "Remove every Triton, then install the one for this system",
            (f"python -m pip uninstall -y {' '.join(owners)}", *install(facts, wanted, index=index)),
        )
    ]


def _renamed(facts: Facts) -> list[Fix]:
    """Moves out of the way what hides a package; where only a log is there, how to find it."""
    windows = facts.platform.system == "windows"
    commands = []
    for path in facts.shadows:
        folder, _, name = path.replace("\\", "/").rpartition("/")
        new = f"my_{name}"
        commands.append(f'ren "{path}" {new}' if windows else f"mv {shlex.quote(path)} {shlex.quote(f'{folder}/{new}')}")
    if not commands:
        commands = ['python -c "import triton; print(triton.__path__)"']
    return [Fix("Rename that file or folder, or start the program in another folder", tuple(commands), safe=True)]


def _two_owners(facts: Facts) -> Iterator[Evidence]:
    if facts.triton and len(facts.triton.owners) > 1:
        yield Evidence(f"{' and '.join(facts.triton.owners)} both wrote the folder triton/", facts.triton.location)


def _two_in_log(facts: Facts) -> Iterator[Evidence]:
    """triton and another distribution of it both with a version: a list of packages was pasted."""
    for d in facts.distributions if facts.log else ():
        if d.name.startswith(("triton-windows", "pytorch-triton")) and facts.distribution("triton"):
            yield Evidence(f"the log lists both triton and {d.name}", "log")


def _no_triton_named(facts: Facts) -> Iterator[Evidence]:
    """Holds, in an `all_of`, for a log that names no release of Triton."""
    if facts.triton is None:
        yield Evidence("")


def _required_and_absent(facts: Facts) -> Iterator[Evidence]:
    """Packages whose metadata asks for Triton on this system, where nothing answers to the name.

    Not torch itself: it imports Triton on compiling alone, and environments that never do are made without it on purpose.
    """
    if facts.log is not None or facts.triton is not None:
        return
    systems = {"linux": ("linux", "Linux"), "windows": ("win32", "Windows"), "darwin": ("darwin", "Darwin")}
    platform, system = systems.get(facts.platform.system or "", ("", ""))
    here = {"sys_platform": platform, "platform_system": system, "platform_machine": facts.platform.machine or "", "extra": ""}
    here |= {"python_version": facts.interpreter.minor or "", "python_full_version": facts.interpreter.version or ""}
    for d in facts.distributions:
        for text_ in d.requires if d.name not in ("torch", "anytile") else ():
            try:
                requirement = Requirement(text_)
                wanted = requirement.marker is None or requirement.marker.evaluate(here)
            except (InvalidRequirement, InvalidVersion, UndefinedEnvironmentName):
                continue
            if wanted and re.fullmatch(r"triton(?:-windows)?|pytorch-triton(?:-\w+)?", requirement.name.replace("_", "-").lower()):
                yield Evidence(f"{d.name} {d.version} requires {requirement}, and no Triton is installed", f"{d.name} METADATA")


def _some_triton(facts: Facts) -> Iterator[Fix]:
    yield Fix("Let anytile answer `import triton`: it runs on every system", ("anytile enable",), safe=True)
    wanted, _, index = _own_triton(facts)
    if facts.platform.system == "linux" and facts.log is None:
        what = "the Triton that this torch goes with" if facts.torch else "Triton"
        yield Fix(f"Or install {what}", install(facts, wanted, index=index))
    else:
        yield Fix("On Windows: install the Triton for Windows of the minor release that torch names", install(facts, "triton-windows"))


def _shadows(facts: Facts) -> Iterator[Evidence]:
    for path in facts.shadows:
        yield Evidence("hides the installed package of that name from programs started in this folder", path)


RULES = (
    Rule(
        "torch_triton_api_skew",
        "torch and Triton are not of the same generation: torch imports a private name of Triton that this release does not have",
        (
            Clue(0.98, _missing_names),
            Clue(0.9, _pin_missed),
            Clue(0.88, seen("missing_name", rf"(?!(?:{_ALWAYS_NAMES}|{_OTHER_PROJECTS})$)\w+", detail=r"^triton(?:\.|$)")),
            Clue(0.3, seen("missing_name", _ALWAYS_NAMES, detail=r"^triton(?:\.|$)")),
            Clue(0.85, seen("missing_name", r"AttrsDescriptor|triton_key|ASTSource|GPUTarget|get_cuda_stream|cuda_driver")),
            Clue(
                0.6,
                all_of(seen("missing_module", r"triton\.(?!ops)[\w.]+"), unless(seen("missing_module", _ALWAYS), seen("not_a_package"))),
            ),
            Clue(0.75, seen("missing_attribute", detail=r"^triton\.")),
            Clue(0.6, seen("missing_attribute", rf"(?!(?:{_ALWAYS_NAMES}|{_OTHER_PROJECTS})$)\w+", detail=r"^triton$")),
            Clue(0.25, seen("missing_attribute", _ALWAYS_NAMES, detail=r"^triton$")),
            Clue(
                0.75,
                seen(
                    "missing_member", detail=r"^(?:CompiledKernel|JITFunction|Autotuner|AttrsDescriptor|KernelMetadata|ASTSource|GPUTarget)"
                ),
            ),
            Clue(0.75, seen("statement", r"dataclass type or instance")),
            Clue(0.6, seen("exception", r"(?:Assertion|Type|Value)Error", _API)),
            Clue(0.7, seen("missing_member", r"divisible_by_\d+|equal_to_1|ids_of_folded_args|cluster_dims|n_regs|n_spills|num_ctas")),
            Clue(
                0.5,
                all_of(text(r"launch_(?:enter|exit)_hook|triton_key|AttrsDescriptor"), seen("exception"), unless(seen("failed_extension"))),
            ),
            Clue(0.5, all_of(seen("wrong_argument"), text(r"triton|inductor|CompiledKernel|JITFunction"))),
            Clue(
                0.5,
                all_of(
                    seen("exception", r"(?:Attribute|Type|Import|Key|Name)Error"),
                    text(
                        r"torch[\\/]_inductor[\\/]runtime[\\/](?:triton_heuristics|hints|triton_compat|static_cuda_launcher)|triton[\\/]compiler[\\/]|CompiledKernel|JITFunction|ASTSource"
                    ),
                ),
            ),
            Clue(
                0.5,
                all_of(
                    seen("exception", r"ImportError|AttributeError", r"\btriton\b"),
                    unless(seen("failed_extension"), seen("missing_module"), seen("undefined_symbol"), seen("missing_name", _ALWAYS_NAMES)),
                ),
            ),
            Clue(0.45, seen("statement", r"Cannot find a working triton installation")),
            Clue(
                0.4,
                all_of(
                    seen("statement", r"Cannot find a working triton installation"),
                    unless(all_of(on("windows", "darwin"), _no_triton_named)),
                ),
            ),
            Clue(0.6, seen("conflict", r"torch", r"^(?:pytorch-)?triton")),
        ),
        _skew_fixes,
        against=(Clue(0.6, _WITHIN_TRITON),),
        rules_out=("win_no_triton", "shadowed_module"),
        decide=("pip show torch triton triton-windows",),
    ),
    Rule(
        "outdated_triton_consumer",
        "a package (most often bitsandbytes) is older than the Triton beside it and imports a module that Triton has dropped",
        (
            Clue(CERTAIN, _old_consumers),
            Clue(0.85, seen("missing_module", r"triton\.ops[\w.]*")),
            Clue(0.5, text(r"triton\.ops\b|matmul_perf_model")),
        ),
        _consumer,
        decide=("pip show bitsandbytes triton",),
    ),
    Rule(
        "two_tritons",
        "two distributions have written into the same folder triton/: files of both are mixed",
        (
            Clue(CERTAIN, _two_owners),
            Clue(0.87, _two_in_log),
            Clue(0.57, all_of(seen("package", r"pytorch-triton[\w-]*"), text(r"(?<![-\w])triton(?![-\w])"))),
            Clue(0.6, seen("required", r"triton[-_]windows")),
            Clue(0.75, seen("not_installed", detail=r"^triton")),
            Clue(0.28, seen("failed_extension", r"libtriton")),
            Clue(0.5, seen("missing_name", _ALWAYS_NAMES, detail=r"^triton(?:\.|$)")),
            Clue(0.85, all_of(seen("missing_name", detail=r"^triton\."), _WITHIN_TRITON)),
            Clue(0.9, seen("not_a_package", r"triton\._C(?:\.\w+)*")),  # a folder in one distribution, a file in the other
        ),
        _one_triton,
        # In a log from Linux the words fit other causes better; two owners of a folder are two owners anywhere.
        against=(Clue(0.6, all_of(on("linux", "darwin"), in_log, unless(_WITHIN_TRITON, seen("not_a_package"), _two_in_log))),),
        rules_out=("win_vcredist_old",),
        decide=("pip list | findstr /i triton",),
    ),
    Rule(
        "win_no_triton",
        "nothing provides Triton: PyPI's `triton` has wheels for Linux only",
        (
            Clue(0.9, _required_and_absent),
            Clue(0.7, all_of(seen("missing_module", r"triton"), unless(seen("not_a_package"), seen("missing_module", r"triton\.\w+")))),
            Clue(0.85, seen("no_distribution", r"triton(?:-windows)?")),
            Clue(0.85, seen("no_versions", r"triton")),
            Clue(0.85, all_of(seen("only_wheels", r"platform", r"^triton"), on("windows", "darwin"))),
            Clue(0.5, all_of(seen("statement", r"triton .*not.*|without triton"), on("windows", "darwin"))),
            Clue(0.3, all_of(seen("statement", r"Cannot find a working triton installation"), on("windows", "darwin"))),
            Clue(0.85, all_of(seen("statement", r"Cannot find a working triton installation"), on("windows", "darwin"), _no_triton_named)),
        ),
        _some_triton,
        against=(Clue(0.7, all_of(seen("machine", r"(?i)aarch64|jetson|tegra|GH200|GB\d+|DGX.*|Orin|Thor|grace"), on("linux", None))),),
        decide=("pip list", 'python -c "import sys; print(sys.platform)"'),
    ),
    Rule(
        "wrong_package",
        "the installed package that answers to the name is another project",
        (
            Clue(CERTAIN, _wrong_owner),
            Clue(0.85, all_of(seen("package", r"triton-library|tritonclient"), failing)),
            Clue(0.85, seen("failed_extension", r"triton")),  # Triton's own extension is libtriton
            Clue(0.8, all_of(seen("missing_module", r"triton"), seen("missing_module", r"triton\.[\w.]+"))),
            Clue(0.4, all_of(seen("missing_module", r"triton\.(?:common|compiler|language|runtime)[\w.]*"), unless(seen("not_a_package")))),
            Clue(0.5, seen("missing_attribute", _ALWAYS_NAMES, r"^triton$")),
            Clue(0.85, any_of(seen("missing_attribute", _OTHER_PROJECTS, r"^triton$"), seen("missing_name", _OTHER_PROJECTS, r"^triton$"))),
            Clue(0.35, seen("missing_name", _ALWAYS_NAMES, r"^triton$")),
        ),
        lambda f: [
            Fix(
                "Remove it and install Triton",
                (
                    "python -m pip uninstall -y triton-library triton",
                    *install(f, "triton-windows" if f.platform.system == "windows" else "triton"),
                ),
            )
        ],
        decide=("python -m pip show -f triton | head",),
    ),
    Rule(
        "shadowed_module",
        "a file or folder of the program has the name of an installed package and hides it",
        (
            Clue(CERTAIN, _shadows),
            Clue(0.85, seen("not_a_package", r"(?:triton|torch|xformers|bitsandbytes)(?!\._C)(?:\.\w+)*")),
            Clue(0.7, seen("missing_module", _ALWAYS)),
            Clue(
                0.5,
                all_of(
                    any_of(
                        seen("missing_attribute", detail=r"^(?:torch|triton)$"),
                        seen("missing_name", detail=r"^(?:torch|triton)$"),
                    ),
                    text(r"partially initialized module|circular import"),
                ),
            ),
            Clue(0.8, text(_OWN_MODULE_HIDDEN)),
            Clue(0.5, text(r"\(unknown location\)")),
            Clue(0.55, seen("missing_attribute", _ALWAYS_NAMES, r"^triton$")),
            Clue(0.85, seen("statement", r"rather than the C extensions")),
            Clue(0.3, seen("missing_name", _ALWAYS_NAMES, r"^triton$")),
        ),
        _renamed,
        decide=('python -c "import triton; print(triton.__path__, triton.__spec__)"',),
    ),
)
