"""The commands, what each of them is given, and `main`.

Each imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from .. import __version__
from .commands import Argument, Command, argument, seconds

__all__ = ["COMMANDS", "GROUPS", "main"]

#: By name, in the order in which the help lists them.
COMMANDS: dict[str, Command] = {}

#: Commands of two words: the first, and what the help says of it.
GROUPS = {"cache": "The compile cache on disk.", "compat": "PyTorch and Triton: do they fit?"}

#: What `cli.main` has taken before anything comes here.
_RUN = ("run", "Run a Python program with `import triton` answered by anytile.")

_SWITCH = argparse.BooleanOptionalAction


def _command(name: str, *arguments: Argument, usage: str = "") -> Callable[[Callable[[argparse.Namespace], int]], Callable[..., int]]:
    """Decorator: puts a function into `COMMANDS`."""

    def add(run: Callable[[argparse.Namespace], int]) -> Callable[..., int]:
        COMMANDS[name] = Command(name, usage or ("[OPTIONS]" if arguments else ""), arguments, run)
        return run

    return add


def main(words: list[str]) -> int:
    """Runs the command line ``words`` and returns the exit status: 2 where it cannot be read, 1 for what a user can mend.

    Such mistakes are printed as one sentence; bugs keep their traceback.
    """
    from ..errors import AnytileError

    if words[:1] == ["--version"]:
        print(f"anytile {__version__}")
        return 0
    if words[:1] in ([], ["--help"], ["-h"]):
        print(_help(), end="")
        return 0 if words else 2
    name, rest = words[0], words[1:]
    if name in GROUPS:
        if rest[:1] in ([], ["--help"], ["-h"]):
            print(_help(name), end="")
            return 0 if rest else 2
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name not in COMMANDS:
        return _unknown(name)
    try:
        status = COMMANDS[name].main(rest)
        sys.stdout.flush()
        return status
    except SystemExit as e:  # argparse has answered
        return int(e.code or 0)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `anytile inspect … | head`: no news
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (AnytileError, OSError, ValueError) as e:
        print(f"anytile: {e}", file=sys.stderr)
        return 1


def _help(group: str = "") -> str:
    """The list of the commands, or of those of a group."""
    if group:
        rows = [(name.partition(" ")[2], c.line) for name, c in COMMANDS.items() if name.startswith(f"{group} ")]
        head = f"usage: anytile {group} COMMAND [ARGS]...\n\n{GROUPS[group]}\n"
    else:
        rows = [_RUN, *((name, c.line) for name, c in COMMANDS.items() if " " not in name), *GROUPS.items()]
        head = "usage: anytile COMMAND [ARGS]...\n       anytile --version\n\nTriton kernels on any machine.\n"
    width = max(len(name) for name, _ in rows)
    table = "\n".join(f"  {name:{width}}  {line}" for name, line in rows)
    first = f"anytile {group}".rstrip()
    return f"{head}\nCommands:\n{table}\n\n`{first} COMMAND --help` tells of each.\n"


def _unknown(name: str) -> int:
    from difflib import get_close_matches

    near = get_close_matches(name, [_RUN[0], *COMMANDS, *GROUPS], 1)
    print(f"anytile: there is no command {name}; {f'did you mean {near[0]}?' if near else '`anytile --help` lists them'}", file=sys.stderr)
    return 2


@_command("enable")
def enable(given: argparse.Namespace) -> int:
    """Answer `import triton` with anytile in this environment."""
    from ..compat import enable as switch

    print(f"enabled: wrote {switch.enable()}; `anytile disable` removes it")
    return 0


@_command("disable")
def disable(given: argparse.Namespace) -> int:
    """Undo `anytile enable`."""
    from ..compat import enable as switch

    print(f"disabled: removed {switch.pth_file()}" if switch.disable() else "nothing to do: anytile is not enabled in this environment")
    return 0


@_command("status")
def status(given: argparse.Namespace) -> int:
    """Tell how `import triton` is answered in this environment."""
    from ..compat import enable as switch

    s = switch.status()
    answer = "anytile (enabled)" if s.enabled else (s.upstream or "nobody: no triton is installed")
    _print_rows(
        ("import triton", answer),
        ("under `anytile run`", "anytile"),
        ("API level", f"{s.level.version} ({s.level.reason})"),
        ("torch", s.torch or "not installed"),
        ("upstream triton", s.upstream or "not installed"),
        ("switch", f"{s.pth} ({'there' if s.enabled else 'not there'})"),
        ("anytile", f"{__version__}, Python {sys.version.split()[0]}"),
    )
    return 0


@_command("version")
def version(given: argparse.Namespace) -> int:
    """Print the versions of anytile and of the libraries under it."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    def of(name: str) -> str:
        try:
            return installed(name)
        except PackageNotFoundError:
            return "not installed"

    _print_rows(("anytile", __version__), ("llvmlite", of("llvmlite")), ("numpy", of("numpy")), ("Python", sys.version.split()[0]))
    return 0


@_command("cache info")
def cache_info(given: argparse.Namespace) -> int:
    """Where the compile cache is, and what it holds."""
    from ..runtime import cache

    info = cache.info()
    _print_rows(
        ("directory", f"{info.directory}{'' if info.writable else ' (not writable)'}"),
        ("kernels", str(info.kernels)),
        ("size", f"{info.bytes / 1e6:.1f} MB of at most {info.limit / 1e6:.0f} MB"),
    )
    return 0


@_command("cache clear")
def cache_clear(given: argparse.Namespace) -> int:
    """Remove every compiled kernel from the cache."""
    from ..runtime import cache

    n = cache.clear()
    print(f"removed {n} kernel{'' if n == 1 else 's'}")
    return 0


@_command(
    "compat check",
    argument("--torch", metavar="VERSION|WHEEL|PATH|RANGE", help='Default: the installed torch. A range: ">=2.9,<2.13".'),
    argument("--triton", metavar="anytile|VERSION|WHEEL|PATH", default="anytile", help="Who is to answer it. Default: anytile."),
    argument("--json", action="store_true", help="Print every name with its status and places as JSON."),
    argument("--ci", metavar="github", help="Print a scheduled CI job that runs this check, and do nothing else."),
)
def compat_check(given: argparse.Namespace) -> int:
    """List what a PyTorch touches of Triton, and whether it is answered.

    Exit status: 0 all, 1 not all, 2 could not look.
    Sources are read, nothing of torch is run. A version or a range is downloaded with pip; nothing else uses the network.
    """
    from ..compatcheck import check

    return check.run(given.torch, given.triton, given.json, given.ci)


@_command(
    "inspect",
    argument("target", metavar="FILE[:KERNEL]", help="A Python file with @triton.jit kernels."),
    argument(
        "--signature",
        metavar="TYPES",
        default="",
        help='Types of the parameters that are not constexpr, in order: "*fp32,*fp32,i32". Guessed where absent.',
    ),
    argument("--const", metavar="NAME=VALUE", action="append", default=[], help="A constexpr parameter; a Python literal. Repeatable."),
    argument("--stage", metavar="STAGE", action="append", default=[], help="Print this stage only (tile, llir, asm ...). Repeatable."),
    argument("--option", metavar="NAME=VALUE", action="append", default=[], help="A compile option, such as num_warps=8. Repeatable."),
    usage="[OPTIONS] FILE[:KERNEL]",
)
def inspect(given: argparse.Namespace) -> int:
    """Compile a kernel and print every stage: tile IR, LLVM IR, assembly."""
    from . import inspect as inspector

    inspector.inspect(given.target, given.signature, given.const, given.stage, given.option)
    return 0


@_command(
    "doctor",
    argument("--python", metavar="PATH", help="Another interpreter, or the folder of its environment."),
    argument("--log", metavar="FILE", help="A pasted log instead of an environment; - is standard input."),
    argument("--json", action="store_true", help="Print facts and findings as JSON."),
    argument("--html", metavar="FILE", type=Path, help="Write the report as a page."),
    argument("--redact", action="store_true", help="Leave out user names and paths."),
)
def doctor(given: argparse.Namespace) -> int:
    """Tell what is wrong with an environment.

    Exit status: 0 healthy, 1 findings, 2 could not look.
    """
    from . import doctor as examination

    return examination.run(given.python, given.log, given.json, given.html, given.redact)


@_command(
    "verify",
    argument("--python", metavar="PATH", help="Another interpreter, or the folder of its environment."),
    argument("--json", action="store_true", help="Print all rows as JSON."),
    argument("--timeout", metavar="SECONDS", type=seconds, default=300.0, help="How long one row may take. Default: 300."),
    argument("--strict", action="store_true", help="Rows that were skipped count as failed."),
    argument("--ci", metavar="github", help="Write a workflow instead, which verifies on other machines."),
    argument("--systems", metavar="A,B", default="", help="With --ci: runners. Default: Ubuntu, Windows, macOS."),
    argument("--pythons", metavar="A,B", default="", help="With --ci: Pythons. Default: this one and the next."),
    argument("--torch", metavar="A,B", default="", help="With --ci: torch releases. Default: the one of this environment."),
    argument("--output", metavar="FILE", type=Path, help="With --ci: the file. Default: .github/workflows/environment.yml."),
    argument("--overwrite", action="store_true", help="With --ci: replace a file that differs."),
)
def verify(given: argparse.Namespace) -> int:
    """Prove that an environment works, by running kernels in it.

    There is a row for each import, each device's kernels and torch.compile. Exit status: 0 works, 1 fails, 2 could not look.
    """
    from . import verify as trial

    if given.ci is not None:
        return trial.workflow(given.ci, given.python, given.output, given.systems, given.pythons, given.torch, given.overwrite)
    return trial.run(given.python, given.json, given.timeout, given.strict)


@_command(
    "lock",
    argument("packages", nargs="*", help="What is wanted, as pip writes it: torch==2.5.1 'unsloth[huggingface]'."),
    argument("--python", metavar="VERSIONS", help="3.11, or a range such as '>=3.11,<3.13'."),
    argument(
        "--platform", metavar="SYSTEM", action="append", default=[], help="linux-x86_64, linux-aarch64, windows or macos. Repeatable."
    ),
    argument("--cuda", metavar="VERSION", help="12.4 and the like, or cpu: torch's build."),
    argument("--tool", metavar="poetry|uv|pip", help="Default: what the project uses."),
    argument("--triton", metavar="anytile|upstream", default="anytile", help="Who answers `import triton`. Default: anytile."),
    argument("--source", metavar="NAME", help="What the index of torch's builds is called (pytorch-gpu)."),
    argument("--file", metavar="FILE", type=Path, help="pyproject.toml or a requirements file."),
    argument("--urls", action="store_true", help="Name torch and what is built for it by the URLs of their wheels."),
    argument("--mirror", metavar="FROM=TO", action="append", default=[], help="Ask TO where files name FROM. Repeatable."),
    argument("--index", metavar="URL", help="The default index, if it is not PyPI."),
    argument("--look-inside", action=_SWITCH, default=True, help="Read parts of wheels: names that torch imports, headers of DLLs."),
    argument("--dry-run", action="store_true", help="Print what would change and write nothing."),
    usage="[OPTIONS] [PACKAGES]...",
)
def lock(given: argparse.Namespace) -> int:
    """Find packages that work together, and write them down.

    They are written into the project's file. Exit status: 0, or 1 with nothing written.
    """
    from . import lock as locking

    return locking.run(given)


@_command(
    "rebuild",
    argument("--env", metavar="DIR", help="Default: .venv here, or the active one."),
    argument("--tool", metavar="poetry|uv|pip", help="Default: whose lock file is here."),
    argument("-r", "--requirements", metavar="FILE", action="append", default=[], help="For uv and pip. Repeatable."),
    argument("--python", metavar="PATH", help="The Python to make it of. Default: that of the old one."),
    argument("--keep-caches", action="store_true", help="Empty no cache."),
    argument("--keep-downloads", action="store_true", help="Empty only caches of compiled kernels."),
    argument("--keep-old", action="store_true", help="Keep the old environment; --rollback then goes back to it."),
    argument("--enable", action="store_true", help="Let anytile answer `import triton` in it; so it stays where it does."),
    argument("--verify", action=_SWITCH, default=True, help="Prove the new one before it takes the old one's place."),
    argument(
        "--timeout", metavar="SECONDS", type=seconds, default=300.0, help="How long one row of the verification may take. Default: 300."
    ),
    argument("--yes", "-y", action="store_true", help="Do not ask."),
    argument("--resume", action="store_true", help="Go on with an interrupted rebuild."),
    argument("--rollback", action="store_true", help="Go back to the old environment."),
    argument("--dry-run", action="store_true", help="Show the plan and stop."),
    argument("--verbose", "-v", action="store_true", help="Print all that the tool prints."),
    usage="[OPTIONS] [-- ARGS of the tool's install command]",
)
def rebuild(given: argparse.Namespace) -> int:
    """Build an environment anew beside the old one, and swap them.

    The new one is verified before; nothing is lost wherever it stops.
    """
    from . import rebuild as builder

    return builder.run(given)


def _print_rows(*rows: tuple[str, str]) -> None:
    """A table of names and values, as wide as it needs: what goes into a pipe keeps paths whole."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:{width}}  {value}".rstrip())
