"""`reinterpret` and `TensorWrapper`: memory under another element type, the five 8-bit floats among them."""

from __future__ import annotations

import pytest

import anytile.language as tl
from anytile.runtime.jit import jit
from anytile.runtime.wrappers import MockTensor, TensorWrapper, reinterpret

torch = pytest.importorskip("torch")


@jit
def convert(x, y, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(y + i, tl.load(x + i).to(y.dtype.element_ty))


# Largest finite value, and what 0.3 and 2⁻¹⁰ round to.
FLOAT8 = {
    tl.float8e4nv: (448.0, 0.3125, 0.0),
    tl.float8e5: (57344.0, 0.3125, 2**-10),
    tl.float8e4b8: (240.0, 0.3125, 2**-10),
    tl.float8e5b16: (57344.0, 0.3125, 2**-10),
    tl.float8e4b15: (1.75, 0.3125, 2**-10),
}


@pytest.mark.parametrize("target", ["cpu", "reference"])
@pytest.mark.parametrize("dtype", FLOAT8, ids=str)
def test_eight_bit_floats_round_and_saturate(dtype, target, monkeypatch):
    monkeypatch.setenv("ANYTILE_TARGET", target)
    largest, third, small = FLOAT8[dtype]
    x = torch.tensor([0.0, 1.0, -1.5, largest, 1e9, -1e9, float("inf"), -float("inf"), float("nan"), 0.3, 2**-10, 0, 0, 0, 0, 0])
    memory, back = torch.zeros(16, dtype=torch.int8), torch.zeros(16)
    convert[(1,)](x, reinterpret(memory, dtype), BLOCK=16)
    convert[(1,)](reinterpret(memory, dtype), back, BLOCK=16)
    assert back[:8].tolist() == [0.0, 1.0, -1.5, largest, largest, -largest, largest, -largest]
    assert torch.isnan(back[8])
    assert back[9:11].tolist() == [third, small]


def test_a_wrapper_is_its_tensor_under_another_type():
    base = torch.arange(32, dtype=torch.int8).reshape(4, 8)
    wrapper = reinterpret(base, tl.float8e5)
    assert isinstance(wrapper, TensorWrapper)
    assert (wrapper.shape, wrapper.stride(), wrapper.stride(0), wrapper.numel(), wrapper.element_size()) == ((4, 8), (8, 1), 8, 32, 1)
    assert wrapper.data_ptr() == base.data_ptr()
    assert reinterpret(wrapper, torch.int8) is base
    copy = wrapper.clone()
    base.zero_()
    wrapper.copy_(copy)
    assert base[3, 7] == 31
    assert (copy.cpu().dtype, copy.to("cpu").dtype, copy.new_empty((2, 2)).shape) == (tl.float8e5, tl.float8e5, (2, 2))
    with pytest.raises(TypeError, match="int is no tensor, so it cannot be reinterpreted as fp8e5"):
        reinterpret(3, tl.float8e5)


def test_a_mock_has_a_type_and_no_memory():
    mock = MockTensor.wrap_dtype(torch.float16)
    assert (mock.dtype, mock.shape, mock.stride(), mock.data_ptr()) == (torch.float16, [1], (1,), 0)
    assert MockTensor(torch.int8, (2, 3, 4)).stride() == (12, 4, 1)
    assert MockTensor.wrap_dtype(3) == 3
    assert convert.warmup(mock, torch.float32, BLOCK=16, grid=(1,)).metadata.name == "convert"
