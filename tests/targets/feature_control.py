"""Python in kernels: statements, expressions, functions, aggregates, hints, options of a launch."""

from __future__ import annotations

from feature_table import case, integers, normal, zeros

import anytile.language as tl
from anytile.runtime.jit import constexpr_function, jit

_N = 64


@case(x=normal("fp32", _N), out=zeros("fp32", _N), n=5, m=3)
@case("no turns", x=normal("fp32", _N), out=zeros("fp32", _N), n=0, m=-2)
def loops(x, out, n, m, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    v = tl.load(x + i)
    acc = v
    for k in range(n):
        if k % 3 == 0:
            acc = acc * 0.5 + v
        elif k == 1:
            acc += k
        else:
            acc -= 1
    k = 0
    while k < m:
        acc += 1
        k += 1
    while tl.condition(k > 1, disable_licm=True):
        k -= 1
    for j in tl.range(10, 0, -3, num_stages=2):
        acc += j
    for j in tl.static_range(3):
        acc = acc * 1.5 if j == 1 else acc + j
    for weight in (0.5, 2.0):
        acc *= weight
    tl.store(out + i, acc)


@case(x=integers("i32", _N), out=zeros("i32", _N), n=4)
def nested_loops(x, out, n, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    total = tl.zeros((N,), tl.int32)
    for a in range(0, n):
        for b in range(a, n, 2):
            at = (i + a * 7 + b) % N
            total += tl.load(x + at) * (b - a + 1)
        if total.to(tl.int32).sum() % 2 == 0:
            total += a
    tl.store(out + i, total)


@jit
def early(value, limit):
    if value > limit:
        return value * 2
    if value < -limit:
        return -value
    return value + 1


@case(grid=(8,), x=integers("i32", 8), out=zeros("i32", 2, 8), limit=30)
def branches(x, out, limit):
    pid = tl.program_id(0)
    v = tl.load(x + pid)
    tl.store(out + pid, early(v, limit))
    if pid >= 6:
        return
    chosen = v if v > 0 else -v
    if v > 0 and chosen > 10 or pid == 2:
        other = chosen + 1
    else:
        other = chosen - 1
    tl.store(out + 8 + pid, other if not pid == 3 else 99)


@jit(noinline=True)
def apart(a, b):
    return a * b + 1.0, a - b


@jit
def keyword(a, *rest, scale=2, flag: tl.constexpr = True):
    for value in rest:
        a += value
    if flag:
        a *= scale
    return a


@constexpr_function
def factors():
    return {"doubled": 2, "tripled": 3}


@constexpr_function
def doubled(n):
    # What a kernel cannot say: Python runs this, and calls another such function of plain values.
    return sum(n for name in sorted(factors()) if name.startswith("d") for _ in range(factors()[name]))


@case(x=normal("fp32", _N), out=zeros("fp32", 3, _N), tolerance=1e-6)
def functions(x, out, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    v = tl.load(x + i)
    product, difference = apart(v, v + 1)
    tl.store(out + i, product - difference)
    tl.store(out + N + i, keyword(v, 1, v, scale=3) + keyword(v, flag=False))
    count: tl.constexpr = doubled(N)
    name: tl.constexpr = f"N{count}"
    tl.static_assert(name == "N128", f"{name}")
    tl.store(out + count + i, v * min(count, 3, N) + max(2, 1) - abs(-4) + len([1, 2]))


@case(x=normal("fp32", _N), out=zeros("fp32", 2, _N))
def containers(x, out, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    both = (tl.load(x + i), i)
    (v, k), rest = both, tl.tuple((1.5, 2.5))
    values = [v + j for j in (1, 2, 3)]
    total = values[0]
    for value in values[1:]:
        total += value
    a, *others = (1.0, 2.0, 3.0)
    tl.store(out + i, total + rest[1] + len(both) + k.to(tl.float32) + others[1] * a)
    if (last := rest[0]) is not None:
        tl.store(out + N + i, v * last)
    tl.static_assert("a" in ("a", "b") and 3 not in (1, 2))
    pass


class Region:
    """A context manager of the compile time."""

    def __enter__(self):
        return tl.constexpr(5)

    def __exit__(self, *exception):
        return None


@case(x=normal("fp32", 4, 16), out=zeros("fp32", 4, 16))
def regions(x, out):
    at = tl.arange(0, 4)[:, None] * 16 + tl.arange(0, 16)[None, :]
    with Region() as five:
        v = tl.load(x + at) + five
    tl.store(out + at, v * v.shape[1])


@case(printed=True, x=normal("fp32", _N), out=zeros("fp32", 2, _N))
def python_builtins(x, out, N: tl.constexpr = _N):
    """What is known while compiling is Python's own arithmetic."""
    i = tl.arange(0, N)
    v = tl.load(x + i)
    for k, (a, b) in enumerate(zip((1, 2), reversed((3, 4)))):
        v += float(a * b) + k + sum((1, 2)) + int(2.5)
    tl.static_assert(all((True, N > 1)) and any((False, True)) and bool(1) and isinstance(i, tl.tensor) and hasattr(v, "shape"))
    tl.static_assert(str(N) == "64" and list((1,))[0] == 1 and tuple((2,))[0] == 2)
    tl.static_assert(type(v) is tl.tensor and getattr(v, "dtype") == tl.float32)  # noqa: B009
    print("compiling", N)
    assert N > 0
    tl.store(out + i, abs(v) + len((1, 2)))
    tl.store(out + N + i, max(v, 0.0) + min(v, 1.0))


@tl.aggregate
class Span:
    """A piece of memory."""

    base: tl.tensor
    length: tl.constexpr

    @jit
    def __init__(self, base, length: tl.constexpr):
        self.base = base
        self.length = length

    @jit
    def load(self, i):
        return tl.load(self.base + i % self.length)


@case(x=normal("fp32", _N), out=zeros("fp32", 2, _N))
def aggregates(x, out, N: tl.constexpr = _N):
    i = tl.arange(0, N)
    span = Span(x, 16)
    tl.store(out + i, span.load(i))
    moved = tl.aggregate_replace(span, base=x + 16)
    tl.store(out + N + i, moved.load(i) + moved.length)


@case(x=normal("fp32", 128), out=zeros("fp32", 4, 128), n=128)
def hints(x, out, n):
    i = tl.arange(0, 128)
    tl.assume(n % 16 == 0)
    at = tl.max_contiguous(tl.multiple_of(i, 16), 16)
    v = tl.load(x + at, mask=at < n)
    tl.store(out + at, v, mask=tl.max_constancy(i // 8 * 8 < n, 8))
    tl.store(tl.multiple_of(out + 128, 16) + i, v)
    tl.store(out + 256 + i, v + tl.expect_zero(tl.where(i < 9, v, 0.0), i < 9))


@case("warps", options={"num_warps": 8}, x=normal("fp32", 128), out=zeros("fp32", 128))
@case("one warp", options={"num_warps": 1}, x=normal("fp32", 128), out=zeros("fp32", 128))
@case("registers", options={"maxnreg": 32}, x=normal("fp32", 128), out=zeros("fp32", 128))
@case("cooperative", grid=(4,), options={"launch_cooperative_grid": True}, x=normal("fp32", 128), out=zeros("fp32", 128))
@case("dependent", options={"launch_pdl": True}, x=normal("fp32", 128), out=zeros("fp32", 128), arch=90)
@case("cluster", grid=(4,), options={"num_ctas": 2}, x=normal("fp32", 128), out=zeros("fp32", 128), arch=90)
@case("no fusion", options={"enable_fp_fusion": False}, x=normal("fp32", 128), out=zeros("fp32", 128))
def launch_options(x, out):
    i = tl.arange(0, 128)
    v = tl.load(x + i)
    tl.store(out + i, tl.sum(v * 0) + v * 2)


@case(options={"launch_pdl": True}, x=normal("fp32", 128), out=zeros("fp32", 128), arch=90)
def dependent_launches(x, out):
    tl.extra.cuda.gdc_wait()
    i = tl.arange(0, 128)
    v = tl.load(x + i)
    tl.extra.cuda.gdc_launch_dependents()
    tl.store(out + i, v + 1)


@case(out=zeros("i1", 8))
def facts_of_the_target(out):
    start = tl.extra.cuda.globaltimer()
    tl.store(out, tl.extra.cuda.smid() >= 0)
    tl.store(out + 1, tl.extra.cuda.num_warps() >= 1)
    tl.store(out + 2, tl.extra.cuda.num_threads() >= 1)
    tl.store(out + 3, tl.extra.cuda.globaltimer() >= start)
    tl.store(out + 4, tl.target_info.is_cuda() or not tl.target_info.is_hip())
    if tl.target_info.is_cuda():
        tl.store(out + 5, tl.target_info.cuda_capability_geq(7, 5))
    else:
        tl.store(out + 5, True)


@case(options={"num_warps": 4}, x=normal("fp16", 64, 256), y=normal("fp16", 256, 64), out=zeros("fp32", 64, 64), tolerance=1e-6)
def pipelines(x, y, out):
    """Loops whose loads are copied ahead; every hint that `tl.range` takes."""
    m, n, k = tl.arange(0, 64), tl.arange(0, 64), tl.arange(0, 32)
    acc = tl.zeros((64, 64), tl.float32)
    for i in tl.range(0, 8, num_stages=3, flatten=True, warp_specialize=False, disallow_acc_multi_buffer=True, loop_unroll_factor=2):
        a = tl.load(x + m[:, None] * 256 + (i * 32 + k)[None, :])
        b = tl.load(y + (i * 32 + k)[:, None] * 64 + n[None, :])
        acc = tl.dot(a, b, acc)
    tl.store(out + m[:, None] * 64 + n[None, :], acc)


@case("runs", x=integers("fp32", 256), table=integers("fp32", 300, low=1, high=200), out=zeros("fp32", 64), n=256, step=64)
@case("does not run", x=integers("fp32", 256), table=integers("fp32", 300, low=1, high=200), out=zeros("fp32", 64), n=0, step=64)
@case(
    "downwards",
    x=integers("fp32", 256),
    table=integers("fp32", 300, low=1, high=200),
    out=zeros("fp32", 64),
    n=192,
    step=-64,
    constants={"DOWN": True},
)
def numbers_that_a_loop_does_not_change(x, table, out, n, step, DOWN: tl.constexpr = False):
    """The second one's address is what the first one is; where the loop does not run, neither may be there."""
    i, total = tl.arange(0, 64), tl.full((64,), 3.0, tl.float32)
    for k in range(n if DOWN else 0, -1 if DOWN else n, -64 if DOWN else 64):
        at = tl.load(table + n).to(tl.int32)
        total += tl.load(x + k + i) * tl.load(table + at) + tl.load(table + k // 64, mask=n > 64, other=2.0)
    tl.store(out + i, total)


@case("runs", x=integers("i32", 4, 128), codes=integers("fp32", 16), q=integers("u8", 128, low=0, high=16), out=zeros("fp32", 3, 128), n=4)
@case("does not run", x=integers("i32", 4, 128), codes=integers("fp32", 16), q=integers("u8", 128, low=0, high=16), out=zeros("fp32", 3, 128), n=0)  # fmt: skip
@case("one warp", x=integers("i32", 4, 128), codes=integers("fp32", 16), q=integers("u8", 128, low=0, high=16), out=zeros("fp32", 3, 128), n=3, options={"num_warps": 1})  # fmt: skip
def tables_that_a_loop_does_not_change(x, codes, q, out, n):
    """Numbers are looked up in a tile, in two loops one in the other, and behind them; and by numbers that were loaded before."""
    i = tl.arange(0, 128)
    total, twice = tl.zeros((128,), tl.float32), tl.zeros((128,), tl.float32)
    for k in range(0, n):
        table = tl.load(codes + tl.arange(0, 16))
        at = tl.load(x + k * 128 + i)
        total += tl.gather(table, at & 15, 0)
        for j in range(0, k):
            twice += tl.gather(table * 2, (at + j) & 15, 0) + tl.gather(table, at >> 3 & 15, 0)
        total += tl.sum(total.reshape(8, 16), 1).reshape(8, 1).broadcast_to(8, 16).reshape(128)
    behind = tl.gather(tl.load(codes + tl.arange(0, 16)), tl.load(q + i).to(tl.int32), 0)
    tl.store(out + i, total + behind)
    tl.store(out + 128 + i, twice)
    rows = tl.arange(0, 16)
    scale = tl.load(codes + tl.load(q + rows).to(tl.int32))
    tl.store(out + 256 + rows, tl.sum(tl.load(x + rows[:, None] * 8 + tl.arange(0, 8)[None, :]).to(tl.float32), 1) * scale)


@case("i32", x=integers("i32", 128, low=-(2**31), high=2**31), out=zeros("i32", 7, 128))
@case("u8", x=integers("u8", 128, low=0, high=256), out=zeros("i32", 7, 128))
@case("i64", x=integers("i64", 128, low=-(2**40), high=2**40), out=zeros("i32", 7, 128))
def tests_of_bits(x, out):
    i = tl.arange(0, 128)
    v = tl.load(x + i)
    w = v.to(tl.int32)
    tl.store(out + i, tl.where((v & 4) != 0, 1, 2))
    tl.store(out + 128 + i, tl.where((w >> 4 & 2) == 0, 1, 2))
    tl.store(out + 256 + i, tl.where((w >> 31 & 1) != 0, 1, 2))
    tl.store(out + 384 + i, tl.where((w >> 30 & 2) == 0, 1, 2))
    tl.store(out + 512 + i, tl.where((w.to(tl.uint32) >> 28 & 8) != 0, 1, 2))
    tl.store(out + 640 + i, tl.where(((w >> 4) & 6) != 0, tl.where((w >> 7) & 8 == 8, 4, 1), 2))
    tl.store(out + 768 + i, tl.where((w & -(1 << 31)) != 0, 1, 2))


_LAST = 2**31 - 1


@case("upwards", a=integers("fp16", 5, 32, 32, low=-2, high=3), out=zeros("fp32", 32, 32), lo=_LAST - 6, hi=_LAST - 1)
@case(
    "downwards",
    a=integers("fp16", 5, 32, 32, low=-2, high=3),
    out=zeros("fp32", 32, 32),
    lo=-_LAST,
    hi=-_LAST + 5,
    constants={"BACK": True},
)
@case(
    "a step of two",
    a=integers("fp16", 5, 32, 32, low=-2, high=3),
    out=zeros("fp32", 32, 32),
    lo=_LAST - 6,
    hi=_LAST - 1,
    constants={"STEP": 2},
)
@case("never", a=integers("fp16", 5, 32, 32, low=-2, high=3), out=zeros("fp32", 32, 32), lo=-_LAST, hi=-_LAST - 1)
def loops_to_the_last_numbers(a, out, lo, hi, BACK: tl.constexpr = False, STEP: tl.constexpr = 1):
    """Tiles are copied three iterations ahead, whose numbers are no more of their type."""
    i, acc = tl.arange(0, 32), tl.zeros((32, 32), tl.float32)
    for k in tl.range(hi - 1 if BACK else lo, lo - 1 if BACK else hi, -STEP if BACK else STEP, num_stages=4):
        x = tl.load(a + (k // 2 - lo // 2).to(tl.int64) * 1024 + i[:, None] * 32 + i[None, :])
        acc = tl.dot(x, x.T, acc)
    tl.store(out + i[:, None] * 32 + i[None, :], acc)
