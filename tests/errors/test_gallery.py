"""One class and one message per kind of mistake: the examples of docs/errors.md, run one by one.

The texts are pinned by the document itself (tests/docs checks that it is current); here is what every text must have.
"""

from __future__ import annotations

import pickle
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "scripts"))
import error_gallery  # noqa: E402

from anytile.errors import AnytileError, UnsupportedError  # noqa: E402
from anytile.frontend.errors import CompilationError  # noqa: E402
from anytile.runtime import errors as launch_errors  # noqa: E402

EXAMPLES = [e for examples in error_gallery.EXAMPLES.values() for e in examples]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.title)
def test_example(example: error_gallery.Example) -> None:
    error = error_gallery.raised(example)
    assert type(error) is error_gallery.kind(example), error
    assert isinstance(error, AnytileError)
    text = error_gallery.message(error)
    if isinstance(error, CompilationError):
        lines = text.split("\n")
        assert re.fullmatch(r"at \d+:\d+:", lines[0])
        column = int(lines[0].split(":")[1])
        caret = lines.index(" " * column + "^")
        assert lines[caret - 1][column : column + 1].strip(), "the caret stands under what is wrong"
        assert any(re.fullmatch(r"  (in|called from) demo, example\.py:\d+", line) for line in lines), "the place, out to the kernel"
    elif isinstance(error, launch_errors.LaunchError) and not isinstance(error, launch_errors.OptionValueError):
        assert "demo" in text, "the kernel"
    assert text.rstrip()[-1] not in ":;"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.title)
def test_errors_survive_a_process_boundary(example: error_gallery.Example) -> None:
    error = error_gallery.raised(example)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error)


def test_every_kind_has_an_example() -> None:
    shown = {error_gallery.kind(e) for e in EXAMPLES}
    from anytile.frontend import errors as source_errors

    for module in (source_errors, launch_errors):
        for name in module.__all__:
            kind = getattr(module, name)
            # Bases, and kinds which only libraries raise.
            if kind.__subclasses__() and kind not in shown or issubclass(kind, AnytileError) and kind.__module__ != module.__name__:
                continue
            if name in ("OutOfResources", "PTXASError", "AutotunerError", "InterpreterError", "ReturnError", "TypeMismatchError"):
                continue
            assert kind in shown, f"{name} has no example in scripts/error_gallery.py"


def test_the_foreign_names_of_kinds() -> None:
    """What `except` clauses written for Triton catch."""
    assert issubclass(launch_errors.MissingGridError, (RuntimeError,)) and issubclass(
        launch_errors.MissingGridError, launch_errors.GridError
    )
    assert issubclass(launch_errors.ArgumentError, TypeError)
    assert issubclass(launch_errors.OptionError, KeyError)
    assert issubclass(launch_errors.DeviceError, ValueError)
    assert issubclass(UnsupportedError, NotImplementedError)


def test_a_grid_of_zero_launches_nothing() -> None:
    """As in Triton, where programs rely on it: an empty tensor has an empty grid."""
    import numpy as np

    import anytile

    anytile.install()
    import triton
    from error_gallery_kernels import fill

    x = np.zeros(4, np.float32)
    for grid in ((0,), (1, 0), (4, 1, 0)):
        triton.jit(fill)[grid](x)
    assert not x.any()
