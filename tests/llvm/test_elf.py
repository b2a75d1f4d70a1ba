"""The own linker against LLVM's: same results where it links, and a refusal for everything that it does not know."""

from __future__ import annotations

import ctypes
import struct
import subprocess
import sys

import pytest

from anytile.llvm import elf, engine, host, loader, memory

pytestmark = pytest.mark.skipif(not memory.available(), reason="this system is left to LLVM's linker")

# Code that calls out and back in, tables of constants, variables, a jump table, pointers to functions and to data.
TEXT = """
@counter = global i64 40
@zeroed = internal global [100 x i64] zeroinitializer, align 64
@table = internal constant [4 x double] [double 1.5, double 2.5, double 3.5, double 4.5], align 32
@pointers = internal constant [2 x ptr] [ptr @twice, ptr @thrice]
@outside = external global i64
declare double @cos(double)
declare i64 @outer(i64)
declare ptr @memcpy(ptr, ptr, i64)
define internal i64 @twice(i64 %x) noinline { %r = shl i64 %x, 1
 ret i64 %r }
define internal i64 @thrice(i64 %x) noinline { %r = mul i64 %x, 3
 ret i64 %r }
define i64 @count() { %old = load i64, ptr @counter
 %new = add i64 %old, 1
 store i64 %new, ptr @counter
 %p = getelementptr [100 x i64], ptr @zeroed, i64 0, i64 7
 %z = load i64, ptr %p
 store i64 %new, ptr %p
 %r = add i64 %new, %z
 ret i64 %r }
define double @cosine(double %x) { %r = call double @cos(double %x)
 %p = getelementptr [4 x double], ptr @table, i64 0, i64 2
 %c = load volatile double, ptr %p
 %s = fadd double %r, %c
 ret double %s }
define i64 @through(i64 %which, i64 %x) { %p = getelementptr [2 x ptr], ptr @pointers, i64 0, i64 %which
 %f = load ptr, ptr %p
 %r = call i64 %f(i64 %x)
 %s = call i64 @outer(i64 %r)
 %o = load i64, ptr @outside
 %t = add i64 %s, %o
 ret i64 %t }
define i64 @choose(i64 %x) {
entry:
  switch i64 %x, label %other [ i64 0, label %a
   i64 1, label %b
   i64 2, label %c
   i64 3, label %d
   i64 4, label %e ]
a: ret i64 11
b: ret i64 7
c: ret i64 5
d: ret i64 3
e: ret i64 31
other: ret i64 -1
}
define <4 x double> @vector() { %v = load <4 x double>, ptr @table
 ret <4 x double> %v }
"""


def symbols():
    outer = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(lambda x: x + 1000)
    outside = ctypes.c_int64(5)
    return {"outer": ctypes.cast(outer, ctypes.c_void_p).value, "outside": ctypes.addressof(outside)}, (outer, outside)


def function(linked, name, result, *arguments):
    return ctypes.CFUNCTYPE(result, *arguments)(linked.address(name))


@pytest.mark.parametrize("level", engine.LEVELS)
def test_links_like_llvm(level):
    data = engine.compile_object(TEXT, level=level)
    known, _kept = symbols()
    long = ctypes.c_int64
    for linked in (elf.ElfObject(data, known), engine.load_object(data, known)):
        assert function(linked, "cosine", ctypes.c_double, ctypes.c_double)(0.0) == 4.5
        assert [function(linked, "count", long)() for _ in range(3)] == [41, 42 + 41, 43 + 42]
        assert [function(linked, "through", long, long, long)(i, 10) for i in (0, 1)] == [1025, 1035]
        assert [function(linked, "choose", long, long)(i) for i in range(6)] == [11, 7, 5, 3, 31, -1]
    with pytest.raises(KeyError):
        elf.ElfObject(data, known).address("absent")


def test_each_image_has_its_own_variables():
    data = engine.compile_object(TEXT)
    known, _kept = symbols()
    first, second = (function(elf.ElfObject(data, known, permanent=True), "count", ctypes.c_int64) for _ in range(2))
    assert (first(), first(), second()) == (41, 83, 41)


def test_no_page_is_writable_and_executable():
    known, _kept = symbols()
    linked = elf.ElfObject(engine.compile_object(TEXT), known)
    begin, end = linked._memory.base, linked._memory.base + linked._memory.size
    rights = []
    with open("/proc/self/maps") as f:
        for line in f:
            low, high = (int(x, 16) for x in line.split()[0].split("-"))
            if low < end and high > begin:
                rights.append(line.split()[1])
    assert {"r-xp", "rw-p"} <= set(rights) <= {"r-xp", "rw-p", "r--p"}


def test_memory_is_given_back():
    known, _kept = symbols()
    data = engine.compile_object(TEXT)
    linked = elf.ElfObject(data, known)
    base = f"{linked._memory.base:x}-"
    del linked
    with open("/proc/self/maps") as f:
        assert base not in f.read()


REFUSED = {
    "nothing in this process is called 'anytile_absent'": "declare void @anytile_absent()\ndefine void @f() { call void @anytile_absent()\n ret void }",
    "thread-local": "@x = thread_local global i32 1\ndefine ptr @f() { ret ptr @x }",
    "functions to be called at the beginning": (
        "@llvm.global_ctors = appending global [1 x { i32, ptr, ptr }] [{ i32, ptr, ptr } { i32 1, ptr @f, ptr null }]\n"
        "define void @f() { ret void }"
    ),
    "thread-local, indirect or common": "@x = common global i32 0\ndefine ptr @f() { ret ptr @x }",
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refuses_what_it_does_not_know(reason):
    with pytest.raises(elf.Refused, match=reason):
        elf.ElfObject(engine.compile_object(REFUSED[reason]), {})


def test_damaged_objects_are_refused_or_harmless():
    data = engine.compile_object(TEXT)
    known, _kept = symbols()
    for at in [*range(0, 64), *range(64, len(data), 97)]:
        for damaged in (data[:at], data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]):
            try:
                elf.ElfObject(damaged, known)  # linked, never run
            except (elf.Refused, OSError, OverflowError, UnicodeDecodeError):
                continue


def test_the_loader_falls_back_to_llvm():
    data = engine.compile_object("@x = common global i32 0\ndefine ptr @f() { ret ptr @x }")
    linked = loader.load_object(data)
    assert isinstance(linked, engine.LoadedObject) and linked.address("f")
    with pytest.raises(engine.LLVMError):
        loader.load_object(b"junk")


def _relocated(kind, addend, target=None, slot=None, stub=None, word=0):
    """The word that the AArch64 relocation leaves behind, and the address of its place."""
    space = memory.CodeMemory(64)
    struct.pack_into("<Q", space.buffer, 0, word)
    elf._patch_arm(
        elf._Site(space, 0, addend, target and space.base + target, slot and space.base + slot, stub and space.base + stub), kind
    )
    return struct.unpack_from("<Q", space.buffer, 0)[0], space.base


def test_aarch64_relocations():
    """Against the encodings in the architecture manual."""
    word, base = _relocated(275, 0x10, target=0x3000, word=0x90000008)  # adrp x8
    pages = (base + 0x3010 >> 12) - (base >> 12)
    assert word == 0x90000008 | (pages & 3) << 29 | (pages >> 2) << 5
    word, base = _relocated(277, 0, target=0x128, word=0x91000108)  # add x8, x8, #lo12
    assert word >> 10 & 0xFFF == (base + 0x128) & 0xFFF
    for kind, shift in ((278, 0), (284, 1), (285, 2), (286, 3), (299, 4)):
        word, base = _relocated(kind, 0, target=0x120, word=0xFD400100)
        assert word >> 10 & 0xFFF == ((base + 0x120) & 0xFFF) >> shift and word & 0xFFC003FF == 0xFD400100
    assert _relocated(283, 0, target=0x20, word=0x94000000)[0] == 0x94000008
    assert _relocated(283, 0, stub=0x30, slot=0x38, word=0x94000000)[0] == 0x9400000C
    word, base = _relocated(257, 4, target=0x18)
    assert word == base + 0x1C
    with pytest.raises(elf.Refused, match="misaligned"):
        _relocated(299, 0, target=0x128)
    with pytest.raises(elf.Refused, match="relocation kind 280"):
        _relocated(280, 0, target=0)


def test_facts_about_the_host_are_kept(monkeypatch):
    from anytile.llvm import kept

    store: dict[str, bytes] = {}
    monkeypatch.setattr(kept, "_load", store.get)
    monkeypatch.setattr(kept, "_save", store.__setitem__)
    host.host.cache_clear()
    asked = host.host()
    assert len(store) == 1 and asked == engine.ask_host()
    host.host.cache_clear()
    monkeypatch.setattr(host, "_ask", lambda: pytest.fail("LLVM was asked again"))
    assert host.host() == asked
    host.host.cache_clear()
    monkeypatch.setattr(host, "_identity", lambda: "another processor")
    with pytest.raises(pytest.fail.Exception):
        host.host()
    host.host.cache_clear()


def test_a_kernel_from_the_cache_needs_no_llvm(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, numpy as np\nimport anytile.language as tl\nfrom anytile.runtime.jit import jit\n"
        "@jit\ndef kernel(x, n, B: tl.constexpr):\n"
        "    i = tl.arange(0, B)\n    tl.store(x + i, tl.exp(tl.load(x + i)) + n)\n"
        "x = np.zeros(64, 'f4')\nkernel[(1,)](x, 3, B=64)\nassert (x == 4).all()\n"
        "print(sorted(m for m in sys.modules if m.startswith(('llvmlite.binding', 'anytile.passes', 'anytile.math', 'anytile.frontend'))))\n"
    )
    import os

    env = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path / "cache")}
    runs = [subprocess.run([sys.executable, str(program)], env=env, capture_output=True, text=True, timeout=120) for _ in range(2)]
    assert all(r.returncode == 0 for r in runs), runs
    assert "llvmlite.binding" in runs[0].stdout and runs[1].stdout == "[]\n"
