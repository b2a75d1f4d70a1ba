"""The broken environments that need no large download: broken, diagnosed, mended by the doctor's own commands, verified.

The others are in `scripts/broken_environments.py`; its last result is bench/results/broken-environments.jsonl.
"""

from __future__ import annotations

import json
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

import broken_scenarios  # noqa: F401  (registers)
import pytest
from broken import SCENARIOS, Scenario, play

_RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results" / "broken-environments.jsonl"
pytestmark = pytest.mark.skipif(sys.platform != "linux" or shutil.which("bash") is None, reason="the scenarios are written for Linux")


@pytest.fixture(scope="module")
def index() -> bool:
    """Whether the package index answers."""
    try:
        urllib.request.urlopen("https://pypi.org/simple/pip/", timeout=10).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if not s.heavy], ids=lambda s: s.name)
def test_broken_environment(scenario: Scenario, tmp_path: Path, index: bool) -> None:
    if scenario.network and not index:
        pytest.skip("the package index cannot be reached")
    if scenario.name == "libstdc++ too old":
        pytest.importorskip("torch")
    outcome = play(scenario, tmp_path / "box")
    assert outcome.right, outcome


def test_what_was_recorded_of_all_of_them() -> None:
    head, *rows = [json.loads(x) for x in _RESULTS.read_text().splitlines()]
    assert len(rows) >= 20 and head["right"] == len(rows) and all(r["right"] and r["commands"] for r in rows)
