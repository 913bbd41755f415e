"""OLMo-core's and dolma's token arrays, `.npy` and `.csv.gz`, writer beside reader.

Layout (dolma `tokenizer/memmap_writer.py`, OLMo-core `data/utils.py`): `.npy` is, despite its name, the bare ids of all
documents end to end, u16 or u32, little endian. `.csv.gz` has a row a document: start, end, id, src, loc; start and end count
tokens, OLMo-core reads these two. The id is shard and document; src and loc are left empty. Whoever reads the ids has to know
how wide they are, so the names of the files say it: OLMo-core's `dtype`.
"""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from tokenmill import storage
from tokenmill.record import FileDigest
from tokenmill.shards.contract import Format
from tokenmill.shards.flat import FlatReader, FlatWriter, damaged, dtype_there, index_of
from tokenmill.shards.ids import offsets_of

#: Rows that are turned into text at a time.
ROWS = 1 << 16
#: A stored block of deflate says its length in 16 bits.
STORED = 65_535
DTYPES = ("uint16", "uint32")


def _stem(index: int, dtype: str) -> str:
    return f"shards/{index:06d}.{dtype}"


class OlmoWriter(FlatWriter):
    """Writes `shards/000042.uint16.npy` and `.csv.gz` below an output folder."""

    def __init__(self, output: str, index: int, dtype: str) -> None:
        super().__init__(output, f"{_stem(index, dtype)}.npy", dtype)
        self._index, self._rows_path = index, f"{_stem(index, dtype)}.csv.gz"

    def publish(self) -> tuple[FileDigest, ...]:
        rows = gzipped(_rows(self._index, offsets_of(self._all_lengths)))
        return (
            self._file.publish(self._path),
            storage.put(storage.join(self._output, self._rows_path), rows, self._rows_path),
        )


def _rows(index: int, offsets: NDArray[np.int64]) -> Iterator[bytes]:
    """The CSV, some thousand rows at a time."""
    options = csv.WriteOptions(include_header=False, quoting_style="none")
    for first in range(0, len(offsets) - 1, ROWS):
        some = offsets[first : first + ROWS + 1]
        numbers: Any = pa.array(np.arange(first, first + len(some) - 1)).cast(pa.string())
        empty: Any = pa.repeat(pa.scalar(""), len(numbers))
        shard: Any = pa.repeat(pa.scalar(f"{index:06d}-"), len(numbers))
        ids = pc.binary_join_element_wise(shard, numbers, empty)
        table = pa.table({"start": some[:-1], "end": some[1:], "id": ids, "src": empty, "loc": empty})
        text = BytesIO()
        csv.write_csv(table, text, options)
        yield text.getvalue()


def gzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """A gzip member of stored blocks, without a time in it.

    Not compressed on purpose: what deflate makes of the same bytes differs between zlib and zlib-ng, and so between hosts of
    one job (law 2). The rows are about 1 % of a shard.
    """
    yield b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    crc, size = 0, 0
    for piece in pieces:
        crc, size = zlib.crc32(piece, crc), size + len(piece)
        for start in range(0, len(piece), STORED):
            block = piece[start : start + STORED]
            yield struct.pack("<BHH", 0, len(block), len(block) ^ 0xFFFF) + block
    yield struct.pack("<BHHII", 1, 0, 0xFFFF, crc, size & 0xFFFFFFFF)


class OlmoReader(FlatReader):
    """Reads a shard by memory map. Raises JobError if the two files do not belong together or are cut off."""

    def __init__(self, output: str, index: int) -> None:
        dtype = dtype_there(output, {dtype: f"{_stem(index, dtype)}.npy" for dtype in DTYPES})
        rows_path = f"{_stem(index, dtype)}.csv.gz"
        data = index_of(output, rows_path)
        try:
            unpacked = zlib.decompressobj(wbits=31)
            offsets = _offsets(unpacked.decompress(data)) if data else None
        except (zlib.error, pa.ArrowException, ValueError) as error:
            raise damaged(output, rows_path, f"is no table of documents ({error})") from error
        if offsets is None or not unpacked.eof or unpacked.unused_data:
            raise damaged(output, rows_path, "is cut off, or a document does not begin where the one before it ends")
        super().__init__(output, f"{_stem(index, dtype)}.npy", dtype, np.diff(offsets))


def _offsets(rows: bytes) -> NDArray[np.int64] | None:
    """Where documents begin and end; None if they do not stand end to end."""
    if not rows:
        return np.zeros(1, np.int64)
    names = ["start", "end", "id", "src", "loc"]
    types = {name: pa.int64() if name in ("start", "end") else pa.string() for name in names}
    table = csv.read_csv(
        BytesIO(rows), csv.ReadOptions(column_names=names), convert_options=csv.ConvertOptions(column_types=types)
    )
    start, end = (cast("NDArray[np.int64]", table[name].to_numpy()) for name in ("start", "end"))
    offsets = np.concatenate([[0], end])
    return offsets if np.array_equal(offsets[:-1], start) and int(np.diff(offsets).min()) >= 0 else None


#: `NumpyDatasetConfig.get_dtype`: the narrowest unsigned type that holds all ids; 256 or fewer need `dtype=uint16`.
FORMAT = Format(writer=OlmoWriter, reader=OlmoReader, suffixes=(".npy", ".csv.gz"), wide="uint32")
