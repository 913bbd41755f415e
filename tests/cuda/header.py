"""kernels/pretokens.h as compiled for a CPU, and what it is held against: the reference's own pre-tokenizers."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from numpy.typing import NDArray
from tokenizers import pre_tokenizers

import tokenmill.engines.cuda
from tokenmill.engines.cuda.classes import classes_of
from tokenmill.engines.cuda.families import PATTERNS, Family

KERNELS = Path(tokenmill.engines.cuda.__file__).with_name("kernels")
CLASSES = classes_of(tokenizers.__version__)
#: A noncharacter, which no test text holds: stands between the documents of a text that is shown to the reference at once.
BETWEEN = "\uffff"
#: Zero bytes before and behind a batch.
PADDING = 32


class Batch:
    """Documents end to end, as the kernels take them."""

    def __init__(self, documents: Iterable[bytes]) -> None:
        documents = list(documents)
        self.offsets = np.zeros(len(documents) + 1, np.uint32)
        np.cumsum([len(document) for document in documents], out=self.offsets[1:])
        self._padded = np.frombuffer(bytes(PADDING) + b"".join(documents) + bytes(PADDING), np.uint8)
        self.bytes = self._padded[PADDING:]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def size(self) -> int:
        """Bytes of all documents."""
        return int(self.offsets[-1])


class Header:
    """The header's two functions over whole batches."""

    def __init__(self, folder: Path, **macros: int) -> None:
        """Compiles it; `macros` change its constants. Skips without a compiler, which fails under CI."""
        compiler = shutil.which("g++")
        if compiler is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)("g++ is missing: the kernels' headers cannot be compiled")
        library = folder / "pretokens.so"
        options = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{KERNELS}"]
        options += [f"-D{name}={value}u" for name, value in macros.items()]
        source = Path(__file__).with_name("pretokens.cpp")
        subprocess.run([compiler, *options, str(source), "-o", str(library)], check=True)
        self._library = ctypes.CDLL(str(library))

    def starts(
        self, family: Family, batch: Batch, chunk: int | None = None, *, reverse: bool = False
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether a word begins at each byte, and whether each document is doubtful; with one chunk if none is given."""
        assert CLASSES is not None
        bits, doubtful = np.zeros(batch.size // 64 + 1, np.uint64), np.zeros(len(batch), np.uint8)
        self._library.mark(
            int(family), chunk or max(batch.size, 1), int(reverse), *_pointers(batch.bytes, batch.offsets), len(batch),
            *_pointers(CLASSES.index, CLASSES.blocks, bits, doubtful),
        )  # fmt: skip
        return np.unpackbits(bits.view(np.uint8), bitorder="little")[: batch.size].astype(np.bool_), doubtful != 0

    def doubtful(self, batch: Batch, chunk: int, *, normalized: bool = False, added: Sequence[bytes] = ()) -> NDArray[np.bool_]:
        """Whether each document is not certified."""
        assert CLASSES is not None
        tokens, doubtful = Batch(added), np.zeros(len(batch), np.uint8)
        begins = np.zeros(256, np.uint8)
        begins[[token[0] for token in added]] = 1
        self._library.certify(
            chunk, *_pointers(batch.bytes, batch.offsets), len(batch),
            *_pointers(CLASSES.index, CLASSES.blocks, CLASSES.beside), int(normalized),
            *_pointers(tokens.bytes, tokens.offsets), len(tokens), *_pointers(begins, doubtful),
        )  # fmt: skip
        return doubtful != 0


def _pointers(*arrays: NDArray[np.generic]) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(array.ctypes.data) for array in arrays]


class Reference:
    """The pre-tokenizer of a family, asked about many documents at once."""

    def __init__(self, family: Family) -> None:
        patterns = next(patterns for patterns, own in PATTERNS.items() if own == family)
        between = pre_tokenizers.Split(BETWEEN, behavior="removed")
        splits = [pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated") for pattern in patterns]
        self._apart = pre_tokenizers.Sequence([between, *splits])

    def starts(self, documents: Sequence[str]) -> NDArray[np.bool_]:
        """Whether a word begins at each byte of the documents' UTF-8, end to end."""
        text = BETWEEN.join(documents)
        found = np.zeros(len(text) + 1, np.bool_)
        found[[place[0] for _, place in self._apart.pre_tokenize_str(text)]] = True
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        kept = points != ord(BETWEEN)
        lengths = 1 + (points > 0x7F).astype(np.int64) + (points > 0x7FF) + (points > 0xFFFF)
        places = np.cumsum(lengths[kept]) - lengths[kept]
        starts = np.zeros(int(lengths[kept].sum()), np.bool_)
        starts[places[found[:-1][kept]]] = True
        return starts
