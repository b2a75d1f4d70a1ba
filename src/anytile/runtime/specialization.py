"""`Specialization`: what one kind of launch compiles, and the text form in which another process compiles it ahead (`JITFunction.preload`)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import AnytileError
from ..language.parameters import KernelParam
from ..language.source import JITCallable, find_function

if TYPE_CHECKING:
    from .jit import JITFunction
    from .options import Options

__all__ = ["Specialization"]


class Specialization(NamedTuple):
    """What one kind of launch compiles: the arguments of `ASTSource`.

    ``readonly``: names of arguments whose memory may not be written.
    """

    signature: dict[str, Any]
    constexprs: dict[tuple[int, ...], Any]
    attrs: dict[tuple[int, ...], list[list[Any]]]
    readonly: set[str]

    def describe(self, p: KernelParam, key: Any, value: Any, path: tuple[int, ...]) -> Any:
        """The signature's entry for an argument of this key; notes its constants and attributes."""
        if key is None or key == 1 or isinstance(key, tuple) and key and key[0] == "constexpr":
            value = 1 if key == 1 else value
            self.constexprs[path] = value.value if type(value).__name__ == "constexpr" else value
            return "constexpr"
        if isinstance(key, tuple):
            named = bool(key) and isinstance(key[0], type)
            parts = [self.describe(p, k, v, (*path, i)) for i, (k, v) in enumerate(zip(key[1:] if named else key, value))]
            return key[0](*parts) if named else tuple(parts)
        if key.endswith("!"):
            key = key[:-1]
            self.readonly.add(p.name)
        if key.endswith(":16"):
            key = key[:-3]
            self.attrs[path] = [["tt.divisibility", 16]]
        if key.startswith("*"):
            if p.is_const:
                key = "*k" + key[1:]
        elif p.annotation_type and len(path) == 1:
            key = p.annotation_type
        return key

    def serialize(self, fn: JITFunction, key: Any, options: Options) -> str:
        """JSON from which `JITFunction.preload` can compile."""
        given = {k: v for k, v in options.as_dict().items() if k != "target"}
        return json.dumps(
            {
                "name": fn._fn_name,
                "target": vars(options.as_dict()["target"]),
                "signature": _encode(self.signature),
                "constexprs": _encode(list(self.constexprs.items())),
                "attrs": _encode(list(self.attrs.items())),
                "key": _encode(key),
                "options": _encode(given),
            }
        )

    @staticmethod
    def deserialize(data: dict[str, Any]) -> tuple[Specialization, Any, dict[str, Any]]:
        d = {k: _decode(v) for k, v in data.items() if k not in ("name", "target")}
        return Specialization(d["signature"], dict(d["constexprs"]), dict(d["attrs"]), set()), d["key"], d["options"]


def _encode(value: Any) -> Any:
    """JSON for the values found in keys and constants; what has none becomes its text, marked."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, tuple):
        return {"tuple": [_encode(v) for v in value]}
    if isinstance(value, list):
        return [_encode(v) for v in value]
    if isinstance(value, dict):
        return {"dict": [[_encode(k), _encode(v)] for k, v in value.items()]}
    if isinstance(value, JITCallable):
        return {"function": [value.module, value.__qualname__, value.cache_key]}
    if isinstance(value, type):
        return {"class": [value.__module__, value.__qualname__]}
    if type(value).__name__ == "dtype" and hasattr(value, "primitive_bitwidth"):
        return {"dtype": value.name}
    return {"opaque": repr(value)}


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(v) for v in value]
    if not isinstance(value, dict):
        return value
    (kind, content), *_ = value.items()
    if kind == "tuple":
        return tuple(_decode(v) for v in content)
    if kind == "dict":
        return {_decode(k): _decode(v) for k, v in content}
    if kind in ("function", "class"):
        import importlib

        living = find_function(*content) if kind == "function" else None
        if living is not None:
            return living
        found: Any = importlib.import_module(content[0])
        for part in content[1].split("."):
            if part == "<locals>":
                raise AnytileError(f"specialization data name {content[1]} of {content[0]}, which does not exist in this process")
            found = getattr(found, part)
        return found
    if kind == "dtype":
        from ..language.core import dtype

        return dtype(content)
    raise AnytileError(f"specialization data hold a constant that cannot be read back: {content}")
