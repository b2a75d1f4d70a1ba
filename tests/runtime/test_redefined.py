"""Functions that are defined anew under their name, as in the cells of a notebook: their callers are compiled again."""

from __future__ import annotations

import linecache

import numpy as np
import pytest

import anytile.language as tl
from anytile.runtime.jit import jit

_cells = iter(range(1000))


def cell(space: dict, text: str, name: str = "") -> None:
    """Runs ``text`` as a notebook does: its source can be found, and its names are those of ``space``."""
    name = name or f"<cell {next(_cells)} of the tests of anytile>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    exec(compile(text, name, "exec"), space)


@pytest.fixture
def notebook():
    space = {"jit": jit, "tl": tl, "__name__": "__main__"}
    cell(space, "@jit\ndef factor(v):\n    return v * 2\n")
    cell(space, "@jit\ndef middle(v):\n    return factor(v) + 1\n")
    cell(space, "@jit\ndef kernel(x):\n    tl.store(x, middle(tl.load(x)))\n")
    cell(space, "@jit\ndef other(x):\n    tl.store(x, tl.load(x) + 5)\n")
    return space


def launched(kernel, dtype=np.float32) -> float:
    x = np.ones(1, dtype)
    kernel[(1,)](x)
    return float(x[0])


def test_callers_of_a_function_defined_anew_are_compiled_again(notebook):
    kernel, other = notebook["kernel"], notebook["other"]
    for _ in range(4):  # often enough for launches to be learnt
        assert launched(kernel) == 3 and launched(other) == 6
    key, compiled = kernel.cache_key, len(other.device_caches[0][0])
    cell(notebook, "@jit\ndef factor(v):\n    return v * 10\n")
    for _ in range(4):
        assert launched(kernel) == 11
    assert launched(kernel, np.float64) == 11 and kernel.cache_key != key
    assert len(other.device_caches[0][0]) == compiled == 1  # which has nothing to do with it
    cell(notebook, "@jit\ndef middle(v):\n    return factor(v) - 1\n")
    assert launched(kernel) == 9
    cell(notebook, "@jit\ndef middle(v):\n    return v\n")
    cell(notebook, "@jit\ndef factor(v):\n    return v * 1000\n")
    assert launched(kernel) == 1


def test_a_function_defined_as_it_was_is_found_in_the_cache(notebook):
    key, was = notebook["kernel"].cache_key, notebook["factor"]
    cell(notebook, "@jit\ndef factor(v):\n    return v * 2\n", was.file)
    assert notebook["factor"] is not was and notebook["kernel"].cache_key == key


def test_functions_of_one_name_in_other_places_are_others(notebook):
    kernel = notebook["kernel"]
    assert launched(kernel) == 3
    elsewhere = {"jit": jit, "tl": tl, "__name__": "elsewhere"}
    cell(elsewhere, "@jit\ndef factor(v):\n    return v * 7\n")
    cell(notebook, "class C:\n    @jit\n    def factor(v):\n        return v * 7\n")
    cell(notebook, "def make():\n    @jit\n    def factor(v):\n        return v * 7\n    return factor\n\nmake()\n")
    assert len(kernel.device_caches[0][0]) == 1 and launched(kernel) == 3
