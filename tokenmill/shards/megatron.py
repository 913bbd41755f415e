"""Megatron-LM's indexed dataset, `.bin` and `.idx`, writer beside reader.

Layout (Megatron-LM `megatron/core/datasets/indexed_dataset.py`): `.bin` is the tokens of all documents end to end, little
endian. `.idx` is `MMIDIDX\\0\\0`, u64 version 1, u8 dtype code, u64 sequences n, u64 documents + 1, then i32[n] lengths,
i64[n] byte pointers, i64[n + 1] document index. A document is one sequence here. All pointer arithmetic is 64 bits wide:
32-bit pointers overflow beyond 2 GiB of tokens (Megatron-LM #1672).
"""

import struct

import numpy as np
from numpy.typing import NDArray

from tokenmill.record import FileDigest
from tokenmill.shards.contract import Format
from tokenmill.shards.flat import FlatReader, FlatWriter, damaged, index_of

MAGIC = b"MMIDIDX\x00\x00"
HEADER = struct.Struct("<9sQBQQ")
#: Megatron's codes for the two types it gives token ids.
CODES: dict[str, int] = {"int32": 4, "uint16": 8}
NAMES = {code: name for name, code in CODES.items()}


class MegatronWriter(FlatWriter):
    """Writes `shards/000042.bin` and `.idx` below an output folder."""

    def __init__(self, output: str, index: int, dtype: str) -> None:
        super().__init__(output, f"shards/{index:06d}.bin", dtype)
        self._index_path = f"shards/{index:06d}.idx"

    def publish(self) -> tuple[FileDigest, ...]:
        data = index(self._all_lengths.astype(np.int32), self._dtype)
        return self._file.publish(self._path), self._put(self._index_path, data)


def index(lengths: NDArray[np.int32], dtype: np.dtype[np.integer]) -> bytes:
    """The content of `.idx` for documents of these lengths."""
    pointers = np.zeros(len(lengths), "<i8")
    np.cumsum(lengths[:-1].astype(np.int64) * dtype.itemsize, out=pointers[1:])
    documents = np.arange(len(lengths) + 1, dtype="<i8")
    header = HEADER.pack(MAGIC, 1, CODES[dtype.name], len(lengths), len(documents))
    return b"".join((header, lengths.astype("<i4").tobytes(), pointers.tobytes(), documents.tobytes()))


class MegatronReader(FlatReader):
    """Reads a shard by memory map. Raises JobError if the two files do not belong together or are cut off."""

    def __init__(self, output: str, index: int) -> None:
        path = f"shards/{index:06d}.idx"
        data = index_of(output, path)
        if len(data) < HEADER.size or data[:9] != MAGIC:
            raise damaged(output, path, "is no Megatron index")
        _, version, code, sequences, documents = HEADER.unpack_from(data)
        expected = HEADER.size + 12 * sequences + 8 * documents
        if version != 1 or code not in NAMES or documents != sequences + 1 or len(data) != expected:
            raise damaged(output, path, f"is damaged: {len(data)} bytes, its header asks for {expected}")
        lengths = np.frombuffer(data, "<i4", sequences, HEADER.size)
        super().__init__(output, f"shards/{index:06d}.bin", NAMES[code], lengths)


#: 16 bits below 65,500 ids, else int32, since there is no code for uint32: `DType.optimal_dtype`.
FORMAT = Format(writer=MegatronWriter, reader=MegatronReader, suffixes=(".bin", ".idx"), wide="int32", narrow_ids=65_499)
