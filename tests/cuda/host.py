"""The processor as a `Device`: kernels.cu as it stands, compiled by g++, every thread in turn.

Two things that a GPU may do are done on purpose. Fresh memory holds garbage. A lazy device does what is on a stream only when
somebody waits for it, and no more than that needs, so that a forgotten `follow` shows, or pinned memory written too early.
"""

import ctypes
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tokenmill.engines.cuda
from tokenmill.engines.cuda.device import Mark, Memory

KERNELS = Path(tokenmill.engines.cuda.__file__).with_name("kernels")
SHIM = Path(__file__).with_name("shim.h")
#: Lanes of a warp, which is a block here.
WARP = 32
GARBAGE = 0xA5
#: Bytes beside an allocation that must stay as they are.
GUARD = 512


#: For threads that run at once, which the thread sanitizer watches.
THREADS = ("-DTHREADS", "-fsanitize=thread", "--param=tsan-distinguish-volatile=1", "-g", "-pthread")


@cache
def library(kernels: Path = KERNELS, more: tuple[str, ...] = ()) -> ctypes.CDLL:
    """The kernels of a folder, compiled once per machine. Skips without a compiler, which fails under CI."""
    compiler = shutil.which("g++")
    if compiler is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("g++ is missing: the kernels cannot be compiled")
    options = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-fno-strict-aliasing"]
    options += ["-shared", "-fPIC", *more, "-include", str(SHIM), "-x", "c++"]
    sources = [SHIM, *sorted(kernels.iterdir())]
    digest = hashlib.sha256(b"\0".join([" ".join(options).encode(), *(source.read_bytes() for source in sources)])).hexdigest()[
        :16
    ]
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tokenmill-tests" / "kernels"
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{digest}.so"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            half = made.with_suffix(".part")
            subprocess.run([compiler, *options, str(kernels / "kernels.cu"), "-o", str(half)], check=True)
            half.rename(made)
    return ctypes.CDLL(str(made))


class HostDevice:
    """Memory is the process's own; a kernel runs with `width` threads, or as few as it was launched with."""

    def __init__(self, *, lazy: bool = True, reverse: bool = False, width: int = 2 * WARP, kernels: Path = KERNELS) -> None:
        """Compiles the kernels if that was not done before.

        Args:
            lazy: do what is on a stream only when it is waited for.
            reverse: run the threads from the last to the first.
        """
        self.lazy, self.reverse, self.width, self.name = lazy, reverse, width, "host"
        self.library = library(kernels)
        self._places = {name: ctypes.c_uint32.in_dll(self.library, name) for name in ("blockIdx", "threadIdx", "gridDim")}
        ctypes.c_uint32.in_dll(self.library, "blockDim").value = WARP
        self._kept: list[tuple[NDArray[np.uint8], int, int]] = []
        #: Bytes that were allocated.
        self.allocated = 0
        #: How often each kernel was launched.
        self.launches: dict[str, int] = {}

    def free_bytes(self) -> int:
        return 1 << 30

    def allocate(self, size: int) -> Memory:
        room = np.full(GUARD + size + GUARD, GARBAGE, np.uint8)
        begin = -room.ctypes.data % 256 or 256
        self._kept.append((room, begin, size))
        self.allocated += size
        return Memory(room.ctypes.data + begin, size)

    def intact(self) -> bool:
        """Whether nothing was written beside what was allocated."""
        return all(
            (room[:begin] == GARBAGE).all() and (room[begin + size :] == GARBAGE).all() for room, begin, size in self._kept
        )

    def pinned(self, size: int) -> NDArray[np.uint8]:
        return np.full(size, GARBAGE, np.uint8)

    def stream(self) -> "HostStream":
        return HostStream(self)

    def run(self, kernel: str, threads: int, arguments: tuple[Memory | int, ...]) -> None:
        numbers = [ctypes.c_uint64(each.address if isinstance(each, Memory) else each) for each in arguments]
        function = getattr(self.library, kernel)
        blocks = min(-(-threads // WARP), self.width // WARP)
        self._places["gridDim"].value = blocks
        every = range(blocks * WARP)
        for thread in reversed(every) if self.reverse else every:
            self._places["blockIdx"].value, self._places["threadIdx"].value = divmod(thread, WARP)
            function(*numbers)
        self.launches[kernel] = self.launches.get(kernel, 0) + 1


class ThreadedDevice(HostDevice):
    """All threads at once: to be used in a process of its own, with the thread sanitizer loaded before anything else."""

    def __init__(self, kernels: Path = KERNELS) -> None:
        super().__init__(lazy=False)
        self.library = library(kernels, THREADS)
        ctypes.c_uint32.in_dll(self.library, "blockDim").value = WARP

    def run(self, kernel: str, threads: int, arguments: tuple[Memory | int, ...]) -> None:
        numbers = [each.address if isinstance(each, Memory) else each for each in arguments]
        blocks = min(-(-threads // WARP), self.width // WARP)
        self.library.run(getattr(self.library, kernel), ctypes.c_uint32(blocks), (ctypes.c_uint64 * 16)(*numbers))


class HostStream:
    def __init__(self, device: HostDevice) -> None:
        self._device = device
        self._waiting: list[Callable[[], None]] = []
        self._done = 0

    def _put(self, thing: Callable[[], None]) -> None:
        self._waiting.append(thing)
        if not self._device.lazy:
            self.catch_up(len(self._waiting))

    def catch_up(self, until: int) -> None:
        while self._done < until:
            self._done += 1
            self._waiting[self._done - 1]()

    def upload(self, source: NDArray[Any], target: Memory) -> None:
        assert source.flags.c_contiguous
        assert source.nbytes <= target.size
        self._put(lambda: _copy(target.address, source.ctypes.data, source.nbytes))

    def download(self, source: Memory, target: NDArray[Any]) -> None:
        assert target.flags.c_contiguous
        assert target.nbytes <= source.size
        self._put(lambda: _copy(target.ctypes.data, source.address, target.nbytes))

    def clear(self, memory: Memory) -> None:
        self._put(lambda: _clear(memory.address, memory.size))

    def launch(self, kernel: str, threads: int, *arguments: Memory | int) -> None:
        self._put(lambda: self._device.run(kernel, threads, arguments))

    def mark(self) -> Mark:
        return HostMark(self, len(self._waiting))

    def follow(self, mark: Mark) -> None:
        self._put(mark.wait)


class HostMark:
    def __init__(self, stream: HostStream, until: int) -> None:
        self._stream, self._until = stream, until

    def wait(self) -> None:
        self._stream.catch_up(self._until)


def _copy(target: int, source: int, size: int) -> None:
    ctypes.memmove(target, source, size)


def _clear(address: int, size: int) -> None:
    ctypes.memset(address, 0, size)
