from __future__ import annotations

import numpy as np
import pytest

from anytile.ir import TABLE, Block, Builder, tile
from anytile.targets import formats
from anytile.targets.reference.executor import Program, execute


@pytest.fixture(autouse=True)
def _no_warnings():
    with np.errstate(all="ignore"):
        yield


@pytest.fixture
def row():
    """``row(name, (array, elem), …, blocks=, types=, **attrs)``: the results of one operation, checked against its types.

    Float arrays for the narrow formats are given as float values and encoded.  Lists of any length will do for
    elementwise rows: they are padded to a power of two and the results cut back.
    """

    def call(name, *operands, blocks=(), types=None, **attrs):
        arrays, kinds, length = [], [], None
        for operand in operands:
            if operand is None:
                arrays.append(None)
                kinds.append(None)
                continue
            x, elem = operand
            x = np.asarray(x)
            if TABLE[name].elementwise and x.ndim == 1:
                length, full = len(x), 1 << (len(x) - 1).bit_length()
                x = np.concatenate([x, np.repeat(x[-1:], full - length)])
            if elem.is_float and x.dtype.kind == "f":
                x = formats.encode(x, elem)
            arrays.append(x.astype(formats.storage(elem), copy=False))
            kinds.append(tile(x.shape, elem))
        absent = [None] * (TABLE[name].n_fixed - len(operands))
        arrays, kinds = arrays + absent, kinds + absent
        block = Block(tuple(k for k in kinds if k is not None))
        values = iter(block.args)
        op = Builder(block).make(name, [None if k is None else next(values) for k in kinds], attrs, tuple(blocks), types)
        out = execute(Program((1, 2, 3), (4, 5, 6)), op, arrays)
        assert len(out) == len(op.results)
        for y, result in zip(out, op.results):
            assert isinstance(y, np.ndarray), type(y)
            assert y.shape == result.type.shape, name
            assert y.dtype == formats.storage(result.type.elem), name
        if length is not None:
            out = tuple(y[:length] for y in out)
        return out[0] if len(out) == 1 else out

    return call
