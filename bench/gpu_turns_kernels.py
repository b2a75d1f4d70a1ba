"""The kernels of gpu_turns.py that gpu_compile_kernels.py has not: the autotuned ones, and the multiprocessors' clock."""

import triton
import triton.language as tl
from gpu_compile_kernels import attention, matmul

MATMULS = [
    (128, 256, 64, 3, 8),
    (128, 256, 64, 4, 8),
    (128, 128, 64, 4, 4),
    (128, 128, 64, 3, 8),
    (256, 128, 64, 3, 8),
    (64, 256, 64, 4, 4),
    (128, 128, 32, 4, 4),
]
ATTENTIONS = [(128, 64, 3, 4), (128, 64, 3, 8), (128, 128, 3, 8), (128, 128, 2, 8), (64, 64, 3, 4)]

tuned_matmul = triton.autotune(
    [triton.Config({"BM": m, "BN": n, "BK": k, "GROUP": 8}, num_stages=stages, num_warps=warps) for m, n, k, stages, warps in MATMULS],
    key=["m", "n", "k"],
)(matmul)
tuned_attention = triton.autotune(
    [triton.Config({"BM": m, "BN": n}, num_stages=stages, num_warps=warps) for m, n, stages, warps in ATTENTIONS],
    key=["n", "D", "CAUSAL"],
)(attention)


@triton.jit
def clocks(out):
    """For the multiprocessor that a program runs on: its cycles so far, and the time in ns."""
    where = tl.inline_asm_elementwise("mov.u32 $0, %smid;", "=r,r", [tl.program_id(0)], dtype=tl.int32, is_pure=False, pack=1)
    cycles = tl.inline_asm_elementwise("mov.u64 $0, %clock64;", "=l,r", [where], dtype=tl.int64, is_pure=False, pack=1)
    now = tl.inline_asm_elementwise("mov.u64 $0, %globaltimer;", "=l,r", [where], dtype=tl.int64, is_pure=False, pack=1)
    tl.store(out + where * 2, cycles)
    tl.store(out + where * 2 + 1, now)
