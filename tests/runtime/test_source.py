"""`JITCallable`: source, parameters, and what the content hash depends on."""

from __future__ import annotations

import linecache
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from anytile.language.parameters import normalize_type
from anytile.language.source import SourceUnavailableError, device_function

SIZE = 4


@device_function
def inner(x):
    return x + SIZE


def plain(f):
    return f


def make(z):
    @plain
    @device_function
    def outer(x, n: tl.int64, B: tl.constexpr = 3):  # noqa: F821
        return inner(x) + z

    return outer


def test_source_starts_at_def_and_knows_its_line():
    fn = make(1)
    assert fn.src.startswith("def outer(")
    with open(fn.file) as f:
        assert f.readlines()[fn.starting_line_number - 1].strip().startswith("def outer(")
    assert fn.indent == 4 and fn.parse().name == "outer"


def test_parameters():
    x, n, b = make(1).params
    assert (x.annotation_type, n.annotation_type, b.is_constexpr, b.default) == ("", "i64", True, 3)


@pytest.mark.parametrize(
    "given,name", [("tl.int32", "i32"), ("*fp16", "*fp16"), ("float32*", "*fp32"), (bool, "i1"), ("const bfloat16*", "*kbf16")]
)
def test_type_names(given, name):
    assert normalize_type(given) == name


@device_function
def even(n):
    return odd(n)


@device_function
def odd(n):
    return even(n)


def test_hash_is_the_same_whichever_thread_comes_first():
    """Functions that call each other, hashed by many threads at once: no thread sees another's unfinished hash."""

    def ready(barrier, fn):
        barrier.wait()
        return fn.cache_key

    seen = set()
    for _ in range(20):
        functions = [make(7), even, odd, inner] * 2
        for fn in functions:
            fn.hash = None
        barrier = threading.Barrier(len(functions))
        with ThreadPoolExecutor(len(functions)) as pool:
            keys = list(pool.map(lambda fn, b=barrier: ready(b, fn), functions))
        assert not any(key.startswith("recursive") for key in keys)
        seen.add(keys[0])
    assert len(seen) == 1


def test_hash_follows_callees_and_closures():
    assert make(1).cache_key == make(1).cache_key != make(2).cache_key
    before = make(1).cache_key
    source = inner.src
    inner._unsafe_update_src(source.replace("+", "-"))
    try:
        assert make(1).cache_key != before
    finally:
        inner._unsafe_update_src(source)


def test_changed_global_is_noticed(monkeypatch):
    inner.hash = None
    fn = make(1)
    assert fn.cache_key
    fn.check_globals()
    monkeypatch.setitem(inner.__globals__, "SIZE", 8)
    with pytest.raises(RuntimeError, match="Global variable SIZE has changed since we compiled this kernel, from 4 to 8"):
        fn.check_globals()
    with pytest.raises(RuntimeError, match="conflicting value 4"):
        _ = make(5).cache_key


@pytest.mark.parametrize("first_line", ["import this\n", "def another(): pass\n"])
def test_functions_without_source(monkeypatch, first_line):
    with pytest.raises(SourceUnavailableError, match="a lambda"):
        _ = device_function(lambda x: x).src
    space: dict = {}
    exec("def made(): pass", space)
    # Where the name of its file stands for another text, as <string> does for that of `python -c` since 3.13, that text is not taken.
    monkeypatch.setitem(linecache.cache, "<string>", (9, None, [first_line], "<string>"))
    with pytest.raises(SourceUnavailableError, match="should be defined in a Python file"):
        _ = device_function(space["made"]).src


def test_packages_without_their_source(tmp_path):
    space: dict = {}
    exec(compile("def made(): pass", str(tmp_path / "gone.py"), "exec"), space)
    with pytest.raises(SourceUnavailableError, match=r"gone.py is not there, and kernels are compiled from their source: ship it"):
        _ = device_function(space["made"]).src


def test_a_file_that_has_changed(tmp_path):
    """As while it is edited and the program runs on."""
    file = tmp_path / "edited.py"
    file.write_text("x = 1\n\ndef made(): pass\n")
    space: dict = {}
    exec(compile(file.read_text(), str(file), "exec"), space)
    file.write_text("x = 1\n\ndef another(): pass\n\ndef made(): pass\n")
    with pytest.raises(
        SourceUnavailableError, match=r"line 3, is not where it is defined.*does not change between .*: start the program again"
    ):
        _ = device_function(space["made"]).src


def test_outside_a_kernel():
    with pytest.raises(RuntimeError, match="outside of the scope of a kernel"):
        inner(1)


def test_written_from_a_template():
    """Programs that write kernels from templates lead errors and debuggers to the template: its lines, file and place."""
    fn, template = make(1), inner
    before = fn.cache_key
    fn.raw_src = list(template.raw_src)
    fn.starting_line_number = 7
    assert fn.raw_src == template.raw_src and fn.starting_line_number == 7 and fn.src.startswith("def outer(")
    assert fn.cache_key != before
    fn.fn.__code__ = fn.fn.__code__.replace(co_filename="template.py")
    assert fn.file == "template.py"
    fn.file = "other.py"
    assert fn.file == "other.py"


def test_target_info_on_the_host(monkeypatch):
    """Outside of kernels it tells of the active driver, in plain values: programs decide by it what they launch."""
    from anytile.language import target_info
    from anytile.runtime.driver import CpuDriver, GPUTarget, driver

    class Hopper(CpuDriver):
        def get_current_target(self):
            return GPUTarget("cuda", 90, 32)

    class Nothing(CpuDriver):
        def get_current_target(self):
            raise RuntimeError("no device")

    monkeypatch.setattr(driver, "_active", Hopper())
    assert target_info.is_cuda() is True and target_info.is_hip() is False
    assert target_info.cuda_capability_geq(9) is True and target_info.cuda_capability_geq(10, 0) is False
    assert target_info.current_target().arch == 90
    monkeypatch.setattr(driver, "_active", Nothing())
    assert target_info.current_target() is None and target_info.is_cuda() is False
