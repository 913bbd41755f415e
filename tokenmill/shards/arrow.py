"""Arrow IPC streams, `.arrow`, and what makes their folder one that `datasets.load_from_disk` opens, writer beside reader.

Layout (Arrow columnar format, IPC streaming; `datasets/arrow_dataset.py`, `save_to_disk`): one column, `input_ids`, of lists of
uint16 or int32, in record batches of about a million ids. `shards/state.json` names the files in order, `dataset_info.json` is
empty but for its keys: `datasets` takes the features from the files.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenmill import storage
from tokenmill.manifest import Shard, Totals
from tokenmill.shards.contract import Format
from tokenmill.shards.flat import damaged, head_of, size_of
from tokenmill.shards.folder import rows_between
from tokenmill.shards.ids import offsets_of
from tokenmill.shards.lists import COLUMN, BatchSink, ListReader, Lists, ListWriter, dtype_of, unpacked

#: How a stream begins, and how it ends: a reader takes one that is cut off between two batches for a whole one otherwise.
CONTINUED, ENDED = b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\x00\x00\x00\x00"


class ArrowWriter(ListWriter):
    """Writes `shards/000042.arrow` below an output folder."""

    def __init__(self, output: str, index: int, dtype: str) -> None:
        super().__init__(output, f"shards/{index:06d}.arrow", dtype)

    def _open(self, file: pa.NativeFile) -> BatchSink:
        return pa.ipc.new_stream(file, self._schema)


class ArrowReader(ListReader):
    """Reads a shard by memory map. Raises JobError if it is cut off or holds anything but lists of ids."""

    def __init__(self, output: str, index: int) -> None:
        self._output, self._path = output, f"shards/{index:06d}.arrow"
        if head_of(output, self._path, len(CONTINUED)) != CONTINUED:
            raise damaged(output, self._path, "is no Arrow stream")
        with storage.open_input(storage.join(output, self._path), max(0, size_of(output, self._path) - len(ENDED))) as file:
            if file.read() != ENDED:
                raise damaged(output, self._path, "is cut off")

    @cached_property
    def _batches(self) -> list[Lists]:
        """All record batches, views into the file."""
        data = storage.mapped(storage.join(self._output, self._path), np.dtype(np.uint8))
        try:
            stream = pa.ipc.open_stream(pa.py_buffer(cast("memoryview", data)))
            if dtype_of(stream.schema) is None:
                raise damaged(self._output, self._path, f"has other columns than {COLUMN}")
            found = [batch.column(0) for batch in stream]
            for lists in found:
                lists.validate()
        except (pa.ArrowException, OSError) as error:
            raise damaged(self._output, self._path, f"is no whole Arrow stream ({error})") from error
        return [unpacked(lists) for lists in found]

    @cached_property
    def _firsts(self) -> NDArray[np.int64]:
        return offsets_of(np.array([len(offsets) - 1 for offsets, _ in self._batches], np.int64))

    def _batch(self, place: int) -> Lists:
        return self._batches[place]


def seal(totals: Totals, shards: Callable[[], Iterable[Shard]]) -> Iterator[tuple[str, Iterator[bytes]]]:  # noqa: ARG001
    """`state.json` and `dataset_info.json`; the fingerprint, by which `datasets` keeps results, is that of all files."""
    content = hashlib.sha256()
    for shard in shards():
        content.update(shard.files[0].sha256.encode())
    rows: Iterator[dict[str, object]] = ({"filename": shard.files[0].path.removeprefix("shards/")} for shard in shards())
    state: dict[str, object] = {
        "_fingerprint": content.hexdigest()[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    yield "shards/state.json", rows_between(b'{"_data_files": [', rows, b"], " + json.dumps(state).encode()[1:] + b"\n")
    info = {"citation": "", "description": "", "homepage": "", "license": ""}
    yield "shards/dataset_info.json", iter([json.dumps(info).encode() + b"\n"])


FORMAT = Format(writer=ArrowWriter, reader=ArrowReader, suffixes=(".arrow",), wide="int32", seal=seal)
