"""Launchers: Python generated per kernel, so that a launch does as little as possible.

For every `JITFunction` one function of this shape is generated and executed once (here for parameters
``x`` (anything), ``n`` (anything) and ``B`` (constexpr)); ``_`` stands for a prefix that no parameter has::

    def add(_grid, /, x=_missing, n=_missing, B=64, *_extra, **_options):
        # 1. per argument: the slot's value and the key of its kind (`arguments` says which keys there are)
        if type(x) is Tensor and x.is_cpu and (_v0 := x.data_ptr()) and (_k0 := (plain if _v0 & 15 else aligned).get(x.dtype)):
            pass
        elif …:
        # 2. the kernel: that of the last launch if its key is equal (comparing is cheaper than hashing),
        #    else from the dictionary
        _kernel = last[1] if key == last[0] else cache[key]
        # 3. the grid as three integers
        # 4. the kernel's own packer and entry
        _kernel.go(_gx, _gy, _gz, _v0, _v1)
        return _kernel

Python's own call does the binding of positions, keywords and defaults; a parameter left at ``_missing`` ends
up in the slow way like any odd value, which raises the error.  Whatever is unusual (first launch,
other kinds of arguments, hooks, an odd grid) leaves through a call to a slower function.

``go`` is generated per compiled kernel: it knows which parameters remain at run time.

Calls that recur do not come here: `warm` learns them, and native code launches them.  This is what they are learnt from, and the way of
all others.

A launcher is for one *place*: memory of the CPU, or of one GPU (then ``x.get_device() == place`` stands where ``x.is_cpu`` does
above).  Arguments that lie elsewhere end the launch by `Elsewhere`, and `JITFunction.launch_elsewhere` begins it again there.
"""

from __future__ import annotations

import marshal
import os
import re
import struct
import sys
import textwrap
from collections.abc import Callable
from functools import lru_cache, partial
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

from . import knobs
from .arguments import HOST, constexpr_key, pointee_name, unwrap
from .errors import ArgumentError, ArgumentRangeError, ArgumentTypeError, GridError, LaunchError, MissingGridError
from .refusals import missing_argument, refuse_surplus, refuse_unknown, refuse_unreadable

if TYPE_CHECKING:
    from .jit import JITFunction

__all__ = [
    "Elsewhere",
    "GRID_LIMITS",
    "INTEGER_RANGES",
    "Launcher",
    "make_binder",
    "make_launcher",
    "make_packer",
    "normalize_grid",
    "slot_format",
]

#: Largest extents of a grid.  They are CUDA's, so that a program which runs here runs there; and their
#: product stays below 2⁶³, the range of a linear program index.
GRID_LIMITS = (2**31 - 1, 65535, 65535)

#: Type of an integer parameter → least and largest value.
INTEGER_RANGES = {
    **{f"i{b}": (-(2 ** (b - 1)), 2 ** (b - 1) - 1) for b in (8, 16, 32, 64)},
    **{f"u{b}": (-(2 ** (b - 1)), 2**b - 1) for b in (8, 16, 32, 64)},
}


def normalize_grid(name: str, grid: Any) -> tuple[int, int, int]:
    """A grid of one to three integers as three.  GridError says what is wrong with any other.

    An extent of zero is allowed and launches nothing; a negative one is not.
    """
    if grid is None:
        raise MissingGridError(
            f"{name} was launched without a grid (or with a function that returned none): write {name}[grid](...), with a grid such as (1,) "
            "or lambda META: (n,)"
        )
    if isinstance(grid, int) or not hasattr(grid, "__len__"):
        raise GridError(f"the grid of {name} is {grid!r}: it must be a tuple of one to three integers, such as ({grid!r},)")
    if not 1 <= len(grid) <= 3:
        raise GridError(f"the grid of {name} has {len(grid)} dimensions: it must have one to three")
    out = []
    for axis, (n, limit) in enumerate(zip(grid, GRID_LIMITS)):
        try:
            n = n.__index__()
        except AttributeError:
            value = getattr(n, "value", None)  # a constexpr
            if not isinstance(value, int):
                raise GridError(
                    f"dimension {axis} of the grid of {name} is {n!r} of type {type(n).__name__}: it must be an integer"
                ) from None
            n = value
        if not 0 <= n <= limit:
            raise GridError(f"dimension {axis} of the grid of {name} is {n}: it must lie between 0 and {limit}")
        out.append(n)
    return (out + [1, 1])[0], (out + [1, 1])[1], (out + [1, 1])[2]


@lru_cache(maxsize=2)
def _aligned_and_plain(torch: Any) -> tuple[dict[Any, str], dict[Any, str]]:
    """torch dtype → key of an aligned and of another tensor; empty while torch is not loaded (None)."""
    aligned: dict[Any, str] = {}
    plain: dict[Any, str] = {}
    for dtype in {v for v in vars(torch).values() if type(v).__name__ == "dtype"} if torch else ():
        try:
            name = pointee_name(dtype)
        except ArgumentTypeError:
            continue
        aligned[dtype], plain[dtype] = f"*{name}:16", f"*{name}"
    return aligned, plain


def _unspecialized(key: Any, keep_one: bool) -> Any:
    """``key`` without what ``do_not_specialize`` (and with ``keep_one``: …_on_alignment) switches off."""
    if isinstance(key, str):
        return key.replace(":16", "")
    if key == 1 and not keep_one:
        return "i32"
    if isinstance(key, tuple) and key and key[0] != "constexpr":
        return tuple(k if isinstance(k, type) else _unspecialized(k, keep_one) for k in key)
    return key


_MISSING = type("missing", (), {"__repr__": lambda self: "<missing>"})()
_NOTHING = (None, None)  # last launch: none yet


class Elsewhere(Exception):
    """An argument's memory is not at the launcher's place.  Never leaves the runtime."""


class Launcher(NamedTuple):
    """``launch(grid, *args, **kwargs)`` → compiled kernel; ``forget()``: the last launch's kernel, which ``launch`` tries
    first, is no longer valid."""

    launch: Callable[..., Any]
    forget: Callable[[], None]


def make_launcher(
    fn: JITFunction, cache: dict[Any, Any], device: Any = 0, place: int = HOST, current: Callable[[], int] | None = None
) -> Launcher:
    """Generates the launcher of ``fn`` for a device: the key of ``fn.device_caches``, and the place of its memory.

    ``cache`` maps keys to compiled kernels; the launcher reads it and ``fn._compile_for`` fills it.  ``current``: where there are
    several GPUs, the function that says which of them launches go to.
    """
    check, elsewhere = "", ""
    if place != HOST:
        check = "    if @current() != @place:\n        return @away(@grid, $names, @options)\n" if current else ""
        elsewhere = "    except @Elsewhere:\n        return @away(@grid, $names, @options)\n"
    body = f"{check}    try:\n$inner_body\n{elsewhere}    except @RuntimeError:\n        @unreadable($names)\n        raise"
    more = {"cache": cache, "miss": partial(fn._compile_for, device), "current": current, "away": fn.launch_elsewhere}
    made = _generate(fn, _LAUNCH.replace("$body", body), fn.__name__, more, place)
    return Launcher(made["launch"], made["forget"])


def make_binder(fn: JITFunction, place: int = HOST) -> Callable[..., Any]:
    """``bind(*args, **kwargs)`` → (key, values, arguments by name, options): a launch up to the choice of the kernel.

    It is generated at its first call, for most kernels are only launched.  Raises `Elsewhere` for memory that is not at ``place``.
    """
    made: list[Callable[..., Any]] = []

    def bind(*args: Any, **kwargs: Any) -> Any:
        if not made:
            made.append(_generate(fn, _BIND, "bind", {}, place)["bind"])
            made[0].__qualname__ = fn.__name__  # as Python's own errors name it
        return made[0](*args, **kwargs)

    return bind


# Names of the scope are written `@name`, so that no parameter can shadow them.  `$name` is filled in per kernel.
_LAUNCH = """
def @launch(@grid, /$parameters, **@options):
    global @last
    if @extra:
        @surplus(@extra)
$body
    if @fn.used_global_vals:
        @fn.check_globals()
    if @environ(@DEBUG) is not None or @debug_knob('debug') is not None:
        @options = @with_debug(@options)
    @key = ($keys @options_key(@options) if @options else ())
    @l = @last
    if @key == @l[0]:
        @kernel = @l[1]
    else:
        @kernel = @cache.get(@key) or @miss(@key, $meta, ($values), @options, False)
        if @kernel is None:
            return None
        @last = (@key, @kernel)
    if @type(@grid) is not @tuple and @callable(@grid):
        try:
            @grid = @grid($meta)
        except @KeyError as @e:
            @refuse_unknown(@e, $meta)
            raise
    if @type(@grid) is @tuple and @len(@grid) == 1 and @type(@grid[0]) is @int and 0 < @grid[0] < 2147483648:
        @gx = @grid[0]
        @gy = @gz = 1
    else:
        @gx, @gy, @gz = @grid_of(@grid)
        if not (@gx and @gy and @gz):
            return @kernel
    if @runtime.launch_enter_hook or @runtime.launch_exit_hook:
        @hooked(@kernel, (@gx, @gy, @gz), $meta, ($values))
    else:
        @kernel.go(@gx, @gy, @gz, $values)
    return @kernel

def @forget():
    global @last
    @last = @nothing
"""
_BIND = """
def @bind($first_parameters, **@options):
    if @extra:
        @surplus(@extra)
$body
    @options = @with_debug(@options)
    return ($keys @options_key(@options) if @options else ()), ($values), $meta, @options
"""


def _generate(fn: JITFunction, template: str, name: str, more: dict[str, Any], place: int) -> dict[str, Any]:
    """The functions of ``template`` for ``fn``, by their names there; the first is called ``name`` in tracebacks."""
    names = fn.arg_names
    prefix = "_"
    while any(n.startswith(prefix) for n in names):
        prefix += "_"

    def other(i: int, x: Any) -> tuple[Any, Any]:
        """Value and key of argument ``i`` by the general way."""
        p = fn.params[i]
        if x is _MISSING:
            raise missing_argument(fn, p.name)
        if torch is None and "torch" in sys.modules:
            fn.forget_launchers()  # the next launcher knows torch's tensors
        try:
            u = unwrap(x)
        except LaunchError as e:
            raise type(e)(f"argument {p.name} of kernel {fn.__name__} {e}") from None
        if u.place is not None and u.place != place:
            raise Elsewhere
        key = u.key
        if p.do_not_specialize or p.do_not_specialize_on_alignment:
            key = _unspecialized(key, keep_one=not p.do_not_specialize)
        return u.value, key

    def constant(i: int, x: Any) -> Any:
        if x is _MISSING:
            raise missing_argument(fn, fn.params[i].name)
        try:
            return constexpr_key(x)
        except ArgumentTypeError as e:
            raise ArgumentTypeError(f"argument {fn.params[i].name} of kernel {fn.__name__} {e}") from None

    def hooked(kernel: Any, grid: tuple[int, int, int], bound: dict[str, Any], values: tuple[Any, ...]) -> None:
        """The launch between the enter and exit hooks."""
        metadata = kernel.launch_metadata(grid, 0, *bound.values())
        runtime = knobs.runtime
        if runtime.launch_enter_hook:
            runtime.launch_enter_hook(metadata)
        kernel.go(*grid, *values)
        if runtime.launch_exit_hook:
            runtime.launch_exit_hook(metadata)

    torch = sys.modules.get("torch")
    aligned, plain = _aligned_and_plain(torch)
    scope: dict[str, Any] = {
        "Tensor": torch.Tensor if torch else object(),
        "Parameter": torch.nn.Parameter if torch and hasattr(torch, "nn") else object(),
        "aligned": aligned,
        "plain": plain,
        "other": other,
        "constant": constant,
        "place": place,
        "Elsewhere": Elsewhere,
        "fn": fn,
        "hooked": hooked,
        "unreadable": partial(refuse_unreadable, fn),
        "RuntimeError": RuntimeError,
        "options_key": _options_key,
        "runtime": knobs.runtime,
        "debug_knob": knobs.runtime.__dict__.get,
        "environ": getattr(os.environ, "_data", os.environ).get,  # os.environ.get itself decodes: 0.6 µs
        "DEBUG": os.environ.encodekey("TRITON_DEBUG") if hasattr(os.environ, "encodekey") else "TRITON_DEBUG",
        "with_debug": _with_debug,
        "grid_of": lambda g: normalize_grid(fn.__name__, g),
        "refuse_unknown": partial(refuse_unknown, f"the grid function of {fn.__name__}"),
        "KeyError": KeyError,
        "type": type,
        "int": int,
        "len": len,
        "tuple": tuple,
        "callable": callable,
        "missing": _MISSING,
        "surplus": partial(refuse_surplus, fn),
        "nothing": _NOTHING,
        "last": _NOTHING,
    }
    scope.update(more)
    parameters = _parameter_list(fn)
    body = "\n".join(_argument_code(i, p, place) for i, p in enumerate(fn.params))
    parts = {
        "parameters": parameters,
        "first_parameters": parameters.removeprefix(", "),
        "body": body,
        "inner_body": textwrap.indent(body or "    pass", "    "),
        "names": "{" + "".join(f"{n!r}: {n}, " for n in names) + "}",
        "keys": "".join(f"@k{i}, " for i in range(len(names))),
        "values": "".join(f"@v{i}, " for i in range(len(names))),
        "meta": "{" + "".join(f"{n!r}: {n}, " for n in names) + "**@options}",
    }
    text = re.sub(r"\$(\w+)", lambda found: parts[found[1]], template)
    functions = re.findall(r"^def @(\w+)", text, re.MULTILINE)
    text = text.replace(f"@{functions[0]}(", f"{name}(", 1)
    source = text.replace("@", prefix)
    space = {prefix + k: v for k, v in scope.items()}
    space.update({prefix + f"d{i}": p.default for i, p in enumerate(fn.params) if p.has_default})
    exec(_code(source, f"<launcher of {fn.__qualname__}>"), space)
    return {f: space[name if f == functions[0] else prefix + f] for f in functions}


def _code(source: str, name: str) -> CodeType:
    """``source`` as code of a file called ``name``; the disk cache keeps it, for Python takes 2 ms to compile a launcher."""
    from . import cache

    key = f"launcher {name}\n{source}"
    data = cache.load_kept(key)
    if data is not None:
        return marshal.loads(data)  # type: ignore[no-any-return]
    code = compile(source, name, "exec")
    cache.keep(key, marshal.dumps(code))
    return code


def _parameter_list(fn: JITFunction) -> str:
    """The parameters as source, the catch-all of surplus arguments included; defaults are taken from the scope."""
    positional: list[str] = []
    keyword: list[str] = []
    for i, p in enumerate(fn.params):
        kind = p._param.kind
        if kind in (p._param.VAR_POSITIONAL, p._param.VAR_KEYWORD):
            raise ArgumentError(
                f"kernel {fn.__name__} has the parameter {p._param}: a kernel takes a tuple instead (only device functions may take *args)"
            )
        text = f"{p.name}=@d{i}" if p.has_default else f"{p.name}=@missing"
        (keyword if kind is p._param.KEYWORD_ONLY else positional).append(text)
    return "".join(f", {t}" for t in [*positional, "*@extra", *keyword])


def _argument_code(i: int, p: Any, place: int) -> str:
    """Source that sets ``@v{i}`` (what is packed) and ``@k{i}`` (the key)."""
    x, v, k = p.name, f"@v{i}", f"@k{i}"
    if p.is_constexpr:
        return f"    {v} = {x}\n    {k} = {x} if @type({x}) is @int else @constant({i}, {x})"
    specialize = not p.do_not_specialize
    align = specialize and not p.do_not_specialize_on_alignment
    low, high = INTEGER_RANGES.get(p.annotation_type, INTEGER_RANGES["i32"])
    name = p.annotation_type if p.annotation_type in INTEGER_RANGES else "i32"
    integer = f"({name!r} if {x} & 15 else {name + ':16'!r})" if align else repr(name)
    if specialize:
        integer = f"1 if {x} == 1 else {integer}"
    table = f"(@plain if {v} & 15 else @aligned)" if align else "@plain"
    here = f"{x}.is_cpu" if place == HOST else f"{x}.get_device() == @place"
    return f"""    @t = @type({x})
    if (@t is @Tensor or @t is @Parameter) and {here} and ({v} := {x}.data_ptr()) and ({k} := {table}.get({x}.dtype)):
        pass
    elif @t is @int and {low} <= {x} <= {high}:
        {v} = {x}
        {k} = {integer}
    else:
        {v}, {k} = @other({i}, {x})"""


def _options_key(options: dict[str, Any]) -> tuple[Any, ...]:
    """Launch keywords as a hashable key that does not depend on their order."""
    return tuple((n, constexpr_key(v)) for n, v in sorted(options.items()))


def _with_debug(options: dict[str, Any]) -> dict[str, Any]:
    """The options with ``debug`` on where the knob or TRITON_DEBUG says so."""
    return {**options, "debug": True} if knobs.runtime.debug else options


def make_packer(
    name: str,
    run: Callable[..., None],
    slots: list[tuple[str, str, str]],
    count: int,
    with_stream: bool = False,
    direct: Callable[..., Callable[..., None]] | None = None,
) -> Callable[..., None]:
    """``go(gx, gy, gz, v0, v1, …)``: packs the run-time values and runs the kernel; ``with_stream``: ``go(stream, gx, …)``.

    ``slots``: per slot of the argument block (expression over ``v0`` …, type text, name for errors);
    ``count``: number of parameters.  ``direct``: what makes a quicker ``go`` for this kernel (`targets.nvidia.launch` has one).
    """
    layout = struct.Struct("<" + "".join(slot_format(t) for _, t, _ in slots))
    parameters = "".join(f", v{i}" for i in range(count))
    arguments = ", ".join(e for e, _, _ in slots)
    source = f"""
def go({"stream, " if with_stream else ""}gx, gy, gz{parameters}):
    try:
        packed = pack({arguments})
    except (error, OverflowError):
        packed = repack(({arguments}{"," if slots else ""}))
    run(packed, gx, gy, gz{", stream" if with_stream else ""})
"""

    def repack(values: tuple[Any, ...]) -> bytes:
        """Packs slot by slot: floats too large for f32 become infinities, other misfits are named."""
        out = b""
        for (_, type_name, argument), v in zip(slots, values):
            one = struct.Struct("<" + slot_format(type_name))
            try:
                out += one.pack(v)
            except OverflowError:
                out += one.pack(float("inf") if v > 0 else float("-inf"))
            except struct.error:
                if isinstance(v, int):
                    raise ArgumentRangeError(f"argument {argument} of kernel {name} is {v}, which does not fit {type_name}") from None
                raise ArgumentTypeError(
                    f"argument {argument} of kernel {name} is {v!r} of type {type(v).__name__}, where {type_name} is needed"
                ) from None
        return out

    if direct is not None:
        return direct(parameters, "".join(f"{e}, " for e, _, _ in slots), layout.format.removeprefix("<"), repack)
    space: dict[str, Any] = {"pack": layout.pack, "error": struct.error, "repack": repack, "run": run}
    exec(compile(source, f"<packer of {name}>", "exec"), space)
    return space["go"]


def slot_format(type_name: str) -> str:
    """One 8-byte slot of the argument block (`targets.base`) in the notation of `struct`."""
    if type_name.startswith("*") or type_name == "u64":
        return "Q"
    if type_name == "fp64":
        return "d"
    return "f4x" if type_name.startswith(("fp", "bf")) else "q"
