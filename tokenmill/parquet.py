"""Parquet files, opened to be read by the thread that asks and by no other.

Comes in: an open file. Goes out: a `ParquetFile` of it. Always holds: what is read of it afterwards (without `use_threads`) is
read in the caller's thread, so that nothing of Arrow's is at work on a Python file any more when the caller has its rows.
"""

from typing import Any, BinaryIO

import pyarrow.parquet as pq


def opened(file: BinaryIO, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    """Open a Parquet file; its footer is read unless `metadata` has it. Raises pyarrow.ArrowInvalid if it is none."""
    # pre_buffer, which is on by default (pyarrow 26), has a row group read by threads of Arrow's own; they let go of the Python
    # file when they like. A command that ended just then was aborted: `~PyBuffer` waits for the GIL, and what waits for it
    # while the interpreter ends is unwound out of a destructor ("terminate called without an active exception"): 1 of 150
    # processes that read one row group and ended, six at once on two cores; none of 150 without.
    options: dict[str, Any] = {"pre_buffer": False}
    return pq.ParquetFile(file, metadata=metadata, **options)
