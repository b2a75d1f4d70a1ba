r"""What programs say when a cause is real: written here, after the messages that the programs print, in several versions and languages.

cause → texts. No text stands in any collection of reports; a rule that knows only one wording of its cause fails here.
"""

TEXTS: dict[str, list[str]] = {
    "torch_triton_api_skew": [
        r"""Traceback (most recent call last):
  File "/srv/train/.venv/lib/python3.12/site-packages/torch/_inductor/runtime/triton_compat.py", line 20, in <module>
    from triton.compiler.compiler import ASTSource
ImportError: cannot import name 'ASTSource' from 'triton.compiler.compiler' (/srv/train/.venv/lib/python3.12/site-packages/triton/compiler/compiler.py)""",
        r"""torch._dynamo.exc.BackendCompilerFailed: backend='inductor' raised:
ImportError: cannot import name 'triton_key' from 'triton.compiler.compiler' (D:\sd\venv\Lib\site-packages\triton\compiler\compiler.py)
Set TORCH_LOGS="+dynamo" and TORCHDYNAMO_VERBOSE=1 for more information""",
        r"""  File "/opt/conda/lib/python3.11/site-packages/torch/_inductor/runtime/triton_heuristics.py", line 1083, in _init_launchers
    launcher = make_launcher()
  File "/opt/conda/lib/python3.11/site-packages/torch/_inductor/runtime/triton_heuristics.py", line 1402, in make_launcher
AttributeError: type object 'CompiledKernel' has no attribute 'launch_enter_hook'. Did you mean: 'launch_metadata'?""",
        r"""InductorError: TypeError: CompiledKernel.run() got an unexpected keyword argument 'stream'
  File "/usr/local/lib/python3.10/dist-packages/torch/_inductor/runtime/static_cuda_launcher.py", line 44
torch 2.8.0 triton 3.6.0""",
        r"""torch._inductor.exc.InductorError: RuntimeError: Cannot find a working triton installation. Either the package is not installed or it is too old. More information on installing Triton can be found at: https://github.com/triton-lang/triton
Versions: torch==2.7.1 triton==2.1.0""",
        r"""AttributeError: module 'triton.language' has no attribute 'make_tensor_descriptor'
torch 2.6.0+cu124, triton 3.2.0, flex_attention""",
        r"""ImportError: cannot import name 'default_cache_dir' from 'triton.runtime.cache' (/home/u/miniforge3/envs/lm/lib/python3.12/site-packages/triton/runtime/cache.py)""",
        r"""ERROR: pip's dependency resolver does not currently take into account all the packages that are installed. This behaviour is the source of the following dependency conflicts.
torch 2.6.0 requires triton==3.2.0; platform_system == "Linux" and platform_machine == "x86_64", but you have triton 3.4.0 which is incompatible.""",
        r"""W0312 torch/_inductor/utils.py] ImportError: cannot import name 'get_current_device' from 'triton.runtime.driver'
torch 2.3, triton nightly""",
        r"""torch._dynamo.exc.BackendCompilerFailed: backend='inductor' raised:
AttributeError: 'AttrsDescriptor' object has no attribute 'to_dict'""",
        r"""KeyError: 'ids_of_folded_args'
  File "/x/site-packages/torch/_inductor/runtime/triton_heuristics.py", line 360, in _precompile_config""",
        r"""ValueError: instance_descriptor: must be called with a dataclass type or instance
torch 2.1.2, triton 2.2""",
        "AssertionError: expected an ASTSource, got tuple\ntorch 2.9.1, triton 3.2.0",
    ],
    "win_vcredist_old": [
        r"""  File "E:\ai\python_embeded\Lib\site-packages\triton\_C\__init__.py"
    from triton._C.libtriton import ir
ImportError: DLL load failed while importing libtriton: Rutina inicjowania biblioteki dołączanej dynamicznie nie powiodła się.""",
        r"""OSError: [WinError 1114] Une routine d’initialisation d’une bibliothèque de liens dynamiques (DLL) a échoué. Error loading "C:\Users\marie\venv\Lib\site-packages\torch\lib\c10.dll" or one of its dependencies.""",
        r"""Windows fatal exception: access violation

Current thread 0x00003a40 (most recent call first):
  File "<frozen importlib._bootstrap>", line 241 in _call_with_frames_removed
  File "C:\py311\Lib\site-packages\triton\_C\libtriton.pyd" in create_module""",
        r"""Faulting application name: python.exe, version: 3.11.9150.1013
Faulting module name: MSVCP140.dll, version: 14.29.30153.0
Exception code: 0xc0000005
... while importing torch and triton""",
        r"""ImportError: DLL load failed while importing libtriton: Přístup k umístění paměti není platný.
Python 3.12.7, triton-windows 3.1.0.post17""",
        r"""Process finished with exit code -1073741819 (0xC0000005)
right after "import triton" (PyCharm, torch 2.5.1)""",
        r"""OSError: [WinError 1114] DLL 初始化例程失败。 Error loading "D:\Anaconda\envs\yolo\lib\site-packages\torch\lib\c10.dll" or one of its dependencies.""",
    ],
    "ext_abi_undefined_symbol": [
        r"""ImportError: /home/dev/.conda/envs/llm/lib/python3.10/site-packages/flash_attn_2_cuda.cpython-310-x86_64-linux-gnu.so: undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE""",
        r"""  File "/opt/app/lib/python3.12/site-packages/causal_conv1d/causal_conv1d_interface.py", line 10
    import causal_conv1d_cuda
ImportError: /opt/app/lib/python3.12/site-packages/causal_conv1d_cuda.cpython-312-x86_64-linux-gnu.so: undefined symbol: _ZNK2at10TensorBase4dataEv""",
        r"""ImportError: .../selective_scan_cuda.cpython-311-x86_64-linux-gnu.so: undefined symbol: _ZN2at4_ops19empty_memory_format4callE
I reinstalled mamba-ssm twice. torch 2.7.0+cu126""",
        r"""RuntimeError: Failed to import transformers.models.llama.modeling_llama because of the following error:
/usr/local/lib/python3.11/dist-packages/flash_attn_2_cuda.cpython-311-x86_64-linux-gnu.so: undefined symbol: _ZN3c104cuda9SetDeviceEab""",
        r"""ImportError: /venv/lib/python3.12/site-packages/vllm/_C.abi3.so: undefined symbol: _ZN5torch3jit11parseSchemaERKSs""",
        r"""ImportError: /work/grouped_gemm_backend.so: symbole non défini: _ZN3c1021throwNullDataPtrErrorEv""",
        r"""ImportError: DLL load failed while importing flash_attn_2_cuda: The specified procedure could not be found.""",
        r"""  import exllamav2_ext
ImportError: /usr/local/lib/python3.10/dist-packages/exllamav2_ext.cpython-310-x86_64-linux-gnu.so: undefined symbol: _ZN3c106detail23torchInternalAssertFailEPKcS2_jS2_RKSs""",
        r"""ImportError: /home/w/.local/lib/python3.11/site-packages/apex_C.cpython-311-x86_64-linux-gnu.so: undefined symbol: _ZN5torch8autograd13_wrap_outputs""",
        r"""RuntimeError: Error(s) in loading ... : sgl_kernel/common_ops.abi3.so: undefined symbol: _ZNK3c106SymInt6sym_neERKS0_""",
    ],
    "torch_cpu_build": [
        r"""  File "/app/train.py", line 14, in <module>
    model.cuda()
  File "/app/.venv/lib/python3.11/site-packages/torch/cuda/__init__.py", line 310, in _lazy_init
    raise AssertionError("Torch not compiled with CUDA enabled")
AssertionError: Torch not compiled with CUDA enabled""",
        r""">>> torch.cuda.is_available()
False
>>> torch.__version__
'2.5.1+cpu'
nvidia-smi shows my GeForce RTX 4070.""",
        r"""NotImplementedError: Unsloth cannot find any torch accelerator? You need a GPU.
PS C:\> pip show torch
Name: torch
Version: 2.9.1+cpu""",
        r"""RuntimeError: GPU is required to quantize or run quantize model.
torch.version.cuda -> None, NVIDIA RTX A4000, driver 551.61
I used `uv add torch` on Windows.""",
        r"""UserWarning: User provided device_type of 'cuda', but CUDA is not available. Disabling
torch 2.4.0+cpu
Tesla T4 in nvidia-smi""",
        r"""ValueError: Your setup doesn't support bf16/gpu. You need torch>=1.10, using Ampere GPU with cuda>=11.0
print(torch.version.cuda) -> None ; GPU RTX 3090""",
        r"""RuntimeError: Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. If you are running on a CPU-only machine, please use torch.load with map_location=torch.device('cpu')""",
        r"""poetry add torch installs torch-2.6.0-cp312-cp312-win_amd64.whl without CUDA, how can I install the cu124 build?
AssertionError: Torch not compiled with CUDA enabled""",
    ],
    "linux_libcuda_link": [
        r"""/usr/bin/ld: cannot find -lcuda: No such file or directory
collect2: error: ld returned 1 exit status
subprocess.CalledProcessError: Command '['/usr/bin/gcc', '/tmp/tmpq1/main.c', '-O3', '-shared', '-fPIC', '-lcuda', '-L/lib/x86_64-linux-gnu']' returned non-zero exit status 1.""",
        r"""AssertionError: libcuda.so cannot found!
Possible files are located at ['/usr/lib/x86_64-linux-gnu/libcuda.so.1'].Please create a symlink of libcuda.so to any of the files.""",
        r"""/nix/store/ld-wrapper: line 267: warning: -lcuda
/usr/bin/ld: -lcuda kann nicht gefunden werden: Datei oder Verzeichnis nicht gefunden
collect2: Fehler: ld gab 1 als Ende-Status zurück""",
        r"""  File ".../triton/backends/nvidia/driver.py", line 31, in libcuda_dirs
    libs = subprocess.check_output(["/sbin/ldconfig", "-p"]).decode()
FileNotFoundError: [Errno 2] No such file or directory: '/sbin/ldconfig'""",
        r"""x86_64-conda-linux-gnu/bin/ld: cannot find -lcuda
collect2: error: ld returned 1 exit status
CalledProcessError: Command '['/opt/conda/bin/x86_64-conda-linux-gnu-cc', ...]' returned non-zero exit status 1.""",
        r"""subprocess.CalledProcessError: Command '['/usr/bin/gcc', '/tmp/tmpvr/main.c', '-O3', '-I/opt/venv/lib/python3.11/site-packages/triton/common/../third_party/cuda/include', '-shared', '-fPIC', '-lcuda', '-o', '/tmp/tmpvr/main.so']' returned non-zero exit status 1.""",
        r"""AssertionError: libcuda.so cannot found!
 (docker: nvidia/cuda:12.4.1-runtime-ubuntu22.04)""",
    ],
    "torch_arch_missing": [
        r"""NVIDIA GeForce RTX 5070 Ti with CUDA capability sm_120 is not compatible with the current PyTorch installation.
The current PyTorch install supports CUDA capabilities sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90.""",
        r"""torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device
CUDA kernel errors might be asynchronously reported at some other API call.""",
        r"""    Found GPU0 Tesla P40 which is of cuda capability 6.1.
    Minimum and Maximum cuda capability supported by this version of PyTorch is
    (7.5) - (12.0)""",
        r"""RuntimeError: CUDA error: cudaErrorNoKernelImageForDevice
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.
GPU: Quadro M4000, torch 2.8.0+cu128""",
        r"""RuntimeError: FlashAttention only supports Ampere GPUs or newer.
CUDA error (flash_fwd_launch_template.h:188): no kernel image is available for execution on the device""",
        r"""Error: CUDA error: invalid device function
torch.cuda.get_arch_list() -> ['sm_75','sm_80','sm_86','sm_90','sm_100','sm_120'], card: GTX 1060 (6.1)""",
        r"""RuntimeError: CUDA error: no kernel image is available for execution on the device (RTX 5090, torch 2.5.1+cu124)""",
        r"""torch._inductor.exc.GPUTooOldForTriton: Found Tesla P100-PCIE-16GB which is too old to be supported by the triton GPU compiler, which is used as the backend. Triton only supports devices of CUDA Capability >= 7.0""",
        r"""ValueError: Unknown CUDA arch (12.0) or GPU not supported
  File ".../torch/utils/cpp_extension.py", line 1980, in _get_cuda_arch_flags""",
        r"""FATAL: kernel `fmha_cutlassF_f16_aligned_64x64_rf_sm80` is for sm80-sm100, but was built for sm37""",
    ],
    "glibc_cxx": [
        r"""ImportError: /lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by /home/a/env/lib/python3.12/site-packages/torchvision/_C.so)""",
        r"""OSError: /lib64/libc.so.6: version `GLIBC_2.32' not found (required by /home/k/.local/share/venv/lib/python3.11/site-packages/flash_attn_2_cuda.cpython-311-x86_64-linux-gnu.so)""",
        r"""ImportError: /usr/lib64/libstdc++.so.6: Version »CXXABI_1.3.13« nicht gefunden (benötigt von /opt/venv/lib/python3.10/site-packages/scipy/_lib/x.so)""",
        r"""ImportError: /lib/x86_64-linux-gnu/libm.so.6: version `GLIBC_2.35' not found (required by /data/.cache/torch_extensions/py310_cu121/fused.so)""",
        r"""version GLIBCXX_3.4.30 is not found; the loader takes /opt/rh/gcc-7/libstdc++.so.6, conda has a newer one
ImportError: libstdc++.so.6""",
        r"""ImportError: /opt/conda/envs/a/lib/python3.9/site-packages/../../libstdc++.so.6: version `GLIBCXX_3.4.29' not found (required by /usr/lib/x86_64-linux-gnu/libLLVM-14.so.1)""",
        r"""triton: /lib64/libstdc++.so.6: version `CXXABI_1.3.9' not found (CentOS 7)""",
        "ImportError: /srv/app/_engine.so: undefined symbol: _ZNSt3pmr19new_delete_resourceEv",
    ],
    "win_c_compiler": [
        r"""RuntimeError: Failed to find MSVC. Please install Visual Studio Build Tools.
  File "C:\ComfyUI\venv\Lib\site-packages\triton\windows_utils.py", line 187, in find_msvc_winsdk""",
        r"""  File "C:\ComfyUI\venv\Lib\site-packages\triton\runtime\build.py", line 60, in _build
    ret = subprocess.check_call(cc_cmd)
subprocess.CalledProcessError: Command '['C:\\ComfyUI\\venv\\Lib\\site-packages\\triton\\runtime\\tcc\\tcc.exe', 'C:\\Users\\me\\AppData\\Local\\Temp\\tmp1\\cuda_utils.c', '-O3', '-shared']' returned non-zero exit status 1.""",
        r"""torch._inductor.exc.InductorError: RuntimeError: Compiler: cl is not found.
Set TORCHDYNAMO_VERBOSE=1 for the internal stack trace""",
        r"""  File "D:\w\Lib\site-packages\triton\runtime\build.py", line 51, in _build
    raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.")
RuntimeError: Failed to find C compiler. Please specify via CC environment variable.""",
        r"""  File "D:\py\Lib\subprocess.py", line 1538, in _execute_child
    hp, ht, pid, tid = _winapi.CreateProcess(executable, args,
FileNotFoundError: [WinError 2] Le fichier spécifié est introuvable
triton\runtime\build.py _build(name, src, srcdir, library_dirs, include_dirs, libraries)""",
        r"""subprocess.CalledProcessError: Command '['C:\\Program Files\\Microsoft Visual Studio\\2022\\BuildTools\\VC\\Tools\\MSVC\\14.43.34808\\bin\\Hostx64\\x64\\cl.exe', 'C:\\Users\\f\\AppData\\Local\\Temp\\tmpq\\main.c', '/nologo', '/O2', '/LD']' returned non-zero exit status 2.""",
        r"""RuntimeError: Failed to find Windows SDK. Please make sure it's installed properly.""",
        r"""PermissionError: [WinError 5] Access is denied
  File "triton\runtime\build.py", line 71, in _build
  CC is set to C:\msys64\mingw64\bin""",
    ],
    "outdated_triton_consumer": [
        r"""  File "/venv/lib/python3.11/site-packages/bitsandbytes/triton/int8_matmul_mixed_dequantize.py", line 12, in <module>
    from triton.ops.matmul_perf_model import early_config_prune, estimate_matmul_time
ModuleNotFoundError: No module named 'triton.ops'""",
        r"""RuntimeError: Failed to import diffusers.loaders.ip_adapter because of the following error (look up to see its traceback):
No module named 'triton.ops'""",
        r"""deepspeed/ops/sparse_attention/matmul.py: ModuleNotFoundError: No module named 'triton.ops.blocksparse'""",
        r"""  File "E:\kohya\venv\lib\site-packages\bitsandbytes\nn\triton_based_modules.py", line 6
ModuleNotFoundError: No module named 'triton.ops'""",
        r"""import flash_attn.flash_attn_triton ... No module named 'triton.ops.flash_attention'""",
    ],
    "aarch64_wheels": [
        r"""$ uname -m
aarch64
$ python -c "import torch; print(torch.__version__, torch.cuda.is_available())"
2.8.0+cpu False
This is a DGX Spark (GB10); nvidia-smi works.""",
        r"""ERROR: Could not find a version that satisfies the requirement triton==3.2.0 (from versions: none)
ERROR: No matching distribution found for triton==3.2.0
Platform: linux aarch64 (Jetson AGX Orin, JetPack 6.1)""",
        r"""On a GH200 node, `pip install torch==2.6.0` gives AssertionError: Torch not compiled with CUDA enabled. Architecture: aarch64""",
        r"""  × No solution found when resolving dependencies:
  ╰─▶ Because torchvision==0.21.0+cu124 has no wheels with a matching platform tag (e.g., `manylinux_2_35_aarch64`), we can conclude that your requirements are unsatisfiable.""",
        r"""Jetson Orin Nano, JetPack 6.2, pip3 install torch: torch.cuda.is_available() = False""",
        r"""Grace Hopper: vllm needs torch==2.6.0+cu126 but pip picks torch-2.6.0-cp312-cp312-manylinux_2_28_aarch64.whl, RuntimeError: No CUDA GPUs are available""",
    ],
    "torchvision_mismatch": [
        r"""  File "/env/lib/python3.12/site-packages/torchvision/_meta_registrations.py", line 163, in <module>
    @torch.library.register_fake("torchvision::nms")
RuntimeError: operator torchvision::nms does not exist""",
        r"""NotImplementedError: Could not run 'torchvision::nms' with arguments from the 'CUDA' backend.""",
        r"""RuntimeError: Detected that PyTorch and torchvision were compiled with different CUDA major versions. PyTorch has CUDA Version=12.8 and torchvision has CUDA Version=11.8.""",
        r"""UserWarning: Failed to load image Python extension: '/env/lib/python3.10/site-packages/torchvision/image.so: undefined symbol: _ZN3c1017RegisterOperatorsD1Ev'""",
        r"""torchvision 0.19.1 requires torch==2.4.1, but you have torch 2.6.0 which is incompatible.""",
        r"""AttributeError: partially initialized module 'torchvision' has no attribute 'extension' (most likely due to a circular import)""",
        r"""ModuleNotFoundError: No module named 'torchvision.transforms.functional_tensor'""",
        r"""RuntimeError: Couldn't load custom C++ ops. This can happen if your PyTorch and torchvision versions are incompatible, or if you had errors while compiling torchvision from source.""",
    ],
    "python_unsupported": [
        r"""RuntimeError: Dynamo is not supported on Python 3.14+
  File "/home/x/torch/__init__.py" in compile""",
        r"""ERROR: torch-2.4.1+cu121-cp311-cp311-linux_x86_64.whl is not a supported wheel on this platform.""",
        r"""ERROR: Could not find a version that satisfies the requirement torch (from versions: none)
ERROR: No matching distribution found for torch
$ python --version
Python 3.14.0""",
        r"""ERROR: Package 'unsloth' requires a different Python: 3.8.19 not in '<3.14,>=3.9'""",
        r"""error: Distribution `torch==2.3.1 @ registry+https://download.pytorch.org/whl/cu121` can't be installed because it doesn't have a source distribution or wheel for the current platform
hint: You're using CPython 3.13 (`cp313`), but `torch` (v2.3.1) only has wheels with the following Python ABI tags: `cp38`, `cp39`, `cp310`, `cp311`, `cp312`""",
        r"""The current project's supported Python range (>=3.9,<4.0) is not compatible with some of the required packages Python requirement:
  - xformers requires Python >=3.10, so it will not be satisfied for Python >=3.9,<3.10""",
        r"""RuntimeError: torch.compile is not supported on Python 3.13+""",
        r"""ERROR: Ignored the following versions that require a different python version: 0.0.28 Requires-Python >=3.9,<3.12
ERROR: No matching distribution found for xformers==0.0.28""",
        r"""error: Because only torch<2.9 has wheels for Python 3.9 ... torch==2.9.1 has no wheels with a matching Python ABI tag (e.g., `cp39`)""",
        "ERROR: Could not find a version that satisfies the requirement torch==1.12.0 (from versions: 2.2.0, 2.2.1, 2.3.0)\nERROR: No matching distribution found for torch==1.12.0",
        "ERROR: Could not find a version that satisfies the requirement torch==2.9.0 (from versions: 1.7.0, 1.8.0, 1.13.1)",
    ],
    "bnb_cuda_binary": [
        r"""RuntimeError: Configured CUDA binary not found at /opt/conda/lib/python3.11/site-packages/bitsandbytes/libbitsandbytes_cuda129.so""",
        r"""CUDA SETUP: Required library version not found: libbitsandbytes_cuda117.so. Maybe you need to compile it from source?
CUDA SETUP: Defaulting to libbitsandbytes_cpu.so...""",
        r"""The installed version of bitsandbytes was compiled without GPU support. 8-bit optimizers, 8-bit multiplication, and GPU quantization are unavailable.
AttributeError: 'NoneType' object has no attribute 'cadam32bit_grad_fp32'""",
        r"""/venv/lib/python3.10/site-packages/bitsandbytes/libbitsandbytes_cpu.so: undefined symbol: cquantize_blockwise_fp16_nf4""",
        r"""RuntimeError:
        CUDA Setup failed despite GPU being available. Please run the following command to get more information:
        python -m bitsandbytes""",
        r"""Could not find the bitsandbytes CUDA binary at PosixPath('/venv/lib/python3.12/site-packages/bitsandbytes/libbitsandbytes_cuda130.so')""",
        r"""bitsandbytes library load error: libnvJitLink.so.13
RuntimeError: 'NoneType' object has no attribute 'cquantize_blockwise_bf16_nf4'""",
    ],
    "two_tritons": [
        r"""pip list | findstr triton
triton                   3.0.0
triton-windows           3.3.1.post19
ImportError: cannot import name 'jit' from 'triton' (unknown location)""",
        r"""pytorch-triton                 3.2.0+git35c6c7c6
triton                         3.1.0
ImportError: cannot import name 'libtriton' from partially initialized module 'triton._C'""",
        r"""unsloth 2025.9.1 requires triton_windows; platform_system == "Windows", which is not installed.
triton 3.1.0 is there""",
        r"""pip freeze: triton==3.2.0 triton-windows==3.2.0.post12 -> AttributeError: module 'triton' has no attribute 'language'""",
        r"""  File "/venv/lib/python3.12/site-packages/triton/backends/nvidia/compiler.py", line 3, in <module>
    from triton.backends.compiler import Stages
ImportError: cannot import name 'Stages' from 'triton.backends.compiler' (/venv/lib/python3.12/site-packages/triton/backends/compiler.py)""",
        "ModuleNotFoundError: No module named 'triton._C.libtriton.xpu'; 'triton._C.libtriton' is not a package",
    ],
    "user_site_leak": [
        r"""  File "C:\Users\li\AppData\Roaming\Python\Python310\site-packages\torch\__init__.py", line 141, in <module>
    raise err
ImportError: numpy.core.multiarray failed to import
(venv) D:\comfy>""",
        r"""(env) $ python -c "import torch"
  File "/home/ana/.local/lib/python3.10/site-packages/torch/__init__.py", line 237, in <module>
    from torch._C import *
ImportError: cannot import name 'x' from 'torch._C'""",
        r"""apptainer exec --nv image.sif python train.py
  File "/home/me/.local/lib/python3.11/site-packages/transformers/utils/import_utils.py", line 1764
RuntimeError: Failed to import transformers
  File "/home/me/.local/lib/python3.11/site-packages/accelerate/__init__.py"
""",
        r"""Python 3.11.8 embedded; Traceback: File "C:\Users\Tom\AppData\Roaming\Python\Python311\site-packages\torch\_inductor\x.py" ImportError: cannot import name 'foo' from 'torch._inductor.utils'""",
    ],
    "win_dll_missing_dep": [
        r"""OSError: [WinError 126] Das angegebene Modul wurde nicht gefunden. Error loading "C:\Users\jo\env\lib\site-packages\torch\lib\fbgemm.dll" or one of its dependencies.""",
        r"""OSError: [WinError 126] Не найден указанный модуль. Error loading "D:\venv\Lib\site-packages\torch\lib\shm.dll" or one of its dependencies.""",
        r"""ImportError: DLL load failed while importing _C: Nie można odnaleźć określonego modułu.
  File "C:\conda\envs\a\Lib\site-packages\torchvision\..\torch\__init__.py" """,
        r"""The code execution cannot proceed because VCRUNTIME140_1.dll was not found. Reinstalling the program may fix this problem. (python.exe, import torch)""",
        r"""FileNotFoundError: Could not find module 'C:\a\Lib\site-packages\torch\lib\torch_cpu.dll' (or one of its dependencies). Try using the full path with constructor syntax.""",
        r"""dlltracer: libomp140.x86_64.dll -> STATUS_DLL_NOT_FOUND
OSError while loading torch_cpu.dll""",
        r"""OSError: [WinError 126] 지정된 모듈을 찾을 수 없습니다. Error loading "C:\Users\kim\miniconda3\lib\site-packages\torch\lib\caffe2_nvrtc.dll" or one of its dependencies.""",
        r"""torch\lib\c10_cuda.dll: LoadLibrary failed with error 126""",
    ],
    "linux_no_compiler": [
        r"""  File "/usr/local/lib/python3.12/site-packages/triton/runtime/build.py", line 35, in _build
RuntimeError: Failed to find C compiler. Please specify via CC environment variable or set triton.knobs.build.impl.""",
        r"""FileNotFoundError: [Errno 2] No such file or directory: 'gcc'
  File "/app/.venv/lib/python3.11/site-packages/triton/runtime/build.py" in _build""",
        r"""torch._inductor.exc.InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx: (None, 'g++')
python:3.11-slim image""",
        r"""/bin/sh: 1: cc: not found
  File "/root/venv/lib/python3.10/site-packages/triton/common/build.py", line 102""",
        r"""RuntimeError: Failed to find C compiler. Please specify via CC environment variable.
(vllm/vllm-openai container on Ubuntu)""",
        r"""OSError: [Errno 2] No such file or directory: '/usr/bin/gcc' triton build""",
    ],
    "linux_python_headers": [
        r"""/tmp/tmpb3yk/main.c:4:10: fatal error: Python.h: No such file or directory
    4 | #include <Python.h>
      |          ^~~~~~~~~~
compilation terminated.""",
        r"""/tmp/tmpw/cuda_utils.c:6:10: schwerwiegender Fehler: Python.h: Datei oder Verzeichnis nicht gefunden
compilation terminated.
subprocess.CalledProcessError: Command '['/usr/bin/gcc', '/tmp/tmpw/cuda_utils.c', '-I/usr/include/python3.12']' returned non-zero exit status 1.""",
        r"""/tmp/x/__triton_launcher.c:7:10: erreur fatale : Python.h : Aucun fichier ou dossier de ce type
subprocess.CalledProcessError: Command '['/usr/bin/gcc', '/tmp/x/main.c', '-O3', '-I/usr/include/python3.10', '-o', '/tmp/x/__triton_launcher.so']' returned non-zero exit status 1.""",
        r"""In file included from /usr/include/python3.11/Python.h:12:
/usr/include/python3.11/pyconfig.h:3:12: fatal error: x86_64-linux-gnu/python3.11/pyconfig.h: No such file or directory""",
        r"""/tmp/tmpn6/cuda_utils.c:6:10: fatal error: Python.h: 没有那个文件或目录""",
    ],
    "ptxas_too_old": [
        r"""triton.runtime.errors.PTXASError: PTXAS error: Internal Triton PTX codegen error
`ptxas` stderr:
ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'""",
        r"""ptxas /tmp/tmp8k.ptx, line 5; fatal   : Unsupported .version 8.7; current version is '8.4'
ptxas fatal   : Ptx assembly aborted due to errors""",
        r"""RuntimeError: Internal Triton PTX codegen error
`ptxas` stderr: ptxas-blackwell fatal : Value 'sm_110a' is not defined for option 'gpu-name'
NVIDIA Thor""",
        r"""ptxas fatal   : Value 'sm_120' is not defined for option 'gpu-name'
RuntimeError: `ptxas` failed with error code 255""",
        r"""'sm_120' is not a recognized processor for this target (ignoring processor)
LLVM ERROR: Cannot select: intrinsic %llvm.nvvm.shfl.sync.bfly.i32""",
    ],
    "driver_too_old": [
        r"""UserWarning: CUDA initialization: The NVIDIA driver on your system is too old (found version 11070). Please update your GPU driver""",
        r"""RuntimeError: CUDA error: the provided PTX was compiled with an unsupported toolchain.""",
        r"""RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 803: system has unsupported display driver / cuda driver combination""",
        r"""torch.AcceleratorError: CUDA error: CUDA driver version is insufficient for CUDA runtime version (cudaErrorInsufficientDriver)
nvidia-smi: Driver Version: 525.105.17   CUDA Version: 12.0, torch 2.9.0+cu130""",
        r"""RuntimeError: Triton Error [CUDA]: CUDA_ERROR_UNSUPPORTED_PTX_VERSION""",
        r"""Error 804: forward compatibility was attempted on non supported HW""",
        r"""docker: Error response from daemon: nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update your driver to a newer version""",
        r"""RuntimeError: The NVIDIA driver on your system is too old (found version 12020). Please update your GPU driver ... Alternatively, go to: https://pytorch.org to install a PyTorch version that has been compiled with your version of the CUDA driver.""",
        r"""cudaErrorUnsupportedPtxVersion: the provided PTX was compiled with an unsupported toolchain. driver 535""",
    ],
    "cache_corrupt": [
        r"""  File "/venv/lib/python3.12/site-packages/triton/runtime/cache.py", line 156, in get_group
    grp_data = json.loads(grp_contents)
json.decoder.JSONDecodeError: Unterminated string starting at: line 1 column 312 (char 311)""",
        r"""OSError: [Errno 116] Stale file handle: '/home/hpc/u/.triton/cache/3fe9/__grp__softmax_kernel.json'""",
        r"""FileNotFoundError: [Errno 2] No such file or directory: '/root/.triton/cache/ab12/kernel.cubin.tmp.pid_211_7' -> '/root/.triton/cache/ab12/kernel.cubin'
8 ranks on one node""",
        r"""ImportError: /tmp/torchinductor_ubuntu/triton/0/QX/__triton_launcher.so: file too short""",
        r"""EOFError: Ran out of input
  File "/x/torch/_inductor/codecache.py", line 1045, in load
    pickle.load(f)""",
        r"""FileNotFoundError: [Errno 2] No such file or directory: '/scratch/u/.triton/cache/e3b0/__triton_launcher.so' torchrun 8 procs""",
        r"""zipfile.BadZipFile: File is not a zip file  File "torch/_inductor/codecache.py" FxGraphCache""",
        r"""json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0) in triton/compiler/compiler.py line 300 compile""",
    ],
    "long_path": [
        r"""OSError: [WinError 206] Der Dateiname oder die Erweiterung ist zu lang: 'C:\\Users\\franz\\AppData\\Local\\Temp\\torchinductor_franz\\triton\\0\\L7K'""",
        r"""FileNotFoundError: [Errno 2] No such file or directory: 'C:\\Users\\a\\AppData\\Local\\Temp\\torchinductor_a\\triton\\0\\MFQWK4TM\\triton_poi_fused__to_copy_add_clamp_mul_rsub_sub_view_3.ttgir.tmp.pid_1_2'""",
        r"""fatal error C1083: Cannot open include file ... path is too long. HINT: LongPathsEnabled is 0""",
        r"""OSError: [Errno 36] File name too long: '/tmp/torchinductor_u/aa/triton_red_fused_native_layer_norm_backward_sum_view_permute.py'""",
        r"""ERROR: Could not install packages due to an OSError: [Errno 2] No such file or directory: 'C:\\Users\\a very long user name\\AppData\\Local\\Packages\\PythonSoftwareFoundation.Python.3.11_qbz5n2kfra8p0\\LocalCache\\local-packages\\Python311\\site-packages\\torch\\include\\ATen\\ops\\x.h'
HINT: This error might have occurred since this system does not have Windows Long Path support enabled.""",
        r"""[WinError 3] The system cannot find the path specified: 'C:\\Users\\verylongusername\\AppData\\Local\\Temp\\torchinductor_verylongusername\\triton\\0\\AABB\\triton_red_fused__native_batch_norm_legit_functional_add_convolution_relu_2.llir.tmp'""",
    ],
    "win_python_dev_missing": [
        r"""C:\Users\p\AppData\Local\Temp\tmpx\cuda_utils.c:12: error: include file 'Python.h' not found""",
        r"""tcc: error: library 'python311' not found
D:\ComfyUI_portable\python_embeded\python.exe""",
        r"""RuntimeError: Failed to find Python libs.
  File "D:\ComfyUI_portable\python_embeded\Lib\site-packages\triton\windows_utils.py", line 305, in find_python""",
        r"""LINK : fatal error LNK1104: cannot open file 'python312.lib'""",
        r"""main.c(7): fatal error C1083: Datei (Include) kann nicht geöffnet werden: "Python.h": No such file or directory""",
        r"""In file included from C:\ComfyUI\python_embeded\Lib\site-packages\triton\...\cuda_utils.c: fatal error C1083: Cannot open include file: 'Python.h': No such file or directory""",
        r"CalledProcessError: Command '['D:\\ui\\python_embeded\\Lib\\site-packages\\triton\\runtime\\tcc\\tcc.exe', 'cuda_utils.c', '-lpython313']' returned non-zero exit status 1.",
    ],
    "cache_stale_after_upgrade": [
        r"""ImportError: DLL load failed while importing __triton_launcher: The specified module could not be found.
I upgraded Python from 3.10 to 3.12 last week, same machine, C:\Users\me\.triton\cache was kept""",
        r"""SystemError: PY_SSIZE_T_CLEAN macro must be defined for '#' formats
  File "C:\x\Lib\site-packages\triton\backends\nvidia\driver.py", line 420, in __call__""",
        r"""ImportError: /home/s/.triton/cache/9a1f/cuda_utils.so: undefined symbol: _PyUnicode_Ready
after moving from Python 3.11 to 3.13""",
        r"""ImportError: /home/s/.triton/cache/55c/__triton_launcher.so: undefined symbol: PyUnicode_AsUTF8""",
        r"""ImportError: DLL load failed while importing __triton_launcher: 找不到指定的模块。 (updated portable python from 3.11 to 3.12)""",
        "ImportError: DLL load failed while importing cuda_utils\nWith an empty cache it works",
    ],
    "win_no_triton": [
        r"""C:\proj> pip install triton
ERROR: Could not find a version that satisfies the requirement triton (from versions: none)
ERROR: No matching distribution found for triton""",
        r"""A matching Triton is not available, some optimizations will not be enabled
ModuleNotFoundError: No module named 'triton'
  File "C:\Users\x\Lib\site-packages\xformers\__init__.py" """,
        r"""  File "/Users/lea/proj/.venv/lib/python3.12/site-packages/unsloth/kernels/utils.py", line 15
    import triton
ModuleNotFoundError: No module named 'triton'
macOS 15, Apple M3""",
        r"""error: Distribution `triton==3.1.0 @ registry+https://pypi.org/simple` can't be installed because it doesn't have a source distribution or wheel for the current platform
hint: You're on Windows (`win_amd64`), but `triton` (v3.1.0) only has wheels for the following platforms: `manylinux_2_17_x86_64`""",
        r"""ModuleNotFoundError: No module named 'triton'
C:\Users\me\stable-diffusion-webui> webui-user.bat""",
        r"""torch._inductor.exc.TritonMissing: Cannot find a working triton installation. Either the package is not installed or it is too old.
Windows 11, python 3.12, D:\x\venv\Lib\site-packages""",
    ],
    "wsl_libcuda": [
        r"""/sbin/ldconfig.real: /usr/lib/wsl/lib/libcuda.so.1 is not a symbolic link""",
        r"""Could not load library libcudnn_cnn_infer.so.8. Error: libcuda.so: cannot open shared object file: No such file or directory
Linux DESKTOP 5.15.153.1-microsoft-standard-WSL2""",
        r"""RuntimeError: Failed to dlopen libcuda.so.1
uname -r: 6.6.87.2-microsoft-standard-WSL2""",
        r"""/usr/bin/ld: cannot find -lcuda
WSL2 Ubuntu-22.04 on Windows 11; nvidia-smi works in /usr/lib/wsl/lib""",
        r"""WSL2: numba/torch says "libcuda.so.1: cannot open shared object file: No such file or directory", file is in /usr/lib/wsl/lib""",
    ],
    "resolver_replaced_torch": [
        r"""Installing collected packages: torch, vllm
  Attempting uninstall: torch
    Found existing installation: torch 2.6.0+cu124
    Uninstalling torch-2.6.0+cu124:
      Successfully uninstalled torch-2.6.0+cu124
Successfully installed torch-2.5.1 vllm-0.7.2""",
        r"""ERROR: pip's dependency resolver does not currently take into account all the packages that are installed.
sageattention 2.1.1 requires torch==2.5.1, but you have torch 2.7.0+cu128 which is incompatible.""",
        r"""After `pip install -r custom_nodes/some-node/requirements.txt` torch went from 2.7.0+cu128 to 2.7.0+cpu and torch.cuda.is_available() is False""",
        r"""uv pip install lmdeploy
 - torch==2.8.0+cu129
 + torch==2.6.0
 - torchvision==0.23.0+cu129
 + torchvision==0.21.0
AssertionError: Torch not compiled with CUDA enabled""",
        r"""Attempting uninstall: torch
    Found existing installation: torch 2.7.1+cu128
    Uninstalling torch-2.7.1+cu128:
Successfully installed torch-2.8.0
ERROR: torchaudio 2.7.1+cu128 requires torch==2.7.1+cu128, but you have torch 2.8.0 which is incompatible.""",
        r"""After installing open-webui, poetry: - Downgrading torch (2.7.0+cu126 -> 2.6.0)""",
        "torchvision 0.20.1 requires torch==2.5.1, but you have torch 2.6.0 which is incompatible.\ntorchaudio 2.5.1 requires torch==2.5.1, but you have torch 2.6.0 which is incompatible.",
        "Collecting torch==2.5.0 (from fancy-kernels)\n  Attempting uninstall: torch\n    Found existing installation: torch 2.6.0+cu124",
    ],
    "cuda_lib_shadowed": [
        r"""ImportError: /env/lib/python3.12/site-packages/torch/lib/../../nvidia/cusparse/lib/libcusparse.so.12: undefined symbol: __nvJitLinkComplete_12_4, version libnvJitLink.so.12""",
        r"""OSError: /usr/local/cuda-12.1/lib64/libcublas.so.12: undefined symbol: cublasLtGetEnvironmentMode, version libcublasLt.so.12
LD_LIBRARY_PATH=/usr/local/cuda-12.1/lib64""",
        r"""Could not load library libcudnn_graph.so.9. Error: /usr/lib/x86_64-linux-gnu/libcudnn_graph.so.9: undefined symbol: cudnnGetLibConfig, version libcudnn_graph.so.9""",
        r"""ImportError: /opt/conda/lib/python3.11/site-packages/torch/lib/libtorch_cuda.so: undefined symbol: ncclCommWindowRegister""",
        r"""ImportError: /v/torch/lib/libtorch_cuda.so: undefined symbol: ncclMemAlloc
LD_LIBRARY_PATH has an older libnccl.so.2""",
        r"""ImportError: /usr/lib/python3.12/site-packages/torch/lib/../../nvidia/cusolver/lib/libcusolver.so.11: undefined symbol: cusparseSpGEMM_getNumProducts, version libcusparse.so.12""",
        r"""libcusparse.so.12: symbol __nvJitLinkGetLinkedCubinSize_12_6 version libnvJitLink.so.12 not defined in file libnvJitLink.so.12 with link time reference""",
        "Undefined symbol in libcusolver.so.11 when torch is imported",
        "libtorch_cuda.so:%20undefined%20symbol:%20ncclGroupSimulateEnd",
    ],
    "nonascii_locale": [
        r"""  File "C:\v\Lib\site-packages\torch\_inductor\cpp_builder.py", line 149, in check_compiler_exist_windows
    output_msg = subprocess.check_output([compiler, "/help"]).strip().decode("utf-8")
UnicodeDecodeError: 'utf-8' codec can't decode byte 0xd3 in position 0: invalid continuation byte""",
        r"""UnicodeDecodeError: 'utf-8' codec can't decode byte 0x81 in position 8: invalid start byte
  File "D:\a\torch\_inductor\cpp_builder.py", line 90, in get_compiler_version_info""",
        r"""UnicodeDecodeError: 'gbk' codec can't decode byte 0xaf in position 12: illegal multibyte sequence
torch\utils\cpp_extension.py, subprocess output of cl.exe""",
        r"""UnicodeDecodeError: 'utf-8' codec can't decode byte 0xb0 in position 32: invalid start byte (torch.compile, German Windows, cl.exe)""",
    ],
    "win_wrong_wheel_or_stale_venv": [
        r"""OSError: [WinError 193] %1 is not a valid Win32 application. Error loading "C:\p\Lib\site-packages\torch\lib\c10.dll" or one of its dependencies.""",
        r"""ImportError: DLL load failed while importing libtriton: %1 ist keine zulässige Win32-Anwendung.
OSError: [WinError 193]""",
        r"""ImportError: Module use of python310.dll conflicts with this version of Python.
  File "D:\venv\Lib\site-packages\torch\__init__.py" """,
        r"""ImportError: DLL load failed while importing _C: %1 is not a valid Win32 application. [WinError 193] 32-bit Python""",
    ],
    "win_wrong_python": [
        r"""ImportError: DLL load failed while importing cuda_utils: The specified module could not be found.
where python:
C:\Python310\python.exe
C:\Users\u\AppData\Local\Programs\Python\Python312\python.exe""",
        r"""ImportError: DLL load failed while importing cuda_utils: Не найден указанный модуль.
libs\python310.lib was copied into python_embeded of Python 3.12""",
        r"""ImportError: DLL load failed while importing cuda_utils: Le module spécifié est introuvable. (several Pythons on PATH)""",
    ],
    "wrong_package": [
        r"""pip install triton-library
from triton.common.libdevice import libdevice_path
ModuleNotFoundError: No module named 'triton.common'""",
        r"""AttributeError: module 'triton' has no attribute 'jit'
pip show triton: Summary: Project management for humans, Version: 0.1.0""",
        r"""pip install tritonclient[all]
ModuleNotFoundError: No module named 'triton'""",
        r"""pip show triton-library ... ModuleNotFoundError: No module named 'triton.language'""",
        "ImportError: cannot import name 'MemoryAccess' from 'triton' (unknown)",
    ],
    "xformers_mismatch": [
        r"""WARNING[XFORMERS]: xFormers can't load C++/CUDA extensions. xFormers was built for:
    PyTorch 2.4.0+cu121 with CUDA 1201 (you have 2.5.1+cu124)
    Python  3.11.9 (you have 3.11.10)
  Please reinstall xformers""",
        r"""xformers 0.0.28.post3 requires torch==2.5.1, but you have torch 2.6.0+cu124 which is incompatible.""",
        r"""NotImplementedError: No operator found for `memory_efficient_attention_forward` with inputs:
`fa2F@v2.6.3` is not supported because: xFormers wasn't build with CUDA support
`cutlassF-pt` is not supported because: xFormers wasn't build with CUDA support""",
        r"""OSError: /env/lib/python3.10/site-packages/xformers/_C.so: undefined symbol: _ZN3c104impl3cow11cow_deleterEPv""",
        r"""xFormers was built for:
    PyTorch 2.3.0+cu118 with CUDA 1108 (you have 2.4.0+cu124)
    Python  3.10.11 (you have 3.10.14)""",
        r"""ImportError: /venv/lib/python3.10/site-packages/xformers/_C_flashattention.so: undefined symbol: _ZN2at4_ops5zeros4callE""",
    ],
    "torchaudio_mismatch": [
        r"""OSError: /env/lib/python3.12/site-packages/torchaudio/lib/libtorchaudio.so: undefined symbol: _ZNK5torch8autograd4Node4nameEv""",
        r"""OSError: [WinError 127] La procédure spécifiée est introuvable. Error loading "D:\x\Lib\site-packages\torchaudio\lib\libtorchaudio.pyd" """,
        r"""RuntimeError: Detected that PyTorch and TorchAudio were compiled with different CUDA versions. PyTorch has CUDA version 12.8 whereas TorchAudio has CUDA version 12.6.""",
        r"""torchaudio 2.5.1 requires torch==2.5.1, but you have torch 2.7.0 which is incompatible.""",
        r"""AttributeError: module 'torchaudio' has no attribute 'list_audio_backends'
torchaudio 2.9.0, torch 2.9.0, pyannote.audio/speechbrain""",
        r"""OSError: libtorch_cuda_cpp.so: cannot open shared object file: No such file or directory  (import torchaudio)""",
        r"""RuntimeError: Failed to load torchaudio extension: torchaudio/lib/_torchaudio.so: undefined symbol: _ZN3c104cuda20CUDACachingAllocator""",
    ],
    "build_isolation": [
        r"""      File "<string>", line 19, in <module>
      ModuleNotFoundError: No module named 'torch'
      [end of output]
  note: This error originates from a subprocess, and is likely not a problem with pip.
ERROR: Failed to build 'flash-attn' when getting requirements to build wheel""",
        r"""  × Failed to build `mamba-ssm==2.2.2`
  ├─▶ The build backend returned an error
  ╰─▶ Call to `setuptools.build_meta.build_wheel` failed (exit status: 1)
      ModuleNotFoundError: No module named 'torch'
      hint: This error likely indicates that `mamba-ssm@2.2.2` depends on `torch`, but doesn't declare it as a build dependency.""",
        r"""ChefBuildError
Backend subprocess exited when trying to invoke get_requires_for_build_wheel
ModuleNotFoundError: No module named 'torch'
at poetry/installation/chef.py:164 in _prepare
Note: This error originates from the build backend, and is likely not a problem with poetry but with apex (0.1)""",
        r"""ModuleNotFoundError: No module named 'packaging'
error: subprocess-exited-with-error
× Getting requirements to build wheel did not run successfully. (flash-attn 2.7.4)""",
        r"""error: Failed to prepare distributions
  Caused by: Failed to build `xformers==0.0.27`
ModuleNotFoundError: No module named 'torch'
hint: `uv pip install --no-build-isolation`""",
    ],
    "cudart_soname": [
        r"""ImportError: libcudart.so.13: cannot open shared object file: No such file or directory
  File "/venv/lib/python3.12/site-packages/vllm/_C.abi3.so" """,
        r"""ImportError: libnvrtc.so.11.2: cannot open shared object file: No such file or directory""",
        r"""OSError: libcublas.so.11: Kann die Shared-Object-Datei nicht öffnen: Datei oder Verzeichnis nicht gefunden""",
        r"""ImportError: DLL load failed while importing flash_attn_2_cuda: cudart64_110.dll is missing""",
        r"""ImportError: libcudart.so.12: cannot open shared object file: No such file or directory (import flash_attn; torch 2.9.0+cu130)""",
        r"""ImportError: libnvrtc.so.12: cannot open shared object file""",
    ],
    "mkl_symbol": [
        r"""ImportError: /opt/miniconda3/envs/pt/lib/python3.10/site-packages/torch/lib/libtorch_cpu.so: undefined symbol: iJIT_NotifyEvent""",
        r"""OSError: .../torch/lib/libtorch_cpu.so: undefined symbol: mkl_sparse_optimize_bsr_trsm_i8
conda list mkl -> 2025.0""",
        r"""INTEL MKL ERROR: /lib/libmkl_avx512.so.2: undefined symbol: mkl_sparse_optimize_bsr_trsm_i8.
Intel MKL FATAL ERROR: Cannot load libmkl_avx512.so.2 or libmkl_def.so.2.""",
        r"""OSError: /anaconda3/lib/python3.9/site-packages/torch/lib/libtorch_cpu.so: undefined symbol: iJIT_IsProfilingActive""",
    ],
    "leftover_files": [
        r"""WARNING: Ignoring invalid distribution ~orchvision (c:\python311\lib\site-packages)
WARNING: Ignoring invalid distribution ~orch (c:\python311\lib\site-packages)""",
        r"""ERROR: Cannot uninstall torch None
╰─> The package's contents are unknown: no RECORD file was found for torch.""",
        r"""error: uninstall-no-record-file
× Cannot uninstall triton 3.1.0""",
        r"""error: Failed to uninstall package at lib/python3.11/site-packages/torch-2.5.0.dist-info due to missing `RECORD` file. Installation may result in an incomplete environment.""",
        r"""WARNING: Ignoring invalid distribution -orch (c:\users\a\lib\site-packages)""",
    ],
    "permission": [
        r"""PermissionError: [Errno 13] Permission denied: '/.triton'
running as uid 1000 in Kubernetes without a home folder""",
        r"""PermissionError: [WinError 5] Zugriff verweigert: 'C:\\Users\\k\\.triton\\cache\\4f\\tmp.pid_4' -> 'C:\\Users\\k\\.triton\\cache\\4f\\k.json'""",
        r"""OSError: [Errno 30] Read-only file system: '/home/app/.triton/cache'""",
        r"""PermissionError: [Errno 13] Permission denied: '/tmp/torchinductor_root/fx'""",
        r"""torch/_inductor: PermissionError: [Errno 13] Permission denied: '/tmp/torchinductor_nobody/triton/0'""",
    ],
    "shadowed_module": [
        r"""  File "/home/x/exp/triton.py", line 1, in <module>
    import triton.language as tl
ModuleNotFoundError: No module named 'triton.language'; 'triton' is not a package""",
        r"""AttributeError: partially initialized module 'torch' has no attribute 'nn' (most likely due to a circular import)
  File "/home/x/code/torch.py", line 3""",
        r"""ImportError: cannot import name 'FastLanguageModel' from 'unsloth' (unknown location)
There is a folder called unsloth in my working directory""",
        r"""ImportError: cannot import name 'jit' from 'triton' (unknown location)
ls: triton/  train.py""",
        r"""ModuleNotFoundError: No module named 'torch.nn'; 'torch' is not a package""",
    ],
    "poetry_source": [
        r"""  RuntimeError

  Unable to find installation candidates for torch (2.4.1+cu121)

  at ~/.local/share/pypoetry/venv/lib/python3.12/site-packages/poetry/installation/chooser.py:74 in choose_for""",
        r"""Because no versions of torch match >2.6.0+cu124,<3.0.0 and project depends on torch (^2.6.0+cu124), version solving failed.
poetry lock""",
        r"""Unable to find installation candidates for triton (3.2.0)
  This is likely not a Poetry issue.
    - 7 candidate(s) were identified for the package
    - 7 wheel(s) were skipped as your project's environment does not support the identified abi tags""",
        r"""Unable to find installation candidates for torch (2.3.0+cu121) ... Poetry 1.8""",
        r"""SolverProblemError: Because project depends on torch (2.5.1+cu124) which doesn't match any versions, version solving failed. poetry""",
    ],
}
