"""Arguments that are tensors in part: `MockTensor`, a type without memory, and `TensorWrapper`, memory under another type."""

from __future__ import annotations

from typing import Any

from .arguments import pointee_name

__all__ = ["MockTensor", "TensorWrapper", "reinterpret"]


class MockTensor:
    """A tensor with a type and nothing else: what a dtype stands for in `warmup`."""

    is_mock = True
    is_cpu = True

    def __init__(self, dtype: Any, shape: Any = None):
        pointee_name(dtype)
        self.dtype = dtype
        self.shape = [1] if shape is None else list(shape)

    @staticmethod
    def wrap_dtype(arg: Any) -> Any:
        """A mock where ``arg`` is a torch dtype, else ``arg`` itself."""
        return MockTensor(arg) if type(arg).__name__ == "dtype" and type(arg).__module__ == "torch" else arg

    @staticmethod
    def data_ptr() -> int:
        return 0  # aligned

    @staticmethod
    def ptr_range() -> int:
        return 0

    def stride(self) -> tuple[int, ...]:
        """Strides of the shape in row-major order, in elements."""
        out = [1]
        for n in reversed(self.shape[1:]):
            out.append(out[-1] * n)
        return tuple(reversed(out))


class TensorWrapper:
    """``base``'s memory under another element type."""

    def __init__(self, base: Any, dtype: Any):
        pointee_name(dtype)
        self.base, self.dtype = base, dtype
        self.is_cuda, self.is_cpu = getattr(base, "is_cuda", False), getattr(base, "is_cpu", True)
        self.device = getattr(base, "device", None)
        self.shape = base.shape
        self.data = getattr(base, "data", base)

    def data_ptr(self) -> int:
        return self.base.data_ptr() if hasattr(self.base, "data_ptr") else self.base.__array_interface__["data"][0]

    def numel(self) -> int:
        return self.base.numel() if hasattr(self.base, "numel") else self.base.size

    def stride(self, *args: Any) -> Any:
        return self.base.stride(*args)

    def element_size(self) -> int:
        return self.base.element_size()

    def cpu(self) -> TensorWrapper:
        return TensorWrapper(self.base.cpu(), self.dtype)

    def copy_(self, other: TensorWrapper) -> None:
        self.base.copy_(other.base)

    def clone(self) -> TensorWrapper:
        return TensorWrapper(self.base.clone(), self.dtype)

    def to(self, device: Any) -> TensorWrapper:
        return TensorWrapper(self.base.to(device), self.dtype)

    def new_empty(self, sizes: Any) -> TensorWrapper:
        return TensorWrapper(self.base.new_empty(sizes), self.dtype)

    def __str__(self) -> str:
        return f"TensorWrapper[{self.dtype}]({self.base})"


def reinterpret(tensor: Any, dtype: Any) -> Any:
    """``tensor`` as elements of ``dtype``, which may be a ``tl`` type that torch does not have.

    Gives the tensor itself where ``dtype`` is its own already.  TypeError for what is no tensor.
    """
    if isinstance(tensor, TensorWrapper):
        return tensor.base if dtype == tensor.base.dtype else TensorWrapper(tensor.base, dtype)
    if hasattr(tensor, "data_ptr") or hasattr(tensor, "__array_interface__"):
        return TensorWrapper(tensor, dtype)
    raise TypeError(f"{type(tensor).__name__} is no tensor, so it cannot be reinterpreted as {dtype}")
