"""Plain NumPy, `.ids.npy` and `.offsets.npy`: `np.load(path, mmap_mode="r")` reads both, and needs nothing of ours.

Layout (NumPy `lib/format.py`, version 1.0): magic, version, the header as text, the array. `.ids.npy` is the ids of all
documents end to end, `.offsets.npy` int64: document i is ids[offsets[i]:offsets[i + 1]].
"""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from tokenmill.record import FileDigest
from tokenmill.shards.contract import Format
from tokenmill.shards.flat import FlatReader, HeadedWriter, damaged, head_of, index_of
from tokenmill.shards.ids import offsets_of

DTYPES = ("uint16", "int32")
#: More than any header of a one-dimensional array has.
HEADER_BYTES = 256


class NumpyWriter(HeadedWriter):
    """Writes `shards/000042.ids.npy` and `.offsets.npy` below an output folder."""

    def __init__(self, output: str, index: int, dtype: str) -> None:
        super().__init__(output, f"shards/{index:06d}.ids.npy", dtype)
        self._offsets_path = f"shards/{index:06d}.offsets.npy"

    def publish(self) -> tuple[FileDigest, ...]:
        offsets = offsets_of(self._all_lengths)
        head = _header(self._dtype, int(offsets[-1]))
        return self._publish_behind(head), self._put(self._offsets_path, npy_bytes(offsets.astype("<i8")))


def npy_bytes(array: NDArray[Any]) -> bytes:
    """A one-dimensional array as a `.npy` file."""
    return _header(array.dtype, len(array)) + array.tobytes()


def _header(dtype: np.dtype[Any], count: int) -> bytes:
    text = BytesIO()
    npy.write_array_header_1_0(text, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)})
    return text.getvalue()


def npy_header(output: str, path: str, head: bytes) -> tuple[str, int, int]:
    """Name of the type, number of elements and bytes of the header. Raises JobError if it is no header of a flat array."""
    file = BytesIO(head)
    try:
        if npy.read_magic(file) != (1, 0):
            raise ValueError("it is of another version")
        shape, _, dtype = npy.read_array_header_1_0(file)
        (count,) = shape
    except (ValueError, SyntaxError) as error:
        raise damaged(output, path, f"is no NumPy array of ours ({error})") from error
    return dtype.name, int(count), file.tell()


class NumpyReader(FlatReader):
    """Reads a shard by memory map. Raises JobError if the two files do not belong together or are cut off."""

    def __init__(self, output: str, index: int) -> None:
        path, offsets_path = f"shards/{index:06d}.ids.npy", f"shards/{index:06d}.offsets.npy"
        dtype, tokens, start = npy_header(output, path, head_of(output, path, HEADER_BYTES))
        data = index_of(output, offsets_path)
        kind, count, begin = npy_header(output, offsets_path, data)
        if dtype not in DTYPES:
            raise damaged(output, path, f"holds {dtype}, not ids of ours")
        if kind != "int64" or len(data) != begin + 8 * count or not count:
            raise damaged(output, offsets_path, "is damaged")
        offsets = np.frombuffer(data, "<i8", count, begin)
        lengths = np.diff(offsets)
        if offsets[0] or int(offsets[-1]) != tokens or (len(lengths) and int(lengths.min()) < 0):
            raise damaged(output, offsets_path, f"does not belong to {path}, which holds {tokens} tokens")
        super().__init__(output, path, dtype, lengths, start)


FORMAT = Format(writer=NumpyWriter, reader=NumpyReader, suffixes=(".ids.npy", ".offsets.npy"), wide="int32")
