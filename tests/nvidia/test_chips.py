"""The tables of chips and features, held against NVIDIA's own assembler where it is installed."""

from __future__ import annotations

import pytest

from anytile.errors import PTXASError, UnsupportedError
from anytile.targets.nvidia import assemble
from anytile.targets.nvidia.chips import CHIPS, FEATURES, chip, features_of, ptx_version

KIB = 1024

# One use of each feature in PTX; registers are declared by `ptx_of`.
USES = {
    "mma.m16n8k8.f16": "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {f0,f1,f2,f3}, {r0,r1}, {r2}, {f0,f1,f2,f3};",
    "mma.m16n8k16.f16": "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {f0,f1,f2,f3}, {r0,r1,r2,r3}, {r4,r5}, {f0,f1,f2,f3};",
    "mma.bf16": "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {f0,f1,f2,f3}, {r0,r1,r2,r3}, {r4,r5}, {f0,f1,f2,f3};",
    "mma.tf32": "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {f0,f1,f2,f3}, {r0,r1,r2,r3}, {r4,r5}, {f0,f1,f2,f3};",
    "mma.m8n8k16.i8": "mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {r0,r1}, {r2}, {r3}, {r0,r1};",
    "mma.i8": "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {r0,r1,r2,r3}, {r4,r5,r6,r7}, {r8,r9}, {r0,r1,r2,r3};",
    "mma.f64": "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {d0,d1}, {d2}, {d3}, {d0,d1};",
    "mma.fp8": "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e5m2.f32 {f0,f1,f2,f3}, {r0,r1,r2,r3}, {r4,r5}, {f0,f1,f2,f3};",
    "ldmatrix": "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {r0,r1,r2,r3}, [r4];",
    "stmatrix": "stmatrix.sync.aligned.m8n8.x4.shared.b16 [r4], {r0,r1,r2,r3};",
    "wgmma": "wgmma.fence.sync.aligned;",
    "tcgen05": "tcgen05.relinquish_alloc_permit.cta_group::1.sync.aligned;",
    "setmaxnreg": "setmaxnreg.inc.sync.aligned.u32 232;",
    "cp.async": "cp.async.cg.shared.global [r0], [l0], 16;",
    "tma": "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [r0], [l0, {r1,r2}], [r3];",
    "tma.cta": "cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [r0], [l0], r1, [r2];",
    "tma.gather": (
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile::gather4.mbarrier::complete_tx::bytes [r0], [l0, {r1,r2,r3,r4,r5}], [r6];"
    ),
    "mbarrier": "mbarrier.init.shared.b64 [r0], 1;",
    "mbarrier.parity": "mbarrier.test_wait.parity.shared.b64 p0, [r0], r1;",
    "mbarrier.try_wait": "mbarrier.arrive.expect_tx.shared.b64 l0, [r0], r1;",
    "fence.proxy.async": "fence.proxy.async;",
    "cluster": "mov.u32 r0, %cluster_ctarank;",
    "griddepcontrol": "griddepcontrol.wait;",
    "elect": "elect.sync r0|p0, 0xffffffff;",
    "redux": "redux.sync.add.s32 r0, r1, 0xffffffff;",
    "match": "match.any.sync.b32 r0, r1, 0xffffffff;",
    "evict": "ld.global.L1::evict_last.b32 r0, [l0];",
    "prefetch.256": "ld.global.L2::256B.b32 r0, [l0];",
    "cache_hint": "createpolicy.fractional.L2::evict_last.b64 l0, 1.0;",
    "atom.bf16": "atom.global.add.noftz.bf16 h0, [l0], h1;",
    "atom.vector": "atom.global.add.v4.f32 {f0,f1,f2,f3}, [l0], {f0,f1,f2,f3};",
    "atom.b128": "atom.global.exch.b128 q0, [l0], q1;",
    "ld.256": "ld.global.v8.b32 {r0,r1,r2,r3,r4,r5,r6,r7}, [l0];",
    "approx.f16": "tanh.approx.f32 f0, f1;",
    "approx.bf16": "ex2.approx.ftz.bf16 h0, h1;",
    "bf16.fma": "fma.rn.bf16x2 r0, r1, r2, r3;",
    "bf16.add": "add.rn.bf16x2 r0, r1, r2;",
    "cvt.bf16x2": "cvt.rn.bf16x2.f32 r0, f1, f2;",
    "cvt.fp8": "cvt.rn.satfinite.e4m3x2.f32 h0, f1, f2;",
    "cvt.fp4": "{ .reg .b8 b; cvt.rn.satfinite.e2m1x2.f32 b, f1, f2; }",
    "packed.f32": "fma.rn.f32x2 l0, l1, l2, l3;",
    "nanosleep": "nanosleep.u32 20;",
}

needs_library = pytest.mark.skipif(not assemble._find_nvjitlink(), reason="needs nvJitLink: pip install anytile[cuda-check]")


def ptx_of(use: str, target: str, version: int) -> str:
    registers = [".reg .pred p<2>;", ".reg .b128 q<2>;"] if ".b128" in use else [".reg .pred p<2>;"]
    registers += [f".reg .{kind} {name}<10>;" for kind, name in (("b16", "h"), ("b32", "r"), ("b64", "l"), ("f32", "f"), ("f64", "d"))]
    lines = [f".version {version // 10}.{version % 10}", f".target {target}", ".address_size 64", ".visible .entry k() {", *registers]
    return "\n".join([*lines, use, "ret;", "}"]) + "\n"


def test_every_feature_has_a_use_and_is_found_in_it() -> None:
    assert set(USES) == {f.name for f in FEATURES}
    for f in FEATURES:
        # "tma" covers "tma.cta" and "tma.gather" too, and so on: the feature is among those found.
        assert f in features_of(f'  call void asm sideeffect "{USES[f.name]}", ""()'), f.name


@needs_library
@pytest.mark.parametrize("feature", FEATURES, ids=lambda f: f.name)
def test_the_minimum_of_a_feature_is_enough_and_needed(feature) -> None:
    library = assemble.NvJitLink(str(assemble._find_nvjitlink()[0]))
    first = chip(next(a for a in CHIPS if feature.on(a)))
    version = max(feature.ptx, first.ptx)
    library.run(ptx_of(USES[feature.name], first.target, version), first, "k", [])
    earlier = [
        v for v in (63, 64, 65, 70, 71, 72, 73, 74, 75, 76, 77, 78, 80, 81, 82, 83, 84, 85, 86, 87, 88) if first.ptx <= v < feature.ptx
    ]
    if earlier:
        with pytest.raises(PTXASError):
            library.run(ptx_of(USES[feature.name], first.target, earlier[-1]), first, "k", [])


@needs_library
@pytest.mark.parametrize("feature", [f for f in FEATURES if not f.on(75)], ids=lambda f: f.name)
def test_chips_without_a_feature_really_lack_it(feature) -> None:
    library = assemble.NvJitLink(str(assemble._find_nvjitlink()[0]))
    without = [chip(a) for a in CHIPS if not feature.on(a)]
    for c in (without[0], without[-1]):
        with pytest.raises(PTXASError):
            library.run(ptx_of(USES[feature.name], c.target, max(c.ptx, feature.ptx)), c, "k", [])


def test_a_chip_by_any_of_its_names() -> None:
    assert chip(90) is chip("90") is chip("90a") is chip("sm_90a") is CHIPS[90]
    for wrong in (91, "gfx942", "", 50):
        with pytest.raises(UnsupportedError, match="anytile knows sm_75"):
            chip(wrong)


def test_what_chips_can_do() -> None:
    assert chip(90).has("wgmma") and not chip(100).has("wgmma") and not chip(80).has("tma")
    assert chip(75).has("mma.m16n8k8.f16") and not chip(75).has("cp.async") and chip(75).features < chip(80).features
    assert chip(120).has("setmaxnreg") and not chip(120).has("tcgen05")
    assert chip(90).cuda == (12, 0)
    with pytest.raises(KeyError):
        chip(90).has("no such thing")


def test_the_lowest_ptx_version() -> None:
    call = "  call void @llvm.nvvm."
    assert ptx_version("", chip(90)) == 80
    assert ptx_version(call + "cp.async.cg.shared.global.16(ptr addrspace(3) %a, ptr addrspace(1) %b)", chip(80)) == 70
    assert ptx_version(call + "cp.async.bulk.tensor.g2s.tile.2d(…)", chip(90)) == 80
    assert ptx_version(call + "cp.async.bulk.tensor.g2s.cta.tile.2d(…)", chip(90)) == 86
    with pytest.raises(UnsupportedError, match=r"wgmma is not supported on Ampere A100 \(sm_80\); only sm_90 has it"):
        ptx_version(call + "wgmma.fence.sync.aligned()", chip(80))
    # A name alone is no use of anything.
    assert ptx_version("; wgmma.fence\n  %wgmma. = add i32 1, 2", chip(80)) == 70


def test_occupancy() -> None:
    hopper = chip(90)
    assert hopper.occupancy(128, 32, 0) == 16  # 2,048 threads
    assert hopper.occupancy(128, 255, 0) == 2  # 255 registers are handed out as 256 a thread, 32,768 a block
    assert hopper.occupancy(32, 16, 0) == 32  # the most blocks
    assert hopper.occupancy(256, 64, 100 * KIB) == 2
    assert hopper.occupancy(256, 64, 227 * KIB) == 1
