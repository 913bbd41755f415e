"""`TokenDataset`: what a training loop imports. A sealed output as documents, as windows, and as batches for every rank.

    from tokenmill import TokenDataset
    from tokenmill.reader import Batches, Mixture, Shuffle

    tokens = TokenDataset("corpus-qwen3", tokenizer="qwen3/tokenizer.json")
    tokens[0]                                  # the first document's ids, a view into the shard file
    rows = tokens.windows(2048)                # the token stream in rows; a map-style dataset for torch
    batches = Batches(rows, 32, shuffle=Shuffle(seed=1), epochs=None)
    DataLoader(batches.stream(), batch_size=None, num_workers=2)

Everything here is NumPy; torch is imported by `tokenmill.reader.stream` alone.
"""

from tokenmill.reader.batches import Batch, Batches
from tokenmill.reader.dataset import TokenDataset
from tokenmill.reader.mixture import Mixture
from tokenmill.reader.order import Shuffle
from tokenmill.reader.rows import FIELDS, IGNORED, Rows, boundaries

__all__ = ["FIELDS", "IGNORED", "Batch", "Batches", "Mixture", "Rows", "Shuffle", "TokenDataset", "boundaries"]
