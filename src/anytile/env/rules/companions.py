"""Packages that are made for one torch: torchvision, torchaudio, xformers, bitsandbytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ..facts import Facts
from .clues import all_of, any_of, seen, text, unless
from .model import CERTAIN, Clue, Evidence, Fix, Rule, install
from .skew import conflicts
from .windows import library

__all__ = ["RULES"]


def _unmet(package: str) -> Callable[[Facts], Iterator[Evidence]]:
    def find(facts: Facts) -> Iterator[Evidence]:
        for one, requirement in conflicts(facts, package, "torch"):
            torch = facts.distribution("torch")
            yield Evidence(
                f"{one.name} {one.version} requires {requirement}, installed is {torch.version if torch else ''}", f"{one.name} METADATA"
            )

    return find


def _local_parts(package: str) -> Callable[[Facts], Iterator[Evidence]]:
    """`+cpu` beside `+cu124`: both wheels tell for what they were built, and it is not the same."""

    def find(facts: Facts) -> Iterator[Evidence]:
        one, torch = facts.distribution(package), facts.distribution("torch")
        if one and torch and facts.log is None:
            a, b = one.version.partition("+")[2], torch.version.partition("+")[2]
            if a and b and a != b and a[:2] in ("cu", "cp", "ro", "xp") and b[:2] in ("cu", "cp", "ro", "xp"):
                yield Evidence(f"{package} {one.version} beside torch {torch.version}", f"{package} METADATA")

    return find


def _together(*names: str) -> Callable[[Facts], list[Fix]]:
    def fixes(facts: Facts) -> list[Fix]:
        torch = facts.distribution("torch")
        pin = f"torch=={torch.version}" if torch and facts.log is None else "torch"
        local = torch.version.partition("+")[2] if torch else ""
        index = f"https://download.pytorch.org/whl/{local}" if local.startswith(("cu", "cpu", "rocm", "xpu")) else None
        tool = facts.project.tool
        if tool in ("pip", "conda"):  # with dependencies: the resolver has to find the partner of this torch
            return [
                Fix(
                    "Install them together, from one index",
                    (f'python -m pip install --force-reinstall "{pin}" {" ".join(names)}' + (f" --index-url {index}" if index else ""),),
                )
            ]
        return [Fix("Install them together, from one index", install(facts, pin, *names, index=index))]

    return fixes


def _later_install(facts: Facts) -> Iterator[Evidence]:
    """A CPU torch, installed by the same run as a package that pins it exactly, with a GPU there."""
    torch = facts.distribution("torch")
    if torch is None or facts.log is not None or not facts.gpus or not facts.torch or facts.torch.cuda:
        return
    for d in facts.distributions:
        pins = [r for r in d.requires if r.replace(" ", "").startswith(("torch==", "torch(=="))]
        if pins and d.name not in ("torchvision", "torchaudio") and abs(d.modified - torch.modified) < 600:
            yield Evidence(f"{d.name} {d.version} requires {pins[0]}, and came within ten minutes of torch {torch.version}", d.location)


def _moved_by_a_pin(facts: Facts) -> Iterator[Evidence]:
    """pip takes torch away for another release of it that a dependency names exactly."""
    if facts.log is not None:
        there = {m.detail for m in facts.log.of("uninstalled")}
        pins = [m for m in facts.log.of("pinned") if there and m.detail not in there]
        yield from (Evidence(m.text, f"log line {m.line}") for m in pins)


def _torch_is_odd(facts: Facts) -> Iterator[Evidence]:
    """Several packages want another torch than the one that is there: it is torch that was moved."""
    wanting = {m.value: m for m in facts.log.of("conflict") if re.match(r"torch\b", m.detail)} if facts.log else {}
    if len(wanting) > 1:
        yield from (Evidence(m.text, f"log line {m.line}") for m in wanting.values())


def _conflicting(package: str) -> tuple[Clue, ...]:
    """pip says that ``package`` wants another torch; where others want one too, it may be right and torch the odd one."""
    said = seen("conflict", package, r"^torch\b")
    return Clue(0.88, all_of(said, unless(_torch_is_odd))), Clue(0.3, said)


def _no_binary(facts: Facts) -> Iterator[Evidence]:
    for found in facts.libraries:
        if found.problem == "no_binary":
            yield Evidence(f"{found.value} {found.detail}", found.path)


_XF = "can't load C\\+\\+/CUDA extensions"

RULES = (
    Rule(
        "torchvision_mismatch",
        "torchvision was built for another torch than the one beside it",
        (
            Clue(CERTAIN, _unmet("torchvision")),
            Clue(0.95, any_of(library("undefined", of=["torchvision"]), library("missing", of=["torchvision"]))),
            Clue(0.9, _local_parts("torchvision")),
            Clue(0.92, seen("operator", r"torchvision::\w+")),
            Clue(0.9, seen("statement", r"Couldn't load custom C\+\+ ops")),
            *_conflicting("torchvision"),
            Clue(0.8, seen("statement", r"(?i).*torchvision.*|Failed to load image.*")),
            Clue(0.7, all_of(seen("undefined_symbol"), text(r"torchvision\S*\.so|image\.so"))),
            Clue(
                0.45,
                all_of(
                    seen("exception"),
                    text(r"torchvision[\\/](?:_meta_registrations|extension|ops|io)|partially initialized module 'torchvision'"),
                ),
            ),
            Clue(0.6, all_of(seen("win_error", r"127"), text(r"torchvision|image\.pyd"))),
            Clue(0.4, seen("missing_name", detail=r"^torchvision")),
            Clue(0.5, any_of(seen("missing_attribute", detail=r"^torchvision"), seen("missing_module", r"torchvision\.[\w.]+"))),
        ),
        _together("torchvision"),
        decide=("pip list | grep -i torch", "pip check"),
    ),
    Rule(
        "torchaudio_mismatch",
        "torchaudio was built for another torch than the one beside it",
        (
            Clue(CERTAIN, _unmet("torchaudio")),
            Clue(0.95, any_of(library("undefined", of=["torchaudio"]), library("missing", of=["torchaudio"]))),
            Clue(0.9, _local_parts("torchaudio")),
            Clue(
                0.9,
                all_of(
                    any_of(seen("undefined_symbol"), seen("missing_library")), text(r"^(?!.*\bpip3?\s+install).*(?:torchaudio|_torch_sox)")
                ),
            ),
            Clue(
                0.75,
                all_of(
                    any_of(seen("win_error"), seen("exception", r"OSError|ImportError")), text(r"torchaudio[\\/]|libtorchaudio|_torchaudio")
                ),
            ),
            *_conflicting("torchaudio"),
            Clue(0.8, seen("statement", r"(?i).*torchaudio.*")),
            Clue(0.55, any_of(seen("missing_attribute", detail=r"^torchaudio"), seen("missing_module", r"torchaudio\.[\w.]+"))),
            Clue(0.4, seen("missing_name", detail=r"^torchaudio")),
            Clue(0.25, all_of(seen("undefined_symbol", r"_ZNK?5torch\w*"), unless(seen("undefined_symbol", detail=r".+"), text(r"\.so")))),
        ),
        _together("torchaudio"),
        decide=("pip list | grep -i torch", "pip check"),
    ),
    Rule(
        "xformers_mismatch",
        "xformers was built for another torch, CUDA or Python",
        (
            Clue(CERTAIN, _unmet("xformers")),
            Clue(0.95, any_of(library("undefined", of=["xformers"]), library("missing", of=["xformers"]))),
            Clue(0.85, all_of(any_of(seen("statement", _XF), text(r"(?i)xformers")), seen("built_for"))),
            Clue(0.85, all_of(seen("built_for"), seen("you_have"))),
            Clue(0.45, seen("statement", _XF)),
            Clue(0.6, text(r"Please reinstall xformers")),
            Clue(0.6, text(r"No operator found for 'memory_efficient_attention|xFormers wasn't buil[dt] with CUDA")),
            *_conflicting("xformers"),
            Clue(0.87, all_of(any_of(seen("undefined_symbol"), seen("win_error")), text(r"xformers\S*\.(?:so|pyd)"))),
        ),
        _together("xformers"),
        against=(Clue(0.75, seen("you_have", r".*\+cpu")),),
        decide=("python -m xformers.info", "pip list | grep -i -E 'torch|xformers'"),
    ),
    Rule(
        "bnb_cuda_binary",
        "this bitsandbytes has no binary for the CUDA of this torch",
        (
            Clue(0.95, _no_binary),
            Clue(0.88, seen("bnb_binary", r"libbitsandbytes_cuda\w*\.\w+")),
            Clue(0.6, seen("bnb_binary", r"libbitsandbytes_cpu.*")),
            Clue(
                0.8,
                seen(
                    "statement",
                    r"Required library version not found|Configured CUDA binary not found|CUDA Setup failed|CUDA binary|compiled without GPU support",
                ),
            ),
            Clue(0.6, seen("undefined_symbol", r"c\w*(?:quant|gemm|optim|igemm|adam)\w*")),
            Clue(0.7, seen("missing_member", r"c\w*(?:quant|gemm|optim|adam|32bit|8bit)\w*", r"^NoneType$")),
            Clue(0.6, text(r"bitsandbytes library load error|function 'c(?:adam|quantize|gemm|lion|momentum)\w*' not found")),
            Clue(0.5, text(r"CUDA[_ ]SETUP:")),
            Clue(0.7, text(r"name '(?:str2optimizer\w*|COMPILED_WITH_CUDA|CUDA_RUNTIME_LIB)' is not defined")),
            Clue(0.4, text(r"BNB_CUDA_VERSION|bitsandbytes[\\/]cextension|bitsandbytes[\\/]cuda_setup")),
        ),
        lambda f: [
            Fix("Upgrade it: newer releases ship more CUDA versions", install(f, "bitsandbytes")),
            Fix("Or name a version that it ships", ("export BNB_CUDA_VERSION=126",), safe=True),
        ],
        decide=(
            "python -m bitsandbytes",
            "ls $(python -c \"import importlib.util as u; print(u.find_spec('bitsandbytes').submodule_search_locations[0])\")",
        ),
    ),
    Rule(
        "resolver_replaced_torch",
        "installing another package replaced torch by a different version or build",
        (
            Clue(0.75, _later_install),
            Clue(0.75, _moved_by_a_pin),
            Clue(0.85, _torch_is_odd),
            Clue(
                0.82,
                all_of(
                    seen("conflict", detail=r"^torch\s?[=<>]"),
                    unless(seen("conflict", r"torchvision|torchaudio|xformers", r"^torch\s?[=<>]")),
                ),
            ),
            Clue(0.6, seen("conflict", detail=r"^torch\s?[=<>]")),
            Clue(0.88, all_of(seen("uninstalled", detail=r"\+cu"), any_of(seen("installed", detail=r"^[^+]*$|\+cpu"), seen("cpu_build")))),
            Clue(0.75, text(r"\bpytorch\b[^\n]*cuda[^\n]*-->[^\n]*cpu")),
            Clue(0.5, all_of(seen("statement", _XF), any_of(seen("cuda_gone"), seen("cpu_build")))),
            Clue(
                0.7,
                all_of(text(r"\d\+cu\d{2,3}"), text(r"\d\+cpu"), unless(seen("built_for"), seen("no_distribution"), seen("no_candidate"))),
            ),
            Clue(
                0.4,
                all_of(
                    any_of(seen("cuda_gone"), seen("cpu_build"), seen("statement", r"Torch not compiled.*")),
                    text(r"(?i)^(?!.*Warning:).*\b(?:after|installing|upgrad\w*|dependenc\w*|requirements?)\b"),
                ),
            ),
            Clue(0.2, any_of(seen("cuda_gone"), seen("statement", r"Torch not compiled.*"))),
            Clue(0.2, all_of(seen("cpu_build"), any_of(seen("exception"), seen("conflict"), seen("statement")))),
            Clue(0.35, text(r"(?i)(?:silently )?(?:uninstall|replac|downgrad|overwr)\w*[^\n]*\btorch\b")),
        ),
        lambda f: [
            Fix(
                "Name torch with its build in the same command or lock file as the package that moved it",
                install(
                    f,
                    f"torch=={f.torch.version}" if f.torch else "torch==VERSION+cuXYZ",
                    "PACKAGE",
                    index="https://download.pytorch.org/whl/cuXYZ",
                ),
            )
        ],
        decide=("pip check", "pip list | grep -i torch"),
    ),
)
