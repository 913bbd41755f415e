"""What every code point is to the reference's regular expressions and normalizers: one byte each, in a two-level table.

Comes in: a version of `tokenizers`. Goes out: the table that was probed out of that version (`probe.py`), which the package
brings along. Always holds: a table is used with the very version it was probed from, and is byte for byte what was probed.
Versions differ in which letters they know, so another one's table would change ids silently.
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TABLES = Path(__file__).with_name("tables")
#: Version of `tokenizers` -> sha256 of its table's file.
SHA256 = {"0.23.3": "6a7c340333aea3efaf28668d62bf2e50752e66c9c299b8c1eccf3ee286f99091"}
#: Code points to a block, and all of them.
BLOCK = 256
POINTS = 0x110000


class Kind(IntEnum):
    """What a code point is, in the low four bits of its class; `kernels/unicode.h` says what each stands for."""

    OTHER = 0
    UPPER = 1
    LOWER = 2
    LETTER = 3
    MARK = 4
    NUMBER = 5
    SYMBOL = 6
    BLANK = 7
    NEWLINE = 8


class Flag(IntFlag):
    """What else is said of a code point, in the high bits of its class."""

    CJK = 0x10
    REORDERED = 0x40
    UNSTABLE = 0x80


@dataclass(frozen=True, slots=True)
class Classes:
    """The class of every code point: that of c is blocks[index[c >> 8] << 8 | c & 255]."""

    #: uint16, one per 256 code points.
    index: NDArray[np.uint16]
    #: uint8, 256 per block; block 0 is ASCII's.
    blocks: NDArray[np.uint8]

    @property
    def bytes(self) -> bytes:
        """The table as its file holds it: the index, little-endian, and the blocks."""
        return self.index.astype("<u2").tobytes() + self.blocks.tobytes()

    @property
    def sha256(self) -> str:
        """Of the table's file."""
        return hashlib.sha256(self.bytes).hexdigest()

    def of(self, points: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """The classes of some code points."""
        block = self.index[points >> 8].astype(np.uint32)
        found: NDArray[np.uint8] = self.blocks[(block << 8) | (points & 255)]
        return found


def table_of(version: str) -> Path:
    """Where the table of a version of `tokenizers` lies, or would lie."""
    return TABLES / f"tokenizers-{version}.bin"


def classes_of(version: str) -> Classes | None:
    """The table that was probed out of a version of `tokenizers`; None if none was, or if it is not the one that was."""
    if version not in SHA256 or not table_of(version).exists():
        return None
    data = table_of(version).read_bytes()
    found = Classes(np.frombuffer(data, "<u2", POINTS // BLOCK), np.frombuffer(data, np.uint8, offset=2 * POINTS // BLOCK))
    return found if found.sha256 == SHA256[version] else None


def from_points(classes: NDArray[np.uint8]) -> Classes:
    """The table of one class per code point, equal blocks once, in the order of their first use."""
    _, first, inverse = np.unique(classes.reshape(-1, BLOCK), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return Classes(np.argsort(order).astype(np.uint16)[inverse], classes.reshape(-1, BLOCK)[first[order]].ravel())
