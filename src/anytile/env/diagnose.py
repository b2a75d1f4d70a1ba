"""From facts to findings: every rule is asked, and the answers are ranked."""

from __future__ import annotations

from collections.abc import Iterable

from .facts import Facts
from .rules import RULES
from .rules.model import CERTAIN, Clue, Evidence, Finding, Rule

__all__ = ["NOT_WORTH_SAYING", "diagnose"]

NOT_WORTH_SAYING = 0.15  # confidence under which a candidate is dropped
_HINT = 0.55  # a clue under this weight needs a log that tells of a failure: a path or a file name alone is no complaint


def _hold(clues: Iterable[Clue], facts: Facts) -> tuple[float, list[Evidence]]:
    """The probability that not all of these clues are accidents, and what they found."""
    doubt = 1.0
    evidence: list[Evidence] = []
    quiet = facts.log is not None and not facts.log.failing
    for clue in clues:
        if quiet and clue.weight < _HINT:
            continue
        found = list(clue.find(facts))
        if found:
            doubt *= 1 - clue.weight
            evidence += [e for e in found if e.text and e not in evidence]
    return 1 - doubt, evidence


def _apply(rule: Rule, facts: Facts) -> Finding | None:
    confidence, evidence = _hold(rule.clues, facts)
    if confidence == 0:
        return None
    against, _ = _hold(rule.against, facts)
    confidence *= 1 - against
    if confidence < NOT_WORTH_SAYING:
        return None
    return Finding(
        rule.cause, round(confidence, 3), rule.summary, tuple(evidence[:8]), tuple(rule.fixes(facts)), rule.rules_out, rule.decide
    )


def diagnose(facts: Facts, rules: Iterable[Rule] = RULES) -> list[Finding]:
    """The findings, most likely first. A cause that is proved removes those which it rules out."""
    findings = [f for rule in rules if (f := _apply(rule, facts)) is not None]
    findings.sort(key=lambda f: -f.confidence)
    excluded = {cause for f in findings if f.confidence >= CERTAIN for cause in f.ruled_out}
    kept = [f for f in findings if f.cause not in excluded or f.confidence >= CERTAIN]
    named = {f.cause for f in findings}
    return [
        f if not f.ruled_out else Finding(f.cause, f.confidence, f.summary, f.evidence, f.fixes, _said(f, named), f.decide) for f in kept
    ]


def _said(finding: Finding, named: set[str]) -> tuple[str, ...]:
    """Of what a finding rules out, what was a candidate at all; nothing while the finding itself is not proved."""
    return tuple(c for c in finding.ruled_out if c in named) if finding.confidence >= CERTAIN else ()
