"""Changes of form behind an unchanged name, which break as surely as a name that is gone.

A release of torch is written for some form; `torch_forms` reads off its sources which.  A Triton has a form; its `Definitions` tell.  Each
rule of `RULES` pairs the two.  They are the forms that are known to have broken something, not a proof that no other form will.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from .sources import Sources

__all__ = ["RULES", "FormRule", "TorchForms", "TritonForms", "torch_forms"]


@dataclass(frozen=True)
class TritonForms:
    """``attrs``: `AttrsDescriptor` is "none", a "dataclass" or another "class"; ``make_ir``: parameters of `ASTSource.make_ir`.

    ``constexprs``: `ASTSource` takes constants under that name, with signatures by parameter name; ``hooks_on_class``: launch hooks are
    attributes of `CompiledKernel`; ``cluster_dims``: a kernel's metadata has them; ``native_specialisation``: arguments specialise by
    `native_specialize_impl` alone; ``hash_lock``: kernels hold a lock that cannot be pickled; ``constants_by_value``: any argument may be
    given to `ASTSource` as a constant, and later arguments keep their place.
    """

    attrs: str
    make_ir: int
    constexprs: bool
    hooks_on_class: bool
    cluster_dims: bool
    native_specialisation: bool
    hash_lock: bool
    constants_by_value: bool


@dataclass(frozen=True)
class TorchForms:
    """What this torch does, one field for each form that it relies on; see `_READ`."""

    reads_fields_of_attrs: bool
    numbers_signatures: bool
    hooks_of_class_only: bool
    needs_cluster_dims: bool
    analyses_kernels: bool
    passes_target_to_make_ir: bool
    knows_native_specialisation: bool
    knows_attribute_dicts: bool
    renews_hash_lock: bool
    sends_kernels: bool
    launches_itself: bool
    analyses_with_constants: bool


_HINTS = "torch/_inductor/runtime/hints.py"
_HEURISTICS = "torch/_inductor/runtime/triton_heuristics.py"
_WRAP = "torch/_higher_order_ops/triton_kernel_wrap.py"
# field → (file, what must be in it, what must not)
_READ: dict[str, tuple[str, str, str | None]] = {
    "reads_fields_of_attrs": (_HINTS, r"fields\(AttrsDescriptor\)", None),
    "numbers_signatures": ("torch/_inductor/codegen/triton_utils.py", r"\n\s+i: signature_of\(", None),
    "hooks_of_class_only": (_HEURISTICS, r"\.launch_enter_hook", r"knobs\.runtime\.launch_enter_hook"),
    "needs_cluster_dims": (_HEURISTICS, r"\*binary\.metadata\.cluster_dims", r"hasattr\(binary\.metadata, \"cluster_dims\"\)"),
    "analyses_kernels": (_WRAP, r"def generate_ttir", None),
    "passes_target_to_make_ir": (_WRAP, r"make_ir\(\s*target, options", None),
    "knows_native_specialisation": (_WRAP, r"native_specialize_impl", None),
    "knows_attribute_dicts": ("torch/_inductor/utils.py", r"V4_DICT", None),
    "renews_hash_lock": (_HEURISTICS, r"_hash_lock", None),
    "sends_kernels": (_HEURISTICS, r"def prepare_for_pickle|self\.fn\.fn = None", None),
    "launches_itself": ("torch/_inductor/config.py", r"use_static_(?:cuda|triton)_launcher", None),
    "analyses_with_constants": (_WRAP, r"in ordered_args\.items\(\) if not (?:isinstance\(arg, Tensor\)|is_tensor_like_arg)", None),
}


def torch_forms(torch: Sources) -> TorchForms:
    """The forms that the sources of a torch rely on."""

    def relies(file: str, pattern: str, unless: str | None) -> bool:
        text = torch.text(file)
        return bool(re.search(pattern, text)) and not (unless and re.search(unless, text))

    return TorchForms(**{field: relies(*row) for field, row in _READ.items()})


class FormRule(NamedTuple):
    """``stage``: what fails: "import", "compile" or "analysis" (of user-defined kernels: slower, still right)."""

    name: str
    stage: str
    breaks: Callable[[TorchForms, TritonForms], bool]
    message: str


RULES = (
    FormRule(
        "AttrsDescriptor is no dataclass",
        "import",
        lambda torch, triton: torch.reads_fields_of_attrs and triton.attrs == "class",
        "this torch reads the fields of AttrsDescriptor as of a dataclass: TypeError: must be called with a dataclass type or instance",
    ),
    FormRule(
        "AttrsDescriptor is gone",
        "compile",
        lambda torch, triton: torch.reads_fields_of_attrs and triton.attrs == "none",
        "this torch falls back to a tuple of its own, which ASTSource does not take",
    ),
    FormRule(
        "signatures by name",
        "compile",
        lambda torch, triton: torch.numbers_signatures and triton.constexprs,
        "this torch numbers the entries of signatures: TypeError: Signature keys must be string",
    ),
    FormRule(
        "launch hooks moved",
        "compile",
        lambda torch, triton: torch.hooks_of_class_only and not triton.hooks_on_class,
        "this torch asks CompiledKernel for launch_enter_hook, which is in triton.knobs.runtime: AttributeError before the first launch",
    ),
    FormRule(
        "cluster_dims is gone",
        "compile",
        lambda torch, triton: torch.needs_cluster_dims and not triton.cluster_dims,
        "this torch asks a kernel's metadata for cluster_dims: AttributeError before the first launch (where torch does not launch itself)",
    ),
    FormRule(
        "make_ir takes the target first",
        "analysis",
        lambda torch, triton: torch.analyses_kernels and triton.make_ir == 5 and not torch.passes_target_to_make_ir,
        "user-defined kernels cannot be analysed: every tensor argument counts as written",
    ),
    FormRule(
        "arguments specialise natively",
        "analysis",
        lambda torch, triton: (
            torch.analyses_kernels
            and triton.native_specialisation
            and torch.knows_attribute_dicts
            and not torch.knows_native_specialisation
        ),
        "user-defined kernels cannot be analysed: every tensor argument counts as written",
    ),
    FormRule(
        "constants are types",
        "analysis",
        lambda torch, triton: torch.analyses_kernels and torch.analyses_with_constants and not triton.constants_by_value,
        "user-defined kernels with numbers among their arguments cannot be analysed: every tensor argument counts as written",
    ),
    FormRule(
        "kernels hold a lock",
        "compile",
        lambda torch, triton: triton.hash_lock and torch.sends_kernels and not torch.renews_hash_lock,
        "kernels compiled in worker processes cannot be sent back: a lock cannot be pickled",
    ),
)
