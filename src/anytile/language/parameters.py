"""The parameters of a function that is compiled, and the names of element types in signatures."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["TYPE_NAMES", "KernelParam", "normalize_type"]

#: Spellings of element types (annotations, ``dtype`` names, signatures) → the name used in signatures.
TYPE_NAMES: dict[str, str] = {
    "bool": "i1",
    "int1": "i1",
    "uint1": "u1",
    "int8": "i8",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "int": "i32",
    "uint8": "u8",
    "uint16": "u16",
    "uint32": "u32",
    "uint64": "u64",
    "float16": "fp16",
    "half": "fp16",
    "bfloat16": "bf16",
    "float32": "fp32",
    "float": "fp32",
    "float64": "fp64",
    "double": "fp64",
    "float8e4nv": "fp8e4nv",
    "float8_e4m3fn": "fp8e4nv",
    "float8e5": "fp8e5",
    "float8_e5m2": "fp8e5",
    "float8e4b8": "fp8e4b8",
    "float8_e4m3fnuz": "fp8e4b8",
    "float8e5b16": "fp8e5b16",
    "float8_e5m2fnuz": "fp8e5b16",
    "float8e4b15": "fp8e4b15",
    "void": "void",
}
_CANONICAL = frozenset(TYPE_NAMES.values())


def normalize_type(annotation: Any) -> str:
    """The signature name of an element type given as text, dtype, Python type: ``tl.int32`` → ``"i32"``.

    Pointers keep their star: ``"*fp32"``, and ``"*k"`` before a pointee that is never stored to.  What is no
    element type comes back as its own text.
    """
    if isinstance(annotation, str):
        text = annotation.strip().strip("'\"")
        for prefix in ("tl.", "triton.language.", "language."):
            text = text.removeprefix(prefix)
        if text.startswith("const "):
            return "*k" + normalize_type(text[6:].rstrip("*"))
        if text.endswith("*"):
            return "*" + normalize_type(text[:-1])
        if text.startswith("*k"):
            return "*k" + normalize_type(text[2:])
        if text.startswith("*"):
            return "*" + normalize_type(text[1:])
        return TYPE_NAMES.get(text, text)
    if isinstance(annotation, type):
        return normalize_type(annotation.__name__)
    return normalize_type(getattr(annotation, "name", None) or str(annotation))


class KernelParam:
    """One parameter of a kernel: its place, annotation, default and how its arguments specialise."""

    def __init__(
        self, num: int, parameter: inspect.Parameter, do_not_specialize: bool = False, do_not_specialize_on_alignment: bool = False
    ):
        self.num = num
        self._param = parameter
        self.name = parameter.name
        self.default = parameter.default
        self.has_default = parameter.default is not inspect.Parameter.empty
        self.is_variadic = parameter.kind is inspect.Parameter.VAR_POSITIONAL
        self.do_not_specialize = do_not_specialize
        self.do_not_specialize_on_alignment = do_not_specialize_on_alignment
        given = parameter.annotation
        if given is inspect.Parameter.empty or given is None:
            self.annotation = ""
        else:
            self.annotation = given if isinstance(given, str) else getattr(given, "__name__", None) or str(given)
        self.is_constexpr = "constexpr" in self.annotation
        self.is_const = not self.is_constexpr and "const" in self.annotation
        #: Signature name that the annotation prescribes (``"i64"``), or "" where the argument decides.
        self.annotation_type = "" if self.is_constexpr or self.is_const else self._prescribed(given)

    def _prescribed(self, given: Any) -> str:
        if self.annotation == "":
            return ""
        name = normalize_type(given)
        return name if name in _CANONICAL and name != "void" else ""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_param": self._param.replace(annotation=inspect.Parameter.empty)}  # which may be any object

    def __repr__(self) -> str:
        return f"<parameter {self.num} {self._param}>"
