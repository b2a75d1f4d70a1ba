"""One kernel source, three targets: what a case leaves on the reference target, every other target has to leave too.

Without a GPU the cases are compiled for one (Hopper) as far as machine code where an assembler is installed, as far as PTX where
none is; with one they run there.  `scripts/gpu_features.py` does the same in one go and writes a row for each case.

The table covers the language by what its kernels name: a new function, element type, operation, statement or libdevice name without
a case fails a test here.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache

import feature_run as features
import pytest
from feature_libdevice import MISSING
from feature_table import DTYPES, Array, load_all

import anytile.language as tl
from anytile.frontend import builtin_functions, visitor
from anytile.ir import TABLE
from anytile.language import libdevice
from anytile.runtime.jit import JITFunction
from anytile.runtime.options import Options
from anytile.targets.nvidia import assemble, driver_api
from anytile.targets.nvidia.chips import chip

CASES = load_all()
_HOPPER = 90

#: What `tl` has that no kernel can be made of: types as objects, marks, names for libraries; and what is refused.
_NOT_IN_KERNELS = {
    *("block_type", "const", "dtype", "str_to_ty", "tuple_type", "constexpr_type", "get_int_dtype", "tensor_descriptor_base"),
    *("builtin", "extern", "is_builtin", "to_tensor", "tensor_descriptor", "slice"),
    *("atomic_poll", "extern_elementwise", "CONSTEXPR_0"),
}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """The CPU target keeps measured facts of the machine: in a folder of the tests."""
    from anytile.runtime import knobs

    with knobs.cache.scope():
        knobs.cache.dir = str(tmp_path_factory.mktemp("cache"))
        yield


@pytest.mark.parametrize("name", CASES)
def test_cpu_does_what_the_reference_does(name):
    case = CASES[name]
    if case.fails:
        for target in ("reference", "cpu"):
            assert features.failure_matches(case, target), features.message_of_failure(case, target)
        return
    same_as_reference(case, "cpu")


@pytest.mark.parametrize("name", CASES)
def test_gpu_does_what_the_reference_does(name):
    case = CASES[name]
    if not driver_api.available():
        if assemble.assemblers(chip(_HOPPER)):
            features.compiled(case, features.target("cuda", _HOPPER))
        else:
            module, options = features.traced(case, features.target("cuda", _HOPPER))
            as_ptx(module, options)
    elif case.arch > features.target("cuda").arch:
        pytest.skip(f"needs compute capability {case.arch / 10}")
    elif case.fails:
        assert features.failure_matches(case, "cuda"), features.message_of_failure(case, "cuda")
    else:
        same_as_reference(case, "cuda")


def as_ptx(module, options: Options) -> None:
    from anytile.targets.nvidia.codegen import lower
    from anytile.targets.nvidia.target import make_ptx

    assert ".entry" in make_ptx(lower(module, options, chip(_HOPPER))[0], chip(_HOPPER))


def same_as_reference(case, target: str) -> None:
    want, got = features.run(case, "reference"), features.run(case, target)
    assert got.lines == want.lines
    for name, array in want.arrays.items():
        apart = features.difference(case, name, got.arrays[name], array)
        assert apart <= case.tolerance, f"{name} by {apart:.2g}: {got.arrays[name].ravel()[:8]} for {array.ravel()[:8]}"


# --- the table is complete --------------------------------------------------------------------------------------------------


@cache
def trees() -> tuple[ast.AST, ...]:
    """The kernels' syntax trees, with those of the functions beside them."""
    found = {}
    for case in CASES.values():
        found[case.kernel.__qualname__] = case.kernel
        for name, value in vars(inspect.getmodule(case.kernel)).items():
            if isinstance(value, JITFunction):
                found[name] = value.fn
            elif inspect.isclass(value) and value.__module__ == case.kernel.__module__ and name == "Span":
                found[name] = value
    return tuple(ast.parse(textwrap.dedent(inspect.getsource(fn))) for fn in found.values())


@cache
def attributes() -> frozenset[str]:
    """``f`` of every ``….f`` in a kernel: functions of `tl`, methods of tensors, attributes."""
    return frozenset(node.attr for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Attribute))


def test_every_function_of_the_language_has_a_case():
    functions = {n for n in tl.__all__ if callable(v := getattr(tl, n)) and not isinstance(v, tl.dtype) and not inspect.ismodule(v)}
    assert functions - attributes() - _NOT_IN_KERNELS == set()
    assert _NOT_IN_KERNELS - functions == set(), "names that are gone, or that are no functions"


def test_every_method_of_a_tensor_has_a_case():
    methods = {n for n, v in vars(tl.tensor).items() if not n.startswith("_") and (callable(v) or isinstance(v, property))}
    functions = set(tl.__all__)
    inner = {"flatten", "unflatten", "structure", "known", "handle", "literal", "type", "numel", "rank", "item"}
    inner |= {"logical_and", "logical_or", "logical_not", "not_"}  # what `and`, `or` and `not` become
    assert methods - functions - attributes() - inner == set()


def test_every_element_type_is_an_argument():
    used = {a.kind for case in CASES.values() for a in case.arguments.values() if isinstance(a, Array)}
    assert set(DTYPES) - used == set()


def test_every_statement_and_expression_has_a_case():
    nodes = {type(node) for tree in trees() for node in ast.walk(tree)}
    assert {k.__name__ for k in (*visitor.STATEMENTS, *visitor.EXPRESSIONS)} - {k.__name__ for k in nodes} == set()
    names = {node.id for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert {f.__name__ for f in builtin_functions.HANDLERS} - names == set()


def test_every_libdevice_name_has_a_case():
    applied = {f.__name__ for case in CASES.values() for f in case.constants.get("FNS", ())}
    assert set(libdevice.__all__) - applied == MISSING


def test_every_operation_is_made_by_a_case():
    made: set[str] = set()
    for case in CASES.values():
        for backend in ("cpu", "cuda"):
            module, _ = features.traced(case, features.target(backend, _HOPPER))
            made.update(op.name for op in module.walk())
    assert set(TABLE) - made == set()
