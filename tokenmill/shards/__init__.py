"""Room 3, shards: token arrays in, files on disk out, and back.

A new format is one file here, writer beside reader, one line in the table below, and its name in `tokenmill.choices`.
"""

from collections.abc import Callable

from tokenmill.choices import FormatName
from tokenmill.shards import arrow, datatrove, litdata, llmc, mds, megatron, npy, olmo, parquet
from tokenmill.shards.contract import Format, ShardReader, ShardWriter

__all__ = ["FORMATS", "READERS", "WRITERS", "Format", "ShardReader", "ShardWriter"]

FORMATS: dict[FormatName, Format] = {
    "megatron": megatron.FORMAT,
    "parquet": parquet.FORMAT,
    "arrow": arrow.FORMAT,
    "olmo": olmo.FORMAT,
    "datatrove": datatrove.FORMAT,
    "litdata": litdata.FORMAT,
    "mds": mds.FORMAT,
    "llmc": llmc.FORMAT,
    "numpy": npy.FORMAT,
}
#: format -> (output, batch index, dtype) -> writer
WRITERS: dict[str, Callable[[str, int, str], ShardWriter]] = {name: found.writer for name, found in FORMATS.items()}
#: format -> (output, batch index) -> reader
READERS: dict[str, Callable[[str, int], ShardReader]] = {name: found.reader for name, found in FORMATS.items()}
