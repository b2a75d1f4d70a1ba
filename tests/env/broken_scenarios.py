"""The broken environments on Linux. Each docstring says what happened to the user."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from broken import CP, MINOR, Broken, Sandbox, hollow, scenario, whole

_TRITON = "3.2.0"
# What Triton does before its first kernel where a GPU is: it compiles a helper against Python.h and -lcuda. With anytile a kernel runs.
_FIRST_KERNEL = """\
import numpy, triton, triton.language as tl
try:
    from triton.backends.nvidia.driver import CudaUtils
except ImportError:
    @triton.jit
    def add(x, y, out, n, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(out + at, tl.load(x + at, mask=at < n) + tl.load(y + at, mask=at < n), mask=at < n)
    x = numpy.arange(1000, dtype=numpy.float32)
    out = numpy.zeros_like(x)
    add[(8,)](x, x, out, 1000, BLOCK=128)
    assert (out == 2 * x).all()
else:
    CudaUtils()
"""
_COMPILE = """\
import triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

@triton.jit
def kernel(x, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(x + at, at.to(tl.float32), mask=at < n)

source = ASTSource(fn=kernel, signature={"x": "*fp32", "n": "i32"}, constants={"BLOCK": 128})
print(triton.compile(source, target=GPUTarget("cuda", 90, 32)).metadata.name)
"""


def _set(*wanted: str) -> list[Path]:
    """Hollow wheels of everything that these requirements need, found by the resolver that `anytile lock` uses."""
    from anytile.env.lock.request import Request
    from anytile.env.lock.resolve import Question, resolve

    request = Request.parse(wanted, MINOR, ["linux"], None, "pip", "upstream")
    (solution,) = resolve(Question(request.packages), request).values()
    with ThreadPoolExecutor(8) as pool:
        tag = rf"(?:{CP}|py3|cp3\d+-abi3).*(?:linux.*x86_64|none-any)"
        return list(pool.map(lambda p: hollow(p.name, str(p.version), tag), solution.values()))


def _install(box: Sandbox, *wheels: Path) -> None:
    box.run(f"python -m pip install -q --no-index --no-deps {' '.join(map(str, wheels))}", check=True)


def _with_triton(box: Sandbox) -> None:
    box.borrow("pip", "numpy", "setuptools")
    _install(box, whole("triton", _TRITON))
    (box.work / "first_kernel.py").write_text(_FIRST_KERNEL)


def _with_driver(box: Sandbox, link: bool = True) -> Path:
    """A libcuda.so.1 whose functions do nothing, and an nvidia-smi: this machine has no GPU."""
    folder = box.root / "driver"
    folder.mkdir()
    sources = "".join(p.read_text() for p in box.site.glob("triton/backends/nvidia/*.c"))
    names = sorted(set(re.findall(r"\b(cu[A-Z]\w+)\b", sources)))
    (folder / "stub.c").write_text("".join(f"int {n}(void) {{ return 100; }}\n" for n in names))
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", folder / "libcuda.so.1", folder / "stub.c"], check=True)
    if link:
        (folder / "libcuda.so").symlink_to("libcuda.so.1")
    box.env["LD_LIBRARY_PATH"] = str(folder)
    smi = box.root / "env" / "bin" / "nvidia-smi"
    smi.write_text('#!/bin/sh\ncase "$*" in *query-gpu*) echo "NVIDIA L4, 8.9, 570.124.06";; *) echo "| CUDA Version: 12.8 |";; esac\n')
    smi.chmod(0o755)
    return folder


def _path_without(box: Sandbox, *names: str) -> None:
    """A PATH on which these programs are not."""
    folder = box.root / "programs"
    folder.mkdir()
    for place in ("/usr/bin", "/bin"):
        for file in Path(place).iterdir():
            if not any(re.fullmatch(n, file.name) for n in names) and not (folder / file.name).exists():
                (folder / file.name).symlink_to(file)
    box.env["PATH"] = f"{box.root}/env/bin:{folder}"


@scenario("shadowing file")
def shadowing_file(box: Sandbox) -> Broken:
    """The user's script is called numpy.py."""
    box.borrow("numpy")
    (box.work / "numpy.py").write_text("x = 1\n")
    return Broken("shadowed_module", 'python -c "import numpy; numpy.zeros(3)"', "has no attribute 'zeros'")


@scenario("leftover folders")
def leftover_folders(box: Sandbox) -> Broken:
    """pip was killed while it replaced a package: the old one is left under a name with a tilde."""
    box.borrow("pip", "packaging")
    for folder in [*box.site.glob("packaging*")]:
        shutil.copytree(folder, box.site / f"~{folder.name[1:]}")
    count = "names = [d.name for d in m.distributions()]; sys.exit('packaging is there twice' if names.count('packaging') > 1 else 0)"
    probe = f'python -c "import importlib.metadata as m, sys; {count}"'
    return Broken("leftover_files", probe, "there twice")


@scenario("wrong ABI tag", network=True)
def wrong_abi_tag(box: Sandbox) -> Broken:
    """A site-packages folder of another Python was copied over."""
    box.borrow("pip")
    other = "cp312" if CP != "cp312" else "cp311"
    box.unpack(whole("numpy", "2.2.6", rf"{other}-{other}-manylinux.*x86_64"))
    return Broken("win_wrong_wheel_or_stale_venv", 'python -c "import numpy"', "numpy", evidence="was compiled for")


@scenario("user site", network=True, system_site=True)
def user_site(box: Sandbox) -> Broken:
    """An old NumPy in ~/.local is read by an environment that has none of its own."""
    box.borrow("pip")
    site = box.home / ".local" / "lib" / f"python{MINOR}" / "site-packages"
    site.mkdir(parents=True)
    box.unpack(whole("numpy", "2.2.6", rf"{CP}-{CP}-manylinux.*x86_64"), site)
    probe = "python -c \"import numpy, sys; sys.exit('from ~/.local' if '.local' in numpy.__file__ else 0)\""
    return Broken("user_site_leak", probe, "from ~/.local")


@scenario("two tritons", heavy=True, network=True)
def two_tritons(box: Sandbox) -> Broken:
    """Two distributions wrote into the folder triton/; the second one's Python files, the first one's library."""
    _with_triton(box)
    _install(box, whole("triton-ascend", "3.2.0"))
    box.wheels_only(whole("triton", _TRITON))
    probe = 'python -c "import triton.language; from triton.backends.nvidia import driver"'
    return Broken("two_tritons", probe, "cannot import name", evidence="both wrote the folder triton/")


@scenario("no compiler", heavy=True, network=True)
def no_compiler(box: Sandbox) -> Broken:
    """A slim container: Triton wants a C compiler for its launcher."""
    _with_triton(box)
    box.anytile()
    _with_driver(box)
    _path_without(box, r".*(?:gcc|g\+\+|clang|cc|c\+\+|c99|c89|tcc)(?:-\d+)?")
    return Broken("linux_no_compiler", "python first_kernel.py", "Failed to find C compiler", fix=1)


@scenario("no Python headers", heavy=True, network=True)
def no_python_headers(box: Sandbox) -> Broken:
    """The distribution's Python without its -dev package."""
    base = box.root / "base"
    (base / "bin").mkdir(parents=True)
    (base / "lib").mkdir()
    real = Path(os.path.realpath(sys.executable))
    shutil.copy2(real, base / "bin" / f"python{MINOR}")
    (base / "lib" / f"python{MINOR}").symlink_to(Path(sys.base_prefix) / "lib" / f"python{MINOR}")
    for library in (Path(sys.base_prefix) / "lib").glob("libpython*"):
        (base / "lib" / library.name).symlink_to(library)
    for name in ("python", "python3", f"python{MINOR}"):
        link = box.root / "env" / "bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(base / "bin" / f"python{MINOR}")
    config = box.root / "env" / "pyvenv.cfg"
    config.write_text(re.sub(r"(?m)^home = .*$", f"home = {base / 'bin'}", config.read_text()))
    _with_triton(box)
    box.anytile()
    _with_driver(box)
    return Broken("linux_python_headers", "python first_kernel.py", "Python.h: No such file", fix=2)


@scenario("no libcuda link name", heavy=True, network=True)
def no_libcuda_link(box: Sandbox) -> Broken:
    """The driver brings libcuda.so.1; the linker looks for libcuda.so."""
    _with_triton(box)
    _with_driver(box, link=False)
    return Broken("linux_libcuda_link", "python first_kernel.py", "cannot find -lcuda")


@scenario("corrupt Triton cache", heavy=True, network=True)
def corrupt_cache(box: Sandbox) -> Broken:
    """The machine lost power while Triton wrote an entry; since then each start fails."""
    _with_triton(box)
    (box.work / "compile.py").write_text(_COMPILE)
    box.run("python compile.py", check=True)
    entries = [p for p in (box.root / "triton-cache").rglob("*.json")]
    assert entries, "Triton wrote no cache"
    for entry in entries:
        entry.write_bytes(entry.read_bytes()[:40])
    return Broken("cache_corrupt", "python compile.py", "JSONDecodeError")


@scenario("stale Triton cache", heavy=True, network=True)
def stale_cache(box: Sandbox) -> Broken:
    """The cache survived a change of Python: the helper in it was compiled for the other one."""
    _with_triton(box)
    _with_driver(box)
    box.run("python first_kernel.py", check=True)
    built = next((box.root / "triton-cache").rglob("cuda_utils*.so"))
    other = f"{sys.version_info.major}{sys.version_info.minor + 1}"
    stale = built.with_name(f"cuda_utils.cpython-{other}-x86_64-linux-gnu.so")
    # What that Python's compiler would have made: an extension that calls a function which came with that release.
    new = {"311": "PyFrame_GetBuiltins", "312": "PyErr_GetRaisedException", "313": "PyDict_GetItemRef", "314": "PyUnicodeWriter_Create"}[
        other
    ]
    (box.work / "later.c").write_text(f"extern void *{new}(void); void *PyInit_cuda_utils(void) {{ return {new}(); }}")
    box.run(f"gcc -shared -fPIC -o {stale} later.c", check=True)
    shutil.copy2(stale, built)
    return Broken("cache_stale_after_upgrade", "python first_kernel.py", "undefined symbol")


# The names are asked for in the Python that runs: the hollow Triton's compiled part is a stand-in which has every name.
_ASK = (
    "import sys; from unittest.mock import MagicMock as M; lib = M(__path__=[]); "
    "sys.modules.update(dict.fromkeys(['triton._C', 'triton._C.libtriton', 'triton._C.libtriton.linear_layout'], lib)); "
    "from triton.compiler.compiler import "
)


def _pair(torch: str, triton: str, right: str, name: str) -> None:
    def build(box: Sandbox) -> Broken:
        box.borrow("pip", "packaging", "setuptools", "numpy")
        _install(box, hollow("torch", torch), hollow("triton", triton))
        box.wheels_only(hollow("triton", right), hollow("triton", triton))
        return Broken("torch_triton_api_skew", f'python -c "{_ASK}{name}"', f"cannot import name '{name}'", evidence=name)

    build.__doc__ = f"torch {torch} beside Triton {triton}: names it imports are gone, as the sources of the two wheels tell."
    scenario(f"API skew: torch {torch}, Triton {triton}", network=True, heavy=(torch, triton) != ("2.6.0", "3.3.1"))(build)


_pair("2.6.0", "3.3.1", "3.2.0", "AttrsDescriptor")
_pair("2.6.0", "3.4.0", "3.2.0", "AttrsDescriptor")
_pair("2.5.1", "3.5.1", "3.1.0", "triton_key")
_pair("2.7.1", "3.5.1", "3.3.1", "triton_key")
_pair("2.8.0", "3.5.1", "3.4.0", "triton_key")
_pair("2.8.0", "3.6.0", "3.4.0", "triton_key")


@scenario("CPU torch where CUDA was wanted", heavy=True, network=True)
def cpu_torch(box: Sandbox) -> Broken:
    """A GPU, and a torch without CUDA: the wheel that the index has for another machine."""
    box.borrow("pip", "packaging")
    box.unpack(hollow("torch", "2.9.1", rf"{CP}-{CP}-manylinux_2_28_aarch64"))
    _with_driver(box)
    box.wheels_only(*_set("torch==2.9.1"))
    del box.env["PIP_NO_DEPS"]
    probe = "python -c \"import runpy, glob, sys; v = runpy.run_path(glob.glob(sys.prefix + '/lib/*/site-packages/torch/version.py')[0]); sys.exit(0 if v['cuda'] else 'no CUDA')\""
    return Broken("torch_cpu_build", probe, "no CUDA")


def _of_another_torch(box: Sandbox, name: str, old: str, *others: str) -> Broken:
    """torch 2.6.0 beside the release ``old`` of ``name``, made for 2.5.1; pip also finds the one for 2.6.0, and ``others``."""
    box.borrow("pip", "packaging")
    _install(box, hollow("torch", "2.6.0"), hollow(name, old))
    box.wheels_only(*_set("torch==2.6.0", name), *(hollow(name, version) for version in (old, *others)))
    del box.env["PIP_NO_DEPS"]
    probe = f"python -m pip check 2>&1 | tee /dev/stderr | {{ ! grep -q '{name}.*has requirement torch'; }}"
    return Broken(f"{name}_mismatch", probe, f"{name} {old} has requirement torch==2.5.1")


@scenario("torchvision of another torch", heavy=True, network=True)
def torchvision_mismatch(box: Sandbox) -> Broken:
    """torch was upgraded, torchvision was not."""
    return _of_another_torch(box, "torchvision", "0.20.1", "0.22.1")


@scenario("xformers of another torch", heavy=True, network=True)
def xformers_mismatch(box: Sandbox) -> Broken:
    """xformers was built for one torch exactly."""
    return _of_another_torch(box, "xformers", "0.0.29.post1")


@scenario("undefined C++ symbol", heavy=True, network=True)
def undefined_symbol(box: Sandbox) -> Broken:
    """Operators compiled for torch 2.8 beside a later torch: nothing in their metadata names a torch."""
    box.borrow("pip", "torch", "filelock", "typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "MarkupSafe", "fsspec", "numpy")
    _install(box, whole("fbgemm-gpu-cpu", "1.3.0"))
    box.wheels_only(whole("fbgemm-gpu-cpu", "1.8.0"))
    probe = "python -c \"import torch, glob, sys; torch.ops.load_library(glob.glob(sys.prefix + '/lib/*/site-packages/fbgemm_gpu/fbgemm_gpu_config.so')[0])\""
    return Broken("ext_abi_undefined_symbol", probe, "undefined symbol: _ZN")


@scenario("libstdc++ too old")
def old_libstdcxx(box: Sandbox) -> Broken:
    """An old libstdc++ comes first on LD_LIBRARY_PATH (a MATLAB, a conda, a module system)."""
    box.borrow("torch", "filelock", "typing_extensions", "sympy", "mpmath", "networkx", "jinja2", "MarkupSafe", "fsspec", "numpy")
    folder = box.root / "old"
    folder.mkdir()
    nodes = ["GLIBCXX_3.4", *(f"GLIBCXX_3.4.{n}" for n in range(1, 14)), "CXXABI_1.3", *(f"CXXABI_1.3.{n}" for n in range(1, 4))]
    (folder / "map").write_text("".join(f"{n} {{ global: of_{n.replace('.', '_')}; }};\n" for n in nodes))
    (folder / "old.c").write_text("".join(f"int of_{n.replace('.', '_')};\n" for n in nodes))
    command = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libstdc++.so.6", f"-Wl,--version-script={folder / 'map'}"]
    subprocess.run([*command, "-o", folder / "libstdc++.so.6", folder / "old.c"], check=True)
    box.env["LD_LIBRARY_PATH"] = str(folder)
    return Broken("glibc_cxx", 'python -c "import torch"', "not found (required by")


@scenario("CUDA library shadowed", heavy=True, network=True)
def cuda_library_shadowed(box: Sandbox) -> Broken:
    """LD_LIBRARY_PATH names the toolkit of an older CUDA: its libnvJitLink is loaded in place of torch's."""
    box.borrow("pip", "packaging")
    _install(box, hollow("torch", "2.6.0"))
    for name, version in (("nvidia-cusparse-cu12", "12.3.1.170"), ("nvidia-nvjitlink-cu12", "12.4.127")):
        _install(box, whole(name, version, "py3-none-manylinux.*x86_64"))
    target = box.site / "nvidia" / "cusparse" / "lib" / "libcusparse.so.12"  # what torch's libtorch_cuda.so loads first
    toolkit = box.root / "cuda-12.1" / "lib64"
    toolkit.mkdir(parents=True)
    with zipfile.ZipFile(whole("nvidia-nvjitlink-cu12", "12.1.105", "manylinux1_x86_64")) as z:
        (toolkit / "libnvJitLink.so.12").write_bytes(z.read("nvidia/nvjitlink/lib/libnvJitLink.so.12"))
    box.env["LD_LIBRARY_PATH"] = str(toolkit)
    return Broken("cuda_lib_shadowed", f"python -c \"import ctypes; ctypes.CDLL('{target}')\"", "nvJitLink")


@scenario("outdated bitsandbytes", heavy=True, network=True)
def outdated_consumer(box: Sandbox) -> Broken:
    """bitsandbytes imports triton.ops, which Triton dropped."""
    box.borrow("pip", "packaging")
    _install(box, hollow("bitsandbytes", "0.43.1", "manylinux.*x86_64"), hollow("triton", "3.2.0"))
    box.wheels_only(hollow("bitsandbytes", "0.43.1", "manylinux.*x86_64"), hollow("bitsandbytes", "0.50.2", "manylinux.*x86_64"))
    return Broken("outdated_triton_consumer", evidence="triton.ops")
