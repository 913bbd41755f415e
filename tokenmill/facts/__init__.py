"""Facts about a shard's ids, counted as they are written: `facts/000042.*.parquet` beside the shard, each if it is asked for.

A new fact is one file here with `add` and `publish`, and one line in `writer.facts_of`.
"""

from tokenmill.facts.writer import FactsWriter, with_facts

__all__ = ["FactsWriter", "with_facts"]
