"""datatrove's tokenized files, `.ds`, `.ds.index` and `.ds.metadata`: what nanotron and `DatatroveFolderDataset` read.

Layout (datatrove `pipeline/tokens/tokenizer.py`, `TokenizedFile`): `.ds` is the ids of all documents end to end, u16 or u32,
little endian. `.ds.index` is one u64 a document, where it ends, in tokens. `.ds.metadata` is text: name and bytes of a token,
tokens, the same for people. The tokenizer's name stands in the manifest; here it is what datatrove writes where it has none.
"""

import numpy as np

from tokenmill.record import FileDigest
from tokenmill.shards.contract import Format
from tokenmill.shards.flat import FlatReader, FlatWriter, damaged, index_of
from tokenmill.shards.ids import offsets_of

DTYPES = {2: "uint16", 4: "uint32"}


class DatatroveWriter(FlatWriter):
    """Writes `shards/000042.ds`, `.ds.index` and `.ds.metadata` below an output folder."""

    def __init__(self, output: str, index: int, dtype: str) -> None:
        super().__init__(output, f"shards/{index:06d}.ds", dtype)

    def publish(self) -> tuple[FileDigest, ...]:
        ends = offsets_of(self._all_lengths)
        return (
            self._file.publish(self._path),
            self._put(f"{self._path}.index", ends[1:].astype("<u8").tobytes()),
            self._put(f"{self._path}.metadata", metadata(int(ends[-1]), self._dtype.itemsize)),
        )


def metadata(tokens: int, size: int) -> bytes:
    """The content of `.ds.metadata`; the last line is `humanize.metric(tokens, unit="T")`, which nothing reads."""
    return f"Unknown Tokenizer|{size}|{size}\n{tokens}\n{_metric(tokens)}".encode()


def _metric(tokens: int) -> str:
    """Three digits and a prefix of a thousand, as humanize has it."""
    exponent = max(len(str(tokens)) - 1, 0)
    if round(tokens / 10 ** (exponent // 3 * 3), 2 - exponent % 3) >= 10 ** (exponent % 3 + 1):
        exponent += 1  # 999,950 is 1.00 M
    prefix = ("", "k", "M", "G", "T", "P", "E")[exponent // 3]
    return f"{tokens / 10 ** (exponent // 3 * 3):.{2 - exponent % 3}f} {prefix}T"


class DatatroveReader(FlatReader):
    """Reads a shard by memory map. Raises JobError if the three files do not belong together or are cut off."""

    def __init__(self, output: str, index: int) -> None:
        path = f"shards/{index:06d}.ds"
        data, stated = index_of(output, f"{path}.index"), index_of(output, f"{path}.metadata")
        ends = np.frombuffer(data[: len(data) // 8 * 8], "<u8").astype(np.int64)
        lengths, tokens = np.diff(ends, prepend=0), int(ends[-1]) if len(ends) else 0
        if len(data) % 8 or (len(lengths) and int(lengths.min()) < 0):
            raise damaged(output, f"{path}.index", "is damaged: its numbers are not those of documents")
        dtype = next((dtype for size, dtype in DTYPES.items() if stated == metadata(tokens, size)), None)
        if dtype is None:
            raise damaged(output, f"{path}.metadata", f"does not belong to {path}.index, which ends at {tokens} tokens")
        super().__init__(output, path, dtype, lengths)


#: `PipelineStepWithTokenizer.token_size`: 4 bytes where an id may be larger than 65,535.
FORMAT = Format(writer=DatatroveWriter, reader=DatatroveReader, suffixes=(".ds", ".ds.index", ".ds.metadata"), wide="uint32")
