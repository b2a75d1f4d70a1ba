"""Every pass keeps what random programs compute, on the reference executor."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from strategies import Program, assert_same, examples, programs

from anytile.ir.parser import parse_module
from anytile.ir.verifier import verify
from anytile.passes import pipeline
from anytile.passes.canonicalize import canonicalize
from anytile.passes.carried import carried
from anytile.passes.cse import cse
from anytile.passes.dce import dce
from anytile.passes.licm import licm
from anytile.passes.simplify_ranges import simplify_ranges
from anytile.passes.widen_floats import widen_floats
from anytile.targets.reference import ReferenceTarget

PASSES = (canonicalize, cse, dce, licm, carried, simplify_ranges, widen_floats)
RELAXED = dict(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def check(program: Program, *passes) -> None:
    before = {n: program.run(ReferenceTarget(), n=n, m=4) for n in (0, 3)}
    module = parse_module(str(program.module))
    for p in passes:
        p(module)
        verify(module)
    for n, want in before.items():
        assert_same(Program(module).run(ReferenceTarget(), n=n, m=4), want)


@pytest.mark.parametrize("p", PASSES, ids=lambda p: p.__name__)
@settings(max_examples=examples(15), **RELAXED)
@given(program=programs())
def test_pass_keeps_results(p, program) -> None:
    check(program, p)


@settings(max_examples=examples(40), **RELAXED)
@given(program=programs(max_steps=20))
def test_pipeline_keeps_results(program) -> None:
    check(program, *pipeline.SHARED, widen_floats, canonicalize, cse, dce)


@settings(max_examples=examples(40), **RELAXED)
@given(program=programs())
def test_pipeline_settles(program) -> None:
    """Running the sequence again finds next to nothing: three runs reach a fixed point."""
    for _ in range(3):
        pipeline.optimize(program.module)
    text = str(program.module)
    pipeline.optimize(program.module)
    assert str(program.module) == text
