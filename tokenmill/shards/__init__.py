"""Room 3, shards: token arrays in, files on disk out, and back.

A new format is one file here, writer beside reader, one line in the table below, and its name in `tokenmill.choices`. A format
is loaded when it is first asked for: whoever trains on Megatron's files has no use for pyarrow.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module

from tokenmill.choices import FormatName
from tokenmill.shards.contract import Format, ShardReader, ShardWriter

__all__ = ["FORMATS", "Format", "ShardReader", "ShardWriter"]

#: name -> the file here that has it as `FORMAT`
FILES: dict[FormatName, str] = {
    "megatron": "megatron",
    "parquet": "parquet",
    "arrow": "arrow",
    "olmo": "olmo",
    "datatrove": "datatrove",
    "litdata": "litdata",
    "mds": "mds",
    "llmc": "llmc",
    "numpy": "npy",
}


class Formats(Mapping[FormatName, Format]):
    """All formats, by name."""

    def __getitem__(self, name: FormatName) -> Format:
        found: Format = import_module(f"{__name__}.{FILES[name]}").FORMAT
        return found

    def __iter__(self) -> Iterator[FormatName]:
        return iter(FILES)

    def __len__(self) -> int:
        return len(FILES)


FORMATS = Formats()
