"""MosaicML's MDS shards, `.mds` and `index.json`, for `streaming.StreamingDataset` and llm-foundry, writer beside reader.

Layout (streaming `base/format/mds/writer.py`, `encodings.py`): u32 samples, u32[samples + 1] offsets from the beginning of the
file, the columns as JSON, the samples. So a shard stays below 4 GiB. A sample has one column, `tokens`, of encoding
`ndarray:uint16` or `ndarray:int32`: u32 bytes of what follows, u8 4 + k, the number of ids in 1, 2 or 4 bytes (k = 0, 1, 2),
the ids. `index.json` names the shards, with the sha256 that `StreamingDataset(validate_hash="sha256")` compares.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tokenmill import storage
from tokenmill.manifest import Shard, Totals
from tokenmill.record import FileDigest
from tokenmill.shards.contract import Format
from tokenmill.shards.flat import HeadedWriter, check_size, damaged, head_of, size_of
from tokenmill.shards.folder import rows_between
from tokenmill.shards.ids import offsets_32, offsets_of, stored

DTYPES = ("uint16", "int32")
INDEX = "shards/index.json"


def _config(dtype: str) -> dict[str, object]:
    """What a shard says of its columns."""
    return {
        "column_encodings": [f"ndarray:{dtype}"],
        "column_names": ["tokens"],
        "column_sizes": [None],
        "compression": None,
        "format": "mds",
        "hashes": ["sha256"],
        "size_limit": None,
        "version": 2,
    }


def _head(dtype: str) -> bytes:
    return json.dumps(_config(dtype), sort_keys=True).encode()


def _prefixes(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Bytes before the ids of each sample."""
    return 6 + (lengths >= 1 << 8).astype(np.int64) + 2 * (lengths >= 1 << 16)


class MdsWriter(HeadedWriter):
    """Writes `shards/000042.mds` below an output folder."""

    def __init__(self, output: str, index: int, dtype: str) -> None:
        super().__init__(output, f"shards/{index:06d}.mds", dtype)

    def append(self, ids: NDArray[np.uint32], lengths: NDArray[np.int64]) -> None:
        """Add documents. Raises JobError if an id does not fit, BatchError if a document has 2^31 tokens or more."""
        self._write(samples(stored(ids, lengths, self._dtype), lengths))
        self._lengths.append(lengths.copy())

    def publish(self) -> tuple[FileDigest, ...]:
        """Raises JobError if the shard has 4 GiB or more."""
        lengths, head = self._all_lengths, _head(self._dtype.name)
        sizes = _prefixes(lengths) + lengths * self._dtype.itemsize
        offsets = offsets_32(4 * (len(lengths) + 2) + len(head) + offsets_of(sizes))
        return (self._publish_behind(len(lengths).to_bytes(4, "little") + offsets + head),)


def samples(ids: NDArray[np.integer], lengths: NDArray[np.int64]) -> memoryview:
    """The documents as samples end to end: two columns of bytes, joined row by row in C++."""
    width, prefixes = ids.dtype.itemsize, _prefixes(lengths)
    fields = np.zeros((len(lengths), 9), np.uint8)
    fields[:, :4] = (prefixes - 4 + lengths * width).astype("<u4")[:, None].view(np.uint8)
    fields[:, 4] = 4 + (lengths >= 1 << 8) + (lengths >= 1 << 16)
    fields[:, 5:] = lengths.astype("<u4")[:, None].view(np.uint8)  # little endian: the first of these bytes are the short forms
    kept = fields[np.arange(9) < prefixes[:, None]]
    columns = _binary(kept, offsets_of(prefixes)), _binary(ids.view(np.uint8), offsets_of(lengths) * width)
    joined: Any = pc.binary_join_element_wise(*columns, pa.scalar(b"", pa.large_binary()))
    return memoryview(joined.buffers()[2] or b"")[: int(prefixes.sum()) + len(ids) * width]


def _binary(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Any:
    """A column of bytes out of its buffers; pyarrow's types know too little of them."""
    buffers: list[Any] = [None, pa.py_buffer(cast("memoryview", offsets)), pa.py_buffer(cast("memoryview", data))]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


class MdsReader:
    """Reads a shard by memory map. Raises JobError if it is cut off, or is not as its own offsets say."""

    def __init__(self, output: str, index: int) -> None:
        path = f"shards/{index:06d}.mds"
        count = int.from_bytes(head_of(output, path, 4), "little")
        longest = 4 * (count + 2) + max(len(_head(dtype)) for dtype in DTYPES)
        if size_of(output, path) < 4 * (count + 2):
            raise damaged(output, path, f"is cut off within the offsets of {count} samples")
        head = head_of(output, path, longest)
        offsets = np.frombuffer(head, "<u4", count + 1, 4).astype(np.int64)
        text = head[4 * (count + 2) : int(offsets[0])]
        dtype = next((dtype for dtype in DTYPES if text == _head(dtype)), None)
        if dtype is None:
            raise damaged(output, path, "is no MDS shard with tokens of ours")
        self._dtype: np.dtype[np.integer] = np.dtype(dtype).newbyteorder("<")
        check_size(output, path, int(offsets[-1]))
        lengths, left = _lengths(np.diff(offsets), self._dtype.itemsize)
        if left:
            raise damaged(output, path, "is damaged: its offsets are not those of tokens")
        self.lengths: NDArray[np.int32] = lengths.astype(np.int32)
        self._starts = offsets[:-1] + _prefixes(lengths)
        self._url = storage.join(output, path)

    @cached_property
    def _bytes(self) -> NDArray[np.uint8]:
        return storage.mapped(self._url, np.dtype(np.uint8))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, document: int) -> NDArray[np.integer]:
        start = int(self._starts[document])
        return self._bytes[start : start + int(self.lengths[document]) * self._dtype.itemsize].view(self._dtype)

    def span(self, start: int, stop: int) -> NDArray[np.integer]:
        """The ids of the documents [start, stop), end to end."""
        return np.concatenate([np.empty(0, self._dtype), *(self[document] for document in range(start, stop))])


def _lengths(sizes: NDArray[np.int64], width: int) -> tuple[NDArray[np.int64], bool]:
    """Ids of samples of so many bytes, and whether some size is none that a sample can have."""
    lengths = (sizes - 6) // width
    for prefix, least in ((7, 1 << 8), (9, 1 << 16)):
        longer = (sizes - prefix) // width >= least
        lengths = np.where(longer, (sizes - prefix) // width, lengths)
    wrong = (lengths < 0) | (_prefixes(lengths) + lengths * width != sizes)
    return lengths, bool(wrong.any())


def seal(totals: Totals, shards: Callable[[], Iterable[Shard]]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """`index.json`; a shard without samples is left out, since streaming refuses it."""
    rows = (
        {
            **_config(totals.dtype),
            "raw_data": {
                "basename": shard.files[0].path.removeprefix("shards/"),
                "bytes": shard.files[0].bytes,
                "hashes": {"sha256": shard.files[0].sha256},
            },
            "samples": shard.stored_documents,
            "zip_data": None,
        }
        for shard in shards()
        if shard.stored_documents
    )
    yield INDEX, rows_between(b'{"shards": [', rows, b'], "version": 2}\n')


FORMAT = Format(writer=MdsWriter, reader=MdsReader, suffixes=(".mds",), wide="int32", seal=seal)
