"""Block pointers, which 3.9 removed, beside names and forms that came between 3.4 and 3.9 (see test_levels.py)."""

import numpy as np
import triton
import triton.language as tl


@triton.jit
def transposed_sums(x_ptr, out_ptr, rows, cols, BLOCK: tl.constexpr):
    """out[c] = sum over r of x[r, c], by block pointers: forms of 3.0 to 3.8; squeeze and unsqueeze are of 3.7."""
    block = tl.make_block_ptr(x_ptr, (rows, cols), (cols, 1), (0, 0), (BLOCK, BLOCK), (1, 0))
    sums = tl.zeros((BLOCK,), tl.float32)
    for _ in range(0, rows, BLOCK):
        sums += tl.sum(tl.load(block, None, None, (0, 1), "zero"), axis=0)  # positional, as up to 3.8
        block = tl.advance(block, (BLOCK, 0))
    out = tl.make_block_ptr(out_ptr, shape=(cols,), strides=(1,), offsets=(0,), block_shape=(BLOCK,), order=(0,))
    tl.store(out, tl.squeeze(tl.unsqueeze(sums, 0), 0), boundary_check=(0,))


@triton.jit
def times(tile, *factors):
    """Variable arguments (3.8) and the filter of a comprehension (3.9)."""
    chosen = [f for f in factors if f is not None]
    for i in tl.static_range(len(chosen)):
        tile *= chosen[i]
    return tile


@triton.jit
def scaled(x_ptr, out_ptr, rows, cols, a, b, c, BLOCK: tl.constexpr):
    """Descriptors made on the device (3.4) and a chained comparison (3.9)."""
    x = tl.make_tensor_descriptor(x_ptr, [rows, cols], [cols, 1], [BLOCK, BLOCK])
    out = tl.make_tensor_descriptor(out_ptr, shape=[rows, cols], strides=[cols, 1], block_shape=[BLOCK, BLOCK])
    for r in tl.range(0, rows, BLOCK):
        tile = times(x.load([r, 0]), a, b, c)
        if 0 <= r < rows:
            out.store([r, 0], tile)


@triton.jit
def counted(counter_ptr, out_ptr):
    """Atomic loads and stores (3.9), expect_zero (3.8), and what the release is asked for (3.5)."""
    tl.atomic_add(counter_ptr, 1, sem="relaxed")
    seen = tl.atomic_load(counter_ptr, sem="acquire")
    tl.atomic_store(out_ptr + tl.program_id(0), tl.expect_zero(seen, seen < 0))
    if tl.target_info.is_cuda():
        tl.atomic_store(out_ptr, -1)


def main() -> None:
    names = ("squeeze", "make_tensor_descriptor", "atomic_load")
    print(triton.__version__, ",".join(str(hasattr(tl, name)) for name in names))
    x = np.arange(40 * 10, dtype=np.float32).reshape(40, 10) % 17
    sums = np.zeros(10, np.float32)
    transposed_sums[(1,)](x, sums, 40, 10, BLOCK=16)
    print("right" if (sums == x.sum(axis=0)).all() else sums)
    x = np.arange(40 * 16, dtype=np.float32).reshape(40, 16) % 17
    out = np.zeros_like(x)
    scaled[(1,)](x, out, 40, 16, 2.0, None, 1.5, BLOCK=16)
    print("right" if (out == x * 3).all() else out)
    counter, out = np.zeros(1, np.int32), np.zeros(4, np.int32)
    counted[(4,)](counter, out)
    print("right" if counter[0] == 4 and (out >= 1).all() and out.max() == 4 else out)


if __name__ == "__main__":
    main()
