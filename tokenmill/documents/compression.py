"""A source file as a stream of blocks of plain bytes, decompressed on the way.

Comes in: a span. Goes out: blocks of about half a megabyte, from its first byte to the end of the file. Always holds: all
members (.gz), frames (.zst) and streams (.bz2, .xz) are read; a span of frames unpacks to as many bytes as was planned; an
archive that ends in mid-stream is an error, never a quiet end — Python's and zstandard's own file objects differ here; however
small an archive is, no more of it is unpacked at a time than a block.
"""

import bz2
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import BinaryIO, Protocol

import pyarrow as pa

from tokenmill import storage
from tokenmill.errors import BatchError
from tokenmill.job import Cut, Span

#: Plain bytes per block: what fits into a core's cache is parsed faster (JSON Lines at 512 KB 407 MB/s in all, at 1 MB 374).
BLOCK = 1 << 19
#: Compressed bytes fed at a time.
FEED = 64 << 10
#: Memory that an .xz file may ask for: the largest preset of `xz` (-9) asks for 65 MiB, a hostile file for 4 GiB.
XZ_MEMORY = 128 << 20

SUFFIXES = (".gz", ".zst", ".bz2", ".xz")


class Decompressor(Protocol):
    """What `bz2` and `lzma` decompression objects have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


class Gzip:
    """The same for one member of a .gz file; `zlib` gives back the input that it did not come to."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        """At most `max_length` plain bytes."""
        plain = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        # a block that came out full may have a rest inside of zlib, with all input taken
        self.needs_input = not self._zlib.unconsumed_tail and len(plain) < max_length
        return plain


#: Begins one member or stream; zstandard (0.25) unpacks all of its input at once, so .zst goes through pyarrow.
BEGIN: dict[str, Callable[[], Decompressor]] = {
    ".gz": Gzip,
    ".bz2": bz2.BZ2Decompressor,
    ".xz": partial(lzma.LZMADecompressor, format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY),
}


class Part(io.RawIOBase):
    """An open file from where it is on, or so many bytes of it, that counts what was taken."""

    def __init__(self, file: BinaryIO, size: int = sys.maxsize) -> None:
        self._file, self._size = file, size
        self.taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, and all that are left if it is negative."""
        left = self._size - self.taken
        data = self._file.read(left if size < 0 else min(size, left))
        self.taken += len(data)
        return data


class Blocks:
    """The plain bytes of a file from `start` on, block by block; of a span of frames, from the first of them on."""

    def __init__(self, span: Span, start: int = 0) -> None:
        self.url, self.start = span.url, span.start if span.cut is Cut.FRAMES else start
        self._span = span
        #: Source bytes read so far.
        self.consumed = 0

    def __iter__(self) -> Generator[bytes, None, None]:
        with storage.open_input(self.url, self.start) as file:
            if self._span.cut is Cut.FRAMES:
                yield from self._frames(file)
            yield from self._plain(Part(file))

    def _frames(self, file: BinaryIO) -> Iterator[bytes]:
        """The plain bytes of a span of frames. Raises BatchError if they are not as many as the archive said.

        More are told before they are given away: whoever has seen what comes after the last that were planned may stop there.
        """
        span, size = self._span, 0
        planned = span.plain_stop - span.plain_start
        for block in self._plain(Part(file, span.stop - span.start)):
            size += len(block)
            if size > planned:
                break
            yield block
        if size != planned:
            found = f"{'more' if size > planned else 'less'} than the {planned} bytes that its headers or its table say"
            raise self._damaged(f"bytes {span.start} to {span.stop} unpack to {found}")

    def _plain(self, file: Part) -> Iterator[bytes]:
        suffix = next((suffix for suffix in SUFFIXES if self.url.endswith(suffix)), "")
        if suffix == ".zst":
            yield from self._zstandard(file)
        elif suffix:
            yield from self._members(file, BEGIN[suffix])
        else:
            while block := file.read(BLOCK):
                self.consumed += len(block)
                yield block

    def _members(self, file: Part, begin: Callable[[], Decompressor]) -> Iterator[bytes]:
        decompressor: Decompressor | None = None
        ready: list[bytes] = []
        data, size = b"", 0
        while True:
            if not data and (decompressor is None or decompressor.needs_input):
                data = file.read(FEED)
                if not data:
                    break
                self.consumed += len(data)
                # gzip and xz allow zero bytes as padding after a member
                data = data if decompressor else data.lstrip(b"\0")
                continue
            decompressor = decompressor or begin()
            try:
                plain = decompressor.decompress(data, BLOCK)
            except (zlib.error, lzma.LZMAError, OSError) as error:
                raise self._damaged(error) from error
            ready.append(plain)
            size += len(plain)
            data = b""
            if decompressor.eof:
                data, decompressor = decompressor.unused_data.lstrip(b"\0"), None
            if size >= BLOCK:
                yield b"".join(ready)
                ready, size = [], 0
        if decompressor is not None:
            raise self._cut_off()
        yield b"".join(ready)

    def _zstandard(self, file: Part) -> Iterator[bytes]:
        before = self.consumed
        stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
        while True:
            try:
                block = stream.read(BLOCK)
            except OSError as error:
                if error.errno is not None:  # the storage's own, not the archive's
                    raise
                self.consumed = before + file.taken
                raise self._cut_off() if "Truncated" in str(error) else self._damaged(error) from error
            if not block:
                return
            self.consumed = before + file.taken
            yield block

    def _damaged(self, error: Exception | str) -> BatchError:
        return BatchError(
            f"{self.url} is damaged near compressed byte {self.start + self.consumed}: {error}. "
            f"Fetch it again or leave it out, then run the same command again."
        )

    def _cut_off(self) -> BatchError:
        return BatchError(
            f"{self.url} is cut off: it ends in mid-stream at compressed byte {self.start + self.consumed}. "
            f"Fetch it again or leave it out, then run the same command again."
        )
