"""`anytile doctor`: looks, ranks, tells. Exit status 0 healthy, 1 findings, 2 could not look."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["run"]


def run(python: str | None, log: str | None, as_json: bool, html: Path | None, redact: bool) -> int:
    """Examines this environment, the one of the interpreter ``python``, or the text in the file ``log`` (`-`: standard input)."""
    from ..env import report
    from ..env.diagnose import diagnose
    from ..env.remedies import fit
    from ..errors import AnytileError

    if python is not None and log is not None:
        print("anytile: --python and --log are two things to look at; give one of them", file=sys.stderr)
        return 2
    try:
        if log is not None:
            from ..env.log import read_log

            text = sys.stdin.read() if log == "-" else Path(log).read_text(encoding="utf-8", errors="replace")
            if not text.strip():
                raise ValueError(f"{'standard input' if log == '-' else log} is empty; paste what was printed, the error included")
            facts = read_log(text)
        else:
            from ..env.collect import collect

            facts = collect(python)
        findings = fit(diagnose(facts), facts)
    except (AnytileError, OSError, ValueError) as e:
        print(f"anytile: could not look: {e}", file=sys.stderr)
        return 2
    try:
        if html is not None:
            html.write_text(report.as_html(facts, findings, redact), encoding="utf-8")
            print(f"wrote {html}", file=sys.stderr)
    except OSError as e:
        print(f"anytile: could not write the report: {e}", file=sys.stderr)
        return 2
    if as_json:
        print(report.as_json(facts, findings, redact))
    elif html is None:
        report.print_report(facts, findings, redact)
    return 1 if findings else 0
