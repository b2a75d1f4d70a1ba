"""From facts to findings: every rule is asked, and the answers are ranked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .facts import Facts
from .rules import RULES
from .rules.confusions import CONFUSED
from .rules.model import CERTAIN, Clue, Evidence, Finding, Rule
from .rules.topics import about

__all__ = ["NOT_WORTH_SAYING", "diagnose"]

NOT_WORTH_SAYING = 0.15  # confidence under which a candidate is dropped
_SHOWN = 3  # findings on a log that are filled up with what is confused with the first
_CONFUSED = 0.12  # confidence of those
_ABOUT = 0.2  # confidence of the first of what a complaint is about, where no rule knows its words
_HINT = 0.55  # a clue under this weight needs a log that tells of a failure: a path or a file name alone is no complaint


def _hold(clues: Iterable[Clue], facts: Facts) -> tuple[float, list[Evidence]]:
    """The probability that not all of these clues are accidents, and what they found."""
    doubt = 1.0
    evidence: dict[Evidence, None] = {}
    quiet = facts.log is not None and not facts.log.failing
    for clue in clues:
        if quiet and clue.weight < _HINT:
            continue
        found = list(clue.find(facts))
        if found:
            doubt *= 1 - clue.weight
            evidence |= dict.fromkeys(e for e in found if e.text)
    return 1 - doubt, list(evidence)


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
    """The findings, most likely first. A cause that is proved removes those which it rules out.

    To a log with fewer than three candidates come the causes that the first is confused with, below the others. To a complaint of
    which no rule knows the words come the causes of what it is about.
    """
    rules = tuple(rules)
    findings = [f for rule in rules if (f := _apply(rule, facts)) is not None]
    findings.sort(key=lambda f: -f.confidence)
    excluded = {cause for f in findings if f.confidence >= CERTAIN for cause in f.ruled_out}
    kept = [f for f in findings if f.cause not in excluded or f.confidence >= CERTAIN]
    kept = kept or _about(facts, rules)
    named = {f.cause for f in (*findings, *kept)}
    if facts.log is not None and kept and kept[0].confidence < CERTAIN:
        kept += _confused(kept, facts, rules)
    return [replace(f, ruled_out=_said(f, named)) for f in kept]


def _about(facts: Facts, rules: Iterable[Rule]) -> list[Finding]:
    """What a complaint may mean from what it names, the likeliest first; not what speaks against itself on this system."""
    by_cause = {rule.cause: rule for rule in rules}
    likely = [(by_cause[c], e) for c, e in about(facts) if c in by_cause and _hold(by_cause[c].against, facts)[0] < 0.8][:_SHOWN]
    return [
        Finding(r.cause, round(_ABOUT - 0.02 * place, 2), r.summary, (evidence,), tuple(r.fixes(facts)), (), r.decide)
        for place, (r, evidence) in enumerate(likely)
    ]


def _confused(findings: list[Finding], facts: Facts, rules: Iterable[Rule]) -> list[Finding]:
    """What the same words may also mean, up to `_SHOWN` findings in all; not what speaks against itself on this system."""
    by_cause = {rule.cause: rule for rule in rules}
    first, named = findings[0], {f.cause for f in findings}
    also = [by_cause[c] for c in CONFUSED.get(first.cause, ()) if c in by_cause and c not in named]
    likely = [rule for rule in also if _hold(rule.against, facts)[0] < 0.8][: max(_SHOWN - len(findings), 0)]
    why = (Evidence(f"what speaks for {first.cause} is also said then; the commands decide"),)
    return [Finding(r.cause, _CONFUSED, r.summary, why, tuple(r.fixes(facts)), (), r.decide) for r in likely]


def _said(finding: Finding, named: set[str]) -> tuple[str, ...]:
    """Of what a finding rules out, what was a candidate at all; nothing while the finding itself is not proved."""
    return tuple(c for c in finding.ruled_out if c in named) if finding.confidence >= CERTAIN else ()
