"""From facts to findings: every rule is asked, and the answers are ranked."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from .facts import Facts
from .rules import RULES
from .rules.confusions import CONFUSED
from .rules.model import CERTAIN, Clue, Evidence, Finding, Rule
from .rules.topics import about, complains, concerns
from .rules.words import likeness

__all__ = ["NOT_WORTH_SAYING", "diagnose"]

NOT_WORTH_SAYING = 0.15  # confidence under which a candidate is dropped
_SHOWN = 3  # findings on a log, which are filled up to so many with what is confused with the first, and with what the words are like
_CONFUSED = 0.12  # confidence of those
_SILENT = 0.02  # what a cause of which no rule speaks is given before its words are looked at
_FARTHEST = 2.5  # of words: a cause is not excluded because none of them was ever counted for it
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

    To a log come, below what rules say, the causes that the first is confused with and those that the words of the log are like
    (`rules/words.py`); to a complaint of which no rule knows the words come the causes of what it is about. The words also order
    what the rules find.
    """
    rules = tuple(rules)
    findings = [f for rule in rules if (f := _apply(rule, facts)) is not None]
    findings.sort(key=lambda f: -f.confidence)
    excluded = {cause for f in findings if f.confidence >= CERTAIN for cause in f.ruled_out}
    kept = [f for f in findings if f.cause not in excluded or f.confidence >= CERTAIN]
    if facts.log is not None:
        kept = _by_words(kept or _about(facts, rules), facts, rules)
    named = {f.cause for f in (*findings, *kept)}
    return [replace(f, ruled_out=_said(f, named)) for f in kept]


def _possible(rule: Rule, facts: Facts) -> bool:
    """Whether the system or something else does not speak against this cause."""
    return _hold(rule.against, facts)[0] < 0.8


def _guess(rule: Rule, confidence: float, evidence: Evidence, facts: Facts) -> Finding:
    return Finding(rule.cause, confidence, rule.summary, (evidence,), tuple(rule.fixes(facts)), (), rule.decide)


def _about(facts: Facts, rules: Iterable[Rule]) -> list[Finding]:
    """What a complaint may mean from what it names, the likeliest first; not what speaks against itself on this system."""
    by_cause = {rule.cause: rule for rule in rules}
    likely = [(by_cause[c], e) for c, e in about(facts) if c in by_cause and _possible(by_cause[c], facts)][:_SHOWN]
    return [_guess(rule, round(_ABOUT - 0.02 * place, 2), evidence, facts) for place, (rule, evidence) in enumerate(likely)]


def _by_words(findings: list[Finding], facts: Facts, rules: Iterable[Rule]) -> list[Finding]:
    """The findings in the order that rules and words of the log agree on, filled up to `_SHOWN` with what rules say nothing of.

    The odds that the rules give are multiplied by how likely the words make each cause. Nothing comes to a text in which no rule
    speaks, unless it is a short complaint about the things that the doctor knows.
    """
    log = facts.log
    if log is None or not (findings or (complains(log) and concerns(log))):
        return findings
    by_cause, said = {rule.cause: rule for rule in rules}, {f.cause: f for f in findings}
    confused = CONFUSED.get(findings[0].cause, ())[: max(_SHOWN - len(findings), 0)] if findings else ()
    like = likeness(log)

    def odds(cause: str) -> float:
        known = said[cause].confidence if cause in said else _CONFUSED if cause in confused else _SILENT
        known = min(known, CERTAIN)
        return math.log(known / (1 - known)) + max(like.get(cause, -_FARTHEST), -_FARTHEST)

    order = sorted(by_cause, key=odds, reverse=True)
    proved = bool(findings) and findings[0].confidence >= CERTAIN
    shown: list[str] = []
    for cause in order:
        if cause in said or (len(shown) < _SHOWN and not proved and _possible(by_cause[cause], facts)):
            shown.append(cause)
    why = Evidence("the words of the log are like those of reports with this cause; the commands decide")
    also = Evidence(f"what speaks for {findings[0].cause} is also said then; the commands decide") if findings else why
    ranked = [said[c] if c in said else _guess(by_cause[c], _CONFUSED, also if c in confused else why, facts) for c in shown]
    return [replace(f, confidence=round(sure, 3)) for f, sure in zip(ranked, _falling([f.confidence for f in ranked]))]


def _falling(values: list[float]) -> list[float]:
    """``values``, where one is greater than the one before it both replaced by their mean, until none is."""
    pools: list[tuple[float, int]] = []
    for value in values:
        count = 1
        while pools and pools[-1][0] < value:
            before, n = pools.pop()
            value, count = (before * n + value * count) / (n + count), n + count
        pools.append((value, count))
    return [value for value, count in pools for _ in range(count)]


def _said(finding: Finding, named: set[str]) -> tuple[str, ...]:
    """Of what a finding rules out, what was a candidate at all; nothing while the finding itself is not proved."""
    return tuple(c for c in finding.ruled_out if c in named) if finding.confidence >= CERTAIN else ()
