"""How much the doctor reads: counted in parsed text, not in seconds. What it says has to stay what whole syntax trees say."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from anytile.env import sources
from anytile.env.sources import Package, missing_names


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that `ast.parse` is given."""
    texts: list[str] = []

    def parse(source: str | bytes, original=ast.parse) -> ast.Module:  # type: ignore[no-untyped-def]
        texts.append(source.decode() if isinstance(source, bytes) else source)
        return original(source)

    monkeypatch.setattr(sources.ast, "parse", parse)
    return texts


def triton(folder: Path) -> Package:
    """A Triton with some names in each way to define one."""
    (folder / "triton" / "runtime").mkdir(parents=True)
    files = {
        "__init__": "from .runtime import (\n    jit,  # the decorator\n    Config as Config,\n)\nfrom . import language\n",
        "runtime/__init__": "from .jit import jit, JITFunction\nConfig: type = object\nasync def later(): ...\n",
        "runtime/jit": "class JITFunction: ...\ndef jit(fn): ...\nif True:\n    hidden = 1\n'mentioned: gone'\n",
        "language": "x = y = 1\n",
    }
    for name, text in files.items():
        (folder / "triton" / f"{name}.py").write_text(text)
    return Package(folder / "triton")


def test_a_matching_pair_costs_no_syntax_tree(tmp_path: Path, parsed: list[str]) -> None:
    package = triton(tmp_path)
    (tmp_path / "torch").mkdir()
    for i in range(200):
        (tmp_path / "torch" / f"m{i}.py").write_text(
            "import triton\nfrom triton import jit, Config\nfrom triton.runtime import later\n"
            "def f():\n    from triton.runtime.jit import JITFunction\n    import triton.language as tl\n"
        )
    assert list(missing_names([tmp_path / "torch"], package)) == [] and parsed == []


def test_of_a_large_module_only_the_function_in_question_is_parsed(tmp_path: Path, parsed: list[str]) -> None:
    package = triton(tmp_path)
    method = "    def m{0}(\n        self,\n    ) -> int:\n        '''Text.'''\n        return {0}\n\n"
    large = "class Kernel:\n" + "".join(method.format(i) for i in range(2000))
    asks = "    @staticmethod\n    def asks(\n        a,\n    ):\n        from triton.runtime.jit import gone\n\n        return gone\n\n"
    (tmp_path / "user.py").write_text(large + asks + method.format(9999) + "last = 1\n")
    found = list(missing_names([tmp_path / "user.py"], package))
    line = (large + asks).count("\n") - 3
    assert [(m.module, m.name, m.line) for m in found] == [("triton.runtime.jit", "gone", line)]
    assert len(parsed[0]) < 200  # the whole is read only because something was found


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("def f():\n    from triton import gone\n", [2]),
        ("class C:\n    def f(self):\n        from triton import gone\n    def g(self):\n        from triton import gone\n", [3, 5]),
        ("if a:\n    def f():\n        from triton import gone\n", []),
        ("try:\n    def f():\n        from triton import gone\nexcept ImportError:\n    pass\n", []),
        ("def f():\n    if a:\n        from triton import gone\n", []),
        ("def f():\n    try:\n        from triton import gone\n    except ImportError:\n        pass\n", []),
        ("def f():\n    '''\nif a:\n    text\n'''\n    from triton import gone\n", [6]),
        ("x = '''\nfrom triton import gone\n'''\n", []),
        ("def f():\n    x = '''\n    from triton import gone\n    '''\n", []),
        ("try:\n    from triton import gone\nfinally:\n    pass\n", [2]),
        ("@decorate(\n    1,\n)\ndef f():\n\n    # a comment\n    from triton import (\n        jit,\n        gone,\n    )\n", [7]),
        ("if a:\n    pass\nelse:\n    from triton import gone\n", []),
        ("for x in y:\n    from triton.runtime.jit import hidden\n    from triton.runtime.jit import gone\n", [3]),
        ("from triton.language import y, z\n", [1]),
        ("async def f():\n    async with a:\n        from triton import gone\n", [3]),
    ],
)
def test_parts_say_what_the_whole_says(tmp_path: Path, source: str, lines: list[int]) -> None:
    package = triton(tmp_path)
    (tmp_path / "user.py").write_text(source)
    assert sorted(m.line for m in missing_names([tmp_path / "user.py"], package)) == lines
    assert sorted({line for line, _, _ in sources._wanted(ast.parse(source), package)}) == lines
