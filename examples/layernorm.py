"""Layer normalisation of rows of any width, one program a row.      anytile run examples/layernorm.py"""

import numpy as np
import triton
import triton.language as tl


@triton.jit
def layernorm_kernel(x_ptr, weight_ptr, bias_ptr, out_ptr, row_stride, n_cols, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0) * row_stride
    # Rows may be wider than a block: the first pass gathers sum and sum of squares, block by block.
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    squares = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, n_cols, BLOCK):
        cols = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row + cols, mask=cols < n_cols, other=0.0)
        total += x
        squares += x * x
    mean = tl.sum(total, axis=0) / n_cols
    variance = tl.sum(squares, axis=0) / n_cols - mean * mean
    rstd = 1.0 / tl.sqrt(variance + eps)
    # The second pass reads the row again, from the cache, and writes it.
    for start in range(0, n_cols, BLOCK):
        cols = start + tl.arange(0, BLOCK)
        mask = cols < n_cols
        x = tl.load(x_ptr + row + cols, mask=mask)
        weight = tl.load(weight_ptr + cols, mask=mask)
        bias = tl.load(bias_ptr + cols, mask=mask)
        tl.store(out_ptr + row + cols, (x - mean) * rstd * weight + bias, mask=mask)


def layernorm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    """x: float32 [rows, columns], contiguous; weight, bias: float32 [columns]."""
    out = np.empty_like(x)
    rows, columns = x.shape
    layernorm_kernel[(rows,)](x, weight, bias, out, columns, columns, eps, BLOCK=512)
    return out


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    data = rng.standard_normal((257, 1151), dtype=np.float32)
    scale, shift = rng.standard_normal((2, 1151), dtype=np.float32)
    centred = data - data.mean(axis=1, keepdims=True)
    expected = centred / np.sqrt(data.var(axis=1, keepdims=True) + 1e-5) * scale + shift
    np.testing.assert_allclose(layernorm(data, scale, shift), expected, rtol=1e-4, atol=1e-4)
    print("layernorm: agrees with NumPy")
