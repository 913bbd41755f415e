"""`TokenDataset`: what a training loop imports. A sealed output as one sequence of documents.

from tokenmill.reader import TokenDataset
tokens = TokenDataset("corpus-qwen3")
tokens[0]          # NumPy array of the first document's ids, a view into the shard file
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

import numpy as np
import tokenizers
from numpy.typing import NDArray

from tokenmill import storage
from tokenmill.errors import JobError
from tokenmill.job import FileDigest
from tokenmill.ledger import Ledger
from tokenmill.shards import READERS, ShardReader
from tokenmill.tokenizers import Model


class TokenDataset:
    """All documents of a sealed output, in source order. Opening checks that every shard file is there and whole in size."""

    def __init__(self, output: str, *, hashes: bool = False) -> None:
        """
        Args:
            hashes: read every file once and compare its sha256 too; finds a flipped byte, at about 1 GB/s.

        Raises JobError if the output is not sealed, or a file is missing or not what the manifest says.
        """
        self._ledger = Ledger(output)
        manifest = self._ledger.manifest()
        if manifest is None:
            raise JobError(f"{output} is not sealed (no manifest.json). Run the same `tokenmill run` again to finish it.")
        self.manifest = manifest
        for shard in manifest.shards:
            for file in shard.files:
                self._check(file, hashes)
        self._ends = list(accumulate(shard.documents for shard in manifest.shards))
        self._open: dict[int, ShardReader] = {}

    def _check(self, file: FileDigest, hashes: bool) -> None:
        url = self._ledger.url(file.path)
        found = storage.status(url)
        if found is None:
            wrong = "is missing"
        elif found.size != file.bytes:
            wrong = f"is {found.size} bytes long, the manifest says {file.bytes}"
        elif hashes and storage.digest(url, file.path).sha256 != file.sha256:
            wrong = "has changed since the job was sealed"
        else:
            return
        raise JobError(f"{url} {wrong}. Run: tokenmill verify {self._ledger.output}")

    def __len__(self) -> int:
        return self.manifest.documents

    def __getitem__(self, document: int) -> NDArray[np.integer]:
        """The ids of one document, BOS and EOS included."""
        if not 0 <= document < len(self):
            raise IndexError(f"document {document} of {len(self)}")
        shard = bisect_right(self._ends, document)
        before = self._ends[shard - 1] if shard else 0
        return self.shard(shard)[document - before]

    def __iter__(self) -> Iterator[NDArray[np.integer]]:
        return (self[document] for document in range(len(self)))

    def tokenizer(self) -> tokenizers.Tokenizer:
        """The job's own tokenizer, from the output; no hub is asked."""
        url = self._ledger.url("tokenizer/tokenizer.json")
        return Model(storage.read(url), url).reference()

    def shard(self, position: int) -> ShardReader:
        """The reader of one shard by its place in the manifest; kept open."""
        if position not in self._open:
            reader = READERS[self.manifest.format]
            self._open[position] = reader(self._ledger.output, self.manifest.shards[position].index)
        return self._open[position]
