"""CPU kernels beside torch: eager and Inductor's C++, in the same run.

    anytile run bench/cpu.py [--only softmax,matmul_f32] [--no-inductor] [--budget 1.0] [--out FILE]

One JSON line per kernel: milliseconds (median, taken in turns) of anytile, torch eager and Inductor, the ratios eager/anytile and
inductor/anytile (above 1: anytile is ahead), the largest error against float64, and cold_ms: first launch minus
a later one, with an empty cache.  Outputs are poisoned before the run that is checked.  The first line names
processor, versions, threads and date.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import tempfile
import time

os.environ["TRITON_CACHE_DIR"] = tempfile.mkdtemp(prefix="anytile-bench-")

import torch  # noqa: E402
import triton  # noqa: E402
import triton.language as tl  # noqa: E402

F = torch.nn.functional


@triton.jit
def add_kernel(x, y, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    tl.store(out + i, tl.load(x + i, mask=inside) + tl.load(y + i, mask=inside), mask=inside)


@triton.jit
def gelu_add_kernel(x, y, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    s = tl.load(x + i, mask=inside) + tl.load(y + i, mask=inside)
    tl.store(out + i, 0.5 * s * (1 + tl.erf(s * 0.7071067811865476)), mask=inside)


@triton.jit
def softmax_kernel(x, out, stride, n, BLOCK: tl.constexpr):
    row, c = tl.program_id(0), tl.arange(0, BLOCK)
    v = tl.load(x + row * stride + c, mask=c < n, other=-float("inf"))
    e = tl.exp(v - tl.max(v, 0))
    tl.store(out + row * stride + c, e / tl.sum(e, 0), mask=c < n)


@triton.jit
def rms_norm_kernel(x, w, out, stride, n, eps, BLOCK: tl.constexpr):
    row, c = tl.program_id(0), tl.arange(0, BLOCK)
    v = tl.load(x + row * stride + c, mask=c < n, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(v * v, 0) / n + eps)
    g = tl.load(w + c, mask=c < n).to(tl.float32)
    tl.store(out + row * stride + c, (v * scale * g).to(out.dtype.element_ty), mask=c < n)


@triton.jit
def layer_norm_kernel(x, w, b, out, stride, n, eps, BLOCK: tl.constexpr):
    row, c = tl.program_id(0), tl.arange(0, BLOCK)
    v = tl.load(x + row * stride + c, mask=c < n, other=0.0)
    mean = tl.sum(v, 0) / n
    d = tl.where(c < n, v - mean, 0.0)
    scale = tl.rsqrt(tl.sum(d * d, 0) / n + eps)
    y = d * scale * tl.load(w + c, mask=c < n) + tl.load(b + c, mask=c < n)
    tl.store(out + row * stride + c, y, mask=c < n)


@triton.jit
def cross_entropy_kernel(logits, labels, loss, stride, n, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    best, total = -float("inf"), 0.0
    for start in range(0, n, BLOCK):
        c = start + tl.arange(0, BLOCK)
        v = tl.load(logits + row * stride + c, mask=c < n, other=-float("inf")).to(tl.float32)
        new = tl.maximum(best, tl.max(v, 0))
        total = total * tl.exp(best - new) + tl.sum(tl.exp(v - new), 0)
        best = new
    wanted = tl.load(logits + row * stride + tl.load(labels + row)).to(tl.float32)
    tl.store(loss + row, best + tl.log(total) - wanted)


@triton.jit
def matmul_kernel(a, b, c, M, N, K, sa, sb, sc, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    pa, pb = a + m[:, None] * sa + k[None, :], b + k[:, None] * sb + n[None, :]
    acc = tl.zeros((BM, BN), tl.float32)
    for left in range(K, 0, -BK):
        x = tl.load(pa, mask=(m[:, None] < M) & (k[None, :] < left), other=0.0)
        y = tl.load(pb, mask=(k[:, None] < left) & (n[None, :] < N), other=0.0)
        acc = tl.dot(x, y, acc)
        pa += BK
        pb += BK * sb
    tl.store(c + m[:, None] * sc + n[None, :], acc.to(c.dtype.element_ty), mask=(m[:, None] < M) & (n[None, :] < N))


@triton.jit
def attention_kernel(q, k, v, out, scale, sh, sn, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    block, head = tl.program_id(0), tl.program_id(1).to(tl.int64)
    m, d = block * BM + tl.arange(0, BM), tl.arange(0, D)
    query = tl.load(q + head * sh + m[:, None] * sn + d[None, :])
    top, total = tl.full([BM], -float("inf"), tl.float32), tl.zeros([BM], tl.float32)
    acc = tl.zeros([BM, D], tl.float32)
    for start in range(0, (block + 1) * BM, BN):
        n = start + tl.arange(0, BN)
        s = tl.dot(query, tl.load(k + head * sh + n[None, :] * sn + d[:, None])) * (scale * 1.4426950408889634)
        s = tl.where(m[:, None] >= n[None, :], s, -1e30)
        new = tl.maximum(top, tl.max(s, 1))
        p, shrink = tl.exp2(s - new[:, None]), tl.exp2(top - new)
        values = tl.load(v + head * sh + n[:, None] * sn + d[None, :])
        acc = tl.dot(p.to(values.dtype), values, acc * shrink[:, None])
        total, top = total * shrink + tl.sum(p, 1), new
    tl.store(out + head * sh + m[:, None] * sn + d[None, :], (acc / total[:, None]).to(out.dtype.element_ty))


@triton.jit
def sort_kernel(x, out, N: tl.constexpr):
    i = tl.program_id(0) * N + tl.arange(0, N)
    tl.store(out + i, tl.sort(tl.load(x + i)))


@triton.jit
def cumsum_kernel(x, out, N: tl.constexpr):
    i = tl.program_id(0) * N + tl.arange(0, N)
    tl.store(out + i, tl.cumsum(tl.load(x + i), 0))


@triton.jit
def histogram_kernel(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(out + tl.load(x + i, mask=i < n, other=0), 1, mask=i < n)


@triton.jit
def empty_kernel(a, b, c, d, n, m, k, BLOCK: tl.constexpr):
    pass


def cases():
    """Name → (launch, torch's function, output, float64 reference)."""
    n = 1 << 24
    x, y, out, spare = torch.randn(n), torch.randn(n), torch.empty(n), torch.empty(n)
    grid = (triton.cdiv(n, 4096),)
    yield (
        "add",
        lambda: add_kernel[grid](x, y, out, n, BLOCK=4096),
        lambda: torch.add(x, y, out=spare),
        out,
        lambda: x.double() + y.double(),
    )
    yield (
        "gelu_add",
        lambda: gelu_add_kernel[grid](x, y, out, n, BLOCK=4096),
        lambda: F.gelu(x + y),
        out,
        lambda: F.gelu(x.double() + y.double()),
    )
    rows, cols = 4096, 4096
    s, so, spare2 = torch.randn(rows, cols), torch.empty(rows, cols), torch.empty(rows, cols)
    w, b = torch.randn(cols), torch.randn(cols)
    yield (
        "softmax",
        lambda: softmax_kernel[(rows,)](s, so, cols, cols, BLOCK=4096),
        lambda: torch.softmax(s, -1, out=spare2),
        so,
        lambda: torch.softmax(s.double(), -1),
    )
    yield (
        "layer_norm",
        lambda: layer_norm_kernel[(rows,)](s, w, b, so, cols, cols, 1e-5, BLOCK=4096),
        lambda: F.layer_norm(s, (cols,), w, b),
        so,
        lambda: F.layer_norm(s.double(), (cols,), w.double(), b.double()),
    )
    h, hw, ho = s.bfloat16(), w.bfloat16(), torch.empty(rows, cols, dtype=torch.bfloat16)
    yield (
        "rms_norm_bf16",
        lambda: rms_norm_kernel[(rows,)](h, hw, ho, cols, cols, 1e-6, BLOCK=4096),
        lambda: F.rms_norm(h, (cols,), hw, 1e-6),
        ho,
        lambda: F.rms_norm(h.double(), (cols,), hw.double(), 1e-6),
    )
    vocabulary = 32000
    lg, lab, loss = torch.randn(512, vocabulary).bfloat16(), torch.randint(0, vocabulary, (512,)), torch.empty(512)
    yield (
        "cross_entropy_bf16",
        lambda: cross_entropy_kernel[(512,)](lg, lab, loss, vocabulary, vocabulary, BLOCK=4096),
        lambda: F.cross_entropy(lg, lab, reduction="none"),
        loss,
        lambda: F.cross_entropy(lg.double(), lab, reduction="none"),
    )
    for name, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
        size = 1024
        a, bb, c = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype), torch.empty(size, size, dtype=dtype)

        def matmul(a=a, bb=bb, c=c, size=size):
            matmul_kernel[(size // 64, size // 64)](a, bb, c, size, size, size, size, size, size, BM=64, BN=64, BK=64)

        spare3 = torch.empty_like(c)
        yield (
            f"matmul_{name}",
            matmul,
            lambda a=a, bb=bb, o=spare3: torch.matmul(a, bb, out=o),
            c,
            lambda a=a, bb=bb: a.double() @ bb.double(),
        )
    heads, length, d = 8, 1024, 64
    q, k, v = (torch.randn(1, heads, length, d) for _ in range(3))
    o = torch.empty_like(q)
    yield (
        "attention_f32",
        lambda: attention_kernel[(length // 64, heads)](q, k, v, o, d**-0.5, length * d, d, D=d, BM=64, BN=64),
        lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        o,
        lambda: F.scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=True),
    )
    t, to = torch.randn(4096, 1024), torch.empty(4096, 1024)
    yield "sort", lambda: sort_kernel[(4096,)](t, to, N=1024), lambda: torch.sort(t, -1).values, to, lambda: t.double().sort(-1).values
    yield "cumsum", lambda: cumsum_kernel[(4096,)](t, to, N=1024), lambda: t.cumsum(-1), to, lambda: t.double().cumsum(-1)
    bins, indices = 4096, torch.randint(0, 4096, (n,))
    counts = torch.zeros(bins, dtype=torch.int32)
    yield (
        "atomic_histogram",
        lambda: (counts.zero_(), histogram_kernel[grid](indices, counts, n, BLOCK=4096)),
        lambda: torch.bincount(indices, minlength=bins),
        counts,
        lambda: torch.bincount(indices, minlength=bins).double(),
    )


def medians_ms(sides: list, budget: float) -> list[float]:
    """The median of each side's times, which take turns: what else happens on the machine happens to all of them."""
    times: list[list[float]] = [[] for _ in sides]
    rounds, spent = 0, 0.0
    while rounds < 5 or rounds < 60 and spent < budget * len(sides):
        for fn, mine in zip(sides, times):
            start = time.perf_counter()
            fn()
            mine.append(time.perf_counter() - start)
            spent += mine[-1] if rounds else 0.0  # not what torch.compile takes to compile
        rounds += 1
    return [sorted(mine[1:])[(len(mine) - 1) // 2] * 1e3 for mine in times]  # the first round is not counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--no-inductor", action="store_true")
    parser.add_argument("--budget", type=float, default=1.0, help="seconds for each figure")
    parser.add_argument("--out")
    args = parser.parse_args()
    only = set(filter(None, args.only.split(",")))
    lines = []

    def say(**facts):
        lines.append(json.dumps(facts))
        print(lines[-1], flush=True)

    import anytile
    from anytile.targets.cpu.machine import current
    from anytile.targets.cpu.pool import num_threads

    say(
        what="environment",
        anytile=anytile.__version__,
        torch=torch.__version__,
        python=platform.python_version(),
        machine=current().name,
        processor=_processor(),
        threads=num_threads(),
        torch_threads=torch.get_num_threads(),
        date=datetime.date.today().isoformat(),
    )
    torch.manual_seed(0)
    for name, ours, eager, out, exact in cases():
        if only and name not in only:
            continue
        start = time.perf_counter()
        ours()
        first = time.perf_counter() - start
        start = time.perf_counter()
        ours()
        later = time.perf_counter() - start
        sides = [ours, eager] + ([] if args.no_inductor else [torch.compile(eager)])
        ms = medians_ms(sides, args.budget)
        facts = {"what": name, "ms": ms[0], "eager_ms": ms[1], "cold_ms": (first - later) * 1e3, "vs_eager": ms[1] / ms[0]}
        if not args.no_inductor:
            facts |= {"inductor_ms": ms[2], "vs_inductor": ms[2] / ms[0]}
        out.fill_(float("nan") if out.is_floating_point() else -1)
        ours()
        want = exact()
        facts["error"] = ((out.double() - want).abs().max() / want.abs().max()).item()
        say(**facts)
    if not only or "launch" in only:
        t = [torch.empty(1) for _ in range(4)]
        empty_kernel[(1,)](*t, 3, 16, 5, BLOCK=64)
        start = time.perf_counter()
        for _ in range(5000):
            empty_kernel[(1,)](*t, 3, 16, 5, BLOCK=64)
        say(what="launch", us=(time.perf_counter() - start) / 5000 * 1e6)
    if args.out:
        with open(args.out, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            return next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
