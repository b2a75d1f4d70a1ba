"""Windows: the loader, the VC++ runtime, the C compiler that Triton calls, long paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..facts import Facts
from .clues import USER_SITE, all_of, any_of, failing, on, seen, text, unless
from .model import CERTAIN, Clue, Evidence, Fix, Rule, install

__all__ = ["FOR_ONE_TORCH", "NO_PROGRAM", "RULES", "library"]

# Extensions of other packages that are compiled for one torch, by the names that they have.
FOR_ONE_TORCH = r"(?!_C$)\w*(?:cuda|_C|_?ext|_ops|kernels?|attn|gptq|rasteriz\w*)\w*"

# What Triton compiles on the user's machine while it runs; every other extension came in a wheel.
_BUILT_HERE = r"cuda_utils|__triton_launcher|__triton_cuda_utils|\w*launcher\w*"


def library(
    problem: str, path: str = "", of: Sequence[str] | None = None, but: Sequence[str] = ()
) -> Callable[[Facts], Iterator[Evidence]]:
    """Libraries with this ``problem``, if wanted of a path that contains ``path``, ``of`` some distributions or of all ``but`` some."""

    def find(facts: Facts) -> Iterator[Evidence]:
        for found in facts.libraries:
            mine = found.distribution not in but and (of is None or found.distribution in of)
            if found.problem == problem and path in found.path and mine:
                yield Evidence(f"{found.value} {found.detail}".strip(), found.path)

    return find


def _no_headers(facts: Facts) -> Iterator[Evidence]:
    i = facts.interpreter
    if facts.platform.system == "windows" and facts.log is None and facts.triton:
        if i.python_h is False:
            yield Evidence("include\\Python.h is not there", i.base_prefix)
        if i.import_library is False:
            yield Evidence(f"libs\\python{(i.minor or '').replace('.', '')}.lib is not there", i.base_prefix)


def _foreign(facts: Facts) -> Iterator[Evidence]:
    for path in facts.interpreter.foreign_libraries:
        yield Evidence(f"import library of another Python than {facts.interpreter.minor}", path)


def _bad_cc(facts: Facts) -> Iterator[Evidence]:
    if facts.platform.system == "windows" and facts.compilers == () and facts.variable("CC"):
        yield Evidence(f"CC is {facts.variable('CC')!r}, which is no program", "environment variable CC")


def _long_paths(facts: Facts) -> Iterator[Evidence]:
    if facts.platform.system == "windows" and not facts.platform.long_paths:
        for cache in facts.caches:
            if cache.longest >= 250:
                yield Evidence(f"a path of {cache.longest} characters; Windows stops at 260", cache.path)


# Python adds the file to what a file operation was refused; CreateProcess, which starts the compiler, leaves it out.
NO_PROGRAM = all_of(seen("win_error", r"[25]", r"^[^'\"\\/]*$"), unless(seen("win_error", r"[25]", r"['\"\\/]")))


# The compiler that Triton for Windows brings runs and fails without a word on the source, in a Python that is made to be embedded:
# such a one comes without headers.
_BUNDLED_FAILED = all_of(
    text(r"(?i)python_embed|embeddable|portable"),
    text(r"triton[\\/]+runtime[\\/]+tcc[\\/]+tcc\.exe"),
    seen("program_failed", r"tcc(?:\.exe)?"),
    unless(text(r"\berror: (?!include file)"), seen("statement", r"Failed to find (?:C compiler|MSVC|Windows SDK)")),
)


def _runtime_from_the_index(facts: Facts) -> list[Fix]:
    """Microsoft's DLLs as a wheel: installed with the base interpreter they lie beside its python.exe, which the loader asks first."""
    if not facts.interpreter.base_prefix:
        return []
    python = facts.interpreter.base_prefix.rstrip("\\/") + "\\python.exe"
    command = f'"{python}" -m pip install --upgrade --force-reinstall msvc-runtime'
    return [Fix("Put the current VC++ runtime beside the base python.exe, from the package index", (command,))]


def _missing_dll_fixes(facts: Facts) -> list[Fix]:
    missing = {x.value.lower() for x in facts.libraries if x.problem == "missing"}
    brought = [] if "libomp140.x86_64.dll" in missing and len(missing) == 1 else _runtime_from_the_index(facts)
    return [
        *brought,
        Fix("Name the missing DLL: the doctor walks the imports of every library of torch", ("anytile doctor",), safe=True),
        Fix("Install the current VC++ runtime, which ships most of them", (f"start {_REDIST}",)),
        Fix(
            "If libomp140.x86_64.dll is missing: it comes with the C++ build tools of Visual Studio, or use a neighbouring torch patch release"
        ),
    ]


def _newer_runtime(facts: Facts) -> list[Fix]:
    base = f'"{facts.interpreter.base_prefix}"' if facts.interpreter.base_prefix else "BASE_PREFIX"
    ask = () if facts.interpreter.base_prefix else ('python -c "import sys; print(sys.base_prefix)"',)
    copies = tuple(rf"copy /y %SystemRoot%\System32\{name} {base}" for name in ("msvcp140.dll", "vcruntime140*.dll"))
    return [
        *_runtime_from_the_index(facts),
        Fix("Install the current VC++ runtime for the whole system", (f"start {_REDIST}",)),
        Fix("Replace older copies beside the base python.exe (not the one in the virtual environment)", (*ask, *copies)),
    ]


_REDIST = "https://aka.ms/vs/17/release/vc_redist.x64.exe"

RULES = (
    Rule(
        "win_vcredist_old",
        "the VC++ runtime that the loader takes (the copies beside the base python.exe come first) is older than the library was built for",
        (
            Clue(0.98, library("old_runtime")),
            Clue(0.62, all_of(seen("failed_extension", r"libtriton"), unless(text(USER_SITE)))),
            Clue(0.35, all_of(seen("failed_extension", r"libtriton"), text(USER_SITE))),
            Clue(0.82, seen("win_error", r"1114")),
            Clue(0.3, all_of(seen("win_error", r"126"), seen("dll", r"c10\.dll|torch_python\.dll|torch_cpu\.dll"))),
            Clue(0.55, all_of(seen("crash"), text(r"libtriton|torch|triton"))),
            Clue(
                0.56,
                all_of(
                    text(r"libtriton(?!\.(?!pyd|so|dll)\w)"),
                    failing,
                    on("windows", None),
                    unless(seen("failed_extension"), seen("missing_name"), seen("undefined_symbol")),
                ),
            ),
            Clue(0.6, all_of(seen("dll_load", r"^DLL load failed$"), text(r"torch[\\/]__init__|torch\._C"))),
            # c10 needs nothing but Windows and the VC++ runtime
            Clue(0.65, all_of(seen("dll_load", r"^c10\.dll"), unless(seen("win_error")))),
            Clue(0.35, seen("dll_load", r"c10\.dll|torch_python\.dll|torch_cpu\.dll")),
            Clue(0.6, seen("dll", r"(?i)msvcp140\w*\.dll|vcruntime140\w*\.dll|concrt140\.dll")),
        ),
        _newer_runtime,
        against=(Clue(0.95, on("linux", "darwin")), Clue(0.85, seen("win_error", r"193")), Clue(0.3, seen("missing_name"))),
        rules_out=("win_wrong_wheel_or_stale_venv", "win_dll_missing_dep"),
        decide=(
            r'python -c "import sys, glob; print(glob.glob(sys.base_prefix + r\"\msvcp140.dll\"))"',
            "anytile doctor",
        ),
    ),
    Rule(
        "win_dll_missing_dep",
        "a DLL that the named library needs is in none of the folders that the loader searches",
        (
            Clue(CERTAIN, library("missing")),
            Clue(0.72, all_of(seen("win_error", r"126"), unless(seen("dll", r"nvcuda\.dll")))),
            Clue(0.3, seen("win_error", r"1114")),
            Clue(
                0.56,
                all_of(seen("dll", r"(?i)(?:fbgemm|shm|torch_\w+|c10\w*|asmjit|uv)\.dll"), unless(seen("win_error"), seen("dll_load"))),
            ),
            Clue(0.6, all_of(seen("dll_load"), unless(seen("win_error"), seen("dll_load", r"nvcuda\.dll")))),
            Clue(0.6, seen("dll", r"(?i)libomp140\w*\.dll|vcruntime140_(?:1|threads)\.dll|api-ms-win\S*\.dll|ucrtbase\.dll")),
            Clue(
                0.45,
                all_of(seen("failed_extension"), unless(seen("failed_extension", rf"libtriton|{_BUILT_HERE}|{FOR_ONE_TORCH}"))),
            ),
            Clue(0.25, seen("failed_extension", rf"(?!libtriton|cuda_utils){FOR_ONE_TORCH}")),
            Clue(
                0.5,
                text(r"(?i)(?:vcruntime140\w*|msvcp140\w*|libomp140\S*|concrt140|api-ms\S*)\.dll[^\n]*(?:not found|missing|NOT_FOUND)"),
            ),
            Clue(0.2, seen("win_error", r"127")),
        ),
        _missing_dll_fixes,
        against=(Clue(0.95, on("linux", "darwin")),),
        rules_out=("win_vcredist_old",),
        decide=("anytile doctor", "dumpbin /dependents FILE"),
    ),
    Rule(
        "win_wrong_python",
        "what Triton compiles on this machine is linked against another Python: files of two minors are mixed",
        (
            Clue(CERTAIN, _foreign),
            Clue(0.55, seen("failed_extension", r"cuda_utils|__triton_cuda_utils")),
            Clue(0.35, seen("failed_extension", r"__triton_launcher")),
            Clue(0.3, text(r"python3\d+\.lib")),
        ),
        lambda f: [
            Fix(
                "Keep only the include and libs folders of this Python's own minor release, and start Python by its full path",
                ("where python", "py -0p"),
                safe=True,
            )
        ],
        against=(Clue(0.9, on("linux", "darwin")), Clue(0.4, seen("header"))),
        decide=("where python", "dir PYTHON_FOLDER\\libs\\python3*.lib"),
    ),
    Rule(
        "win_python_dev_missing",
        "this Python came without its headers and import library, and Triton compiles C against them",
        (
            Clue(0.9, _no_headers),  # no harm until a kernel is launched, and newer releases bring what they need
            Clue(0.85, seen("statement", r"Failed to find Python (?:libs|headers?)")),
            Clue(0.85, all_of(seen("header", r"Python\.h|pyconfig\.h"), on("windows"))),
            Clue(0.4, all_of(seen("header", r"Python\.h|pyconfig\.h"), on(None))),
            Clue(0.85, seen("linker_library", r"python3\d*(?:\.lib)?")),
            Clue(0.7, _BUNDLED_FAILED),
            Clue(0.25, seen("failed_extension", _BUILT_HERE)),
        ),
        lambda f: [
            Fix(
                f"Put the folders include and libs of a full Python {f.interpreter.minor or 'of the same minor'} beside python.exe",
                ('python -c "import sys; print(sys.version, sys.base_prefix)"',),
                safe=True,
            )
        ],
        against=(Clue(0.95, on("linux", "darwin")),),
        decide=("python -c \"import sysconfig; print(sysconfig.get_paths()['include'])\"",),
    ),
    Rule(
        "win_c_compiler",
        "Triton found no C compiler that works: CC points to something else, or the installation is not complete",
        (
            Clue(CERTAIN, _bad_cc),
            Clue(0.9, seen("statement", r"Failed to find (?:MSVC|Windows SDK)")),
            Clue(0.75, seen("statement", r"(?i)Microsoft Visual C.*|Unable to find vcvarsall")),
            Clue(0.85, all_of(seen("statement", r"Failed to find C compiler"), on("windows"))),
            Clue(0.4, all_of(seen("statement", r"Failed to find C compiler"), on(None, "linux"))),
            Clue(
                0.75,
                all_of(
                    seen("program_failed", r"(?:tcc|cl|gcc|clang)(?:\.exe)?"),
                    on("windows"),
                    unless(seen("header", r"Python\.h|pyconfig\.h"), _BUNDLED_FAILED),
                ),
            ),
            Clue(
                0.8,
                all_of(
                    seen("win_error", r"2|5"),
                    text(r"(?i)build\.py|_build\(|windows_utils|\bCC\b|compiler"),
                    unless(text(r"\.triton\b")),
                ),
            ),
            Clue(0.7, NO_PROGRAM),
            Clue(0.5, all_of(seen("exception", r"CppCompileError"), on("windows", None), unless(seen("header"), seen("linker_library")))),
            Clue(0.55, all_of(seen("win_error", r"2"), text(r"(?i)subprocess|CreateProcess|Popen|triton|inductor"))),
            Clue(0.75, seen("statement", r"Compiler: (?:cl|\{).*")),
            Clue(
                0.8,
                text(
                    r"'where', 'cl'|compiler version for cl\b|['\"]cl(?:\.exe)?['\"] (?:is not|n'est pas|不是|не является)|(?:Befehl|命令) ['\"]cl(?:\.exe)?['\"]"
                ),
            ),
            # cmd's and PowerShell's answer to a program that is not there, up to where it is translated
            Clue(0.85, text(r"(?i)^\W*'(?:cl|tcc|nvcc)(?:\.exe)?'\s|The term '(?:cl|tcc)(?:\.exe)?'")),
            Clue(0.5, text(r"\btcc(?:\.exe)?\b|\bcl\.exe\b|vcvarsall|VCINSTALLDIR")),
        ),
        lambda f: [
            Fix("Unset CC so that the compiler which Triton for Windows brings is used", ("set CC=",), safe=True),
            Fix(
                "Or install the C++ build tools of Visual Studio with the SDK of this Windows",
                ("winget install Microsoft.VisualStudio.2022.BuildTools",),
            ),
        ],
        against=(
            Clue(0.9, on("darwin")),
            Clue(0.6, all_of(on("linux"), unless(seen("statement", r"Failed to find MSVC")))),
            Clue(0.6, seen("byte")),
            Clue(0.6, seen("linker_library", r"python3\d*(?:\.lib)?")),
        ),
        decide=("echo %CC%", "where cl gcc clang tcc"),
    ),
    Rule(
        "long_path",
        "a path is longer than Windows allows (260 characters)",
        (
            Clue(CERTAIN, _long_paths),
            Clue(0.9, seen("win_error", r"206")),
            Clue(0.85, seen("statement", r"(?i)file ?name too long|path is too long|MAX_PATH|LongPathsEnabled")),
            Clue(0.85, seen("errno", r"36|63")),
            Clue(
                0.8,
                all_of(
                    on("windows", None),
                    any_of(seen("errno", r"2"), seen("win_error", r"[23]"), seen("exception", r"FileNotFoundError")),
                    text(
                        r"(?i)(?:torchinductor|inductor|triton)[^\n]*(?:[\\/]tmp\.|tmp\.pid|_fused_|\.(?:source|ttir|ttgir|llir|ptx|cubin)\b)|[A-Z]:[\\/][^\n'\"]{150,}"
                    ),
                ),
            ),
            Clue(
                0.45,
                all_of(
                    on("windows"),
                    any_of(seen("errno", r"2"), seen("exception", r"FileNotFoundError")),
                    text(r"(?i)torchinductor|[\\/]triton[\\/]"),
                ),
            ),
        ),
        lambda f: [
            Fix("Give the caches a short folder", (r"setx TORCHINDUCTOR_CACHE_DIR C:\ti", r"setx TRITON_CACHE_DIR C:\tc"), safe=True),
            Fix(
                "Or allow long paths (as administrator, then sign in again)",
                (r"reg add HKLM\SYSTEM\CurrentControlSet\Control\FileSystem /v LongPathsEnabled /t REG_DWORD /d 1 /f",),
            ),
        ],
        against=(Clue(0.5, all_of(on("linux", "darwin"), unless(seen("errno", r"36|63")))), Clue(0.7, NO_PROGRAM)),
        decide=(r"reg query HKLM\SYSTEM\CurrentControlSet\Control\FileSystem /v LongPathsEnabled",),
    ),
    Rule(
        "nonascii_locale",
        "a compiler answers in a code page that is not UTF-8, and torch decodes it as UTF-8",
        (
            Clue(0.75, all_of(seen("byte"), text(r"cpp_builder|_is_msvc|cl\.exe|inductor|subprocess|codecache"))),
            Clue(0.7, all_of(seen("exception", r"UnicodeDecodeError"), text(r"cpp_builder|cpp_extension|inductor|codecache"))),
            Clue(0.5, seen("byte")),
            Clue(0.4, text(r"SUBPROCESS_DECODE_ARGS|_is_msvc_cl")),
        ),
        lambda f: [
            Fix("Make the compiler answer in English", ("set VSLANG=1033",), safe=True),
            Fix("Or upgrade torch: later releases decode with replacement", install(f, "torch")),
        ],
        against=(Clue(0.5, text(r"METADATA|\.json")),),
        decide=("chcp", "cl"),
    ),
)
