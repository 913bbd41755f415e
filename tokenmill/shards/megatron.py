"""Megatron-LM's indexed dataset, `.bin` and `.idx`, writer beside reader.

Layout (Megatron-LM `megatron/core/datasets/indexed_dataset.py`): `.bin` is the tokens of all documents end to end, little
endian. `.idx` is `MMIDIDX\\0\\0`, u64 version 1, u8 dtype code, u64 sequences n, u64 documents + 1, then i32[n] lengths,
i64[n] byte pointers, i64[n + 1] document index. A document is one sequence here. All pointer arithmetic is 64 bits wide:
32-bit pointers overflow beyond 2 GiB of tokens (Megatron-LM #1672).
"""

import struct
from functools import cached_property
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from tokenmill import storage
from tokenmill.errors import BatchError, JobError
from tokenmill.job import FileDigest

MAGIC = b"MMIDIDX\x00\x00"
HEADER = struct.Struct("<9sQBQQ")
#: Megatron's codes for the two types it gives token ids.
CODES: dict[str, int] = {"int32": 4, "uint16": 8}
NAMES = {code: name for name, code in CODES.items()}


def dtype_for(vocab_size: int) -> Literal["uint16", "int32"]:
    """Megatron's own rule (`DType.optimal_dtype`): 16 bits below 65,500 ids, else int32; there is no code for uint32."""
    return "uint16" if vocab_size < 65500 else "int32"


class MegatronWriter:
    """Writes `shards/000042.bin` and `.idx` below an output folder."""

    def __init__(self, output: str, index: int, dtype: str) -> None:
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._output, self._paths = output, (f"shards/{index:06d}.bin", f"shards/{index:06d}.idx")
        self._bin = storage.writer(storage.join(output, self._paths[0]))
        self._lengths: list[NDArray[np.int32]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bin.discard()

    def append(self, ids: NDArray[np.uint32], lengths: NDArray[np.int64]) -> None:
        """Add documents. Raises JobError if an id does not fit, BatchError if a document has 2^31 tokens or more."""
        if len(ids) and int(ids.max()) > np.iinfo(self._dtype).max:
            raise JobError(f"token id {int(ids.max())} does not fit into {self._dtype}. Give --dtype int32.")
        if len(lengths) and int(lengths.max()) > np.iinfo(np.int32).max:
            raise BatchError("a document has more tokens than Megatron's 32-bit lengths can say. Lower --max-document-bytes.")
        same_width = ids.dtype.itemsize == self._dtype.itemsize  # then the bits are the same and nothing need be copied
        stored = ids.view(self._dtype) if same_width else ids.astype(self._dtype)
        self._bin.write(np.ascontiguousarray(stored).data.cast("B"))
        self._lengths.append(lengths.astype(np.int32))

    def publish(self) -> tuple[FileDigest, ...]:
        lengths = np.concatenate(self._lengths) if self._lengths else np.empty(0, np.int32)
        data = index(lengths, self._dtype)
        return (
            self._bin.publish(self._paths[0]),
            storage.put(storage.join(self._output, self._paths[1]), data, self._paths[1]),
        )


def index(lengths: NDArray[np.int32], dtype: np.dtype[np.integer]) -> bytes:
    """The content of `.idx` for documents of these lengths."""
    pointers = np.zeros(len(lengths), "<i8")
    np.cumsum(lengths[:-1].astype(np.int64) * dtype.itemsize, out=pointers[1:])
    documents = np.arange(len(lengths) + 1, dtype="<i8")
    header = HEADER.pack(MAGIC, 1, CODES[dtype.name], len(lengths), len(documents))
    return b"".join((header, lengths.astype("<i4").tobytes(), pointers.tobytes(), documents.tobytes()))


class MegatronReader:
    """Reads a shard by memory map. Raises JobError if the two files do not belong together or are cut off."""

    def __init__(self, output: str, index: int) -> None:
        stem = storage.join(output, f"shards/{index:06d}")
        data = storage.read(stem + ".idx")
        if len(data) < HEADER.size or data[:9] != MAGIC:
            raise JobError(f"{stem}.idx is no Megatron index. Run: tokenmill verify {output}")
        _, version, code, sequences, documents = HEADER.unpack_from(data)
        expected = HEADER.size + 12 * sequences + 8 * documents
        if version != 1 or code not in NAMES or len(data) != expected:
            what = f"{len(data)} bytes, its header asks for {expected}"
            raise JobError(f"{stem}.idx is damaged: {what}. Run: tokenmill verify {output}")
        self._dtype = np.dtype(NAMES[code]).newbyteorder("<")
        self.lengths = np.frombuffer(data, "<i4", sequences, HEADER.size)
        self._pointers = np.frombuffer(data, "<i8", sequences, HEADER.size + 4 * sequences)
        size = int(self.lengths.sum(dtype=np.int64)) * self._dtype.itemsize
        status = storage.status(stem + ".bin")
        if status is None or status.size != size:
            found = "missing" if status is None else f"{status.size} bytes long"
            raise JobError(f"{stem}.bin is {found}, its index asks for {size}. Run: tokenmill verify {output}")
        self._bin = stem + ".bin" if size else None

    @cached_property
    def ids(self) -> NDArray[np.integer]:
        """All ids; where they have to be copied from afar, whoever asks for lengths alone does without."""
        return storage.mapped(self._bin, self._dtype) if self._bin else np.empty(0, self._dtype)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, document: int) -> NDArray[np.integer]:
        start = int(self._pointers[document]) // self._dtype.itemsize
        return self.ids[start : start + int(self.lengths[document])]
