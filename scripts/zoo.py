#!/usr/bin/env python3
"""The model zoo under many releases of torch, each in an environment of its own.

    scripts/zoo.py DIRECTORY [--torch 2.6.0,2.13.0] [--only mlp,qwen2] [--no-nvidia] [--resume] [--remove] [--out FILE]

Builds anytile's wheel and, for each release, makes DIRECTORY/torch-RELEASE with uv: torch, transformers and the wheel.  There it runs
bench/zoo.py (small members, forward and backward, against eager) from torch 2.6 on.  torch 2.4 and 2.5 cannot write Triton
kernels for CPU tensors; there, every module of torch that names Triton is imported through the face and a function is compiled by C++,
which fails too where the face does not fit.

Each member runs in a process of its own for at most ``--seconds``: what crashes or hangs is that member's failure and nobody else's.
Rows are written to DIRECTORY/zoo-RELEASE.jsonl as they come; with ``--resume`` members that have a good row there are not run
again.  ``--remove`` deletes an environment (some 2 GB) once all of its members have rows.

Needs uv and a package index with wheels of torch.  PyPI's for x86-64 Linux are CUDA builds; with ``--no-nvidia`` the NVIDIA libraries
that such a wheel needs (some 3 GB) are not installed, and shared libraries of the same names, in which every function answers
"no device", stand in for them (gcc and binutils needed).  One JSON line per member and release, and one at the end of each
release that counts the states.  LIMITS names what a release's own Inductor cannot do on the CPU: such members must fail with
that text, and count as "limited".
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
RELEASES = ("2.4.1", "2.5.1", "2.6.0", "2.8.0", "2.9.1", "2.11.0", "2.13.0", "2.15.0")
CPU_SINCE = (2, 6)
IMPORTS = "imports and a C++ compilation"  # the one member of releases before that
GOOD = ("equal", "limited", "unavailable")

#: Member → (part of the error's text, why, releases from … to).  What torch's own Inductor cannot do with Triton on the CPU.
FLEX = "Inductor lowers FlexAttention of CPU tensors to a C++ template, whatever the backend, and the Triton scheduler cannot render it"
LIMITS: dict[str, list[tuple[str, str, tuple[int, int], tuple[int, int]]]] = {
    "flex_attention": [
        ("CppTemplate", FLEX, (2, 6), (99, 0)),
        ("render", FLEX, (2, 6), (99, 0)),
        ("flex_attention", FLEX, (2, 6), (99, 0)),
    ],
}

#: What runs where there is no Triton for the CPU: imports, then a compilation by C++.
IMPORTS_ONLY = """
import importlib, json, sys
row = {"member": "IMPORTS"}
try:
    import torch
    modules = (
        "torch._inductor.runtime.triton_heuristics torch._inductor.runtime.triton_helpers torch._inductor.runtime.hints "
        "torch._inductor.codegen.triton torch._inductor.codecache torch._inductor.select_algorithm torch._higher_order_ops.triton_kernel_wrap "
        "torch._inductor.utils torch._dynamo.variables.functions torch._inductor.scheduler"
    )
    for name in modules.split():
        importlib.import_module(name)
    import triton
    assert "anytile" in triton.__file__, triton.__file__
    x = torch.linspace(-2, 2, 1000)
    got = torch.compile(lambda x: torch.sin(x).relu() * 2)(x)
    torch.testing.assert_close(got, torch.sin(x).relu() * 2)
    row.update(state="equal", torch=torch.__version__, triton=triton.__version__)
except Exception as e:
    row.update(state="failed", error=f"{type(e).__name__}: {str(e)[:600]}")
print(json.dumps(row))
""".replace('"IMPORTS"', json.dumps(IMPORTS))


def run(*command: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(c) for c in command], check=True, text=True, **more)


def build_wheel(directory: Path) -> Path:
    target = directory / "wheel"
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.whl"):
        old.unlink()
    run("uv", "build", "--quiet", "--wheel", "--out-dir", target, REPOSITORY)
    return next(target.glob("anytile-*.whl"))


def make_environment(directory: Path, torch: str, wheel: Path, nvidia: bool, python: str) -> Path:
    """The Python of DIRECTORY/torch-RELEASE, made where it is not there; anytile's wheel is put in anew."""
    home = directory / f"torch-{torch}"
    interpreter = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    install = ("uv", "pip", "install", "--quiet", "--python", interpreter)
    if not (home / "made").exists():
        run("uv", "venv", "--quiet", "--clear", "--python", python, home)
        if nvidia:
            run(*install, f"torch=={torch}")
        else:
            run(*install, "--no-deps", f"torch=={torch}")
            run(*install, "filelock", "typing-extensions", "sympy>=1.13.1", "networkx", "jinja2", "fsspec", "setuptools")
            from stub_libraries import stand_in

            site = run(interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", capture_output=True).stdout.strip()
            stand_in(Path(site) / "torch" / "lib")
        run(*install, "transformers==4.57.1", "numpy<2.5")
        run("uv", "pip", "uninstall", "--quiet", "--python", interpreter, "triton")  # the face must not lean on it
        (home / "made").touch()
    run(*install, "--reinstall-package", "anytile", wheel)
    return interpreter


def limit_of(row: dict[str, Any], release: tuple[int, int]) -> str | None:
    """Why this release cannot run the member, where its error says what is known of it."""
    for text, why, since, until in LIMITS.get(row["member"], []):
        if since <= release <= until and text in row.get("error", ""):
            return why
    return None


def member(interpreter: Path, name: str, seconds: float) -> dict[str, Any]:
    """The row of one member, from a process of its own."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    command = ["-m", "anytile", "run", "-c", IMPORTS_ONLY] if name == IMPORTS else [REPOSITORY / "bench" / "zoo.py", "--only", name]
    try:
        done = subprocess.run([str(interpreter), *map(str, command)], env=env, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"member": name, "state": "failed", "error": f"not done within {seconds:g} s"}
    rows = [row for line in done.stdout.splitlines() if line.startswith("{") for row in [json.loads(line)] if "member" in row]
    return rows[-1] if rows else {"member": name, "state": "failed", "error": f"exit status {done.returncode}: {done.stderr[-600:]}"}


def members(interpreter: Path, release: tuple[int, int], only: str) -> list[str]:
    """What there is to run under this release."""
    if release < CPU_SINCE:
        return [IMPORTS]
    if only:
        return only.split(",")
    listed = "import sys; sys.path.insert(0, sys.argv[1]); import zoo_models; print(*zoo_models.ZOO)"
    return run(interpreter, "-c", listed, REPOSITORY / "bench", capture_output=True).stdout.split()


def run_zoo(interpreter: Path, torch: str, arguments: argparse.Namespace, out: Path) -> list[dict[str, Any]]:
    """The rows of one release, those of an earlier run among them where asked for; ``out`` holds them as they come."""
    release = (int(torch.split(".")[0]), int(torch.split(".")[1]))
    known = {row["member"]: row for row in read_rows(out)} if arguments.resume else {}
    rows: list[dict[str, Any]] = []
    with out.open("a" if arguments.resume else "w", encoding="utf-8") as file:
        for name in members(interpreter, release, arguments.only):
            row = known.get(name)
            if row is None or row["state"] not in GOOD:
                row = {**member(interpreter, name, arguments.seconds), "torch": torch}
                if row["state"] == "failed" and (why := limit_of(row, release)):
                    row.update(state="limited", reason=why)
                print(json.dumps(row, ensure_ascii=False), file=file, flush=True)
            print(json.dumps(row, ensure_ascii=False), flush=True)
            rows.append(row)
    return rows


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a results file, none where there is none yet."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--torch", default=",".join(RELEASES))
    parser.add_argument("--python", default="3.11")
    parser.add_argument("--only", default="")
    parser.add_argument("--no-nvidia", action="store_true")
    parser.add_argument("--seconds", type=float, default=900, help="of the clock, for one member")
    parser.add_argument("--resume", action="store_true", help="keep the good rows of an earlier run")
    parser.add_argument("--remove", action="store_true", help="delete each environment when its members have run")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    directory = arguments.directory.resolve()
    wheel = build_wheel(directory)
    bad = 0
    rows: list[dict[str, Any]] = []
    for torch in arguments.torch.split(","):
        try:
            interpreter = make_environment(directory, torch, wheel, not arguments.no_nvidia, arguments.python)
            new = run_zoo(interpreter, torch, arguments, directory / f"zoo-{torch}.jsonl")
        except subprocess.CalledProcessError as e:
            error = f"{e.cmd[0]} {e.cmd[1]}: exit status {e.returncode}"
            new = [{"torch": torch, "member": "environment", "state": "failed", "error": error}]
        if arguments.remove:
            shutil.rmtree(directory / f"torch-{torch}", ignore_errors=True)
        states = Counter(row["state"] for row in new)
        bad += states["failed"] + states["wrong"] + (not new)
        rows += [*new, {"torch": torch, **states}]
        print(json.dumps(rows[-1]), flush=True)
        if arguments.out:
            arguments.out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
