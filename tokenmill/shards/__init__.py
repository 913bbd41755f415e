"""Room 3, shards: token arrays in, files on disk out, and back.

A new format is one file here, writer beside reader, and one line in each table below.
"""

from collections.abc import Callable

from tokenmill.shards.contract import ShardReader, ShardWriter
from tokenmill.shards.megatron import MegatronReader, MegatronWriter, dtype_for

__all__ = ["READERS", "WRITERS", "ShardReader", "ShardWriter", "dtype_for"]

#: format -> (output, batch index, dtype) -> writer
WRITERS: dict[str, Callable[[str, int, str], ShardWriter]] = {"megatron": MegatronWriter}
#: format -> (output, batch index) -> reader
READERS: dict[str, Callable[[str, int], ShardReader]] = {"megatron": MegatronReader}
