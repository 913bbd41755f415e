"""A stand-in for NVIDIA's pynvml: put its folder first on PYTHONPATH. The GPUs stand in the file that NVML_STAND_IN names.

[{"uuid": "GPU-…", "name": "…", "memory": 80e9, "used": 1e9, "busy": 40, "error": null, "instances": [null, {…}]}, …]

The file is read at every question, so that a test can take a GPU away: drop its line, or give it an error number of nvml.h. A
number in place of the list is an error of NVML as a whole.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace

NVML_DEVICE_MIG_ENABLE = 1
NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_NOT_FOUND, NVML_ERROR_DRIVER_NOT_LOADED = 3, 6, 9
NVML_ERROR_LIBRARY_NOT_FOUND, NVML_ERROR_GPU_IS_LOST = 12, 15


class NVMLError(Exception):
    def __init__(self, value):
        super().__init__("GPU is lost" if value == NVML_ERROR_GPU_IS_LOST else f"error {value}")
        self.value = value


class NVMLError_NotSupported(NVMLError):
    pass


class NVMLError_FunctionNotFound(NVMLError):
    pass


def _gpus():
    return json.loads(Path(os.environ["NVML_STAND_IN"]).read_text())


def nvmlInit():
    if not os.environ.get("NVML_STAND_IN"):
        raise NVMLError(NVML_ERROR_LIBRARY_NOT_FOUND)


def nvmlDeviceGetCount():
    found = _gpus()
    if isinstance(found, int):
        raise NVMLError(found)
    return len(found)


def nvmlDeviceGetHandleByIndex(index):
    gpu = _gpus()[index]
    if gpu.get("error"):
        raise NVMLError(gpu["error"])
    return gpu


def nvmlDeviceGetMigMode(handle):
    if "instances" not in handle:
        raise NVMLError_NotSupported(NVML_ERROR_NOT_SUPPORTED)
    return [NVML_DEVICE_MIG_ENABLE, NVML_DEVICE_MIG_ENABLE]


def nvmlDeviceGetMaxMigDeviceCount(handle):
    return 7


def nvmlDeviceGetMigDeviceHandleByIndex(handle, index):
    instances = handle["instances"]
    if index >= len(instances) or instances[index] is None:
        raise NVMLError(NVML_ERROR_NOT_FOUND)
    return instances[index]


def nvmlDeviceGetUUID(handle):
    return handle["uuid"]


def nvmlDeviceGetName(handle):
    return handle["name"]


def nvmlDeviceGetMemoryInfo(handle):
    return SimpleNamespace(total=int(handle["memory"]), used=int(handle.get("used", 0)))


def nvmlDeviceGetUtilizationRates(handle):
    if handle["uuid"].startswith("MIG-"):
        raise NVMLError_NotSupported(NVML_ERROR_NOT_SUPPORTED)
    return SimpleNamespace(gpu=handle.get("busy", 0))
