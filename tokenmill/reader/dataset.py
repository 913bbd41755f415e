"""A sealed output, checked and open: documents by number, tokens by range.

Comes in: the URL of an output, what it has to agree with, and how much of this disk it may use. Goes out: views into shard
files. Always holds: nothing is read from a job that is not sealed, of which a file is missing or short, or whose tokenizer is
not the one that was named; a shard that is fetched from afar is hashed on its way.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokenmill import storage
from tokenmill.errors import JobError, UsageError
from tokenmill.generations import RETIRED, Chain
from tokenmill.manifest import Manifest
from tokenmill.reader import identity
from tokenmill.reader.cache import ShardCache
from tokenmill.reader.sequences import Sequences
from tokenmill.reader.shard import OpenShard
from tokenmill.reader.windows import Documents, PieceWindows, Windows
from tokenmill.record import FileDigest
from tokenmill.shards import ShardReader
from tokenmill.union import union

if TYPE_CHECKING:
    import tokenizers


class TokenDataset:
    """All documents of a sealed output, in source order; of generations, one after the other.

    Opening checks that every shard file is there and whole in size.
    """

    def __init__(
        self,
        output: str,
        *,
        hashes: bool = False,
        tokenizer: Any = None,
        cache: str | None = None,
        cache_bytes: int | None = None,
        open_shards: int = 256,
    ) -> None:
        """
        Args:
            hashes: read every file once and compare its sha256 too; finds a flipped byte, at about 1 GB/s.
            tokenizer: the one you train with: a path, a sha256, or an object of `tokenizers` or `transformers`.
            cache: folder of this disk in which shards from an object store are kept, hashed as they come; processes share it.
            cache_bytes: how much may lie there; the least recently used shard goes first.
            open_shards: how many are held open; each takes about 30 bytes of memory a document.

        Raises JobError if the output is not sealed, a file is missing or not what the manifest says, or the tokenizer is
        another one.
        """
        self.output = storage.absolute(output)
        found = storage.find(storage.join(self.output, "manifest.json"))
        #: The outputs that it reads, in order: one, or the sealed generations of a growing corpus.
        self.outputs: tuple[str, ...] = (self.output,)
        if found is not None:
            self.manifest = Manifest.from_json(found, storage.join(self.output, "manifest.json"))
            self._manifests = [self.manifest]
        elif held := [*Chain(self.output).held()]:
            self.manifest = union(held)
            self.outputs, self._manifests = tuple(one.output for one in held), [one.manifest for one in held]
        else:
            raise JobError(f"{output} is not sealed (no manifest.json). Run the same `tokenmill run` again to finish it.")
        #: Which shard is the first of each output.
        self._firsts = [0, *accumulate(len(manifest.shards) for manifest in self._manifests)]
        some = next(
            (f"{url}/{one.parts[0].path}" for url, one in zip(self.outputs, self._manifests, strict=True) if one.parts), None
        )
        if some is not None:
            raise UsageError(f"{output} is split by {self.manifest.partition_by}. Open a part, such as {some}, or a Mixture.")
        if tokenizer is not None:
            identity.check(tokenizer, self.manifest.tokenizer, self.tokenizer, self.output)
        self._check(hashes)
        if cache_bytes is not None and cache is None:
            raise UsageError("cache_bytes says how large a cache may be; give cache=, the folder, too.")
        self._cache = None if cache is None or storage.is_local(self.output) else ShardCache(cache, cache_bytes)
        self._ends = list(accumulate(shard.documents for shard in self.manifest.shards))
        self._token_ends = list(accumulate(shard.stored_tokens for shard in self.manifest.shards))
        self._token_bounds = np.array([0, *self._token_ends], np.int64)
        self._open: OrderedDict[int, OpenShard] = OrderedDict()
        self._open_shards = open_shards

    def _check(self, hashes: bool) -> None:
        files = {storage.join(self.output, file.path): file for file in self._sealed_files()}
        # by listings: a request for each file of a large job takes hours where the storage is far away
        sizes = {url: found.size for folder in {url.rpartition("/")[0] for url in files} for url, found in storage.walk(folder)}
        for url, file in files.items():
            self._check_file(url, sizes.get(url), file, hashes)

    def _sealed_files(self) -> Iterator[FileDigest]:
        yield from self.manifest.folder_files
        for shard in self.manifest.shards:
            yield from shard.files

    def _check_file(self, url: str, size: int | None, file: FileDigest, hashes: bool) -> None:
        if size is None and storage.exists(storage.join(self.output, RETIRED)):
            raise JobError(f"{self.output} is a generation that was retired: its shards are gone. Open those that are left.")
        if size is None:
            wrong = "is missing"
        elif size != file.bytes:
            wrong = f"is {size} bytes long, the manifest says {file.bytes}"
        elif hashes and storage.digest(url, file.path).sha256 != file.sha256:
            wrong = "has changed since the job was sealed"
        else:
            return
        raise JobError(f"{url} {wrong}. Run: tokenmill verify {self.output}")

    # -- documents -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.manifest.documents

    def __getitem__(self, document: int) -> NDArray[np.integer]:
        """The ids of one document, BOS and EOS included."""
        if not 0 <= document < len(self):
            raise IndexError(f"document {document} of {len(self)}")
        shard = bisect_right(self._ends, document)
        return self.opened(shard).reader[document - self.documents_before(shard)]

    def __iter__(self) -> Iterator[NDArray[np.integer]]:
        return (self[document] for document in range(len(self)))

    def tokenizer(self) -> "tokenizers.Tokenizer":
        """The job's own tokenizer, from the output; no hub is asked."""
        from tokenmill.tokenizers import Model

        url = storage.join(self.outputs[-1], "tokenizer/tokenizer.json")
        return Model(storage.read(url), url).reference()

    # -- views ---------------------------------------------------------------------------------------------------------

    def windows(self, length: int, *, cross_documents: bool = True, **options: Any) -> Windows | PieceWindows:
        """The token stream in rows of `length`; see `Windows`, and `PieceWindows` where no row holds two documents."""
        self._refuse_packed("windows()")
        kind = Windows if cross_documents else PieceWindows
        return kind(self, length, **options)

    def documents(self, **options: Any) -> Documents:
        """One document a row, padded to the longest of its batch; see `Documents`."""
        self._refuse_packed("documents()")
        return Documents(self, **options)

    def sequences(self, length: int | None = None, **options: Any) -> Sequences:
        """The rows of a packed job; see `Sequences`. Raises UsageError if they are not of that length, or it is not packed."""
        return Sequences(self, length, **options)

    def _refuse_packed(self, asked: str) -> None:
        if (packing := self.manifest.pack) is not None:
            packed = f"{self.output} was packed into rows of {packing.length}"
            raise UsageError(f"{packed}: {asked} would cut them anew. Use sequences({packing.length}).")

    # -- shards --------------------------------------------------------------------------------------------------------

    def shard(self, position: int) -> ShardReader:
        """The reader of one shard by its place in the manifest; kept open, until `forget`."""
        return self._kept(position).reader

    def opened(self, position: int) -> OpenShard:
        """One shard by its place in the manifest. Raises JobError if it does not hold what the manifest says."""
        shard = self._kept(position)
        shard.check()
        return shard

    def _kept(self, position: int) -> OpenShard:
        """The least recently used shard is closed for this one if too many are open."""
        shard = self._open.get(position)
        if shard is None:
            shard = self._opened_anew(position)
            while len(self._open) >= self._open_shards:
                self._open.popitem(last=False)
            self._open[position] = shard
        else:
            self._open.move_to_end(position)
        return shard

    def _opened_anew(self, position: int) -> OpenShard:
        place = bisect_right(self._firsts, position) - 1
        output, manifest, position = self.outputs[place], self._manifests[place], position - self._firsts[place]
        if self._cache is None:
            return OpenShard(output, manifest, position)
        with self._cache.holding(output, manifest, position) as folder:
            shard = OpenShard(folder, manifest, position)
            shard.map()
            return shard

    def forget(self, position: int) -> None:
        """Close a shard: one in an object store takes disk here, for its copy, as long as it or a view into it is in use."""
        self._open.pop(position, None)

    def check_sums(self) -> None:
        """Raise JobError unless the manifest's shards add up to its totals; views stand on it, `verify` reports it."""
        totals, shards = self.manifest, len(self.manifest.shards)
        stored = totals.tokens + totals.tokens_padding
        if (self.documents_before(shards), self.tokens_before(shards)) != (totals.documents, stored):
            raise JobError(f"the shards of {self.output} do not add up to its totals. Run: tokenmill verify {self.output}")

    def documents_before(self, shard: int) -> int:
        """How many documents lie in the shards before one."""
        return self._ends[shard - 1] if shard else 0

    def tokens_before(self, shard: int) -> int:
        """How many tokens lie in the shards before one, padding included."""
        return self._token_ends[shard - 1] if shard else 0

    def shards_of(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """In which shard each token of the whole stream lies."""
        return np.searchsorted(self._token_bounds[1:], tokens, "right")

    def spans_of(self, shards: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First token of each shard in the whole stream, and the end of its tokens."""
        return self._token_bounds[shards], self._token_bounds[shards + 1]

    def shard_of(self, token: int) -> int:
        """In which shard a token of the whole stream lies."""
        return bisect_right(self._token_ends, token)

    def __getstate__(self) -> dict[str, Any]:
        """For a worker that is spawned: it maps the files itself."""
        return {**self.__dict__, "_open": OrderedDict()}
