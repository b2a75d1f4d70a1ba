"""What people tell of a failure in their own words, where no program speaks: titles, descriptions, a sentence above a log.

cause → clues, which `rules` adds to the rule of that cause.  Each holds where one line names all of some things: the part, and what is
the matter with it.  Only identifiers and a few stems are asked for, in the languages in which reports are most often written
(English, Chinese, German, Russian); the output of a program that works is no complaint, and none of these holds there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from ..facts import Facts
from .clues import USER_SITE, Find, all_of, any_of, compiled, on, seen, text, unless
from .model import Clue, Evidence

__all__ = ["REPLACED", "TOLD"]


def told(*parts: str) -> Clue:
    """The clue that somebody `says` it; see `weigh` for another weight than 0.6."""
    return weigh(0.6, *parts)


def weigh(weight: float, *parts: str, complaint: bool = True) -> Clue:
    """`told` with its weight: how sure the cause is when somebody says so."""
    return Clue(weight, says(*parts, complaint=complaint))


def says(*parts: str, complaint: bool = True) -> Find:
    """A line in which each of ``parts`` (patterns, in any case of letters) occurs.

    ``complaint``: the text must tell of a failure elsewhere too; False where the parts say so themselves.
    """

    def find(facts: Facts) -> Iterable[Evidence]:
        if facts.log is None or (complaint and not facts.log.failing):
            return
        wanted = [compiled(part, re.I) for part in parts]
        for number, sentence in _sentences(facts.log.lines):
            if number not in facts.log.listed and all(pattern.search(sentence) for pattern in wanted):
                yield Evidence(facts.log.lines[number - 1].strip()[:160], f"log line {number}")
                return

    return find


_CHINESE_EDGE = re.compile(r"(?<=[\u4e00-\u9fff])(?=[A-Za-z0-9])|(?<=[A-Za-z0-9])(?=[\u4e00-\u9fff])")  # no blank stands there
_SENTENCE = 600  # characters; longer lines are dumps


@lru_cache(maxsize=1)  # all the clues ask the same log
def _sentences(lines: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    """The lines that a person may have written, each with its number, and with blanks where \\b is to see the edge of a word."""
    return tuple((n, _CHINESE_EDGE.sub(" ", line)) for n, line in enumerate(lines, start=1) if len(line) <= _SENTENCE)


_STOPS = r"\b(?:incompatib\w*|mis-?match\w*|conflict\w*)|not compatible|wrong version|built (?:for|against|with)|compiled (?:for|against|with)|不兼容|不匹配|несовместим|inkompatib|nicht kompatibel|passt nicht"
_LACKS = r"not (?:found|available|support(?:ed|s)?|defined|recogni[sz]ed|included)|\bmissing\b|\bunsupported\b|(?:does|do|did|is|are|was|were)(?:n't| not)\b|(?<!-)\bno\b(?!-)|\bcannot\b|can't|could not|unable|without|找不到|没有|无法|不支持|缺少|не найден|не поддерж|отсутств|fehl(?:t|en)|nicht (?:gefunden|verfügbar|unterstützt)"
_OLD = r"too old|\bold(?:er)?\b|out-?dated|insufficient|\bupdate\b|upgrade|过低|太老|太旧|过旧|устарел|veraltet|zu alt"
# Something was installed, and took torch's place.
_MOVED = r"\b(?:u\w*install|replac|down-?grad|overwr|remov|revert|swap|forc|pull|delet|reset)\w*|\bre-?installs\b|替换|降级|变成|卸载|覆盖|замен|удал|пониж|ersetz|deinstall|herabgestuft"
_AFTER = r"\b(?:after|since|just|when)\b[^\n]*\b(?:install|updat|upgrad|add)\w*|安装[^\n]{0,6}(?:后|之后)|更新后|после (?:установ|обнов)|nach (?:der|dem) (?:Install|Update)"
_NO_CUDA = r"non-?cuda|(?<![/\w+.])cpu\b(?!/)|(?:no|without|lose[sd]?|lost)\s+(?:\w+\s+){0,2}cuda|cuda[^\n]{0,40}(?:not available|unavailable|\bgone\b|removed|\blost\b|stopped|不可用|недоступ|nicht verfügbar)"
_TORCH = r"\b(?:py)?torch\b"
# The machines by name, where no file's name holds it.
_ARM = r"(?<![\w.-])(?:linux[ -])?(?:aarch64|arm64)(?![\w.-])|\bsbsa\b|jetson|\bgh200\b|\bgb\d{2,3}\b|dgx spark"
_CACHE = r"\.triton\b|torchinductor|inductor[ _]cache|triton[ _-]cache|TRITON_CACHE"
_COMPANION = rf"{_TORCH}|\bcuda\b"


REPLACED = says(rf"{_TORCH}|\bcuda\b", _MOVED, _NO_CUDA, complaint=False)
"""Somebody tells that torch was there, and that something put a torch without CUDA into its place."""


def _on(clue: Clue, *systems: str | None) -> Clue:
    return Clue(clue.weight, all_of(on(*systems), clue.find))


def _unless_seen(clue: Clue, *kinds: str) -> Clue:
    """Not where a program's own message names the thing: its rule knows better."""
    return Clue(clue.weight, all_of(clue.find, unless(any_of(*(seen(kind) for kind in kinds)))))


TOLD: dict[str, tuple[Clue, ...]] = {
    # who answers `import triton`
    "torch_triton_api_skew": (
        _unless_seen(told(r"AttrsDescriptor|triton_key|launch_(?:enter|exit)_hook|triton\.common"), "failed_extension"),
        told(r"\btriton(?:\.(?!ops\b)\w+)+", r"(?:does not|doesn't|no longer) (?:provide|have|export|exist)|was removed|has no\b"),
        told(r"\btriton\b", rf"{_TORCH}|inductor", rf"{_STOPS}|old API|new API|API change|broke"),
        told(
            r"\btriton\b",
            r"\b(?:remov|renam|mov|chang)(?:ed|es)\b",
            r"\battributes?\b|\bfunctions?\b|\bapi\b|\bclass\b|\bsignature\b|\barguments?\b",
        ),
        told(r"CompiledKernel|KernelMetadata|JITFunction|ASTSource", r"\battributes?\b|\bargument\b", _LACKS),
        _unless_seen(
            told(r"ImportError|AttributeError", r"\btriton\s*(?:==|version|v)?\s*\d+\.\d+"),
            "missing_attribute",
            "missing_name",
            "missing_module",
        ),
    ),
    "two_tritons": (
        weigh(
            0.75,
            r"(?<![-\w])triton(?![-\w])",
            r"triton[-_]windows|pytorch-triton[\w-]*|triton-xpu|triton-rocm|triton-nightly",
            r"\bboth\b|stops? working|un-?install|\bremove\b|\bcauses\b|同时|卸载|обе|beide",
        ),
    ),
    "win_no_triton": (weigh(0.7, r"\btriton\b", r"\bwindows\b|\bwin ?1[01]\b|\bmac(?:os)?\b", rf"{_LACKS}|怎么安装|不行"),),
    "shadowed_module": (
        weigh(
            0.75,
            r"^(?!.*(?:no module|import name|line \d|\.py:\d)).*\b(?:folder|directory|file|repo)\b|文件夹|目录|папк|Ordner",
            r"\b(?:called|named|name)\b|名为|叫|названи|namens",
            r"\b(?:triton|torch|xformers|unsloth|bitsandbytes)\b",
        ),
    ),
    # what torch is, and what was done to it
    "resolver_replaced_torch": (
        Clue(0.7, REPLACED),
        weigh(0.6, _AFTER, rf"{_TORCH}|\bcuda\b", _NO_CUDA, complaint=False),
        told(_AFTER, _TORCH, r"\bbroke|\bbreak|compatib"),
        weigh(
            0.6,
            _TORCH,
            r"\b(?:always?|still|every time|again|automatically|keeps?|forces?|wants? to|tries to|attempt(?:s|ing)?)\b|总是|每次|自动|всегда|immer",
            r"re-?install|\breplac|\bdown-?grad|\bun-?install|overwrit",
            complaint=False,
        ),
        told(_TORCH, r"\binstall", r"mess(?:es|ed)? up|clobber|版本被"),
        told(_TORCH, r"re-?install|\bdown-?grad|overwrit", rf"{_STOPS}|\bbroke|custom node|requirements"),
        weigh(0.5, r"\binstall\w*", r"custom node|extension|plugin|requirements\.txt", r"stop|broke|break|caus|no longer"),
        told(_TORCH, r"替换|降级|变成|卸载|замен|пониж|ersetz|herabgestuft|\bdown-?grad|\bun-?install\w*"),
    ),
    "torch_cpu_build": (
        weigh(
            0.6,
            _TORCH,
            r"(?<![-\w])install(?:s|ed|ing)?\b[^\n]{0,40}\bcpu[- ]?(?:only[- ])?(?:version|build|wheel|variant|torch)",
            complaint=False,
        ),
        weigh(0.5, _TORCH, r"install|wheel|build|version|poetry|pip\b|安装|установ", _NO_CUDA),
        weigh(0.62, _TORCH, r"\bwrong (?:version|build|torch)|\b(?:right|correct) (?:version|build)", r"\bgpu\b|\bcuda\b", complaint=False),
        Clue(
            0.58,
            all_of(
                says(
                    r"\bon (?:the |my )?cpu\b",
                    r"\bgpu\b|\b[rg]tx ?\d|nvidia|\bcuda\b",
                    r"\bbut\b|instead|\bonly\b|though|\bnot\b|n't\b",
                    complaint=False,
                ),
                unless(says(rf"{_AFTER}|\bbroke\b")),
            ),
        ),
        _on(weigh(0.55, r"\bcuda\b", r"install|\buv\b|poetry|\bpip\b|lock", r"windows", _LACKS), "windows", None),
        weigh(
            0.4, r"\b(?:cuda|gpu)\b", r"(?:can't|cannot|can not|won't|doesn't|does not|unable to) (?:\w+ )?(?:run|use|see|find|detect)\w*"
        ),
        _unless_seen(
            weigh(
                0.5,
                r"\bgpu\b|显卡|видеокарт|Grafikkarte",
                r"not (?:detected|recogni[sz]ed|used|found)|检测不到|не (?:видит|наход)|nicht erkannt",
            ),
            "statement",
        ),
    ),
    "aarch64_wheels": (
        weigh(
            0.72,
            r"aarch64|arm64|\bsbsa\b|jetson|\bgh200\b|\bgb\d{2,3}\b|dgx spark|\borin\b|\bthor\b|grace",
            rf"{_NO_CUDA}|\bwheels?\b|\bpypi\b|not for|\bcuda\b[^\n]*(?:{_LACKS})",
        ),
        weigh(0.55, r"aarch64|arm64|jetson|\bgb10\b|dgx spark|\borin\b|\bthor\b", r"install|安装|установ|support"),
        weigh(0.55, rf"{_ARM}", r"\bwheels?\b|\bpip\b|\bpypi\b|\bbuilds?\b", r"\bgpu\b|\bcuda\b|\bcpu\b", complaint=False),
        weigh(0.55, rf"{_ARM}|\baarch\b", r"\bcpu[- ](?:only|build|version|wheel)|\+cpu\b", complaint=False),
        weigh(0.6, r"not for (?:arm|aarch)|no (?:arm|aarch)", complaint=False),
    ),
    "python_unsupported": (
        told(r"\b3\.\d+t\b|\bnogil\b|free-?thread", r"torch|triton|dynamo|compile"),
        weigh(
            0.55,
            rf"{_TORCH}|\btriton\b",
            r"\b(?:in|on|for|with|under) (?:python )?3\.\d{1,2}(?![.\d])",
            r"not (?:available|supported)|unavailable|no wheels?\b",
        ),
        _unless_seen(weigh(0.5, r"(?<![/\\\w])python ?3\.\d+|\bcp3\d+", rf"{_STOPS}|{_LACKS}|requires"), "exception"),
    ),
    "poetry_source": (
        weigh(0.5, r"\bpoetry\b", r"torch|source|\bcu\d{3}\b", _LACKS),
        Clue(0.6, all_of(text(r"tool\.poetry"), says(_TORCH, r"\bcandidates?\b|\bsource\b|\binstall\w*", _LACKS))),
    ),
    "build_isolation": (
        weigh(0.5, r"flash|xformers|mamba|deepspeed|apex", r"\btorch\b", r"build", _LACKS),
        weigh(0.75, r"without torch installed|install torch (?:first|before)|torch (?:must|has to|needs to) be installed (?:first|before)"),
        weigh(0.6, r"\bbuild|\binstall", r"\btorch\b", r"even though|though|but|although", r"\binstalled\b", r"no (?:module|torch)"),
    ),
    "user_site_leak": (
        told(r"PYTHONNOUSERSITE"),
        # a program that starts others, found outside of the environment
        told(
            r"\b(?:torchrun|accelerate|deepspeed|ipython|jupyter)\b",
            r"\bvenv\b|virtual ?env|conda env",
            r"wrong|outside|system|bypass|instead|ignor",
        ),
        weigh(
            0.7,
            rf"{USER_SITE}|\.local\b|user[- ](?:site|install)",
            r"sys\.path|shadow|ahead of|conflict|instead of|picked|preced|priorit|leak",
        ),
        weigh(
            0.6,
            r"(?<!\w)\.local\b(?![\\/](?:share|state))",
            r"different version|wrong version|installed as a user|\bold(?:er)?\b|user's|instead|prioriti|precedence|overrid",
            complaint=False,
        ),
        Clue(0.6, all_of(text(USER_SITE), says(r"on sys\.path|ahead of|user-installed|shadow", complaint=False))),
    ),
    "leftover_files": (told(r"site-packages", r"[\\/ ]~\w|left-?over|remnant|corrupt|half"),),
    # companions
    "xformers_mismatch": (told(r"\bxformers\b", _STOPS, _COMPANION),),
    "torchvision_mismatch": (told(r"\btorchvision\b", _STOPS, _COMPANION),),
    "torchaudio_mismatch": (
        told(r"\btorchaudio\b", _STOPS, _COMPANION),
        Clue(0.65, all_of(says(r"\btorchaudio\b"), says(r"undefined symbol|symbol not found"))),
    ),
    "bnb_cuda_binary": (weigh(0.5, r"bitsandbytes", r"\bcuda\b|\bgpu\b", rf"{_LACKS}|compiled without"),),
    "ext_abi_undefined_symbol": (
        weigh(0.7, r"\babi\b|cxx11", r"\bextensions?\b|\btorch\b|pytorch", r"recompil|rebuil|break|broke|changed"),
        told(r"\babi\b|cxx11", r"mismatch|incompat|different|\bbuilt\b|compiled|\bfalse\b|wrong|不兼容|несовместим"),
    ),
    # GPU and driver
    "driver_too_old": (weigh(0.65, r"\bdrivers?\b|驱动|драйвер|Treiber", _OLD, r"nvidia|cuda|gpu|显卡|驱动"),),
    "torch_arch_missing": (
        weigh(
            0.55,
            r"\bsm_?\d{2,3}\b|compute capability|blackwell|pascal|maxwell|\brtx ?50\d0|\b50[6789]0\b|\bgtx ?(?:9|10)\d0|\bp40\b|\bk80\b",
            rf"{_STOPS}|{_LACKS}",
            r"torch|cuda|kernel|support",
        ),
        weigh(0.55, r"\b[rg]tx\b|\bgpus?\b|\bcards?\b", r"\bsupport", r"\brelease|\bnightly|\bnew(?:er)?\b", _TORCH),
    ),
    "ptxas_too_old": (told(r"\bptxas\b", rf"sm_\d|gpu-name|{_OLD}|{_LACKS}"),),
    # libraries and compilers on Linux
    "linux_libcuda_link": (_on(told(r"-lcuda\b|libcuda\.so|\bcuda\b[^\n]*\blinked\b", r"\blink\w*|\bld\b|symlink"), "linux", None),),
    "wsl_libcuda": (weigh(0.75, r"\bWSL2?\b(?![\\/])", r"libcuda|cuda lib|nvcuda"),),
    "linux_no_compiler": (
        _on(
            weigh(
                0.7,
                r"(?<![/\w-])(?:g(?:cc|\+\+)|clang)(?![-.\w/])|build-essential|c compiler",
                rf"{_LACKS}|unable to execute|executable file not found|\bneeds?\b|requires?\b",
            ),
            "linux",
            None,
        ),
        weigh(0.65, r"\b(?:stdlib|stdio|limits|string)\.h\b|\bcrt[1i]\.o\b", rf"{_LACKS}|No such"),
    ),
    "linux_python_headers": (_on(told(r"python3?(?:\.\d+)?-dev(?:el)?\b|Python\.h", rf"{_LACKS}|\bneeds?\b"), "linux", None),),
    "glibc_cxx": (told(r"\bglibc(?:xx)?\b|libstdc\+\+", rf"{_OLD}|{_LACKS}|requires"),),
    "cudart_soname": (weigh(0.65, r"libcudart|cudart64|libnvrtc|libcublas", _LACKS),),
    "cuda_lib_shadowed": (told(r"LD_LIBRARY_PATH", r"cuda|nvjitlink|cudnn|nccl|cublas", r"older|conflict|unset|wrong|instead|shadow|mix"),),
    "mkl_symbol": (
        weigh(0.8, r"\biJIT_\w+", complaint=False),
        told(r"\bmkl\b", r"iJIT|libmkl|202[45]\.\d", rf"{_STOPS}|{_LACKS}|downgrad|undefined"),
    ),
    # Windows
    "win_vcredist_old": (_on(weigh(0.62, r"\bVC\+\+|Visual C\+\+|vc_?redist|redistributable", r"redist|runtime"), "windows", None),),
    "win_c_compiler": (_on(weigh(0.5, r"\bMSVC\b|build tools|\bcl\.exe|\btcc\b", rf"{_LACKS}|fails?|detect"), "windows", None),),
    "win_python_dev_missing": (
        weigh(0.6, r"\bpython (?:includes?|headers?|lib(?:s|raries))\b", r"\brequires?\b|\bneeds?\b|copy|missing", complaint=False),
        _on(told(r"python3\d*\.lib|include (?:and|&) libs|Python\.h", _LACKS), "windows"),
    ),
    "win_wrong_python": (
        _on(
            weigh(
                0.45, r"multiple|several|\btwo\b|another|different|wrong|多个|несколько|mehrere", r"\bpythons?\b", r"path|version|3\.\d+"
            ),
            "windows",
        ),
    ),
    "long_path": (
        weigh(
            0.8,
            r"\b260\b[- ]?(?:char|limit)?|MAX_PATH|path[^\n]{0,20}too long|long ?path|路径过长|长路径|слишком длин|Pfad[^\n]*zu lang",
            r"path|char|name|路径|пут|Pfad",
        ),
    ),
    "nonascii_locale": (
        weigh(
            0.65,
            r"UnicodeDecodeError|can't decode|decod\w+|code ?page|locale",
            r"cl\.exe|\bcl\b|\bmsvc|icx|compiler|cpp_(?:builder|extension)",
        ),
    ),
    # caches
    "permission": (
        told(_CACHE, r"\buid\b|user account|/etc/passwd|no (?:such )?user\b"),
        told(r"torch|triton|inductor|\bcache\b", r"\buid\b", rf"{_LACKS}|\bfails?\b"),
        weigh(0.75, _CACHE, r"cannot|can't|could not|unable|denied|writ(?:e)?able|read-?only|permission|拒绝|权限|отказано|verweigert"),
    ),
    "cache_corrupt": (told(_CACHE, r"corrupt|race|stale|damaged|\bnfs\b|concurrent|损坏|поврежд|beschädigt"),),
    "cache_stale_after_upgrade": (
        told(_CACHE, r"(?:after|when|different|another|other|old)\b[^\n]*\b(?:upgrad|updat|switch|chang|version|python)"),
        Clue(0.6, all_of(says(_CACHE, r"invalid|stale|\bold\b|not found"), says(r"upgrad|updat|switch|升级|обнов"))),
        Clue(0.6, all_of(seen("failed_extension", r"cuda_utils|\w*launcher\w*"), says(r"\bcache\b|缓存|кэш"))),
        Clue(
            0.45,
            all_of(
                seen("failed_extension", r"cuda_utils|\w*launcher\w*"),
                says(r"upgrad|updat|switch|chang|升级|更换|обнов|смен|gewechselt", r"python|torch|triton|version"),
            ),
        ),
    ),
}
