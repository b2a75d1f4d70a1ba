"""Executes the LLVM text of a kernel without a GPU as one of its threads meets it: integers, branches, loops, a record of what it asks for.

Numbers in floating point are not computed, and what is loaded is not there; the kernel must not branch on them.  What moves tiles and what
multiplies them is recorded, in order, as tuples:

    ("expect", barrier)                              mbarrier.arrive.expect_tx
    ("box", map, coordinates, address, barrier)      a box of a tensor on its way to shared memory
    ("wait", barrier, parity)                        until a phase of the barrier is over
    ("copy", address, source, on)                    cp.async; ``source``: its address in global memory
    ("commit",), ("landed", n)                       groups of copies, and the wait that leaves n of them in flight
    ("dot", addresses)                               one instruction's operands in shared memory
    ("retired", n)                                   the wait that leaves n groups of such instructions in flight
    ("stored", map, coordinates)                     a box from shared memory
    ("barrier",), ("barrier", n)                     of all threads, or of those who name it ``n``
    ("left", address)                                counted there that a warpgroup has left a slot; all others have
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

from llvm_text import at_commas

__all__ = ["SHARED", "run", "run_together"]

SHARED = 1 << 10
"""Where the shared memory begins."""
_BITS = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "ptr": 64}
_PREDICATES = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
}  # fmt: skip


def _bits(t: str) -> int:
    return _BITS.get(t.split()[0], 0)


def _signed(x: int, bits: int) -> int:
    x &= (1 << bits) - 1
    return x - (1 << bits) if bits > 1 and x >> (bits - 1) else x


def _quotient(a: int, b: int) -> int:
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


class _Thread:
    def __init__(self, text: str, arguments: list[int], thread: int, program: int, programs: int, world: _World | None = None):
        self.world = world
        self.waits: list[int] | None = None  # barrier and parity
        self.values: dict[str, Any] = {}
        self.registers = {"tid.x": thread, "ctaid.x": program, "nctaid.x": programs}
        self.events: list[tuple[Any, ...]] = []
        head, body = re.search(r"define ptx_kernel void @\w+\((.*)\) #0 \{\n(.*?)\n\}", text, re.S).groups()  # type: ignore[union-attr]
        parameters = [(p.split()[0], p.rsplit(" ", 1)[1]) for p in at_commas(head)]
        numbers = iter(arguments)
        for t, name in parameters:
            self.values[name] = name if name.startswith("%map") else next(numbers) & ((1 << _bits(t)) - 1)
        self.blocks: dict[str, list[str]] = {}
        label = "entry"
        for line in body.splitlines():
            line = line.split(" ;")[0].strip()
            if m := re.fullmatch(r"([\w.]+):", line):
                label = m[1]
            elif line:
                self.blocks.setdefault(label, []).append(line)
        self.blocks.setdefault("entry", [])

    def go(self, steps: int) -> Iterator[None]:
        """Runs to the end, with a stop behind each line that asks for something."""
        before, label = "", "entry"
        while label != "":
            lines = self.blocks[label]
            phis = [m.groups() for line in lines if (m := re.match(r"(%[\w.]+) = phi (\S+(?: addrspace\(\d\))?) (.*)", line))]
            found = {}
            for name, t, ways in phis:
                way = dict(reversed(re.findall(r"\[ (\S+), %([\w.]+) \]", ways)[i]) for i in range(ways.count("[")))
                found[name] = self.value(way[before], t)
            self.values |= found
            following = None
            for line in lines[len(phis) :]:
                steps -= 1
                assert steps > 0, "the kernel does not end"
                seen = len(self.events)
                following = self.step(line)
                while self.world is not None and self.waits is not None and not self.world.over(*self.waits):
                    yield
                self.waits = None
                if len(self.events) > seen:
                    if self.world is not None:
                        self.world.noticed(self, self.events[seen])
                    yield
            assert following is not None, lines[-1]
            before, label = label, following

    def value(self, text: str, t: str = "i32") -> Any:
        if text.startswith("%"):
            return self.values[text]
        if text in ("true", "false"):
            return int(text == "true")
        if text == "null":
            return 0
        if text == "@shared":
            return SHARED
        bits = _bits(t)
        return int(text) & ((1 << bits) - 1) if bits and re.fullmatch(r"-?\d+", text) else None

    def typed(self, text: str) -> tuple[str, Any]:
        t, v = text.rsplit(" ", 1)
        return t, self.value(v, t)

    def step(self, line: str) -> str | None:
        name = ""
        if m := re.match(r"(%[\w.]+) = (.*)", line):
            name, line = m.groups()
        line = re.sub(r", !.*$", "", line)
        op, _, rest = line.partition(" ")
        if op == "br":
            if rest.startswith("label"):
                return rest.split("%")[1]
            condition, yes, no = re.match(r"i1 (\S+), label %(\S+), label %(\S+)", rest).groups()  # type: ignore[union-attr]
            return yes if self.number(condition, "i1") else no
        if op == "ret":
            return ""
        if op == "call" and " asm " in line:
            self.values[name or "-"] = self.assembly(rest)
        elif op == "call":
            self.values[name or "-"] = self.call(rest)
        else:
            self.values[name or "-"] = self.compute(op, rest)
        return None

    def number(self, text: str, t: str) -> int:
        x = self.value(text, t)
        assert x is not None, f"{text} is not known"
        return x

    def compute(self, op: str, rest: str) -> Any:
        if op in ("zext", "sext", "trunc", "ptrtoint", "inttoptr", "bitcast"):
            source, to = rest.removeprefix("nneg ").split(" to ")
            t, x = self.typed(source)
            if x is None or not _bits(to):
                return None
            return (_signed(x, _bits(t)) if op == "sext" else x) & ((1 << _bits(to)) - 1)
        if op == "select":
            condition, yes, no = (self.typed(p) for p in at_commas(rest))
            return None if condition[1] is None else (yes if condition[1] else no)[1]
        if op == "icmp":
            kind, rest = rest.split(" ", 1)
            (t, a), b = self.typed(at_commas(rest)[0]), at_commas(rest)[1]
            y = self.value(b, t)
            if a is None or y is None:
                return None
            if kind[0] == "s":
                a, y = _signed(a, _bits(t)), _signed(y, _bits(t))
            return int(_PREDICATES[kind if kind in _PREDICATES else kind[1:]](a, y))
        if op == "getelementptr":
            t, (_, base), *indices = rest.split(",")[0].split()[-1], *(self.typed(p) for p in at_commas(rest)[1:])
            size = {"half": 2, "bfloat": 2, "float": 4}.get(t, max(1, _bits(t) // 8))
            if base is None or indices[0][1] is None:
                return None
            return (base + _signed(indices[0][1], _bits(indices[0][0])) * size) & ((1 << 64) - 1)
        words = rest.split(" ")
        while words[0] in ("nuw", "nsw", "disjoint", "exact", "nneg"):
            words.pop(0)
        parts = at_commas(" ".join(words))
        if len(parts) != 2 or _bits(parts[0].split()[0]) == 0:
            return None
        (t, a), b = self.typed(parts[0]), self.value(parts[1], parts[0].split()[0])
        if a is None or b is None:
            return 0 if op == "and" and 0 in (a, b) else None  # the other one is undefined
        n = _bits(t)
        x, y = _signed(a, n), _signed(b, n)
        out = {
            "add": lambda: a + b, "sub": lambda: a - b, "mul": lambda: a * b, "and": lambda: a & b, "or": lambda: a | b,
            "xor": lambda: a ^ b, "shl": lambda: a << b, "lshr": lambda: a >> b, "ashr": lambda: x >> b,
            "sdiv": lambda: _quotient(x, y), "srem": lambda: x - _quotient(x, y) * y, "udiv": lambda: a // b, "urem": lambda: a % b,
        }[op]()  # fmt: skip
        return out & ((1 << n) - 1)

    def call(self, rest: str) -> Any:
        t, name, arguments = re.match(r"(.*?) @([\w.]+)\((.*)\)", rest).groups()  # type: ignore[union-attr]
        found = [self.typed(p) for p in at_commas(arguments)]
        if m := re.match(r"llvm\.nvvm\.read\.ptx\.sreg\.(.*)", name):
            return self.registers[m[1]]
        if m := re.match(r"llvm\.([su])(max|min)\.", name):
            (kind, a), (_, b) = found
            n = _bits(kind)
            pick = max if m[2] == "max" else min
            return pick(a, b, key=lambda x: _signed(x, n) if m[1] == "s" else x)
        if "shfl" in name:
            return found[1][1]
        if name == "llvm.nvvm.barrier.cta.sync.aligned.all":
            self.events.append(("barrier",))
        elif "wgmma.commit_group" in name:
            self.events.append(("group",))
        return None

    def assembly(self, rest: str) -> Any:
        text, _, arguments = re.search(r'asm (?:sideeffect )?"(.*?)", "(.*?)"\((.*)\) #1', rest).groups()  # type: ignore[union-attr]
        xs = [self.typed(p)[1] for p in at_commas(arguments)]
        result = 0 if rest.startswith("void") else 1
        if "elect.sync" in text:
            return 1
        if "expect_tx" in text:
            if xs[1]:
                self.events.append(("expect", xs[0]))
        elif "shared::cluster.global" in text:
            where, at, barrier, on = xs[1:-3], *xs[-3:]
            if on:
                self.events.append(("box", xs[0], tuple(_signed(x, 32) for x in where), at, barrier))
        elif "global.shared::cta" in text:
            if xs[-1]:
                self.events.append(("stored", xs[0], tuple(_signed(x, 32) for x in xs[1:-2])))
        elif "mbarrier.try_wait" in text:
            if len(xs) == 2 or xs[2]:
                self.events.append(("wait", *xs[:2]))
                self.waits = xs[:2]
        elif "atom.acq_rel" in text:  # the other warpgroup has been here
            if not xs[1]:
                return 0
            self.events.append(("left", xs[0]))
            return 1 if self.world is None else self.world.left(xs[0])
        elif "mbarrier.test_wait" in text:
            return 0
        elif m := re.search(r"cp\.async\.c[ag]\.shared\.global \[\$0\+(\d+)\]", text):
            self.events.append(("copy", xs[0] + int(m[1]), xs[1], xs[2]))
        elif "cp.async.commit_group" in text:
            self.events.append(("commit",))
        elif m := re.search(r"cp\.async\.wait_group (\d+)", text):
            self.events.append(("landed", int(m[1])))
        elif text.startswith("bar.sync $0"):
            self.events.append(("barrier", xs[0]))
        elif "wgmma.mma_async" in text:
            t64 = [p.rsplit(" ", 1)[1] for p in at_commas(arguments) if p.startswith("i64")]
            self.events.append(("dot", tuple((self.values[x] & 0x3FFF) << 4 for x in t64)))
        elif m := re.search(r"wgmma\.wait_group\.sync\.aligned (\d+)", text):
            self.events.append(("retired", int(m[1])))
        return None if result else 0


def run(
    text: str, arguments: list[int], thread: int = 0, program: int = 0, programs: int = 1, steps: int = 2_000_000
) -> list[tuple[Any, ...]]:
    """What a thread of a program asks for.

    ``text``: LLVM's; ``arguments``: integers and addresses for the kernel's parameters but its maps.
    """
    it = _Thread(text, arguments, thread, program, programs)
    for _ in it.go(steps):
        pass
    return it.events


class _World:
    """What threads of a program share: the accelerator's barriers, copies on their way, and what lies in shared memory.

    Asserts that what a dot reads stays until it is done, and is overwritten only when all threads have read it.
    """

    def __init__(self, threads: int):
        self.threads = threads
        self.phases: dict[int, int] = {}  # of a barrier that are over
        self.asked: list[tuple[int, list[tuple[int, tuple]]]] = []  # barrier, and (address, coordinates) of the boxes it waits for
        self.there: dict[int, list] = {}  # address → coordinates, and the threads that have read them
        self.counts: dict[int, int] = {}
        self.reading: dict[_Thread, list[dict[int, tuple]]] = {}
        self.read: dict[_Thread, dict[int, tuple]] = {}

    def over(self, barrier: int, parity: int) -> bool:
        return self.phases.get(barrier, 0) & 1 != parity

    def left(self, address: int) -> int:
        before = self.counts.get(address, 0)
        self.counts[address] = before + 1
        return before & 1

    def land(self) -> bool:
        """Some copy that is on its way arrives."""
        if not self.asked:
            return False
        barrier, boxes = self.asked.pop(0)
        for at, where in boxes:
            assert at not in self.there or len(self.there[at][1]) == self.threads, "overwritten before all have read it"
            assert not any(at in group for groups in self.reading.values() for group in groups), "overwritten while it is read"
            self.there[at] = [where, set()]
        self.phases[barrier] = self.phases.get(barrier, 0) + 1
        return True

    def noticed(self, thread: _Thread, event: tuple[Any, ...]) -> None:
        kind, *what = event
        if kind == "expect":
            self.asked.append((what[0], []))
        elif kind == "box":
            self.asked[-1][1].append((what[2], what[1]))
            assert self.asked[-1][0] == what[3]
        elif kind == "dot":
            for address in what[0]:
                at = max(x for x in self.there if x <= address)
                self.read.setdefault(thread, {})[at] = self.there[at][0]
        elif kind == "group":
            for at in self.read[thread]:
                self.there[at][1].add(thread)
            self.reading.setdefault(thread, []).append(self.read.pop(thread))
        elif kind == "retired" and thread in self.reading:
            self.reading[thread] = self.reading[thread][-what[0] :] if what[0] else []


def run_together(
    text: str, arguments: list[int], threads: list[int], program: int, programs: int, seed: int
) -> list[list[tuple[Any, ...]]]:
    """`run`, of several threads that stand for their warpgroups, in turns by chance, and copies that take their time.

    A thread's copies that it asks for one after the other are not interrupted.
    """
    chance, world = random.Random(seed), _World(len(threads))
    running = {it: it.go(2_000_000) for it in (_Thread(text, arguments, thread, program, programs, world) for thread in threads)}
    all_of_them = list(running)
    weights = {it: chance.choice([1, 1, 5, 30]) for it in running}
    idle = 0
    while running:
        if chance.random() < 0.2:
            idle = 0 if world.land() else idle + 1
        it = chance.choices(list(running), [weights[x] for x in running])[0]
        seen = len(it.events)
        for _ in running[it]:
            if not it.events or it.events[-1][0] not in ("expect", "box"):
                break
        else:
            del running[it]
        idle = 0 if len(it.events) > seen else idle + 1
        assert idle < 10_000, "nobody goes on"
    assert not world.asked, "copies that nobody waits for"
    return [it.events for it in all_of_them]
