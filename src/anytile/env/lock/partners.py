"""What no metadata ties together, computed from the packages themselves.

On Linux torch's metadata names the Triton it needs. On Windows the same line is switched off by its marker, and the package that
brings Triton there requires nothing of torch; so any two versions install, and few work. The line itself is still in the metadata,
and what torch's sources import from Triton can be compared with what a Triton defines.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from email.message import Message
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from ..facts import MissingName
from ..sources import Package, missing_names
from .index import File, RemoteWheel
from .request import TRITON_NAMES, Target

__all__ = ["cuda_of", "glibc_of", "names_missing", "partner_name", "partner_requirement", "requirements", "triton_line"]

# Where torch uses Triton; the rest of its sources (a thousand files) does not mention it.
_USERS = re.compile(r"torch/(?:_inductor|_dynamo|utils|_higher_order_ops|sparse|_library)/.*\.py$")
_OLD_TAGS = {"manylinux1": "2.5", "manylinux2010": "2.12", "manylinux2014": "2.17"}  # by definition (PEP 513, 571, 599)


def requirements(metadata: Message) -> Iterator[Requirement]:
    """The Requires-Dist lines that can be read."""
    for line in metadata.get_all("Requires-Dist") or ():
        try:
            yield Requirement(line)
        except InvalidRequirement:
            continue


def triton_line(torch: Message) -> Requirement | None:
    """What this torch needs of Triton, whatever the marker says of platforms."""
    return next((r for r in requirements(torch) if canonicalize_name(r.name) in TRITON_NAMES and r.specifier), None)


def partner_name(target: Target) -> str | None:
    """The distribution that brings Triton there; None where nobody builds it."""
    return {"windows": "triton-windows", "linux-x86_64": "triton", "linux-aarch64": "triton"}.get(target.platform.name)


def partner_requirement(line: Requirement, name: str) -> Requirement:
    """``line`` (`triton==3.1.0`) for another distribution of Triton (`triton-windows==3.1.*`).

    Private names move between minor releases and not between patches, and a distribution of its own counts its own patches.
    """
    asked = next(s.version for s in line.specifier)
    return Requirement(f"{name}=={'.'.join(map(str, Version(asked.removesuffix('.*')).release[:2]))}.*")


def names_missing(torch: RemoteWheel, triton: RemoteWheel) -> list[MissingName]:
    """What this torch imports from Triton and that Triton does not define, read from the sources in the two wheels."""
    with tempfile.TemporaryDirectory(prefix="anytile-names-") as folder:
        root = Path(folder)
        _unpack(torch, (n for n in torch.names if _USERS.match(n)), root)
        _unpack(triton, (n for n in triton.names if n.startswith("triton/") and (n.endswith(".py") or n.endswith((".pyd", ".so")))), root)
        if not (root / "triton").is_dir() or not (root / "torch").is_dir():
            return []
        found = missing_names([root / "torch"], Package(root / "triton"))
        return [MissingName(str(Path(m.file).relative_to(root)), m.line, m.module, m.name) for m in found]


def _unpack(wheel: RemoteWheel, names: Iterable[str], root: Path) -> None:
    """Sources as they are; compiled modules as empty files, since only their names count."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wheel.read(name) if name.endswith(".py") else b"")


def cuda_of(torch: Message, target: Target) -> str | None:
    """The CUDA that a wheel was built with, by the runtime it requires there: "12.4"; None for a build without."""
    for r in requirements(torch):
        if re.fullmatch(r"nvidia-cuda-runtime(?:-cu\d+)?|cuda-toolkit", canonicalize_name(r.name)) and r.specifier and target.holds(r):
            return ".".join(next(iter(r.specifier)).version.split(".")[:2])
    return None


def glibc_of(files: Iterable[File]) -> str | None:
    """The newest C library that one of these Linux wheels asks for in its tag: "2.28"."""
    found = []
    for file in files:
        asked = []
        for tag in file.tags:
            system = tag.split("-", 2)[2]
            if m := re.match(r"manylinux_(\d+)_(\d+)_", system):
                asked.append((int(m[1]), int(m[2])))
            elif old := _OLD_TAGS.get(system.split("_")[0]):
                asked.append((int(old.split(".")[0]), int(old.split(".")[1])))
        if asked:
            found.append(min(asked))  # several tags on one file: the oldest suffices
    return ".".join(map(str, max(found))) if found else None
