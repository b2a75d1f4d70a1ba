"""Executes the LLVM text of a kernel without a GPU: one block, all its threads in lockstep, a NumPy array for each value.

For kernels of the instructions that loads, stores, arithmetic, selects, shuffles and exchanges through shared memory are written with, and
of loops that end with the condition which all threads answer alike.  What it does not know, it refuses.  A branch runs both ways one after
the other, each for its threads, as code that meets again behind it allows; so a thread that reads shared memory finds what all threads
wrote before, with or without a barrier.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from llvm_text import at_commas

from anytile.runtime.compiler import ASTSource, Options
from anytile.runtime.driver import GPUTarget
from anytile.targets.nvidia.chips import chip
from anytile.targets.nvidia.codegen import lower

__all__ = ["launch", "lowered"]

SHARED_BYTES = 1 << 17
_TYPES = {"i1": "?", "i8": "u1", "i16": "u2", "i32": "u4", "i64": "u8", "float": "f4", "double": "f8", "half": "f2", "ptr": "u8"}
_SIGNED = {"srem": np.fmod, "ashr": np.right_shift}
_BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "shl": np.left_shift, "lshr": np.right_shift, "fadd": np.add, "fsub": np.subtract, "fmul": np.multiply,
}  # fmt: skip
_ORDER = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal
}  # fmt: skip


def _split(typed: str) -> tuple[str, str]:
    """(type, value) of ``i32 %x``."""
    t, v = typed.rsplit(" ", 1)
    return t.replace(" addrspace(1)", "").replace(" addrspace(3)", ""), v


def _numpy(t: str) -> np.dtype:
    return np.dtype(_TYPES["ptr" if t.startswith("ptr") else t])


def _signed(x: np.ndarray) -> np.ndarray:
    return x.view(f"i{x.dtype.itemsize}")


class _Block:
    def __init__(self, threads: int, arguments: list[np.ndarray | int]):
        self.threads, self.active = threads, np.ones(threads, bool)
        self.values: dict[str, Any] = {}
        self.shared = np.zeros(SHARED_BYTES, np.uint8)
        self.arrays = [a.view(np.uint8).reshape(-1) if isinstance(a, np.ndarray) else None for a in arguments]
        for i, a in enumerate(arguments):
            self.values[f"%p{i}"] = self.all((i + 1) << 40 if isinstance(a, np.ndarray) else a, "u8" if isinstance(a, np.ndarray) else "u4")

    def all(self, x: Any, dtype: Any) -> np.ndarray:
        return np.full(self.threads, x, dtype)

    def get(self, t: str, v: str) -> Any:
        if v.startswith("%"):
            return self.values[v]
        if v in ("@shared", "null", "zeroinitializer", "poison", "undef"):
            vector = re.match(r"<(\d+) x (\w+)>", t)
            return [self.all(0, _numpy(vector[2]))] * int(vector[1]) if vector else self.all(0, _numpy(t))
        if v in ("true", "false"):
            return self.all(v == "true", bool)
        if v.startswith("0x"):
            return self.all(np.array(int(v, 16), np.uint64).view(np.float64), _numpy(t))
        number = float(v) if t in ("float", "double", "half") else int(v) % (1 << 64)
        return self.all(number if isinstance(number, float) else number & ((1 << _numpy(t).itemsize * 8) - 1), _numpy(t))

    # --- memory ---

    def _bytes(self, address: np.ndarray, on: np.ndarray, shared: bool) -> tuple[np.ndarray, np.ndarray]:
        """(memory, offsets of the threads that are on); all of one launch are in one array."""
        if shared:
            return self.shared, address[on].astype(np.int64)
        which = int(address[on][0] >> 40) - 1 if on.any() else 0
        memory = self.arrays[which]
        assert memory is not None
        offsets = (address[on].astype(np.int64)) - ((which + 1) << 40)
        assert (offsets >= 0).all() and (offsets < len(memory)).all(), "an access outside of its array"
        return memory, offsets

    def load(self, address: np.ndarray, dtype: np.dtype, on: np.ndarray, shared: bool) -> np.ndarray:
        out, size = np.zeros(self.threads, dtype), max(1, dtype.itemsize)
        memory, at = self._bytes(address, on, shared)
        assert (at % size == 0).all(), "an access that is not aligned"
        raw = memory[at[:, None] + np.arange(size)]
        out[on] = raw.copy().view(dtype).reshape(-1)
        return out

    def store(self, address: np.ndarray, x: np.ndarray, on: np.ndarray, shared: bool) -> None:
        memory, at = self._bytes(address, on, shared)
        memory[at[:, None] + np.arange(x.dtype.itemsize)] = np.ascontiguousarray(x[on]).view(np.uint8).reshape(len(at), -1)

    # --- instructions ---

    def call(self, name: str, args: list[Any]) -> Any:
        lanes = np.arange(self.threads)
        if name.endswith("tid.x"):
            return lanes.astype(np.uint32)
        if "sreg.ctaid" in name:
            return self.all(0, np.uint32)
        if ".shfl.sync." in name:
            kind, _, x, at = name.split(".")[4], *args[:3]
            source = lanes ^ at.astype(int) if kind == "bfly" else (lanes & ~31) | at.astype(int)
            assert kind in ("bfly", "idx") and self.active.all(), "a shuffle that some lanes do not reach"
            return x[source]
        if name.startswith("llvm.fma"):  # of numbers whose products and sums are exact
            return args[0] * args[1] + args[2]
        if name.startswith("llvm.maxnum") or name.startswith("llvm.minnum"):
            return (np.fmax if "max" in name else np.fmin)(*args[:2])
        if name[:9] in ("llvm.smax", "llvm.smin", "llvm.umax", "llvm.umin"):
            kind = f"{'i' if name[5] == 's' else 'u'}{args[0].dtype.itemsize}"
            return (np.maximum if name[6:9] == "max" else np.minimum)(*(a.view(kind) for a in args)).view(args[0].dtype)
        if ".barrier." in name or ".bar." in name:
            assert self.active.all(), "a barrier that some threads do not reach"
            return None
        raise NotImplementedError(name)

    def assembly(self, text: str, result: str, args: list[Any]) -> Any:
        on, rest = self.active, text
        predicated = re.match(r"@\$(\d+) (.*)", text)
        outputs = result.count("i32") if result.startswith("{") else int(result.rsplit(".", 1)[1]) if "." in result else result != "void"
        if predicated:
            on, rest = on & args[int(predicated[1]) - outputs], predicated[2]
        access = re.fullmatch(r"(ld|st)\.global(?:\.\w+)*?(?:\.v(\d))?\.[bu](\d+) (.*);", rest)
        if access is None:
            raise NotImplementedError(text)
        places = [int(n) - outputs for n in re.findall(r"\$(\d+)", access[4])]
        width = int(access[3]) // 8
        if access[1] == "ld":
            base = args[places[-1]]
            got = [self.load(base + np.uint64(k * width), np.dtype(f"u{width}"), on, False) for k in range(int(access[2] or 1))]
            if predicated:  # the address, the condition, and what the results are where it is off
                got = [np.where(on, x, start.view(x.dtype)) for x, start in zip(got, args[2:], strict=True)]
            return got if access[2] else got[0]
        for k, p in enumerate(places[1:]):
            self.store(args[places[0]] + np.uint64(k * width), args[p], on, False)
        return None

    def value(self, text: str) -> Any:
        op, rest = text.split(" ", 1)
        if op == "call":
            inline = re.match(r'(.*?) asm (?:sideeffect )?"(.*?)", ".*?"\((.*)\)', rest)
            if inline:
                return self.assembly(inline[2], inline[1].strip(), [self.get(*_split(a)) for a in at_commas(inline[3])])
            plain = re.match(r".*?@([\w.]+)\((.*)\)", rest)
            assert plain
            return self.call(plain[1], [self.get(*_split(a)) for a in at_commas(plain[2])])
        if op == "getelementptr":
            scale, pointer, index = at_commas(rest)
            i = self.get(*_split(index))
            at = _signed(i).astype(np.int64) * max(1, _numpy(scale).itemsize)
            return (self.get(*_split(pointer)).astype(np.int64) + at).astype(np.uint64)
        if op == "load":
            kind, pointer = at_commas(rest)[:2]
            address, vector = self.get(*_split(pointer)), re.match(r"<(\d+) x (\w+)>", kind)
            shared = "addrspace(3)" in pointer
            if not vector:
                return self.load(address, _numpy(kind), self.active, shared)
            item = _numpy(vector[2])
            return [self.load(address + np.uint64(k * item.itemsize), item, self.active, shared) for k in range(int(vector[1]))]
        if op == "select":
            c, a, b = (self.get(*_split(p)) for p in at_commas(rest))
            return np.where(c, a, b)
        if op in ("icmp", "fcmp"):
            flags, left, right = re.fullmatch(r"(.*?)((?:i\d+|float|double|half|ptr.*?) \S+), (\S+)", rest).groups()  # type: ignore[union-attr]
            t, name = left.rsplit(" ", 1)
            a, b, how = self.get(t, name), self.get(t, right), flags.split()[-1]
            if op == "icmp" and how[0] == "s":
                a, b = _signed(a), _signed(b)
            met = _ORDER[how[-2:]](a, b)
            unordered = op == "fcmp" and (np.isnan(a) | np.isnan(b))
            return met if op == "icmp" else met | unordered if how[0] == "u" else met & ~unordered
        if op in ("bitcast", "zext", "sext", "trunc", "ptrtoint", "inttoptr", "sitofp", "fptosi", "fpext", "fptrunc"):
            source, to = rest.rsplit(" to ", 1)
            t, v = _split(re.sub(r"^(nneg|nuw|nsw|contract) ", "", source))
            vector = re.fullmatch(r"<(\d+) x (\w+)>", to)
            if vector:  # a word's parts
                parts = self.get(t, v).view(_numpy(vector[2])).reshape(self.threads, -1)
                return list(parts.T.copy())
            if t.startswith("<"):
                return np.stack(self.get(t, v), 1).view(_numpy(to)).reshape(-1)
            x, into = self.get(t, v), _numpy(to)
            if op == "bitcast":
                return x.view(into)
            if op in ("sext", "sitofp"):
                x = _signed(x) if x.dtype != bool else -x.astype(np.int8)
            return x.astype(f"i{into.itemsize}").view(into) if op == "fptosi" else x.astype(into)
        if op in ("extractelement", "extractvalue"):
            whole, index = at_commas(rest)
            return self.get(*_split(whole))[int(index.split()[-1])]
        if op == "insertelement":
            whole, item, index = at_commas(rest)
            made = list(self.get(*_split(whole)))
            made[int(index.split()[-1])] = self.get(*_split(item))
            return made
        if op in _BINARY or op in _SIGNED:
            left, right = at_commas(rest)
            t, v = left.split()[-2:]
            a, b = self.get(t, v), self.get(t, right)
            if op in _BINARY:
                return _BINARY[op](a, b)
            return _SIGNED[op](_signed(a), _signed(b)).view(a.dtype)
        raise NotImplementedError(text)

    def run(self, lines: list[str]) -> None:
        waiting: dict[str, np.ndarray] = {}  # label → the threads that go on there
        passed: dict[str, int] = {}  # label → its line
        at, here, before = 0, "entry", ""
        while at < len(lines):
            line, at = lines[at], at + 1
            label = re.fullmatch(r"(\w+):", line)
            if label:
                before, here = here, label[1]
                passed[here] = at
                if label[1] in waiting:
                    self.active = waiting.pop(label[1])
                numbers = {}
                while at < len(lines) and (phi := re.fullmatch(r"\s*(\S+) = phi (\S+) (.*)", lines[at])):
                    came = dict((b, a) for a, b in re.findall(r"\[ (\S+), %(\w+) \]", phi[3]))
                    numbers[phi[1]] = self.get(phi[2], came[before])
                    at += 1
                self.values.update(numbers)
                continue
            line = line.strip()
            branch = re.fullmatch(r"br i1 (\S+), label %(\w+), label %(\w+)(?:, !llvm.loop .*)?", line)
            if branch and branch[2] in passed:
                again = self.get("i1", branch[1])
                assert self.active.all() and (again == again[0]).all(), "a loop that threads leave at different times"
                at = passed[branch[2]] - 1 if again[0] else at
            elif branch:  # only around what some threads skip
                waiting[branch[3]] = self.active
                self.active = self.active & self.get("i1", branch[1])
            elif line.startswith("store "):
                x, pointer = at_commas(line[6:])[:2]
                t, v = _split(x)
                got, address = self.get(t, v), self.get(*_split(pointer))
                for k, item in enumerate(got if isinstance(got, list) else [got]):
                    self.store(address + np.uint64(k * item.dtype.itemsize), item, self.active, "addrspace(3)" in pointer)
            elif " = " in line:
                name, text = line.split(" = ", 1)
                self.values[name] = self.value(text)
            elif line.startswith("call "):
                self.value(line)
            elif not re.match(r"ret void|br label", line):
                raise NotImplementedError(line)


def launch(llir: str, warps: int, *arguments: np.ndarray | int) -> None:
    """Runs the kernel of ``llir`` as program 0; arrays are written in place, numbers are i32."""
    body = llir[llir.index("\nentry:\n") + 8 : llir.rindex("\n}\n")]
    with np.errstate(all="ignore"):
        _Block(32 * warps, list(arguments)).run([line for line in body.splitlines() if line.strip()])


def lowered(fn, warps: int, constants: dict[str, object], **types: str) -> str:
    """LLVM text for an H100 of ``fn`` with ``types`` for its arguments; pointers, and numbers whose name ends in 16, are divisible by 16."""
    target = GPUTarget("cuda", 90, 32)
    options = Options.of({"num_warps": warps}, target, "reduced")
    attrs = {(i,): [["tt.divisibility", 16]] for i, (n, t) in enumerate(types.items()) if t[0] == "*" or n.endswith("16")}
    source = ASTSource(fn, {**types, **dict.fromkeys(constants, "constexpr")}, constants, attrs)
    return lower(source.make_module(options), options, chip(90))[0]
