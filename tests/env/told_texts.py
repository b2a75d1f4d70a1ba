r"""What people write of a failure, in their own words and languages: sentences, titles and single lines, all of them written here.

cause → texts, as in `log_texts`; no program speaks in most of these, or one line of it is quoted.
"""

TOLD: dict[str, list[str]] = {
    "torch_triton_api_skew": [
        "a CompiledKernel that does not have the attributes cluster_dims or clusterDims, says Inductor",
        "Since the update Inductor dies: AttrsDescriptor cannot be imported any more",
        "triton.runtime.jit does not provide get_cuda_stream, and compile stops with an error",
        "AttributeError: 'dict' object has no attribute 'divisible_by_16' when I compile with the nightly Triton",
        "torch 2.4 与 triton 3.3 不兼容，编译报错",
    ],
    "win_no_triton": [
        "Kein Triton unter Windows 11: triton nicht gefunden, Fehler beim Import",
        "windows 下 triton 怎么安装？ 一直报错",
        "На windows не работает: triton не найден",
        "I work on win10 and python says: No module named 'triton'",
    ],
    "shadowed_module": [
        "ImportError: cannot import name 'Random' from 'random' (/data/venv/lib/python3.11/site-packages/torch/random.py)",
        r"ImportError: cannot import name 'dataclass' from 'dataclasses' (C:\work\tools\dataclasses.py)",
        "ImportError: cannot import name 'tensor' from partially initialized module 'torch' (most likely due to a circular import)",
        "It fails because my repo has a directory named triton beside the script",
    ],
    "resolver_replaced_torch": [
        "Trouble with an installer: torch is reset to the CPU build at its end, no CUDA any more",
        "After I installed the requirements of the plugin, torch was downgraded to the cpu version and nothing works",
        "pip hat mein torch ersetzt, jetzt ohne CUDA: Fehler",
        "安装依赖后 torch 被替换成 cpu 版本，报错",
        "Installing the package with pip messed up my torch, CUDA is gone, what can I do?",
        "The plugin still reinstalls torch at each start",
        "Our installer replaces the torch of the user and re-installs a CPU one: AssertionError: Torch not compiled with CUDA enabled",
    ],
    "torch_cpu_build": [
        "pip installs torch without CUDA although I have a GPU; why?",
        "Установил torch, а cuda недоступна: почему?",
        "Die Grafikkarte wird nicht erkannt, die GPU bleibt leer, Fehler im Programm",
        "The lock installs the CPU build of torch on Windows",
        "Собран torch без cuda, видеокарта не используется",
    ],
    "aarch64_wheels": [
        "PyPI's aarch64 wheels are CPU only",
        "No CUDA wheels on aarch64: how do I install torch on my GH200?",
        "Jetson Orin 上无法安装 torch",
        "DGX Spark: pip cannot find a torch with CUDA for arm64",
    ],
    "python_unsupported": [
        "triton is not available for 3.16 yet",
        "Is the free-threaded 3.13t supported by torch.compile? It fails here",
    ],
    "poetry_source": [
        '[[tool.poetry.source]]\nname = "torch-cu"\nurl = "https://download.pytorch.org/whl/cu124"\nUnable to find candidates for torch',
    ],
    "user_site_leak": [
        "python -s helps: without it torch is loaded from /home/me/.local/lib/python3.10/site-packages, a different version than the one of my environment",
        "PYTHONNOUSERSITE=1 makes the failure go away: why does torch come from elsewhere?",
        "The env is active, yet numpy comes from ~/.local, which has another, older release",
        "accelerate takes the system's Python instead of the one in my venv",
    ],
    "xformers_mismatch": [
        "xformers: PyTorch 2.4.0+cu121 with CUDA 1201 (you have 2.6.0+cu124)",
        "xformers ist mit meinem torch nicht kompatibel, Fehler",
    ],
    "torchvision_mismatch": ["torchvision was compiled for another torch: mismatch error"],
    "torchaudio_mismatch": [
        "ImportError: /data/env/_torch_sox.so: undefined symbol: _ZN2at5emptyEv",
        "torchaudio conflicts with the torch that I have, undefined symbol",
    ],
    "bnb_cuda_binary": ["bitsandbytes is compiled without GPU support, cannot quantise"],
    "permission": [
        "KeyError: 'getpwuid(): uid not found: 4711'",
        "inductor's cache folder cannot be made: the uid is not in /etc/passwd of the container",
        "Der triton cache ist nicht beschreibbar, Zugriff verweigert, Fehler",
    ],
    "cache_corrupt": [
        "After the crash the triton cache seems damaged, every run fails",
        "[inductor] Fix a race between ranks in the cache",
    ],
    "long_path": ["torch.compile fails on Windows because the paths of inductor's files have more than 260 characters"],
    "nonascii_locale": ["UnicodeDecodeError: 'cp1251' codec can't decode byte 0x98 while torch.compile looks for cl"],
    "win_vcredist_old": [
        "FileNotFoundError: Could not find module 'D:\\py\\lib\\site-packages\\torch\\lib\\c10.dll' (or one of its dependencies)",
        '  File "C:\\py36\\lib\\site-packages\\torch\\__init__.py", line 78, in <module>\n    from torch._C import *\nImportError: DLL load failed: Das angegebene Modul wurde nicht gefunden.',
    ],
    "win_c_compiler": ["torch.compile on Windows: 'cl' is not recognized as an internal or external command"],
    "wsl_libcuda": ["Under WSL2 the program cannot find libcuda, error at start"],
    "driver_too_old": ["RuntimeError: CUDA driver version is insufficient for CUDA runtime version"],
    "torch_arch_missing": [
        "RTX 5080: no kernel image is available for execution on the device",
        "Please update torch to support the 50 series",
    ],
    "ptxas_too_old": ["ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'"],
    "build_isolation": ["pip install flash-attn fails with No module named 'torch', but torch is installed"],
    "leftover_files": ["WARNING: Ignoring invalid distribution ~orch (C:\\env\\Lib\\site-packages)\nimport torch is broken since"],
    "linux_no_compiler": ["Our docker image has no cc compiler, Triton fails at the first kernel"],
    "two_tritons": ["torch stops working when triton-windows and triton are both installed"],
    "glibc_cxx": ["ImportError: /usr/lib/libstdc++.so.6: version GLIBCXX_3.4.32 not found"],
    "wrong_package": ["ImportError: DLL load failed while importing triton: module introuvable"],
    "win_python_dev_missing": [
        "The attention node needs python headers and python libs",
    ],
}
