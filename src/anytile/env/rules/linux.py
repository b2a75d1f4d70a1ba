"""Linux: what the dynamic linker, the static linker and the C compiler do not find."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator

from ..facts import Facts
from .clues import all_of, any_of, failing, on, seen, text, unless
from .model import CERTAIN, Clue, Evidence, Fix, Rule, install
from .windows import FOR_ONE_TORCH, library

__all__ = ["COMPANIONS", "COMPILED_HERE", "RULES"]

_TORCH_SYMBOL = r"_ZN?K?\w*?(?:3c10|2at|5torch|5caffe2|8autograd)\w*"
_STD_SYMBOL = r"_ZN?K?S[tabsiod](?!.*(?:3c10|2at|5torch|5caffe2)).*"  # of namespace std, and so of libstdc++
_CUDA_SYMBOL = r"_ZNK?5(?:cudnn|cublas)\w*|_*(?:nvJitLink|cublas|cusparse|cudnn|cusolver|cufft|curand|nccl|nvrtc|cupti|nvtx|cuda[A-Z])\w*"
_MKL_SYMBOL = r"iJIT_\w+|mkl_\w+|__kmpc?_\w+|MKL_\w+|i?omp_\w+"
COMPILED_HERE = r"\.triton[\\/]|torchinductor|triton[\\/]cache"  # folders of what was compiled on this machine
COMPANIONS = ("torchvision", "torchaudio", "xformers")  # made for one torch, with a cause of their own for another
_BUILT_ON_TORCH = r"torchaudio|torchvision|xformers|bitsandbytes"


def _no_libcuda(facts: Facts) -> Iterator[Evidence]:
    if facts.libcuda and facts.platform.system == "linux" and not facts.platform.wsl and facts.triton and facts.gpus:
        if not any(path.endswith("libcuda.so") for path in facts.libcuda):
            yield Evidence("the driver's library is there, the name libcuda.so that a linker looks for is not", facts.libcuda[0])


def _wsl_libcuda(facts: Facts) -> Iterator[Evidence]:
    if facts.platform.wsl and facts.libcuda is not None and facts.torch and facts.torch.cuda:
        if not any(p.startswith("/usr/lib/wsl") for p in (facts.variable("LD_LIBRARY_PATH") or "").split(":")) and not facts.libcuda:
            yield Evidence("WSL keeps libcuda in /usr/lib/wsl/lib, which is not searched", "/usr/lib/wsl/lib")


def _no_compiler(facts: Facts) -> Iterator[Evidence]:
    if facts.compilers == () and facts.platform.system == "linux" and facts.triton and "anytile" not in facts.triton.owners:
        yield Evidence("neither CC nor PATH gives cc, gcc or clang", "PATH")


def _no_headers(facts: Facts) -> Iterator[Evidence]:
    i = facts.interpreter
    if i.python_h is False and facts.platform.system == "linux" and facts.triton and "anytile" not in facts.triton.owners:
        yield Evidence(f"the headers of Python {i.minor} are not there, and Triton compiles its launcher against them", i.base_prefix)


def _matching_builds(facts: Facts) -> Iterator[Fix]:
    torch = f"torch {facts.torch.version}" if facts.torch else "the installed torch"
    broken = next((x.distribution for x in facts.libraries if x.problem == "undefined" and x.distribution), None)
    name = broken or next((d.name for d in facts.distributions if d.name == "flash-attn"), "PACKAGE")
    if broken and facts.project.tool in ("pip", "conda"):
        yield Fix(
            f"Take the newest release of {broken}: it was built for newer torches",
            (f"python -m pip install --upgrade --no-deps {broken}",),
        )
    yield Fix(
        f"Install the build of the extension made for {torch} with the same C++ ABI (file names say torchX.Y and cxx11abiTRUE/FALSE)",
        ('python -c "import torch; print(torch.__version__, torch.version.cuda, torch._C._GLIBCXX_USE_CXX11_ABI)"',),
        safe=True,
    )
    yield Fix(
        "Or build it against this torch",
        (f"python -m pip install --no-build-isolation --no-binary {name} --force-reinstall --no-deps {name}",),
    )


def _libcuda_fixes(facts: Facts) -> Iterator[Fix]:
    """With the driver's library found, the link beside it; a folder of the system wants the administrator."""
    known = next((p for p in facts.libcuda or () if ".so." in p), None)
    if known:
        folder = posixpath.dirname(known)
        rights = "sudo " if folder.startswith(("/usr/", "/lib")) else ""
        link = f"{rights}ln -s {posixpath.basename(known)} {shlex.quote(folder + '/libcuda.so')}"
        yield Fix("Give the driver's library the name that linkers look for", (link, *(("sudo ldconfig",) if rights else ())))
    yield from _LIBCUDA_FIXES


def _off_the_path(facts: Facts, files: list[str], summary: str) -> Iterator[Fix]:
    """LD_LIBRARY_PATH without the folders that hold ``files``; nothing where it names none of them."""
    path = [p for p in (facts.variable("LD_LIBRARY_PATH") or "").split(":") if p]
    kept = [p for p in path if not any(f.startswith(p.rstrip("/") + "/") for f in files)]
    if len(kept) < len(path):
        command = f"export LD_LIBRARY_PATH={shlex.quote(':'.join(kept))}" if kept else "unset LD_LIBRARY_PATH"
        yield Fix(summary, (command,), safe=True)


def _newer_libstdcxx(facts: Facts) -> Iterator[Fix]:
    """Where LD_LIBRARY_PATH brings the old copy: the path without that folder."""
    old = [x.detail.removeprefix("is not in ") for x in facts.libraries if x.problem == "version"]
    yield from _off_the_path(facts, old, "Take the folder with the old copy off LD_LIBRARY_PATH")
    yield Fix("In conda: take a newer libstdc++ into the environment", ("conda install -c conda-forge libstdcxx-ng",))
    yield Fix(
        "Let the loader take the newer copy first",
        ("strings -a $(ldconfig -p | awk '/libstdc..so.6/{print $NF; exit}') | grep GLIBCXX_ | sort -V | tail -1",),
        safe=True,
    )
    yield Fix("For GLIBC_ (the C library itself): a build for an older manylinux, or a newer distribution")


def _unshadowed(facts: Facts) -> Iterator[Fix]:
    """The path without the folders that shadow; for a log, how to start without any."""
    shadows = [x.value for x in facts.libraries if x.problem == "shadowed"]
    yield from _off_the_path(facts, shadows, "Take that folder off LD_LIBRARY_PATH")
    yield Fix("Start without that path", ("env -u LD_LIBRARY_PATH python ...",), safe=True)
    yield Fix("Find who sets it", ("LD_DEBUG=libs python -c 'import torch' 2>&1 | grep -E 'nvJitLink|cusparse' | head",), safe=True)


_LIBCUDA_FIXES = (
    Fix(
        "Tell Triton where the driver's library is",
        ("export TRITON_LIBCUDA_PATH=$(dirname $(ldconfig -p | awk '/libcuda.so.1/{print $NF; exit}'))",),
        safe=True,
    ),
    Fix(
        "Or give it the link name",
        ("sudo ln -s libcuda.so.1 $(dirname $(ldconfig -p | awk '/libcuda.so.1/{print $NF; exit}'))/libcuda.so", "sudo ldconfig"),
    ),
    Fix("Or link against the toolkit's stub", ("export LIBRARY_PATH=/usr/local/cuda/lib64/stubs:$LIBRARY_PATH",), safe=True),
)

RULES = (
    Rule(
        "ext_abi_undefined_symbol",
        "a compiled extension was built for another torch or another C++ ABI: it asks for a C++ symbol that this torch does not export",
        (
            Clue(CERTAIN, library("undefined", but=COMPANIONS)),
            Clue(
                0.82,
                all_of(
                    seen("undefined_symbol", _TORCH_SYMBOL), unless(text(rf"(?:{_BUILT_ON_TORCH})\S*\.so|libtorch\w*\.so\S*: undefined"))
                ),
            ),
            Clue(0.3, all_of(seen("undefined_symbol", _TORCH_SYMBOL), text(rf"(?:{_BUILT_ON_TORCH})\S*\.so"))),
            Clue(
                0.5,
                all_of(
                    seen("undefined_symbol"),
                    unless(
                        seen("undefined_symbol", rf"{_TORCH_SYMBOL}|{_STD_SYMBOL}|{_CUDA_SYMBOL}|{_MKL_SYMBOL}|c\w*quant\w*|_?Py[A-Z_]\w*"),
                        text(COMPILED_HERE),
                    ),
                ),
            ),
            Clue(0.35, all_of(seen("win_error", "127"), text(r"site-packages"))),
            Clue(0.55, seen("failed_extension", rf"(?!libtriton|cuda_utils|__triton){FOR_ONE_TORCH}")),
            Clue(0.4, text(r"cxx11abi(?:TRUE|FALSE)|GLIBCXX_USE_CXX11_ABI")),
            Clue(0.5, all_of(seen("missing_library", r"lib(?:torch|c10)\w*\.so\S*"), unless(text(_BUILT_ON_TORCH)))),
        ),
        _matching_builds,
        decide=("pip list | grep -i torch", "nm -D --undefined-only EXTENSION.so | c++filt | grep -E 'c10|torch|at::'"),
    ),
    Rule(
        "cuda_lib_shadowed",
        "another copy of a CUDA library (an older toolkit on LD_LIBRARY_PATH, as a rule) is loaded before the one that torch brings",
        (
            Clue(CERTAIN, library("shadowed")),
            Clue(
                0.85,
                any_of(seen("undefined_symbol", _CUDA_SYMBOL), seen("undefined_symbol", detail=r"(?:^|[\\/])lib(?:cu|nv|nccl)\w*\.so")),
            ),
            Clue(0.88, seen("statement", r"cuDNN version incompatibility")),
            Clue(0.4, seen("symbol_version", r"lib(?:nv|cu|nccl)\w*\.so\S*")),
            Clue(0.4, text(r"libnvJitLink\.so|LD_LIBRARY_PATH[^\n]*cuda")),
            Clue(0.35, seen("missing_library", r"lib(?:cudnn|cublas|cusparse|nccl|nvrtc)\S*")),
        ),
        _unshadowed,
        decide=(
            "echo $LD_LIBRARY_PATH",
            "ldd $(python -c \"import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])\")/lib/libtorch_cuda.so | grep -v nvidia/",
        ),
    ),
    Rule(
        "mkl_symbol",
        "torch was linked against an older MKL than the one beside it, which no longer has the symbol",
        (Clue(0.92, seen("undefined_symbol", _MKL_SYMBOL)), Clue(0.5, seen("missing_library", r"libmkl_\S*|libiomp5\S*"))),
        lambda f: [Fix("Take the MKL of torch's time", ('conda install "mkl<2024.1"',))],
        decide=("conda list mkl",),
    ),
    Rule(
        "glibc_cxx",
        "a library was built for a newer libstdc++ or glibc than the one that the loader takes",
        (
            Clue(CERTAIN, library("version")),
            Clue(0.9, seen("version_node")),
            Clue(0.75, seen("undefined_symbol", _STD_SYMBOL)),
        ),
        _newer_libstdcxx,
        rules_out=("cuda_lib_shadowed",),
        decide=("ldd --version", "echo $LD_LIBRARY_PATH"),
    ),
    Rule(
        "linux_libcuda_link",
        "the linker finds no libcuda.so: the driver ships libcuda.so.1, and the name without a number is missing",
        (
            Clue(0.75, _no_libcuda),
            Clue(0.92, seen("linker_library", r"cuda")),
            Clue(0.8, text(r"create a symlink of libcuda\.so")),
            Clue(0.6, seen("missing_library", r"libcuda\.so")),
            Clue(0.75, all_of(seen("libcuda", r"libcuda\.so", r"cannot f|not found|found"), unless(seen("dlopen")))),
            Clue(0.5, all_of(seen("exception", r"AssertionError|FileNotFoundError"), seen("libcuda"))),
            Clue(0.58, all_of(seen("program_failed", r"gcc|cc|clang"), text(r"-lcuda\b"), unless(seen("header")))),
            Clue(
                0.55,
                all_of(
                    text(r"ldconfig|libcuda|-lcuda\b"),
                    failing,
                    unless(
                        seen("libcuda"), seen("linker_library"), seen("undefined_symbol"), seen("version_node"), seen("missing_library")
                    ),
                ),
            ),
            Clue(0.3, text(r"ldconfig[^\n]*libcuda|libcuda_dirs|/cuda[\w.-]*/(?:compat|lib64/stubs)")),
        ),
        _libcuda_fixes,
        against=(Clue(0.95, on("windows", "darwin")), Clue(0.2, lambda f: [Evidence("WSL")] if f.platform.wsl else [])),
        decide=("ldconfig -p | grep libcuda",),
    ),
    Rule(
        "wsl_libcuda",
        "WSL keeps the driver's libcuda in /usr/lib/wsl/lib, which is not on the search path",
        (
            Clue(0.9, _wsl_libcuda),
            Clue(
                0.8,
                all_of(
                    any_of(seen("libcuda"), seen("linker_library", "cuda")),
                    failing,
                    lambda f: [Evidence("the log is from WSL")] if f.platform.wsl else [],
                ),
            ),
            Clue(0.75, seen("dlopen", r"libcuda\S*")),
            Clue(0.5, seen("missing_library", r"libcuda\.so\.1")),
            Clue(0.6, all_of(failing, text(r"/usr/lib/wsl"))),
            Clue(0.6, all_of(text(r"libcuda\.so\.1 \([^\n]*=> /usr/lib/wsl"), unless(text(r"libcuda\.so \(")))),  # a list of the loader's
            Clue(0.7, all_of(seen("statement", r"(?i)not a symbolic link"), seen("libcuda"))),
        ),
        lambda f: [Fix("Put it on the path", ("export LD_LIBRARY_PATH=/usr/lib/wsl/lib:$LD_LIBRARY_PATH",), safe=True)],
        against=(Clue(0.95, on("windows", "darwin")),),
        rules_out=("linux_libcuda_link",),
        decide=("ls -l /usr/lib/wsl/lib/libcuda*", "ldconfig -p | grep libcuda"),
    ),
    Rule(
        "linux_no_compiler",
        "there is no C compiler, and Triton compiles a launcher for each kernel with one",
        (
            Clue(0.95, _no_compiler),
            Clue(0.85, all_of(seen("statement", r"Failed to find C compiler"), on("linux"))),
            Clue(0.6, all_of(seen("statement", r"Failed to find C compiler"), on(None))),
            Clue(
                0.8,
                any_of(seen("errno", r"2", r"\b(?:gcc|cc|g\+\+|c\+\+|clang)\b"), text(r"(?:gcc|g\+\+|cc|clang): (?:command )?not found")),
            ),
            Clue(0.6, text(r"InvalidCxxCompiler|No working C\+\+ compiler")),
            Clue(
                0.85, text(r"(?:unable to execute|command) '\S*(?:gcc|g\+\+|cc|c\+\+|clang)'[^\n]*No such file|exec: \"(?:gcc|cc|clang)\"")
            ),
            Clue(0.75, seen("statement", r"cannot execute '?cc1\w*")),
        ),
        lambda f: [
            Fix("Install one", ("sudo apt-get install build-essential",)),
            Fix("Or use anytile as Triton: it compiles in process and needs none", ("anytile enable",), safe=True),
        ],
        against=(Clue(0.9, on("windows")),),
        decide=("which cc gcc clang; echo $CC",),
    ),
    Rule(
        "linux_python_headers",
        "the headers of this Python are not installed, and Triton compiles C against them",
        (
            Clue(0.95, _no_headers),
            Clue(0.92, all_of(seen("header", r"Python\.h|pyconfig\.h"), on("linux"))),
            Clue(0.7, all_of(seen("header", r"Python\.h|pyconfig\.h"), on(None))),
            Clue(0.6, text(r"^\s*\d+ \| *#include [<\"]Python\.h[>\"]")),
            Clue(
                0.4,
                all_of(
                    seen("program_failed", r"gcc|cc|clang"),
                    on("linux"),
                    text(r"cuda_utils\.c|__triton|main\.c|hip_utils"),
                    unless(seen("linker_library")),
                ),
            ),
        ),
        lambda f: [
            Fix("Install them", (f"sudo apt-get install python{f.interpreter.minor or '3'}-dev",)),
            Fix("Or use a Python that brings them (uv's do)", ("uv python install", "uv venv --python-preference only-managed")),
            Fix("Or use anytile as Triton: it compiles in process and needs none", ("anytile enable",), safe=True),
        ],
        against=(Clue(0.9, on("windows", "darwin")),),
        decide=("ls $(python -c \"import sysconfig; print(sysconfig.get_paths()['include'])\")/Python.h",),
    ),
    Rule(
        "cudart_soname",
        "an extension was built for another CUDA major release than the libraries here",
        (
            Clue(0.9, all_of(on("linux"), library("missing", "site-packages", but=COMPANIONS))),
            Clue(0.85, seen("missing_library", r"libcudart\.so\S*|libnvrtc\.so\S*|libcublas(?:Lt)?\.so\S*|libcufft\.so\S*")),
            Clue(0.6, seen("missing_library", r"(?!libcuda\.)lib(?:cu|nv)\w+\.so\S*")),
            Clue(0.82, seen("dll", r"(?i)cudart64_\w+\.dll|cublas(?:Lt)?64_\w+\.dll")),
        ),
        lambda f: [
            Fix(
                "Install the build of the extension for the CUDA of this torch",
                ('python -c "import torch; print(torch.__version__, torch.version.cuda)"',),
                safe=True,
            ),
            Fix("Or bring the runtime that it asks for (N: the number in the file name)", install(f, "nvidia-cuda-runtime-cuN")),
        ],
        decide=("ldd EXTENSION.so | grep 'not found'",),
    ),
)
