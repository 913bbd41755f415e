"""The words that users choose from. Imports nothing, since `tokenmill --help` needs them."""

from typing import Literal

#: The shard formats: one file in `tokenmill.shards` each.
FormatName = Literal["megatron", "parquet", "arrow", "olmo", "datatrove", "litdata", "mds", "llmc", "numpy"]
#: What ids are stored as.
Dtype = Literal["uint16", "int32", "uint32"]
#: The same, or what the format's own tools would take for the vocabulary.
DtypeChoice = Literal["auto", "uint16", "int32", "uint32"]
#: How documents come into packed rows: end to end and cut where a row ends, or whole.
PackMethod = Literal["concatenate", "best-fit"]
