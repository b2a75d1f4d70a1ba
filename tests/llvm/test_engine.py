"""The LLVM engine: text to object to address, and what it says when something is wrong."""

import ctypes
import sys
import threading
import types
from importlib.metadata import requires

import pytest

from anytile.errors import UnsupportedError
from anytile.llvm import engine, host

ADD = "define i32 @add(i32 %x, i32 %y) {\n  %z = add i32 %x, %y\n  ret i32 %z\n}\n"


def function(loaded, name, result, *arguments):
    return ctypes.CFUNCTYPE(result, *arguments)(loaded.address(name))


@pytest.mark.parametrize("level", engine.LEVELS)
def test_compile_load_call(level):
    loaded = engine.load_object(engine.compile_object(ADD, level=level))
    assert function(loaded, "add", ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)(2, 40) == 42


def test_objects_have_symbols_of_their_own():
    text = "@word = external global i32\ndefine i32 @get() {\n  %v = load i32, ptr @word\n  ret i32 %v\n}\n"
    data = engine.compile_object(text)
    words = [ctypes.c_int32(7), ctypes.c_int32(8)]
    loaded = [engine.load_object(data, {"word": ctypes.addressof(word)}) for word in words]
    assert [function(one, "get", ctypes.c_int32)() for one in loaded] == [7, 8]


def test_c_library_is_found():
    text = "declare double @fmod(double, double)\ndefine double @f(double %x) {\n  %r = frem double %x, 3.0\n  ret double %r\n}\n"
    loaded = engine.load_object(engine.compile_object(text))
    assert function(loaded, "f", ctypes.c_double, ctypes.c_double)(7.5) == 1.5


def test_missing_symbol_is_an_exception(capfd):
    text = "declare i32 @nowhere()\ndefine i32 @f() {\n  %r = call i32 @nowhere()\n  ret i32 %r\n}\n"
    loaded = engine.load_object(engine.compile_object(text))
    with pytest.raises(engine.LLVMError, match="cannot load 'f'"):
        loaded.address("f")
    assert "nowhere" in capfd.readouterr().err


def test_missing_definition_is_an_exception(capfd):
    with pytest.raises(engine.LLVMError, match="cannot load 'sub'"):
        engine.load_object(engine.compile_object(ADD)).address("sub")


def test_garbage_is_no_object():
    with pytest.raises(engine.LLVMError, match="4 bytes of object code"):
        engine.load_object(b"junk")


def test_parse_error_shows_the_line():
    with pytest.raises(engine.LLVMError) as info:
        engine.compile_object(ADD.replace("%y\n", "%q\n"))
    assert "use of undefined value '%q'" in str(info.value)
    assert ">     2 |   %z = add i32 %x, %q" in str(info.value)


def test_verifier_error_shows_the_line():
    text = "define i32 @f(i1 %c) {\n  br i1 %c, label %a, label %b\na:\n  %x = add i32 2, 1\n  br label %b\nb:\n  ret i32 %x\n}\n"
    with pytest.raises(engine.LLVMError) as info:
        engine.compile_object(text)
    assert "does not dominate" in str(info.value)
    assert ">     4 |   %x = add i32 2, 1" in str(info.value)


def test_unknown_level():
    with pytest.raises(ValueError, match="'O9' is none of none, plain, lite, O2"):
        engine.compile_object(ADD, level="O9")


@pytest.mark.parametrize(
    ("triple", "expected"),
    [("aarch64-unknown-linux-gnu", "add\tw0"), ("arm64-apple-macosx13", "_add:"), ("x86_64-pc-windows-msvc", "(%rcx,%rdx)")],
)
def test_cross_compilation(triple, expected):
    assert expected in engine.emit_assembly(ADD, triple=triple)


@pytest.mark.skipif(engine.architecture(engine.host().triple) != "x86_64", reason="x86-64 register names")
def test_features_not_granted_are_denied():
    text = "define <16 x float> @f(<16 x float> %x) {\n  %y = fadd <16 x float> %x, %x\n  ret <16 x float> %y\n}\n"
    # A CPU name that has AVX-512 does not bring it back.
    assembly = engine.emit_assembly(text, "skylake-avx512", {"sse", "sse2"})
    assert "xmm" in assembly and "ymm" not in assembly and "zmm" not in assembly
    assert "ymm" in (assembly := engine.emit_assembly(text, "skylake-avx512", {"avx2"})) and "zmm" not in assembly


def test_llvmlite_that_cannot_serve(monkeypatch):
    """What another package's requirement took away or put back is told with what to do; never by what LLVM says of a text."""
    oldest = ".".join(map(str, host._OLDEST))
    assert f"llvmlite>={oldest}" in (requires("anytile") or [])
    old = types.ModuleType("llvmlite")
    old.__version__, old.__file__ = "0.43.0", "/site/llvmlite/__init__.py"
    monkeypatch.setitem(sys.modules, "llvmlite", old)
    with pytest.raises(host.LlvmliteError, match=rf"/site/llvmlite holds llvmlite 0\.43\.0, and llvmlite>={oldest} is needed.*pip install"):
        host.llvmlite_package()
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    with pytest.raises(ImportError, match=r"cannot be imported .*pip install \"llvmlite>="):
        host.llvmlite_package()


def test_optimize_folds():
    text = "define i32 @f() {\n  %p = alloca i32\n  store i32 41, ptr %p\n  %x = load i32, ptr %p\n  %y = add i32 %x, 1\n  ret i32 %y\n}\n"
    for level in ("lite", "O2"):
        assert "ret i32 42" in engine.optimize(text, level=level)


def test_intrinsic_without_feature_is_refused():
    text = "declare void @llvm.x86.tilerelease()\ndefine void @f() {\n  call void @llvm.x86.tilerelease()\n  ret void\n}\n"
    with pytest.raises(UnsupportedError, match="without amx-tile"):
        engine.compile_object(text, features=frozenset(), triple="x86_64-unknown-linux-gnu")


def test_threads():
    failures = []

    def work(number):
        try:
            for i in range(5):
                text = f"define i32 @f() {{\n  ret i32 {number * 100 + i}\n}}\n"
                loaded = engine.load_object(engine.compile_object(text))
                assert function(loaded, "f", ctypes.c_int32)() == number * 100 + i
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
