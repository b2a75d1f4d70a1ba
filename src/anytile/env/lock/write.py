"""A plan as Poetry, uv or pip write it, put into the user's own file.

What is not about the pinned packages stays as it is, comments included. A file is replaced in one step, or not at all.
"""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .errors import RequestError
from .plan import Entry, Pin, Plan
from .project import HEADER, Project
from .request import Request, Target, marker_for
from .resolve import Source

__all__ = ["difference", "render", "write_file"]

_WIDTH = 110  # of a comment beside a pin


def render(plan: Plan, project: Project) -> str:
    """The new text of the project's file."""
    if project.tool == "pip":
        return _pip(plan)
    import tomlkit

    document = tomlkit.parse(project.text)
    if project.tool == "uv":
        _uv(document, plan, project)
    else:
        _poetry(document, plan, project)
    return tomlkit.dumps(document)


def difference(project: Project, new: str) -> str:
    """What would change, as `diff -u` says it; empty where nothing would."""
    name = project.path.name
    return "".join(difflib.unified_diff(project.text.splitlines(True), new.splitlines(True), name, f"{name} (locked)"))


def write_file(path: Path, text: str) -> None:
    """Replaces ``path`` in one step: whoever reads it meanwhile, or after a power cut, has the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8", newline="") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, path.stat().st_mode & 0o7777 if path.exists() else 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _marker(entry: Entry, request: Request) -> str:
    return marker_for(entry.platforms, request.platforms)


def _target_marker(targets: Iterable[Target], request: Request) -> str:
    """A marker that is true for these targets and no others of the request."""
    chosen = list(targets)
    if set(chosen) == set(request.targets):
        return ""
    groups: dict[tuple[str, ...], list[Target]] = {}
    for platform in dict.fromkeys(t.platform for t in chosen):
        pythons = tuple(t.python for t in chosen if t.platform == platform)
        groups.setdefault(pythons, []).extend(t for t in chosen if t.platform == platform)
    parts = []
    for pythons, group in groups.items():
        place = marker_for((t.platform for t in group), request.platforms)
        time = "" if pythons == request.pythons else " or ".join(f"python_version == '{p}'" for p in pythons)
        both = [f"({m})" if " or " in m and place and time else m for m in (place, time) if m]
        parts.append(" and ".join(both))
    return parts[0] if len(parts) == 1 else " or ".join(f"({p})" for p in parts)


def _lines(pin: Pin, request: Request) -> list[str]:
    """The pin as requirements."""
    extras = f"[{','.join(pin.extras)}]" if pin.extras else ""
    lines = []
    for entry in pin.entries:
        if entry.wheels:
            for target, file in entry.wheels:
                marker = _target_marker([target], request)
                lines.append(f"{pin.name}{extras} @ {file.url}{f' ; {marker}' if marker else ''}")
            continue
        marker = _marker(entry, request)
        what = f" @ {entry.url}" if entry.url else f"=={entry.version}"
        space = " " if entry.url else ""
        lines.append(f"{pin.name}{extras}{what}{f'{space}; {marker}' if marker else ''}")
    return list(dict.fromkeys(lines))


def _why(pin: Pin) -> str:
    said = "; ".join(pin.reasons)
    return said if len(said) <= _WIDTH else said[: _WIDTH - 1].rsplit(" ", 1)[0] + " …"


def _table(parent: Any, *names: str) -> Any:
    """The table of that path, made where it is not there."""
    import tomlkit

    for i, name in enumerate(names):
        if name not in parent:
            # Tables that only hold others are written in the name of the inner one: [tool.uv.sources].
            parent[name] = tomlkit.table(is_super_table=i < len(names) - 1)
        parent = parent[name]
    return parent


def _put_source(tables: Any, source: Source, key: str, explicit: bool | str) -> None:
    """The source in an array of tables, its address made right where it is there; ``key = explicit`` is how the tool says so."""
    import tomlkit

    known = next((t for t in tables if t.get("name") == source.name), None)
    if known is None:
        known = tomlkit.table()
        known["name"] = source.name
        tables.append(known)
    known["url"], known[key] = source.url, explicit


def _set_dependencies(project: Any, plan: Plan) -> None:
    """Puts the pins into project.dependencies; other entries and their comments stay."""
    import tomlkit

    if "dependencies" not in project:
        project["dependencies"] = tomlkit.array().multiline(True)
    array = project["dependencies"]
    for pin in plan.pins:
        lines = _lines(pin, plan.request)
        places = [i for i, text in enumerate(array) if canonicalize_name(Requirement(str(text)).name) == pin.name]
        for i, line in zip(places, lines):
            if str(array[i]) != line:
                array[i] = line
        for i in reversed(places[len(lines) :]):
            del array[i]
        for line in lines[len(places) :]:
            array.add_line(line, comment=_why(pin) if line == lines[0] else None)
    if "\n" in array.as_string() and not array.as_string().rstrip("]").endswith("\n"):
        array.add_line(indent="")  # the bracket on a line of its own


def _set_python(table: Any, key: str, plan: Plan, project: Project) -> None:
    if project.python is None or (key in table and str(plan.request.python) and _narrower(plan, project)):
        table[key] = _python(plan)


def _python(plan: Plan) -> str:
    return ",".join(sorted((str(s) for s in plan.request.python), reverse=True))


def _narrower(plan: Plan, project: Project) -> bool:
    """Whether the request's Pythons are not those of the file."""
    return set(str(project.python).replace(" ", "").split(",")) != {str(s) for s in plan.request.python}


def _uv(document: Any, plan: Plan, project: Project) -> None:
    import tomlkit

    if "project" not in document:
        table = tomlkit.table()
        table["name"], table["version"] = _name(project), "0"
        document["project"] = table
    _set_python(document["project"], "requires-python", plan, project)
    _set_dependencies(document["project"], plan)
    request = plan.request
    new = "uv" not in document.get("tool", {})
    settings = _table(document, "tool", "uv")
    if new and not project.text:
        settings["package"] = False
    environments = [p.marker for p in request.platforms]
    if "environments" not in settings:
        settings["environments"] = environments
    if plan.left_out:
        _extend(
            settings, "override-dependencies", [f"{n}; sys_platform == 'never'" for n in plan.left_out], "anytile answers `import triton`"
        )
    if plan.overrides:
        _extend(settings, "override-dependencies", list(plan.overrides), "whose markers uv cannot tell apart by platform")
    if request.urls:
        return
    for source in plan.sources:
        _put_source(settings.setdefault("index", tomlkit.aot()), source, "explicit", True)
    sourced = [(pin, [e for e in pin.entries if e.source]) for pin in plan.pins]
    for pin, entries in sourced:
        if not entries:
            continue
        rows = []
        for entry in entries:
            row = tomlkit.inline_table()
            row["index"] = entry.source
            if marker := _marker(entry, request):
                row["marker"] = marker
            rows.append(row)
        _table(settings, "sources")[pin.name] = rows[0] if len(rows) == 1 else rows


def _extend(table: Any, key: str, values: list[str], why: str) -> None:
    import tomlkit

    if key not in table:
        table[key] = tomlkit.array()
        table[key].comment(why)
    array = table[key]
    for value in values:
        name = Requirement(value).name
        for i in reversed([i for i, v in enumerate(array) if Requirement(str(v)).name == name and str(v) != value]):
            del array[i]
        if value not in [str(v) for v in array]:
            array.append(value)


def _poetry(document: Any, plan: Plan, project: Project) -> None:
    import tomlkit

    modern = "dependencies" in document.get("project", {})
    if not project.text:
        _table(document, "tool", "poetry")["package-mode"] = False
    if modern:
        _set_python(document["project"], "requires-python", plan, project)
        _set_dependencies(document["project"], plan)
    # In a project with PEP 621's table, Poetry's own only says from which source a dependency of that table comes.
    if not modern or any(e.source and not e.wheels for pin in plan.pins for e in pin.entries):
        table = _table(document, "tool", "poetry", "dependencies")
        if not modern:
            _set_python(table, "python", plan, project)
        for pin in plan.pins:
            rows = _poetry_rows(pin, plan.request, modern)
            if not rows:
                continue
            old = table.get(pin.name)
            name = next((k for k in table if canonicalize_name(k) == pin.name), pin.name)
            value = rows[0] if len(rows) == 1 else _array(rows)
            comment = getattr(getattr(old, "trivia", None), "comment", "")
            if old is None or tomlkit.item(value).unwrap() != old.unwrap():
                table[name] = value
                table[name].comment(comment.lstrip("# ") or _why(pin))
    if plan.request.urls:
        return
    for source in plan.sources:
        _put_source(_table(document, "tool", "poetry").setdefault("source", tomlkit.aot()), source, "priority", "explicit")


def _poetry_rows(pin: Pin, request: Request, modern: bool) -> list[Any]:
    import tomlkit

    rows: list[Any] = []
    for entry in pin.entries:
        places: list[tuple[str, str | None]] = [(_marker(entry, request), entry.url)]
        if entry.wheels:
            places = [(_target_marker([target], request), file.url) for target, file in entry.wheels]
        for marker, url in places:
            row = tomlkit.inline_table()
            if modern:
                if entry.source is None or url:
                    continue
            elif url:
                row["url"] = url
            else:
                row["version"] = str(entry.version)
            if pin.extras and not modern:
                row["extras"] = list(pin.extras)
            if entry.source and not url:
                row["source"] = entry.source
            if marker:
                row["markers"] = marker
            rows.append(row)
    if len(rows) == 1 and set(rows[0]) == {"version"}:
        return [tomlkit.item(rows[0]["version"])]
    return rows


def _array(rows: list[Any]) -> Any:
    import tomlkit

    array = tomlkit.array()
    for row in rows:
        array.append(row)
    return array.multiline(True)


def _name(project: Project) -> str:
    return canonicalize_name(project.path.resolve().parent.name) or "project"


def _pip(plan: Plan) -> str:
    request = plan.request
    no_deps = " --no-deps" if plan.left_out else ""
    lines = [
        HEADER,
        f"#   python -m pip install --require-hashes{no_deps} -r THIS_FILE",
        f"# For Python {', '.join(request.pythons)} on {', '.join(p.name for p in request.platforms)}.",
    ]
    if plan.left_out:
        lines.append("# --no-deps: the list is complete, and leaves upstream's Triton out, since anytile answers `import triton`.")
    for pin in plan.pins:
        lines += [f"# {pin.name}: {reason}" for reason in pin.reasons]
    lines += [f"# The machine needs {need}." for need in plan.needs]
    lines += [f"--extra-index-url {s.url}" for s in plan.sources if not request.urls]
    direct = {(pin.name, target): file for pin in plan.pins for entry in pin.entries for target, file in entry.wheels}
    groups: dict[tuple[str, str], list[Target]] = {}
    for target, solution in plan.solutions.items():
        for name, package in solution.items():
            file = direct.get((name, target))
            address = file.url if file else package.url
            groups.setdefault((name, f" @ {address}" if address else f"=={package.version}"), []).append(target)
    for (name, what), targets in sorted(groups.items()):
        marker = _target_marker(targets, request)
        hashes = sorted({h for t in targets for h in plan.solutions[t][name].hashes})
        if file := direct.get((name, targets[0])):
            hashes = [f"sha256:{file.sha256}"] if file.sha256 else []
        if not hashes:
            raise RequestError(f"the index gives no hash for {name}{what}, and pip wants all or none; nothing was written")
        asked = sorted({v for t in targets for v in plan.solutions[t][name].via})
        lines.append(" \\\n".join([f"{name}{what}{f' ; {marker}' if marker else ''}", *(f"    --hash={h}" for h in hashes)]))
        lines.append(f"    # via {', '.join(asked)}")
    return "\n".join(lines) + "\n"
