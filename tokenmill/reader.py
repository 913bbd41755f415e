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
        files = {self._ledger.url(file.path): file for shard in manifest.shards for file in shard.files}
        # by listings: a request for each file of a large job takes hours where the storage is far away
        sizes = {url: found.size for folder in {url.rpartition("/")[0] for url in files} for url, found in storage.walk(folder)}
        for url, file in files.items():
            self._check(url, sizes.get(url), file, hashes)
        self._ends = list(accumulate(shard.documents for shard in manifest.shards))
        self._open: dict[int, ShardReader] = {}

    def _check(self, url: str, size: int | None, file: FileDigest, hashes: bool) -> None:
        if size is None:
            wrong = "is missing"
        elif size != file.bytes:
            wrong = f"is {size} bytes long, the manifest says {file.bytes}"
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
        """The reader of one shard by its place in the manifest; kept open, until `forget`."""
        if position not in self._open:
            reader = READERS[self.manifest.format]
            self._open[position] = reader(self._ledger.output, self.manifest.shards[position].index)
        return self._open[position]

    def forget(self, position: int) -> None:
        """Close a shard: one in an object store takes disk here, for its copy, as long as it or a view into it is in use."""
        self._open.pop(position, None)
