"""bench/zoo_turns.py: two processes meet and take turns, and neither waits for one that has ended."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fcntl")

ROOT = Path(__file__).resolve().parents[2]

PARTNER = """
import sys
from zoo_turns import Turns

folder, plain, points = sys.argv[1], sys.argv[2] == "plain", int(sys.argv[3])
turns = Turns(folder, plain)
answers = []
for i in range(points):
    answers.append(turns.meet(f"compiled-{i}", "plain" if plain else "anytile"))
    with turns.alone_on_gpu(), turns.alone_on_gpu():  # a measurement within another one
        pass
    for round in range(3):
        with turns.turn(f"{i}-{round}"), open(folder + "/order", "a") as order:
            order.write("p" if plain else "a")
print(answers)
"""


def _start(folder: Path, who: str, points: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PARTNER, str(folder), who, str(points)]
    return subprocess.Popen(command, cwd=ROOT / "bench", stdout=subprocess.PIPE, text=True)


def _run_both(folder: Path, points: tuple[int, int]) -> tuple[str, str]:
    first, second = _start(folder, "anytile", points[0]), _start(folder, "plain", points[1])
    out = first.communicate(timeout=60)[0].strip(), second.communicate(timeout=60)[0].strip()
    assert first.returncode == second.returncode == 0
    return out


def test_turns_alternate(tmp_path: Path) -> None:
    assert _run_both(tmp_path, (2, 2)) == ("['plain', 'plain']", "['anytile', 'anytile']")
    assert (tmp_path / "order").read_text() == "ap" * 6


def test_one_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    assert _run_both(tmp_path, (2, 1))[0] == "['plain', None]"
    assert (tmp_path / "order").read_text() == "ap" * 3 + "aaa"
