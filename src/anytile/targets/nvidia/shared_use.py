"""What fills a block's shared memory, in words, for the error that it is too much."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ...ir import Op, Value

__all__ = ["Fullest", "told"]


class Fullest(NamedTuple):
    """Shared memory when most of it was in use.

    ``buffers``: whose → which bytes (`Generator.buffer`); ``top``: where they end; ``exchange``: bytes above them for one exchange between
    threads.
    """

    buffers: Mapping[object, range]
    top: int
    exchange: int


def _what(key: object) -> str:
    """A buffer's content: a tile by its name in the IR, its type and its place in the source."""
    if isinstance(key, Op):
        return "the barriers of a loop"
    v = key[0] if isinstance(key, tuple) else key
    if not isinstance(v, Value):
        return "an operand of a dot"
    place = f", {Path(v.op.loc.file).name}:{v.op.loc.line}" if v.op is not None and v.op.loc.line else ""
    return f"{v.name or 'an operand of a dot'} ({v.type}{place})"


def told(fullest: Fullest, stages: int, limit: int) -> str:
    """The largest buffers and their bytes, and which ``num_stages`` would fit ``limit`` bytes, where ``stages`` are asked for."""
    sizes = [(key, len(taken)) for key, taken in sorted(fullest.buffers.items(), key=lambda item: item[1].start)]
    rings = sum(size for key, size in sizes if isinstance(key, Value))  # of the loops' pipelines; other keys are of one copy each
    parts = [
        f"{size} bytes for {f'{stages} stages of ' if isinstance(key, Value) else ''}{_what(key)}"
        for key, size in sorted(sizes, key=lambda item: -item[1])
    ]
    if fullest.exchange:
        parts.append(f"{fullest.exchange} bytes to move values between threads")
    shown = "; ".join(parts[:6]) + ("; …" if len(parts) > 6 else "")
    rest, each = fullest.top - rings + fullest.exchange, rings // stages if stages else 0
    fits = (limit - rest) // each if each else 0
    if 0 < fits < stages:
        return f"{shown}; num_stages={fits} fits, with {rest + fits * each} bytes"
    return f"{shown}; no num_stages fits: take smaller blocks"
