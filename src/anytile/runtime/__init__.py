"""From a decorated function to a finished launch: `jit`, `compiler`, `cache`, `autotuner`, `driver`, `knobs`.

Names are imported from their modules when first used.
"""

from __future__ import annotations

from typing import Any

_HOME = {
    "Autotuner": "autotuner",
    "Config": "autotuner",
    "Heuristics": "autotuner",
    "autotune": "autotuner",
    "heuristics": "autotuner",
    "CompiledKernel": "compiler",
    "JITFunction": "jit",
    "KernelInterface": "jit",
    "MockTensor": "wrappers",
    "TensorWrapper": "wrappers",
    "reinterpret": "wrappers",
    "InterpreterError": "errors",
    "LaunchError": "errors",
    "OutOfResources": "errors",
}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f".{_HOME[name]}", __name__)
    return getattr(module, name)
