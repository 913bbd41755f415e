"""Facts about a shard's ids, counted as they are written: `facts/000042.*.parquet` beside the shard, each if it is asked for.

A new fact is one file here with `add` and `publish`, and a few lines in `writer.with_facts`.
"""

from tokenmill.facts.contamination import Known, known
from tokenmill.facts.writer import FactsWriter, with_facts

__all__ = ["FactsWriter", "Known", "known", "with_facts"]
