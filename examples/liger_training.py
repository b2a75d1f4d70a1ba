"""Fine-tuning with Transformers and Liger-Kernel where there is no GPU.      anytile run examples/liger_training.py

A small Llama is trained twice from the same start: as Transformers has it, and with Liger's Triton kernels (RMS norm, rotary
embedding, SwiGLU, fused linear cross entropy), which anytile compiles for the CPU. The losses agree to float32's rounding, and so do
the tokens that are generated afterwards. Needs torch, numpy, transformers and liger-kernel (docs/libraries.md says how to install it
without upstream's Triton).
"""

import time

import numpy as np
import torch
from liger_kernel.transformers import apply_liger_kernel_to_llama
from transformers import LlamaConfig, LlamaForCausalLM

STEPS = 20


def train(data: torch.Tensor) -> tuple[list[float], list[list[int]], float]:
    """Losses of STEPS steps over the batches data[batch, sequence, token], 12 generated tokens of two prompts, seconds of the fastest step."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=1000,
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses, seconds = [], float("inf")
    for step in range(STEPS):
        start = time.perf_counter()
        batch = data[step % len(data)]
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds = min(seconds, time.perf_counter() - start)
    with torch.no_grad():
        tokens = model.eval().generate(input_ids=data[0][:2, :8], max_new_tokens=12, do_sample=False)
    return losses, tokens.tolist(), seconds


if __name__ == "__main__":
    data = torch.randint(3, 1000, (4, 8, 64), generator=torch.Generator().manual_seed(1))
    losses, tokens, seconds = train(data)
    apply_liger_kernel_to_llama()  # changes Transformers' classes: models made from here on have Liger's kernels
    with_liger, tokens_with_liger, seconds_with_liger = train(data)
    print(f"loss {losses[0]:.4f} → {losses[-1]:.4f}; with Liger {with_liger[0]:.4f} → {with_liger[-1]:.4f}")
    print(f"a step: {seconds * 1e3:.0f} ms; with Liger {seconds_with_liger * 1e3:.0f} ms (at this size Python is what takes time)")
    np.testing.assert_allclose(with_liger, losses, rtol=1e-5)
    assert losses[-1] < losses[0] - 1, "the model learns"
    assert tokens_with_liger == tokens, "and says the same"
    print("liger: every loss agrees (numpy, rtol 1e-5), and the generated tokens are the same")
