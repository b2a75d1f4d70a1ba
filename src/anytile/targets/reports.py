"""What kernels say to people: the lines of `print` and the message of a failed `assert`.

One text for every target.  Lines have the form ``pid (x, y, z) idx (i, j) prefix: value``, one lane a line, with
``(operand k)`` after the prefix where one call prints several values; a call without values prints its prefix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..ir.types import Element, Float
from . import formats

__all__ = ["assert_message", "format_lane", "print_lines"]

Pid = tuple[int, int, int]


def format_lane(x: np.ndarray, elem: Element, is_signed: bool, is_hex: bool) -> str:
    """One lane (a rank-0 array) as `print` shows it: ``%d``, ``%f``, pointers and hex zero-padded to their width."""
    if elem.is_ptr:
        return f"0x{int(x):016x}"
    if is_hex:
        bits = elem.bits
        return f"0x{int(x.view(np.uint8) if bits == 1 else x.view(formats.unsigned(bits))):0{max(1, bits // 4)}x}"
    if isinstance(elem, Float):
        return f"{float(formats.decode(x, elem)):f}"
    value = int(x)
    return str(value if is_signed or value >= 0 else value + (1 << elem.bits))


def print_lines(
    pid: Pid, prefix: str, is_hex: bool, signed: Sequence[int], elems: Sequence[Element], arrays: Sequence[np.ndarray]
) -> Iterator[str]:
    """The lines of one `print` in program ``pid``.

    ``arrays`` are in storage form (`formats.storage`); ``signed`` holds one flag per array, true where it is short.
    """
    head = f"pid ({pid[0]}, {pid[1]}, {pid[2]})"
    label = prefix.strip().rstrip(":").rstrip()
    if not arrays:
        yield f"{head} {label}"
        return
    title = f" {label}: " if label else ": "
    for n, (array, elem) in enumerate(zip(arrays, elems, strict=True)):
        is_signed = bool(signed[n]) if n < len(signed) else True
        operand = f"(operand {n}) " if len(arrays) > 1 else ""
        widths = [len(str(d - 1)) for d in array.shape]
        for index in np.ndindex(array.shape):
            where = ", ".join(f"{i:{w}}" for i, w in zip(index, widths))
            yield f"{head} idx ({where}){title}{operand}{format_lane(np.asarray(array[index]), elem, is_signed, is_hex)}"


def assert_message(attrs: dict[str, Any], loc: object, pid: Pid, failed: np.ndarray) -> str:
    """The message of a failed `assert` with these attributes; ``failed`` marks the lanes, of which the first is named."""
    lane = tuple(int(i) for i in np.unravel_index(int(np.argmax(failed)), failed.shape))
    place = f"{attrs['file']}:{attrs['line']}" + (f" in {attrs['function']}" if attrs["function"] else "") if attrs["file"] else str(loc)
    return f"{place}: device-side assert {attrs['message']!r} failed in program {tuple(pid)}, lane {lane}"
