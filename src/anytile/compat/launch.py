"""`anytile run`: an unmodified program, and everything it starts, with `import triton` answered by anytile.

The program runs in a plain interpreter, started with an environment in which every Python finds our `sitecustomize` first
(`compat/site/` at the front of PYTHONPATH).  So `sys.argv`, `__main__`, exit codes and tracebacks are those of plain `python`, and so
is `sys.path` but for that directory; subprocesses, multiprocessing workers (spawn, fork, forkserver) and compile pools inherit the hook with
the environment.  Nothing is written anywhere.  A child started with `-I`, `-E` or `-S`, or with an emptied environment, reads
no PYTHONPATH and is not reached.
"""

from __future__ import annotations

import os
import sys

__all__ = ["USAGE", "environment", "run"]

USAGE = """usage: anytile run SCRIPT [ARGS...]
       anytile run -m MODULE [ARGS...]
       anytile run -c CODE [ARGS...]

Runs a Python program with `import triton` answered by anytile, also where
upstream Triton is installed, in this process and in every Python that it
starts. Whatever follows `run` is given to the Python interpreter as it is,
interpreter options too.

Variables of the environment:
  ANYTILE_TRITON_API=3.2   the Triton release that is imitated
  TRITON_INTERPRET=1       kernels run as Python: print and breakpoint() work
  ANYTILE_CHECK_BOUNDS=1   with it: which access leaves the kernel's arrays,
                           as one that makes the process crash does
"""

_SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "site")


def environment(base: dict[str, str] | None = None) -> dict[str, str]:
    """A copy of ``base`` (default: this process's environment) in which child interpreters get the hook."""
    env = dict(os.environ if base is None else base)
    others = [p for p in env.get("PYTHONPATH", "").split(os.pathsep) if p and p != _SITE]
    env["PYTHONPATH"] = os.pathsep.join([_SITE, *others])
    return env


def run(arguments: list[str]) -> int:
    """Runs `python ARGUMENTS…` with the hook.  POSIX: becomes that process and does not return; Windows: its exit status.

    Where a kernel leaves its arrays and the process dies of it, Python's faulthandler says which launch was under way, unless
    PYTHONFAULTHANDLER is set already (to nothing, for silence).  Options with which the interpreter would not be reached: status 2.
    """
    option = _deaf(arguments)
    if option:
        print(
            f"anytile: Python's -{option} keeps it from reading PYTHONPATH or sitecustomize, by which `anytile run` reaches a program; "
            "leave it out, or let `anytile enable` switch the environment",
            file=sys.stderr,
        )
        return 2
    if not sys.executable:
        raise RuntimeError("anytile run needs the path of the Python interpreter, and sys.executable is empty in this process")
    command = [sys.executable, *arguments]
    env = environment({"PYTHONFAULTHANDLER": "1", **os.environ})
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "posix":
        os.execve(sys.executable, command, env)
    # Windows has no exec that keeps the process: wait for a child, which gets Ctrl-C from the console as we do.
    import subprocess

    with subprocess.Popen(command, env=env) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue


def _deaf(arguments: list[str]) -> str:
    """The interpreter's option -I, -E or -S among ``arguments``, by its letter; "" where there is none.

    Options stand before the program, and several letters may stand behind one dash.
    """
    remaining = iter(arguments)
    for argument in remaining:
        if not argument.startswith("-") or argument == "-":
            return ""
        if argument.startswith("--"):
            if argument == "--check-hash-based-pycs":
                next(remaining, None)
            continue
        for i, letter in enumerate(argument[1:], 2):
            if letter in "IES":
                return letter
            if letter in "cm":
                return ""
            if letter in "WX":  # the rest of it, or the next argument, is the option's value
                if i == len(argument):
                    next(remaining, None)
                break
    return ""
