"""Arguments of the wrong kind are told by name; other missing attributes are left as they are."""

from __future__ import annotations

import pytest

import anytile.language as tl
from anytile.language.builtin import builtin
from anytile.language.tensor import tensor


@builtin
def rounded(x: tensor, to: tl.dtype, mask: tensor | None = None) -> str:
    return f"{x.dtype} {to.name} {mask.type if mask is not None else absent.type}"


absent = None  # stands for a value of the function's own that lacks an attribute


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((1.5, tl.float32), "x of tl.rounded must be a tensor, but 1.5 is a float"),
        ((tl.constexpr(7), tl.float32), "x of tl.rounded must be a tensor, but constexpr[7] is a constexpr"),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(given, said):
    with pytest.raises(TypeError) as e:
        rounded(*given)
    assert str(e.value) == said


def test_an_argument_left_out_is_not_blamed(recording):
    with recording([tl.int32]) as (x,), pytest.raises(AttributeError, match="'NoneType' object has no attribute 'type'"):
        rounded(x, tl.float32, None)
