"""Where the time of a program's launches goes: `triton.profiler` (Proton), for the kernels that anytile launches.

    session = start("run", hook="triton")
    with scope("layer 1"):
        kernel[grid](…)
    finalize()                          # writes run.hatchet, which `proton_viewer` reads

A session sums up, for each kernel under the scopes that were open at its launch, how often it was launched and how long it ran: on the
CPU by the clock, on a GPU by events around the launch.  With ``hook="triton"``, what the kernel's ``launch_metadata`` tells (its name, flops,
bytes) is summed up, too.  Work that is not launched through anytile, a product by cuBLAS in a scope, is not seen.  The file is in Proton's
format: a list of a tree (``frame``, ``metrics``, ``children``) and of the devices.

While a session is active launches go through Python, each with two events on a GPU, and are slower for it; their own times are not.
What else Proton has (samples of program counters, timelines, call stacks of Python, instrumented kernels) is an UnsupportedError.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import UnsupportedError
from ..runtime import knobs
from ..runtime.driver import driver

__all__ = ["DEFAULT_PROFILE_NAME", "activate", "cpu_timed_scope", "deactivate", "enter_scope", "enter_state", "exit_scope", "exit_state"]
__all__ += ["finalize", "profile", "scope", "start", "state"]

DEFAULT_PROFILE_NAME = "proton"

F = TypeVar("F", bound=Callable[..., Any])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class _Node:
    """A frame of the tree: ``metrics`` are sums over all times that it was met."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.metrics: dict[str, Any] = {}
        self.children: dict[str, _Node] = {}

    def child(self, name: str) -> _Node:
        return self.children.setdefault(name, _Node(name))

    def add(self, metrics: dict[str, Any]) -> None:
        for name, value in metrics.items():
            self.metrics[name] = self.metrics.get(name, 0) + value if _is_number(value) else value

    def told(self) -> dict[str, Any]:
        frame = {"name": self.name, "type": "function"}
        return {"frame": frame, "metrics": self.metrics, "children": [c.told() for c in self.children.values()]}


class _Session:
    def __init__(self, name: str, asks: bool) -> None:
        self.name, self.asks, self.active = name, asks, True
        self.root = _Node("ROOT")
        self.pending: list[tuple[_Node, Any, Any]] = []  # launches on a GPU: their node, the events around them

    def settle(self) -> None:
        """Waits for what was launched on a GPU, and adds its times."""
        pending, self.pending = self.pending, []  # other threads may launch meanwhile
        for node, begin, end in pending:
            end.synchronize()
            node.add({"time (ns)": int(begin.elapsed_time(end) * 1e6)})


class _Scopes(threading.local):
    """The scopes and states that are open in this thread, and the launch that is under way."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.states: list[str] = []
        self.launch: Any = None


_sessions: dict[int, _Session] = {}
_scopes = _Scopes()
_numbers = itertools.count()


def _off() -> bool:
    return bool(knobs.proton.disable)


def _only(what: str, value: Any, taken: tuple[Any, ...]) -> None:
    if value not in taken:
        shown = ", ".join(repr(t) for t in taken)
        raise UnsupportedError(f"triton.profiler.start({what}={value!r})", "anytile", f"it takes {shown}: times of launches under scopes")


def start(
    name: str | None = None,
    *,
    context: str | None = "shadow",
    data: str | None = "tree",
    backend: str | None = None,
    mode: Any = None,
    hook: str | None = None,
) -> int | None:
    """Begins a session that `finalize` writes to ``name``.hatchet; gives its number, None where TRITON_PROTON_DISABLE says so."""
    if _off():
        return None
    _only("context", context, ("shadow", None))
    _only("data", data, ("tree", None))
    _only("backend", backend, (None, "cupti"))
    _only("mode", mode, (None, ""))
    _only("hook", hook, (None, "triton"))
    number = next(_numbers)
    _sessions[number] = _Session(name or DEFAULT_PROFILE_NAME, hook == "triton")
    _listen()
    return number


def _chosen(session: int | None) -> list[_Session]:
    if session is None:
        return list(_sessions.values())
    return [_sessions[session]] if session in _sessions else []


def activate(session: int | None = None) -> None:
    """Launches count for the session, or for all, from here on."""
    for s in _chosen(session):
        s.active = True
    _listen()


def deactivate(session: int | None = None) -> None:
    """Launches do not count for the session, or for any, until it is activated."""
    for s in _chosen(session):
        s.active = False
    _listen()


def finalize(session: int | None = None, output_format: str | None = "") -> None:
    """Ends the session, or all, and writes what was measured."""
    if output_format not in ("", None, "hatchet"):
        raise UnsupportedError(f"triton.profiler.finalize(output_format={output_format!r})", "anytile", "it writes 'hatchet'")
    numbers = list(_sessions) if session is None else [session] if session in _sessions else []
    for number in numbers:
        s = _sessions.pop(number)
        s.settle()
        with open(f"{s.name}.hatchet", "w", encoding="utf-8") as out:
            json.dump([s.root.told(), _devices()], out)
    _listen()


def _devices() -> dict[str, Any]:
    target = driver.active.get_current_target()
    device = driver.active.get_current_device()
    facts = driver.active.utils.get_device_properties(device)
    names = {
        "num_sms": "multiprocessor_count",
        "clock_rate": "sm_clock_rate",
        "memory_clock_rate": "mem_clock_rate",
        "bus_width": "mem_bus_width",
    }
    kind = "CUDA" if target.backend == "cuda" else "CPU"
    return {kind: {str(device): {"arch": str(target.arch), **{name: facts.get(there, 0) for name, there in names.items()}}}}


# --- launches ---------------------------------------------------------------------------------------------------------------


def _listen() -> None:
    """Launches are heard of while a session is active, and not a moment longer: without hooks they are faster."""
    runtime, wanted = knobs.runtime, any(s.active for s in _chosen(None))
    for chain, hook in ((runtime.launch_enter_hook, _enter), (runtime.launch_exit_hook, _exit)):
        (chain.add if wanted else chain.remove)(hook)


def _event() -> Any:
    """An event at this place of the current stream; None on a CPU, and while a graph is captured, whose events have no times."""
    torch = sys.modules.get("torch")
    if not driver.active.is_gpu or torch is None or torch.cuda.is_current_stream_capturing():
        return None
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _enter(metadata: Any) -> None:
    facts = metadata.get() if any(s.active and s.asks for s in _chosen(None)) else metadata.data
    _scopes.launch = (facts, _event(), time.perf_counter_ns())


def _exit(metadata: Any) -> None:
    if _scopes.launch is None:
        return
    facts, begin, since = _scopes.launch
    spent, _scopes.launch = time.perf_counter_ns() - since, None
    end = None if begin is None else _event()
    told = {k: v for k, v in facts.items() if k not in ("stream", "function") and _is_number(v)}
    device = {"device_id": str(driver.active.get_current_device()), "device_type": "CUDA" if driver.active.is_gpu else "CPU"}
    for s in _chosen(None):
        if s.active:
            node = _here(s).child(str(facts.get("name", "kernel")))
            node.add({"count": 1, **device, **(told if s.asks else {})})
            if end is not None:
                s.pending.append((node, begin, end))
            elif not driver.active.is_gpu:
                node.add({"time (ns)": spent})


def _here(session: _Session) -> _Node:
    node = session.root
    for name in (*_scopes.names, *_scopes.states):
        node = node.child(name)
    return node


# --- scopes -----------------------------------------------------------------------------------------------------------------


class scope:
    """``with scope("name"):`` or ``@scope("name")``: launches inside are told under that name.  ``metrics`` are added to it."""

    def __init__(self, name: str, metrics: dict[str, float] | None = None) -> None:
        self.name, self.metrics = name, metrics

    def __enter__(self) -> Any:
        enter_scope(self.name, metrics=self.metrics)
        return self

    def __exit__(self, *error: Any) -> None:
        exit_scope(self.name)

    def __call__(self, fn: F) -> F:
        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            with copy.copy(self):  # calls may overlap
                return fn(*args, **kwargs)

        return call  # type: ignore[return-value]


class cpu_timed_scope(scope):
    """A `scope` with the time that the program itself spent in it: ``cpu_time (ns)``."""

    def __enter__(self) -> Any:
        self.since = time.perf_counter_ns()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        _measured({"cpu_time (ns)": time.perf_counter_ns() - self.since})
        super().__exit__(*error)


class state(scope):
    """``with state("name"):``: launches inside are told under that name, below all scopes."""

    def __init__(self, name: str) -> None:
        super().__init__(name)

    def __enter__(self) -> Any:
        enter_state(self.name)
        return self

    def __exit__(self, *error: Any) -> None:
        exit_state()


def _measured(metrics: dict[str, Any]) -> None:
    for s in _chosen(None):
        if s.active:
            _here(s).add(metrics)


def enter_scope(name: str, *, metrics: dict[str, float] | None = None) -> int | None:
    """Opens a scope; gives how many are open, None where nothing is profiled."""
    if _off():
        return None
    _scopes.names.append(name)
    if metrics:
        _measured(metrics)
    return len(_scopes.names)


def exit_scope(name: str | None = None, *, metrics: dict[str, float] | None = None) -> int | None:
    """Closes the scope opened last, after ``metrics`` are added to it; gives its number, None where nothing is profiled."""
    if _off() or not _scopes.names:
        return None
    if metrics:
        _measured(metrics)
    number = len(_scopes.names)
    _scopes.names.pop()
    return number


def enter_state(name: str) -> None:
    """Opens a state (`state`)."""
    _scopes.states.append(name)


def exit_state() -> None:
    """Closes the state opened last."""
    if _scopes.states:
        _scopes.states.pop()


def profile(func: Any = None, *, name: str | None = None, **settings: Any) -> Any:
    """Decorator: each call of the function is a session of its own; ``name``, ``settings``: as for `start`."""
    begin = functools.partial(start, name, **settings)

    def around(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            session = begin()
            try:
                return fn(*args, **kwargs)
            finally:
                if session is not None:
                    finalize(session)

        return call

    return around if func is None else around(func)
