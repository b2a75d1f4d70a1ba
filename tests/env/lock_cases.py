"""The requests that `anytile lock` is held to: the classic stack for each tool, and others over platform, tool and CUDA."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One command line. ``live``: it needs nothing but PyPI. ``error``: what the refusal says, where one is due."""

    name: str
    packages: tuple[str, ...]
    options: tuple[str, ...]
    pins: tuple[str, ...] = ()  # "package version", or "package -" for one that must not be there
    live: bool = False
    error: str = ""


_STACK = ("torch==2.5.1", "xformers", "unsloth[cu124onlytorch251,huggingface]")
_STACK_OPTIONS = ("--python", "3.11", "--platform", "linux-x86_64", "--platform", "windows", "--cuda", "12.4", "--triton", "upstream")
_STACK_PINS = ("torch 2.5.1+cu124", "xformers 0.0.29.post1", "triton-windows 3.1.0.post17")


def _options(text: str) -> tuple[str, ...]:
    return tuple(text.split())


CASES = (
    *(Case(f"classic-{tool}", _STACK, (*_STACK_OPTIONS, "--tool", tool), _STACK_PINS) for tool in ("poetry", "uv", "pip")),
    Case(
        "cpu-linux-uv", ("torch==2.8.0",), _options("--tool uv --python 3.11 --platform linux --cuda cpu"), ("torch 2.8.0+cpu", "triton -")
    ),
    Case(
        "cpu-everywhere-poetry",
        ("torch==2.8.0",),
        _options("--tool poetry --python 3.11 --platform linux --platform linux-aarch64 --platform windows --platform macos --cuda cpu"),
        ("torch 2.8.0+cpu", "torch 2.8.0"),
    ),
    Case(
        "cuda128-uv",
        ("torch==2.8.0",),
        _options("--tool uv --python 3.11 --platform linux --platform windows --cuda 12.8 --triton upstream"),
        ("torch 2.8.0+cu128", "triton-windows 3.4.0.post21"),
    ),
    Case(
        "cuda128-pip-urls",
        ("torch==2.8.0",),
        _options("--tool pip --python 3.11 --platform windows --cuda 12.8 --urls"),
        ("torch 2.8.0+cu128", "triton -"),
    ),
    Case(
        "cuda124-poetry-urls",
        ("torch==2.5.1", "torchvision"),
        ("--tool", "poetry", "--python", ">=3.11,<3.13", *_options("--platform linux --platform windows --cuda 12.4 --urls")),
        ("torch 2.5.1+cu124", "torchvision 0.20.1+cu124"),
    ),
    Case(
        "pypi-linux-pip", ("torch==2.6.0",), _options("--tool pip --python 3.12 --platform linux"), ("torch 2.6.0", "triton -"), live=True
    ),
    Case(
        "pypi-windows-poetry",
        ("torch==2.6.0",),
        _options("--tool poetry --python 3.11 --platform linux --platform windows --triton upstream"),
        ("torch 2.6.0", "triton-windows 3.2.0.post21"),
        live=True,
    ),
    Case(
        "newest-windows-uv",
        ("torch",),
        _options("--tool uv --python 3.12 --platform windows --triton upstream"),
        ("torch 2.14.1", "triton-windows 3.8.0.post29"),
        live=True,
    ),
    Case(
        "aarch64-uv",
        ("torch==2.11.0",),
        _options("--tool uv --python 3.12 --platform linux-aarch64"),
        ("torch 2.11.0", "triton -"),
        live=True,
    ),
    Case(
        "macos-pip",
        ("torch==2.8.0", "torchvision"),
        _options("--tool pip --python 3.11 --platform macos"),
        ("torch 2.8.0", "torchvision 0.23.0"),
        live=True,
    ),
    Case(
        "everywhere-uv",
        ("torch==2.8.0", "bitsandbytes"),
        _options("--tool uv --python 3.11 --platform linux --platform linux-aarch64 --platform windows --platform macos"),
        ("torch 2.8.0", "triton -"),
        live=True,
    ),
    Case(
        "no-cuda-on-aarch64",
        ("torch==2.5.1",),
        _options("--tool uv --python 3.11 --platform linux-aarch64 --cuda 12.4"),
        error="a build without CUDA 12.4; it has none with CUDA 12.4",
    ),
    Case(
        "no-triton-for-that-torch",
        ("torch==2.15.0",),
        _options("--tool uv --python 3.12 --platform windows --triton upstream"),
        live=True,
        error="was made for triton~=3.9.0, and no triton-windows of that minor release fits windows, Python 3.12",
    ),
)
