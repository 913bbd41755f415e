"""Where an archive can be begun in its middle: the frames of a .zst file, the members of a .gz file in blocks (BGZF).

Comes in: an archive's name. Goes out: its frames, as numbers of bytes stored and unpacked, or None where the file does not say
them; nothing is ever unpacked. Always holds: frames tile the file, so nothing of it is outside of every span; a table that
does not fit its file counts for nothing, and neither does a file whose frames do not tell their sizes: it is read whole.
Formats: zstd "Compression format" 0.4.0 (frame and block headers), its contrib/seekable_format (the table at the end), and the
SAM specification, section 4.1 (BGZF), with the `.gzi` index that `bgzip -i` leaves beside it.
"""

import struct
from array import array
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tokenmill import storage
from tokenmill.errors import BatchError, JobError, UsageError

#: Archives that may have frames to begin at.
FRAMED = (".zst", ".gz")
#: What a table may take: five million frames.
LARGEST_TABLE = 64 << 20
#: A frame that is longer is not looked through for its end, which is told block by block: it would not make an even plan, and
#: most archives are one frame.
LONGEST_FRAME = 256 << 20

ZSTD_MAGIC, TABLE_MAGIC = 0xFD2FB528, 0x8F92EAB1
#: Skippable frames have sixteen magic numbers; the table's own is the last but one.
SKIPPABLE, TABLE_FRAME = 0x184D2A50, 0x184D2A5E
#: After the table: number of frames, descriptor, magic number.
FOOTER = struct.Struct("<IBI")
WORD, PAIR = struct.Struct("<I"), struct.Struct("<II")
#: Of a BGZF block: gzip header with one extra field, BC, that holds its length - 1. At its end the unpacked length.
BGZF_HEAD = struct.Struct("<4sIBBHHHH")
#: An index ends with the beginning of the last member, or of the empty one that marks the end: no further from the end.
UNINDEXED = 256 << 10
BGZF_MAGIC, BGZF_FIELD = b"\x1f\x8b\x08\x04", int.from_bytes(b"BC", "little")


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of an archive: where each begins and the one before it ends, from 0 to the end of the file."""

    #: In bytes of the file.
    edges: NDArray[np.int64]
    #: In unpacked bytes.
    plain: NDArray[np.int64]


def frames(url: str, size: int, *, near: bool) -> Frames | None:
    """The frames of an archive of `size` bytes; None if they are not known, or there is only one.

    Args:
        near: whether the file may be looked through where it has no table: a few bytes are read in each of its blocks.
    """
    with storage.open_input(url) as file:
        if url.endswith(".zst"):
            found = _table(file, size) or (_zstandard(file, size) if near else None)
        else:
            found = _index(file, url, size) or (_members(file, size) if near else None)
    return found if found is not None and len(found.edges) > 2 else None


def _table(file: BinaryIO, size: int) -> Frames | None:
    """What the seekable format keeps at the end of a file."""
    if size < FOOTER.size + PAIR.size:
        return None
    file.seek(size - FOOTER.size)
    count, descriptor, magic = FOOTER.unpack(file.read(FOOTER.size))
    width = 12 if descriptor & 0x80 else 8  # with a checksum, or without
    length = count * width + FOOTER.size + PAIR.size
    if magic != TABLE_MAGIC or descriptor & 0x7C or length > min(size, LARGEST_TABLE):
        return None
    file.seek(size - length)
    if PAIR.unpack(file.read(PAIR.size)) != (TABLE_FRAME, length - PAIR.size):
        return None
    entries = np.frombuffer(file.read(count * width), "<u4").reshape(count, width // 4).astype(np.int64)
    if not entries[:, 0].all() or entries[:, 0].sum() + length != size:
        return None
    entries[-1, 0] += length  # the table goes with the last frame
    return Frames(*np.cumsum(np.vstack((np.zeros_like(entries[:1]), entries)), axis=0).T[:2])


def _zstandard(file: BinaryIO, size: int) -> Frames | None:
    """The frames of a .zst file by their headers, from block to block."""
    edges, plain, at, unpacked = array("q", [0]), array("q", [0]), 0, 0
    while at < size:
        file.seek(at)
        head = file.read(18)
        if len(head) < PAIR.size:
            return None
        magic, length = PAIR.unpack_from(head)
        if magic & ~0xF == SKIPPABLE:  # goes with the frame before it, at the beginning with the first
            at += PAIR.size + length
            edges[len(edges) - 1] = at if len(edges) > 1 else 0
            continue
        content = _content(head) if magic == ZSTD_MAGIC else None
        end = None if content is None else _end(file, at, head, size)
        if content is None or end is None:
            return None
        at, unpacked = end, unpacked + content
        edges.append(at)
        plain.append(unpacked)
    return Frames(np.array(edges), np.array(plain)) if edges[-1] == size else None


def _content(head: bytes) -> int | None:
    """Unpacked bytes of a zstd frame, as its header says; None if it does not."""
    descriptor = head[4]
    width = (int(bool(descriptor & 0x20)), 2, 4, 8)[descriptor >> 6]
    if not width:
        return None
    start = _fields(descriptor)
    return int.from_bytes(head[start : start + width], "little") + 256 * (width == 2)


def _fields(descriptor: int) -> int:
    """Where in a zstd frame its content size stands: after window size (but for a single segment) and dictionary id."""
    return 5 + (not descriptor & 0x20) + (0, 1, 2, 4)[descriptor & 3]


def _end(file: BinaryIO, at: int, head: bytes, size: int) -> int | None:
    """Where a zstd frame ends; None if it is damaged, cut off or very long."""
    descriptor, limit = head[4], min(size, at + LONGEST_FRAME)
    at += _fields(descriptor) + (int(bool(descriptor & 0x20)), 2, 4, 8)[descriptor >> 6]
    last = False
    while not last:
        file.seek(at)
        block = int.from_bytes(file.read(3), "little")
        last, kind = bool(block & 1), block >> 1 & 3
        at += 3 + (1 if kind == 1 else block >> 3)  # of a run (1) one byte is stored
        if kind == 3 or at > limit:
            return None
    at += 4 * bool(descriptor & 4)
    return at if at <= size else None


def _members(file: BinaryIO, size: int, at: int = 0, unpacked: int = 0) -> Frames | None:
    """The members of a .gz file from `at` on, if each says where it ends."""
    edges, plain = array("q", [at]), array("q", [unpacked])
    file.seek(at)
    while at < size:
        head = file.read(BGZF_HEAD.size)
        if len(head) < BGZF_HEAD.size:
            return None
        magic, _, _, _, extra, name, width, length = BGZF_HEAD.unpack(head)
        if (magic, extra, name, width) != (BGZF_MAGIC, 6, BGZF_FIELD, 2) or length + 1 < BGZF_HEAD.size + WORD.size:
            return None
        file.seek(at + length + 1 - WORD.size)
        end = file.read(WORD.size)
        if len(end) < WORD.size:
            return None
        at, unpacked = at + length + 1, unpacked + WORD.unpack(end)[0]
        edges.append(at)
        plain.append(unpacked)
    return Frames(np.array(edges), np.array(plain))


def _index(file: BinaryIO, url: str, size: int) -> Frames | None:
    """What stands in the `.gzi` file beside a .gz file: where its members begin, but for the first, stored and unpacked."""
    try:
        status = storage.status(f"{url}.gzi")
        data = storage.read(f"{url}.gzi") if status is not None and status.size <= LARGEST_TABLE else b""
    except (BatchError, JobError, UsageError):  # a bucket that may not be listed refuses the names that it does not have
        return None
    if len(data) < 24 or (len(data) - 8) % 16 or int.from_bytes(data[:8], "little") != (len(data) - 8) // 16:
        return None
    edges, plain = np.frombuffer(data, "<i8", offset=8).reshape(-1, 2).T
    if (np.diff(edges, prepend=0) <= 0).any() or (np.diff(plain, prepend=0) < 0).any() or not 0 < size - edges[-1] < UNINDEXED:
        return None
    rest = _members(file, size, int(edges[-1]), int(plain[-1]))
    return rest and Frames(*(np.concatenate(([0], a, b[1:])) for a, b in ((edges, rest.edges), (plain, rest.plain))))
