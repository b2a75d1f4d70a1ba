"""Reading what `proton` has written: `triton.profiler.viewer`, for trees of times and counts.

    tree, metrics = parse(["tflop16/s", "time/ms"], "run.hatchet")
    print_tree(tree, metrics)

A metric is ``time/UNIT``, ``avg_time/UNIT`` (s, ms, us or ns), ``cpu_time/UNIT``, ``flop/s`` of all widths or ``flop8/s``, ``flop16/s`` …,
``byte/s``, both also with g or t in front, or the name of what a scope or a ``launch_metadata`` has counted.  A frame's number is that of all
launches in and below it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["parse", "print_tree"]

_UNITS = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}
_PREFIXES = {"": 1.0, "g": 1e9, "t": 1e12}


@dataclass
class Frame:
    """``sums``: of this frame and of all below; ``shown``: the metrics that were asked for, None where the frame has none."""

    name: str
    sums: dict[str, float]
    shown: dict[str, float | None] = field(default_factory=dict)
    children: list[Frame] = field(default_factory=list)


def parse(
    metrics: Sequence[str], filename: str, include: str | None = None, exclude: str | None = None, threshold: float | None = None
) -> tuple[Frame, list[str]]:
    """(The tree of the file, the names of its metrics).

    ``include``, ``exclude``: regular expressions of the frames that stay, with what is above them, and that go, with what is below;
    ``threshold``: the share of its parent's first metric that a frame must have.  ValueError for a metric that cannot be told.
    """
    with open(filename, encoding="utf-8") as f:
        told, *_ = json.load(f)
    tree = _frame(told)
    _show(tree, metrics)
    _filter(tree, include, exclude, threshold, metrics[0] if metrics else None)
    return tree, list(metrics)


def _frame(told: dict[str, Any]) -> Frame:
    children = [_frame(c) for c in told["children"]]
    sums = {k: float(v) for k, v in told["metrics"].items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    for child in children:
        for k, v in child.sums.items():
            sums[k] = sums.get(k, 0.0) + v
    return Frame(told["frame"]["name"], sums, {}, children)


def _show(frame: Frame, metrics: Sequence[str]) -> None:
    frame.shown = {m: _value(m, frame.sums) for m in metrics}
    for child in frame.children:
        _show(child, metrics)


def _value(metric: str, sums: dict[str, float]) -> float | None:
    if m := re.fullmatch(r"(avg_|cpu_)?time/(s|ms|us|ns)", metric):
        time = sums.get("cpu_time (ns)" if m[1] == "cpu_" else "time (ns)")
        calls = sums.get("count", 1.0) if m[1] == "avg_" else 1.0
        return None if time is None else time / calls / _UNITS[m[2]]
    if m := re.fullmatch(r"([gt]?)(flop(?:8|16|32|64)?|byte)s?/s", metric):
        names = [f"flops{w}" for w in ("", 8, 16, 32, 64)] if m[2] == "flop" else [m[2].replace("flop", "flops").replace("byte", "bytes")]
        work, time = [sums[n] for n in names if n in sums], sums.get("time (ns)")
        return sum(work) / (time * 1e-9) / _PREFIXES[m[1]] if work and time else None
    if "/" in metric:
        raise ValueError(f"no metric is called {metric!r}: time, avg_time and cpu_time come by s, ms, us or ns, flop and byte by s")
    return sums.get(metric)


def _filter(frame: Frame, include: str | None, exclude: str | None, threshold: float | None, first: str | None) -> bool:
    """Whether the frame or one below it is included; takes out the children that are not."""
    whole = frame.shown.get(first) if first else None
    kept = []
    for child in frame.children:
        if exclude is not None and re.search(exclude, child.name):
            continue
        part = child.shown.get(first) if first else None
        if threshold and whole and part is not None and part < threshold * whole:
            continue
        if _filter(child, include, exclude, threshold, first):
            kept.append(child)
    frame.children = kept
    return bool(kept) or include is None or re.search(include, frame.name) is not None


def print_tree(tree: Frame, metrics: Sequence[str], depth: int = 100, format: Any = None, print_sorted: bool = False) -> None:
    """Prints the frames down to ``depth``, each with its metrics; ``print_sorted``: the largest of the first metric first.

    ``format``: "function" or None; frames have no files and lines.
    """
    print("  ".join(metrics))
    _print(tree, list(metrics), depth, print_sorted, "")


def _print(frame: Frame, metrics: list[str], depth: int, largest_first: bool, indent: str) -> None:
    told = "  ".join("-" if (v := frame.shown.get(m)) is None else f"{v:.3f}" for m in metrics)
    print(f"{indent}{told} {frame.name}")
    if depth > 0:
        children = frame.children
        if largest_first and metrics:
            children = sorted(children, key=lambda c: -(c.shown.get(metrics[0]) or 0.0))
        for child in children:
            _print(child, metrics, depth - 1, largest_first, indent + "  ")
