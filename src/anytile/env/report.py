"""How findings are told: on a terminal, as JSON (schema 1), as a page to share; with user names and paths removed on request."""

from __future__ import annotations

import getpass
import html
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .facts import Facts
from .managers import manager_name
from .rules.model import Finding

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["SCHEMA", "as_html", "as_json", "plain_console", "print_report", "redactor"]

SCHEMA = 1
_HOMES = (
    (re.compile(r"([A-Za-z]:[\\/]+[Uu]sers[\\/]+)[^\\/\s'\":,]+"), r"\1user"),
    (re.compile(r"(/(?:home|Users)/)(?:[^/\s'\":,]+)"), r"\1user"),
)
_PATH = re.compile(r"(?<![\w.</])(?:[A-Za-z]:[\\/]|/)(?:[^\\/\s'\":,;<>|]+[\\/])+(?=[^\\/\s'\":,;<>|]+)")
_KEPT = re.compile(r"((?:site-packages|dist-packages)[\\/].*|(?:torch|triton|torchinductor\w*|\.triton)[\\/].*)$")


def redactor(on: bool) -> Callable[[str], str]:
    """A function that removes user names and folders from a text; one that changes nothing when not ``on``.

    Of a path stays what names the package: everything from `site-packages/`, `torch/`, `triton/` or `.triton/` on, and the file name.
    """
    if not on:
        return lambda text: text
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user in the password database, no variable: a container
        name = ""
    me = re.compile(rf"\b{re.escape(name)}\b") if len(name) > 2 and name != "root" else None

    def shorten(m: re.Match[str]) -> str:
        kept = _KEPT.search(m.group())
        return "<path>/" + (kept.group() if kept else "")

    def redact(text: str) -> str:
        for pattern, replacement in _HOMES:
            text = pattern.sub(replacement, text)
        if me is not None:
            text = me.sub("user", text)
        return _PATH.sub(shorten, text)

    return redact


def _clean(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {k: _clean(v, redact) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(v, redact) for v in value]
    return value


def _facts(facts: Facts) -> dict[str, Any]:
    """The facts as JSON: without the files of each distribution, and of a log only what it names."""
    out = asdict(facts)
    for d in out["distributions"]:
        for key in ("extensions", "packages", "requires"):
            del d[key]
    if out["log"] is not None:
        out["log"] = [{k: m[k] for k in ("kind", "value", "detail", "line")} for m in out["log"]["mentions"]]
    return out


def as_json(facts: Facts, findings: list[Finding], redact: bool = False) -> str:
    """Schema 1, see docs/doctor.md. Keys are only added within a schema number, never renamed or removed."""
    document = {
        "schema": SCHEMA,
        "facts": _facts(facts),
        "findings": [
            {
                "cause": f.cause,
                "confidence": f.confidence,
                "summary": f.summary,
                "evidence": [asdict(e) for e in f.evidence],
                "fixes": [asdict(x) for x in f.fixes],
                "ruled_out": list(f.ruled_out),
                "decide": list(f.decide),
            }
            for f in findings
        ],
    }
    return json.dumps(_clean(document, redactor(redact)), indent=2, ensure_ascii=False)


def _environment(facts: Facts) -> list[tuple[str, str]]:
    """The lines above the findings."""
    i, p = facts.interpreter, facts.platform
    system = " ".join(x for x in (p.system or "unknown system", p.machine or "", "(WSL)" if p.wsl else "") if x)
    rows = [
        ("Python", f"{i.version or 'unknown'} {i.executable}".strip()),
        ("System", system),
        ("Managed by", manager_name(facts.project.tool)),
    ]
    if facts.torch:
        builds = (("CUDA", facts.torch.cuda), ("ROCm", facts.torch.hip), ("XPU", facts.torch.xpu))
        build = next((f"{name} {version}" for name, version in builds if version), "CPU")
        rows.append(("torch", facts.torch.version + ("" if facts.log else f" ({build})")))
    if facts.triton:
        rows.append(
            (
                "Triton",
                f"{facts.triton.version or 'unknown'} ({', '.join(facts.triton.owners) or 'owner unknown'})"
                if facts.log is None
                else str(facts.triton.version),
            )
        )
    rows += [
        ("GPU", " ".join(x for x in (g.name, f"driver {g.driver}" if g.driver else "", f"CUDA up to {g.cuda}" if g.cuda else "") if x))
        for g in facts.gpus
    ]
    rows += [(f"{c.kind} cache", f"{c.path}" + (f", {c.bytes / 1e6:.0f} MB" if c.bytes is not None else "")) for c in facts.caches]
    return rows


def plain_console() -> Console:
    """The console, which colours nothing by itself.  A file or a pipe has no edge: a path broken in two cannot be searched for or pasted."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000
    return console


def print_report(facts: Facts, findings: list[Finding], redact: bool = False) -> None:
    """Writes the report to the terminal."""
    from rich.table import Table
    from rich.text import Text

    clean = redactor(redact)
    console = plain_console()
    if facts.log is None:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in _environment(facts):
            table.add_row(name, Text(clean(value)))
        console.print(table)
        console.print()
    if not findings:
        console.print(Text("Nothing wrong found." if facts.log is None else "The log names nothing that a rule knows.", style="green"))
        return
    shown = findings if facts.log is None else findings[:4]
    for number, f in enumerate(shown, start=1):
        head = Text(f"{number}. {f.cause}", style="bold red" if f.confidence >= 0.8 else "bold yellow")
        head.append(f"  {f.confidence:.0%}", style="dim")
        console.print(head)
        console.print(Text("   " + clean(f.summary)))
        for e in f.evidence:
            console.print(Text("   - " + clean(e.text + (f"  [{e.where}]" if e.where else "")), style="dim"))
        if f.ruled_out:
            console.print(Text("   ruled out: " + ", ".join(f.ruled_out), style="dim"))
        for fix in f.fixes:
            console.print(Text("   > " + fix.summary + (" (changes nothing that is installed)" if fix.safe else "")))
            for command in fix.commands:
                console.print(Text("       " + clean(command), style="cyan"), soft_wrap=True)
        if facts.log is not None and f.decide:
            console.print(Text("   to decide: " + "; ".join(f.decide), style="dim"), soft_wrap=True)
        console.print()


def as_html(facts: Facts, findings: list[Finding], redact: bool = False) -> str:
    """One page with nothing to load, for an issue or a mail."""
    clean = redactor(redact)

    def t(text: str) -> str:
        return html.escape(clean(text))

    rows = "".join(f"<tr><th>{t(k)}</th><td>{t(v)}</td></tr>" for k, v in _environment(facts))
    parts = []
    for f in findings:
        evidence = "".join(f"<li>{t(e.text)} <code>{t(e.where)}</code></li>" for e in f.evidence)
        fixes = "".join(f"<p>{t(x.summary)}</p><pre>{t(chr(10).join(x.commands))}</pre>" for x in f.fixes)
        parts.append(
            f"<section><h2>{t(f.cause)} <small>{f.confidence:.0%}</small></h2><p>{t(f.summary)}</p><ul>{evidence}</ul>{fixes}</section>"
        )
    style = "body{font:16px/1.5 system-ui;max-width:50em;margin:2em auto;padding:0 1em}th{text-align:left;padding-right:2em}pre{background:#f4f4f4;padding:.6em;overflow:auto}"
    body = "".join(parts) or "<p>Nothing wrong found.</p>"
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>anytile doctor</title><style>{style}</style><h1>anytile doctor</h1><table>{rows}</table>{body}</html>\n'
