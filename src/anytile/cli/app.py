"""The commands other than `run`, as a typer application.

Each command imports what it needs when it runs: `anytile --help` has to answer at once, so the help texts are plain (no rich).
``short_help`` is a command's line in that list, where its first sentence would be cut off at 80 columns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__

__all__ = ["app"]

app = typer.Typer(
    help="Triton kernels on any machine.", rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False, no_args_is_help=True
)
cache_app = typer.Typer(help="The compile cache on disk.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")
compat_app = typer.Typer(help="PyTorch and Triton: do they fit?", no_args_is_help=True)
app.add_typer(compat_app, name="compat")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"anytile {__version__}")
        raise typer.Exit


@app.callback()
def _every_command(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)] = False,
) -> None:
    pass


def _sentences(command: Callable[..., None]) -> Callable[..., None]:
    """Prints what a user can mend as one sentence, exit status 1; bugs keep their traceback."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        from ..errors import AnytileError

        try:
            command(*args, **kwargs)
        except BrokenPipeError:  # `anytile inspect … | head`: no news, and typer ends without words
            raise
        except (AnytileError, OSError, ValueError) as e:
            typer.echo(f"anytile: {e}", err=True)
            raise typer.Exit(1) from e

    return guarded


@app.command(context_settings={"ignore_unknown_options": True})
def run(arguments: Annotated[list[str], typer.Argument(help="SCRIPT, -m MODULE or -c CODE, then its arguments.")]) -> None:
    """Run a Python program with `import triton` answered by anytile."""
    from ..compat import launch

    raise typer.Exit(launch.run(arguments))


@app.command(short_help="Answer `import triton` with anytile in this environment.")
@_sentences
def enable() -> None:
    """Answer `import triton` with anytile in every Python of this environment."""
    from ..compat import enable as switch

    typer.echo(f"enabled: wrote {switch.enable()}; `anytile disable` removes it")


@app.command()
@_sentences
def disable() -> None:
    """Undo `anytile enable`."""
    from ..compat import enable as switch

    typer.echo(
        f"disabled: removed {switch.pth_file()}" if switch.disable() else "nothing to do: anytile is not enabled in this environment"
    )


@app.command()
@_sentences
def status() -> None:
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


@app.command()
def version() -> None:
    """Print the versions of anytile and of the libraries under it."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    def of(name: str) -> str:
        try:
            return installed(name)
        except PackageNotFoundError:
            return "not installed"

    _print_rows(("anytile", __version__), ("llvmlite", of("llvmlite")), ("numpy", of("numpy")), ("Python", sys.version.split()[0]))


@cache_app.command("info")
@_sentences
def cache_info() -> None:
    """Where the compile cache is, and what it holds."""
    from ..runtime import cache

    info = cache.info()
    _print_rows(
        ("directory", f"{info.directory}{'' if info.writable else ' (not writable)'}"),
        ("kernels", str(info.kernels)),
        ("size", f"{info.bytes / 1e6:.1f} MB of at most {info.limit / 1e6:.0f} MB"),
    )


@cache_app.command("clear")
@_sentences
def cache_clear() -> None:
    """Remove every compiled kernel from the cache."""
    from ..runtime import cache

    n = cache.clear()
    typer.echo(f"removed {n} kernel{'' if n == 1 else 's'}")


@compat_app.command("check")
def compat_check(
    torch: Annotated[
        str | None, typer.Option(metavar="VERSION|WHEEL|PATH|RANGE", help='Default: the installed torch. A range: ">=2.9,<2.13".')
    ] = None,
    triton: Annotated[str, typer.Option(metavar="anytile|VERSION|WHEEL|PATH", help="Who is to answer it.")] = "anytile",
    as_json: Annotated[bool, typer.Option("--json", help="Print every name with its status and places as JSON.")] = False,
    ci: Annotated[
        str | None, typer.Option(metavar="github", help="Print a scheduled CI job that runs this check, and do nothing else.")
    ] = None,
) -> None:
    """List what a PyTorch touches of Triton, and whether it is answered. Exit status: 0 all, 1 not all, 2 could not look.

    Sources are read, nothing of torch is run. A version or a range is downloaded with pip; nothing else uses the network.
    """
    from ..compatcheck import check

    raise typer.Exit(check.run(torch, triton, as_json, ci))


@app.command(short_help="Compile a kernel and print every stage that it becomes.")
@_sentences
def inspect(
    target: Annotated[str, typer.Argument(metavar="FILE[:KERNEL]", help="A Python file with @triton.jit kernels.")],
    signature: Annotated[
        str,
        typer.Option(
            metavar="TYPES", help='Types of the parameters that are not constexpr, in order: "*fp32,*fp32,i32". Guessed where absent.'
        ),
    ] = "",
    const: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="A constexpr parameter; a Python literal. Repeatable.")] = [],  # noqa: B006
    stage: Annotated[list[str], typer.Option(metavar="STAGE", help="Print this stage only (tile, llir, asm ...). Repeatable.")] = [],  # noqa: B006
    option: Annotated[list[str], typer.Option(metavar="NAME=VALUE", help="A compile option, such as num_warps=8. Repeatable.")] = [],  # noqa: B006
) -> None:
    """Compile a kernel and print every stage: tile IR, LLVM IR, assembly."""
    from . import inspect as inspector

    inspector.inspect(target, signature, const, stage, option)


@app.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
def doctor(arguments: Annotated[list[str] | None, typer.Argument(help="Its options: `anytile doctor --help`.")] = None) -> None:
    """Tell what is wrong with an environment."""
    from . import doctor as examination

    raise typer.Exit(examination.main(arguments or []))


@app.command(short_help="Prove that an environment works, by running kernels in it.")
@_sentences
def verify(
    python: Annotated[str | None, typer.Option(metavar="PATH", help="Another interpreter, or the folder of its environment.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all rows as JSON.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=1.0, help="How long one row may take.")] = 300.0,
    strict: Annotated[bool, typer.Option("--strict", help="Rows that were skipped count as failed.")] = False,
    ci: Annotated[str | None, typer.Option(metavar="github", help="Write a workflow instead, which verifies on other machines.")] = None,
    systems: Annotated[str, typer.Option(metavar="A,B", help="With --ci: runners. Default: Ubuntu, Windows, macOS.")] = "",
    pythons: Annotated[str, typer.Option(metavar="A,B", help="With --ci: Pythons. Default: this one and the next.")] = "",
    torch: Annotated[str, typer.Option(metavar="A,B", help="With --ci: torch releases. Default: the one of this environment.")] = "",
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --ci: the file. Default: .github/workflows/environment.yml.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="With --ci: replace a file that differs.")] = False,
) -> None:
    """Prove that an environment works: imports, kernels on each device, torch.compile. Exit status: 0 works, 1 fails, 2 could not look."""
    from . import verify as trial

    if ci is not None:
        raise typer.Exit(trial.workflow(ci, python, output, systems, pythons, torch, overwrite))
    raise typer.Exit(trial.run(python, as_json, timeout, strict))


@app.command(short_help="Find packages that work together, and write them down.")
def lock(
    packages: Annotated[
        list[str] | None, typer.Argument(help="What is wanted, as pip writes it: torch==2.5.1 'unsloth[huggingface]'.")
    ] = None,
    python: Annotated[str | None, typer.Option(metavar="VERSIONS", help="3.11, or a range such as '>=3.11,<3.13'.")] = None,
    platform: Annotated[list[str], typer.Option(metavar="SYSTEM", help="linux-x86_64, linux-aarch64, windows or macos. Repeatable.")] = [],  # noqa: B006
    cuda: Annotated[str | None, typer.Option(metavar="VERSION", help="12.4 and the like, or cpu: torch's build.")] = None,
    tool: Annotated[str | None, typer.Option(metavar="poetry|uv|pip", help="Default: what the project uses.")] = None,
    triton: Annotated[str, typer.Option(metavar="anytile|upstream", help="Who answers `import triton`.")] = "anytile",
    source: Annotated[str | None, typer.Option(metavar="NAME", help="What the index of torch's builds is called (pytorch-gpu).")] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="pyproject.toml or a requirements file.")] = None,
    urls: Annotated[bool, typer.Option("--urls", help="Name torch and what is built for it by the URLs of their wheels.")] = False,
    mirror: Annotated[list[str], typer.Option(metavar="FROM=TO", help="Ask TO where files name FROM. Repeatable.")] = [],  # noqa: B006
    index: Annotated[str | None, typer.Option(metavar="URL", help="The default index, if it is not PyPI.")] = None,
    look_inside: Annotated[bool, typer.Option(help="Read parts of wheels: names that torch imports, headers of DLLs.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would change and write nothing.")] = False,
) -> None:
    """Find packages that work together and write them into the project's file. Exit status: 0, or 1 with nothing written."""
    from . import lock as locking

    raise typer.Exit(
        locking.run(packages or [], python, platform, cuda, tool, triton, source, file, urls, mirror, index, look_inside, dry_run)
    )


@app.command(short_help="Build an environment anew beside the old one, and swap them.")
@_sentences
def rebuild(
    extra: Annotated[list[str] | None, typer.Argument(metavar="[-- ARGS]", help="For the install command of the tool.")] = None,
    environment: Annotated[str | None, typer.Option("--env", metavar="DIR", help="Default: .venv here, or the active one.")] = None,
    tool: Annotated[str | None, typer.Option(metavar="poetry|uv|pip", help="Default: whose lock file is here.")] = None,
    requirements: Annotated[list[str], typer.Option("-r", "--requirements", metavar="FILE", help="For uv and pip. Repeatable.")] = [],  # noqa: B006
    python: Annotated[str | None, typer.Option(metavar="PATH", help="The Python to make it of. Default: that of the old one.")] = None,
    keep_caches: Annotated[bool, typer.Option("--keep-caches", help="Empty no cache.")] = False,
    keep_downloads: Annotated[bool, typer.Option("--keep-downloads", help="Empty only caches of compiled kernels.")] = False,
    keep_old: Annotated[bool, typer.Option("--keep-old", help="Keep the old environment; --rollback then goes back to it.")] = False,
    enable: Annotated[bool, typer.Option("--enable", help="Let anytile answer `import triton` in it; so it stays where it does.")] = False,
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Prove the new one before it takes the old one's place.")] = True,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=1.0, help="How long one row of the verification may take.")] = 300.0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted rebuild.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the old environment.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print all that the tool prints.")] = False,
) -> None:
    """Build an environment anew beside the old one, verify it, and put it in its place; nothing is lost wherever it stops."""
    from . import rebuild as builder

    raise typer.Exit(
        builder.run(
            environment,
            tool,
            requirements,
            python,
            keep_caches,
            keep_downloads,
            keep_old,
            verify,
            timeout,
            yes,
            resume,
            rollback,
            dry_run,
            verbose,
            extra or [],
            enable,
        )
    )


def _print_rows(*rows: tuple[str, str]) -> None:
    from rich.table import Table
    from rich.text import Text

    from ..env.report import plain_console

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(value))
    plain_console().print(table)
