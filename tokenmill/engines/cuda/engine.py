"""The engine: a text column through a ring of batches on a device.

    upload   ─ batch 3 ─┬─ batch 4 ─ …          one stream each: while the kernels are at one batch, the next one is on its way
    kernels  ─ batch 2 ─┼─ batch 3 ─ …          to the device, and the ids of the one before are on theirs from it
    download ─ batch 1 ─┴─ batch 2 ─ …

Comes in: a text column. Goes out: its `Tokens`, `unsure` where the device cannot vouch for a document. Always holds: memory, on
the device and pinned, is allocated once, in proportion to `batch_bytes`; a batch is whole documents, and one that is larger is
not encoded here.
"""

import importlib.metadata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenmill.engines.contract import Tokens, from_lengths
from tokenmill.engines.cuda.batch import BLOCK, PADDING, TOTALS, Extent, Kernels, Rules, Slot, device_bytes
from tokenmill.engines.cuda.classes import classes_of
from tokenmill.engines.cuda.device import Device, Mark, Stream
from tokenmill.engines.cuda.families import Cutting, cutting_of
from tokenmill.engines.cuda.merges import merges_of
from tokenmill.engines.cuda.words import ENTRIES, table_bytes
from tokenmill.tokenizers import Model

#: Bytes of text per batch. Takes 1.2 GB of a device, and 0.3 GB of pinned memory.
BATCH_BYTES = 32 << 20
#: Batches under way at once.
SLOTS = 3


def open_device() -> Device:
    """The GPU of this process with the kernels loaded. Raises Unavailable if there is none that can be used."""
    from tokenmill.engines.cuda.gpu import Gpu
    from tokenmill.settings import Settings

    return Gpu(Settings.from_environment().cache)


class CudaEngine:
    """Encodes on a GPU, with a table of words that fills with what it meets."""

    def __init__(
        self,
        model: Model,
        *,
        device: Callable[[], Device] | None = None,
        batch_bytes: int = BATCH_BYTES,
        entries: int = ENTRIES,
    ) -> None:
        """Raises Unavailable if the device cannot be used, ValueError if the tokenizer cannot be.

        Args:
            device: gives the device; the GPU of this process by default.
            batch_bytes: text of a batch, which memory is in proportion to (`memory`).
            entries: words remembered at most.
        """
        cutting, classes = cutting_of(model), classes_of(importlib.metadata.version("tokenizers"))
        assert isinstance(cutting, Cutting), cutting  # `supports` was asked
        assert classes is not None
        self._extent = Extent.of(batch_bytes)
        merges = merges_of(model)
        self._device = (device or open_device)()
        streams = Streams(self._device.stream(), self._device.stream(), self._device.stream())
        rules = Rules(self._device, streams.work, cutting, classes, merges, entries)
        kernels = Kernels(self._device, streams.work, rules, self._extent)
        self._ring = [_Passage(self._device, streams, kernels, self._extent) for _ in range(SLOTS)]

    @staticmethod
    def supports(model: Model) -> str | None:
        found = cutting_of(model)
        return None if isinstance(found, Cutting) else found

    @staticmethod
    def memory(batch_bytes: int = BATCH_BYTES, entries: int = ENTRIES) -> int:
        """Bytes of the device's memory that batches and words take; the tokenizer takes up to 30 MB more."""
        return device_bytes(Extent.of(batch_bytes), SLOTS) + table_bytes(entries)

    def encode(self, text: pa.LargeStringArray) -> Tokens:
        """The ids of each document. Raises Unavailable if the device fails."""
        data, offsets = _buffers(text)
        lengths, unsure = np.zeros(len(text), np.int64), np.ones(len(text), np.bool_)
        ids: list[NDArray[np.uint32]] = []

        def take(passage: "_Passage") -> None:
            found = passage.take()
            ids.append(found.ids)
            lengths[passage.begin : passage.end], unsure[passage.begin : passage.end] = found.lengths, found.unsure

        under_way: list[_Passage] = []
        for number, (begin, end) in enumerate(batches(offsets, self._extent)):
            if len(under_way) == SLOTS:
                take(under_way.pop(0))
            passage = self._ring[number % SLOTS]
            passage.send(data, offsets, begin, end)
            if under_way:
                under_way[-1].fetch()
            under_way.append(passage)
        if under_way:
            under_way[-1].fetch()
        for passage in under_way:
            take(passage)
        together = ids[0] if len(ids) == 1 else np.concatenate([np.empty(0, np.uint32), *ids])
        return replace(from_lengths(together, lengths), unsure=unsure)


def batches(offsets: NDArray[np.int64], extent: Extent) -> Iterator[tuple[int, int]]:
    """The documents of each batch, first and behind the last; those larger than a batch are in none."""
    begin, documents = 0, len(offsets) - 1
    while begin < documents:
        fitting = int(np.searchsorted(offsets, offsets[begin] + extent.text, side="right")) - 1
        end = min(fitting, begin + extent.documents)
        if end > begin:
            yield begin, end
        begin = max(end, begin + 1)


def _buffers(text: pa.LargeStringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of a column that is not empty, and where its documents begin and end in them."""
    _, offsets, data = text.buffers()
    if offsets is None or not len(text):
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    found = np.frombuffer(memoryview(offsets), np.int64)[text.offset : text.offset + len(text) + 1]
    return np.frombuffer(memoryview(data), np.uint8) if data is not None else np.empty(0, np.uint8), found


@dataclass(frozen=True, slots=True)
class Streams:
    """One for each direction, so that a device does all three at once."""

    upload: Stream
    work: Stream
    download: Stream


@dataclass(frozen=True, slots=True)
class _Found:
    ids: NDArray[np.uint32]
    lengths: NDArray[np.int64]
    unsure: NDArray[np.bool_]


class _Passage:
    """A slot with its pinned memory: the way of one batch to the device and back, again and again."""

    def __init__(self, device: Device, streams: Streams, kernels: Kernels, extent: Extent) -> None:
        self._streams, self._kernels = streams, kernels
        self._slot = Slot(device.allocate, extent)
        self._text = device.pinned(2 * PADDING + extent.text)
        self._text[:PADDING] = 0
        self._offsets = device.pinned(4 * (extent.documents + 1)).view(np.uint32)
        self._set = device.pinned(TOTALS.itemsize).view(TOTALS)
        self._totals = device.pinned(TOTALS.itemsize).view(TOTALS)
        self._doubtful = device.pinned(extent.documents)
        self._token_offsets = device.pinned(4 * (extent.documents + 1)).view(np.uint32)
        # real text has a token for two bytes at least; what has more is copied to memory that is not pinned, slowly
        self._pinned_ids = device.pinned(4 * (extent.text // 2 + 1)).view(np.uint32)
        self._ids = self._pinned_ids[:0]
        self.begin = self.end = 0
        self._done: Mark

    def send(self, data: NDArray[np.uint8], offsets: NDArray[np.int64], begin: int, end: int) -> None:
        """Begin with documents `begin` to `end`; what this passage had before was taken."""
        streams, slot, documents = self._streams, self._slot, end - begin
        self.begin, self.end = begin, end
        first, last = int(offsets[begin]), int(offsets[end])
        size = last - first
        self._text[PADDING : PADDING + size] = data[first:last]
        self._text[PADDING + size : 2 * PADDING + size] = 0
        np.subtract(offsets[begin : end + 1], first, out=self._offsets[: documents + 1], casting="unsafe")
        self._set[0] = (size // BLOCK + 1, 0, 0, 0, 0)
        streams.upload.upload(self._text[: 2 * PADDING + size], slot.text)
        streams.upload.upload(self._offsets[: documents + 1], slot.offsets)
        streams.upload.upload(self._set, slot.totals)
        streams.work.follow(streams.upload.mark())
        self._kernels.cut(slot, size, documents)
        self._kernels.encode(slot, size, documents)
        streams.work.download(slot.totals, self._totals)
        self._done = streams.work.mark()

    def fetch(self) -> None:
        """Wait for the kernels, which is when it is known how many ids there are, and send for them."""
        self._done.wait()
        slot, download, documents = self._slot, self._streams.download, self.end - self.begin
        tokens = int(self._totals["tokens"][0])
        self._ids = self._pinned_ids[:tokens] if tokens <= len(self._pinned_ids) else np.empty(tokens, np.uint32)
        download.download(slot.doubtful, self._doubtful[:documents])
        download.download(slot.token_offsets, self._token_offsets[: documents + 1])
        download.download(slot.ids, self._ids)
        self._done = download.mark()

    def take(self) -> _Found:
        """Wait for the ids."""
        self._done.wait()
        documents = self.end - self.begin
        offsets = self._token_offsets[: documents + 1].astype(np.int64)
        lengths = offsets[1:] - offsets[:-1]
        return _Found(self._ids.copy(), lengths, self._doubtful[:documents] != 0)
