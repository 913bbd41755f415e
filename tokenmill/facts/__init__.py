"""Facts about a shard's ids, counted as they are written: `facts/000042.*.parquet` beside the shard, each if it is asked for.

They are computed here, where the shard is written, and not where its text is encoded, though that may be a GPU: in between
documents are dropped, cut up, shuffled and dealt to parts, and the ids of some come from the CPU. Only here are the ids those
of the shard, in its order. To send them to a GPU once more takes four bytes a token, about one for each byte of text.

A new fact is one file here with `add` and `publish`, a field of `contract.Told` with who computes it (`arithmetic`, `device`),
and a few lines in `writer.with_facts`.
"""

from tokenmill.facts.arithmetic import Processor, Proved
from tokenmill.facts.contract import Arithmetic, Asked
from tokenmill.facts.testsets import Known, known
from tokenmill.facts.writer import FactsWriter, asked_of, with_facts

__all__ = ["Arithmetic", "Asked", "FactsWriter", "Known", "Processor", "Proved", "asked_of", "known", "with_facts"]
