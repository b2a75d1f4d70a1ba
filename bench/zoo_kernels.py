"""The zoo's own Triton kernels, in a module of their own: torch reads their source, and `import triton` comes first."""

import torch
import triton
import triton.language as tl

__all__ = ["row_softmax_kernel", "scaled_add_kernel", "scaled_add_op"]


@triton.jit
def scaled_add_kernel(x, y, out, n, scale, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    tl.store(out + i, tl.load(x + i, mask=inside) + scale * tl.load(y + i, mask=inside), mask=inside)


@triton.autotune(configs=[triton.Config({}, num_warps=w) for w in (2, 4)], key=["columns"])
@triton.jit
def row_softmax_kernel(x, out, columns, stride, BLOCK: tl.constexpr):
    row, i = tl.program_id(0), tl.arange(0, BLOCK)
    v = tl.load(x + row * stride + i, mask=i < columns, other=-float("inf"))
    e = tl.exp(v - tl.max(v, 0))
    tl.store(out + row * stride + i, e / tl.sum(e, 0), mask=i < columns)


def _make_op():  # type: ignore[no-untyped-def]
    """``scale·y + x`` as an operator of torch's with a gradient; None where torch.library cannot make one of a kernel."""
    if not hasattr(torch.library, "triton_op"):
        return None
    from torch.library import triton_op, wrap_triton

    @triton_op("anytile_zoo::scaled_add", mutates_args={})
    def scaled_add(x: torch.Tensor, y: torch.Tensor, scale: float) -> torch.Tensor:
        out = torch.empty_like(x)
        n = x.numel()
        wrap_triton(scaled_add_kernel)[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, y, out, n, scale, BLOCK=256)
        return out

    def remember(ctx, inputs, output):  # type: ignore[no-untyped-def]
        ctx.scale = inputs[2]

    scaled_add.register_autograd(lambda ctx, g: (g, g * ctx.scale, None), setup_context=remember)
    return scaled_add


scaled_add_op = _make_op()
