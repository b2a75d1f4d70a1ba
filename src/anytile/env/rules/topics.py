"""What a short complaint is about, where no rule knows its words: the part that it names.

Somebody writes a sentence or two, without a message that a program prints. Then the most special thing that a complaining line names is
the best that can be said, and findings from it weigh little. Long texts and texts without a complaint get none: their words are not
about what they name.
"""

from __future__ import annotations

import re

from ..facts import Facts, Log
from .clues import compiled
from .model import Evidence

__all__ = ["about", "complains", "concerns"]

_LINES = 6  # of a text that is a complaint and not the output of a program
_TITLE = 2  # lines of a title, in which a person may ask for something without a word of complaint
_WISH = (
    r"\b(?:outdated|should|needs? to|support for|to support|how to|which version|right version|compatible with|wants?|requires?(?!:)|re-?installs?)\b"
    # the titles of changes
    r"|^(?=\S)\W*(?:\[[^\]]*\]\W*)?(?:add|allow|avoid|bump|detect|diagnose|ensure|fix|force|guard|handle|ignore|make|pin|prevent|raise|remove|replace|set|skip|support|use)\s"
)
# Two of these in one line, and a person wrote it.
_PROSE = (
    r"(?<![\w/.'-])(?:the|an?|to|is|are|be|of|with|on|and|that|will|over|from|its?|when|if|for|by|as|was|were|has|have|like|should|can|than"
    r"|this|there|my|i)(?![\w/.'-])"
)
# What programs say: of their content, of what they do, in columns, or as the body of something.
_OUTPUT = r"^\s|\S\s{2,}\S|Warning:|\.\.\.$|\b(?:ok|passed|success\w*|satisfied|works?|working|found|done|completed?|finished|available|enabled|healthy|running|started|loaded)\b"
_OURS = r"torch|triton|cuda|\bgpu\b|nvidia(?!-smi)|inductor|xformers|bitsandbytes|unsloth|comfyui|vllm|\battention\b|CompiledKernel|\bcompil(?:e|ing|ation)|sys\.path|\bconda\b|\bpoetry\b|\bwheels?\b|\bdll\b|显卡|видеокарт|Grafikkarte"
_GPU_LIBRARY = r"lib(?:cudart|cublas|cublasLt|cudnn|nvrtc|cufft|curand|cusolver|cusparse|nccl|nvJitLink)\w*"

#: (patterns that one line names all of, the causes it may mean), the most special first.
_TOPICS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = tuple(
    (tuple(parts.split(" & ")), tuple(causes.split()))
    for parts, causes in {
        r"\btriton[._]ops\b|matmul_perf_model": "outdated_triton_consumer torch_triton_api_skew",
        r"triton[-_]library|tritonclient|tritonserver": "wrong_package win_no_triton",
        r"\bxformers\b": "xformers_mismatch torch_cpu_build",
        r"\btorchaudio\b|_torch_sox": "torchaudio_mismatch ext_abi_undefined_symbol",
        r"\btorchvision\b": "torchvision_mismatch resolver_replaced_torch",
        r"bitsandbytes|\bbnb\b": "bnb_cuda_binary torch_cpu_build",
        r"\bpoetry\b": "poetry_source python_unsupported",
        r"aarch64|\barm64\b|\baarch\b|jetson|\bgh200\b|\bgb\d{2,3}\b|dgx spark|\bsbsa\b": "aarch64_wheels torch_cpu_build",
        r"\bptxas\b": "ptxas_too_old torch_arch_missing",
        r"GLIBC|CXXABI|libstdc\+\+|\bglibc\b": "glibc_cxx cuda_lib_shadowed",
        r"\bmkl\b|iJIT": "mkl_symbol cuda_lib_shadowed",
        r"\bWSL2?\b & cuda|driver|\bgpu\b|nvidia": "wsl_libcuda linux_libcuda_link",
        _GPU_LIBRARY: "cudart_soname cuda_lib_shadowed",
        r"\w*cuda\.so|\blibcuda\b|-lcuda\b": "linux_libcuda_link wsl_libcuda",
        r"Python\.h|python3?-dev|python headers": "linux_python_headers win_python_dev_missing",
        r"python3\d*\.lib|include and libs|python libs": "win_python_dev_missing win_wrong_python",
        r"\bsm_?\d{2,3}\b|compute capabilit|\bkernel image|RTX ?(?:Pro ?)?[56]0(?:\d0|xx)|\b50[- ]?(?:xx )?series|blackwell": "torch_arch_missing ptxas_too_old",
        r"\bdriver\b & cuda|nvidia|\bgpu\b|old|version|过低|устарел|veraltet": "driver_too_old torch_arch_missing",
        r"(?<!\w)\.local\b(?![\\/]share)|user[- ]site|AppData\\Roaming|--user\b|PYTHONNOUSERSITE": "user_site_leak resolver_replaced_torch",
        r"\bDLL\b|\.dll\b|WinError|动态链接库|\bVC\+\+|redistributable|运行库": "win_vcredist_old win_dll_missing_dep win_wrong_wheel_or_stale_venv",
        r"path & too long|length|\b260\b|MAX_PATH|LongPaths": "long_path cache_corrupt",
        r"\bcodec\b|Unicode|encoding|\bgbk\b|\bcp\d{3,4}\b|编码|кодиров": "nonascii_locale win_c_compiler",
        r"\bcache\b|缓存|кэш & permission|denied|writ|uid|read-?only|权限|прав": "permission cache_corrupt",
        r"\bcache\b|缓存|кэш & upgrad|updat|version|switch|delet|clear|remov|升级|删除|удал": "cache_stale_after_upgrade cache_corrupt",
        r"triton|inductor & \bcache\b|缓存|кэш": "cache_corrupt permission",
        r"\bcache(?:[ _]?manager)?\b & corrupt|damaged|truncated|\btemp\b|\brace|concurrent|multi-?process": "cache_corrupt permission",
        r"\b(?:cl|tcc|cl\.exe|msvc)\b|visual studio|build tools": "win_c_compiler win_python_dev_missing",
        r"\b(?:gcc|clang|g\+\+|cc|compiler|build-essential)\b|编译器|компилятор": "linux_no_compiler win_c_compiler",
        r"undefined symbol|\bABI\b|flash[-_ ]attn?|\b_C\b|custom (?:op|extension)|\.so\b": "ext_abi_undefined_symbol resolver_replaced_torch",
        r"circular import|shadow|same name|\bown file\b|同名": "shadowed_module wrong_package",
        r"site-packages & ~|invalid distribution|left": "leftover_files two_tritons",
        r"build isolation|No module named '?torch'? & build|wheel|pip": "build_isolation python_unsupported",
        r"\btriton\b & windows|\bwin ?1[01]\b|\.ps1|[A-Z]:\\": "win_no_triton win_c_compiler",
        r"\btriton\b & \btriton\b.*\btriton[-_]\w+|both": "two_tritons torch_triton_api_skew",
        r"triton\b|CompiledKernel|KernelMetadata|GPUTarget|inductor & attribute|import|version|torch|incompat|argument|\bapi\b": (
            "torch_triton_api_skew outdated_triton_consumer two_tritons"
        ),
        r"unexpected keyword & compil|triton|torch": "torch_triton_api_skew two_tritons",
        r"\bpython ?3\.\d+|\b3\.1\d\b|\bcp3\d+\b & torch|triton|wheel|install|support": "python_unsupported poetry_source",
        r"\btorch\b|cuda & after|replac|overw|downgrad|uninstall|delet|reset|broke|requirements|custom node|之后|后|替换|после|nach ": "resolver_replaced_torch torch_cpu_build",
        r"update|upgrade|install & broke|breaks & \bui\b|comfy|webui|\bapp\b": "resolver_replaced_torch torchvision_mismatch",
        r"\bcuda\b|\bgpu\b|_gpu\b|显卡|видеокарт|Grafikkarte": "torch_cpu_build resolver_replaced_torch driver_too_old",
    }.items()
)


def complains(log: Log) -> bool:
    """Whether the text is a complaint, or a wish, and not the output of a program: nobody shows the doctor a sentence for its beauty."""
    told = log.said()
    short = len(told) <= _TITLE
    wishing = short and any(compiled(_WISH, re.I).search(line) or _prose(line) for _, line in told)
    return len(told) <= _LINES and (bool(log.complaining) or wishing)


def _prose(line: str) -> bool:
    words = {word.lower() for word in compiled(_PROSE, re.I).findall(line)}
    return len(words) >= 2 and not compiled(_OUTPUT, re.I).search(line)


def concerns(log: Log) -> bool:
    """Whether a complaining line, or the title of a wish, names one of the things that the doctor knows about."""
    lines = [line for n, line in log.said() if (n in log.complaining or not log.complaining) and not line.startswith("    ")]
    return any(compiled(_OURS, re.I).search(line) for line in lines)


def about(facts: Facts) -> list[tuple[str, Evidence]]:
    """The causes that a short complaint may mean, the likeliest first, each with the line that names its topic."""
    log = facts.log
    if log is None or not complains(log):
        return []
    told = log.said()
    lines = told if len(told) <= 3 else [(n, line) for n, line in told if n in log.complaining]
    found: dict[str, Evidence] = {}
    for parts, causes in _TOPICS:
        patterns = [compiled(part, re.I) for part in parts]
        for number, line in lines:
            if all(p.search(line) for p in patterns):
                evidence = Evidence(line.strip()[:160], f"log line {number}")
                for cause in causes:
                    found.setdefault(cause, evidence)
                break
    return list(found.items())
