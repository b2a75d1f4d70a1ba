"""The kernels of `gpu_kernels_check`, their sizes, and what torch says the result is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """``make(torch, case)`` gives (runtime arguments, grid, check); ``check()`` the largest error relative to the result's size."""

    name: str
    kernel: str
    signature: dict[str, str]
    constants: dict[str, Any]
    make: Callable[[Any, Case], tuple[list[Any], tuple[int, ...], Callable[[], float]]]
    num_warps: int = 4
    divisible: tuple[str, ...] = ()
    tolerance: float = 1e-5
    bytes: float = 0
    flops: float = 0
    extra: dict[str, Any] = field(default_factory=dict)


def specialised(case: Case, names: Sequence[str]) -> tuple[dict[str, str], dict[tuple[int, ...], Any], dict[tuple[int, ...], Any]]:
    """(signature, constants, attributes) with which ``frontend.trace`` takes a kernel of these parameters."""
    signature: dict[str, str] = {}
    constants: dict[tuple[int, ...], Any] = {}
    attributes: dict[tuple[int, ...], Any] = {}
    for i, name in enumerate(names):
        if name in case.constants:
            signature[name], constants[i,] = "constexpr", case.constants[name]
        else:
            signature[name] = case.signature[name]
            if signature[name].startswith("*") or name in case.divisible:
                attributes[i,] = [["tt.divisibility", 16]]
    return signature, constants, attributes


def kernels() -> dict[str, Any]:
    """The kernels; imports triton, which `build` has made anytile."""
    import gpu_kernels_sources as sources

    return {k: v for k, v in vars(sources).items() if hasattr(v, "arg_names")}


def _error(got: Any, want: Any) -> float:
    got, want = got.double(), want.double()
    return ((got - want).abs().max() / want.abs().max().clamp(min=1e-30)).item()


def _worst(*pairs: tuple[Any, Any]) -> float:
    return max(_error(a, b) for a, b in pairs)


_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "i32": "int32", "fp64": "float64", "i8": "int8", "i64": "int64"}


def _dtype(torch: Any, name: str) -> Any:
    return getattr(torch, _DTYPES[name])


def _random(torch: Any, shape: tuple[int, ...], dtype: str) -> Any:
    if dtype in ("i32", "i8", "i64"):
        return torch.randint(-100, 100, shape, device="cuda", dtype=_dtype(torch, dtype))
    return torch.randn(shape, device="cuda", dtype=torch.float32).to(_dtype(torch, dtype))


def _add(torch: Any, case: Case):
    n = case.extra["n"]
    x, y = _random(torch, (n,), case.extra["dtype"]), _random(torch, (n,), case.extra["dtype"])
    o = torch.full_like(x, 7)
    return [x, y, o, n], (-(-n // case.constants["B"]),), lambda: _error(o, x + y)


def _bias(torch: Any, case: Case):
    length, channels = case.constants["L"], case.constants["C"]
    x, b = _random(torch, (4, channels, length), "fp32"), _random(torch, (channels,), "fp32")
    o = torch.full_like(x, 7)
    return [x, b, o], (x.numel() // case.constants["B"],), lambda: _error(o, x + b[:, None])


def _unpad(torch: Any, case: Case):
    rows, columns = case.constants["R"], case.constants["C"]
    x = _random(torch, (32, columns, rows), "fp32")
    o = torch.full((32 * rows, columns), 7.0, device=x.device)
    grid = (columns // case.constants["X"], 32 * rows // case.constants["Y"])
    return [x, o], grid, lambda: _error(o, x.transpose(1, 2).reshape(o.shape))


def _softmax(torch: Any, case: Case):
    m, n = case.extra["shape"]
    x = _random(torch, (m, n), case.extra["dtype"])
    o = torch.empty_like(x)
    return [o, x, n, n, n], (m,), lambda: _error(o, torch.softmax(x.float(), -1))


def _layernorm(torch: Any, case: Case):
    m, n = case.extra["shape"]
    x = _random(torch, (m, n), "fp16")
    w, b = _random(torch, (n,), "fp32"), _random(torch, (n,), "fp32")
    y, mean, rstd = torch.empty_like(x), torch.empty(m, device="cuda"), torch.empty(m, device="cuda")
    want = torch.nn.functional.layer_norm(x.float(), (n,), w, b)
    return [x, y, w, b, mean, rstd, n, n, 1e-5], (m,), lambda: _worst((y, want), (mean + 1, x.float().mean(1) + 1))


def _xent(torch: Any, case: Case):
    m, v = case.extra["shape"]
    x = _random(torch, (m, v), "bf16")
    label = torch.randint(0, v, (m,), device="cuda")
    loss, lse = torch.empty(m, device="cuda"), torch.empty(m, device="cuda")
    return [x, v, loss, lse, label, v], (m,), lambda: _error(loss, torch.nn.functional.cross_entropy(x.float(), label, reduction="none"))


def _reduce(torch: Any, case: Case):
    m, n = case.constants["M"], case.constants["N"]
    x = _random(torch, (m, n), case.extra["dtype"])
    rows, cols, whole = (torch.empty(k, device="cuda", dtype=x.dtype) for k in (m, n, 1))
    return [x, rows, cols, whole], (1,), lambda: _worst((rows, x.sum(1)), (cols, x.amax(0)), (whole, x.amin().view(1)))


def _argmax(torch: Any, case: Case):
    m, n = case.constants["M"], case.constants["N"]
    x = _random(torch, (m, n), "fp32")
    best, where = torch.empty(m, device="cuda"), torch.empty(m, device="cuda", dtype=torch.int32)
    return [x, best, where], (1,), lambda: _worst((best, x.amax(1)), (where, x.argmax(1)))


def _transpose(torch: Any, case: Case):
    m, n = case.extra["shape"]
    x = _random(torch, (m, n), case.extra["dtype"])
    o = torch.empty(n, m, device="cuda", dtype=x.dtype)
    return [x, o, m, n], (-(-m // case.constants["B"]), -(-n // case.constants["B"])), lambda: _error(o, x.t())


def _cumsum(torch: Any, case: Case):
    m, n = case.constants["M"], case.constants["N"]
    x = _random(torch, (m, n), "fp32")
    a, b, c = (torch.empty_like(x) for _ in range(3))
    back = x.flip(1).cumsum(1).flip(1)
    return [x, a, b, c], (1,), lambda: _worst((a, x.cumsum(1)), (b, back), (c, x.cumsum(0)))


def _shapes(torch: Any, case: Case):
    n = case.constants["N"]
    x, y = _random(torch, (n,), "fp32"), _random(torch, (n,), "fp32")
    joined, even, odd, turned = (
        torch.empty(2 * n, device="cuda"),
        *(torch.empty(n // 2, device="cuda") for _ in range(2)),
        torch.empty(n, device="cuda"),
    )
    turns = x.view(n // 8, 8).t().reshape(-1)

    def check() -> float:
        return _worst((joined, torch.stack([x, y], 1).view(-1)), (even, x[::2]), (odd, x[1::2]), (turned, turns))

    return [x, y, joined, even, odd, turned], (1,), check


def _exchange(torch: Any, case: Case):
    n, bins = case.constants["N"], case.constants["BINS"]
    x = torch.randint(0, bins, (n,), device="cuda", dtype=torch.int32)
    f = _random(torch, (n,), "fp32")
    i = torch.randint(0, n, (n,), device="cuda", dtype=torch.int32)
    counts, taken, ordered = torch.empty(bins, device="cuda", dtype=torch.int32), torch.empty_like(f), torch.empty_like(f)
    want = lambda: _worst((counts, torch.bincount(x, minlength=bins)), (taken, f[i.long()]), (ordered, f.sort()[0]))  # noqa: E731
    return [x, f, i, counts, taken, ordered], (1,), want


def _atomics(torch: Any, case: Case):
    n = case.extra["n"]
    x, y = _random(torch, (n,), "fp32"), _random(torch, (n,), "i32")
    b = case.constants["B"]
    total, most, count = (
        torch.zeros(16, device="cuda"),
        torch.full((16,), -1e30, device="cuda"),
        torch.zeros(16, device="cuda", dtype=torch.int32),
    )
    seen = torch.zeros(n // b, device="cuda", dtype=torch.int32)

    def check() -> float:
        order = _error(seen.sort()[0] + 1, torch.arange(n // b, device="cuda") + 1)
        return max(
            order,
            _worst(
                (total[3], x.double().sum()), (most[2], x.max()), (count[:2], torch.stack([y.sum(), torch.tensor(n // b, device="cuda")]))
            ),
        )

    return [x, y, total, most, count, seen], (n // b,), check


def _elementwise(torch: Any, case: Case):
    n = case.constants["N"]
    x, y = _random(torch, (n,), "fp32"), _random(torch, (n,), "fp32").abs() + 0.1
    i, j = (
        torch.randint(-(2**31), 2**31 - 1, (n,), device="cuda").to(torch.int32),
        torch.randint(1, 1000, (n,), device="cuda").to(torch.int32),
    )
    f, g = torch.empty(8, n, device="cuda"), torch.empty(6, n, device="cuda", dtype=torch.int32)

    def check() -> float:
        d, e = x.double(), y.double()
        floats = [d.exp(), e.log(), d.sin(), e.sqrt(), d / e, e.rsqrt(), torch.erf(d), d.half().float() + d.bfloat16().float()]
        ints = [i // 1 % 7 * 0 + torch.remainder(i, 7), torch.div(i, j, rounding_mode="trunc"), i >> 3, i ^ j, torch.minimum(i, j), i * j]
        return max(max(_error(a, b) for a, b in zip(f, floats)), max(_error(a, b) for a, b in zip(g, ints)))

    return [x, y, i, j, f, g], (1,), check


def _control(torch: Any, case: Case):
    n = case.constants["N"]
    x, o = _random(torch, (n,), "fp32"), torch.empty(n, device="cuda")

    def check() -> float:
        want, k = x.clone(), 0
        for i in range(10):
            want = want * 0.5 + x if i % 3 == 0 else want + i
        while k < 5:
            want, k = want + 1, k + 1
        return _error(o, want)

    return [x, o, 10, 5], (1,), check


def _matmul(torch: Any, case: Case):
    m, n, k = case.extra["shape"]
    dtype = case.extra["dtype"]
    a, b = _random(torch, (m, k), dtype), _random(torch, (k, n), dtype)
    if case.extra.get("turned"):
        a, b = _random(torch, (k, m), dtype).t(), _random(torch, (n, k), dtype).t()
    c = torch.empty(m, n, device="cuda", dtype=_dtype(torch, case.extra.get("out", dtype)))
    grid = (-(-m // case.constants["BM"]) * -(-n // case.constants["BN"]),)
    want = lambda: _error(c, a.double() @ b.double())  # noqa: E731
    return [a, b, c, m, n, k, *a.stride(), *b.stride(), *c.stride()], grid, want


def _attention(torch: Any, case: Case):
    heads, n = case.extra["shape"]
    d = case.constants["D"]
    q, k, v = (_random(torch, (heads, n, d), "bf16") for _ in range(3))
    o = torch.empty_like(q)

    def check() -> float:
        want = torch.nn.functional.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=case.constants["CAUSAL"])
        return _error(o, want)

    return [q, k, v, o, d**-0.5, n * d, d, n], (-(-n // case.constants["BM"]), heads), check


_POINTWISE = {"x": "*{}", "y": "*{}", "o": "*{}", "n": "i32"}


def _add_case(dtype: str, n: int, size: int, warps: int = 4, divisible: bool = True) -> Case:
    signature = {k: v.format(dtype) for k, v in _POINTWISE.items()}
    name = f"add_{dtype}_{n}" + ("" if divisible else "_odd")
    bytes_ = 3 * n * (int(dtype.lstrip("bfpi")) // 8)
    return Case(
        name,
        "add_k",
        signature,
        {"B": size},
        _add,
        warps,
        ("n",) if divisible else (),
        1e-6 if dtype == "fp32" else 1e-2,
        bytes_,
        extra={"n": n, "dtype": dtype},
    )


def _softmax_case(dtype: str, m: int, n: int, size: int, warps: int) -> Case:
    signature = {"o": f"*{dtype}", "x": f"*{dtype}", "so": "i32", "sx": "i32", "n": "i32"}
    divisible = ("so", "sx", "n") if n % 16 == 0 else ()
    return Case(
        f"softmax_{dtype}_{m}x{n}",
        "softmax_k",
        signature,
        {"B": size},
        _softmax,
        warps,
        divisible,
        1e-2,
        2 * m * n * 2,
        extra={"shape": (m, n), "dtype": dtype},
    )


def _matmul_case(
    dtype: str,
    shape: tuple[int, int, int],
    tile: tuple[int, int, int],
    warps: int,
    precision: str = "tf32",
    out: str = "",
    turned: bool = False,
) -> Case:
    """``turned``: both operands are stored transposed."""
    m, n, k = shape
    strides = ("sam", "sak", "sbk", "sbn", "scm", "scn")
    signature = {"a": f"*{dtype}", "b": f"*{dtype}", "c": f"*{out or dtype}", **dict.fromkeys(("M", "N", "K", *strides), "i32")}
    # Strides of 1 are constants, as a launch makes them.
    constants: dict[str, Any] = {"BM": tile[0], "BN": tile[1], "BK": tile[2], "G": 8, "P": precision, "scn": 1}
    constants |= {"sam": 1, "sbk": 1} if turned else {"sak": 1, "sbn": 1}
    divisible = tuple(x for x, v in {"M": m, "N": n, "K": k, "sam": k, "sbk": n, "sak": m, "sbn": k, "scm": n}.items() if v % 16 == 0)
    tolerance = {"fp16": 2e-3, "bf16": 1e-2, "fp32": {"ieee": 1e-5, "tf32": 3e-3, "tf32x3": 1e-5}[precision], "i8": 0, "fp64": 1e-12}[dtype]
    name = f"matmul_{dtype}{'' if dtype != 'fp32' else '_' + precision}_{m}x{n}x{k}_{tile[0]}x{tile[1]}x{tile[2]}w{warps}{'T' if turned else ''}"

    def make(torch: Any, case: Case):
        args, grid, check = _matmul(torch, case)
        names = ("a", "b", "c", "M", "N", "K", *strides)
        return [x for name, x in zip(names, args, strict=True) if name not in constants], grid, check

    extra = {"shape": shape, "dtype": dtype, "out": out or dtype, "turned": turned}
    return Case(name, "mm_k", signature, constants, make, warps, divisible, tolerance, 0, 2.0 * m * n * k, extra)


def _attention_case(heads: int, n: int, d: int, bm: int, bn: int, warps: int, causal: bool) -> Case:
    signature = {**dict.fromkeys("qkvo", "*bf16"), "scale": "fp32", "sb": "i32", "sn": "i32", "N": "i32"}
    flops = 4.0 * heads * n * n * d * (0.5 if causal else 1)
    name = f"attention_d{d}_{bm}x{bn}w{warps}{'_causal' if causal else ''}"
    return Case(
        name,
        "fa_k",
        signature,
        {"D": d, "CAUSAL": causal, "BM": bm, "BN": bn},
        _attention,
        warps,
        ("sb", "sn", "N"),
        2e-2,
        0,
        flops,
        {"shape": (heads, n)},
    )


_F = "*fp32"
CASES: list[Case] = [
    _add_case("fp32", 2**24, 1024),
    _add_case("fp32", 98432, 1024, divisible=False),
    _add_case("fp16", 2**24, 2048),
    _add_case("bf16", 12345, 256, 1, False),
    _add_case("i32", 2**20, 1024),
    Case("bias", "bias_k", {"x": _F, "b": _F, "o": _F}, {"L": 4096, "C": 16, "B": 1024}, _bias, tolerance=1e-6),
    Case("unpad", "unpad_k", {"x": _F, "o": _F}, {"R": 321, "C": 256, "Y": 32, "X": 32}, _unpad, tolerance=0),
    _softmax_case("fp16", 4096, 4096, 4096, 8),
    _softmax_case("fp16", 2048, 12000, 16384, 8),
    _softmax_case("fp32", 1823, 781, 1024, 4),
    Case(
        "layernorm",
        "layernorm_k",
        {"x": "*fp16", "y": "*fp16", "w": _F, "b": _F, "mean": _F, "rstd": _F, "s": "i32", "n": "i32", "eps": "fp32"},
        {"B": 4096},
        _layernorm,
        8,
        ("s", "n"),
        2e-3,
        2 * 8192 * 4096 * 2,
        extra={"shape": (8192, 4096)},
    ),
    Case(
        "cross_entropy",
        "xent_k",
        {"logits": "*bf16", "stride": "i32", "loss": _F, "lse": _F, "labels": "*i64", "V": "i32"},
        {"B": 8192},
        _xent,
        8,
        ("stride", "V"),
        1e-4,
        1024 * 128256 * 2,
        extra={"shape": (1024, 128256)},
    ),
    *(
        Case(
            f"reduce_{d}_{m}x{n}w{w}",
            "reduce_k",
            dict.fromkeys(("x", "rows", "cols", "whole"), f"*{d}"),
            {"M": m, "N": n},
            _reduce,
            w,
            extra={"dtype": d},
            tolerance=1e-5,
        )
        for d, m, n, w in (
            ("fp32", 64, 128, 4),
            ("fp32", 128, 16, 8),
            ("fp32", 4, 4, 4),
            ("i32", 32, 32, 2),
            ("fp64", 64, 64, 4),
            ("i64", 32, 64, 1),
        )
    ),
    *(
        Case(f"argmax_{m}x{n}w{w}", "argmax_k", {"x": _F, "best": _F, "place": "*i32"}, {"M": m, "N": n}, _argmax, w)
        for m, n, w in ((16, 512, 4), (128, 8, 4), (1, 2048, 8))
    ),
    *(
        Case(
            f"transpose_{d}_{b}",
            "transpose_k",
            {"x": f"*{d}", "o": f"*{d}", "M": "i32", "N": "i32"},
            {"B": b},
            _transpose,
            w,
            ("M", "N"),
            0,
            2.0 * 4096 * 4096 * (int(d[-2:]) // 8),
            extra={"shape": (4096, 4096), "dtype": d},
        )
        for d, b, w in (("fp32", 64, 4), ("fp16", 64, 4), ("fp32", 32, 4))
    ),
    *(
        Case(f"cumsum_{m}x{n}w{w}", "cumsum_k", dict.fromkeys("xabc", _F), {"M": m, "N": n}, _cumsum, w, tolerance=1e-5)
        for m, n, w in ((16, 256, 4), (1, 2048, 4), (64, 4, 4), (2, 32, 8))
    ),
    *(
        Case(
            f"shapes_{n}w{w}",
            "shapes_k",
            dict.fromkeys(("x", "y", "joined", "even", "odd", "turned"), _F),
            {"N": n},
            _shapes,
            w,
            tolerance=0,
        )
        for n, w in ((1024, 4), (64, 4))
    ),
    *(
        Case(
            f"exchange_{n}w{w}",
            "exchange_k",
            {"x": "*i32", "f": _F, "i": "*i32", "counts": "*i32", "taken": _F, "ordered": _F},
            {"N": n, "BINS": bins},
            _exchange,
            w,
            tolerance=0,
        )
        for n, bins, w in ((1024, 64, 4), (64, 256, 2), (2048, 16, 8))
    ),
    Case(
        "atomics",
        "atomics_k",
        {"x": _F, "y": "*i32", "total": _F, "most": _F, "count": "*i32", "seen": "*i32"},
        {"B": 256},
        _atomics,
        4,
        tolerance=1e-4,
        extra={"n": 2**16},
    ),
    Case(
        "elementwise",
        "elementwise_k",
        {"x": _F, "y": _F, "i": "*i32", "j": "*i32", "f": _F, "g": "*i32"},
        {"N": 4096},
        _elementwise,
        4,
        tolerance=1e-2,
    ),
    Case("control", "control_k", {"x": _F, "o": _F, "n": "i32", "m": "i32"}, {"N": 512}, _control, 4, tolerance=1e-6),
    _matmul_case("fp32", (300, 200, 100), (64, 64, 32), 4, "ieee"),
    _matmul_case("fp32", (300, 200, 100), (64, 64, 32), 4, "tf32"),
    _matmul_case("fp32", (300, 200, 100), (64, 64, 32), 4, "tf32x3"),
    _matmul_case("fp16", (128, 128, 64), (128, 128, 64), 4),
    _matmul_case("fp16", (300, 200, 104), (64, 32, 32), 4),
    _matmul_case("fp16", (64, 64, 32), (16, 16, 16), 4),
    _matmul_case("bf16", (512, 512, 512), (128, 64, 32), 8),
    _matmul_case("fp16", (256, 256, 64), (64, 32, 16), 4),
    _matmul_case("bf16", (256, 512, 256), (64, 128, 32), 8),
    _matmul_case("bf16", (512, 256, 128), (256, 32, 64), 8),
    _matmul_case("fp16", (512, 512, 256), (128, 128, 64), 8, turned=True),
    _matmul_case("bf16", (512, 512, 256), (64, 64, 32), 4, turned=True),
    _matmul_case("bf16", (512, 512, 256), (64, 64, 16), 4, turned=True),
    _matmul_case("fp16", (300, 200, 100), (64, 64, 32), 4),
    _matmul_case("i8", (256, 256, 256), (64, 64, 64), 4, out="i32"),
    _matmul_case("fp64", (128, 128, 128), (32, 32, 32), 4, "ieee"),
    _matmul_case("bf16", (4096, 4096, 4096), (128, 128, 64), 8),
    _matmul_case("bf16", (4096, 4096, 4096), (128, 256, 64), 8),
    _matmul_case("fp16", (4096, 4096, 4096), (128, 128, 32), 4),
    _matmul_case("fp32", (4096, 4096, 4096), (128, 128, 32), 8, "tf32"),
    _attention_case(128, 4096, 64, 128, 64, 4, False),
    _attention_case(128, 4096, 128, 128, 64, 8, False),
    _attention_case(128, 4096, 128, 128, 64, 8, True),
]
