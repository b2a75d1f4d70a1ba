"""`ReferenceTarget`: the tile IR executed with NumPy, op by op."""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import Any

import numpy as np

from ... import __version__
from ...ir import Module, parse_type
from .. import formats
from ..base import Artifact, struct_format
from .executor import run_grid

__all__ = ["ReferenceTarget"]

_KEPT_MODULES = 128


class _Loaded:
    """A module ready to run; ``metadata`` is its artifact's."""

    def __init__(self, module: Module, metadata: dict[str, Any]):
        self.module, self.metadata = module, metadata
        self._types = [parse_type(text) for text in metadata["slots"]]
        self._struct = struct.Struct(struct_format(self._types))

    def run(self, packed: bytes, gx: int, gy: int, gz: int) -> None:
        """Runs the grid.  Raises what the kernel's asserts and bounds checks raise."""
        run_grid(self.module.kernel, self._unpack(packed), (gx, gy, gz))

    def _unpack(self, packed: bytes) -> list[np.ndarray]:
        args = []
        for type_, value in zip(self._types, self._struct.unpack(packed)):
            elem: Any = type_.elem
            if elem.is_float:
                wide = np.float64 if elem.bits == 64 else np.float32
                args.append(formats.encode(np.asarray(value, wide), elem))
            elif elem.is_ptr:
                args.append(np.asarray(value, np.uint64))
            else:
                args.append(np.asarray(np.int64(value)).astype(formats.storage(elem)) if elem.bits > 1 else np.asarray(bool(value & 1)))
        return args


class ReferenceTarget:
    """The oracle of all other targets: slow, plain, and exact to each format's rounding."""

    name = "reference"

    def __init__(self) -> None:
        # Modules of this process, so that loading what was just compiled parses nothing.
        self._modules: OrderedDict[str, Module] = OrderedDict()

    def fingerprint(self) -> str:
        return f"reference-{__version__}-numpy-{np.__version__}"

    def compile(self, module: Module, options: Any = None) -> Artifact:
        text = str(module)
        self._modules[text] = module
        while len(self._modules) > _KEPT_MODULES:
            self._modules.popitem(last=False)
        kernel = module.kernel
        return Artifact({"tile": text}, {"name": kernel.name, "slots": [str(a.type) for a in kernel.args], "scratch": 0})

    def load(self, artifact: Artifact) -> _Loaded:
        from ...ir.parser import parse_module

        text = artifact.stages["tile"]
        assert isinstance(text, str)
        return _Loaded(self._modules.get(text) or parse_module(text), artifact.metadata)
