"""What the engine asks of a device: memory, copies, kernels by name, and streams that keep their order.

Comes in: sizes, NumPy arrays, names of kernels of `kernels/kernels.cu`. Goes out: nothing but side effects on memory. Always
holds: what is put on one stream happens in that order; between streams nothing is promised but what `follow` asks for. Two
things are devices: a GPU (`gpu`), and, in the tests, the processor, which runs the same kernels one thread after the other.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Memory:
    """A stretch of a device's memory."""

    #: As kernels take it; that of a whole allocation is a multiple of 256.
    address: int
    #: Bytes.
    size: int

    def part(self, begin: int, size: int) -> "Memory":
        """The `size` bytes from byte `begin` on."""
        assert 0 <= begin <= begin + size <= self.size, (begin, size, self.size)
        return Memory(self.address + begin, size)


class Mark(Protocol):
    """A point in a stream."""

    def wait(self) -> None:
        """Return when all that was put on the stream before the mark is done. Raises Unavailable if any of it failed."""
        ...


class Stream(Protocol):
    """Things to do, one after the other; each call returns at once."""

    def upload(self, source: NDArray[Any], target: Memory) -> None:
        """Copy an array, C-contiguous and best pinned, to the beginning of `target`."""
        ...

    def download(self, source: Memory, target: NDArray[Any]) -> None:
        """Fill an array, C-contiguous and best pinned, from the beginning of `source`."""
        ...

    def clear(self, memory: Memory) -> None:
        """Set every byte to 0."""
        ...

    def launch(self, kernel: str, threads: int, *arguments: Memory | int) -> None:
        """Run a kernel with at least so many threads.

        Kernels stride over their work by the number of threads there are, so that more do no harm. A block has 128 threads.

        Args:
            arguments: its parameters in their order, each of 64 bits: an address or a number.
        """
        ...

    def mark(self) -> Mark:
        """The point behind all that was put on this stream so far."""
        ...

    def follow(self, mark: Mark) -> None:
        """Let what comes next on this stream begin only after `mark`, of any stream of the device."""
        ...


class Device(Protocol):
    """One device with the kernels loaded. What it allocated, pinned memory too, lives as long as it does."""

    @property
    def name(self) -> str:
        """For people: the product's name."""
        ...

    @property
    def width(self) -> int:
        """Threads that keep all of the device at work: what a kernel of unknown extent is launched with."""
        ...

    def free_bytes(self) -> int:
        """Memory that could be allocated now."""
        ...

    def allocate(self, size: int) -> Memory:
        """That many bytes, which hold anything. Raises Unavailable if there is no room."""
        ...

    def pinned(self, size: int) -> NDArray[np.uint8]:
        """Host memory that copies go to and from at full speed, without a second copy. Raises Unavailable."""
        ...

    def stream(self) -> Stream:
        """A new stream."""
        ...
