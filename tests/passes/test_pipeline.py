"""The runner's checks and dumps."""

from __future__ import annotations

import pytest

from anytile.errors import IRError
from anytile.ir.parser import parse_module
from anytile.passes.pipeline import optimize, run_passes

TEXT = """func @k(%q: ptr<i32>, %n: i32) {
  %a = add %n, %n : i32
  %b = add %n, %n : i32
  %c = mul %a, %b : i32
  store %q, %c
  return
}"""


def test_dumps_show_what_each_pass_changed(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ANYTILE_DUMP_PASSES", str(tmp_path))
    assert optimize(parse_module(TEXT))
    files = sorted(p.name for p in (tmp_path / "k").iterdir())
    assert files == ["00-before.tile", "03-cse.tile", "times.txt"]
    assert "canonicalize" in (tmp_path / "k" / "times.txt").read_text() and "(unchanged)" in (tmp_path / "k" / "times.txt").read_text()


def test_verification_names_the_pass(monkeypatch) -> None:
    monkeypatch.setenv("ANYTILE_VERIFY", "1")

    def breaks(m) -> bool:
        m.kernel.body.ops.pop()
        return True

    with pytest.raises(IRError, match="^after breaks: in @k: a block does not end"):
        run_passes(parse_module(TEXT), [breaks])
