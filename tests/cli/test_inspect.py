"""`anytile inspect`: finding kernels, guessing their parameters, printing their stages."""

import subprocess
import sys

import pytest

from anytile.cli import inspect as inspector

KERNELS = """
import triton
import triton.language as tl

@triton.jit
def scale_rows(X, idx_ptr, out, stride, n, eps, BLOCK: tl.constexpr, FAST: tl.constexpr = True):
    row = tl.load(idx_ptr + tl.program_id(0))
    cols = tl.arange(0, BLOCK)
    place = X + row * stride
    x = tl.load(place + cols, mask=cols < n)
    tl.store(out + cols, x * eps, mask=cols < n)

@triton.autotune(configs=[triton.Config({"BLOCK": 256})], key=["n"])
@triton.jit
def tuned(x_ptr, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(x_ptr + i, 1.0, mask=i < n)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some_kernels.py"
    path.write_text(KERNELS)
    return str(path)


def test_kernels_are_found_through_autotuners(file):
    kernels = inspector.load_kernels(file)
    assert list(kernels) == ["scale_rows", "tuned"]
    assert kernels["tuned"][1] == {"BLOCK": 256}


def test_guesses(file):
    kernel, preset = inspector.load_kernels(file)["scale_rows"]
    guesses = inspector.guess_parameters(kernel, preset, [], {})
    assert [(g.name, g.type, g.value) for g in guesses] == [
        ("X", "*fp32", None),
        ("idx_ptr", "*i64", None),
        ("out", "*fp32", None),
        ("stride", "i32", None),
        ("n", "i32", None),
        ("eps", "fp32", None),
        ("BLOCK", "constexpr", 64),
        ("FAST", "constexpr", True),
    ]


def test_what_is_said_outranks_guesses(file):
    kernel, _ = inspector.load_kernels(file)["scale_rows"]
    guesses = inspector.guess_parameters(kernel, {"BLOCK": 8}, ["*bf16", "*i32", "*bf16", "i64", "fp32"], {"BLOCK": 128, "n": 100})
    assert [g.type for g in guesses] == ["*bf16", "*i32", "*bf16", "i64", "constexpr", "fp32", "constexpr", "constexpr"]
    assert [g.value for g in guesses if g.type == "constexpr"] == [100, 128, True]


@pytest.mark.parametrize(
    ("types", "constants", "message"),
    [(["i32"], {}, "--signature has 1 types, and scale_rows has 6"), ([], {"NOPE": 1}, "--const NOPE: scale_rows has no such parameter")],
)
def test_misfits_are_named(file, types, constants, message):
    kernel, preset = inspector.load_kernels(file)["scale_rows"]
    with pytest.raises(ValueError, match=message):
        inspector.guess_parameters(kernel, preset, types, constants)


def test_texts():
    assert inspector._split_types("*fp32, tensordesc<fp16[64,64]>,i32") == ["*fp32", "tensordesc<fp16[64,64]>", "i32"]
    assert inspector._split_types(" ") == []
    assert inspector._assignments(["A=4", "B='x'", "C=relu", "D=True"], "--const") == {"A": 4, "B": "x", "C": "relu", "D": True}
    assert inspector._split_target(r"C:\x\k.py") == (r"C:\x\k.py", "")
    assert inspector._split_target("k.py:add") == ("k.py", "add")
    with pytest.raises(ValueError, match="NAME=VALUE"):
        inspector._assignments(["A"], "--const")


def call(*arguments):
    return subprocess.run([sys.executable, "-m", "anytile", "inspect", *arguments], capture_output=True, text=True, timeout=120)


def test_every_stage_is_printed(file):
    done = call(f"{file}:tuned", "--signature", "*fp32,i32", "--const", "BLOCK=128")
    assert done.returncode == 0, done.stderr
    for text in ("---- tile ----", "---- llir ----", "---- asm ----", "constexpr = 128"):
        assert text in done.stdout
    one = call(f"{file}:tuned", "--stage", "llir")
    assert "---- llir ----" in one.stdout and "---- asm ----" not in one.stdout


def test_requests_that_cannot_be_met_are_one_sentence(file):
    for arguments, message in [((file,), "several kernels"), ((f"{file}:x",), "no kernel x"), (("nowhere.py",), "there is no file")]:
        done = call(*arguments)
        assert done.returncode == 1
        assert message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 / 0\n", r" at .*broken.py:1 with ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", r" at .*broken.py:2 with SystemExit: 3"),
        ("x = (\n", "SyntaxError"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_sentence(tmp_path, text, told):
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(ValueError, match=r"(?s)broken.py is run to find its kernels, and stopped.*" + told):
        inspector.load_kernels(str(tmp_path / "broken.py"))


def test_files_of_packages_may_import_by_dots(tmp_path):
    folder = tmp_path / "package_of_kernels" / "inner"
    folder.mkdir(parents=True)
    for name in (folder.parent / "__init__.py", folder / "__init__.py"):
        name.write_text("")
    (folder.parent / "base.py").write_text("SIZE = 4\n")
    (folder / "some.py").write_text("from ..base import SIZE\n" + KERNELS)
    assert list(inspector.load_kernels(str(folder / "some.py"))) == ["scale_rows", "tuned"]
