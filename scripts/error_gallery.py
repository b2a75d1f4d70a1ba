"""Writes docs/errors.md, one example of each kind of mistake: ``python scripts/error_gallery.py``.

``--check`` writes nothing and fails when the file is out of date; tests/errors runs the examples one by one.
An example is a program text that is run in a module of its own; the error that it must end with is named beside it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

TARGET = Path(__file__).parent.parent / "docs" / "errors.md"

HEAD = """# Errors

Written by `scripts/error_gallery.py`, which runs these examples; edit it, not this file.

Every error that anytile raises on purpose is an `anytile.errors.AnytileError`. Mistakes in a kernel's source are
`CompilationError`s (`anytile.frontend.errors`, `triton.CompilationError`): they show the function up to the line, a caret, a
sentence, and the calls from the place of the mistake out to the kernel. Mistakes in a launch are `LaunchError`s
(`anytile.runtime.errors`): they name kernel and argument. Each kind has a class of its own; where Triton raises a built-in exception
for the same mistake, the class derives from that one too.
"""

PRELUDE = """import numpy as np
import triton
import triton.language as tl

"""


class Example(NamedTuple):
    """``code`` runs after `PRELUDE`; ``kind``: class of the error, as ``module:Class``; ``env``: variables set meanwhile."""

    title: str
    kind: str
    code: str
    env: dict[str, str] = {}  # noqa: RUF012 - never written to


_F, _R, _E = "anytile.frontend.errors:", "anytile.runtime.errors:", "anytile.errors:"

EXAMPLES = {
    "Mistakes in a kernel": [
        Example(
            "Shapes that do not fit",
            _F + "ShapeMismatchError",
            """
            @triton.jit
            def demo(x_ptr):
                x = tl.load(x_ptr + tl.arange(0, 128))
                tl.store(x_ptr + tl.arange(0, 64), x + tl.arange(0, 64))

            demo[(1,)](np.zeros(128, np.float32))
            """,
        ),
        Example(
            "A mask of another shape",
            _F + "ShapeMismatchError",
            """
            @triton.jit
            def demo(x_ptr, n):
                rows = tl.arange(0, 16)
                cols = tl.arange(0, 64)
                x = tl.load(x_ptr + rows[:, None] * 64 + cols[None, :], mask=(rows < n)[:, None] & (rows < n)[None, :])
                tl.store(x_ptr + rows, tl.sum(x, 1))

            demo[(1,)](np.zeros(1024, np.float32), 10)
            """,
        ),
        Example(
            "A mask without brackets",
            _F + "UnsupportedLanguageConstruct",
            """
            @triton.jit
            def demo(x_ptr, n):
                i = tl.arange(0, 16)
                tl.store(x_ptr + i, 1.0, mask=i >= 0 & i < n)

            demo[(1,)](np.zeros(16, np.float32), 10)
            """,
        ),
        Example(
            "A product of shapes that cannot be multiplied",
            _F + "ShapeMismatchError",
            """
            @triton.jit
            def demo(x_ptr):
                a = tl.zeros((16, 32), tl.float32)
                b = tl.zeros((16, 32), tl.float32)
                tl.store(x_ptr, tl.sum(tl.dot(a, b)))

            demo[(1,)](np.zeros(1, np.float32))
            """,
        ),
        Example(
            "An unknown name",
            _F + "UnknownNameError",
            """
            @triton.jit
            def demo(x_ptr, n):
                offsets = tl.arange(0, 64)
                tl.store(x_ptr + ofsets, 1.0, mask=offsets < n)

            demo[(1,)](np.zeros(64, np.float32), 64)
            """,
        ),
        Example(
            "An unknown name in a function that the kernel calls",
            _F + "UnknownNameError",
            """
            @triton.jit
            def scaled(x):
                return x * factor

            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, scaled(tl.load(x_ptr)))

            demo[(1,)](np.zeros(1, np.float32))
            """,
        ),
        Example(
            "A name that one branch alone defines",
            _F + "UnknownNameError",
            """
            @triton.jit
            def demo(x_ptr, n):
                if n > 0:
                    value = 1.0
                tl.store(x_ptr, value)

            demo[(1,)](np.zeros(1, np.float32), 7)
            """,
        ),
        Example(
            "A function that the language does not have",
            _F + "UnknownNameError",
            """
            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, tl.laod(x_ptr))

            demo[(1,)](np.zeros(1, np.float32))
            """,
        ),
        Example(
            "What torch and NumPy have, and the language says otherwise",
            _F + "UnknownNameError",
            """
            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, tl.relu(tl.load(x_ptr)))

            demo[(1,)](np.zeros(1, np.float32))
            """,
        ),
        Example(
            "A function of the host on a value of the kernel",
            _F + "NotConstexprError",
            """
            import math

            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, math.sqrt(tl.load(x_ptr)))

            demo[(1,)](np.zeros(1, np.float32))
            """,
        ),
        Example(
            "The shape of an array, asked of its pointer",
            _F + "ArgumentError",
            """
            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, x_ptr.shape[0])

            demo[(1,)](np.zeros(1, np.float32))
            """,
        ),
        Example(
            "A run-time value where a compile-time one is needed",
            _F + "NotConstexprError",
            """
            @triton.jit
            def demo(x_ptr, n):
                tl.store(x_ptr + tl.arange(0, n), 0.0)

            demo[(1,)](np.zeros(64, np.float32), 64)
            """,
        ),
        Example(
            "A range that is no power of two",
            _F + "ArangeError",
            """
            @triton.jit
            def demo(x_ptr, BLOCK: tl.constexpr):
                tl.store(x_ptr + tl.arange(0, BLOCK), 0.0)

            demo[(1,)](np.zeros(100, np.float32), BLOCK=100)
            """,
        ),
        Example(
            "A global variable",
            _F + "GlobalAccessError",
            """
            SCALE = 2.0

            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, tl.load(x_ptr) * SCALE)

            demo[(1,)](np.zeros(1, np.float32))
            """,
        ),
        Example(
            "A loop that changes a variable's type",
            _F + "TypeMismatchError",
            """
            @triton.jit
            def demo(x_ptr, n):
                total = 0
                for i in range(n):
                    total += tl.load(x_ptr + i)
                tl.store(x_ptr, total)

            demo[(1,)](np.zeros(64, np.float32), 64)
            """,
        ),
        Example(
            "A store through a pointer to constants",
            _F + "ConstPointerError",
            """
            @triton.jit
            def demo(x_ptr: tl.const):
                tl.store(x_ptr, 1.0)

            demo[(1,)](np.zeros(1, np.float32))
            """,
        ),
        Example(
            "A condition that is a tile",
            _F + "CompilationError",
            """
            @triton.jit
            def demo(x_ptr, n):
                offsets = tl.arange(0, 64)
                if offsets < n:
                    tl.store(x_ptr + offsets, 1.0)

            demo[(1,)](np.zeros(64, np.float32), 10)
            """,
        ),
        Example(
            "A dtype that an operation does not take",
            _F + "ElementTypeError",
            """
            @triton.jit
            def demo(x_ptr):
                x = tl.load(x_ptr + tl.arange(0, 64))
                tl.store(x_ptr + tl.arange(0, 64), tl.exp(x))

            demo[(1,)](np.zeros(64, np.int32))
            """,
        ),
        Example(
            "Python that kernels do not have",
            _F + "UnsupportedLanguageConstruct",
            """
            @triton.jit
            def demo(x_ptr, n):
                for i in range(n):
                    if tl.load(x_ptr + i) > 0:
                        break

            demo[(1,)](np.zeros(64, np.float32), 64)
            """,
        ),
        Example(
            "Recursion without an end",
            _F + "RecursionInKernelError",
            """
            @triton.jit
            def halve(n):
                return halve(n // 2)

            @triton.jit
            def demo(x_ptr, n):
                tl.store(x_ptr, halve(n))

            demo[(1,)](np.zeros(1, np.int32), 10)
            """,
        ),
        Example(
            "Wrong arguments in a call",
            _F + "ArgumentError",
            """
            @triton.jit
            def scaled(x, factor):
                return x * factor

            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, scaled(tl.load(x_ptr)))

            demo[(1,)](np.zeros(1, np.float32))
            """,
        ),
        Example(
            "A result that nobody uses",
            _F + "UnusedResultError",
            """
            from anytile.runtime.jit import must_use_result

            @must_use_result("It returns the new value and stores nothing.")
            @triton.jit
            def clipped(x):
                return tl.maximum(x, 0)

            @triton.jit
            def demo(x_ptr):
                clipped(tl.load(x_ptr))

            demo[(1,)](np.zeros(1, np.float32))
            """,
        ),
        Example(
            "An assertion at compile time",
            _F + "CompileTimeAssertionFailure",
            """
            @triton.jit
            def demo(x_ptr, BLOCK: tl.constexpr):
                tl.static_assert(BLOCK >= 16, "blocks under 16 are too small for tl.dot")

            demo[(1,)](np.zeros(1, np.float32), BLOCK=8)
            """,
        ),
        Example(
            "Assembly for another machine",
            _F + "UnsupportedInKernelError",
            """
            @triton.jit
            def demo(x_ptr):
                x = tl.load(x_ptr + tl.arange(0, 32))
                x = tl.inline_asm_elementwise("frobnicate.f32 $0, $1;", "=r,r", [x], tl.float32, True, 1)
                tl.store(x_ptr + tl.arange(0, 32), x)

            demo[(1,)](np.zeros(32, np.float32))
            """,
        ),
    ],
    "Mistakes in a launch": [
        Example(
            "No grid",
            _R + "MissingGridError",
            """
            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, 1.0)

            demo(np.zeros(1, np.float32))
            """,
        ),
        Example(
            "A grid function that asks for a name which the kernel does not have",
            _R + "UnknownMetaError",
            """
            @triton.jit
            def demo(x_ptr, n, BLOCK: tl.constexpr):
                tl.store(x_ptr + tl.arange(0, BLOCK), 1.0)

            demo[lambda META: (triton.cdiv(64, META["BLOK"]),)](np.zeros(64, np.float32), 64, BLOCK=16)
            """,
        ),
        Example(
            "A grid beyond the limits",
            _R + "GridError",
            """
            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, 1.0)

            demo[(1, 70_000)](np.zeros(1, np.float32))
            """,
        ),
        Example(
            "A negative grid",
            _R + "GridError",
            """
            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, 1.0)

            demo[(-1,)](np.zeros(1, np.float32))
            """,
        ),
        Example(
            "A missing argument",
            _R + "ArgumentError",
            """
            @triton.jit
            def demo(x_ptr, n, BLOCK: tl.constexpr):
                tl.store(x_ptr, n)

            demo[(1,)](np.zeros(1, np.float32), BLOCK=64)
            """,
        ),
        Example(
            "Too many arguments",
            _R + "ArgumentError",
            """
            @triton.jit
            def demo(x_ptr, n):
                tl.store(x_ptr, n)

            demo[(1,)](np.zeros(1, np.float32), 1, 2)
            """,
        ),
        Example(
            "An unknown keyword",
            _R + "OptionError",
            """
            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, 1.0)

            demo[(1,)](np.zeros(1, np.float32), num_warp=4)
            """,
        ),
        Example(
            "A keyword with a value that it cannot have",
            _R + "OptionValueError",
            """
            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, 1.0)

            demo[(1,)](np.zeros(1, np.float32), num_warps=3)
            """,
        ),
        Example(
            "An argument of no use to a kernel",
            _R + "ArgumentTypeError",
            """
            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, 1.0)

            demo[(1,)]([0.0, 0.0])
            """,
        ),
        Example(
            "Elements that kernels do not know",
            _R + "ArgumentTypeError",
            """
            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, 1.0)

            demo[(1,)](np.zeros(1, np.complex64))
            """,
        ),
        Example(
            "A number too large",
            _R + "ArgumentRangeError",
            """
            @triton.jit
            def demo(x_ptr, n):
                tl.store(x_ptr, n)

            demo[(1,)](np.zeros(1, np.float32), 2**64)
            """,
        ),
        Example(
            "A tensor on a GPU",
            _R + "DeviceError",
            """
            class Device:  # stands for torch.zeros(1, device="cuda") on a machine that has none
                type = "cuda"

                def __str__(self):
                    return "cuda:0"

            class Tensor:
                device, dtype = Device(), "torch.float32"

                def data_ptr(self):
                    return 0x7F0000000000

            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, 1.0)

            demo[(1,)](Tensor())
            """,
        ),
        Example(
            "Memory that may not be written",
            _R + "ReadOnlyError",
            """
            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, 1.0)

            x = np.zeros(1, np.float32)
            x.flags.writeable = False
            demo[(1,)](x)
            """,
        ),
        Example(
            "Memory that was freed",
            _R + "StorageError",
            """
            class Tensor:  # stands for a torch tensor after tensor.untyped_storage().resize_(0)
                dtype = "torch.float32"

                def data_ptr(self):
                    return 0

                def numel(self):
                    return 64

            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, 1.0)

            demo[(1,)](Tensor())
            """,
        ),
        Example(
            "A target that there is not",
            _E + "UnsupportedError",
            """
            @triton.jit
            def demo(x_ptr):
                tl.store(x_ptr, 1.0)

            demo[(1,)](np.zeros(1, np.float32))
            """,
            {"ANYTILE_TARGET": "gpu"},
        ),
    ],
    "While a kernel runs": [
        Example(
            "An assertion on the device",
            _E + "DeviceAssertError",
            """
            @triton.jit
            def demo(x_ptr):
                x = tl.load(x_ptr + tl.arange(0, 4))
                tl.device_assert(x >= 0, "negative input")
                tl.store(x_ptr + tl.arange(0, 4), tl.sqrt(x))

            demo[(1,)](np.array([1, 4, -1, 9], np.float32), debug=True)
            """,
        ),
    ],
}


def code(example: Example) -> str:
    return textwrap.dedent(example.code).strip() + "\n"


def kind(example: Example) -> type[BaseException]:
    module, _, name = example.kind.partition(":")
    return getattr(importlib.import_module(module), name)


def raised(example: Example) -> BaseException:
    """The exception that the example ends with.  AssertionError where it ends without."""
    import anytile

    anytile.install()
    with tempfile.TemporaryDirectory() as folder, _environment(example.env):
        file = Path(folder) / "example.py"
        file.write_text(PRELUDE + code(example), encoding="utf-8")
        spec = importlib.util.spec_from_file_location("example", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as e:  # whatever it is, the caller compares its class
            return e
    raise AssertionError(f"the example {example.title!r} raises nothing")


def message(error: BaseException) -> str:
    """What the error says, without the folder that the example lay in."""
    return re.sub(r"[^\s(\"']*[/\\]example\.py", "example.py", str(error))


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def render() -> str:
    out = [HEAD]
    for heading, examples in EXAMPLES.items():
        out.append(f"\n## {heading}\n")
        for example in examples:
            error = raised(example)
            if type(error) is not kind(example):
                traceback.print_exception(error)
                raise SystemExit(f"the example {example.title!r} must raise {example.kind} but raises {type(error).__name__}")
            setting = "".join(f"With `{name}={value}`:\n\n" for name, value in example.env.items())
            out.append(
                f"\n### {example.title}\n\n{setting}```python\n{code(example)}```\n\n`{type(error).__name__}`:\n\n```text\n{message(error)}\n```\n"
            )
    return "".join(out)


def main() -> int:
    text = render()
    if "--check" in sys.argv[1:]:
        if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET} is out of date; run python scripts/error_gallery.py", file=sys.stderr)
        return 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
