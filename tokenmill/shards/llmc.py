"""llm.c's token files, `.bin`, which modded-nanogpt reads too, writer beside reader.

Layout (llm.c `dev/data/data_common.py`): 256 i32, of which the first three are magic, version and tokens, then the ids: magic
20240520, version 1 for u16, or 20240801, version 7 for u32. The count is an i32, so there are fewer than 2^31 tokens.
The format knows no documents: its readers tell them apart by BOS or EOS alone, and a job without either is refused. So that
nothing is lost, `.lengths.npy` beside it holds the tokens of each document (NumPy, int32); it is ours, llm.c does not see it.
"""

import numpy as np

from tokenmill.errors import JobError
from tokenmill.record import FileDigest
from tokenmill.shards.contract import Format
from tokenmill.shards.flat import FlatReader, HeadedWriter, damaged, head_of, index_of
from tokenmill.shards.npy import npy_bytes, npy_header

HEADER_BYTES = 1024
MAGIC = {"uint16": (20240520, 1), "uint32": (20240801, 7)}
NAMES = {magic: name for name, magic in MAGIC.items()}


class LlmcWriter(HeadedWriter):
    """Writes `shards/000042.bin` and `.lengths.npy` below an output folder."""

    def __init__(self, output: str, index: int, dtype: str) -> None:
        super().__init__(output, f"shards/{index:06d}.bin", dtype)
        self._lengths_path = f"shards/{index:06d}.lengths.npy"

    def publish(self) -> tuple[FileDigest, ...]:
        """Raises JobError if the shard has 2^31 tokens or more."""
        lengths = self._all_lengths
        head = header(int(lengths.sum()), self._dtype.name)
        return self._publish_behind(head), self._put(self._lengths_path, npy_bytes(lengths.astype("<i4")))


def header(tokens: int, dtype: str) -> bytes:
    """The first kilobyte of a file. Raises JobError if 31 bits cannot say so many tokens."""
    if tokens >= 1 << 31:
        raise JobError(f"{tokens:,} tokens in one shard are more than llm.c's header can say. Give a smaller --batch-bytes.")
    fields = np.zeros(HEADER_BYTES // 4, "<i4")
    fields[:3] = (*MAGIC[dtype], tokens)
    return fields.tobytes()


class LlmcReader(FlatReader):
    """Reads a shard by memory map. Raises JobError if the two files do not belong together or are cut off."""

    def __init__(self, output: str, index: int) -> None:
        path, lengths_path = f"shards/{index:06d}.bin", f"shards/{index:06d}.lengths.npy"
        head, data = head_of(output, path, HEADER_BYTES), index_of(output, lengths_path)
        fields = np.frombuffer(head[: len(head) // 4 * 4], "<i4").tolist()
        dtype = NAMES.get((fields[0], fields[1])) if len(fields) == HEADER_BYTES // 4 else None
        if dtype is None or any(fields[3:]):
            raise damaged(output, path, "is no token file of llm.c's")
        kind, count, start = npy_header(output, lengths_path, data)
        if kind != "int32" or len(data) != start + 4 * count:
            raise damaged(output, lengths_path, "is damaged")
        lengths = np.frombuffer(data, "<i4", count, start)
        if int(lengths.sum(dtype=np.int64)) != fields[2]:
            raise damaged(output, lengths_path, f"does not belong to {path}, which holds {fields[2]} tokens")
        super().__init__(output, path, dtype, lengths, HEADER_BYTES)


FORMAT = Format(writer=LlmcWriter, reader=LlmcReader, suffixes=(".bin", ".lengths.npy"), wide="uint32", needs_ends=True)
