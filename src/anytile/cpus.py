"""How many CPUs this process may use: the least of its affinity mask and what its control groups grant.

A container that is limited to two CPUs of a server's 64 sees 64, and its threads may run on each of them, but together they get two
CPUs' time: once 64 threads have used it up, all of them are stopped until the next period (0.1 s as a rule).  The limit is a quota
of time per period, which Linux keeps in files of the control group's folder:

- version 2: ``cpu.max`` holds "200000 100000", or "max 100000" where there is none;
- version 1: ``cpu.cfs_quota_us`` holds 200000, or -1, and ``cpu.cfs_period_us`` 100000.

Every folder above counts as well.  Where the folders are, ``/proc/self/mountinfo`` says, and ``/proc/self/cgroup`` which of them is the
process's; in a container that is shown the host's path, what is mounted begins at the container's own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

__all__ = ["affinity", "quota", "usable_cpus"]


def usable_cpus() -> int:
    """CPUs that this process can keep busy, at least one; parts of one count as one."""
    granted = quota()
    return affinity() if granted is None else max(1, min(affinity(), math.ceil(granted)))


def affinity() -> int:
    """CPUs that this process may run on: its affinity mask where the system has one; from Python 3.13 on ``PYTHON_CPU_COUNT``, if set."""
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0)) or 1 if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def quota(root: str | os.PathLike[str] = "/") -> float | None:
    """CPUs' worth of time that the control groups of this process grant; None where they set no limit.  ``root``: of the file system."""
    try:
        return min((granted for folder in _folders(os.fspath(root)) if (granted := _granted(folder)) is not None), default=None)
    except (OSError, ValueError):
        return None


def _granted(folder: str) -> float | None:
    """The quota that one control group sets itself."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            words = " ".join(_read(folder, name) for name in names).split()
        except OSError:  # of the other version, or the root, which has none
            continue
        if len(words) == 2 and words[0] not in ("max", "-1"):
            return int(words[0]) / int(words[1]) if int(words[1]) else None
    return None


def _folders(root: str) -> Iterator[str]:
    """The folders of the process's control groups for CPU time, each followed by those above it."""
    paths = {}
    for line in _read(root, "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" or "cpu" in controllers.split(","):
            paths[number == "0"] = path
    for line in _read(root, "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        beginning, mounted = before.split()[3:5]
        kind, _, options = after.split(maxsplit=2)
        second = kind == "cgroup2"
        if second not in paths or not second and (kind != "cgroup" or "cpu" not in options.split(",")):
            continue
        base, path = os.path.join(root, mounted.lstrip("/")), paths[second]
        below = path[len(beginning.rstrip("/")) :] if (path + "/").startswith(beginning.rstrip("/") + "/") else ""
        parts = [part for part in below.split("/") if part]
        parts = [] if ".." in parts else parts  # a group beside or above what is mounted
        for depth in range(len(parts), -1, -1):
            yield os.path.join(base, *parts[:depth])


def _read(folder: str, name: str) -> str:
    with open(os.path.join(folder, name), encoding="utf-8") as f:  # by pathlib, importing `jit` would take 7 ms longer
        return f.read()
