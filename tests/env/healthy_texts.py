r"""What programs print while everything works: written here after their formats, with the warnings that healthy environments give.

name → text.  Many name what a failure would name too (`not supported`, `False`, `+cpu`, a cache folder, `no module`): none is a finding.
"""

TEXTS: dict[str, str] = {
    "xformers.info": r"""xFormers 0.0.32.post2
memory_efficient_attention.ckF:                    unavailable
memory_efficient_attention.ckB:                    unavailable
memory_efficient_attention.cutlassF-pt:            available
memory_efficient_attention.cutlassB-pt:            available
memory_efficient_attention.fa2F@v2.5.7-pt:         available
memory_efficient_attention.fa3F@0.0.0:             unavailable
memory_efficient_attention.triton_splitKF:         available
is_triton_available:                               True
pytorch.version:                                   2.8.0+cu128
pytorch.cuda:                                      available
gpu.compute_capability:                            8.9
gpu.name:                                          NVIDIA GeForce RTX 4090
build.cuda_version:                                1208
build.python_version:                              3.10.18
build.torch_version:                               2.8.0+cu128
build.env.TORCH_CUDA_ARCH_LIST:                    7.5 8.0+PTX 9.0a
build.env.XFORMERS_PACKAGE_FROM:                   wheel-v0.0.32.post2""",
    "unsloth banner": r"""🦥 Unsloth: Will patch your computer to enable 2x faster free finetuning.
🦥 Unsloth Zoo will now patch everything to make training faster!
==((====))==  Unsloth 2025.9.4: Fast Llama patching. Transformers: 4.56.1.
   \\   /|    Tesla T4. Num GPUs = 1. Max memory: 14.741 GB. Platform: Linux.
O^O/ \_/ \    Torch: 2.8.0+cu126. CUDA: 7.5. CUDA Toolkit: 12.6. Triton: 3.4.0
\        /    Bfloat16 = FALSE. FA [Xformers = 0.0.32.post2. FA2 = False]
 "-____-"     Free license: http://github.com/unslothai/unsloth
Unsloth: Fast downloading is enabled - ignore downloading bars which are red colored!
Unsloth: Making `model.base_model.model.model` require gradients
{'loss': 1.5917, 'grad_norm': 0.2731, 'learning_rate': 4e-05, 'epoch': 0.01}""",
    "ds_report": r"""[2025-03-02 11:20:41,882] [INFO] [real_accelerator.py:222:get_accelerator] Setting ds_accelerator to cuda (auto detect)
--------------------------------------------------
DeepSpeed C++/CUDA extension op report
--------------------------------------------------
ninja .................. [OKAY]
op name ................ installed .. compatible
 [WARNING]  async_io requires the dev libaio .so object and headers but these were not found.
 [WARNING]  async_io: please install the libaio-dev package with apt
 [WARNING]  If libaio is already installed (perhaps from source), try setting the CFLAGS and LDFLAGS environment variables to where it can be found.
async_io ............... [NO] ....... [NO]
fused_adam ............. [NO] ....... [OKAY]
 [WARNING]  using untested triton version (3.2.0), only 1.0.0 is known to be compatible
sparse_attn ............ [NO] ....... [NO]
torch install path ............... ['/opt/conda/lib/python3.11/site-packages/torch']
torch version .................... 2.6.0+cu124
deepspeed wheel compiled w. ...... torch 2.6, cuda 12.4
shared memory (/dev/shm) size .... 64.00 GB""",
    "python -m bitsandbytes": r"""=================== bitsandbytes v0.48.1 ===================
Platform: Linux-6.8.0-60-generic-x86_64-with-glibc2.35
  libc: glibc-2.35
Python: 3.11.13
PyTorch: 2.8.0+cu128
  CUDA: 12.8
  HIP: N/A
Related packages:
  accelerate: 1.10.1
  diffusers: not found
  triton: 3.4.0
============================================================
PyTorch settings found: CUDA_VERSION=128, Highest Compute Capability: (8, 6).
Checking that the library is importable and CUDA is callable...
SUCCESS!""",
    "transformers and TensorFlow beside torch": r"""2025-02-11 09:12:44.105021: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on. You may see slightly different numerical results.
2025-02-11 09:12:44.117432: E external/local_xla/xla/stream_executor/cuda/cuda_fft.cc:477] Unable to register cuFFT factory: Attempting to register factory for plugin cuFFT when one has already been registered
2025-02-11 09:12:44.901100: W tensorflow/compiler/tf2tensorrt/utils/py_utils.cc:38] TF-TRT Warning: Could not find TensorRT
Some weights of BertForSequenceClassification were not initialized from the model checkpoint at bert-base-uncased and are newly initialized: ['classifier.bias', 'classifier.weight']
/venv/lib/python3.11/site-packages/transformers/training_args.py:1568: FutureWarning: `evaluation_strategy` is deprecated and will be removed in version 4.46
/venv/lib/python3.11/site-packages/torch/optim/lr_scheduler.py:224: UserWarning: Detected call of `lr_scheduler.step()` before `optimizer.step()`.
huggingface/tokenizers: The current process just got forked, after parallelism has already been used. Disabling parallelism to avoid deadlocks...
100%|██████████| 500/500 [02:31<00:00,  3.30it/s]
{'train_runtime': 151.4, 'train_loss': 0.41, 'epoch': 3.0}""",
    "max-autotune": r"""W0821 10:03:11.250000 4711 torch/_inductor/utils.py:1250] [0/0] Not enough SMs to use max_autotune_gemm mode
AUTOTUNE mm(2048x2048, 2048x2048)
  triton_mm_18 0.1823 ms 100.0% ACC_TYPE='tl.float32', ALLOW_TF32=False, BLOCK_K=32, BLOCK_M=64, BLOCK_N=128, num_stages=4, num_warps=4
  mm 0.1905 ms 95.7%
SingleProcess AUTOTUNE benchmarking takes 0.8812 seconds and 0.4407 seconds precompiling for 20 choices
/opt/venv/lib/python3.12/site-packages/torch/_inductor/compile_fx.py:236: UserWarning: TensorFloat32 tensor cores for float32 matrix multiplication available but not enabled. Consider setting `torch.set_float32_matmul_precision('high')` for better performance.
  warnings.warn(
step 100 | loss 3.2511 | 41,210 tok/s""",
    "vLLM serving": r"""INFO 08-25 14:02:11 [__init__.py:241] Automatically detected platform cuda.
WARNING 08-25 14:02:13 [interface.py:391] Using 'pin_memory=False' as WSL is detected. This may slow down the performance.
(EngineCore_0 pid=881) INFO 08-25 14:02:20 [core.py:636] Waiting for init message from front-end.
(EngineCore_0 pid=881) WARNING 08-25 14:02:24 [topk_topp_sampler.py:61] FlashInfer is not available. Falling back to the PyTorch-native implementation of top-p & top-k sampling.
(EngineCore_0 pid=881) INFO 08-25 14:02:31 [cuda.py:323] Using Flash Attention backend on V1 engine.
(EngineCore_0 pid=881) INFO 08-25 14:03:02 [backends.py:548] Using cache directory: /home/ops/.cache/vllm/torch_compile_cache/8ac3/rank_0_0/backbone for vLLM's torch.compile
(EngineCore_0 pid=881) INFO 08-25 14:03:10 [backends.py:215] Compiling a graph for dynamic shape takes 7.22 s
INFO:     Application startup complete.
INFO:     127.0.0.1:51422 - "POST /v1/chat/completions HTTP/1.1" 200 OK""",
    "ComfyUI on Windows": r"""[START] Security scan
[DONE] Security scan
** Python version: 3.12.10 (tags/v3.12.10:0cc8128, Apr  8 2025, 12:21:36) [MSC v.1943 64 bit (AMD64)]
** Python executable: D:\ComfyUI_windows_portable\python_embeded\python.exe
** Log path: D:\ComfyUI_windows_portable\ComfyUI\user\comfyui.log
Checkpoint files will always be loaded safely.
Total VRAM 16380 MB, total RAM 65277 MB
pytorch version: 2.8.0+cu129
Set vram state to: NORMAL_VRAM
Device: cuda:0 NVIDIA GeForce RTX 4080 : cudaMallocAsync
Using pytorch attention
ComfyUI version: 0.3.56
Import times for custom nodes:
   0.0 seconds: D:\ComfyUI_windows_portable\ComfyUI\custom_nodes\websocket_image_save.py
   0.4 seconds: D:\ComfyUI_windows_portable\ComfyUI\custom_nodes\comfyui-manager
Starting server
To see the GUI go to: http://127.0.0.1:8188
Prompt executed in 8.21 seconds""",
    "web UI without xformers": r"""venv "D:\stable-diffusion-webui\venv\Scripts\Python.exe"
Python 3.10.6 (tags/v3.10.6:9c7b4bd, Aug  1 2022, 21:53:49) [MSC v.1932 64 bit (AMD64)]
Version: v1.10.1
Launching Web UI with arguments:
no module 'xformers'. Processing without...
no module 'xformers'. Processing without...
No module 'xformers'. Proceeding without it.
Loading weights [6ce0161689] from D:\stable-diffusion-webui\models\Stable-diffusion\v1-5-pruned-emaonly.safetensors
Running on local URL:  http://127.0.0.1:7860
Applying attention optimization: Doggettx... done.
Model loaded in 4.4s (load weights from disk: 0.3s, create model: 0.6s, apply weights to model: 3.1s).
100%|██████████| 20/20 [00:03<00:00,  6.11it/s]""",
    "nvidia-smi, laptop": r"""+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 560.94                 Driver Version: 560.94         CUDA Version: 12.6     |
|-----------------------------------------+------------------------+----------------------+
| GPU  Name                  Driver-Model | Bus-Id          Disp.A | Volatile Uncorr. ECC |
| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |
|=========================================+========================+======================|
|   0  NVIDIA GeForce RTX 4070 ...  WDDM  |   00000000:01:00.0  On |                  N/A |
| N/A   46C    P8              4W /  115W |     812MiB /   8188MiB |      3%      Default |
+-----------------------------------------+------------------------+----------------------+
| Processes:                                                                              |
|  GPU   GI   CI        PID   Type   Process name                              GPU Memory |
|    0   N/A  N/A     10432    C+G   C:\Windows\explorer.exe                     N/A      |
+-----------------------------------------------------------------------------------------+""",
    "nvcc and gcc": r"""nvcc: NVIDIA (R) Cuda compiler driver
Copyright (c) 2005-2024 NVIDIA Corporation
Cuda compilation tools, release 12.4, V12.4.131
Build cuda_12.4.r12.4/compiler.34097967_0
gcc (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0
There is NO warranty; not even for MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.
ldconfig -p | grep libcuda
	libcudart.so.12 (libc6,x86-64) => /usr/local/cuda/lib64/libcudart.so.12
	libcuda.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libcuda.so.1
	libcuda.so (libc6,x86-64) => /lib/x86_64-linux-gnu/libcuda.so
LD_LIBRARY_PATH=/usr/local/cuda/lib64:/usr/local/cuda/extras/CUPTI/lib64""",
    "conda list": r"""# packages in environment at /home/ana/miniconda3/envs/pt:
#
# Name                    Version                   Build  Channel
_libgcc_mutex             0.1                 conda_forge    conda-forge
libstdcxx-ng              13.2.0               hc0a3c3a_7    conda-forge
mkl                       2023.1.0         h213fc3f_46344
pytorch                   2.5.1           py3.11_cuda12.4_cudnn9.1.0_0    pytorch
pytorch-cuda              12.4                 hc786d27_7    pytorch
pytorch-mutex             1.0                        cuda    pytorch
torchaudio                2.5.1               py311_cu124    pytorch
torchtriton               3.1.0                     py311    pytorch
torchvision               0.20.1              py311_cu124    pytorch""",
    "conda install": r"""Channels:
 - conda-forge
Platform: linux-64
Collecting package metadata (repodata.json): done
Solving environment: done

## Package Plan ##

  environment location: /home/ana/miniforge3/envs/pt
The following packages will be DOWNGRADED:

  mkl                                   2024.2.2-ha957f24_16 --> 2023.1.0-h213fc3f_46344

Downloading and Extracting Packages:
Preparing transaction: done
Verifying transaction: done
Executing transaction: done""",
    "docker build": r"""#7 [3/6] RUN apt-get update && apt-get install -y --no-install-recommends build-essential python3-dev
#7 3.114 debconf: delaying package configuration, since apt-utils is not installed
#7 4.402 update-alternatives: warning: skip creation of /usr/share/man/man1/c++.1.gz because associated file /usr/share/man/man1/g++.1.gz (of link group c++) doesn't exist
#7 DONE 21.3s
#8 [4/6] RUN pip install torch==2.7.1 --index-url https://download.pytorch.org/whl/cu128
#8 2.201 Looking in indexes: https://download.pytorch.org/whl/cu128
#8 61.88 Successfully installed MarkupSafe-2.1.5 filelock-3.13.1 torch-2.7.1+cu128 triton-3.3.1
#8 61.88 WARNING: Running pip as the 'root' user can result in broken permissions and conflicting behaviour with the system package manager, possibly rendering your system unusable.
#8 DONE 64.0s
#10 exporting to image
#10 naming to docker.io/library/train:latest done""",
    "PowerShell, pip into the user's folder": r"""PS C:\Users\jana> pip install triton-windows
Defaulting to user installation because normal site-packages is not writeable
Collecting triton-windows
  Downloading triton_windows-3.4.0.post20-cp312-cp312-win_amd64.whl.metadata (1.9 kB)
Requirement already satisfied: setuptools>=40.8.0 in c:\users\jana\appdata\roaming\python\python312\site-packages (from triton-windows) (80.9.0)
Installing collected packages: triton-windows
  WARNING: The scripts proton.exe and proton-viewer.exe are installed in 'C:\Users\jana\AppData\Roaming\Python\Python312\Scripts' which is not on PATH.
  Consider adding this directory to PATH or, if you prefer to suppress this warning, use --no-warn-script-location.
Successfully installed triton-windows-3.4.0.post20

[notice] A new release of pip is available: 24.2 -> 25.2
[notice] To update, run: python.exe -m pip install --upgrade pip""",
    "pip with a mirror, Chinese": r"""(yolo) D:\项目\检测> pip install ultralytics
Looking in indexes: https://pypi.tuna.tsinghua.edu.cn/simple
Requirement already satisfied: torch>=1.8.0 in d:\anaconda3\envs\yolo\lib\site-packages (from ultralytics) (2.5.1+cu121)
Requirement already satisfied: torchvision>=0.9.0 in d:\anaconda3\envs\yolo\lib\site-packages (from ultralytics) (0.20.1+cu121)
Installing collected packages: ultralytics
Successfully installed ultralytics-8.3.40
(yolo) D:\项目\检测> python -c "import torch; print(torch.cuda.is_available())"
True
警告: 某些功能仍在试验中""",
    "gcc warns in Russian, build succeeds": r"""[1/3] c++ -MMD -MF ops.o.d -DTORCH_EXTENSION_NAME=ops -D_GLIBCXX_USE_CXX11_ABI=1 -isystem /venv/lib/python3.11/site-packages/torch/include -c ops.cpp -o ops.o
ops.cpp:41:9: предупреждение: неиспользуемая переменная «n» [-Wunused-variable]
[2/3] /usr/local/cuda/bin/nvcc -gencode=arch=compute_80,code=sm_80 -gencode=arch=compute_90,code=sm_90 -c ops_kernel.cu -o ops_kernel.cuda.o
[3/3] c++ ops.o ops_kernel.cuda.o -shared -lc10 -lc10_cuda -ltorch_cpu -ltorch_cuda -ltorch -L/usr/local/cuda/lib64 -lcudart -o ops.so
Loading extension module ops...""",
    "gcc warns in German": r"""/tmp/tmpw1/main.c: In Funktion »launch«:
/tmp/tmpw1/main.c:88:3: Warnung: Variable »ptr« wird nicht verwendet [-Wunused-variable]
Alle Tests bestanden.
Python 3.11.9, torch 2.6.0+cu124, triton 3.2.0""",
    "flash-attn built from source": r"""Collecting flash-attn
  Downloading flash_attn-2.7.4.post1.tar.gz (6.0 MB)
  Preparing metadata (setup.py): started
  Preparing metadata (setup.py): finished with status 'done'
Requirement already satisfied: torch in /opt/venv/lib/python3.12/site-packages (from flash-attn) (2.6.0+cu124)
Building wheels for collected packages: flash-attn
  Building wheel for flash-attn (setup.py): started
  Building wheel for flash-attn (setup.py): still running...
  Building wheel for flash-attn (setup.py): finished with status 'done'
  Created wheel for flash-attn: filename=flash_attn-2.7.4.post1-cp312-cp312-linux_x86_64.whl size=187815463
  DEPRECATION: Building 'flash-attn' using the legacy setup.py bdist_wheel mechanism, which will be removed in a future version. pip 25.3 will enforce this behaviour change.
Successfully built flash-attn
Successfully installed einops-0.8.1 flash-attn-2.7.4.post1""",
    "poetry upgrades torch as asked": r"""Updating dependencies
Resolving dependencies... (8.1s)

Package operations: 1 install, 2 updates, 0 removals

  - Updating triton (3.1.0 -> 3.2.0)
  - Updating torch (2.5.1+cu124 -> 2.6.0+cu124 https://download.pytorch.org/whl/cu124)
  - Installing torchao (0.9.0)

Writing lock file""",
    "poetry, debug output": r"""Using virtualenv: /home/kim/.cache/pypoetry/virtualenvs/x-Ab1-py3.11
Resolving dependencies...
   1: fact: x is 0.1.0
   1: derived: x
   1: fact: x depends on torch (>=2.5,<3.0)
PyPI: 37 packages found for torch >=2.5,<3.0
   1: selecting torch (2.6.0)
  16: conflict: torch (2.6.0) depends on triton (3.2.0)
  16: ! triton (3.2.0) is partially satisfied by not triton (3.3.0)
  16: ! which is caused by "no versions of triton match >3.2.0,<3.2.1"
  16: Version solving took 0.412 seconds.
  16: Tried 1 solutions.

Installing dependencies from lock file
No dependencies to install or update""",
    "uv sync": r"""Using CPython 3.12.9
Creating virtual environment at: .venv
Resolved 91 packages in 1.20s
Prepared 12 packages in 34.82s
Uninstalled 2 packages in 210ms
Installed 14 packages in 411ms
 - torch==2.7.0
 + torch==2.8.0
 - triton==3.3.0
 + triton==3.4.0
 + unsloth==2025.9.4
warning: Failed to hardlink files; falling back to full copy. This may lead to degraded performance.
         If the cache and target directories are on different filesystems, hardlinking may not be supported.""",
    "uv, verbose": r"""DEBUG uv 0.8.15
DEBUG Found workspace root: `/srv/app`
DEBUG Using Python request `>=3.10` from `requires-python` metadata
DEBUG The interpreter in the project environment has a different version (3.10.12) than it was created with (3.10.11)
DEBUG Searching for a compatible version of triton (==3.4.0)
DEBUG Selecting: triton==3.4.0 [compatible] (triton-3.4.0-cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl)
TRACE Ignoring `triton-3.4.0-cp39-cp39-win_amd64.whl`: no wheels with a matching Python ABI tag
DEBUG No cache entry for: https://pypi.org/simple/numpy/
DEBUG Failed to read metadata for `torch`: not found in cache
Resolved 33 packages in 812ms
Audited 33 packages in 0.40ms""",
    "pip, verbose": r"""Using pip 24.0 from /opt/venv/lib/python3.11/site-packages/pip (python 3.11)
1 location(s) to search for versions of numpy:
Fetching project page and analyzing links: https://pypi.org/simple/numpy/
  Skipping link: none of the wheel's tags (cp312-cp312-win_amd64) are compatible (run pip debug --verbose to show compatible tags): https://files.pythonhosted.org/numpy-2.1.0-cp312-cp312-win_amd64.whl
  Link requires a different Python (3.11.9 not in: '>=3.7,<3.11'): https://files.pythonhosted.org/numpy-1.21.0.zip
Collecting numpy
  Downloading numpy-2.1.0-cp311-cp311-manylinux_2_17_x86_64.whl (16.3 MB)
  changing mode of /opt/venv/bin/f2py to 755
Successfully installed numpy-2.1.0""",
    "torch on a CPU machine": r"""PyTorch version: 2.9.1+cpu
Is debug build: False
CUDA used to build PyTorch: None
ROCM used to build PyTorch: N/A
OS: Debian GNU/Linux 12 (bookworm) (x86_64)
GCC version: (Debian 12.2.0-14) 12.2.0
Clang version: Could not collect
Python version: 3.11.9 (main, Apr 27 2024) [GCC 12.2.0] (64-bit runtime)
Is CUDA available: False
CUDA runtime version: No CUDA
GPU models and configuration: No CUDA
Nvidia driver version: No CUDA
cuDNN version: No CUDA
Is XPU available: False
HIP runtime version: N/A
Is XNNPACK available: True
Vulnerability Spectre v2:        Mitigation; Enhanced IBRS
Versions of relevant libraries:
[pip3] numpy==2.1.2
[pip3] torch==2.9.1+cpu
[conda] Could not collect""",
    "torch's build options": r"""PyTorch built with:
  - GCC 13.3
  - C++ Version: 201703
  - Intel(R) MKL-DNN v3.7.1 (Git Hash 8d263e693366ef8db40acc569cc7d8edf644556d)
  - OpenMP 201511 (a.k.a. OpenMP 4.5)
  - CPU capability usage: AVX512
  - Build settings: BLAS_INFO=mkl, BUILD_TYPE=Release, CXX_FLAGS= -fabi-version=11 -fvisibility-inlines-hidden -DUSE_KINETO -Wall -Wextra -Werror=return-type -Werror=range-loop-construct -Wno-error=redundant-move -Wno-stringop-overflow, LAPACK_INFO=mkl, TORCH_VERSION=2.9.1, USE_CUDA=0, USE_CUDNN=OFF, USE_MKL=ON, USE_NCCL=OFF
2.9.1+cpu None False""",
    "torch on Windows without a card": r"""C:\> python -c "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.is_available())"
2.7.1+cpu None False
C:\> python train.py --device cpu
epoch 1/3 loss 0.912
epoch 2/3 loss 0.604
epoch 3/3 loss 0.511""",
    "torch on a Mac": r"""PyTorch version: 2.8.0
Is debug build: False
CUDA used to build PyTorch: None
OS: macOS 15.6 (arm64)
Clang version: 17.0.0 (clang-1700.0.13.5)
Python platform: macOS-15.6-arm64-arm-64bit-Mach-O
Is CUDA available: False
GPU models and configuration: No CUDA
CPU:
Apple M3 Pro
[pip3] torch==2.8.0
>>> torch.backends.mps.is_available()
True""",
    "WSL with a GPU": r"""$ ls -l /usr/lib/wsl/lib/libcuda*
-r-xr-xr-x 1 root root 154688 Jun  4 11:02 /usr/lib/wsl/lib/libcuda.so
-r-xr-xr-x 1 root root 154688 Jun  4 11:02 /usr/lib/wsl/lib/libcuda.so.1
$ uname -r
5.15.167.4-microsoft-standard-WSL2
$ python -c "import torch, triton; print(torch.cuda.is_available(), torch.cuda.get_device_name(), triton.__version__)"
True NVIDIA GeForce RTX 3060 3.2.0""",
    "Grace Hopper": r"""Linux gh1 6.8.0-1013-nvidia-64k aarch64 aarch64 aarch64 GNU/Linux
>>> torch.__version__, torch.cuda.is_available(), torch.cuda.get_arch_list()
('2.9.0+cu129', True, ['sm_80', 'sm_90', 'sm_100', 'sm_120', 'compute_120'])
Collecting triton==3.5.0
  Downloading triton-3.5.0-cp312-cp312-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl.metadata (1.7 kB)
Successfully installed torch-2.9.0+cu129 triton-3.5.0""",
    "Triton's caches listed": r"""$ ls ~/.triton/cache | head -3
0NWBXTN2OMB6YHPC3PQLWLTYJRSEVMPKXGNFOBJGCEUXQ7SIXYEA
2QZKQFMPHKHLBP3TTIY2CJVDXNQZ5DL3UPZWJVOEPCO5NTLQTS3A
$ ls ~/.triton/cache/0NWBXTN2OMB6YHPC3PQLWLTYJRSEVMPKXGNFOBJGCEUXQ7SIXYEA
__triton_launcher.cpython-311-x86_64-linux-gnu.so  __grp__add_kernel.json  add_kernel.cubin  add_kernel.json  add_kernel.ptx
$ du -sh ~/.triton /tmp/torchinductor_kim
1.2G	/home/kim/.triton
312M	/tmp/torchinductor_kim""",
    "TRITON_PRINT_AUTOTUNING": r"""Triton autotuning for function matmul_kernel finished after 3.21s; best config selected: BLOCK_SIZE_M: 128, BLOCK_SIZE_N: 256, BLOCK_SIZE_K: 64, GROUP_SIZE_M: 8, num_warps: 8, num_ctas: 1, num_stages: 3;
triton_output_with_fp16_inputs=tensor([[-10.9531,  -4.7109,  15.6953]], device='cuda:0', dtype=torch.float16)
✅ Triton and Torch match
matmul-performance-fp16:
         M       N       K      cuBLAS      Triton
0    256.0   256.0   256.0    4.096000    4.681143""",
    "torch.compile logs": r"""V0821 10:11:02.120000 4711 torch/_dynamo/convert_frame.py:1345] torchdynamo start compiling f /srv/f.py:4, stack (elided 5 frames):
V0821 10:11:02.121000 4711 torch/_dynamo/symbolic_convert.py:2842] [0/0] [__trace_source] TRACE starts_line /srv/f.py:6 in f
V0821 10:11:02.310000 4711 torch/_dynamo/symbolic_convert.py:621] [0/0] [__graph_breaks] Graph break in user code at /srv/f.py:7
V0821 10:11:02.310000 4711 torch/_dynamo/symbolic_convert.py:621] [0/0] [__graph_breaks] Graph Break Reason: Failed to trace builtin operator
V0821 10:11:02.310000 4711 torch/_dynamo/symbolic_convert.py:621] [0/0] [__graph_breaks]   File "/venv/lib/python3.12/site-packages/torch/_dynamo/exc.py", line 520, in unimplemented_v2
V0821 10:11:02.310000 4711 torch/_dynamo/symbolic_convert.py:621] [0/0] [__graph_breaks]     raise Unsupported(msg)
I0821 10:11:03.002000 4711 torch/_inductor/codecache.py:1120] [0/0] fx graph cache miss for key fqz3
I0821 10:11:03.410000 4711 torch/_dynamo/utils.py:925] CompilationMetrics(compile_id='0/0', fail_type=None, fail_reason=None, restart_reasons=set(), triton_version='3.4.0', stack=[{'name': 'triton_heuristics', 'filename': '/venv/lib/python3.12/site-packages/torch/_inductor/runtime/triton_heuristics.py'}])
tensor(3.1415)""",
    "pytest": r"""============================= test session starts ==============================
platform linux -- Python 3.12.3, pytest-8.3.4, pluggy-1.5.0
collected 412 items

tests/test_errors.py::test_import_error_is_reported[ModuleNotFoundError: No module named 'triton'] PASSED [  0%]
tests/test_errors.py::test_missing_compiler[RuntimeError: Failed to find C compiler] PASSED [  1%]
tests/test_kernels.py ...sss..x..................                        [ 12%]
tests/test_cuda.py ssssssss                                              [ 14%]

=============================== warnings summary ===============================
../venv/lib/python3.12/site-packages/torch/utils/_pytree.py:185
  /venv/lib/python3.12/site-packages/torch/utils/_pytree.py:185: FutureWarning: optree is installed but the version is too old to support PyTorch Dynamo in C++ pytree.
=========================== short test summary info ============================
SKIPPED [8] tests/test_cuda.py:14: CUDA is not available
XFAIL tests/test_kernels.py::test_dot[fp8] - not supported on this device
================= 395 passed, 16 skipped, 1 xfailed in 88.10s ==================""",
    "GitHub Actions": r"""2025-08-20T09:01:12.2231194Z ##[group]Run actions/setup-python@v5
2025-08-20T09:01:12.2231600Z   python-version: 3.11
2025-08-20T09:01:15.9911194Z Successfully set up CPython (3.11.13)
2025-08-20T09:01:20.0011194Z ##[group]Run pip install torch --index-url https://download.pytorch.org/whl/cpu
2025-08-20T09:01:49.1011194Z Successfully installed torch-2.8.0+cpu
2025-08-20T09:01:52.0011194Z ##[warning]Cache not found for input keys: setup-python-Linux-x64-24.04-Ubuntu-python-3.11.13-pip-4f1
2025-08-20T09:03:10.3311194Z ======================= 210 passed, 31 skipped in 71.12s =======================
2025-08-20T09:03:11.1011194Z Cleaning up orphan processes""",
    "import times": r"""import time: self [us] | cumulative | imported package
import time:       310 |        310 |   torch.version
import time:      1204 |       4021 |   torch._inductor.runtime.cache_dir_utils
import time:       780 |      16474 |     triton.runtime.cache
import time:       402 |        402 |       triton.runtime.errors
import time:       112 |        112 |   zipfile.BadZipFile
import time:       611 |      90121 | triton""",
    "import with a missing optional part": r""">>> import diffusers
>>> from diffusers.utils import is_xformers_available
>>> is_xformers_available()
False
>>> import importlib.util
>>> print(importlib.util.find_spec("flash_attn"))
None
Flash attention is not installed, using PyTorch's scaled_dot_product_attention
step 10: 4.41 it/s""",
    "NCCL": r"""node0:1012:1012 [0] NCCL INFO Bootstrap : Using eth0:10.0.0.4<0>
node0:1012:1012 [0] NCCL INFO NET/Plugin: Could not find: libnccl-net.so. Using internal network plugin.
node0:1012:1012 [0] NCCL INFO cudaDriverVersion 12040
node0:1012:1070 [0] NCCL INFO NET/IB : No device found.
node0:1012:1070 [0] NCCL INFO NCCL_IB_DISABLE not set by environment.
node0:1012:1070 [0] NCCL INFO comm 0x5581 rank 0 nranks 2 cudaDev 0 busId 1b000 - Init COMPLETE
[rank0]: step 20 loss 2.11""",
    "deprecations": r"""/venv/lib/python3.12/site-packages/torch/cuda/__init__.py:63: FutureWarning: The pynvml package is deprecated. Please install nvidia-ml-py instead.
/venv/lib/python3.12/site-packages/triton/compiler/code_generator.py:12: DeprecationWarning: ast.Num is deprecated and will be removed in Python 3.14; use ast.Constant instead
/venv/lib/python3.12/site-packages/torchvision/models/_utils.py:208: UserWarning: The parameter 'pretrained' is deprecated since 0.13 and may be removed in the future, please use 'weights' instead.
/venv/lib/python3.12/site-packages/torchaudio/_backend/utils.py:213: UserWarning: In 2.9, this function's implementation will be changed to use torchaudio.load_with_torchcodec under the hood.
accuracy: 0.914""",
    "a driver newer than torch": r"""NVIDIA-SMI 580.65.06  Driver Version: 580.65.06  CUDA Version: 13.0
>>> torch.version.cuda
'12.8'
>>> torch.cuda.get_device_capability(), 'sm_90' in torch.cuda.get_arch_list()
((9, 0), True)
$ pip check
No broken requirements found.""",
    "pip show, several": r"""Name: torch
Version: 2.7.1+cu128
Requires: filelock, fsspec, jinja2, networkx, setuptools, sympy, triton, typing-extensions
Required-by: accelerate, bitsandbytes, torchvision, xformers
---
Name: triton
Version: 3.3.1
Location: /home/kim/.venv/lib/python3.12/site-packages
---
Name: bitsandbytes
Version: 0.46.1
$ python -c "import ctypes; print(ctypes.CDLL('libcuda.so.1'))"
<CDLL 'libcuda.so.1', handle 55aa at 0x7f>""",
    "anytile status": r"""anytile 0.1.0
torch    2.13.0+cpu (CPU)
triton   answered by anytile, as 3.7
target   cpu
not found: nvidia-smi""",
    "two Pythons on the path": r"""C:\> where python
C:\Users\jana\AppData\Local\Programs\Python\Python312\python.exe
C:\Users\jana\AppData\Local\Microsoft\WindowsApps\python.exe
C:\> echo %CC%
%CC%
C:\> where cl
C:\Program Files\Microsoft Visual Studio\2022\Community\VC\Tools\MSVC\14.44.35207\bin\Hostx64\x64\cl.exe
C:\> py -0p
 -V:3.12 *        C:\Users\jana\AppData\Local\Programs\Python\Python312\python.exe
 -V:3.10          C:\Users\jana\AppData\Local\Programs\Python\Python310\python.exe""",
    "ComfyUI starts": r"""Total VRAM 24564 MB, total RAM 65277 MB
pytorch version: 2.7.1+cu128
xformers version: 0.0.31
Set vram state to: NORMAL_VRAM
Device: cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync
Using sage attention
Python version: 3.12.10 (tags/v3.12.10:0cc8128, Apr  8 2025, 12:21:36) [MSC v.1943 64 bit (AMD64)]
ComfyUI version: 0.3.44
[Prompt Server] web root: D:\ComfyUI_windows_portable\python_embeded\Lib\site-packages\comfyui_frontend_package\static
Import times for custom nodes:
   0.0 seconds: D:\ComfyUI_windows_portable\ComfyUI\custom_nodes\websocket_image_save.py
   0.4 seconds: D:\ComfyUI_windows_portable\ComfyUI\custom_nodes\ComfyUI-Manager
Context impl SQLiteImpl.
Will assume non-transactional DDL.
Starting server
To see the GUI go to: http://127.0.0.1:8188
got prompt
100%|##########| 20/20 [00:05<00:00,  3.71it/s]
Prompt executed in 8.42 seconds""",
    "Unsloth trains": r"""🦥 Unsloth: Will patch your computer to enable 2x faster free finetuning.
🦥 Unsloth Zoo will now patch everything to make training faster!
==((====))==  Unsloth 2025.6.2: Fast Llama patching. Transformers: 4.52.4.
   \\   /|    NVIDIA GeForce RTX 3090. Num GPUs = 1. Max memory: 23.6 GB. Platform: Linux.
O^O/ \_/ \    Torch: 2.7.0+cu126. CUDA: 8.6. CUDA Toolkit: 12.6. Triton: 3.3.0
\        /    Bfloat16 = TRUE. FA [Xformers = 0.0.30. FA2 = False]
 "-____-"     Free license: http://github.com/unslothai/unsloth
Unsloth: Fast downloading is enabled - ignore downloading bars which are red colored!
{'loss': 1.8124, 'grad_norm': 0.42, 'learning_rate': 4e-05, 'epoch': 0.01}
100%|##########| 60/60 [02:11<00:00,  2.19s/it]""",
    "ds_report, of another project": r"""--------------------------------------------------
DeepSpeed C++/CUDA extension op report
--------------------------------------------------
NOTE: Ops not installed will be just-in-time (JIT) compiled at
      runtime if needed. Op compatibility means that your system
      meet the required dependencies to JIT install the op.
--------------------------------------------------
JIT compiled ops requires ninja
ninja .................. [OKAY]
--------------------------------------------------
op name ................ installed .. compatible
--------------------------------------------------
async_io ............... [NO] ....... [OKAY]
fused_adam ............. [NO] ....... [OKAY]
cpu_adam ............... [NO] ....... [OKAY]
transformer_inference .. [NO] ....... [OKAY]
DeepSpeed general environment info:
torch install path ............... ['/opt/conda/lib/python3.11/site-packages/torch']
torch version .................... 2.6.0+cu124
deepspeed info ................... 0.16.5, unknown, unknown
torch cuda version ............... 12.4
nvcc version ..................... 12.4
deepspeed wheel compiled w. ...... torch 2.6, cuda 12.4""",
    "accelerate env": r"""Copy-and-paste the text below in your GitHub issue

- `Accelerate` version: 1.6.0
- Platform: Linux-6.8.0-57-generic-x86_64-with-glibc2.39
- `accelerate` bash location: /home/u/venv/bin/accelerate
- Python version: 3.12.3
- Numpy version: 2.1.3
- PyTorch version: 2.6.0+cu124
- PyTorch accelerator: CUDA
- System RAM: 125.71 GB
- GPU type: NVIDIA RTX A6000
- `Accelerate` default config:
	Not found""",
    "conda install, of another project": r"""Channels:
 - pytorch
 - nvidia
 - defaults
Platform: linux-64
Collecting package metadata (repodata.json): done
Solving environment: done

## Package Plan ##

  environment location: /opt/conda/envs/t

  added / updated specs:
    - pytorch
    - pytorch-cuda=12.4

The following NEW packages will be INSTALLED:

  pytorch            pytorch/linux-64::pytorch-2.5.1-py3.12_cuda12.4_cudnn9.1.0_0
  pytorch-cuda       pytorch/linux-64::pytorch-cuda-12.4-hc786d27_7
  torchtriton        pytorch/linux-64::torchtriton-3.1.0-py312

Downloading and Extracting Packages:
Preparing transaction: done
Verifying transaction: done
Executing transaction: done
#
# To activate this environment, use
#
#     $ conda activate t""",
    "cmake looks for things": r"""-- The CXX compiler identification is GNU 13.3.0
-- Check for working CXX compiler: /usr/bin/c++ - skipped
-- Found CUDAToolkit: /usr/local/cuda/targets/x86_64-linux/include (found version "12.8.93")
-- Looking for pthread_create in pthreads - not found
-- Looking for pthread_create in pthread - found
-- Found Torch: /venv/lib/python3.12/site-packages/torch/lib/libtorch.so
-- Configuring done (2.1s)
-- Build files have been written to: /src/build
[100%] Built target _C""",
    "docker build, of another project": r"""#8 [4/6] RUN pip install torch --index-url https://download.pytorch.org/whl/cu124
#8 1.2 Looking in indexes: https://download.pytorch.org/whl/cu124
#8 2.1 Collecting torch
#8 2.2   Downloading https://download.pytorch.org/whl/cu124/torch-2.6.0%2Bcu124-cp312-cp312-linux_x86_64.whl (768.5 MB)
#8 60.1 Successfully installed MarkupSafe-3.0.2 filelock-3.18.0 torch-2.6.0+cu124 triton-3.2.0
#8 60.2 WARNING: Running pip as the 'root' user can result in broken permissions and conflicting behaviour with the system package manager, possibly rendering your system unusable. It is recommended to use a virtual environment instead: https://pip.pypa.io/warnings/venv. Use the --root-user-action option if you know what you are doing and want to suppress this warning.
#8 DONE 61.0s""",
    "transformers talks": r"""Some weights of LlamaForSequenceClassification were not initialized from the model checkpoint at meta-llama/Llama-3.2-1B and are newly initialized: ['score.weight']
You should probably TRAIN this model on a down-stream task to be able to use it for predictions and inference.
`torch_dtype` is deprecated! Use `dtype` instead!
Setting `pad_token_id` to `eos_token_id`:128001 for open-end generation.
Fetching 2 files: 100%|██████████| 2/2 [00:00<00:00, 31.15it/s]
The attention mask is not set and cannot be inferred from input because pad token is same as eos token.
step 10: loss 0.91, cuda memory 11.2 GB""",
    "python -m bitsandbytes, of another project": r"""======================== BUG REPORT INFORMATION ========================
============================== OTHER ===============================
CUDA specs: CUDASpecs(highest_compute_capability=(8, 9), cuda_version_string='124', cuda_version_tuple=(12, 4))
PyTorch settings found: CUDA_VERSION=124, Highest Compute Capability: (8, 9).
Checking that the library is importable and CUDA is callable...
SUCCESS!""",
    "pip install of what pins torch": r"""Collecting xformers==0.0.30
  Downloading xformers-0.0.30-cp312-cp312-manylinux_2_28_x86_64.whl.metadata (1.0 kB)
Collecting torch==2.7.0 (from xformers==0.0.30)
  Downloading torch-2.7.0-cp312-cp312-manylinux_2_28_x86_64.whl.metadata (29 kB)
Collecting triton==3.3.0 (from torch==2.7.0->xformers==0.0.30)
Installing collected packages: triton, torch, xformers
Successfully installed torch-2.7.0 triton-3.3.0 xformers-0.0.30""",
    "gcc warns in Russian": r"""gcc: предупреждение: переменная «ptr» не используется [-Wunused-variable]
Сборка завершена. torch 2.6.0+cu124, triton 3.2.0""",
    "git log of fixes": r"""a1b2c3d Fix race condition in the triton cache
b2c3d4e Fix undefined symbol for old torch versions
c3d4e5f Bump torch to 2.7.1 (cu128)
d4e5f6a Avoid importing bitsandbytes on CPU-only machines
e5f6a7b Docs: how to install triton-windows""",
    "a test that explains itself": r"""tensor([0., 0., 0.], device='cuda:0')
If you see tensor([0., 0., 0.], device='cuda:0'), then it works""",
    "one line of a training": r"""Training started on 8 GPUs with bf16, torch.compile enabled""",
}
