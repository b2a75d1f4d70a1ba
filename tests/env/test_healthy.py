"""Output of programs that work: the doctor is silent."""

from __future__ import annotations

import pytest
from healthy_texts import TEXTS

from anytile.env.diagnose import diagnose
from anytile.env.log import read_log


@pytest.mark.parametrize("name", TEXTS)
def test_what_a_healthy_environment_prints_gives_no_finding(name: str) -> None:
    findings = diagnose(read_log(TEXTS[name]))
    assert findings == [], [(f.cause, f.confidence, [e.text for e in f.evidence]) for f in findings]
