"""The 41 causes in the words of different programs, releases and languages: the cause comes first, or where words cannot tell, among three."""

from __future__ import annotations

import pytest
from log_texts import TEXTS
from told_texts import TOLD

from anytile.env.diagnose import diagnose
from anytile.env.log import read_log
from anytile.env.rules import RULES
from anytile.env.rules.confusions import CONFUSED

AMBIGUOUS = {("wrong_package", 1)}  # a Triton without `jit`: another project, a file in the way, or no Triton of this generation
CASES = [(cause, number) for cause, texts in TEXTS.items() for number in range(len(texts))]


@pytest.mark.parametrize(("cause", "number"), CASES)
def test_the_cause_comes_first(cause: str, number: int) -> None:
    findings = diagnose(read_log(TEXTS[cause][number]))
    causes = [f.cause for f in findings]
    assert cause in (causes[:3] if (cause, number) in AMBIGUOUS else causes[:1]), [(f.cause, f.confidence) for f in findings]


@pytest.mark.parametrize(("cause", "said"), [(cause, said) for cause, texts in TOLD.items() for said in texts])
def test_people_are_understood(cause: str, said: str) -> None:
    findings = diagnose(read_log(said))
    assert cause in [f.cause for f in findings[:1]], [(f.cause, f.confidence) for f in findings]


def test_every_cause_has_texts_a_rule_and_what_it_is_confused_with() -> None:
    causes = {rule.cause for rule in RULES}
    assert len(causes) == len(RULES), "a cause with two rules would stand twice in a report"
    assert set(TEXTS) == causes == set(CONFUSED)
    assert all(set(others) <= causes - {cause} for cause, others in CONFUSED.items())
    assert all(len(texts) >= 2 for texts in TEXTS.values())


def test_below_a_lone_finding_stands_what_it_is_confused_with() -> None:
    findings = diagnose(read_log("OSError: [WinError 1114] Error loading c10.dll"))
    assert [f.cause for f in findings[:3]][0] == "win_vcredist_old" and len(findings) >= 3
    lone = diagnose(read_log("AssertionError: libcuda.so cannot found!"))
    assert lone[0].cause == "linux_libcuda_link" and lone[-1].confidence < 0.2 and lone[-1].decide
    assert diagnose(read_log("all is well")) == []


def test_a_short_complaint_that_no_rule_knows_is_about_what_it_names() -> None:
    said = diagnose(read_log("What shall I do about torchaudio? It refuses."))
    assert said[0].cause == "torchaudio_mismatch" and said[0].confidence <= 0.2 and said[0].evidence[0].where == "log line 1"
    assert [f.cause for f in diagnose(read_log("my jetson wants another pytorch"))][:1] == ["aarch64_wheels"]
    assert diagnose(read_log("torchaudio 2.9.0\ntorch 2.9.0")) == [], "no complaint"
    assert diagnose(read_log("Is torchaudio there?\n" + "step 1 of 9\n" * 9)) == [], "the output of a program, with a question in it"
    assert diagnose(read_log("UserWarning: torchaudio's backend is deprecated and not used any more")) == []
