"""A little of what scripts/fuzz.py does at length."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mutate import mutant

import anytile

anytile.install()

import fuzz_kernels  # noqa: E402
import triton  # noqa: E402

FUZZ = Path(__file__).parents[2] / "scripts" / "fuzz.py"


def fuzz(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    done = subprocess.run([sys.executable, str(FUZZ), *arguments], capture_output=True, text=True, timeout=300)
    assert done.stdout, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_kernels_are_right() -> None:
    for name, (types, constants) in fuzz_kernels.KERNELS.items():
        fn = getattr(fuzz_kernels, name)
        signature = dict(zip([p for p in fn.arg_names if p not in constants], types)) | dict.fromkeys(constants, "constexpr")
        assert triton.compile(triton.compiler.ASTSource(fn, signature, constants)).asm["tile"]


def test_a_seed_determines_its_mutant() -> None:
    assert mutant(7) == mutant(7)
    assert len({mutant(seed) for seed in range(20)}) > 15


@pytest.mark.parametrize("kind, count", [("programs", "24"), ("kernels", "16"), ("loops", "16"), ("mistakes", "60")])
def test_nothing_is_found(kind: str, count: str) -> None:
    code, lines = fuzz(kind, "--seed", "500000", "--count", count, "--jobs", "2")
    assert (code, lines[:-1]) == (0, [])
    assert lines[-1]["cases"] == int(count)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="nothing else interrupts a case")
def test_a_finding_is_reported_and_survived(tmp_path: Path) -> None:
    """No time at all for a case is too little for any."""
    code, lines = fuzz("mistakes", "--seed", "3", "--count", "2", "--jobs", "1", "--patience", "0.001")
    assert code == 1
    assert [line["error"] for line in lines[:-1]] == ["TooSlow", "TooSlow"]


def test_what_time_did_not_suffice_for_is_continued(tmp_path: Path) -> None:
    """Two runs, the first of which ends at once, try each seed exactly once."""
    _, first = fuzz("programs", "--seed", "700000", "--count", "12", "--jobs", "2", "--minutes", "0.01")
    (tmp_path / "first").write_text(json.dumps(first[-1]))
    assert sum(len(range(seed, last, step)) for seed, last, step, _ in first[-1]["left"]) == 12 - first[-1]["cases"] > 0
    _, second = fuzz("programs", "--resume", str(tmp_path / "first"))
    assert (first[-1]["cases"] + second[-1]["cases"], second[-1]["left"]) == (12, [])


@pytest.mark.parametrize(
    "line, says",
    [
        ("row = tl.program_id(0).topk(2)", "tl.topk goes along a dimension, and its input is a scalar"),
        ("row = tl.sort(n)", "tl.sort goes along a dimension, and its input is a scalar"),
        ("x = tl.trans(tl.zeros((4, 4), tl.float32).atomic_cas)", "input of tl.trans must be a tensor, but 'atomic_cas' is a method"),
        ("x = tl.permute(tl.tensor, (1, 0))", "input of tl.permute must be a tensor, but 'tensor' is a type"),
        ("x = tl.sum(tl.arange(0, 4), dtype=1)", "dtype of tl.sum must be a dtype such as tl.float32, but"),
        ("for i in tl.static_range(2, 1 << 31): n += i", "tl.static_range would unroll 2,147,483,646 iterations, and 65,536 are allowed"),
    ],
)
def test_mistakes_that_fuzzing_found(line: str, says: str, tmp_path: Path) -> None:
    import importlib.util

    path = tmp_path / "kernel.py"
    path.write_text(f"import triton\nimport triton.language as tl\n\n\n@triton.jit\ndef k(n):\n    {line}\n")
    spec = importlib.util.spec_from_file_location("kernel", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(triton.CompilationError) as e:
        triton.compile(triton.compiler.ASTSource(module.k, {"n": "i32"}))
    assert says in str(e.value)
