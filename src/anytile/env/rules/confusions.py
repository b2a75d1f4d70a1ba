"""Causes that are told apart by facts and not by words: what else makes programs say the same.

A log often holds one line of what a person saw. The finding that the line speaks for comes first; below it stand those that a look at
the machine would decide between, so that the reader looks. Environments need none of this: there the facts are known.
"""

from __future__ import annotations

__all__ = ["CONFUSED"]

CONFUSED: dict[str, tuple[str, ...]] = {
    # one message of the Windows loader for every reason that it has
    "win_vcredist_old": ("win_wrong_wheel_or_stale_venv", "win_dll_missing_dep", "user_site_leak"),
    "win_dll_missing_dep": ("win_vcredist_old", "win_wrong_wheel_or_stale_venv"),
    "win_wrong_wheel_or_stale_venv": ("win_vcredist_old", "win_dll_missing_dep"),
    # what Triton compiles while it runs: compiler, headers, cache, Python
    "win_c_compiler": ("win_python_dev_missing", "long_path"),
    "win_python_dev_missing": ("win_wrong_python", "win_c_compiler"),
    "win_wrong_python": ("cache_stale_after_upgrade", "win_python_dev_missing"),
    "cache_stale_after_upgrade": ("win_wrong_python", "win_python_dev_missing"),
    "linux_no_compiler": ("linux_python_headers", "win_c_compiler"),
    "linux_python_headers": ("linux_no_compiler", "win_python_dev_missing"),
    "linux_libcuda_link": ("wsl_libcuda", "linux_no_compiler"),
    "wsl_libcuda": ("linux_libcuda_link", "driver_too_old"),
    # a cache that cannot be read or written
    "cache_corrupt": ("long_path", "permission"),
    "long_path": ("cache_corrupt", "win_c_compiler"),
    "permission": ("cache_corrupt", "win_c_compiler"),
    "nonascii_locale": ("win_c_compiler", "cache_corrupt"),
    # the build of torch: chosen wrongly, replaced later, or not there for this machine
    "torch_cpu_build": ("resolver_replaced_torch", "aarch64_wheels"),
    "resolver_replaced_torch": ("torch_cpu_build", "aarch64_wheels", "torchvision_mismatch"),
    "aarch64_wheels": ("torch_cpu_build", "python_unsupported"),
    "python_unsupported": ("poetry_source", "aarch64_wheels", "win_no_triton"),
    "poetry_source": ("python_unsupported", "aarch64_wheels"),
    "win_no_triton": ("python_unsupported", "aarch64_wheels"),
    "build_isolation": ("python_unsupported", "win_no_triton"),
    # GPU, driver, and what was compiled for them
    "torch_arch_missing": ("ptxas_too_old", "driver_too_old"),
    "ptxas_too_old": ("torch_arch_missing", "driver_too_old"),
    "driver_too_old": ("torch_arch_missing", "wsl_libcuda"),
    # symbols and libraries
    "ext_abi_undefined_symbol": ("resolver_replaced_torch", "user_site_leak"),
    "cuda_lib_shadowed": ("cudart_soname", "ext_abi_undefined_symbol"),
    "cudart_soname": ("cuda_lib_shadowed", "ext_abi_undefined_symbol"),
    "glibc_cxx": ("cuda_lib_shadowed", "ext_abi_undefined_symbol"),
    "mkl_symbol": ("cuda_lib_shadowed", "ext_abi_undefined_symbol"),
    # companions of torch
    "torchvision_mismatch": ("resolver_replaced_torch", "torch_cpu_build"),
    "torchaudio_mismatch": ("ext_abi_undefined_symbol", "resolver_replaced_torch"),
    "xformers_mismatch": ("resolver_replaced_torch", "torch_cpu_build"),
    "bnb_cuda_binary": ("torch_cpu_build", "outdated_triton_consumer"),
    # who answers `import triton`
    "torch_triton_api_skew": ("two_tritons", "shadowed_module"),
    "outdated_triton_consumer": ("torch_triton_api_skew", "bnb_cuda_binary"),
    "two_tritons": ("torch_triton_api_skew", "leftover_files"),
    "wrong_package": ("shadowed_module", "win_no_triton"),
    "shadowed_module": ("wrong_package", "two_tritons"),
    "leftover_files": ("resolver_replaced_torch", "two_tritons"),
    "user_site_leak": ("resolver_replaced_torch", "ext_abi_undefined_symbol"),
}
