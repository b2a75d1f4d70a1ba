"""The model zoo: small models and functions that torch.compile is measured and checked with.

A member is a function `make(size)` under its name in `ZOO`; it returns a `Case` on torch's default device.  ``size`` is "small" (tests: milliseconds, tiny
shapes, odd extents) or "bench" (what a CPU of two cores does in some milliseconds).  Members are deterministic: weights
and inputs come from fixed seeds.  Those that need transformers, or a torch that can do what they use, raise `Unavailable` with the
reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

F = nn.functional

__all__ = ["ZOO", "Case", "Unavailable"]


class Unavailable(Exception):
    """This environment cannot run the member; the text says what is missing."""


@dataclass
class Case:
    """``function(*inputs)`` is compiled and compared with itself run eagerly.

    ``assemble(compile)``: the function with only its inner part through ``compile``, for members that are a loop around it.

    ``parameters``: tensors whose gradients are compared too, together with those of the inputs that require one; empty for
    members without a backward pass.  ``more``: further inputs, of other shapes, for the same compiled function (``dynamic``
    shapes).  ``tolerance``: largest error allowed, relative to the largest element of what is compared.
    """

    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    parameters: list[torch.Tensor] = field(default_factory=list)
    more: list[tuple[Any, ...]] = field(default_factory=list)
    dynamic: bool | None = None
    options: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 2e-5
    assemble: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None


ZOO: dict[str, Callable[[str], Case]] = {}


def _member(make: Callable[[str], Case]) -> Callable[[str], Case]:
    def seeded(size: str) -> Case:
        torch.manual_seed(0)
        return make(size)

    ZOO[make.__name__] = seeded
    return seeded


def _of_module(module: nn.Module, *inputs: Any, **more: Any) -> Case:
    return Case(module, inputs, [p for p in module.parameters() if p.requires_grad], **more)


def _pick(size: str, small: Any, bench: Any) -> Any:
    return small if size == "small" else bench


# ---- networks ----


@_member
def mlp(size: str) -> Case:
    batch, width, hidden = _pick(size, (5, 24, 48), (256, 512, 1024))
    layers = nn.Sequential(
        nn.Linear(width, hidden), nn.GELU(), nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 10)
    )
    return _of_module(layers, torch.randn(batch, width))


class ResNetBlock(nn.Module):
    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 2 * channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(2 * channels)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * channels)
        self.shortcut = nn.Sequential(nn.Conv2d(channels, 2 * channels, 1, stride, bias=False), nn.BatchNorm2d(2 * channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


@_member
def resnet_block(size: str) -> Case:
    batch, channels, extent = _pick(size, (2, 4, 9), (8, 32, 56))
    # Batch normalisation in training mode subtracts large sums from each other.
    return _of_module(ResNetBlock(channels, 2), torch.randn(batch, channels, extent, extent), tolerance=2e-4)


@_member
def convnet(size: str) -> Case:
    batch, width, extent = _pick(size, (2, 4, 16), (16, 16, 64))
    net = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.GroupNorm(4, 2 * width),
        nn.Hardswish(),
        nn.AvgPool2d(2),
        nn.Conv2d(2 * width, 2 * width, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, 10),
        nn.LogSoftmax(-1),
    )
    return _of_module(net, torch.randn(batch, 3, extent, extent), tolerance=1e-4)


class EncoderLayer(nn.Module):
    """A pre-norm encoder layer written out, so that attention's softmax is compiled too."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        scores = torch.softmax(q @ k.transpose(-1, -2) * (width // self.heads) ** -0.5, -1)
        x = x + self.out((scores @ v).transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


@_member
def transformer_encoder(size: str) -> Case:
    batch, length, width, heads, layers = _pick(size, (2, 7, 16, 2, 1), (4, 128, 256, 8, 2))
    return _of_module(nn.Sequential(*(EncoderLayer(width, heads) for _ in range(layers))), torch.randn(batch, length, width))


# ---- language models, built from their configurations ----


def language_model(family: str, size: str) -> nn.Module:
    """A Qwen model of random weights; `Unavailable` without transformers, or with one that does not have the family."""
    try:
        import transformers
    except ImportError as e:
        raise Unavailable(f"transformers cannot be imported: {e}") from None
    config_class = getattr(transformers, f"{family.capitalize()}Config", None)
    if config_class is None:
        raise Unavailable(f"transformers {transformers.__version__} has no {family}")
    width, layers = _pick(size, (32, 1), (128, 2))
    heads = {"head_dim": width // 4} if family == "qwen3" else {}
    config = config_class(
        vocab_size=_pick(size, 64, 1024),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
        tie_word_embeddings=True,
        **heads,
    )
    return transformers.AutoModelForCausalLM.from_config(config)


def _tokens(model: nn.Module, batch: int, length: int) -> torch.Tensor:
    return torch.randint(2, model.config.vocab_size, (batch, length))


def _next_token_loss(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    def loss(ids: torch.Tensor) -> torch.Tensor:
        logits = model(ids, use_cache=False).logits
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())

    return loss


def _language_member(family: str, size: str) -> Case:
    model = language_model(family, size)
    batch, length = _pick(size, (2, 9), (4, 128))
    return Case(_next_token_loss(model), (_tokens(model, batch, length),), list(model.parameters()), tolerance=1e-4)


@_member
def qwen2(size: str) -> Case:
    return _language_member("qwen2", size)


@_member
def qwen3(size: str) -> Case:
    return _language_member("qwen3", size)


@_member
def qwen2_generate(size: str) -> Case:
    """Greedy generation: the model is compiled once for all lengths, the loop around it is Python's."""
    model = language_model("qwen2", size).eval()
    new = _pick(size, 6, 16)

    def assemble(compile: Callable[..., Any]) -> Callable[..., Any]:
        forward = compile(lambda ids: model(ids, use_cache=False).logits[:, -1])

        def generate(ids: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                for _ in range(new):
                    ids = torch.cat([ids, forward(ids).argmax(-1, keepdim=True)], 1)
            return ids

        return generate

    ids = _tokens(model, 1, _pick(size, 9, 32))
    return Case(assemble(lambda f: f), (ids,), dynamic=True, assemble=assemble)


class LoRA(nn.Module):
    """A frozen linear layer with a trained low-rank update beside."""

    def __init__(self, base: nn.Linear, rank: int):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, base.in_features) * base.in_features**-0.5)
        self.b = nn.Parameter(torch.randn(base.out_features, rank) * 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + F.linear(F.linear(x, self.a), self.b) * 2.0


@_member
def lora_step(size: str) -> Case:
    """Loss, gradients, and one step of AdamW, all compiled; returns the loss and the new weights."""
    model = language_model("qwen2", size).requires_grad_(False)
    for layer in list(model.modules()):
        for name, child in list(layer.named_children()):
            if name in ("q_proj", "v_proj"):
                setattr(layer, name, LoRA(child, 4))
    trained = [p for p in model.parameters() if p.requires_grad]
    loss_of = _next_token_loss(model)
    batch, length = _pick(size, (2, 9), (4, 128))

    def step(ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        loss = loss_of(ids)
        gradients = torch.autograd.grad(loss, trained)
        new = []
        for p, g in zip(trained, gradients):  # the first step of AdamW: its moments are functions of the gradient
            m, v = 0.1 * g, 0.001 * g * g
            new.append(p * (1 - 1e-4) - 1e-3 * (m / 0.1) / ((v / 0.001).sqrt() + 1e-3))
        return (loss.detach(), *(x.detach() for x in new))

    # The whole step is compiled where Dynamo traces `autograd.grad`; where it does not, loss and optimizer are two graphs.
    return Case(step, (_tokens(model, batch, length),), tolerance=1e-4)


# ---- shapes of computation ----


@_member
def reductions(size: str) -> Case:
    rows, columns = _pick(size, (7, 33), (1024, 1000))

    def reduce(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        variance, mean = torch.var_mean(x, -1)
        return (
            x.sum(0),
            x.mean(),
            variance + mean,
            x.logsumexp(1),
            torch.softmax(x, 0),
            x.norm(dim=1),
            x.amax(0) - x.amin(0),
            x.cumsum(1) * 1e-3,
            (x.detach() * 1e-2 + 1).prod(1),  # its derivative is a split scan, which torch cannot join with reductions on CUDA
        )

    return Case(reduce, (torch.randn(rows, columns, requires_grad=True),), tolerance=1e-4)


@_member
def indices(size: str) -> Case:
    """Results that are places and truth values."""
    rows, columns = _pick(size, (7, 33), (512, 1000))

    def find(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return x.argmax(1), x.argmin(0), (x > 1).any(1), (x > -3).all(0), x.sort(1).values, x.topk(3, 1).indices, (x > 0).sum(1)

    return Case(find, (torch.randn(rows, columns),))


@_member
def scatter_gather(size: str) -> Case:
    rows, width, count = _pick(size, (11, 5, 17), (2048, 128, 4096))

    def mix(table: torch.Tensor, values: torch.Tensor, where: torch.Tensor) -> tuple[torch.Tensor, ...]:
        picked = table[where] * 2 + values
        added = torch.zeros_like(table).index_add(0, where, torch.sin(picked))
        spread = where[:, None].expand(-1, table.shape[1])
        summed = torch.zeros_like(table).scatter_add(0, spread, values.exp())
        return added + summed, torch.gather(table, 0, spread).relu(), F.embedding(where, table).mean(1)

    where = torch.randint(0, rows, (count,))
    table, values = torch.randn(rows, width, requires_grad=True), torch.randn(count, width, requires_grad=True)
    return Case(mix, (table, values, where), tolerance=1e-4)


@_member
def elementwise(size: str) -> Case:
    """Kinds of numbers and of broadcasting.  Inductor keeps in float32 what eager rounds to bfloat16 in between."""
    rows, columns = _pick(size, (6, 19), (1024, 1024))

    def mix(x: torch.Tensor, y: torch.Tensor, i: torch.Tensor) -> tuple[torch.Tensor, ...]:
        z = torch.tanh(x) * y[:, :1] + torch.where(i > 3, x, y)
        return z, (z.bfloat16() * 3).float(), (i * 7 // 5 + i % 3).to(torch.int32), torch.erf(x) + torch.log1p(y.abs()), x.half().sigmoid()

    x, y = torch.randn(rows, columns, requires_grad=True), torch.randn(rows, columns, requires_grad=True)
    return Case(mix, (x, y, torch.randint(-9, 9, (rows, columns))), tolerance=1e-2)


@_member
def layouts(size: str) -> Case:
    """Transposed, sliced, concatenated and padded operands."""
    batch, rows, columns = _pick(size, (2, 6, 10), (8, 256, 320))

    def mix(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        t = x.transpose(1, 2) + y
        return torch.cat([t[:, ::2], t[:, 1::2].flip(1)], 1), F.pad(t, (1, 2, 0, 1)).square(), torch.stack([t.relu(), t.roll(1, 2)]).sum(0)

    return Case(mix, (torch.randn(batch, rows, columns, requires_grad=True), torch.randn(batch, columns, rows, requires_grad=True)))


@_member
def dynamic_shapes(size: str) -> Case:
    widths = _pick(size, (9, 16, 31, 2), (300, 512, 777, 1024))

    def normalise(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
        return torch.softmax(y @ w.t(), -1) @ w + F.silu(x)

    def at(rows: int) -> tuple[torch.Tensor, ...]:
        return torch.randn(rows, 24, requires_grad=True), torch.randn(rows + 3, 24, requires_grad=True)

    return Case(normalise, at(widths[0]), more=[at(n) for n in widths[1:]], dynamic=True)


@_member
def bfloat16_mlp(size: str) -> Case:
    case = mlp(size)
    module = case.function.bfloat16()
    return _of_module(module, case.inputs[0].bfloat16(), tolerance=0.05)


# ---- kernels of the user's ----


def _triton() -> Any:
    try:
        import triton
    except ImportError as e:
        raise Unavailable(f"triton cannot be imported: {e}") from None
    return triton


@_member
def user_kernel(size: str) -> Case:
    """A @triton.jit kernel launched inside the compiled function, between operations of torch's."""
    from zoo_kernels import scaled_add_kernel

    triton = _triton()

    def f(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(x)
        n = x.numel()
        scaled_add_kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x.sin(), y, out, n, 2.5, BLOCK=256)
        return out.relu() + 1

    n = _pick(size, 1000, 1 << 20)
    return Case(f, (torch.randn(n), torch.randn(n)))


@_member
def triton_op(size: str) -> Case:
    """The same behind torch.library.triton_op, with a gradient formula."""
    from zoo_kernels import scaled_add_op

    if scaled_add_op is None:
        raise Unavailable(f"torch {torch.__version__} has no torch.library.triton_op")
    n = _pick(size, 1000, 1 << 20)
    return Case(lambda x, y: scaled_add_op(x.cos(), y, 2.5) * y, (torch.randn(n, requires_grad=True), torch.randn(n, requires_grad=True)))


@_member
def autotuned_kernel(size: str) -> Case:
    """A kernel under @triton.autotune inside the compiled function."""
    from zoo_kernels import row_softmax_kernel

    _triton()

    def f(x: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(x)
        row_softmax_kernel[(x.shape[0],)](x, out, x.shape[1], x.stride(0), BLOCK=1024)
        return out * 2

    rows, columns = _pick(size, (5, 100), (1024, 1000))
    return Case(f, (torch.randn(rows, columns),))


@_member
def flex_attention(size: str) -> Case:
    """FlexAttention with a causal mask and a bias of the score."""
    try:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    except ImportError:
        raise Unavailable(f"torch {torch.__version__} has no flex_attention") from None
    batch, heads, length, width = _pick(size, (1, 2, 128, 16), (2, 8, 512, 64))
    mask = create_block_mask(lambda b, h, q, k: q >= k, None, None, length, length, device=torch.get_default_device())

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return flex_attention(q, k, v, score_mod=lambda score, b, h, i, j: score + (i - j) * 0.01, block_mask=mask)

    return Case(attend, tuple(torch.randn(batch, heads, length, width) for _ in range(3)), tolerance=1e-4)


@_member
def max_autotune_matmul(size: str) -> Case:
    """Inductor's own Triton template for a matrix product, with an epilogue."""
    m, k, n = _pick(size, (33, 48, 40), (512, 512, 512))
    options = {"max_autotune": True, "max_autotune_gemm_backends": "TRITON,ATEN"}
    return Case(lambda a, b, c: F.gelu(a @ b + c), (torch.randn(m, k), torch.randn(k, n), torch.randn(n)), options=options)
