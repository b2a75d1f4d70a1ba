"""Which public Triton has which of the names that PyTorch touches: recorded, so that no wheel is needed to know.

`upstream.json` holds for each name, and each way of asking for it, the releases 3.x in which it is there, as found in the wheels by
`definitions.py`; `scripts/compat_pairs.py facts` writes it.  It tells two cases apart where a name is missing: the Triton that a torch
was made for lacks it too (torch reaches it only on a branch that is dead there), or anytile's face is behind.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources

__all__ = ["MADE_FOR", "lacked_by"]

#: torch release → the Triton that its wheel pins.  A build without a pin (CPU, macOS, Windows) was made for the same.
MADE_FOR = {
    (2, 4): (3, 0),
    (2, 5): (3, 1),
    (2, 6): (3, 2),
    (2, 7): (3, 3),
    (2, 8): (3, 4),
    (2, 9): (3, 5),
    (2, 10): (3, 6),
    (2, 11): (3, 6),
    (2, 12): (3, 7),
    (2, 13): (3, 7),
    (2, 14): (3, 8),
    (2, 15): (3, 9),
}


@lru_cache(maxsize=1)
def _recorded() -> dict[str, list[int]]:
    return json.loads((resources.files(__package__) / "upstream.json").read_text(encoding="utf-8"))["present"]


def lacked_by(level: tuple[int, int], name: str, how: str) -> bool:
    """Whether Triton ``level`` is known to lack ``name``; False also where nothing is recorded of it."""
    minors = _recorded().get(f"{how} {name}")
    return minors is not None and level[0] == 3 and level[1] not in minors
