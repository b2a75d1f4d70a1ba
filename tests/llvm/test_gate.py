"""Each row of the gate is what LLVM needs: in a process of its own, since a wrong one aborts it."""

import re
import subprocess
import sys

import pytest

from anytile.errors import UnsupportedError
from anytile.llvm import gate

COMPILE = """
import sys
from anytile.llvm import engine, gate
if sys.argv[1] == "ungated":
    gate.check = lambda *_: None
print(len(engine.compile_object(sys.argv[2], features=set(sys.argv[4].split()), triple=sys.argv[3])))
"""


def text_of(row):
    """A function that makes one call, operands loaded from memory."""
    result, operands = re.fullmatch(r"(.+?)\((.*)\)", row.signature).groups()
    types = [t for t in re.findall(r"<[^>]*>|\w+", operands)]
    lines, arguments = [], []
    for number, type in enumerate(types):
        if type in ("imm", "immi32"):
            arguments.append(f"{'i8' if type == 'imm' else 'i32'} {number}")
        elif type == "ptr":
            arguments.append("ptr %p")
        else:
            lines.append(f"  %x{number} = load {type}, ptr %p, align 1")
            arguments.append(f"{type} %x{number}")
    declared = ", ".join(a.split(" %")[0] if "%" in a else a.split()[0] for a in arguments)
    call = f"call {result} @{row.name}({', '.join(arguments)})"
    lines += [f"  {call}"] if result == "void" else [f"  %r = {call}", f"  store {result} %r, ptr %p, align 1"]
    body = "\n".join(lines)
    return f"declare {result} @{row.name}({declared})\ndefine void @f(ptr %p) {{\n{body}\n  ret void\n}}\n"


@pytest.mark.parametrize("row", gate.ROWS, ids=lambda row: row.name)
def test_row_compiles(row):
    extra = "neon" if row.architecture == "aarch64" else ""
    command = [
        sys.executable,
        "-c",
        COMPILE,
        "gated",
        text_of(row),
        f"{row.architecture}-unknown-linux-gnu",
        f"{extra} {' '.join(row.needs)}",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_why_the_gate_exists():
    """Without it LLVM ends the process."""
    row = next(r for r in gate.ROWS if r.name.endswith("dpbf16ps.512"))
    command = [sys.executable, "-c", COMPILE, "ungated", text_of(row), "x86_64-unknown-linux-gnu", "sse2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "Cannot select" in done.stderr or "LLVM ERROR" in done.stderr


def test_missing_feature_is_named():
    row = next(r for r in gate.ROWS if r.name.endswith("tdpbf16ps"))
    with pytest.raises(UnsupportedError, match="llvm.x86.tdpbf16ps is not supported on x86_64 without amx-bf16"):
        gate.check(text_of(row), {"amx-tile"}, "x86_64")
    with pytest.raises(UnsupportedError, match="on aarch64"):
        gate.check(text_of(row), {"amx-tile", "amx-bf16"}, "aarch64")


def test_unlisted_intrinsic_is_refused():
    with pytest.raises(UnsupportedError, match="add a row"):
        gate.check("declare void @llvm.x86.no.such.thing()", (), "x86_64")


def test_other_intrinsics_pass():
    gate.check("declare float @llvm.sqrt.f32(float)\ndeclare void @llvm.memset.p0.i64(ptr, i8, i64, i1)", (), "x86_64")
