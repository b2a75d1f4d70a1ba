"""Microscaling formats on the host: 4-bit floats (E2M1) and power-of-two scales (E8M0), held as bytes in torch tensors.

`MXFP4Tensor` and `MXScaleTensor` make operands for ``tl.dot_scaled`` and tell what they stand for:

    x = MXFP4Tensor(size=(M, K), device="cpu").random()
    x.to_packed_tensor(dim=1)           # (M, K/2) uint8: what a kernel loads, the lower index in the low nibble
    x.to(torch.float32)                 # (M, K): what it stands for

Formats as in the OCP Microscaling specification 1.0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MXFP4Tensor", "MXScaleTensor", "fp8e8m0_to_float32"]

_E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # magnitudes by their three bits; bit 3 is the sign
_SCALE_BIAS, _SCALE_NAN = 127, 255


class _Encoded:
    """``data``: the encodings, one per byte, of ``size`` or of the floating-point tensor ``data`` given."""

    data: Tensor

    def __init__(self, data: Tensor | None = None, size: Any = None, device: Any = None):
        if (data is None) == (size is None):
            raise ValueError(f"{type(self).__name__} needs either data or size")
        import torch

        if data is not None:
            assert torch.is_tensor(data), f"data must be a torch tensor, not {type(data).__name__}"
            self.device = data.device
            self.data = self._encode(data.to(torch.float32))
        else:
            self.device = torch.device("cpu" if device is None else device)
            self.size = size if isinstance(size, tuple) else tuple(size)
            self.data = torch.zeros(self.size, dtype=torch.uint8, device=self.device)

    @staticmethod
    def _encode(values: Tensor) -> Tensor:
        raise NotImplementedError


class MXFP4Tensor(_Encoded):
    """4-bit floats: ±{0, 0.5, 1, 1.5, 2, 3, 4, 6}.  Values are rounded to nearest even; larger ones, infinities too, become ±6."""

    def random(self) -> MXFP4Tensor:
        """All 16 encodings with the same probability.  Returns itself."""
        import torch

        self.data = torch.randint(0, 16, tuple(self.data.shape), dtype=torch.uint8, device=self.device)
        return self

    def to(self, dtype: Any) -> Tensor:
        """The values, of ``dtype``."""
        import torch

        table = torch.tensor([*_E2M1, *(-v for v in _E2M1)], dtype=torch.float32, device=self.device)
        return table[self.data.long()].to(dtype)

    @staticmethod
    def _encode(values: Tensor) -> Tensor:
        import torch

        if values.isnan().any():
            raise ValueError("MXFP4 has no encoding for NaN")
        magnitude = values.abs()
        code = torch.zeros_like(magnitude, dtype=torch.uint8)
        for i, (low, high) in enumerate(zip(_E2M1, _E2M1[1:])):
            middle = (low + high) / 2
            code += (magnitude > middle) if i % 2 == 0 else (magnitude >= middle)  # a tie goes to the even encoding
        return code | torch.signbit(values).to(torch.uint8) << 3

    def to_packed_tensor(self, dim: int) -> Tensor:
        """Two values per byte along ``dim``: the first in the low nibble; an odd extent is filled up with a zero."""
        import torch

        assert 0 <= dim < self.data.ndim, f"dim must lie in 0 … {self.data.ndim - 1}, not {dim}"
        size = self.data.shape[dim]
        at = torch.arange(0, size, 2, device=self.device)
        low = self.data.index_select(dim, at)
        high = torch.zeros_like(low)
        high.narrow(dim, 0, size // 2).copy_(self.data.index_select(dim, at[: size // 2] + 1))
        return low | high << 4

    def unpack_packed_tensor(self, packed_tensor: Tensor, dim: int, original_shape: Any) -> Tensor:
        """The encodings that `to_packed_tensor` packed: one per byte, of ``original_shape``."""
        import torch

        pairs = torch.stack((packed_tensor & 15, packed_tensor >> 4), dim=dim + 1)
        return pairs.flatten(dim, dim + 1).narrow(dim, 0, original_shape[dim]).contiguous()


class MXScaleTensor(_Encoded):
    """Scales 2^(data − 127), data 0 … 254; 255 is NaN.

    Values are rounded down to a power of two; NaN, infinities, zero and negative values become NaN.
    """

    def random(self, low: float | None = None, high: float | None = None) -> MXScaleTensor:
        """Every exponent from log2(``low``) to log2(``high``) with the same probability; without limits all 255.  Returns itself."""
        import torch

        first = 0 if low is None else max(0, int(math.log2(low)) + _SCALE_BIAS)
        last = _SCALE_NAN - 1 if high is None else min(_SCALE_NAN - 1, max(0, int(math.log2(high)) + _SCALE_BIAS))
        self.data = torch.randint(first, last + 1, tuple(self.data.shape), dtype=torch.uint8, device=self.device)
        return self

    def to(self, dtype: Any) -> Tensor:
        """The scales, of ``dtype``."""
        return fp8e8m0_to_float32(self.data).to(dtype)

    @staticmethod
    def _encode(values: Tensor) -> Tensor:
        import torch

        _, exponent = torch.frexp(values)  # mantissa in [0.5, 1), so 2^(exponent − 1) <= value
        code = (exponent - 1 + _SCALE_BIAS).clamp(0, _SCALE_NAN - 1)
        return torch.where((values > 0) & values.isfinite(), code, _SCALE_NAN).to(torch.uint8)


def fp8e8m0_to_float32(scale: Tensor) -> Tensor:
    """float32 of E8M0 scales, whose bytes ``scale`` holds: 2^(byte − 127), 255 as NaN."""
    import torch

    code = scale.view(torch.uint8).to(torch.int32)
    value = torch.ldexp(torch.ones_like(code, dtype=torch.float32), code - _SCALE_BIAS)
    return torch.where(code == _SCALE_NAN, torch.nan, value)
