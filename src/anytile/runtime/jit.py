"""`jit`: from a Python function to something that can be launched over a grid.

    @jit
    def add(x, y, out, n, BLOCK: tl.constexpr): ...

    add[(64,)](x, y, out, n, BLOCK=1024)

A launch finds its compiled kernel by a key made of the kinds of its arguments (`launcher`, `arguments`); the
first launch of a kind compiles (`compiler`).  The caches per device are public, as in Triton:
``kernel.device_caches[0] → (kernels, key → key, target, target object, bind)``.
"""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Callable
from functools import cached_property, partial
from types import FunctionType
from typing import Any, NamedTuple, overload

from ..language.parameters import TYPE_NAMES, KernelParam
from ..language.source import JITCallable
from . import knobs
from .arguments import HOST, common_place
from .async_compile import active_mode
from .bounds import warn_unchecked
from .compile_time import ConstexprFunction, constexpr_function
from .driver import GPUTarget, driver, expect_launches, host_target, interpreting, target_object
from .errors import ArgumentError, MissingGridError, ReadOnlyError
from .hooks import SettingsClass
from .launcher import Elsewhere, make_binder, make_launcher
from .options import Options
from .refusals import misnamed
from .specialization import Specialization
from .warm import Warm
from .wrappers import MockTensor

__all__ = [
    "ConstexprFunction",
    "JITFunction",
    "JitFunctionInfo",
    "KernelInterface",
    "KernelParam",
    "constexpr_function",
    "jit",
    "must_use_result",
    "type_canonicalisation_dict",
]

#: Spellings of types → names in signatures, and each of these names to itself.
type_canonicalisation_dict: dict[str, str] = {**TYPE_NAMES, **{v: v for v in TYPE_NAMES.values()}}


class JitFunctionInfo(NamedTuple):
    """What cache hooks are told about the kernel."""

    module: str
    name: str
    jit_function: JITFunction


class KernelInterface:
    """Anything that is launched as ``it[grid](*args)``: a kernel, or an autotuner or heuristics around one."""

    __iter__ = None  # else Python would take ``it[0]``, ``it[1]``, … for its elements, without end

    def run(self, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        raise NotImplementedError

    def warmup(self, *args: Any, grid: Any, **kwargs: Any) -> Any:
        """Compile for these arguments without launching; dtypes may stand for tensors."""
        return self.run(
            *map(MockTensor.wrap_dtype, args), grid=grid, warmup=True, **{k: MockTensor.wrap_dtype(v) for k, v in kwargs.items()}
        )

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        return lambda *args, **kwargs: self.run(*args, grid=grid, warmup=False, **kwargs)


class _DeviceCaches(dict):  # type: ignore[type-arg]
    """device → (kernels, key → key, target, target object, bind).

    Devices are GPUs by number and "cpu"; without a GPU keys 0, None and "cpu" are one device.

    A launcher keeps the dictionary of kernels that it was made with, so ``clear()`` empties that too.
    """

    def __init__(self, fn: JITFunction):
        super().__init__()
        self.fn = fn

    def __missing__(self, device: Any) -> tuple[Any, ...]:
        if device is None or device == "cpu" and not _is_gpu():
            return self[0]
        entry = self[device] = self.fn._make_device_cache(device)
        return entry

    def clear(self) -> None:
        for entry in self.values():
            entry[0].clear()
        super().clear()
        self.fn.forget_launchers()


def _is_gpu() -> bool:
    return getattr(driver.active, "is_gpu", False)


class _Kernels(dict):  # type: ignore[type-arg]
    """Key → compiled kernel.  Emptying it also makes the launcher forget the kernel it launched last."""

    def __init__(self) -> None:
        super().__init__()
        self.forget: Callable[[], None] = lambda: None

    def clear(self) -> None:
        super().clear()
        self.forget()

    def pop(self, *args: Any) -> Any:
        self.forget()
        return super().pop(*args)

    def __delitem__(self, key: Any) -> None:
        self.forget()
        super().__delitem__(key)


def _device_at(place: int | None) -> Any:
    """The key of `_DeviceCaches` for memory at ``place``."""
    if place is None or place == HOST and not _is_gpu():
        return driver.active.get_current_device()
    return "cpu" if place == HOST else place


class JITFunction(JITCallable, KernelInterface, metaclass=SettingsClass):
    """A kernel.  ``kernel[grid](*args, **kwargs)`` launches it and returns the `CompiledKernel`.

    ``kwargs`` may be parameters of the kernel or compile options (`Options`).
    """

    #: Whether launches compile; `InterpretedFunction` needs no source text.
    compiled = True

    def __init__(
        self,
        fn: FunctionType,
        version: Any = None,
        do_not_specialize: Any = None,
        do_not_specialize_on_alignment: Any = None,
        debug: bool | None = None,
        noinline: bool | None = None,
        repr: Callable[[Any], str] | None = None,
        launch_metadata: Callable[..., dict[str, Any]] | None = None,
    ):
        super().__init__(fn, bool(noinline))
        if self.compiled:
            self._load_source()  # now: the file may have changed, or be gone, by the first launch
        self.version = version
        self.do_not_specialize = list(do_not_specialize or ())
        self.do_not_specialize_on_alignment = list(do_not_specialize_on_alignment or ())
        self.debug = debug
        self._repr = repr
        self.launch_metadata = launch_metadata
        self._begin_without_launches()

    def _begin_without_launches(self) -> None:
        self.pre_run_hooks: list[Callable[..., Any]] = []
        self.kernel: Any = None
        self.device_caches = _DeviceCaches(self)
        self._epoch: object = None
        self._launcher: Callable[[Any], Callable[..., Any]] | None = None  # grid → launch
        self._launchers: dict[int, Callable[[Any], Callable[..., Any]]] = {}  # by place, while `_launcher` is one of them

    def renew_locks(self) -> None:
        super().renew_locks()
        self._compile_lock = threading.RLock()

    _DESCRIPTION = (*JITCallable._DESCRIPTION, "version", "do_not_specialize", "do_not_specialize_on_alignment", "debug")

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._repr = self.launch_metadata = None
        self._begin_without_launches()

    def outdated(self) -> None:
        super().outdated()
        self.device_caches.clear()

    # -- description -------------------------------------------------------------------------------------

    @cached_property
    def params(self) -> list[KernelParam]:
        def listed(p: inspect.Parameter, i: int, names: list[Any]) -> bool:
            return p.name in names or i in names

        return [
            KernelParam(i, p, listed(p, i, self.do_not_specialize), listed(p, i, self.do_not_specialize_on_alignment))
            for i, p in enumerate(self.signature.parameters.values())
        ]

    @cached_property
    def arg_names(self) -> list[str]:
        return [p.name for p in self.params]

    @property
    def constexprs(self) -> list[int]:
        """Indices of the parameters declared ``tl.constexpr``."""
        return [p.num for p in self.params if p.is_constexpr]

    def repr(self, specialization: Any) -> str:
        """The kernel's name in profiles: what ``jit(repr=…)`` makes of the specialisation."""
        return self._fn_name if self._repr is None else self._repr(specialization)

    def add_pre_run_hook(self, hook: Callable[..., Any]) -> None:
        """Call ``hook(*args, **kwargs)`` before each launch, with the launch's arguments."""
        assert callable(hook), "a pre-run hook must be callable"
        self.pre_run_hooks.append(hook)

    def target(self) -> GPUTarget:
        """What launches of this kernel compile for."""
        return driver.active.get_current_target()

    # -- launching ---------------------------------------------------------------------------------------

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        bind = self._launcher
        if bind is None or self._epoch is not driver.epoch:
            bind = self._make_launchers()
        if self.pre_run_hooks:
            return partial(self._launch_after_hooks, grid)
        return bind(grid)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from ..language.context import active

        if not active():
            raise MissingGridError(
                f"Cannot call @triton.jit'd function {self.__name__} outside of the scope of a kernel: "
                f"launch it with a grid, {self.__name__}[grid](...), where the grid is a tuple such as (1,)"
            )
        return super().__call__(*args, **kwargs)

    def _launch_after_hooks(self, grid: Any, *args: Any, **kwargs: Any) -> Any:
        for hook in self.pre_run_hooks:
            hook(*args, **kwargs)
        assert self._launcher is not None
        return self._launcher(grid)(*args, **kwargs)

    def run(self, *args: Any, grid: Any = None, warmup: bool = False, **kwargs: Any) -> Any:
        """``kernel[grid](*args, **kwargs)``, or only the compilation where ``warmup``."""
        if not warmup:
            if grid is None:
                raise MissingGridError(
                    f"{self.__name__} was launched without a grid: write {self.__name__}[grid](...), with a grid such as (1,)"
                )
            return self[grid](*args, **kwargs)
        for hook in self.pre_run_hooks:
            hook(*args, **kwargs)
        device = driver.active.get_current_device()
        kernels, _, _, _, bind = self.device_caches[device]
        try:
            key, values, bound, options = bind(*args, **kwargs)
        except Elsewhere:
            place = common_place(self.__name__, {**dict(zip(self.arg_names, args)), **kwargs})
            device = _device_at(place)
            kernels, _, _, _, bind = self.device_caches[device]
            key, values, bound, options = bind(*args, **kwargs)
        except ArgumentError as e:
            raise misnamed(self, e, kwargs) from None
        return kernels[key] if key in kernels else self._compile_for(device, key, bound, values, options, True)

    def forget_launchers(self) -> None:
        """Generate the launcher anew at the next launch."""
        self._launcher = None
        self._launchers.clear()

    def _make_launchers(self) -> Callable[[Any], Callable[..., Any]]:
        if self._epoch is not driver.epoch and self._epoch is not None:
            self.device_caches.clear()  # kernels of another driver's target
        self._launcher = self._launcher_at(driver.active.get_current_device() if _is_gpu() else HOST)
        self._epoch = driver.epoch
        return self._launcher

    def _launcher_at(self, place: int) -> Callable[[Any], Callable[..., Any]]:
        """The launcher for memory of the CPU or of a GPU: grid → launch."""
        found = self._launchers.get(place)
        if found is None:
            device = _device_at(place)
            kernels = self.device_caches[device][0]
            several = place != HOST and driver.active.device_count > 1
            launcher = make_launcher(self, kernels, device, place, driver.active.get_current_device if several else None)
            warm = Warm(self, kernels, place, launcher, several, lambda better: self._replace_launcher(place, better))
            kernels.forget = warm.forget
            found = self._launchers[place] = warm.bind
        return found

    def _replace_launcher(self, place: int, bind: Callable[[Any], Callable[..., Any]]) -> None:
        """``bind`` does from now on what the launcher for this place did."""
        if self._launcher is self._launchers.get(place):
            self._launcher = bind
        self._launchers[place] = bind

    def launch_elsewhere(self, grid: Any, arguments: dict[str, Any], options: dict[str, Any]) -> Any:
        """A launch where the memory of ``arguments`` lies.  DeviceError where it lies in several places.

        The GPU that is current already gets its own launcher to begin with from now on.
        """
        current = driver.active.get_current_device()
        place = common_place(self.__name__, arguments)
        if place is None:
            place = current
        bind = self._launcher_at(place)
        if place == HOST:
            return bind(grid)(**arguments, **options)
        if place == current:
            self._launcher = bind
            return bind(grid)(**arguments, **options)
        with driver.active.device_guard(place):
            return bind(grid)(**arguments, **options)

    def _make_device_cache(self, device: Any) -> tuple[Any, ...]:
        if device == "cpu":
            target, place = host_target(), HOST
        elif _is_gpu():
            target, place = driver.active.target_of(device), device
        else:
            target, place = self.target(), HOST
        self._epoch = driver.epoch
        return _Kernels(), {}, target, target_object(target), make_binder(self, place)

    # -- compiling ---------------------------------------------------------------------------------------

    def specialize(self, keys: tuple[Any, ...], bound: dict[str, Any]) -> Specialization:
        """What argument keys mean for compilation."""
        out = Specialization({}, {}, {}, set())
        for p, key in zip(self.params, keys):
            if p.is_constexpr:
                value = bound[p.name]
                out.constexprs[(p.num,)] = value.value if type(value).__name__ == "constexpr" else value
                out.signature[p.name] = "constexpr"
            else:
                out.signature[p.name] = out.describe(p, key, bound[p.name], (p.num,))
        return out

    def _compile_for(
        self, device: Any, key: Any, bound: dict[str, Any], values: tuple[Any, ...], options: dict[str, Any], is_warmup: bool
    ) -> Any:
        """The kernel for a key that was not seen before; None where a cache hook refused the compilation."""
        with self._compile_lock:
            kernels, _, target, _, _ = self.device_caches[device]
            if key in kernels:
                return kernels[key]
            bound = {p.name: bound[p.name] for p in self.params}
            spec = self.specialize(key[: len(self.params)] if self.params else (), bound)
            return self._compile(key, spec, {"debug": bool(self.debug), **options}, target, kernels, is_warmup)

    def _compile(
        self, key: Any, spec: Specialization, options: dict[str, Any], target: GPUTarget, kernels: dict[Any, Any], is_warmup: bool
    ) -> Any:
        from .compiler import ASTSource, argument_slots, compile

        checked = Options.of(options, target, self.__name__, self.arg_names)
        runtime = knobs.runtime
        if runtime.check_bounds:
            warn_unchecked()
        if runtime.jit_cache_hook and self._call_hook(runtime.jit_cache_hook, key, spec, checked, is_warmup, False):
            return None
        src = ASTSource(self, spec.signature, spec.constexprs, spec.attrs)

        def make() -> Any:
            return compile(src, target=target, options=checked)

        def keep(kernel: Any) -> Any:
            stored = kernel.stored_parameters()
            for slot, (_, _, name) in enumerate(argument_slots(spec.signature)):
                if name in spec.readonly and slot in stored:
                    raise ReadOnlyError.of(self.__name__, name)
            kernels[key] = kernel
            if runtime.jit_post_compile_hook:
                self._call_hook(runtime.jit_post_compile_hook, key, spec, checked, is_warmup, True)
            return kernel

        mode = active_mode.get()
        if mode is None or not is_warmup and (id(self), key) not in mode.future_kernels:
            return keep(make())
        future = mode.submit((id(self), key), make, keep)
        return future if is_warmup else future.result()

    def _call_hook(
        self, hook: Callable[..., Any], key: Any, spec: Specialization, options: Options, is_warmup: bool, compiled: bool
    ) -> Any:
        text = f"{self.repr(self)}[{', '.join(f'{n}: {t}' for n, t in spec.signature.items())}]"
        compile_facts = {
            **options.as_dict(),
            "key": key,
            "signature": spec.signature,
            "device": driver.active.get_current_device(),
            "constants": spec.constexprs,
            "configs": [spec.attrs],
            "specialization_data": spec.serialize(self, key, options),
            "is_warmup": is_warmup,
            "extern_libs": options.extern_libs,
        }
        info = JitFunctionInfo(self.fn.__module__, self.fn.__qualname__, self)
        return hook(
            key=text,
            repr=text,
            fn=info,
            compile=compile_facts,
            is_manual_warmup=is_warmup,
            already_compiled=compiled,
        )

    def preload(self, specialization_data: str) -> Any:
        """Compile (or take from the disk cache) the kernel that a cache hook's ``specialization_data`` tells of.

        RuntimeError where the data are of another kernel, or for another target.
        """
        data = json.loads(specialization_data)
        if data["name"] != self._fn_name:
            raise RuntimeError(f"Specialization data is for {data['name']} but trying to preload for {self._fn_name}")
        kernels, _, target, _, _ = self.device_caches[driver.active.get_current_device()]
        if data["target"] != vars(target):
            raise RuntimeError(f"Specialization data is for {data['target']} but trying to preload for {vars(target)}")
        spec, key, options = Specialization.deserialize(data)
        if key in kernels:
            return kernels[key]
        return self._compile(key, spec, options, target, kernels, True)

    def __repr__(self) -> str:
        return f"JITFunction({self.module}:{self.__qualname__})"


@overload
def jit(fn: FunctionType) -> JITFunction: ...
@overload
def jit(
    *,
    version: Any = None,
    repr: Callable[[Any], str] | None = None,
    launch_metadata: Callable[..., dict[str, Any]] | None = None,
    do_not_specialize: Any = None,
    do_not_specialize_on_alignment: Any = None,
    debug: bool | None = None,
    noinline: bool | None = None,
) -> Callable[[FunctionType], JITFunction]: ...


def jit(fn: Any = None, **options: Any) -> Any:
    """Make a kernel, or a function that kernels call, of a Python function.

    ``do_not_specialize``: names or positions of parameters whose value has no influence on compilation;
    ``do_not_specialize_on_alignment``: likewise, but being 1 still has.  ``debug``: device asserts are on.
    ``noinline``: accepted; calls are inlined all the same.  ``repr(specialization)``: name in profiles.
    ``launch_metadata(grid, kernel, args) -> dict``: more facts for launch hooks.
    """

    def decorate(f: Any) -> JITFunction:
        if isinstance(f, JITFunction):
            return f
        if interpreting():
            from .interpreted import InterpretedFunction

            return InterpretedFunction(f, **options)
        expect_launches()
        return JITFunction(f, **options)

    return decorate if fn is None else decorate(fn)


def must_use_result(x: Any = None, is_error: bool = True) -> Any:
    """Decorator: dropping the result of a call of this function is an error (``is_error``) or a warning.

    The mark is ``_must_use_result`` on the function; ``x`` may be the function or a message for the user.
    """

    def mark(fn: Any) -> Any:
        fn._must_use_result = True if x is None or callable(x) else x
        fn._must_use_result_is_error = is_error
        return fn

    return mark(x) if callable(x) else mark
