"""The driver's interface as tables: the functions that `driver_api` calls, and the numbers by which it asks (cuda.h of CUDA 11.8)."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any

__all__ = [
    "ATTRIBUTES",
    "CAPTURE_RELAXED",
    "FUNCTION_CARVEOUT",
    "FUNCTION_LOCAL",
    "FUNCTION_MAX_DYNAMIC_SHARED",
    "FUNCTION_MAX_THREADS",
    "FUNCTION_NON_PORTABLE_CLUSTER",
    "FUNCTION_REGISTERS",
    "FUNCTION_SHARED",
    "JIT_ERROR_LOG",
    "JIT_ERROR_LOG_BYTES",
    "JIT_INFO_LOG",
    "JIT_INFO_LOG_BYTES",
    "JIT_OPTIMIZATION",
    "JIT_VERBOSE",
    "POINTER_DEVICE_ORDINAL",
    "PROTOTYPES",
]

_int, _size, _handle = POINTER(c_int), POINTER(c_size_t), POINTER(c_void_p)

#: Exported name → argument types.  All return CUresult.
PROTOTYPES: dict[str, list[Any]] = {
    "cuInit": [c_uint],
    "cuDriverGetVersion": [_int],
    "cuGetErrorName": [c_int, POINTER(c_char_p)],
    "cuDeviceGetCount": [_int],
    "cuDeviceGet": [_int, c_int],
    "cuDeviceGetName": [c_void_p, c_int, c_int],
    "cuDeviceTotalMem_v2": [_size, c_int],
    "cuDeviceGetAttribute": [_int, c_int, c_int],
    "cuDevicePrimaryCtxRetain": [_handle, c_int],
    "cuCtxGetCurrent": [_handle],
    "cuCtxSetCurrent": [c_void_p],
    "cuCtxGetDevice": [_int],
    "cuCtxSynchronize": [],
    "cuModuleLoadDataEx": [_handle, c_void_p, c_uint, _int, _handle],
    "cuModuleUnload": [c_void_p],
    "cuModuleGetFunction": [_handle, c_void_p, c_char_p],
    "cuModuleGetGlobal_v2": [POINTER(c_uint64), _size, c_void_p, c_char_p],
    "cuFuncGetAttribute": [_int, c_int, c_void_p],
    "cuFuncSetAttribute": [c_void_p, c_int, c_int],
    "cuLinkCreate_v2": [c_uint, _int, _handle, _handle],
    "cuLinkAddData_v2": [c_void_p, c_int, c_void_p, c_size_t, c_char_p, c_uint, _int, _handle],
    "cuLinkComplete": [c_void_p, _handle, _size],
    "cuLinkDestroy": [c_void_p],
    "cuLaunchKernelEx": [c_void_p, c_void_p, c_void_p, c_void_p],
    "cuMemAlloc_v2": [POINTER(c_uint64), c_size_t],
    "cuMemFree_v2": [c_uint64],
    "cuMemcpyHtoD_v2": [c_uint64, c_void_p, c_size_t],
    "cuMemcpyDtoH_v2": [c_void_p, c_uint64, c_size_t],
    "cuMemsetD8Async": [c_uint64, ctypes.c_ubyte, c_size_t, c_void_p],
    "cuPointerGetAttribute": [c_void_p, c_int, c_uint64],
    "cuStreamSynchronize": [c_void_p],
    "cuThreadExchangeStreamCaptureMode": [_int],
    "cuEventCreate": [_handle, c_uint],
    "cuEventRecord": [c_void_p, c_void_p],
    "cuEventSynchronize": [c_void_p],
    "cuEventElapsedTime": [POINTER(c_float), c_void_p, c_void_p],
    "cuEventDestroy_v2": [c_void_p],
}

# CUdevice_attribute, by the names used here.
ATTRIBUTES: dict[str, int] = {
    "max_threads_per_block": 1,
    "max_shared_per_block": 8,
    "warp_size": 10,
    "registers_per_block": 12,
    "clock_khz": 13,
    "multiprocessors": 16,
    "memory_clock_khz": 36,
    "memory_bus_bits": 37,
    "l2_bytes": 38,
    "max_threads_per_multiprocessor": 39,
    "capability_major": 75,
    "capability_minor": 76,
    "max_shared_per_multiprocessor": 81,
    "registers_per_multiprocessor": 82,
    "cooperative_launch": 95,
    "max_shared_per_block_optin": 97,
    "max_blocks_per_multiprocessor": 106,
    "reserved_shared_per_block": 111,
    "cluster_launch": 120,
}

# CUfunction_attribute.
FUNCTION_MAX_THREADS, FUNCTION_SHARED, FUNCTION_LOCAL, FUNCTION_REGISTERS = 0, 1, 3, 4
FUNCTION_MAX_DYNAMIC_SHARED, FUNCTION_CARVEOUT, FUNCTION_NON_PORTABLE_CLUSTER = 8, 9, 14

# CUjit_option.
JIT_INFO_LOG, JIT_INFO_LOG_BYTES, JIT_ERROR_LOG, JIT_ERROR_LOG_BYTES, JIT_OPTIMIZATION, JIT_VERBOSE = 3, 4, 5, 6, 7, 12

CAPTURE_RELAXED = 2  # CU_STREAM_CAPTURE_MODE_RELAXED
POINTER_DEVICE_ORDINAL = 9  # CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
