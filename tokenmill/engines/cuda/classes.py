"""What every code point is to the reference's regular expressions and to its NFC: a byte for each, in two-level tables.

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
SHA256 = {"0.23.3": "6fcac8e8afa5545588c0f2613902ab411804be2d1c2143910d59a7ad00c2eb35"}
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
    #: NFC may change it where it stands behind certain others: what its `Beside` is for.
    DEPENDENT = 0x40
    #: NFC changes it wherever it stands.
    UNSTABLE = 0x80


class Beside(IntFlag):
    """What NFC may make of a code point and its neighbours."""

    #: In these bits the rank of its canonical combining class; 0 is a starter's.
    RANK = 0x3F
    #: A starter that may become one with what follows, or a character that is made of several.
    HEAD = 0x40
    #: It may become one with what stands before it.
    FOLLOWER = 0x80


@dataclass(frozen=True, slots=True)
class Classes:
    """The class of every code point: that of c is blocks[index[c >> 8] << 8 | c & 255]."""

    #: uint16, one per 256 code points.
    index: NDArray[np.uint16]
    #: uint8, 256 per block; block 0 is ASCII's.
    blocks: NDArray[np.uint8]
    #: uint8, the `Beside` of each, in the same places.
    beside: NDArray[np.uint8]

    @property
    def bytes(self) -> bytes:
        """The table as its file holds it: the index, little-endian, the blocks, and what stands in their places besides."""
        return self.index.astype("<u2").tobytes() + self.blocks.tobytes() + self.beside.tobytes()

    @property
    def sha256(self) -> str:
        """Of the table's file."""
        return hashlib.sha256(self.bytes).hexdigest()

    def of(self, points: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """The classes of some code points."""
        found: NDArray[np.uint8] = self.blocks[self._places(points)]
        return found

    def beside_of(self, points: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """The `Beside` of some code points."""
        found: NDArray[np.uint8] = self.beside[self._places(points)]
        return found

    def _places(self, points: NDArray[np.uint32]) -> NDArray[np.uint32]:
        places: NDArray[np.uint32] = self.index[points >> 8].astype(np.uint32) << 8 | (points & 255)
        return places

    def stable(self, text: str) -> bool:
        """Whether NFC surely leaves a text as it is; never wrongly so. `pretokens.h` has the proof."""
        points = np.array([ord(c) for c in text], np.uint32)
        beside = self.beside_of(points)
        before, after = beside[:-1], beside[1:]
        rank = after & Beside.RANK
        joined = (after & Beside.FOLLOWER != 0) & (before != 0)
        swapped = (rank > 0) & (before & Beside.RANK > rank)
        return not (self.of(points) & Flag.UNSTABLE).any() and not (joined | swapped).any()


def table_of(version: str) -> Path:
    """Where the table of a version of `tokenizers` lies, or would lie."""
    return TABLES / f"tokenizers-{version}.bin"


def classes_of(version: str) -> Classes | None:
    """The table that was probed out of a version of `tokenizers`; None if none was, or if it is not the one that was."""
    if version not in SHA256 or not table_of(version).exists():
        return None
    data = table_of(version).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256[version]:
        return None
    blocks, beside = np.frombuffer(data, np.uint8, offset=2 * POINTS // BLOCK).reshape(2, -1)
    return Classes(np.frombuffer(data, "<u2", POINTS // BLOCK), blocks, beside)


def from_points(classes: NDArray[np.uint8], beside: NDArray[np.uint8]) -> Classes:
    """The table of a class and a `Beside` per code point, equal blocks once, in the order of their first use."""
    both = np.stack([classes.reshape(-1, BLOCK), beside.reshape(-1, BLOCK)], axis=1)
    _, first, inverse = np.unique(both, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    blocks = both[first[order]]
    return Classes(np.argsort(order).astype(np.uint16)[inverse], blocks[:, 0].ravel(), blocks[:, 1].ravel())
