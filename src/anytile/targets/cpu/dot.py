"""dot: packed operands and micro-kernel calls (written against `microkernels`)."""

from __future__ import annotations


class DotEmitter:
    def __init__(self, program):
        self.p = program

    def packed_buffer(self, v):
        return None

    def functions(self):
        return []
