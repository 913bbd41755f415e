"""litdata's chunks, `chunk-*.bin` and `index.json`, for `StreamingDataset(…, item_loader=TokensLoader(block_size))`.

Layout (litdata `streaming/writer.py`, `item_loader.py`): a chunk is u32 items, u32[items + 1] byte offsets from its beginning,
the items: here documents, whose bytes are ids. So a chunk stays below 4 GiB. `index.json` names chunks with their bytes, items
(`chunk_size`) and tokens (`dim`), and how to read them: `no_header_tensor:20` is torch.uint16, `:16` torch.int32.
Nothing in a chunk says how wide its ids are, so the name of the file does.
"""

import json
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from tokenmill.manifest import Shard, Totals
from tokenmill.record import FileDigest
from tokenmill.shards.contract import Format
from tokenmill.shards.flat import FlatReader, HeadedWriter, damaged, dtype_there, head_of, size_of
from tokenmill.shards.folder import rows_between
from tokenmill.shards.ids import offsets_32, offsets_of

#: Places in `_TORCH_DTYPES_MAPPING` of litdata/constants.py.
PLACES = {"uint16": 20, "int32": 16}
INDEX = "shards/index.json"
#: A tree that is one leaf, as torch's `treespec_dumps` writes it.
LEAF = '[1, {"type": null, "context": null, "children_spec": []}]'


def _path(index: int, dtype: str) -> str:
    return f"shards/chunk-{dtype}-{index:06d}.bin"


class LitdataWriter(HeadedWriter):
    """Writes `shards/chunk-uint16-000042.bin` below an output folder."""

    def __init__(self, output: str, index: int, dtype: str) -> None:
        super().__init__(output, _path(index, dtype), dtype)

    def publish(self) -> tuple[FileDigest, ...]:
        """Raises JobError if the chunk has 4 GiB or more."""
        lengths = self._all_lengths
        start = 4 * (len(lengths) + 2)
        offsets = offsets_32(start + offsets_of(lengths) * self._dtype.itemsize)
        return (self._publish_behind(len(lengths).to_bytes(4, "little") + offsets),)


class LitdataReader(FlatReader):
    """Reads a chunk by memory map. Raises JobError if it is cut off, or its offsets are not those of documents."""

    def __init__(self, output: str, index: int) -> None:
        dtype = np.dtype(dtype_there(output, {dtype: _path(index, dtype) for dtype in PLACES}))
        path = _path(index, dtype.name)
        items = int.from_bytes(head_of(output, path, 4), "little")
        start = 4 * (items + 2)
        if size_of(output, path) < start:
            raise damaged(output, path, f"is cut off within the offsets of {items} documents")
        offsets = np.frombuffer(head_of(output, path, start), "<u4", items + 1, 4).astype(np.int64)
        sizes = np.diff(offsets)
        if offsets[0] != start or (len(sizes) and int(sizes.min()) < 0) or (sizes % dtype.itemsize).any():
            raise damaged(output, path, "is damaged: its offsets are not those of documents")
        super().__init__(output, path, dtype.name, sizes // dtype.itemsize, start)


def seal(totals: Totals, shards: Callable[[], Iterable[Shard]]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """`index.json`; a chunk without tokens is left out, since litdata cannot map it."""
    config = {
        "chunk_bytes": None,
        "chunk_size": None,
        "compression": None,
        "data_format": [f"no_header_tensor:{PLACES[totals.dtype]}"],
        "data_spec": LEAF,
        "encryption": None,
        "item_loader": "TokensLoader",
    }
    rows = (
        {
            "chunk_bytes": shard.files[0].bytes,
            "chunk_size": shard.stored_documents,
            "dim": shard.stored_tokens,
            "filename": shard.files[0].path.removeprefix("shards/"),
        }
        for shard in shards()
        if shard.tokens
    )
    yield INDEX, rows_between(b'{"chunks": [', rows, b'], "config": ' + json.dumps(config).encode() + b"}\n")


FORMAT = Format(writer=LitdataWriter, reader=LitdataReader, suffixes=(".bin",), wide="int32", seal=seal)
