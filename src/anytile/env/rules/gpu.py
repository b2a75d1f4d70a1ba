"""The torch build, the GPU and the driver: do they fit?"""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import InvalidVersion, Version

from ..facts import Facts
from .clues import all_of, any_of, failing, on, seen, text, unless
from .model import CERTAIN, Clue, Evidence, Fix, Rule, install
from .told import REPLACED

__all__ = ["RULES"]

# A card that the machine has, and somebody who misses it.
_CARD = r"NVIDIA-SMI \d|GeForce|\b[RG]TX ?\d{0,4}\b|Tesla|Quadro|\b[AHLBTV]\d{1,3}0?0?\b[^\n]*GB"
_MISSED = r"(?i)\b(?:gpu|cuda)\b[^\n:]*(?:\bnot?\b|n't\b|fail|cannot|without)|(?:not?|n't|without|instead of)\b[^\n:]*\b(?:gpu|cuda)\b"

_OF_CUDA = r"(?i).*(?:cuda|gpu|nvidia|accelerator|device).*"

_INDEX = "https://download.pytorch.org/whl/"


def _index(facts: Facts) -> str:
    """torch's index for the CUDA that the driver runs; the user chooses where the driver is not known."""
    cuda = next((g.cuda for g in facts.gpus if g.cuda), None)
    return _INDEX + (f"cu{cuda.replace('.', '')}" if cuda else "cuXYZ")


def _cpu_build(facts: Facts) -> Iterator[Evidence]:
    t = facts.torch
    if t and facts.gpus and facts.log is None and not t.hip and not (t.cuda and t.cuda_library):
        yield Evidence(f"torch {t.version} has no CUDA library, and there is a {facts.gpus[0].name}", t.location)


def _on_arm(facts: Facts) -> Iterator[Evidence]:
    if facts.platform.machine == "aarch64" and facts.platform.system == "linux":
        yield from _cpu_build(facts)


def _driver(facts: Facts) -> Iterator[Evidence]:
    """The CUDA major of torch against the driver's: within a major, minor releases are compatible."""
    for gpu in facts.gpus:
        if facts.torch and facts.torch.cuda and gpu.cuda:
            try:
                if Version(facts.torch.cuda).major > Version(gpu.cuda).major:
                    yield Evidence(
                        f"torch was built for CUDA {facts.torch.cuda}; driver {gpu.driver or ''} runs at most {gpu.cuda}", gpu.name
                    )
            except InvalidVersion:
                continue


def _torch_fixes(facts: Facts) -> list[Fix]:
    return [Fix("Install the CUDA build from torch's own index", install(facts, "torch", index=_index(facts)))]


RULES = (
    Rule(
        "torch_cpu_build",
        "the installed torch is a build without CUDA",
        (
            Clue(CERTAIN, _cpu_build),
            Clue(0.85, seen("statement", r"Torch not compiled with CUDA enabled")),
            Clue(0.85, seen("statement", r"PyTorch was compiled without CUDA")),
            Clue(0.5, seen("statement", r"0 active drivers")),
            Clue(0.7, seen("statement", r"No NVIDIA GPU found|No CUDA GPUs.*")),
            Clue(
                0.7,
                all_of(
                    seen("cpu_build"),
                    any_of(seen("exception", detail=_OF_CUDA), seen("statement", _OF_CUDA), seen("cuda_gone"), text(_CARD)),
                ),
            ),
            Clue(0.4, all_of(seen("cpu_build"), seen("exception"))),
            Clue(0.5, all_of(seen("cpu_build"), failing, text(_MISSED))),
            Clue(0.65, seen("cuda_gone")),
            Clue(0.35, all_of(seen("statement", r"can't load C\+\+/CUDA extensions"), unless(seen("built_for", r"PyTorch.*")))),
            Clue(
                0.75,
                seen(
                    "statement",
                    r"(?i)cannot find any torch.*|only (?:works|supports)(?!.*(?:ampere|hopper|turing|volta|blackwell)).*|CUDA is .*|requires.*CUDA",
                ),
            ),
            Clue(
                0.6,
                text(
                    r"(?i)(?:how (?:to|do|can)|can(?:no|')t|unable to) (?:i |you |we )?(?:\w+ ){0,2}install\b[^\n]*(?:CUDA|torch|cu\d{3})"
                ),
            ),
            Clue(0.3, text(r"(?i)was(?:n't| not) buil[dt] with CUDA support")),
        ),
        _torch_fixes,
        against=(
            Clue(0.65, seen("machine", r"(?!x86).*")),
            Clue(0.5, seen("conflict", detail=r"^torch\s?[=<>]")),
            Clue(0.5, all_of(seen("uninstalled"), seen("installed"))),
            Clue(0.55, REPLACED),
            Clue(0.3, all_of(text(r"\d\+cu\d{2,3}"), text(r"\d\+cpu"), unless(seen("built_for")))),
        ),
        decide=('python -c "import torch; print(torch.__version__, torch.version.cuda)"', "nvidia-smi"),
    ),
    Rule(
        "aarch64_wheels",
        "on aarch64 the package index gave a wheel without CUDA (or none): CUDA builds for this machine are on another index",
        (
            Clue(CERTAIN, _on_arm),
            Clue(0.7, all_of(seen("machine"), text(r"(?i)pytorch|torch|triton|wheel"), failing)),
            Clue(0.3, seen("machine")),
            Clue(0.75, all_of(seen("machine", r"(?i)jetson|tegra|grace|GH200|GB\d+|DGX.*|Orin|Thor"), seen("cpu_build"))),
            Clue(0.6, all_of(any_of(seen("only_wheels", "platform"), seen("no_wheel", r"manylinux\w*")), seen("machine"))),
            Clue(
                0.4,
                all_of(
                    seen("machine"),
                    any_of(
                        seen("cpu_build"),
                        seen("no_distribution"),
                        seen("cuda_gone"),
                        seen("statement", r"Torch not compiled.*"),
                        text(r"(?i)wheel|PyPI"),
                    ),
                ),
            ),
        ),
        lambda f: [
            Fix("Take torch from the CUDA index", install(f, "torch", index=_index(f))),
            Fix("On Jetson: NVIDIA's index for its JetPack release", ("cat /etc/nv_tegra_release",), safe=True),
        ],
        against=(
            Clue(0.95, on("windows", "darwin")),
            Clue(0.9, text(r"You're on \w+ \('\w*(?:x86_64|amd64)'\)")),  # uv names the machine; what it lists is for others
            Clue(
                0.75,
                any_of(
                    seen("ptxas_target"),
                    seen("missing_name"),
                    seen("missing_module"),
                    seen("undefined_symbol"),
                    seen("linker_library"),
                    seen("header"),
                ),
            ),
        ),
        rules_out=("torch_cpu_build",),
        decide=("uname -m", 'python -c "import torch; print(torch.__version__, torch.version.cuda)"'),
    ),
    Rule(
        "torch_arch_missing",
        "this build of torch (or of an extension) has no code for the architecture of this GPU",
        (
            Clue(0.82, seen("statement", r"no kernel image is available")),
            Clue(0.88, seen("statement", r"not compatible with the current PyTorch installation")),
            Clue(0.6, text(r"current PyTorch install supports CUDA capabilities")),
            Clue(
                0.85,
                all_of(
                    seen("capability"),
                    text(r"(?i)supported by this (?:version of PyTorch|library)|minimum (?:and maximum )?cuda capability|too old"),
                ),
            ),
            Clue(0.45, all_of(seen("gpu_target"), unless(seen("ptxas_target"), seen("statement", r"PTX.*")))),
            Clue(0.4, text(r"cudaErrorNoKernelImageForDevice|TORCH_CUDA_ARCH_LIST|get_arch_list")),
            Clue(0.6, seen("statement", r"invalid device function")),
            Clue(0.8, seen("statement", r"no longer supports this GPU")),
            Clue(0.7, text(r"not compatible with devices with SM")),
            Clue(0.6, seen("statement", r"requires \.target.*")),
            Clue(0.45, seen("statement", r"device kernel image is invalid")),
            Clue(0.8, text(r"is for sm\d+-sm\d+, but was built for sm\d+|Unknown CUDA arch \(|too old to be supported by the triton")),
            Clue(
                0.6,
                text(r"requires device with capability|only supports (?:Ampere|Hopper|Turing|Volta)\S* GPUs|Unsupported gpu architecture"),
            ),
        ),
        lambda f: [
            Fix(
                "Compare what the build holds with what the GPU is",
                ('python -c "import torch; print(torch.cuda.get_arch_list(), torch.cuda.get_device_capability())"',),
                safe=True,
            ),
            Fix(
                "Install a build that holds it: cu128 or newer for sm_100 and sm_120, cu126 for sm_50 to sm_61",
                install(f, "torch", index=_INDEX + "cu128"),
            ),
        ],
        decide=('python -c "import torch; print(torch.cuda.get_arch_list(), torch.cuda.get_device_capability())"',),
    ),
    Rule(
        "ptxas_too_old",
        "the ptxas that Triton calls is older than this GPU",
        (
            Clue(0.93, seen("ptxas_target")),
            Clue(0.8, seen("ptxas_version")),
            Clue(0.45, seen("statement", r"PTX codegen error|PTXASError")),
            Clue(0.3, text(r"gpu-name|\bptxas\b")),
            Clue(0.6, text(r"sm_\d+\w?' is not a recognized processor")),
            Clue(0.4, text(r"nvcc fatal\s*: Unsupported gpu architecture")),
        ),
        lambda f: [
            Fix("Let Triton call the ptxas of a newer CUDA toolkit", ("export TRITON_PTXAS_PATH=/usr/local/cuda/bin/ptxas",), safe=True),
            Fix("Or upgrade torch and Triton together", install(f, "torch", "triton")),
        ],
        decide=("ptxas --version", "nvidia-smi --query-gpu=compute_cap --format=csv"),
    ),
    Rule(
        "driver_too_old",
        "the NVIDIA driver is older than the CUDA that torch was built for",
        (
            Clue(CERTAIN, _driver),
            Clue(0.92, seen("statement", r"(?i)driver.*(?:too old|insufficient)")),
            Clue(0.85, seen("statement", r".*unsupported toolchain")),
            Clue(0.4, seen("driver_version")),
            Clue(0.2, seen("statement", r"0 active drivers")),
            Clue(0.6, seen("statement", r"Driver/library version mismatch")),
            Clue(0.5, seen("statement", r"Found no NVIDIA driver")),
            Clue(0.35, seen("statement", r"device kernel image is invalid")),
            Clue(
                0.5,
                text(
                    r"unsatisfied condition: cuda ?>=|CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE|CUDA_ERROR_UNSUPPORTED_PTX_VERSION|cudaErrorInsufficientDriver|cudaErrorUnsupportedPtxVersion|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH|forward compatibility was attempted|unsupported display driver|Error 80[34]"
                ),
            ),
        ),
        lambda f: [
            Fix("Upgrade the driver", ("nvidia-smi",), safe=True),
            Fix("Or install torch for the CUDA that this driver runs", install(f, "torch", index=_index(f))),
        ],
        decide=("nvidia-smi", 'python -c "import torch; print(torch.version.cuda)"'),
    ),
)
