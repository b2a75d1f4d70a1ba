"""The thread pool that runs grids: an `Entry` launches one kernel.

The workers are native threads inside code of `pool_ir` (its docstring has the protocol); they never touch
Python.  A launch is one ctypes call, which releases the GIL; the calling thread works too.

- Concurrent launches: the pool serves one; a launch that finds it taken (from another Python thread, or from
  a callback inside a kernel) runs on its own calling thread alone.  So launches never wait for each other.
- Ctrl-C: every tenth of a second the call returns here, where Python handles signals; a KeyboardInterrupt
  withdraws the programs not yet begun.  A program is never interrupted half-way.
- fork: the child has none of the threads and builds its own pool, of workers, at its first launch.
- torch: where it is there and has an OpenMP runtime, that runtime's threads stand for the workers (`openmp`).
- Exit: workers sleep in native code and vanish with the process.
- Rounding and flush-to-zero modes: workers have those of the thread that made the first launch; nothing here
  changes them.

Environment: ``ANYTILE_NUM_THREADS`` (default: the CPUs this process may use (`cpus`); torch's number where its threads are used, and a
number other than torch's means workers, as does a quota of a control group's that torch's number, unless asked for, exceeds),
``ANYTILE_SPIN_US`` (how long idle workers watch for the next launch before they sleep; default 50, and 0 where there are more threads
than CPUs), ``ANYTILE_OPENMP`` (0: workers even where torch has an OpenMP runtime).
"""

from __future__ import annotations

import ctypes
import itertools
import os
import struct
import sys
import threading
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ... import cpus
from ...errors import AnytileError, UnsupportedError
from ...llvm.kept import kept
from ...llvm.loader import load_object
from . import openmp, pool_record

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Entry", "KernelStatus", "Pool", "callback", "launcher_address", "num_threads", "pool", "status_address"]


class KernelStatus(AnytileError, RuntimeError):
    """A kernel set the status word; ``code`` is what it stored.  Programs that had not begun were withdrawn."""

    def __init__(self, code: int):
        self.code = code
        super().__init__(f"a kernel stopped with status {code}")


def _setting(name: str, default: int, least: int, most: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise AnytileError(f"{name}={text!r} is not a number from {least} to {most}")
    return value


_RECORD = struct.Struct("=" + "".join("i" if kind == "i32" else "q" for kind in pool_record.RECORD.values()))
_PADDING = pool_record.BESIDE - _RECORD.size
_ROOM = 2048  # bytes of a record for arguments


class _Caller:
    """What one running launch has of its own: the native record of it, and scratch for the calling thread."""

    __slots__ = ("_memory", "address", "number", "record", "scratch", "size")

    def __init__(self, number: int):
        self.number = number
        self.record = ctypes.create_string_buffer(pool_record.BESIDE + _ROOM)
        self.address = ctypes.addressof(self.record)
        self.scratch = self.size = 0
        self._memory: Any = None

    def grow(self, size: int) -> None:
        self._memory = ctypes.create_string_buffer(size + 64)
        self.scratch = (ctypes.addressof(self._memory) + 63) & ~63
        self.size = size


#: Callers of no launch at the moment.  It is empty before the pool has started and in a fresh child, so whoever finds
#: none left also sees to it that there is a pool; nobody else has to ask.
_idle: list[_Caller] = []
_numbers = itertools.count(1)


def _new_caller() -> _Caller:
    pool()
    return _Caller(next(_numbers))


# The entry that `Entry.direct` generates: arguments go straight into the record, beside what `Entry.run` packs there.
_DIRECT = """
def go(gx, gy, gz{parameters}):
    try:
        caller = take()
    except IndexError:
        caller = new_caller()
    if caller.size < {scratch}:
        caller.grow({scratch})
    try:
        try:
            pack(caller.record, 0, {address}, caller.scratch, {scratch}, {cell}, caller.number, 0, gx, gy, gz, {arguments})
        except (error, OverflowError):
            run(repack(({arguments})), gx, gy, gz)
        else:
            code = launch(caller.address)
            if code:
                go_on(code, caller, None, gx, gy, gz)
    except BaseException:
        withdraw(caller.address)
        raise
    finally:
        give(caller)
"""


# The same for arguments that do not fit.
_LONG = """
def go(gx, gy, gz{parameters}):
    run(repack(({arguments})), gx, gy, gz)
"""


class Entry:
    """What launches one kernel on the pool.

    ``address``: a kernel of the ABI in architecture.md.  ``scratch``: bytes of scratch that each worker needs.
    Where a program set the status word, a launch raises ``explain(KernelStatus(…))``.  ``owner`` is kept for as long as the entry.
    ``together``: programs that one worker runs one after the other save each other work, so it is given many at a time.
    ``ordered``: no program begins before those in front of it have begun.
    ``programs``: the extents up to which the kernel is right; larger grids go to ``otherwise()``, which is asked for once.
    """

    def __init__(
        self,
        address: int,
        scratch: int,
        explain: Callable[[KernelStatus], Exception] = lambda status: status,
        owner: object = None,
        together: bool = False,
        ordered: bool = False,
        programs: tuple[int, int, int] = pool_record.ANY_GRID,
        otherwise: Callable[[], Entry] | None = None,
    ):
        self.address, self.scratch, self.explain, self.owner = address, scratch, explain, owner
        self._otherwise: Callable[[], Entry] | Entry | None = otherwise
        cell = pool_record.new_cell(together, ordered, programs)
        self._cell = (ctypes.c_int64 * len(cell))(*cell)
        self._cell_address = ctypes.addressof(self._cell)

    def run(self, packed: bytes, gx: int, gy: int, gz: int) -> None:
        """Runs the grid with the argument block ``packed`` and returns when it is done."""
        native = _native()
        try:
            caller = _idle.pop()
        except IndexError:
            caller = _new_caller()
        if caller.size < self.scratch:
            caller.grow(self.scratch)
        try:
            self._describe(caller, 0, gx, gy, gz)
            code = native.launch(caller.address, packed)
            if code:
                self._go_on(code, caller, packed, gx, gy, gz)
        except BaseException:
            # A KeyboardInterrupt comes between two time slices, perhaps before `code` was stored.
            native.withdraw(caller.address)
            raise
        finally:
            _idle.append(caller)

    def direct(self, parameters: str, arguments: str, layout: str, repack: Callable[[tuple[Any, ...]], bytes]) -> Callable[..., None]:
        """``go(gx, gy, gz, *values)``: packs and runs, without a call of Python's between the arguments and native code.

        ``parameters``: the values' names (", v0, v1"); ``arguments``: expressions over them for the slots, each followed by a comma;
        ``layout``: the slots in the notation of `struct`; ``repack(values)``: the argument block where that layout refuses them.
        """
        native = _native()
        pack = struct.Struct(f"{_RECORD.format}{_PADDING}x{layout}")
        text = (_DIRECT if pack.size <= pool_record.BESIDE + _ROOM else _LONG).format(
            parameters=parameters, arguments=arguments, address=self.address, scratch=self.scratch, cell=self._cell_address
        )
        space: dict[str, Any] = {
            "take": _idle.pop,
            "give": _idle.append,
            "new_caller": _new_caller,
            "pack": pack.pack_into,
            "error": struct.error,
            "repack": repack,
            "run": self.run,
            "launch": native.launch_beside,
            "go_on": self._go_on,
            "withdraw": native.withdraw,
        }
        exec(compile(text, "<launch on the thread pool>", "exec"), space)
        return space["go"]

    def _describe(self, caller: _Caller, first: int, gx: int, gy: int, gz: int) -> None:
        _RECORD.pack_into(
            caller.record, 0, self.address, caller.scratch, self.scratch, self._cell_address, caller.number, first, gx, gy, gz
        )

    def _go_on(self, code: int, caller: _Caller, packed: bytes | None, gx: int, gy: int, gz: int) -> None:
        """After the first time slice.  ``packed``: None where the arguments are in the record."""
        native = _native()
        while code:
            kind = code & 3
            if kind == pool_record.MORE_INLINE:
                self._describe(caller, code >> 2, gx, gy, gz)
                code = native.launch_beside(caller.address) if packed is None else native.launch(caller.address, packed)
            elif kind == pool_record.MORE_SHARED:
                code = native.resume(caller.address)
            else:
                if code == pool_record.OTHER_GRID:
                    return self._other_grid(caller.record.raw[pool_record.BESIDE :] if packed is None else packed, gx, gy, gz)
                status = native.take_status()
                if status == pool_record.OUT_OF_MEMORY:
                    raise MemoryError(f"no memory for {self.scratch} bytes of scratch in each of {num_threads()} threads")
                raise self.explain(KernelStatus(status))

    def _other_grid(self, packed: bytes, gx: int, gy: int, gz: int) -> None:
        """A grid that the kernel was not compiled for."""
        if not isinstance(self._otherwise, Entry):
            assert self._otherwise is not None
            self._otherwise = self._otherwise()
        self._otherwise.run(packed, gx, gy, gz)


class Pool:
    """What works beside the caller of a launch: ``team``, or else ``threads`` - 1 workers.  Made by `pool`; there is never more than one."""

    def __init__(self, threads: int, spin_us: int, team: openmp.Team | None = None):
        native = _native()
        native.reset(threads if team is None else team.threads(), int(spin_us * native.pauses_per_us), max(1, int(native.ticks_per_us)))
        if team is not None:
            native.join_team(*team)
        else:
            for number in range(1, threads):
                _start_thread(native.worker_address, number)


# --- the process's pool ------------------------------------------------------------------------------------------

_lock = threading.Lock()
_pool: Pool | None = None
_forked = False  # whether this process is somebody's forked child: no OpenMP runtime serves one


def pool() -> Pool:
    """The process's pool; started at the first call, and again in a forked child."""
    global _pool
    if _pool is None:
        with _lock:
            if _pool is None:
                usable = cpus.usable_cpus()
                threads = _setting("ANYTILE_NUM_THREADS", min(usable, pool_record.ARENAS), 1, pool_record.ARENAS)
                spin_us = _setting("ANYTILE_SPIN_US", 50 if threads <= usable else 0, 0, 1_000_000)
                _pool = Pool(threads, spin_us, _team(threads))
    return _pool


def _team(threads: int) -> openmp.Team | None:
    """The OpenMP team that serves launches; None: workers of our own."""
    if _forked or not _setting("ANYTILE_OPENMP", 1, 0, 1):
        return None
    team = openmp.team_of_torch()
    if team is None:
        return None
    if os.environ.get("ANYTILE_NUM_THREADS"):
        return team if team.threads() == threads else None  # another number was asked for
    # torch looks at no quota: of 64 threads in a container of two CPUs all would be stopped for most of the time
    unasked = not (os.environ.get("OMP_NUM_THREADS") or os.environ.get("MKL_NUM_THREADS"))
    return None if unasked and team.threads() > threads and cpus.quota() is not None else team


def num_threads() -> int:
    """Threads of a launch of the calling thread, which is one of them."""
    pool()
    return int(_native().threads())


def status_address() -> int:
    """Address of the i32 status word, to bind to the external symbol ``anytile_status`` of kernels.

    A kernel that stores a value other than 0 there (an assert's number) makes `run` raise `KernelStatus`.  Use a
    compare-and-exchange with 0, so that the first failure is the one reported.
    """
    return _native().status_address


def launcher_address() -> int:
    """Address of what kernels launch others with: an ``i64 (record, args)`` that returns when the launch is over (`pool_ir`: ``@share``)."""
    return _native().share_address


_callbacks: list[Any] = []


def callback(function: Callable[[int], None]) -> int:
    """Address of a C function ``void(ptr)`` that calls ``function(address)``, from any thread of the pool.

    For symbols of kernels such as ``anytile_print``.  It is never freed.  The caller of the kernel has released
    the GIL, so workers may wait for it.
    """
    made = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda address: function(address or 0))
    _callbacks.append(made)
    return ctypes.cast(made, ctypes.c_void_p).value or 0


def _forget_after_fork() -> None:
    global _pool, _lock, _forked
    _pool, _lock, _forked = None, threading.Lock(), True
    _idle.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


# --- native side -------------------------------------------------------------------------------------------------


class _Native:
    """The functions of `pool_ir` behind ctypes prototypes, and how fast the machine's clock and `pause` are."""

    def __init__(self) -> None:
        from ...llvm.host import architecture as architecture_of
        from ...llvm.host import host

        architecture = architecture_of(host().triple)
        system = "windows" if sys.platform == "win32" else "linux" if sys.platform.startswith("linux") else "posix"
        data = kept(f"thread pool {architecture} {system}", lambda: _compile(architecture, system))
        self._object = load_object(data, _system_symbols(), permanent=True)
        wide, pointer = ctypes.c_int64, ctypes.c_void_p
        self.launch = self._function("launch", wide, pointer, ctypes.c_char_p)
        self.launch_beside = self._function("launch_beside", wide, pointer)
        self.resume = self._function("resume", wide, pointer)
        self.withdraw = self._function("withdraw", None, pointer)
        self.reset = self._function("reset", None, wide, wide, wide)
        self.join_team = self._function("join_team", None, pointer, pointer, pointer)
        self.threads = self._function("threads", wide)
        self.worker_address = self._object.address("worker")
        self.share_address = self._object.address("share")
        self.status_address = self._function("status", pointer)()
        self._status = ctypes.c_int32.from_address(self.status_address)
        self.ticks_per_us, self.pauses_per_us = self._calibrate()

    def _function(self, name: str, result: Any, *arguments: Any) -> Any:
        return ctypes.CFUNCTYPE(result, *arguments)(self._object.address(name))

    def take_status(self) -> int:
        """What a kernel stored in the status word, which is 0 from then on."""
        status, self._status.value = self._status.value, 0
        return status

    def _calibrate(self) -> tuple[float, float]:
        """(clock ticks per µs, `pause` instructions per µs), to a few per cent, in about 0.2 ms."""
        ticks, pauses = self._function("ticks", ctypes.c_int64), self._function("pauses", None, ctypes.c_int64)
        begin, first = time.perf_counter_ns(), ticks()
        pauses(2000)
        elapsed, passed = time.perf_counter_ns() - begin, ticks() - first
        return passed * 1000 / elapsed, 2000 * 1000 / elapsed


@lru_cache(maxsize=1)
def _native() -> _Native:
    return _Native()


def _compile(architecture: str, system: str) -> bytes:
    from ...llvm import engine
    from . import pool_ir, pool_system

    if not pool_system.supported(architecture):
        raise UnsupportedError("the thread pool", f"the architecture {architecture}")
    return engine.compile_object(pool_ir.text(architecture, system), level="none")


def _system_symbols() -> dict[str, int]:
    """What the pool needs of the system and LLVM's search of the process does not find."""
    if sys.platform != "win32":
        return {}
    library = ctypes.WinDLL("api-ms-win-core-synch-l1-2-0.dll")
    return {name: ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in ("WaitOnAddress", "WakeByAddressAll")}


def _start_thread(function: int, number: int) -> None:
    """Starts a native thread in ``function(number)``; it has no Python state and takes no signals."""
    if sys.platform == "win32":
        create = ctypes.WinDLL("kernel32").CreateThread
        create.restype = ctypes.c_void_p
        create.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p]
        if not create(None, 0, function, number, 0, None):
            raise AnytileError(f"cannot start worker {number} of the thread pool: {ctypes.FormatError()}")
        return
    import signal

    library = ctypes.CDLL(None)
    library.pthread_create.argtypes = [ctypes.c_void_p] * 4
    library.pthread_detach.argtypes = [ctypes.c_void_p]
    thread = ctypes.c_void_p()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        error = library.pthread_create(ctypes.addressof(thread), None, function, number)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if error:
        raise AnytileError(f"cannot start worker {number} of the thread pool: {os.strerror(error)}; lower ANYTILE_NUM_THREADS")
    library.pthread_detach(thread)
