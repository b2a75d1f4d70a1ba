"""How arguments specialise, in the forms in which releases of Triton tell it.

One fact is behind all of them, the *key* that `anytile.runtime.arguments` gives an argument: its type, and whether it is the
integer 1 or a multiple of 16.  torch asks for it to build kernels' signatures when it analyses user-defined kernels.

================  ============================================================================================
Triton            form
================  ============================================================================================
3.0, 3.1          methods of `JITFunction`: ``_key_of``, ``_type_of``, ``_get_config``
3.2               ``_key_of``, ``_type_of``; ``BaseBackend.get_attrs_descriptor``
3.3               ``create_specialize_impl()`` → ``impl(arg, specialize_extra, …)``
3.4, 3.5          ``create_specialize_impl(specialize_extra)`` → ``impl(arg, …)``
3.6 on            ``native_specialize_impl(backend, arg, is_const, specialize_value, align)``
================  ============================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..runtime.arguments import pointee_name, unwrap
from .attrs import AttrsDescriptor0, AttrsDescriptor2

__all__ = [
    "compute_spec_key",
    "create_specialize_impl_3",
    "create_specialize_impl_4",
    "get_arg_specialization",
    "get_attrs_descriptor",
    "get_config",
    "get_int_specialization",
    "get_tensor_specialization",
    "key_of",
    "mangle_type_0",
    "mangle_type_3",
    "native_specialize_impl",
    "parse_attr",
    "type_of",
]

# What an attribute string may promise, as a back end reads it: "D" is a multiple of 16.
_DIVISIBLE = "D"


def _specialised(arg: Any, extra: Callable[[Any, str], Any], is_const: bool, specialize_value: bool) -> tuple[Any, Any]:
    """(type, attributes) of an argument; ``extra(arg, "int" or "tensor")`` tells the attributes.

    Types are those of signatures; "constexpr" for what is compiled in, with its value as attributes.  TypeError for what no kernel
    takes.
    """
    if isinstance(arg, tuple):
        parts = [_specialised(x, extra, False, True) for x in arg]
        make = type(arg) if hasattr(arg, "_fields") else lambda *xs: xs
        return make(*(t for t, _ in parts)), make(*(a for _, a in parts))
    key = unwrap(arg).key
    if key == 1 and specialize_value:
        return "constexpr", 1
    if key is None:
        return "constexpr", None
    if isinstance(key, tuple):
        return "constexpr", getattr(arg, "cache_key", arg)
    if key == 1:
        return "i32", None
    type_ = key.removesuffix("!").removesuffix(":16")
    if type_.startswith("*"):
        return ("*k" + type_[1:] if is_const else type_), (extra(arg, "tensor") if specialize_value else None)
    is_int = type_[0] in "iu" and type_ not in ("i1", "u1")
    return type_, (extra(arg, "int") if is_int and specialize_value else None)


# ---- Triton 3.0 to 3.2 ----


def key_of(arg: Any) -> Any:
    """``JITFunction._key_of``: a tensor's dtype, the type name of a number, None for None."""
    return arg.dtype if hasattr(arg, "dtype") else None if arg is None else _plain_type(arg)


def type_of(key: Any, is_const: bool = False) -> str:
    """``JITFunction._type_of``: what `key_of` told, as a signature has it; a null pointer is ``*i8``."""
    if key is None:
        return "*i8"
    return key if isinstance(key, str) else ("*k" if is_const else "*") + pointee_name(key)


def get_config(self: Any, *args: Any) -> AttrsDescriptor0:
    """``JITFunction._get_config``: the attributes of a launch with these arguments."""
    pairs = [(p, x) for p, x in zip(self.params, args) if not p.do_not_specialize]
    return AttrsDescriptor0(
        tuple(p.num for p, x in pairs if AttrsDescriptor2.is_divisible_by_16(x)),
        tuple(p.num for p, x in pairs if AttrsDescriptor2.is_equal_to_1(x)),
    )


def get_attrs_descriptor(self: Any, params: Iterable[Any], args: Iterable[Any]) -> AttrsDescriptor2:
    """``BaseBackend.get_attrs_descriptor`` of 3.2."""
    return AttrsDescriptor2(params, args)


def compute_spec_key(self: Any, arg: Any, align: bool) -> str:
    """``BaseBackend.compute_spec_key`` of 3.2."""
    return AttrsDescriptor2.get_property_key(arg, align)


def mangle_type_0(arg: Any, is_const: bool = False) -> str:
    """The type of an argument as a signature names it; "none" for None."""
    return "none" if arg is None else type_of(key_of(arg), is_const)


def _plain_type(arg: Any) -> str:
    key = unwrap(arg).key
    if key == 1:
        return "i32"
    if not isinstance(key, str):
        raise TypeError(f"{type(arg).__name__} {arg!r} is no argument that a signature of Triton 3.2 or older has a type for")
    return {"u1": "i1"}.get(key.removesuffix(":16"), key.removesuffix(":16"))


# ---- Triton 3.3 on ----


def get_arg_specialization(arg: Any, ty: str, **kwargs: Any) -> str:
    """``BaseBackend.get_arg_specialization`` of 3.3 to 3.5: attributes of an argument of kind "int" or "tensor"."""
    return get_int_specialization(arg, **kwargs) if ty == "int" else get_tensor_specialization(arg, **kwargs) if ty == "tensor" else ""


def get_int_specialization(arg: int, **kwargs: Any) -> str:
    """``BaseBackend.get_int_specialization`` of 3.6."""
    return _DIVISIBLE if kwargs.get("align") and arg % 16 == 0 else ""


def get_tensor_specialization(arg: Any, **kwargs: Any) -> str:
    """``BaseBackend.get_tensor_specialization`` of 3.6."""
    return _DIVISIBLE if kwargs.get("align") and arg.data_ptr() % 16 == 0 else ""


def parse_attr(desc: str) -> list[list[Any]]:
    """``BaseBackend.parse_attr``: what a string of attributes promises, as `ASTSource` takes it."""
    return [["tt.divisibility", 16]] if _DIVISIBLE in desc else []


def create_specialize_impl_3() -> Callable[..., tuple[Any, Any]]:
    """3.3: ``impl(arg, specialize_extra, is_const, specialize_value, align)`` → (type, attributes)."""

    def specialize_impl(
        arg: Any, specialize_extra: Callable[..., Any], is_const: bool = False, specialize_value: bool = True, align: bool = True
    ) -> tuple[Any, Any]:
        return _specialised(arg, lambda x, kind: specialize_extra(x, kind, align=align), is_const, specialize_value)

    return specialize_impl


def create_specialize_impl_4(specialize_extra: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """3.4 and 3.5: ``impl(arg, is_const, specialize_value, align)`` → (type, attributes)."""

    def specialize_impl(arg: Any, is_const: bool = False, specialize_value: bool = True, align: bool = True) -> tuple[Any, Any]:
        return _specialised(arg, lambda x, kind: specialize_extra(x, kind, align=align), is_const, specialize_value)

    return specialize_impl


def native_specialize_impl(backend: Any, arg: Any, is_const: bool, specialize_value: bool, align: bool) -> tuple[Any, Any]:
    """3.6 on: (type, attributes) of an argument; ``backend`` is the class that tells attributes."""

    def extra(x: Any, kind: str) -> Any:
        return (backend.get_int_specialization if kind == "int" else backend.get_tensor_specialization)(x, align=align)

    return _specialised(arg, extra, is_const, specialize_value)


def mangle_type_3(arg: Any, specialize: bool = False) -> Any:
    """The type of an argument as a signature names it; "constexpr" for None and, where ``specialize``, for 1."""
    return _specialised(arg, lambda x, kind: None, False, specialize)[0]
