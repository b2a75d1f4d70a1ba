"""Environments broken on purpose, out of genuine wheels, and the way that each has to go: fail, be diagnosed, be mended, work.

A scenario is a function that breaks an environment and returns the cause that the doctor must find and, where the failure can be
shown on this machine, a command that fails because of it. `play` does the rest, with `anytile doctor --json` as a user would run it
and the commands of the finding's own fix.

Wheels that are too large for a test are installed *hollow*: the genuine wheel without the contents of its large files, read from
the package index by ranges of bytes (a few megabytes of hundreds). Metadata, sources and names are all there; nothing is invented.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anytile.env.lock.index import PYPI, Index, RemoteWheel

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
CP = f"cp{sys.version_info.major}{sys.version_info.minor}"
_SOURCE = Path(__file__).resolve().parents[2] / "src"
_SECONDS = 560
_KEPT = 1 << 16  # bytes up to which a file that is no source is kept in a hollow wheel
# Of torch's ten thousand files those that matter to a doctor; its tests and headers are a hundred megabytes.
_TORCH = re.compile(
    r"torch/(?:_inductor|_dynamo|utils|_higher_order_ops)/.*\.py$|torch/(?:__init__|version)\.py$|torch/lib/[^/]*$|[^/]*\.dist-info/.*"
)


def wheelhouse() -> Path:
    """Where downloaded and hollow wheels are kept between runs."""
    folder = Path(os.environ.get("ANYTILE_TEST_WHEELS") or Path.home() / ".cache" / "anytile-tests" / "wheels")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _file(name: str, version: str, tag: str) -> tuple[Index, object]:
    index = Index(PYPI)
    files = [f for f in index.files(name) if str(f.version) == version and re.search(tag, f.name)]
    if not files:
        raise LookupError(f"the index has no {name} {version} whose file name matches {tag}")
    return index, files[0]


def hollow(name: str, version: str, tag: str = rf"{CP}-.*linux.*x86_64|py3-none-any") -> Path:
    """A hollow copy of a wheel of the index; the tag is looked for in the file's name."""
    index, file = _file(name, version, tag)
    folder = wheelhouse() / "hollow"
    folder.mkdir(exist_ok=True)
    path = folder / file.name  # type: ignore[attr-defined]
    if not path.exists():
        path.with_suffix(".part").write_bytes(_hollowed(index.open(file), _TORCH if name == "torch" else re.compile("")))  # type: ignore[arg-type]
        path.with_suffix(".part").replace(path)
    return path


def _hollowed(wheel: RemoteWheel, wanted: re.Pattern[str]) -> bytes:
    out, rows = io.BytesIO(), []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name in wheel.names:
            if name.endswith("/") or not wanted.match(name) or name.endswith(".dist-info/RECORD"):
                continue
            small = name.endswith(".py") or ".dist-info/" in name or wheel.size(name) <= _KEPT
            content = wheel.read(name) if small else b""
            z.writestr(name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            rows.append(f"{name},sha256={digest},{len(content)}")
        record = next(n for n in wheel.names if n.endswith(".dist-info/RECORD"))
        z.writestr(record, "\n".join([*rows, f"{record},,", ""]))
    return out.getvalue()


def whole(name: str, version: str, tag: str = rf"{CP}-.*linux.*x86_64|py3-none-any") -> Path:
    """A wheel of the index as it is."""
    import urllib.request

    _, file = _file(name, version, tag)
    path = wheelhouse() / file.name  # type: ignore[attr-defined]
    if not path.exists():
        with urllib.request.urlopen(file.url, timeout=120) as answer, path.with_suffix(".part").open("wb") as f:  # type: ignore[attr-defined]
            shutil.copyfileobj(answer, f)
        path.with_suffix(".part").replace(path)
    return path


class Sandbox:
    """A virtual environment with a home, caches and a working folder of its own."""

    def __init__(self, root: Path, system_site: bool = False) -> None:
        self.root, self.home, self.work = root, root / "home", root / "work"
        for folder in (self.home, self.work):
            folder.mkdir(parents=True)
        venv.EnvBuilder(symlinks=True, system_site_packages=system_site).create(root / "env")
        self.site = root / "env" / "lib" / f"python{MINOR}" / "site-packages"
        self.python = str(root / "env" / "bin" / "python")
        keep = {
            k: v
            for k, v in os.environ.items()
            if k in ("LANG", "LC_ALL", "TERM", "SSL_CERT_FILE", "PIP_CERT", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
        }
        self.env = {
            **keep,
            "HOME": str(self.home),
            "TMPDIR": str(self._made("tmp")),
            "PATH": f"{root}/env/bin:{os.environ['PATH']}",
            "TRITON_CACHE_DIR": str(root / "triton-cache"),
            "TORCHINDUCTOR_CACHE_DIR": str(root / "inductor-cache"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_CACHE_DIR": str(root / "pip-cache"),
        }

    def close(self) -> None:
        """Removes what lies outside of the sandbox's own folder."""

    def _made(self, name: str) -> Path:
        (self.root / name).mkdir(exist_ok=True)
        return self.root / name

    def borrow(self, *names: str) -> None:
        """Links packages of the Python that runs the tests into the environment, file by file."""
        for name in names:
            dist = importlib.metadata.distribution(name)
            for file in dist.files or ():
                source, target = Path(str(dist.locate_file(file))), self.site / str(file)
                if str(file).startswith("..") or not source.is_file() or target.exists():
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(source, target)
                except OSError:
                    shutil.copy2(source, target)

    def unpack(self, wheel: Path, site: Path | None = None) -> None:
        """What an installer does with a wheel for this system, and what nothing checks where somebody unpacks one."""
        with zipfile.ZipFile(wheel) as z:
            z.extractall(site or self.site)

    def anytile(self) -> None:
        """Installs anytile, from its sources, with what it needs."""
        self.borrow(*_closure("anytile"))
        (self.site / "anytile-source.pth").write_text(f"{_SOURCE}\n")
        command = self.root / "env" / "bin" / "anytile"
        command.write_text(f"#!{self.python}\nimport sys\nfrom anytile.cli import main\nsys.exit(main())\n")
        command.chmod(0o755)

    def wheels_only(self, *wheels: Path) -> None:
        """pip finds these wheels, under the name of any index, and nothing else; what they require is not asked for."""
        folder = self._made("wheels")
        for wheel in wheels:
            shutil.copy2(wheel, folder)
        self.env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_NO_DEPS": "1"}

    def run(self, command: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """A line of bash in the working folder. What it exports holds for later lines, as in a terminal."""
        after = self.root / "environment"
        script = f"{command}\ncode=$?\nenv -0 > {after}\nexit $code"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.work, env=self.env, capture_output=True, text=True, timeout=_SECONDS, stdin=subprocess.DEVNULL
        )
        if after.exists():
            pairs = (x.split("=", 1) for x in after.read_text().split("\0") if "=" in x)
            self.env = {k: v for k, v in pairs if k not in ("_", "PWD", "SHLVL", "OLDPWD")}
            after.unlink()
        if check and done.returncode:
            raise AssertionError(f"{command}\nexit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done

    def doctor(self) -> list[dict]:
        """The findings of `anytile doctor` about this environment, with the variables that hold here."""
        command = [sys.executable, "-m", "anytile", "doctor", "--json", "--python", self.target]
        env = {**self.env, "PYTHONPATH": ""} if "PYTHONPATH" in self.env else self.env
        done = subprocess.run(command, cwd=self.work, env=env, capture_output=True, text=True, timeout=120)
        if done.returncode not in (0, 1):
            raise AssertionError(f"the doctor could not look: {done.stderr}")
        return json.loads(done.stdout)["findings"]

    @property
    def target(self) -> str:
        """What the doctor is pointed at."""
        return self.python


def _closure(name: str) -> list[str]:
    """The packages that ``name`` requires here, with theirs, without itself."""
    from packaging.requirements import Requirement

    found: list[str] = []
    todo = [name]
    while todo:
        for line in importlib.metadata.requires(todo.pop()) or ():
            r = Requirement(line)
            if (r.marker is None or r.marker.evaluate({"extra": ""})) and r.name not in found:
                found.append(r.name)
                todo.append(r.name)
    return found


@dataclass
class Broken:
    """``probe`` fails before and works after; ``said`` is part of what it says when it fails. ``fix``: which of the fixes is taken."""

    cause: str
    probe: str | None = None
    said: str = ""
    fix: int = 0
    evidence: str = ""  # part of the evidence that the finding must give
    after: Callable[[Sandbox], None] | None = None  # further proof that it works now


@dataclass(frozen=True)
class Scenario:
    """``heavy``: downloads or takes more than a test may. ``network``: needs the package index."""

    name: str
    build: Callable[[Sandbox], Broken]
    heavy: bool = False
    network: bool = False
    system_site: bool = False
    box: type[Sandbox] = Sandbox


@dataclass
class Outcome:
    """What happened; `right` is all of: it failed, the cause came first, the fix ran, the finding is gone, it works."""

    name: str
    cause: str = ""
    before: str = ""
    found: list[str] = field(default_factory=list)
    confidence: float = 0.0
    evidence: str = ""
    fix: str = ""
    commands: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""

    @property
    def right(self) -> bool:
        return not self.error


SCENARIOS: list[Scenario] = []


def scenario(name: str, **flags: Any) -> Callable[[Callable[[Sandbox], Broken]], Callable[[Sandbox], Broken]]:
    """Registers a function as the scenario ``name``."""

    def register(build: Callable[[Sandbox], Broken]) -> Callable[[Sandbox], Broken]:
        SCENARIOS.append(Scenario(name, build, **flags))
        return build

    return register


def play(chosen: Scenario, root: Path) -> Outcome:
    """Breaks, diagnoses, mends, verifies. The outcome's `error` names the first step that was not as it must be."""
    start, outcome = time.perf_counter(), Outcome(chosen.name)
    try:
        _play(chosen, root, outcome)
    except (AssertionError, subprocess.TimeoutExpired, LookupError, OSError) as e:
        outcome.error = str(e)[:3000] or type(e).__name__
    outcome.seconds = round(time.perf_counter() - start, 1)
    return outcome


def _play(chosen: Scenario, root: Path, outcome: Outcome) -> None:
    box = chosen.box(root, chosen.system_site)
    try:
        _play_in(box, chosen, outcome)
    finally:
        box.close()


def _play_in(box: Sandbox, chosen: Scenario, outcome: Outcome) -> None:
    broken = chosen.build(box)
    outcome.cause = broken.cause
    if broken.probe:
        before = box.run(broken.probe)
        said = before.stdout + before.stderr
        outcome.before = next((x for x in reversed(said.splitlines()) if broken.said and broken.said in x), said.strip()[-200:])[:300]
        assert before.returncode != 0, f"the environment works: {said[-500:]}"
        assert broken.said in said, f"it fails otherwise than meant: {said[-1500:]}"
    findings = box.doctor()
    outcome.found = [f"{f['cause']} {f['confidence']}" for f in findings]
    assert findings and findings[0]["cause"] == broken.cause, f"the doctor says {outcome.found}, not {broken.cause} first"
    first = findings[0]
    outcome.confidence, outcome.evidence = first["confidence"], "; ".join(e["text"] for e in first["evidence"])[:300]
    assert broken.evidence in outcome.evidence, f"the evidence is {outcome.evidence!r}"
    fix = first["fixes"][broken.fix]
    outcome.fix, outcome.commands = fix["summary"], fix["commands"]
    assert fix["commands"], f"the fix has no command: {fix['summary']}"
    for command in fix["commands"]:
        box.run(command, check=True)
    outcome.left = [f["cause"] for f in box.doctor()]
    assert broken.cause not in outcome.left, f"after the fix the doctor still says {broken.cause}"
    if broken.probe:
        after = box.run(broken.probe)
        assert after.returncode == 0, f"after the fix: {(after.stdout + after.stderr)[-1500:]}"
    if broken.after:
        broken.after(box)
