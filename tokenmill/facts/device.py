"""Facts computed by a device: ids go there once, and come back as what a job asks for.

    ids, texts ─┬─count_ids─► counts
                ├─empty_places, (deal_shingles, find_left) x 4, permute_shingles, sign─► signatures
                └─(find_runs, tally_runs) x test sets─► runs and covered ids of each document

Comes in: documents. Goes out: what the kernels of `engines/cuda/kernels/facts.cu` make of them. Always holds: memory on the
device is allocated once, whatever the documents; more of them than there is room for go in several passes, and one document
that is longer than all the room goes to the processor. What is sent and fetched is not pinned: the driver copies it to pinned
memory of its own, which would be our copy otherwise.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenmill.engines.contract import Unavailable
from tokenmill.engines.cuda.device import Device, Memory
from tokenmill.facts.arithmetic import Processor
from tokenmill.facts.contract import Asked, Matches, Told, together
from tokenmill.facts.minhash import DEALS
from tokenmill.facts.texts import GROUP_DOCUMENTS, Texts

#: Ids of a pass: of 8 MiB of text, the longest document that a job takes by default, where four bytes are an id.
TOKENS = 1 << 21
#: Places of signatures of a pass: 32 MiB while they are dealt to.
PLACES = 1 << 22
#: Ids of a thread's stretch, and bits of the number in which its runs of a test set begin.
STRETCH = 64


class OnDevice:
    """A device's arithmetic for one job, on a stream of its own; the kernels of a pass are waited for together."""

    def __init__(self, device: Device, asked: Asked, tokens: int = TOKENS) -> None:
        """Allocates its memory, and puts the test sets there. Raises Unavailable if there is no room.

        Args:
            device: has the kernels loaded.
            tokens: ids of a pass at most, below 2^32.
        """
        self.asked, self._device, self._tokens = asked, device, tokens
        self._documents = min(GROUP_DOCUMENTS, max(1, PLACES // max(1, asked.size)))
        self._stream, self._processor = device.stream(), Processor(asked)
        allocate, documents, sets = device.allocate, self._documents, len(asked.known.runs)
        self._ids = allocate(4 * tokens)
        self._starts, self._stops = allocate(4 * documents), allocate(4 * documents)
        self._counts = allocate(4 * (asked.vocab_size + 1))
        self._kept, self._signatures = allocate(8 * documents * asked.size), allocate(4 * documents * asked.size)
        self._left = allocate(4 * documents)
        self._begins = allocate(8 * _stretches(tokens))
        self._found, self._covered = allocate(4 * documents * sets), allocate(4 * documents * sets)
        self._runs = [self._put(runs) for runs in asked.known.runs]
        self._sieve = self._put(asked.known.sieve)
        self._stream.mark().wait()

    def tell(self, texts: Texts) -> Told:
        """What these documents come to. Raises Unavailable if the device fails."""
        groups = texts.groups(self._tokens, self._documents)
        return together(self.asked, [self._pass(some) for some in groups])

    def _pass(self, texts: Texts) -> Told:
        """The same of documents that go there at once."""
        if len(texts.ids) > self._tokens:
            return self._processor.tell(texts)
        ids, starts = np.ascontiguousarray(texts.ids), texts.starts.astype(np.uint32)
        stops = np.maximum(texts.starts, texts.stops).astype(np.uint32)
        for array, memory in ((ids, self._ids), (starts, self._starts), (stops, self._stops)):
            self._stream.upload(array, memory)
        counts, signatures = self._count(len(ids)), self._sign(len(ids), len(texts))
        found, covered = self._look_up(len(ids), len(texts))
        self._stream.mark().wait()
        if counts[-1]:
            raise Unavailable(f"{counts[-1]:,} ids are above the vocabulary's {self.asked.vocab_size:,}")
        documents, sets = np.nonzero(found.T)
        columns = (documents, sets, found[sets, documents], covered[sets, documents])
        return Told(counts[:-1].astype(np.int64), signatures, Matches(*(column.astype(np.int64) for column in columns)))

    def _count(self, tokens: int) -> NDArray[np.uint32]:
        """How often each id occurs, and last, how many are above all that are counted."""
        size, counts = self.asked.vocab_size, np.zeros(self.asked.vocab_size + 1, np.uint32)
        if size:
            self._stream.clear(self._counts)
            self._stream.launch("count_ids", tokens, self._ids, tokens, size, self._counts)
            self._stream.download(self._counts, counts)
        return counts

    def _sign(self, tokens: int, documents: int) -> NDArray[np.uint32]:
        """The signatures."""
        launch, size = self._stream.launch, self.asked.size
        signatures, places = np.empty((documents, size), np.uint32), documents * size
        if not places:
            return signatures
        texts = (self._ids, tokens, self._starts, self._stops, documents)
        launch("empty_places", places, places, self._kept)
        self._stream.clear(self._left)  # numbers of rounds in an earlier pass would change nothing, but cost these rounds again
        for turn in range(DEALS):
            if turn:
                launch("find_left", places, self._kept, places, size, turn, self._left)
            launch("deal_shingles", _stretches(tokens), *texts, turn, self._left, size, self._kept)
        launch("permute_shingles", self._device.width, *texts, size, self._kept)
        launch("sign", places, self._kept, places, self._signatures)
        self._stream.download(self._signatures, signatures)
        return signatures

    def _look_up(self, tokens: int, documents: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """For each test set and document, how many of its runs there are, and how many ids they cover."""
        known, texts = self.asked.known, (self._starts, self._stops, documents)
        shape, stretches = (len(known.runs), documents), _stretches(tokens)
        found, covered = np.zeros(shape, np.uint32), np.zeros(shape, np.uint32)
        if not found.size:
            return found, covered
        self._stream.clear(self._found)
        self._stream.clear(self._covered)
        for number, runs in enumerate(known.runs):
            one = (self._runs[number], len(runs), self._sieve, known.bits)
            self._stream.launch("find_runs", stretches, self._ids, tokens, *texts, *one, self._begins)
            rows = [memory.part(4 * documents * number, 4 * documents) for memory in (self._found, self._covered)]
            self._stream.launch("tally_runs", stretches, self._begins, tokens, *texts, *rows)
        self._stream.download(self._found, found)
        self._stream.download(self._covered, covered)
        return found, covered

    def _put(self, array: NDArray[Any]) -> Memory:
        memory = self._device.allocate(array.nbytes)
        self._stream.upload(array, memory)
        return memory


def _stretches(tokens: int) -> int:
    return -(-tokens // STRETCH)
