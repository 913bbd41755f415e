"""Which GPUs this host has, by NVML; a MIG instance is one like any other.

Comes in: what NVML lists, CUDA_VISIBLE_DEVICES of this process, a user's choice. Goes out: `Gpu`s and what they do. Always
holds: CUDA is told of a GPU by its UUID alone, since it counts GPUs in another order than nvidia-smi (the fastest first, unless
CUDA_DEVICE_ORDER says otherwise) and MIG instances not at all; nothing here begins CUDA, so a process may fork afterwards.

NVML (`pynvml`) is loaded when it is first asked. Without a driver there are no GPUs, and a reason.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tokenmill.errors import UsageError
from tokenmill.roots import shown

#: What CUDA reads: the GPUs that a process may use; empty for none.
VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU, or one MIG instance of a GPU that is cut into several."""

    #: As nvidia-smi counts: "0"; "0:1" for instance 1 of GPU 0.
    index: str
    #: GPU-… or MIG-…
    uuid: str
    name: str
    memory_bytes: int
    is_mig: bool

    def __str__(self) -> str:
        """For people."""
        return f"{self.index} {self.name}, {self.memory_bytes / 1e9:.0f} GB, {self.uuid}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a GPU does at one moment."""

    #: Bytes in use, by anybody.
    memory_bytes: int
    #: Share of the last moment in which it computed, 0 to 1; None where NVML does not say (MIG).
    utilization: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The GPUs that this process may use."""

    gpus: tuple[Gpu, ...] = ()
    #: Why there are not more, a sentence each.
    troubles: tuple[str, ...] = ()

    @property
    def why_none(self) -> str:
        """Why there are none."""
        return "; ".join(self.troubles) or "the driver lists none"


def find(visible: str | None) -> Found:
    """The GPUs that this process may use.

    Args:
        visible: CUDA_VISIBLE_DEVICES of this process; None where it is not set. In a container NVML lists the GPUs that
            were given to it, and no others.

    Raises UsageError if `visible` names what is not there.
    """
    troubles: list[str] = []
    try:
        gpus = tuple(_look(troubles))
    except NoAnswer as error:
        return Found(troubles=(str(error),))
    if visible is not None and gpus:
        among = set() if visible.strip() in ("", "-1") else _named(gpus, visible, f"{VARIABLE}={visible}")
        if any(name.strip().isdecimal() for name in visible.split(",")) and len({gpu.name for gpu in gpus}) > 1:
            raise UsageError(
                f"{VARIABLE}={visible}: the GPUs of this host differ, and CUDA counts them in another order than nvidia-smi. "
                f"Give UUIDs, as `nvidia-smi -L` shows them."
            )
        if len(among) < len(gpus):
            troubles.append(f"{VARIABLE}={visible} leaves {len(among)} of {len(gpus)}")
        gpus = tuple(gpu for gpu in gpus if gpu in among)
    return Found(gpus=gpus, troubles=tuple(troubles))


def choose(found: Found, wanted: str) -> tuple[Gpu, ...]:
    """The GPUs that a user chose: "all", "none", or indexes and UUIDs (their beginnings do), comma-separated.

    Raises UsageError if one of them is not there.
    """
    if wanted == "all":
        return found.gpus
    if wanted == "none":
        return ()
    if not found.gpus:
        raise UsageError(f"--gpus {wanted}: there is no GPU for this process: {found.why_none}. Give --gpus none.")
    among = _named(found.gpus, wanted, f"--gpus {wanted}")
    return tuple(gpu for gpu in found.gpus if gpu in among)


def lost(gpus: Collection[Gpu]) -> set[Gpu]:
    """Those of these GPUs that are not there any more; none while NVML as a whole gives no answer."""
    try:
        return set(gpus) - _look([]).keys()
    except NoAnswer:
        return set()


def readings(gpus: Collection[Gpu]) -> dict[Gpu, Reading]:
    """What these GPUs do now, as far as NVML says."""
    try:
        return {gpu: reading for gpu, reading in _look([]).items() if gpu in gpus}
    except NoAnswer:
        return {}


def _named(gpus: Sequence[Gpu], names: str, said: str) -> set[Gpu]:
    """The GPUs that a comma-separated list names. Raises UsageError, quoting what was `said`."""
    among: set[Gpu] = set()
    for name in names.split(","):
        name = name.strip()
        if name.startswith(("GPU-", "MIG-")):
            meant = [gpu for gpu in gpus if gpu.uuid.startswith(name)]
            meant = [gpu for gpu in meant if gpu.uuid == name] or meant
            fits = len(meant) == 1
        else:  # the number of a GPU that is cut means all its instances
            meant = [gpu for gpu in gpus if name in (gpu.index, gpu.index.partition(":")[0])]
            fits = bool(meant)
        if not fits:
            there = "; ".join(map(str, gpus))
            raise UsageError(f"{said}: {shown(name)} names {len(meant) or 'no'} GPUs of this process. There are: {there}.")
        among.update(meant)
    return among


# -- NVML ------------------------------------------------------------------------------------------------------------------


class NoAnswer(Exception):
    """NVML as a whole does not work; the message says why."""


def _look(troubles: list[str]) -> dict[Gpu, Reading]:
    """Every GPU and MIG instance, and what it does; what gives no answer becomes a line of `troubles`. Raises NoAnswer.

    All are walked by number: a question by UUID may fail over another GPU that is lost (nvml.h, nvmlDeviceGetHandleByUUID).
    """
    nvml = _session()
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        raise NoAnswer(f"the NVIDIA driver says: {error}") from error
    found: dict[Gpu, Reading] = {}
    for number in range(count):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(number)
            if not _is_cut(nvml, handle):
                found |= _asked(nvml, handle, str(number), is_mig=False)
                continue
            before = len(found)
            for instance in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
                try:
                    part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, instance)
                except nvml.NVMLError:
                    continue  # numbers have gaps
                found |= _asked(nvml, part, f"{number}:{instance}", is_mig=True)
            if len(found) == before:
                troubles.append(f"GPU {number} is to be cut by MIG and has no instances")
        except nvml.NVMLError as error:
            troubles.append(f"GPU {number}: {error}")
    return found


def _asked(nvml: Any, handle: Any, index: str, *, is_mig: bool) -> dict[Gpu, Reading]:
    """One GPU and what it does. Raises NVMLError."""
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        utilization = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    except nvml.NVMLError_NotSupported:
        utilization = None
    uuid, name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
    gpu = Gpu(index=index, uuid=uuid, name=name, memory_bytes=memory.total, is_mig=is_mig)
    return {gpu: Reading(memory_bytes=memory.used, utilization=utilization)}


def _is_cut(nvml: Any, handle: Any) -> bool:
    """Whether a GPU is in MIG mode: then CUDA sees its instances only. Raises NVMLError."""
    try:
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE)
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
        return False


@cache
def _session() -> Any:
    """NVML, with a session that lasts as long as this process: to begin one can take seconds. Raises NoAnswer."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        known = {
            pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "there is no NVIDIA driver here (no libnvidia-ml.so.1)",
            pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded",
        }
        raise NoAnswer(known.get(error.value, f"the NVIDIA driver says: {error}")) from error
    return pynvml
