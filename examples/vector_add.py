"""The smallest kernel: add two vectors.      anytile run examples/vector_add.py"""

import numpy as np
import triton
import triton.language as tl


@triton.jit
def add_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    # Each program adds one block; the mask keeps the last one inside the arrays.
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x + y, mask=mask)


def add(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    n = x.size
    add_kernel[(triton.cdiv(n, 1024),)](x, y, out, n, BLOCK=1024)
    return out


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 98_432), dtype=np.float32)
    np.testing.assert_array_equal(add(a, b), a + b)
    print("vector add: equal to NumPy")
