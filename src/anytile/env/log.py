r"""Facts from a pasted log.

`PATTERNS` is a table: each row names a kind of fact and how it is written. Only what no system translates is matched: exception
types, Python's and pip's own messages, module names, symbols, error numbers, file names. Windows, glibc and gcc translate
their sentences (`DLL load failed while importing X: ...` continues in the reader's language), so nothing after that colon counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from urllib.parse import unquote

from .facts import Distribution, Facts, Interpreter, Log, Mention, Platform, Project, Torch, Triton

__all__ = ["PATTERNS", "read_log"]

_MODULE = r"[A-Za-z_][\w.]*"
_FILE = r"[^\s\"'()\[\],;:]+"

# kind → pattern with the groups `v` (value) and, where there is more to say, `d` (detail)
PATTERNS: tuple[tuple[str, str], ...] = (
    ("exception", r"\b(?P<v>[A-Z]\w*(?:Error|Exception))\b(?::\s*(?P<d>.*))?"),
    ("exception", r"\b(?P<v>BadZipFile|TritonMissing|GPUTooOldForTriton|InvalidCxxCompiler)\b(?::\s*(?P<d>.*))?"),
    ("missing_module", rf"(?i:no module named) ['\"]?(?P<v>{_MODULE})['\"]?(?:;\s*(?P<d>.*))?"),
    ("not_a_package", rf"['\"](?P<v>{_MODULE})['\"] is not a package"),
    ("missing_name", rf"cannot import name ['\"](?P<v>\w+)['\"](?: from (?:partially initialized module )?['\"](?P<d>{_MODULE})['\"])?"),
    ("missing_attribute", rf"module ['\"](?P<d>{_MODULE})['\"] has no attribute ['\"](?P<v>\w+)['\"]"),
    ("missing_member", r"['\"](?P<d>\w+)['\"] (?:object )?has no attribute ['\"](?P<v>\w+)['\"]"),
    ("wrong_argument", r"(?P<d>[\w.]+)\(\) got an unexpected keyword argument ['\"](?P<v>\w+)['\"]"),
    ("failed_extension", r"DLL load failed while importing (?P<v>\w+)"),
    ("dll_load", r"ImportError: (?P<v>DLL load failed)(?! while)"),  # of Pythons that did not name the module yet
    ("statement", r"(?P<v>getpwuid\(\): uid not found)"),
    ("win_error", r"\[WinError (?P<v>\d+)\](?P<d>.*)"),
    ("dll_load", r"(?:Error loading|Could not find module|LoadLibrary)[^\n]*?(?P<v>\w[\w.+-]*\.(?:dll|pyd))"),
    ("crash", r"(?i)(?P<v>access violation|0xc0000005|0xc0000409|-?1073741819|3221225477)"),
    ("required", r"requires ['\"]?(?P<v>triton[-_]windows)"),
    ("errno", r"\[Errno (?P<v>-?\d+)\](?P<d>.*)"),
    ("dll", r"(?P<v>\w[\w.+-]*\.(?:dll|pyd))\b"),
    ("missing_library", r"(?P<v>lib[\w+.-]+?\.so(?:\.\d+)*): cannot open shared object file"),
    ("missing_library", r"(?:ImportError|OSError): (?P<v>lib[\w+.-]+?\.so(?:\.\d+)*): (?!undefined)[^\s:]"),
    ("undefined_symbol", r"(?:(?P<d>[^\s:]+\.so(?:\.\d+)*): )?undefined symbol:? (?!in\b)(?P<v>\w+)"),
    ("undefined_symbol", r"(?P<d>[^\s:]+\.so(?:\.\d+)*): (?!undefined)[^\s:][^:]*: (?P<v>_Z\w+)"),
    ("undefined_symbol", r"symbol (?P<v>\w+),? version \S+ not defined in file"),
    ("undefined_symbol", r"^\s*symbol:? (?P<v>_Z\w+)"),  # the line was broken before it
    ("undefined_symbol", r"(?i)symbol not found:? '?_?(?P<v>\w+)"),
    ("undefined_symbol", r"(?i:undefined symbol) (?:(?P<v>_\w+) )?in (?P<d>[^\s:]+\.so(?:\.\d+)*)"),
    ("symbol_version", r"\bversion (?P<v>lib[\w+.-]+?\.so(?:\.\d+)*)"),
    ("version_node", r"(?:(?P<d>[^\s:]+\.so(?:\.\d+)*): .*)?\b(?P<v>(?:GLIBCXX|CXXABI|GLIBC|GCC)_\d[\d.]*)"),
    ("linker_library", r"cannot find -l(?P<v>\w+)"),
    ("linker_library", r"\bld(?:\.\w+)?:[^\n]*\s-l(?P<v>\w+)"),
    ("linker_library", r"library ['\"](?P<v>python3\d+)['\"] not found"),
    ("python_library", r"Module use of (?P<v>python3\d+\.dll)"),
    ("linker_library", r"LNK1(?:104|181)[^\n]*?(?P<v>[\w.]+\.lib)"),
    ("header", r"(?:fatal error|C1083|include file|error:)[^\n]*?\b(?P<v>\w+\.h)\b"),
    ("program_failed", r"(?P<v>(?:tcc|cl|gcc|cc|clang|ptxas|nvcc)(?:\.exe)?)['\"]?[^\n]*(?:non-zero|exit (?:code|status)|ExitCode)"),
    ("ptxas_target", r"ptxas[^\n]*(?P<v>sm_\d+[af]?)"),
    ("ptxas_version", r"(?P<v>Unsupported \.version [\d.]+|PTX \.version [\d.]+)"),
    ("gpu_target", r"\b(?P<v>sm_\d+[af]?)\b(?P<d>[^\n]*)"),
    ("capability", r"capability:? \(?(?P<v>\d+[.,] ?\d+)\)?"),
    ("invalid_distribution", r"Ignoring invalid distribution (?P<v>\S+)"),
    ("no_distribution", r"No matching distribution found for (?P<v>[\w.-]+)(?P<d>[^\n]*)"),
    ("no_versions", r"requirement (?P<v>[\w.-]+)(?P<d>[^(]*)(?:\(from [^v][^)]*\) )?\(from versions: none\)"),
    ("offered", r"satisfies the requirement (?P<v>[\w.\-\[\]]+==[\w.+]+)[^(]*\((?:from [^v][^)]*\) \()?from versions: (?P<d>\d[^)]*)"),
    ("no_wheel", r"has no wheels?[^\n]*(?P<v>(?:cp|py)3\d*|manylinux\w*|win_amd64|macosx\w*)"),
    ("only_wheels", r"'?(?P<d>[\w.-]+)'? \(v?[\w.+]+\) only has wheels (?:with|for) the following (?P<v>Python|platform)"),
    ("wrong_wheel", r"(?P<v>[\w.+-]+\.whl)['\"]? is not a supported wheel"),
    ("no_candidate", r"Unable to find (?:installation )?candidates for (?P<v>[\w.-]+)(?: \((?P<d>[^)]*)\))?"),
    ("other_python", r"requires a different Python:? (?P<v>[\d.]+)(?P<d>[^\n]*)"),
    ("other_python", r"requires [Pp]ython (?P<v>[<>=!~][^\n]*?), (?:so it will not be|but none of the providers)"),
    (
        "conflict",
        r"(?P<v>[\w.-]+) \S+ (?:has requirement|requires) (?P<d>[\w.-]+(?:\[[\w,]+\])?\s?[=<>!~][^\n]*? but you(?:'ll)? have [^\n]*)",
    ),
    ("not_installed", r"(?P<v>[\w.-]+) (?:\S+ )?requires (?P<d>[\w.-]+)[^\n]*which is not installed"),
    (
        "uninstalled",
        r"(?:Successfully uninstalled|Uninstalling|Attempting uninstall:?|Found existing installation:) (?P<v>torch)[- ](?P<d>\d[\w.+]*)",
    ),
    ("pinned", r"Collecting (?P<v>torch)==(?P<d>\d[\w.+]*) \(from"),  # by what is being installed
    ("installed", r"Successfully installed [^\n]*?\b(?P<v>torch)-(?P<d>\d[\w.+]*)"),
    ("uninstalled", r"^\s*[-–] (?P<v>torch)==(?P<d>\d[\w.+]*)"),
    ("installed", r"^\s*\+ (?P<v>torch)==(?P<d>\d[\w.+]*)"),
    ("uninstalled", r"(?:Updating|Downgrading) (?P<v>torch) \((?P<d>\d[\w.+]*) -> "),
    ("installed", r"(?:Updating|Downgrading) (?P<v>torch) \([\w.+]+ -> (?P<d>\d[\w.+]*)\)"),
    ("built_for", r"(?P<v>PyTorch [\d.]+\S*) with CUDA \d+ \((?P<d>you have [^)]*)\)"),
    ("built_for", r"was built (?:for|with):?\s*(?P<v>PyTorch [\d.]+\S*)?(?P<d>[^\n]*)"),
    ("you_have", r"\(you have (?P<v>[\w.+-]+)\)"),
    ("operator", r"\b(?P<v>torch(?:vision|audio)::\w+)"),
    ("bnb_binary", r"^(?!.*[Ll]oading binary).*?(?P<v>libbitsandbytes_\w+\.(?:so|dll))"),
    ("dlopen", r"dlopen[^\n]*?(?P<v>lib[\w.]+|nvcuda\.dll)"),
    ("libcuda", r"(?P<v>libcuda\.so(?:\.\d+)*)(?P<d>[^\n]*)"),
    ("python_limit", r"Python (?P<v>3\.\d+)t?\+?[^\n]{0,30}(?:not (?:yet )?support|unsupported|isn't supported)"),
    ("python_limit", r"(?:not supported on|not (?:yet )?support(?:ed)?|requires?|unsupported)[^\n]*?Python (?P<v>3\.\d+)"),
    ("requires_python", r"Requires-Python|requires-python(?P<v>)|Ignored the following versions that require a different python"),
    ("driver_version", r"found version (?P<v>\d{4,5})\b"),
    ("byte", r"codec can't decode byte (?P<v>0x[0-9a-f]{2})(?P<d>[^\n]*)"),
    ("statement", r"(?P<v>Torch not compiled with CUDA enabled)"),
    ("statement", r"(?P<v>no kernel image is available)"),
    ("statement", r"(?P<v>not compatible with the current PyTorch installation)"),
    ("statement", r"(?P<v>(?:provided PTX was compiled with an )?unsupported toolchain)"),
    ("statement", r"(?i)(?P<v>driver (?:on your system )?(?:is too old|version is insufficient))"),
    (
        "statement",
        r"(?i)(?P<v>cannot find any torch accelerator|only (?:works|supports)[^\n]*GPUs|CUDA is (?:not available|unavailable)|requires (?:a )?CUDA)",
    ),
    (
        "statement",
        r"(?i)(?P<v>(?:PyTorch and Torch(?:vision|audio) were compiled with different|your PyTorch and torchvision versions|Failed to load image Python extension)[^\n]*)",
    ),
    ("statement", r"(?P<v>Compiler: [{\w}+.-]+ is not found|InvalidCxxCompiler)"),
    ("statement", r"(?P<v>cuDNN version incompatibility|PyTorch was compiled without CUDA|Could not create or locate cache dir)"),
    ("statement", r"(?P<v>no longer supports this GPU|rather than the C extensions|Couldn't load custom C\+\+ ops|\b0 active drivers)"),
    ("statement", r"(?P<v>No (?:NVIDIA|CUDA) (?:GPUs?|devices?)(?: (?:found|are available|available))?)"),
    ("statement", r"(?i)(?P<v>Failed to find (?:C compiler|MSVC|Windows SDK|Python libs|Python headers?|CUDA))"),
    ("statement", r"(?P<v>Cannot find a working triton installation)"),
    ("statement", r"(?P<v>can't load C\+\+/CUDA extensions)"),
    ("statement", r"(?P<v>device kernel image is invalid|requires \.target sm_\d+|Driver/library version mismatch|Found no NVIDIA driver)"),
    ("statement", r"(?P<v>failed to map segment|cannot execute '?cc1\w*)"),
    ("statement", r"(?i)(?P<v>dataclass type or instance)"),
    ("statement", r"(?i)(?P<v>triton (?:is )?not available|triton not found|without triton)"),
    (
        "statement",
        r"(?i)(?P<v>Required library version not found|Configured CUDA binary not found|CUDA Setup failed|CUDA binary|compiled without GPU support)",
    ),
    ("statement", r"(?i)(?P<v>stale (?:NFS )?file handle|Text file busy)"),
    ("statement", r"(?i)(?P<v>File ?name too long|path is too long|MAX_PATH|LongPathsEnabled)"),
    ("statement", r"(?i)(?P<v>not a symbolic link)"),
    ("statement", r"(?i)(?P<v>PTX codegen error|PTXASError)"),
    ("statement", r"(?P<v>invalid device function)"),
    ("statement", r"(?i)(?P<v>Microsoft Visual C\+\+ 14\.\d or greater is required|Unable to find vcvarsall)"),
    ("cuda_gone", r"(?:torch\.)?cuda\.is_available\(\)[^\n]{0,25}?(?P<v>[Ff]alse)\b"),
    (
        "building",
        r"(?P<v>setup\.py|pyproject\.toml|get_requires_for_build_\w+|egg_info|build_wheel|bdist_wheel|build dependencies|requirements to build|subprocess-exited-with-error|[Bb]uild backend|metadata-generation-failed)",
    ),
    ("frame", r"File ['\"](?P<v>[^'\"]+)['\"], line (?P<d>\d+)"),
    ("path", rf"(?P<v>(?:[A-Za-z]:[\\/]|~[\\/]|/|\.\.\.[\\/])(?:{_FILE}[\\/])*{_FILE})"),
    (
        "package_version",
        r"\b(?P<v>torchvision|torchaudio|torch|xformers|bitsandbytes|triton[-_]windows|pytorch-triton(?:-\w+)?|triton|flash[-_]attn|unsloth|mkl)\s*(?:[-=:]=?|[\s(]v?(?=\d)|version)\s*v?(?P<d>\d+\.\d+[\w.+]*)",
    ),
    ("package_version", r"\b(?P<v>PyTorch)\s*(?:version)?:?\s*(?P<d>\d+\.\d+[\w.+]*)"),
    ("cpu_build", r"(?P<v>\d+\.\d+\.\d+\+cpu)"),
    ("cpu_build", r"(?P<v>torch\.version\.cuda\W{1,8}None\b|CUDA used to build PyTorch: None)"),
    (
        "package",
        r"(?i)\b(?P<v>triton-windows|triton_windows|triton-library|pytorch-triton[\w-]*|torchtriton|triton-nightly|tritonclient)\b",
    ),
    ("machine", r"(?i)(?:\b|_)(?P<v>aarch64|arm64|sbsa|jetson|tegra|grace|GH200|GB10|GB200|DGX Spark|Orin|Thor)\b"),
    ("python", r"(?i)\bpython[ -]?(?P<v>3\.\d+(?:\.\d+)?)"),
    ("tool", r"\b(?P<v>poetry|uvx?|conda|mamba|pipx|pip)\b"),
)
_COMPILED = tuple((kind, re.compile(pattern)) for kind, pattern in PATTERNS)
# Patterns that begin with any word try at each: of these kinds one of the words stands in every mention, or the text has none.
_WORDS = {
    "version_node": ("GLIBC", "CXXABI", "GCC_"),
    "undefined_symbol": ("ymbol", "YMBOL", "_Z"),
    "not_installed": ("which is not installed",),
    "wrong_argument": ("got an unexpected keyword argument",),
    "missing_library": (".so",),
    "dll": (".dll", ".pyd"),
    "only_wheels": ("only has wheels",),
    "conflict": ("require",),
    "wrong_wheel": (".whl",),
}

_WINDOWS = re.compile(
    r"\b[A-Za-z]:\\|WinError|\.pyd\b|\.dll\b|\.exe\b|DLL load failed|win_amd64|win32|\bWindows\b|\bwin ?1[01]\b|MSVC|AppData|access violation|\w\\\\\w|include file '|Compiler: cl\b|\b(?:C|LNK)\d{4}\b",
    re.I,
)
_LINUX = re.compile(
    r"\.so\b|(?:^|(?<=[\s'\"(=]))/(?!Users/)[a-z]\w*/[\w.-]+|/usr/|/home/|/root/|/opt/|/tmp/|manylinux|linux_x86_64|\bLinux\b|\bUbuntu\b|/bin/ld|collect2|ldconfig",
    re.I,
)
_WSL = re.compile(r"\bWSL2?\b|microsoft-standard|/usr/lib/wsl|/mnt/[a-z]/", re.I)
_DARWIN = re.compile(r"\.dylib\b|macosx|darwin|/Users/\w+/(?!.*\\)|\bmacOS\b|Apple (?:M\d|silicon)", re.I)
# Kinds that a program which works does not print; the words help where a person describes the failure.
_FAILURES = frozenset(
    "exception missing_module not_a_package missing_name missing_attribute missing_member wrong_argument failed_extension win_error errno"
    " missing_library undefined_symbol linker_library header program_failed ptxas_target no_distribution no_versions wrong_wheel"
    " only_wheels no_wheel other_python python_library"
    " dll_load crash required no_candidate conflict not_installed statement cuda_gone byte dlopen frame".split()  # a traceback may be cut off
)
_COMPLAINT = re.compile(
    r"""(?i)(?<![\w./=-])(?<!\bno\ )(?<!nothing\ )(?<!without\ )(?<!\b0\ )(?:
        errors?|fatal|fail(?:s|ed|ures?|ing)?|cannot|can't|could\ not(?!\ collect)|unable|not\ (?:found|available|support(?:s|ed)?|linked|recogni[sz]ed|detected|working)|wrong|silently|problems?
      | broken?|breaks|corrupt(?:ed|ion|s)?|unexpected(?:ly)?|crash(?:es|ed)?|stop(?:s|ped)?\ working|no\ longer|instead\ of|conflicts?|incompatible|unsupported|mismatch|missing
      | (?:does|do|did|is|are|was|were|has|have)(?:n'?t|\ not)|cant|wont|not\ yet|drop(?:s|ped)?\ |won't|overwrites?
      | (?:how|possible)\ to
      | race\ (?:condition|in|between)|regression|deadlock
      | (?:even\ )?though|despite|somehow|apparently|unfortunately
      | mess(?:es|ed)?\ up|(?:please\ )?help\ me|please\ help|could\ you|different\ (?:version|torch)|un-?install(?:s|ed)?\ (?:my|the|current)|downgrades?|resulted\ in|remove[sd]|forc(?:es|ing)
    )\b(?!:\ ?0|[=-])
    | (?<![\w./=-])(?:how|why|what|can|could|is|its?|does|should|will)\b[^\n]*\?
    | \?\? | 失败|错误|报错|无法|不能|不可用|找不到|不支持|不兼容|降级|冲突|缺少|崩溃|导致|问题|怎么|为什么|吗|如何|不行 | ошибк|\bне\b|\bбез\b|сбой|почему|недоступн | fehler|fehlgeschlagen|nicht\ gefunden|funktioniert\ nicht|warum\b""",
    re.X,
)
# What programs say of their own work when asked to talk, and of tests that are content: nothing in such a line is a complaint.
_CHATTER = re.compile(
    r"""^\s*(?:
        (?:\S+Z\s|\[?[\d/:.,T -]+\]?\s)?\s*\[?(?:DEBUG|TRACE)\b        # levels of loggers, after a time
      | (?:\S+:\s*)?[VI]\d{4}\ \d\d:\d\d:\d\d\.\d+\ .*\]             # the same as glog writes them, and torch
      | (?:<frozen\ runpy>|\S*runpy\.py):\d+:\ RuntimeWarning       # python -m torch.utils.collect_env
      | import\ time:                                              # python -X importtime
      | (?:Link\ requires\ a\ different\ Python|Skipping\ link)     # pip -v, of every file that is not for this Python
      | \d+:\ (?:fact|derived|conflict|selecting|!|Version|Tried)     # Poetry's solver at -vv
      | (?:→\s*)?\d+\s*│                                           # source that Poetry shows around a frame
      | [0-9a-f]{7,40}\ (?=[\[(A-Z])(?=.*\s)                       # git log --oneline
      | .*\[-W[\w=+-]+\]\s*$                                      # warnings of gcc and clang, in every language
      | (?:PASSED|SKIPPED|XFAIL|XPASS)\b
      | \S+::.*\s(?:PASSED|SKIPPED|XFAIL|XPASS)\b                   # pytest
    )""",
    re.X,
)
# Entries of listings that people paste below: facts about the machine, and no complaint, whatever words they are made of.
_LISTED = re.compile(
    r"""^\s*(?:>\s*)?(?:
        \[(?:pip3?|conda)\]\s                                                      # collect_env
      | (?:[A-Z][\w+]*\s)?(?:[A-Za-z]\w*\s)?(?:version|driver)\s*:
      | Is\ \w+\ (?:build|available)\s*:  |  \w+\ used\ to\ build\ PyTorch\s*:
      | (?:OS|Python\ platform|GPU\ models\ and\ configuration|CUDA_MODULE_LOADING\ set\ to|Caching\ allocator\ config|Versions\ of\ relevant\ libraries)\s*:
      | (?:Vulnerability\s|NUMA\ node|L\d[di]?\ cache|Flags|Vendor\ ID|Model|Hypervisor|Virtualization|CPU|Architecture|Thread|Core|Socket)[^:]*:
      | (?!ERROR|WARN|INFO|FATAL|CRITICAL)[A-Z][\w\ ()/@-]{2,30}:\s{4,}\S              # lscpu
      | (?:Package\s+Version\b|[-=]{5,}[-=\s]*$)                                   # pip list, conda list
      | Collecting\ environment\ information\.\.\.$
      | [A-Za-z][\w.\[\]-]*\s{2,}\d[\w.+!-]*(?:\s{2,}\S+){0,3}\s*$
      | [A-Za-z][\w.\[\]-]*==\d[\w.+!-]*\s*$                                       # pip freeze
    )""",
    re.X,
)
_ENTRY = re.compile(r"\s*[A-Za-z][\w.\[\]-]*\s+\d[\w.+!-]*\s*")
_PERSON = re.compile(
    r"(?i:\[(?:bug|issue|installation|question|usage|feature|feature request|help|rfc)\]|^\W*(?:\[[^\]]+\]\s*)?(?:fix(?:es|ed)?|avoid|prevent|work ?around)\s|\b(?:issue|trouble|problem) with\b|\btries to\b)|(?<![\w/.'-])(?:I|I'm|I've|my|anyone|somebody)(?![\w/.-])|我|请问|\b[Ii]ch\b|\bmeine?\w?\b|\b[Яя]\b|у меня|\bмне\b"
)
_WARNING = re.compile(r"Warning:|^\s*(?:\[?WARN(?:ING)?\b|W\d{4} )")
_QUOTES = {ord(typed): plain for typed, plain in zip("‘’‚`´“”„«»", "'" * 5 + '"' * 5)}  # as typed by word processors, forges and locales
_COLOURS = re.compile(r"(?:\x1b|\u241b)\[[\d;?]*[A-Za-z]")  # of terminals
_MAX_LINE = 4000  # longer lines (dumped tensors, base64) name nothing
_SHOWN = 160


def _listings(lines: tuple[str, ...]) -> frozenset[int]:
    """The numbers of the lines that are entries of listings; a name and a version beside such an entry are one too."""
    sure = {number for number, line in enumerate(lines, start=1) if _LISTED.match(line)}
    beside = {number for number, line in enumerate(lines, start=1) if {number - 1, number + 1} & sure and _ENTRY.fullmatch(line)}
    return frozenset(sure | beside)


def _mentions(lines: tuple[str, ...]) -> Iterator[Mention]:
    whole = "\n".join(lines)
    absent = {kind for kind, words in _WORDS.items() if not any(word in whole for word in words)}
    wanted = tuple((kind, pattern) for kind, pattern in _COMPILED if kind not in absent)
    for number, line in enumerate(lines, start=1):
        for kind, pattern in wanted:
            for m in pattern.finditer(line):
                groups = m.groupdict()
                shown = line.strip()
                yield Mention(kind, groups.get("v") or "", (groups.get("d") or "").strip(), number, shown[:_SHOWN])


def _complaining(said: Iterable[tuple[int, str]], failed: set[int]) -> tuple[int, ...]:
    """The lines that tell of a failure, or in which a person speaks; warnings of programs are neither."""
    return tuple(number for number, line in said if not _WARNING.search(line) and (number in failed or _PERSON.search(line)))


def _platform(text: str, said: str) -> Platform:
    """The system whose marks are most in what is ``said``, or in the whole text where that has none; the machine where one is named."""
    marks = {"windows": _WINDOWS, "linux": _LINUX, "darwin": _DARWIN}
    counts = {name: len(pattern.findall(said)) for name, pattern in marks.items()}
    if not any(counts.values()):
        counts = {name: len(pattern.findall(text)) for name, pattern in marks.items()}
    wsl = bool(_WSL.search(text))
    system = max(counts, key=lambda k: counts[k]) if any(counts.values()) else None
    if "DLL load failed" in text or "WinError" in text:  # only Windows' loader says so, whatever paths stand around
        system = "windows"
    elif wsl and system in (None, "windows"):
        system = "linux"
    machine = re.search(r"(?i)\b(aarch64|arm64|sbsa|x86_64|amd64)\b", text)
    names = {"arm64": "aarch64", "sbsa": "aarch64", "amd64": "x86_64"}
    return Platform(system, names.get(machine.group(1).lower(), machine.group(1).lower()) if machine else None, wsl)


def _version(log: Log, *names: str) -> str | None:
    found = [m.detail for m in log.of("package_version") if m.value.lower().replace("_", "-") in names]
    return found[-1].rstrip(".") if found else None


def read_log(text: str) -> Facts:
    """Reads pasted text: an error message, a traceback, the output of an installer, or all of them with what the user said."""
    text = _COLOURS.sub("", text)
    if "%20" in text:  # copied from the address of a search
        text = unquote(text)
    lines = tuple("" if _CHATTER.match(line) else line[:_MAX_LINE].translate(_QUOTES) for line in text.splitlines())
    mentions = tuple(_mentions(lines))
    log = Log(mentions, lines, listed=_listings(lines))
    said = log.said()
    failed = {m.line for m in mentions if m.kind in _FAILURES} | {number for number, line in said if _COMPLAINT.search(line)}
    log = replace(log, failing=bool(failed), complaining=_complaining(said, failed))
    torch, triton = _version(log, "torch", "pytorch"), _version(log, "triton", "triton-windows")
    local = (torch or "").partition("+")[2]
    cuda = re.fullmatch(r"cu(\d+)(\d)", local)
    python = log.of("python")
    compiled = re.search(r"cpython-3(\d+)|cp3(\d+)|python3(\d\d)\.(?:dll|lib)|python3\.(\d+)", text)
    minor = next((g for g in compiled.groups() if g), None) if compiled else None
    tools = [m.value for m in log.of("tool")]
    tool = next((t for t in ("poetry", "uv", "uvx", "conda", "mamba") if t in tools), "pip")
    versions = {m.value.lower().replace("_", "-"): m.detail for m in log.of("package_version") if m.value != "PyTorch"}
    return Facts(
        platform=_platform(text, "\n".join(line for _, line in said)),
        interpreter=Interpreter(version=python[-1].value if python else f"3.{minor}" if minor else None),
        distributions=tuple(Distribution(n, v, "") for n, v in sorted(versions.items())),
        torch=Torch(torch, f"{cuda[1]}.{cuda[2]}" if cuda else None, None, cuda is not None, "") if torch else None,
        triton=Triton(triton, (), "") if triton else None,
        project=Project({"uvx": "uv", "mamba": "conda"}.get(tool, tool)),
        log=log,
    )
