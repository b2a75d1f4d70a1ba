"""A fused bias + GELU whose block size is tuned on this machine.      anytile run examples/autotuned_gelu.py"""

import math

import numpy as np
import triton
import triton.language as tl


@triton.autotune(configs=[triton.Config({"BLOCK": 1 << k}) for k in (8, 10, 12)], key=["n"])
@triton.jit
def bias_gelu_kernel(x_ptr, bias_ptr, out_ptr, n, n_cols, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    x = tl.load(x_ptr + offsets, mask=mask) + tl.load(bias_ptr + offsets % n_cols, mask=mask)
    tl.store(out_ptr + offsets, 0.5 * x * (1 + tl.erf(x * 0.7071067811865476)), mask=mask)


def bias_gelu(x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """x: float32 [rows, columns], contiguous; bias: float32 [columns]."""
    out = np.empty_like(x)
    bias_gelu_kernel[lambda meta: (triton.cdiv(x.size, meta["BLOCK"]),)](x, bias, out, x.size, x.shape[1])
    return out


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    data = rng.standard_normal((300, 1000), dtype=np.float32)
    shift = rng.standard_normal(1000, dtype=np.float32)
    shifted = data + shift
    expected = 0.5 * shifted * (1 + np.vectorize(math.erf)(shifted * math.sqrt(0.5)))
    np.testing.assert_allclose(bias_gelu(data, shift), expected, rtol=1e-5, atol=1e-5)
    print(f"bias + gelu: agrees with NumPy; fastest block: {bias_gelu_kernel.best_config.kwargs['BLOCK']}")
