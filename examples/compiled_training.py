"""A training step under torch.compile without a C++ compiler or a GPU.      anytile run examples/compiled_training.py

A small transformer with attention, embedding and cross entropy, and the step of AdamW, are compiled: Inductor writes Triton kernels for
the CPU, and anytile makes machine code of them. With dynamic=True the first batch compiles for batches of every shape. Most of the
minute that it takes the first time is Inductor's; then its cache has the kernels. Needs torch and numpy.
"""

import sys

import anytile.torch

anytile.torch.enable()  # before torch compiles anything; prints what it did

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

VOCABULARY, WIDTH, HEADS = 211, 48, 3
SHAPES = [(4, 32), (4, 32), (3, 17), (5, 33), (2, 7), (4, 64)]  # (sequences, tokens) of the batches


class Model(nn.Module):
    """One block of a transformer; forward gives the mean loss of predicting each next token."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(64, WIDTH)
        self.before_attention, self.before_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        sequences, length = ids.shape
        x = self.tokens(ids) + self.places(torch.arange(length))
        q, k, v = self.qkv(self.before_attention(x)).view(sequences, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(sequences, length, WIDTH))
        x = x + self.mlp(self.before_mlp(x))
        return F.cross_entropy(self.head(x)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def train(compiled: bool, compiled_optimizer: bool) -> list[float]:
    """The loss of each step, two rounds over SHAPES."""
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss_of = torch.compile(model, dynamic=True) if compiled else model
    step = torch.compile(optimizer.step) if compiled_optimizer else optimizer.step
    batches, losses = torch.Generator().manual_seed(1), []
    for shape in SHAPES * 2:
        loss = loss_of(torch.randint(0, VOCABULARY, shape, generator=batches))
        loss.backward()
        step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    eager, compiled = train(False, False), train(True, "--quick" not in sys.argv)  # --quick: leave the optimizer to eager mode
    np.testing.assert_allclose(compiled, eager, rtol=1e-5)
    assert not np.isnan(eager).any()
    print(f"compiled training: {len(eager)} losses agree with eager's (numpy, rtol 1e-5): {eager[0]:.4f} … {eager[-1]:.4f}")
