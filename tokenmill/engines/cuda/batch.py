"""One batch on a device: its memory, and the kernels in their order.

    text ─certify─► doubtful documents
      └─starts─► bits ─sums─► words ─lookup─► found | missed ─merge─► ids per word ─sums─► scatter ─► ids, offsets
                                     └────────────────◄─ learn_words ──┘

Comes in: documents end to end, uploaded into a `Slot`. Goes out: in the same slot the ids, where each document's begin, and
which documents are doubtful. Always holds: all memory is allocated once, by the number of bytes that a batch may have; nothing
here waits for the device but what puts the tokenizer there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenmill.engines.cuda.classes import Classes
from tokenmill.engines.cuda.device import Device, Memory, Stream
from tokenmill.engines.cuda.families import Cutting
from tokenmill.engines.cuda.merges import Merges
from tokenmill.engines.cuda.words import WordTable

#: `Totals` of kernels/kernels.cu.
TOTALS = np.dtype([(name, "<u4") for name in ("blocks", "words", "tokens", "shorts", "longs")])
#: Zero bytes before and behind the text.
PADDING = 32
#: Bytes of text whose starts are one number, and numbers that a thread sums.
BLOCK = 64
#: No id: no BOS, no EOS.
NONE = 0xFFFFFFFF

Allocate = Callable[[int], Memory]


@dataclass(frozen=True, slots=True)
class Extent:
    """What a batch may have at most."""

    #: Bytes of text.
    text: int
    documents: int

    @classmethod
    def of(cls, text: int) -> "Extent":
        """Batches of so many bytes; of documents below 16 bytes fewer fit than the bytes would allow."""
        assert 0 < text < 1 << 31, text
        return cls(text, text // 16 + 1)


class Slot:
    """What goes to the device and comes back for one batch; several are under way at once."""

    def __init__(self, allocate: Allocate, extent: Extent) -> None:
        self.text = allocate(2 * PADDING + extent.text)
        self.offsets = allocate(4 * (extent.documents + 1))
        self.totals = allocate(TOTALS.itemsize)
        self.doubtful = allocate(extent.documents)
        self.token_offsets = allocate(4 * (extent.documents + 1))
        self.ids = allocate(4 * (extent.text + 2 * extent.documents))


class Work:
    """What the kernels of a batch leave for each other."""

    def __init__(self, allocate: Allocate, extent: Extent) -> None:
        blocks = extent.text // BLOCK + 1
        self.starts = allocate(8 * (blocks + 1))
        self.before = allocate(4 * (blocks + 1))
        self.words = allocate(4 * (extent.text + 1))
        self.counts = allocate(4 * (extent.text + 1))
        self.found = allocate(4 * extent.text)
        self.misses = allocate(4 * extent.text)
        self.scratch = allocate(4 * extent.text)
        self.sums = [allocate(4 * size) for size in _levels(extent.text + 1)]


class Rules:
    """One tokenizer in a device's memory, and the words met with it."""

    def __init__(
        self, device: Device, stream: Stream, cutting: Cutting, classes: Classes, merges: Merges, entries: int
    ) -> None:
        """Puts it there; `stream` is the one that its kernels have to run on."""
        self._device, self._stream = device, stream
        self.starts = f"starts_{cutting.family.name.lower()}"
        self.normalized = int(cutting.normalized)
        self.index, self.classes, self.beside = (self._put(part) for part in (classes.index, classes.blocks, classes.beside))
        added = [token.encode() for token in cutting.added]
        begins = np.zeros(256, np.uint8)
        begins[[token[0] for token in added]] = 1
        self.added_tokens = len(added)
        self.added = self._put(np.frombuffer(b"".join(added), np.uint8))
        self.added_offsets = self._put(np.cumsum([0, *map(len, added)], dtype=np.uint32))
        self.added_begins = self._put(begins)
        self.merges = self._put(merges.image)
        self.table = WordTable(device, stream, entries)
        stream.mark().wait()

    def _put(self, array: NDArray[Any]) -> Memory:
        memory = self._device.allocate(array.nbytes)
        self._stream.upload(np.ascontiguousarray(array), memory)
        return memory


class Kernels:
    """The kernels of one tokenizer, with the memory that they use between them: one batch at a time, on one stream."""

    def __init__(self, device: Device, stream: Stream, rules: Rules, extent: Extent) -> None:
        self._width, self._stream, self._rules, self._extent = device.width, stream, rules, extent
        self.work = Work(device.allocate, extent)

    def cut(self, slot: Slot, text: int, documents: int) -> None:
        """Certify the documents that were uploaded into a slot, and find where words begin.

        Args:
            text: bytes of them, end to end from `slot.text` + PADDING on, with PADDING zero bytes behind.
            documents: at least one; where they begin and end is in `slot.offsets`, as uint32.
        """
        assert 0 <= text <= self._extent.text
        assert 0 < documents <= self._extent.documents
        rules, blocks = self._rules, text // BLOCK + 1
        place = (slot.text.part(PADDING, text), text, slot.offsets, documents, rules.index, rules.classes)
        self._stream.clear(self.work.starts.part(0, 8 * (blocks + 1)))
        self._stream.clear(slot.doubtful.part(0, documents))
        added = (rules.added, rules.added_offsets, rules.added_tokens, rules.added_begins)
        self._stream.launch("certify", blocks, *place, rules.beside, rules.normalized, *added, slot.doubtful)
        self._stream.launch(rules.starts, blocks, *place, self.work.starts, slot.doubtful)

    def encode(
        self, slot: Slot, text: int, documents: int, *, bos: int | None = None, eos: int | None = None, width: int = 4
    ) -> None:
        """Encode the words that `cut` found.

        Args:
            bos: id that is put before each document, and `eos` behind each; None for none.
            width: bytes of an id in `slot.ids`, 2 or 4.
        """
        work, table, launch = self.work, self._rules.table, self._stream.launch
        body, blocks = slot.text.part(PADDING, text), text // BLOCK + 1
        launch("count_starts", blocks + 1, work.starts, slot.totals, work.before)
        self._run_up(work.before, _field(slot.totals, "blocks"), blocks)
        launch("list_words", blocks, work.starts, work.before, text, slot.totals, work.words, work.counts)
        most = self._extent.text
        launch(
            "lookup", self._width, body, slot.offsets, documents, work.words, slot.totals, table.known, table.mask,
            work.found, work.counts, work.misses, most, slot.doubtful,
        )  # fmt: skip
        missed = (body, work.words, slot.totals, work.misses)
        launch("merge_short", self._width, *missed, self._rules.merges, work.scratch, work.counts)
        launch("merge_long", self._width, *missed, most, self._rules.merges, work.scratch, work.counts)
        self._run_up(work.counts, _field(slot.totals, "words"), text)
        ends = (int(bos is not None), int(eos is not None))
        launch(
            "scatter", self._width, slot.offsets, documents, work.words, slot.totals, table.known, work.found,
            work.scratch, work.counts, *ends, width, slot.ids,
        )  # fmt: skip
        launch(
            "document_tokens", documents + 1, slot.offsets, documents, work.starts, work.before, work.counts, *ends,
            slot.totals, slot.token_offsets,
        )  # fmt: skip
        if any(ends):
            first, last = (NONE if token is None else token for token in (bos, eos))
            launch("ends", documents, slot.token_offsets, documents, first, last, width, slot.ids)
        learned = (work.scratch, work.counts, table.known, table.mask, table.entries, table.most)
        launch("learn_words", self._width, *missed, *learned)

    def _run_up(self, numbers: Memory, count: Memory, most: int) -> None:
        """Turn `count` + 1 numbers, `most` + 1 at most, into the sums of those before each."""
        levels = [numbers, *self.work.sums]
        sizes = [most + 1, *_levels(most + 1)]
        for level, groups in enumerate(sizes[1:]):
            self._stream.launch("sums", groups, levels[level], count, level, levels[level + 1])
        top = len(sizes) - 1
        self._stream.launch("top", 1, levels[top], count, top)
        for level in reversed(range(top)):
            self._stream.launch("spread", sizes[level + 1], levels[level], count, level, levels[level + 1])


def device_bytes(extent: Extent, slots: int) -> int:
    """Memory of a device that batches of an extent take; words and tokenizer, which have their own, are not in it."""
    sizes: list[int] = []

    def counted(size: int) -> Memory:
        sizes.append(size)
        return Memory(0, size)

    Work(counted, extent)
    for _ in range(slots):
        Slot(counted, extent)
    return sum(sizes)


def _levels(size: int) -> list[int]:
    """How many sums there are on each level above so many numbers."""
    sizes = []
    while size > BLOCK:
        size = -(-size // BLOCK)
        sizes.append(size)
    return sizes


def _field(totals: Memory, name: str) -> Memory:
    assert TOTALS.names is not None
    return totals.part(4 * TOTALS.names.index(name), 4)
