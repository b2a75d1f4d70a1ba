"""Rings that go on from tile to tile: what is copied ahead is what each dot reads, in order, whatever numbers of iterations the tiles have."""

from __future__ import annotations

import one_thread
import pytest

from anytile import language as tl
from anytile.runtime.compiler import ASTSource, compile
from anytile.runtime.driver import GPUTarget
from anytile.runtime.jit import jit

M, N, K = 128, 64, 64


@jit
def by_maps(
    a, b, c, tiles, columns, longest, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, FLATTEN: tl.constexpr, SPECIAL: tl.constexpr
):
    """Tiles with 0 to `longest` − 1 iterations, which begin at different places."""
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), flatten=FLATTEN, warp_specialize=SPECIAL):
        m, n = tile // columns * M, tile % columns * N
        acc = tl.zeros((M, N), tl.float32)
        for k in range(tile % 3 * K, (tile * 5 + 2) % longest * K, K):
            acc = tl.dot(a.load([m, k]), b.load([n, k]).T, acc)
        c.store([m, n], acc.to(c.dtype))


@jit
def by_addresses(a, b, c, rows, columns, depth, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, FLATTEN: tl.constexpr):
    """The same, of a tensor of `rows` and a sum over `depth`, with pointers."""
    across = tl.cdiv(columns, N)
    count = tl.program_id(0)
    for tile in tl.range(tl.program_id(0), tl.cdiv(rows, M) * across, tl.num_programs(0), flatten=FLATTEN):
        m, n, k = tile // across * M + tl.arange(0, M), tile % across * N + tl.arange(0, N), tl.arange(0, K)
        acc = tl.zeros((M, N), tl.float32)
        for i in range(0, depth * (count % 4) // 2, K):
            x = tl.load(a + (m[:, None] * depth + (k + i)[None, :]), mask=(m[:, None] < rows) & (k[None, :] < depth - i), other=0.0)
            y = tl.load(b + (n[None, :] * depth + (k + i)[:, None]), mask=k[:, None] < depth - i, other=0.0)
            acc = tl.dot(x, y, acc)
        count += 3
        tl.store(c + m[:, None] * columns + n[None, :], acc, mask=(m[:, None] < rows) & (n[None, :] < columns))


def mapped(stages=3, flatten=True, special=False, m=M, n=N, arch=90, warps=8):
    constants = {"M": m, "N": n, "K": K, "FLATTEN": flatten, "SPECIAL": special}
    signature = {x: f"tensordesc<fp16[{r},{s}]>" for x, r, s in (("a", m, K), ("b", n, K), ("c", m, n))}
    signature |= {"tiles": "i32", "columns": "i32", "longest": "i32", **dict.fromkeys(constants, "constexpr")}
    source = ASTSource(by_maps, signature, constants, {})
    return compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": warps, "num_stages": stages})


def addressed(stages=3, flatten=True, arch=90, warps=8, fn=by_addresses, n=N):
    constants = {"M": M, "N": n, "K": K, "FLATTEN": flatten}
    signature = {"a": "*fp16", "b": "*fp16", "c": "*fp32", "rows": "i32", "columns": "i32", "depth": "i32"}
    attrs = {(i,): [["tt.divisibility", 16]] for i in (0, 1, 2, 5)}
    source = ASTSource(fn, {**signature, **dict.fromkeys(constants, "constexpr")}, constants, attrs)
    return compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": warps, "num_stages": stages})


def goes_on(kernel) -> bool:
    """Whether a ring of the kernel goes on from tile to tile: its first copies are made by a loop that looks for tiles."""
    return "next" in kernel.asm["llir"] and "filled" in kernel.asm["llir"]


def read_by_dots(events) -> list[tuple[list[set], tuple]]:
    """For each tile of a program with tensor maps: the coordinates of the boxes that each group of wgmma reads, and of what is stored.

    Asserts that the boxes are there, that nothing is overwritten while it is read, and that nothing is left in flight.
    """
    asked: dict[int, int] = {}
    waited: dict[int, int] = {}
    there: dict[int, tuple] = {}
    in_flight: list[set] = []
    tiles, dots, group = [], [], set()
    for kind, *what in events:
        if kind == "expect":
            asked[what[0]] = asked.get(what[0], 0) + 1
        elif kind == "box":
            _, where, at, barrier = what
            assert not any(at in g for g in in_flight), "overwritten while it is read"
            there[at] = where, barrier, asked[barrier]
        elif kind == "wait":
            barrier, parity = what
            waited[barrier] = waited.get(barrier, 0) + 1
            assert asked[barrier] == waited[barrier] and parity == (waited[barrier] - 1) % 2
        elif kind == "dot":
            for address in what[0]:
                at = max(x for x in there if x <= address)
                _, barrier, phase = there[at]
                assert waited[barrier] == phase, "read before it is there"
                group.add(at)
        elif kind == "group":
            dots.append({there[at][0] for at in group})
            in_flight.append(group)
            group = set()
        elif kind == "retired":
            in_flight = in_flight[-what[0] :] if what[0] else []
        elif kind == "stored":
            tiles.append((dots, what[1]))
            dots = []
    assert asked == waited
    return tiles


@pytest.mark.parametrize("stages, warps", [(2, 8), (3, 4), (3, 8), (4, 8)])
def test_maps(stages, warps):
    text = mapped(stages, warps=warps).asm["llir"]
    assert ("atom.acq_rel" in text) == (warps == 8)  # two warpgroups with half of the rows each
    strides = [0x10000, 9999, 9999, 9999, 0x20000, 9999, 9999, 9999, 0x30000, 9999, 9999, 9999]
    for tiles, columns, longest, program, programs in [
        (17, 3, 6, 0, 1),
        (17, 3, 6, 1, 4),
        (40, 7, 2, 2, 3),
        (9, 3, 1, 0, 2),
        (3, 3, 5, 5, 8),
        (0, 1, 1, 0, 1),
    ]:
        found = read_by_dots(one_thread.run(text, [*strides, tiles, columns, longest], 0, program, programs))
        expected = []
        for tile in range(program, tiles, programs):
            m, n = tile // columns * M, tile % columns * N
            ks = range(tile % 3 * K, (tile * 5 + 2) % longest * K, K)
            expected.append(([{(k, m), (k, n)} for k in ks], (n, m)))
        assert found == expected


def copied_for_dots(events, sizes, stages) -> list[dict]:
    """What a thread has copied for each group of wgmma: byte of the operands' slots → address in global memory, None for zeros.

    Asserts that it is there, and that nothing is overwritten while it is read.
    """
    starts = [one_thread.SHARED, one_thread.SHARED + stages * sizes[0]]
    there: dict[int, tuple] = {}
    groups: list[set] = [set()]
    landed: set[int] = set()
    in_flight: list[set] = []
    out, reads, count = [], set(), 0
    for kind, *what in events:
        if kind == "copy":
            at, source, on = what
            assert not any(low <= at < high for g in in_flight for _, low, high in g), "overwritten while it is read"
            count += 1
            there[at] = source if on else None, count
            groups[-1].add(count)
        elif kind == "commit":
            groups.append(set())
        elif kind == "landed":
            landed = landed.union(*groups[: len(groups) - 1 - what[0]])
        elif kind == "dot":
            for address in what[0]:
                operand = int(address >= starts[1])
                low = address - (address - starts[operand]) % sizes[operand]
                reads.add((operand, low, low + sizes[operand]))
        elif kind == "group":
            found = {(o, at - low): there[at] for o, low, high in reads for at in there if low <= at < high}
            assert all(number in landed for _, number in found.values()), "read before it is there"
            out.append({at: source for at, (source, _) in found.items()})
            in_flight.append(reads)
            reads = set()
        elif kind == "retired":
            in_flight = in_flight[-what[0] :] if what[0] else []
    return out


@pytest.mark.parametrize("stages", [2, 3, 4])
def test_addresses(stages):
    """Each thread copies what it copied without: tile by tile, where the first iteration of a tile takes place always (`Pipeline.once`)."""
    ring, sizes = addressed(stages).asm["llir"], (M * K * 2, K * N * 2)
    tile_by_tile = addressed(stages, flatten=False).asm["llir"]
    compared = 0
    for rows, columns, depth, program, programs, thread in [
        (700, 300, 200, 0, 1, 0),
        (700, 300, 200, 2, 5, 200),
        (1000, 64, 64, 1, 3, 31),
        (90, 90, 24, 3, 2, 255),
    ]:
        arguments = [0x1000000, 0x2000000, 0x3000000, rows, columns, depth]
        found, expected = (
            copied_for_dots(one_thread.run(t, arguments, thread, program, programs), sizes, stages) for t in (ring, tile_by_tile)
        )
        # Of tiles without iterations the one has nothing, the other zeros.
        assert [x for x in found if any(x.values())] == [x for x in expected if any(x.values())]
        compared += len(found)
    assert compared > 20


def test_who_may():
    """The program says that a tile's loads may come before the last tile's stores."""
    assert goes_on(mapped()) and goes_on(addressed())
    assert goes_on(mapped(flatten=False, special=True))
    assert not goes_on(mapped(flatten=False)) and not goes_on(addressed(flatten=False))
    assert goes_on(addressed(arch=80, warps=4)) and not goes_on(addressed(arch=75, warps=4))


def test_memory():
    """The ring, what is stored, barriers; where that is too much, a slot less, if three are left; else the ring is one tile's."""
    kernel = mapped(3, m=128, n=256)
    assert goes_on(kernel) and kernel.metadata.shared == 3 * (128 + 256) * K * 2 + 1024 + (128 * 256 * 2) + 3 * 8
    assert kernel.metadata.resources["spill_stores"] == 0
    assert mapped(4, m=128, n=256).metadata.shared == kernel.metadata.shared
    kernel = mapped(2, m=256, n=256)
    assert not goes_on(kernel) and kernel.metadata.shared == 2 * (256 + 256) * K * 2 + 2 * 8


@jit
def told(a, b, c, rows, columns, depth, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, FLATTEN: tl.constexpr):
    """FLATTEN 1: tiles are waited for; 2: a tile's place is loaded; 3: it may change at any time; 4: its rows are."""
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    for tile in tl.range(0, rows, flatten=True):
        acc = tl.zeros((M, N), tl.float32)
        if FLATTEN == 1:
            tl.debug_barrier()
        at = tl.load(c + tile, volatile=FLATTEN == 3).to(tl.int32) if FLATTEN >= 2 else tile
        rows_of_a = tl.load(c + tile * M + m).to(tl.int32) * 3 % rows if FLATTEN == 4 else at * M + m
        for i in range(0, depth, K):
            x = tl.load(a + (rows_of_a[:, None] * depth + (k + i)[None, :]))
            acc = tl.dot(x, tl.load(b + (n[None, :] * depth + (k + i)[:, None])), acc)
        tl.store(c + rows + (tile * M + m)[:, None] * columns + n[None, :], acc)


@pytest.mark.parametrize("how, expected", [(0, True), (1, False), (2, True), (3, False), (4, True)])
def test_what_a_tile_depends_on(how, expected):
    assert goes_on(addressed(fn=told, flatten=how)) == expected


def test_warpgroups_alone():
    """Each warpgroup leaves each slot once and stores its own rows; none waits for the other between tiles."""
    text = mapped(3).asm["llir"]
    arguments = [0x10000, 9999, 9999, 9999, 0x20000, 9999, 9999, 9999, 0x30000, 9999, 9999, 9999, 20, 3, 6]
    tiles = range(0, 20, 2)
    iterations = sum(len(range(tile % 3, (tile * 5 + 2) % 6)) for tile in tiles)
    for thread in (0, 128):
        events = one_thread.run(text, arguments, thread, 0, 2)
        assert sum(e[0] == "left" for e in events) == iterations
        stored = [e[2] for e in events if e[0] == "stored"]
        assert stored == [(tile % 3 * N, tile // 3 * M + thread // 2) for tile in tiles]
        begun = next(i for i, e in enumerate(events) if e[0] == "dot")
        assert {e for e in events[begun:] if e[0] == "barrier"} == {("barrier", 1 + thread // 128)}
    larger = one_thread.run(mapped(3, m=256).asm["llir"], arguments, 128, 0, 2)
    assert [e[2] for e in larger if e[0] == "stored"] == [(tile % 3 * N, tile // 3 * 256 + 128) for tile in tiles]


@pytest.mark.parametrize("stages", [2, 3, 4])
def test_warpgroups_in_any_order(stages):
    """Whoever is faster: each reads what it should, nothing is overwritten before both have read it, and both come to their ends."""
    text = mapped(stages).asm["llir"]
    strides = [0x10000, 9999, 9999, 9999, 0x20000, 9999, 9999, 9999, 0x30000, 9999, 9999, 9999]
    for seed, (tiles, longest, programs) in enumerate([(17, 6, 1), (17, 9, 4), (9, 1, 1), (3, 5, 1), (1, 2, 1), (12, 2, 2), (30, 7, 3)]):
        both = one_thread.run_together(text, [*strides, tiles, 3, longest], [0, 128], 0, programs, seed)
        dots = [[e for e in events if e[0] == "group"] for events in both]
        iterations = sum(len(range(tile % 3, (tile * 5 + 2) % longest)) for tile in range(0, tiles, programs))
        assert len(dots[0]) == len(dots[1]) == iterations


@jit
def batched(a, b, c, count, depth, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """A tile's own number is a coordinate."""
    for tile in tl.range(0, count, flatten=True):
        acc = tl.zeros((M, N), tl.float32)
        for k in range(0, depth, K):
            acc = tl.dot(a.load([tile, 0, k]).reshape(M, K), b.load([0, k]).T, acc)
        c.store([tile, 0, 0], acc.to(c.dtype).reshape(1, M, N))


def test_a_tile_that_is_its_own_place():
    kinds = {"a": f"tensordesc<fp16[1,{M},{K}]>", "b": f"tensordesc<fp16[{N},{K}]>", "c": f"tensordesc<fp16[1,{M},{N}]>"}
    constants = {"M": M, "N": N, "K": K}
    source = ASTSource(batched, {**kinds, "count": "i32", "depth": "i32", **dict.fromkeys(constants, "constexpr")}, constants, {})
    text = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8, "num_stages": 3}).asm["llir"]
    three = [9999] * 5
    found = read_by_dots(one_thread.run(text, [0x10000, *three, 0x20000, *three[:3], 0x30000, *three, 4, 2 * K], 0, 0, 1))
    assert found == [([{(k, 0, tile), (k, 0)} for k in (0, K)], (0, 0, tile)) for tile in range(4)]
