"""Causes named by the text of a log alone. The texts are made here: each says what its cause makes programs say."""

from __future__ import annotations

import pytest

from anytile.env.diagnose import diagnose
from anytile.env.log import read_log

WINDOWS = 'File "D:\\app\\Lib\\site-packages\\torch\\_inductor\\x.py", line 5, in f\n'
LINUX = 'File "/srv/app/lib/python3.12/site-packages/torch/_inductor/x.py", line 5, in f\n'

LOGS = {
    "torch_triton_api_skew": "ImportError: cannot import name 'SomethingPrivate' from 'triton.runtime.jit' (/x/triton/runtime/jit.py)",
    "outdated_triton_consumer": LINUX + "ModuleNotFoundError: No module named 'triton.ops.blocksparse'",
    "win_no_triton": WINDOWS + "ModuleNotFoundError: No module named 'triton'",
    "shadowed_module": "ModuleNotFoundError: No module named 'triton.compiler'; 'triton' is not a package",
    "win_vcredist_old": "ImportError: DLL load failed while importing libtriton: Une routine d'initialisation a échoué.",
    "win_dll_missing_dep": 'OSError: [WinError 126] Le module est introuvable. Error loading "C:\\v\\torch\\lib\\caffe2_x.dll"',
    "win_wrong_wheel_or_stale_venv": "OSError: [WinError 193] n'est pas une application Win32 valide: 'C:\\v\\torch\\lib\\a.dll'",
    "win_python_dev_missing": "main.c(3): fatal error C1083: 'Python.h': No such file or directory",
    "win_c_compiler": WINDOWS + "RuntimeError: Failed to find C compiler. Please specify via CC environment variable.",
    "linux_no_compiler": LINUX + "RuntimeError: Failed to find C compiler. Please specify via CC environment variable.",
    "linux_python_headers": "/tmp/a/main.c:3:10: schwerwiegender Fehler: Python.h: Datei nicht gefunden\n/tmp/a/main.c: fatal error: Python.h",
    "linux_libcuda_link": "/usr/bin/ld: cannot find -lcuda: No such file or directory",
    "wsl_libcuda": "/usr/lib/wsl/lib/libcuda.so.1 is not a symbolic link",
    "ext_abi_undefined_symbol": "ImportError: /v/my_ext.cpython-312-x86_64-linux-gnu.so: undefined symbol: _ZNK3c1010TensorImpl4sizeEv",
    "torchaudio_mismatch": "OSError: /v/torchaudio/lib/libtorchaudio.so: undefined symbol: _ZN2at6nativeE",
    "torchvision_mismatch": "RuntimeError: operator torchvision::roi_align does not exist",
    "xformers_mismatch": "xFormers was built for:\n    PyTorch 2.5.1+cu121 with CUDA 1201 (you have 2.6.0+cu124)",
    "bnb_cuda_binary": "Configured CUDA binary not found at /v/bitsandbytes/libbitsandbytes_cuda129.so",
    "cuda_lib_shadowed": "ImportError: /v/libcusolver.so.11: undefined symbol: cublasGetEnv, version libcublas.so.12",
    "glibc_cxx": "ImportError: /lib/libstdc++.so.6: version `CXXABI_1.3.15' not found (required by /v/x.so)",
    "mkl_symbol": "ImportError: /v/libtorch_cpu.so: undefined symbol: iJIT_IsProfilingActive",
    "cudart_soname": "ImportError: libcudart.so.13: cannot open shared object file: No such file or directory",
    "torch_cpu_build": "AssertionError: Torch not compiled with CUDA enabled",
    "torch_arch_missing": "Card with CUDA capability sm_120 is not compatible with the current PyTorch installation.",
    "ptxas_too_old": "ptxas fatal   : Value 'sm_103a' is not defined for option 'gpu-name'",
    "driver_too_old": "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).",
    "aarch64_wheels": "uname: aarch64\ntorch 2.7.0+cpu\nAssertionError: Torch not compiled with CUDA enabled",
    "resolver_replaced_torch": "somepkg 1.0 requires torch==2.4.0, but you have torch 2.6.0 which is incompatible.",
    "python_unsupported": "ERROR: foo-1.0-cp310-cp310-linux_x86_64.whl is not a supported wheel on this platform.",
    "poetry_source": "Unable to find installation candidates for torch (2.9.0+cu126)",
    "build_isolation": "Getting requirements to build wheel: subprocess-exited-with-error\nModuleNotFoundError: No module named 'torch'",
    "leftover_files": "WARNING: Ignoring invalid distribution ~riton (/v/site-packages)",
    "user_site_leak": 'File "/home/a/.local/lib/python3.12/site-packages/numpy/__init__.py", line 3\nImportError: no',
    "cache_corrupt": 'File "/v/triton/runtime/cache.py", line 9\njson.decoder.JSONDecodeError: Expecting value',
    "cache_stale_after_upgrade": "ImportError: DLL load failed while importing __triton_launcher: xyz",
    "permission": "PermissionError: [Errno 13] Permission denied: '/home/a/.triton/cache/ab'",
    "long_path": "OSError: [WinError 206] El nombre de archivo es demasiado largo: 'C:\\x'",
    "nonascii_locale": "File \"x\\torch\\_inductor\\cpp_builder.py\"\nUnicodeDecodeError: 'utf-8' codec can't decode byte 0xd1 in cpp_builder",
    "wrong_package": "pip install triton-library\nModuleNotFoundError: No module named 'triton.common'",
}


@pytest.mark.parametrize("cause", LOGS)
def test_the_cause_comes_first(cause: str) -> None:
    findings = diagnose(read_log(LOGS[cause]))
    assert [f.cause for f in findings[:1]] == [cause], [(f.cause, f.confidence) for f in findings]
    assert findings[0].evidence and findings[0].fixes


@pytest.mark.parametrize(
    "sentence",
    [
        "动态链接库(DLL)初始化例程失败。",
        "Произошел сбой",
        "A dynamic link library failed",
        "Eine DLL-Initialisierungsroutine ist fehlgeschlagen.",
    ],
)
def test_the_translated_sentence_does_not_matter(sentence: str) -> None:
    findings = diagnose(read_log(f"ImportError: DLL load failed while importing libtriton: {sentence}"))
    assert findings[0].cause == "win_vcredist_old"
    assert {f.cause for f in findings[1:]} == {"win_wrong_wheel_or_stale_venv", "user_site_leak", "two_tritons"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Successfully installed torch-2.6.0 triton-3.2.0",
        "torch 2.13.0+cu130\ntriton 3.7.1\nPython 3.12.4\n",
        "PyTorch version: 2.6.0\nCUDA available: True\nPython version: 3.11.9 on Linux-6.1-x86_64",
        "================ 131 passed in 4.20s ================",
        "epoch 1 loss 0.31\nepoch 2 loss 0.29\n/home/someone/run/checkpoint.pt saved",
        "| NVIDIA-SMI 550.54.14   Driver Version: 550.54.14   CUDA Version: 12.4 |\n| 0  NVIDIA H100 80GB HBM3 |",
        "PyTorch version: 2.13.0+cpu\nIs CUDA available: False\nGPU models and configuration: Could not collect\n[pip3] torch==2.13.0+cpu",
        "OS: Ubuntu (aarch64)\nGPU 0: NVIDIA GH200 480GB\nPyTorch version: 2.9.1+cu128\narch list ['sm_80', 'sm_90']\n[pip3] triton==3.5.1",
        "Looking in indexes: https://download.pytorch.org/whl/cu128\nDownloading flash_attn-2.8+cu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl",
        "Found existing installation: torch 2.5.0\nSuccessfully uninstalled torch-2.5.0\nSuccessfully installed torch-2.6.0+cu124",
        "C:\\Users\\me\\.triton\\cache\nC:\\Users\\me\\AppData\\Roaming\\Python\\Python312\\site-packages\ncl.exe",
        "Resolved 61 packages in 12ms\nAudited 61 packages in 3ms",
    ],
)
def test_a_log_without_failure_has_no_finding(text: str) -> None:
    assert diagnose(read_log(text)) == []


def test_facts_of_a_log() -> None:
    facts = read_log(WINDOWS + "torch==2.6.0+cu124 triton-windows 3.3.1.post19 Python 3.11.9\npoetry add torch")
    assert facts.platform.system == "windows"
    assert facts.interpreter.minor == "3.11"
    assert facts.torch is not None and facts.torch.version == "2.6.0+cu124" and facts.torch.cuda == "12.4"
    assert facts.triton is not None and facts.triton.version == "3.3.1.post19"
    assert facts.project.tool == "poetry"


LISTING = """
Package            Version
------------------ ---------
numpy              2.1.3
torch              2.6.0+cpu
triton             3.2.0
PyTorch version: 2.6.0+cpu
Clang version: Could not collect
GCC version: (Debian 12.2.0-14) 12.2.0
Vulnerability Itlb multihit: Not affected
"""


@pytest.mark.parametrize(
    "cause", ["glibc_cxx", "mkl_symbol", "linux_libcuda_link", "torchvision_mismatch", "cudart_soname", "ptxas_too_old"]
)
def test_a_listing_pasted_below_an_error_does_not_speak_for_another_cause(cause: str) -> None:
    assert diagnose(read_log(LOGS[cause] + "\n" + LISTING))[0].cause == cause


def test_a_listing_is_no_complaint() -> None:
    facts = read_log(LISTING)
    assert facts.log is not None and not facts.log.failing and not facts.log.complaining
    assert diagnose(facts) == []


def test_the_file_that_asked_tells_torch_from_triton() -> None:
    failure = "ImportError: cannot import name 'Thing' from 'triton.backends.compiler'"
    by_torch = 'File "/v/site-packages/torch/_inductor/runtime/hints.py", line 2, in <module>\n' + failure
    by_triton = 'File "/v/site-packages/triton/backends/amd/compiler.py", line 2, in <module>\n' + failure
    assert [diagnose(read_log(t))[0].cause for t in (by_torch, by_triton)] == ["torch_triton_api_skew", "two_tritons"]


def test_one_package_that_does_not_fit_torch_is_the_odd_one_and_of_several_torch_is() -> None:
    vision = "torchvision 0.20.1 requires torch==2.5.1, but you have torch 2.6.0 which is incompatible."
    several = vision + "\nfancy 1.0 requires torch<2.6, but you have torch 2.6.0 which is incompatible."
    assert [diagnose(read_log(t))[0].cause for t in (vision, several)] == ["torchvision_mismatch", "resolver_replaced_torch"]


@pytest.mark.parametrize(
    ("offered", "told"),
    [("2.4.0, 2.5.0, 2.6.0", "newer"), ("1.8.0, 1.13.1", "older"), ("0.1.2, 0.1.2.post1, 2.9.0", "placeholder")],
)
def test_what_pip_offers_is_compared_with_what_was_asked_for(offered: str, told: str) -> None:
    log = f"ERROR: Could not find a version that satisfies the requirement torch==2.1.0 (from versions: {offered})"
    first = diagnose(read_log(log))[0]
    assert first.cause == "python_unsupported"
    assert any(told in e.text for e in first.evidence)


def test_patterns_that_are_not_tried_would_have_found_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`log._WORDS` says without which words a text has no mention of a kind."""
    texts = [t for text in (*LOGS.values(), "symbol not found: mkl_blas") for t in (text, text.upper(), text.lower())]
    found = [read_log(text).log for text in texts]
    monkeypatch.setattr("anytile.env.log._WORDS", {})
    assert found == [read_log(text).log for text in texts]


@pytest.mark.parametrize("dress", ["\x1b[31m{}\x1b[0m", "[rank3]: {}", "2025-03-01 12:00:00,123 - ERROR - {}", "> {}"])
def test_colours_ranks_and_times_before_a_line_change_nothing(dress: str) -> None:
    for cause in ("cuda_lib_shadowed", "torch_triton_api_skew", "bnb_cuda_binary"):
        assert diagnose(read_log(dress.format(LOGS[cause])))[0].cause == cause
