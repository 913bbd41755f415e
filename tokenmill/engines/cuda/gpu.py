"""The GPU that this process sees, as a `Device`: memory and copies by the driver, kernels and streams by `cuda.core`.

Comes in: a cache for machine code. Goes out: a device with the kernels loaded. Always holds: nothing here begins CUDA before it
is asked for, so a process may fork until then; whatever the driver refuses is `Unavailable`, with its own word for it, since
the CPU can do the work.
"""

import ctypes
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenmill.engines.contract import Unavailable
from tokenmill.engines.cuda.compiled import compiled
from tokenmill.engines.cuda.device import Mark, Memory, Stream

#: Threads of a block.
BLOCK = 128


@cache
def why_not_here() -> str | None:
    """Why this process cannot use a GPU; None if it may. Begins CUDA where there is a driver."""
    try:
        ctypes.CDLL("libcuda.so.1")  # cuda.core 1.2 waits for ever for a device where there is no driver
    except OSError:
        return "there is no NVIDIA driver here (no libcuda.so.1)"
    try:
        _first()
    except Unavailable as error:
        return str(error)
    return None


def describe() -> str:
    """The GPU and its driver, which with the kernels decide what they compute. Raises Unavailable."""
    from cuda.bindings import driver

    device = _first()
    (version,) = _told(driver.cuDriverGetVersion())
    return f"{device.name} sm_{device.arch} driver {version}"


def _first() -> Any:
    """The one GPU that this process was given."""
    with _refusals():
        from cuda.core import Device

        device = Device(0)
        device.set_current()
        return device


class Gpu:
    """A `Device` with the kernels loaded."""

    def __init__(self, folder: Path) -> None:
        """Raises Unavailable if there is no GPU, driver or compiler, or one of them refuses.

        Args:
            folder: this host's cache.
        """
        self._device = _first()
        code = compiled(f"sm_{self._device.arch}", folder).cubin
        with _refusals():
            from cuda.core import ObjectCode

            self._code = ObjectCode.from_cubin(code)
            self._kernels: dict[str, Any] = {}
        self._held: list[tuple[bool, int]] = []
        weakref.finalize(self, _give_back, self._held).atexit = False  # with the process all of it goes

    @property
    def name(self) -> str:
        """The product's name."""
        return str(self._device.name)

    @property
    def width(self) -> int:
        """Threads that keep all of it at work."""
        properties = self._device.properties
        return int(properties.multiprocessor_count * properties.max_threads_per_multiprocessor)

    def free_bytes(self) -> int:
        """Memory that could be allocated now."""
        from cuda.bindings import driver

        free, _ = _told(driver.cuMemGetInfo())
        return int(free)

    def allocate(self, size: int) -> Memory:
        """That many bytes, which hold anything. Raises Unavailable if there is no room."""
        from cuda.bindings import driver

        (address,) = _told(driver.cuMemAlloc(max(size, 1)))
        self._held.append((False, int(address)))
        return Memory(int(address), size)

    def pinned(self, size: int) -> NDArray[np.uint8]:
        """Host memory that copies go to and from at full speed. Raises Unavailable."""
        from cuda.bindings import driver

        (address,) = _told(driver.cuMemHostAlloc(max(size, 1), driver.CU_MEMHOSTALLOC_PORTABLE))
        self._held.append((True, int(address)))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(address)))

    def stream(self) -> Stream:
        """A new stream."""
        with _refusals():
            return _Stream(self, self._device.create_stream())

    def kernel(self, name: str) -> Any:
        """A kernel by name."""
        if name not in self._kernels:
            self._kernels[name] = self._code.get_kernel(name)
        return self._kernels[name]


def _give_back(held: list[tuple[bool, int]]) -> None:
    """Free a device's memory, pinned and its own: a worker has an engine for each job that it meets."""
    from cuda.bindings import driver

    with suppress(Unavailable):
        _first()  # whichever thread has collected it: the driver frees for a thread that has a context
    for pinned, address in held:
        (driver.cuMemFreeHost if pinned else driver.cuMemFree)(address)


class _Stream:
    """A stream of the driver's."""

    def __init__(self, gpu: Gpu, stream: Any) -> None:
        self._gpu, self._stream = gpu, stream

    def upload(self, source: NDArray[Any], target: Memory) -> None:
        from cuda.bindings import driver

        assert source.flags.c_contiguous
        assert source.nbytes <= target.size
        if source.nbytes:
            _told(driver.cuMemcpyHtoDAsync(target.address, source.ctypes.data, source.nbytes, self._stream.handle))

    def download(self, source: Memory, target: NDArray[Any]) -> None:
        from cuda.bindings import driver

        assert target.flags.c_contiguous
        assert target.nbytes <= source.size
        if target.nbytes:
            _told(driver.cuMemcpyDtoHAsync(target.ctypes.data, source.address, target.nbytes, self._stream.handle))

    def clear(self, memory: Memory) -> None:
        from cuda.bindings import driver

        if memory.size:
            _told(driver.cuMemsetD8Async(memory.address, 0, memory.size, self._stream.handle))

    def launch(self, kernel: str, threads: int, *arguments: Memory | int) -> None:
        from cuda.core import LaunchConfig, launch

        if threads < 1:
            return
        numbers = [np.uint64(each.address if isinstance(each, Memory) else each) for each in arguments]
        with _refusals():
            config = LaunchConfig(grid=-(-threads // BLOCK), block=BLOCK)
            launch(self._stream, config, self._gpu.kernel(kernel), *numbers)

    def mark(self) -> Mark:
        with _refusals():
            return _Mark(self._stream.record())

    def follow(self, mark: Mark) -> None:
        assert isinstance(mark, _Mark)
        with _refusals():
            self._stream.wait(mark.event)


class _Mark:
    """An event of the driver's."""

    def __init__(self, event: Any) -> None:
        self.event = event

    def wait(self) -> None:
        with _refusals():
            self.event.sync()


def _told(answer: tuple[Any, ...]) -> tuple[Any, ...]:
    """What the driver gave beside its status. Raises Unavailable if that is no success."""
    status, *given = answer
    if int(status) != 0:
        raise Unavailable(f"the GPU's driver says {getattr(status, 'name', status)}")
    return tuple(given)


@contextmanager
def _refusals() -> Iterator[None]:
    """The binding's own errors, as Unavailable."""
    try:
        yield
    except ImportError as error:
        raise Unavailable(f"{error}. Install tokenmill[cuda].") from None
    except Exception as error:  # CUDAError, RuntimeError, SystemError: all mean that the GPU does not do it
        said = str(error).splitlines() or [type(error).__name__]
        raise Unavailable(f"the GPU: {said[0][:200]}") from error
