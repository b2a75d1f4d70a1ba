"""4-bit floats and power-of-two scales on the host."""

from __future__ import annotations

import pytest

from anytile.tools.mxfp import MXFP4Tensor, MXScaleTensor, fp8e8m0_to_float32

torch = pytest.importorskip("torch")


def test_every_encoding_comes_back():
    x = MXFP4Tensor(size=(16,))
    x.data = torch.arange(16, dtype=torch.uint8)
    values = x.to(torch.float32)
    assert values[:8].tolist() == [0, 0.5, 1, 1.5, 2, 3, 4, 6] and torch.equal(values[8:], -values[:8])
    assert torch.equal(MXFP4Tensor(values).data, x.data)


def test_rounding_to_nearest_even():
    given = torch.tensor([0.25, 0.26, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 5.01, 7.0, float("inf")])
    assert MXFP4Tensor(-given).to(torch.float32).tolist() == [0, -0.5, -1, -1, -2, -2, -4, -4, -6, -6, -6]
    with pytest.raises(ValueError, match="NaN"):
        MXFP4Tensor(torch.tensor([float("nan")]))


@pytest.mark.parametrize(("shape", "dim"), [((6,), 0), ((7, 5), 1), ((7, 5), 0), ((4, 4, 4), 1)])
def test_packing(shape, dim):
    x = MXFP4Tensor(size=shape).random()
    packed = x.to_packed_tensor(dim)
    assert packed.shape[dim] == (shape[dim] + 1) // 2
    assert torch.equal(packed.select(dim, 0) & 15, x.data.select(dim, 0)) and torch.equal(packed.select(dim, 0) >> 4, x.data.select(dim, 1))
    assert torch.equal(x.unpack_packed_tensor(packed, dim, shape), x.data)
    with pytest.raises(AssertionError):
        x.to_packed_tensor(len(shape))


def test_scales():
    codes = torch.arange(256, dtype=torch.uint8)
    values = fp8e8m0_to_float32(codes)
    assert values[127] == 1 and values[0] == 2.0**-127 and values[254] == 2.0**127 and values[255].isnan()
    assert torch.equal(MXScaleTensor(values).data, codes)
    assert torch.equal(MXScaleTensor(values[1:254] * 1.9).data, codes[1:254])
    assert (MXScaleTensor(torch.tensor([0.0, -1.0, float("inf")])).data == 255).all()
    limited = MXScaleTensor(size=(1000,)).random(low=0.5, high=4.0).to(torch.float64)
    assert limited.min() == 0.5 and limited.max() == 4.0
