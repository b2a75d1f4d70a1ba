"""`AttrsDescriptor`: what Triton up to 3.2 says of a kernel's arguments besides their types.

Two forms exist, and programs tell them apart.  Up to 3.1 it is a dataclass of two sets of argument numbers
(`AttrsDescriptor0`); torch 2.4 and 2.5 read its fields by `dataclasses.fields`.  In 3.2 it is a table from properties to
argument numbers that back ends may extend (`AttrsDescriptor2`); torch 2.6 builds it by `from_dict`.  From 3.3 on there is none:
attributes are a dictionary, which is also what anytile compiles from, and the mere presence of this name would switch torch to
its older protocols.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["AttrsDescriptor0", "AttrsDescriptor2"]


@dataclass
class AttrsDescriptor0:
    """Numbers of the arguments that are multiples of 16, and of those that are the integer 1."""

    divisible_by_16: Any = None
    equal_to_1: Any = None

    def __post_init__(self) -> None:
        self.divisible_by_16 = set() if self.divisible_by_16 is None else self.divisible_by_16
        self.equal_to_1 = set() if self.equal_to_1 is None else self.equal_to_1

    def to_dict(self) -> dict[str, list[int]]:
        return {"divisible_by_16": list(self.divisible_by_16), "equal_to_1": list(self.equal_to_1)}

    @staticmethod
    def from_dict(data: Mapping[str, Iterable[int]]) -> AttrsDescriptor0:
        return AttrsDescriptor0(set(data.get("divisible_by_16", ())), set(data.get("equal_to_1", ())))

    def hash(self) -> str:
        return _hash(sorted(self.divisible_by_16), sorted(self.equal_to_1))


class AttrsDescriptor2:
    """``arg_properties``: property → argument numbers; ``property_values``: property → the value that it promises.

    ``constant_properties``: those that make an argument a constant.  ``divisibility_16`` and ``equal_to_1`` are the numbers once
    more, by the names under which programs look for them.
    """

    def __init__(self, params: Iterable[Any] | None = None, values: Iterable[Any] | None = None) -> None:
        self.arg_properties: dict[str, Any] = {}
        self.property_values: dict[str, int] = {"tt.divisibility": 16, "tt.equal_to": 1}
        self.constant_properties: set[str] = {"tt.equal_to"}
        if params is not None and values is not None:
            pairs = list(zip(params, values, strict=True))
            self.arg_properties = {
                "tt.divisibility": [
                    p.num
                    for p, x in pairs
                    if self.is_divisible_by_16(x) and not p.do_not_specialize and not p.do_not_specialize_on_alignment
                ],
                "tt.equal_to": [p.num for p, x in pairs if self.is_equal_to_1(x) and not p.do_not_specialize],
            }
        self._name_properties()

    def _name_properties(self) -> None:
        for name, numbers in self.arg_properties.items():
            setattr(self, f"{name.removeprefix('tt.')}_{self.property_values[name]}", numbers)

    def get_fn_attrs(self) -> dict[int, list[tuple[str, int]]]:
        """Argument number → its properties with their values."""
        attrs: dict[int, list[tuple[str, int]]] = {}
        for name, numbers in self.arg_properties.items():
            for number in numbers or ():
                attrs.setdefault(number, []).append((name, self.property_values[name]))
        return attrs

    def get_constants(self) -> dict[int, int]:
        """Argument number → the constant that it is."""
        return {i: self.property_values[name] for name in self.constant_properties for i in self.arg_properties.get(name) or ()}

    def filter_out_constants(self) -> AttrsDescriptor2:
        """The same without what makes arguments constants."""
        out = type(self)()
        for name in self.constant_properties:
            out.property_values.pop(name, None)
        out.constant_properties = set()
        out.arg_properties = {name: numbers for name, numbers in self.arg_properties.items() if name not in self.constant_properties}
        out._name_properties()
        return out

    def hash(self) -> str:
        return _hash(sorted(self.arg_properties.items()), sorted(self.property_values.items()), sorted(self.constant_properties))

    def to_dict(self) -> dict[str, Any]:
        return {"arg_properties": self.arg_properties, "cls": type(self).__name__}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> AttrsDescriptor2:
        """The descriptor that `to_dict` told of; ValueError where ``cls`` names no descriptor."""
        out = _made(data["cls"])
        out.arg_properties.update(data["arg_properties"])
        out._name_properties()
        return out

    @classmethod
    def from_hints(cls, hints: Mapping[int, int]) -> AttrsDescriptor2:
        """From argument number → 16 or 1."""
        out = cls()
        for name, value in out.property_values.items():
            out.arg_properties[name] = [i for i, hint in hints.items() if hint == value]
        out._name_properties()
        return out

    @staticmethod
    def is_divisible_by_16(x: Any) -> bool:
        """Whether the address or integer is a multiple of 16; None, a null pointer, is."""
        if hasattr(x, "data_ptr"):
            return x.data_ptr() % 16 == 0
        return x is None or isinstance(x, int) and x % 16 == 0

    @staticmethod
    def is_equal_to_1(x: Any) -> bool:
        return isinstance(x, int) and not isinstance(x, bool) and x == 1

    @staticmethod
    def get_property_key(value: Any, align: bool) -> str:
        """What an argument's properties are in the key of a specialisation: "D", "1" or "N"."""
        if align and AttrsDescriptor2.is_divisible_by_16(value):
            return "D"
        return "1" if AttrsDescriptor2.is_equal_to_1(value) else "N"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AttrsDescriptor2) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # it can be changed

    def __repr__(self) -> str:
        # torch writes this text into the kernels that it generates.
        return f"AttrsDescriptor.from_dict({self.to_dict()!r})"


# The name and place that the class has in its release: `from_dict`, generated sources and pickles carry them.
for _cls, _module in ((AttrsDescriptor0, "triton.compiler.compiler"), (AttrsDescriptor2, "triton.backends.compiler")):
    _cls.__name__ = _cls.__qualname__ = "AttrsDescriptor"
    _cls.__module__ = _module


def _made(name: str) -> AttrsDescriptor2:
    """An empty descriptor of the class of that name: this one, or what a back end derived from it."""
    classes: list[type[AttrsDescriptor2]] = [AttrsDescriptor2]
    for cls in classes:  # grows meanwhile
        if cls.__name__ == name:
            return cls()
        classes += cls.__subclasses__()
    raise ValueError(f"there is no AttrsDescriptor called {name}; there are {', '.join(c.__name__ for c in classes)}")


def _hash(*parts: Any) -> str:
    return hashlib.sha256(str(parts).encode()).hexdigest()
