"""``extern_elementwise``: a function of a device library, by its symbol, on every element.

No target here links device libraries.  The symbols of CUDA's libdevice (``__nv_sinf``) are answered by the functions of
the same name in `libdevice`, which exist on every target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UnsupportedError
from .builtin import builtin
from .casting import cast_to
from .constexpr import unwrap
from .promotion import broadcast_pair, operands, to_tensor
from .tensor import tensor
from .types import dtype

__all__ = ["extern_elementwise"]


@builtin
def extern_elementwise(
    lib_name: Any, lib_path: Any, args: Sequence[Any], arg_type_symbol_dict: Mapping[tuple[dtype, ...], tuple[str, dtype]], is_pure: Any
) -> tensor:
    """The symbol that ``arg_type_symbol_dict`` has for the element types of ``args``, applied to their elements.

    Where the types of several arguments are not in the dictionary as they are, the arguments are promoted to a common one.
    The library and ``is_pure`` are not used.  ValueError where no symbol fits, UnsupportedError for symbols of other libraries.
    """
    xs = [to_tensor(x) for x in args]
    table = {tuple(map(unwrap, kinds)): entry for kinds, entry in unwrap(arg_type_symbol_dict).items()}
    for x in xs[1:]:
        xs[0], _ = broadcast_pair(xs[0], x)
    xs = [broadcast_pair(x, xs[0])[0] for x in xs]
    if tuple(x.dtype for x in xs) not in table and len(xs) > 1:
        common = xs[0]
        for x in xs[1:]:
            common, _ = operands(common, x)
        xs = [cast_to(x, common.dtype) for x in xs]
    kinds = tuple(x.dtype for x in xs)
    if kinds not in table:
        raise ValueError(f"no symbol of {unwrap(lib_name) or 'the library'} takes ({', '.join(map(str, kinds))}); it has {list(table)}")
    symbol, result = (unwrap(part) for part in table[kinds])
    return cast_to(_function(symbol)(*xs), result)


def _function(symbol: str) -> Any:
    from . import libdevice

    name = symbol.removeprefix("__nv_")
    for candidate in (name, name.removesuffix("f")):
        if symbol != name and candidate in libdevice.__all__:
            return getattr(libdevice, candidate)
    raise UnsupportedError(f"the external symbol {symbol}", remedy="use tl.math or tl.extra.libdevice")
