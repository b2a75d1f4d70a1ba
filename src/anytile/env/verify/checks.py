"""What is tried, in which order, and what need not be tried after something else has failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..collect import find_python
from .rows import Report, Row
from .runner import run_group

__all__ = ["OPERATIONS", "verify", "verify_rows"]

OPERATIONS = ("vector_add", "softmax", "matmul")
_LIBRARIES = ("unsloth", "xformers", "bitsandbytes")
_LATE = ("unsloth",)  # patches torch and transformers when it is imported: in a process of its own
_ARCHITECTURE = "sm_80"  # what a kernel is compiled for where there is no GPU: every Triton since 2.1 can


def verify_rows(python: str, timeout: float, facts: dict[str, Any]) -> Iterator[Row]:
    """Tries the environment of the executable ``python``; ``timeout`` seconds for each row. Fills ``facts`` as it goes on."""

    def run(group: str, device: str | None, *names: str) -> Iterator[Row]:
        return run_group(python, group, device, names, timeout, facts)

    start = list(run("facts", None, "python"))
    yield from start
    if start[0].verdict != "passed":
        return
    there: list[str] = facts["python"]["packages"]
    failed: dict[str, str] = {}

    def imported(*names: str) -> Iterator[Row]:
        for row in run("import", None, *names):
            if row.verdict != "passed":
                failed[row.name] = row.detail
            yield row

    if "torch" not in there:
        yield Row("import", "torch", None, "skipped", detail="not installed")
    if "triton" not in there:
        yield Row("import", "triton", None, "skipped", detail="nobody answers it; where anytile is installed, `anytile enable` lets it")
    first = [n for n in there if n not in _LATE]
    if "torch" in there:
        first.insert(first.index("torch") + 1 + ("triton" in there), "torch._inductor")
    yield from imported(*first)
    devices = [d["device"] for d in facts.get("torch", {}).get("devices", ())]
    provider = facts.get("triton", {}).get("provider")

    def unless_failed(needs: tuple[str, ...], group: str, device: str | None, *names: str) -> Iterator[Row]:
        missing = next((n for n in needs if n in failed or n not in (*there, "torch._inductor")), None)
        if missing is None:
            yield from run(group, device, *names)
        elif missing in failed:
            for name in names:
                yield Row(group, name, device, "skipped", detail=f"{missing} cannot be imported")

    if not devices and {"torch", "triton"} & set(there):
        devices = ["cpu"]
    for device in devices:
        yield from unless_failed(("torch",), "torch", device, *OPERATIONS)
        if provider == "triton" and device == "cpu":
            if devices == ["cpu"]:
                yield from unless_failed(("triton",), "machine code", _ARCHITECTURE, "vector_add")
        else:
            arrays = "numpy" if provider == "anytile" and "torch" not in there else "torch"
            yield from unless_failed((arrays, "triton"), "triton", device, *OPERATIONS)
        yield from unless_failed(("torch", "torch._inductor"), "compile", device, "model")
    best = devices[-1] if devices else "cpu"  # libraries are tried once: on a GPU where there is one
    for name in _LIBRARIES:
        if name in there and not (name == "unsloth" and best == "cpu" and provider != "anytile"):
            yield from unless_failed(("torch", name), "library", best, name)
        elif name in there:
            yield Row("library", name, best, "skipped", detail="Unsloth needs a GPU, or anytile as Triton")


def verify(python: str | None, timeout: float = 300.0, tell: Callable[[Row], None] = lambda row: None) -> Report:
    """Tries the environment of ``python`` (an executable or a folder; None: the Python that runs this), calling ``tell`` on each row.

    Raises OSError where there is no such interpreter.
    """
    executable = find_python(python)
    facts: dict[str, Any] = {}
    rows: list[Row] = []
    for row in verify_rows(executable, timeout, facts):
        rows.append(row)
        tell(row)
    return Report(executable, tuple(rows), facts)
