"""NVIDIA GPUs: `NvidiaTarget`."""

from .target import NvidiaTarget

__all__ = ["NvidiaTarget"]
