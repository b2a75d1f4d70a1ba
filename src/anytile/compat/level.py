"""The API level: the Triton release whose names and forms the face shows.

Programs read `triton.__version__`, and torch looks at which names exist to choose between several protocols, so the face
has to be one release and not a union of all.  In order of precedence:

1. `ANYTILE_TRITON_API`, such as "3.2" or "3.5.1";
2. the release which the installed torch pins in its metadata (`Requires-Dist: triton==3.7.1`);
3. the pin of the same torch release on Linux, for builds without a pin (CPU, macOS, Windows) up to torch 2.9, which fail
   with a newer face;
4. the newest.

torch is looked up by its `*.dist-info` directory: importing it, or `importlib.metadata`, would take longer than all of
`import triton` may.
"""

import os
import sys

__all__ = ["NEWEST", "OLDEST", "Level", "current", "for_torch", "reset", "torch_version"]

OLDEST = (3, 0)
NEWEST = (3, 9)
_NEWEST_RELEASE = f"{NEWEST[0]}.{NEWEST[1]}.0"

# torch release → the Triton release it was made with.  Later ones work with any newer face (measured up to 3.9).
_PINS_BY_TORCH = {(2, 4): "3.0.0", (2, 5): "3.1.0", (2, 6): "3.2.0", (2, 7): "3.3.1", (2, 8): "3.4.0", (2, 9): "3.5.1"}


class Level:
    """``version``: the text of `triton.__version__`; ``number``: (3, minor), what the table compares; ``reason``: a phrase."""

    __slots__ = ("number", "reason", "version")

    def __init__(self, version: str, reason: str) -> None:
        parts = version.strip().split(".")
        if not 2 <= len(parts) <= 3 or not all(p.isdigit() for p in parts):
            raise ValueError(f"{version!r} (from {reason}) is not a Triton release: write it as 3.MINOR or 3.MINOR.PATCH, such as 3.6")
        number = (int(parts[0]), int(parts[1]))
        if not OLDEST <= number <= NEWEST:
            raise ValueError(
                f"anytile has no Triton API level {version} (from {reason}): it has {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}; "
                "set ANYTILE_TRITON_API to one of them"
            )
        self.number = number
        self.version = ".".join(parts if len(parts) == 3 else [*parts, "0"])
        self.reason = reason

    def __repr__(self) -> str:
        return f"Level({self.version!r}, {self.reason!r})"


_current: "Level | None" = None


def current() -> Level:
    """This process's level, decided at the first call.  ValueError where `ANYTILE_TRITON_API` names none."""
    global _current
    if _current is None:
        _current = _decide()
    return _current


def reset() -> None:
    """Forgets the decision; for tests."""
    global _current
    _current = None


def _decide() -> Level:
    asked = os.environ.get("ANYTILE_TRITON_API", "")
    if asked:
        return Level(asked, "ANYTILE_TRITON_API")
    directory = _torch_dist_info()
    if directory is None:
        return Level(_NEWEST_RELEASE, "the newest; no torch is installed")
    return for_torch(torch_version() or "", _pin(directory))


def for_torch(torch: str, pin: "str | None") -> Level:
    """The level for torch of version ``torch``, whose metadata pin the Triton release ``pin`` (None: no release)."""
    if pin is not None:
        try:
            return Level(pin, f"the pin of torch {torch}")
        except ValueError:
            # A torch that is newer (or older) than this anytile: the nearest face is the best there is.
            return Level(_NEWEST_RELEASE, f"the newest; torch {torch} pins {pin}, which this anytile does not have")
    release = tuple(int(p) if p.isdigit() else 0 for p in torch.split("+")[0].split(".")[:2])
    if release in _PINS_BY_TORCH:
        return Level(_PINS_BY_TORCH[release], f"the release that torch {torch} was made with")
    return Level(_NEWEST_RELEASE, f"the newest; torch {torch} pins none")


def torch_version() -> "str | None":
    """The version of the installed torch, or None; torch is not imported."""
    directory = _torch_dist_info()
    return None if directory is None else os.path.basename(directory)[len("torch-") : -len(".dist-info")]


def _torch_dist_info() -> "str | None":
    for entry in sys.path:
        try:
            names = os.listdir(entry or ".")
        except OSError:  # zip archives, directories that are gone
            continue
        for name in names:
            if name.startswith("torch-") and name.endswith(".dist-info"):
                return os.path.join(entry, name)
    return None


def _pin(dist_info: str) -> "str | None":
    """The release in `Requires-Dist: triton==3.7.1; …` or `~=3.8.0`, whatever its marker; None without such a line."""
    try:
        with open(os.path.join(dist_info, "METADATA"), encoding="utf-8", errors="replace") as f:
            for line in f:
                if line == "\n":  # the end of the headers
                    return None
                if line.lower().startswith("requires-dist:"):
                    requirement = line.partition(":")[2].partition(";")[0].strip().replace(" ", "").strip("()")
                    for operator in ("==", "~="):
                        name, found, release = requirement.partition(operator)
                        if found and name.rstrip("(") == "triton":
                            return release.rstrip(")")
    except OSError:
        return None
    return None
