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

from tokenmill.engines.contract import Tokens, Unavailable, from_lengths
from tokenmill.engines.cuda.batch import BLOCK, PADDING, TOTALS, Extent, Kernels, Rules, Slot, device_bytes
from tokenmill.engines.cuda.classes import classes_of
from tokenmill.engines.cuda.device import Device, Mark, Stream
from tokenmill.engines.cuda.families import Cutting, cutting_of
from tokenmill.engines.cuda.merges import merges_of
from tokenmill.engines.cuda.words import ENTRIES, table_bytes
from tokenmill.settings import Settings
from tokenmill.tokenizers import Model

#: Bytes of text per batch, at least and at most: with more, a launch's microseconds are no longer seen.
LEAST, MOST = 1 << 20, 128 << 20
#: Batches under way at once.
SLOTS = 3
#: What a tokenizer takes of a device's memory at most: classes and merges.
TOKENIZER_BYTES = 30_000_000


def open_device() -> Device:
    """The GPU of this process with the kernels loaded. Raises Unavailable if there is none that can be used."""
    from tokenmill.engines.cuda.gpu import Gpu

    return Gpu(Settings.from_environment().cache)


class CudaEngine:
    """Encodes on a GPU, with a table of words that fills with what it meets."""

    def __init__(
        self,
        model: Model,
        *,
        device: Callable[[], Device] | None = None,
        batch_bytes: int | None = None,
        entries: int = ENTRIES,
    ) -> None:
        """Raises Unavailable if the device cannot be used, ValueError if the tokenizer cannot be.

        Args:
            device: gives the device; the GPU of this process by default.
            batch_bytes: text of a batch, which memory is in proportion to (`memory`); what TOKENMILL_GPU_GB has room for by
                default.
            entries: words remembered at most.
        """
        cutting, classes = cutting_of(model), classes_of(importlib.metadata.version("tokenizers"))
        assert isinstance(cutting, Cutting), cutting  # `supports` was asked
        assert classes is not None
        self.extent = Extent.of(fitting(Settings.from_environment().gpu_bytes, entries) if batch_bytes is None else batch_bytes)
        merges = merges_of(model)
        self.device = (device or open_device)()
        streams = Streams(self.device.stream(), self.device.stream(), self.device.stream())
        rules = Rules(self.device, streams.work, cutting, classes, merges, entries)
        kernels = Kernels(self.device, streams.work, rules, self.extent)
        self.ring = [Passage(self.device, streams, kernels, self.extent) for _ in range(SLOTS)]

    @staticmethod
    def supports(model: Model) -> str | None:
        found = cutting_of(model)
        return None if isinstance(found, Cutting) else found

    @staticmethod
    def memory(batch_bytes: int, entries: int = ENTRIES) -> int:
        """Bytes of the device's memory that batches and words take; the tokenizer takes up to 30 MB more."""
        return device_bytes(Extent.of(batch_bytes), SLOTS) + table_bytes(entries)

    def encode(self, text: pa.LargeStringArray) -> Tokens:
        """The ids of each document. Raises Unavailable if the device fails."""
        data, offsets = buffers(text)
        lengths, unsure = np.zeros(len(text), np.int64), np.ones(len(text), np.bool_)
        ids: list[NDArray[np.uint32]] = []

        def take(passage: Passage) -> None:
            passage.wait()
            found = passage.found()
            ids.append(found.ids)
            lengths[passage.begin : passage.end], unsure[passage.begin : passage.end] = found.lengths, found.unsure

        under_way: list[Passage] = []
        for number, (begin, end) in enumerate(batches(offsets, self.extent)):
            if len(under_way) == SLOTS:
                take(under_way.pop(0))
            passage = self.ring[number % SLOTS]
            passage.fill(data, offsets, begin, end)
            passage.send()
            if under_way:
                under_way[-1].fetch()
            under_way.append(passage)
        if under_way:
            under_way[-1].fetch()
        for passage in under_way:
            take(passage)
        together = ids[0] if len(ids) == 1 else np.concatenate([np.empty(0, np.uint32), *ids])
        return replace(from_lengths(together, lengths), unsure=unsure)


def fitting(memory: int, entries: int = ENTRIES) -> int:
    """Bytes of text of the largest batches for which a device's memory suffices. Raises Unavailable if none are."""
    least = CudaEngine.memory(LEAST, entries) + TOKENIZER_BYTES
    if memory < least:
        raise Unavailable(f"TOKENMILL_GPU_GB is {memory / 1e9:g}; the engine needs {least / 1e9:.2f} at least")
    a_byte = device_bytes(Extent.of(LEAST), SLOTS) / LEAST
    return min(MOST, LEAST + int((memory - least) / a_byte * 0.99))


def batches(offsets: NDArray[np.int64], extent: Extent) -> Iterator[tuple[int, int]]:
    """The documents of each batch, first and behind the last; those larger than a batch are in none."""
    begin, documents = 0, len(offsets) - 1
    while begin < documents:
        fitting = int(np.searchsorted(offsets, offsets[begin] + extent.text, side="right")) - 1
        end = min(fitting, begin + extent.documents)
        if end > begin:
            yield begin, end
        begin = max(end, begin + 1)


def buffers(text: pa.LargeStringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
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
class Found:
    """What came back of a batch."""

    ids: NDArray[np.uint32]
    lengths: NDArray[np.int64]
    unsure: NDArray[np.bool_]


class Passage:
    """A slot with its pinned memory: the way of one batch to the device and back, again and again.

    Filled, sent, fetched, waited for, found: in this order.
    """

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
        self.begin = self.end = self.size = 0
        self._done: Mark

    def fill(self, data: NDArray[np.uint8], offsets: NDArray[np.int64], begin: int, end: int) -> None:
        """Take documents `begin` to `end` into pinned memory; what this passage had before was waited for."""
        first, last = int(offsets[begin]), int(offsets[end])
        size, documents = last - first, end - begin
        self.begin, self.end, self.size = begin, end, size
        self._text[PADDING : PADDING + size] = data[first:last]
        self._text[PADDING + size : 2 * PADDING + size] = 0
        np.subtract(offsets[begin : end + 1], first, out=self._offsets[: documents + 1], casting="unsafe")
        self._set[0] = (size // BLOCK + 1, 0, 0, 0, 0)

    def send(self) -> None:
        """Send them to the device, and let the kernels follow."""
        upload = self._streams.upload
        upload.upload(self._text[: 2 * PADDING + self.size], self._slot.text)
        upload.upload(self._offsets[: self.end - self.begin + 1], self._slot.offsets)
        self._streams.work.follow(upload.mark())
        self.run()

    def run(self) -> None:
        """The kernels alone, over what is on the device already."""
        work, slot, documents = self._streams.work, self._slot, self.end - self.begin
        work.upload(self._set, slot.totals)
        self._kernels.cut(slot, self.size, documents)
        self._kernels.encode(slot, self.size, documents)
        work.download(slot.totals, self._totals)
        self._done = work.mark()

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

    def wait(self) -> None:
        """Wait for what was begun last."""
        self._done.wait()

    def found(self) -> Found:
        """The ids, in memory of their own."""
        documents = self.end - self.begin
        offsets = self._token_offsets[: documents + 1].astype(np.int64)
        lengths = offsets[1:] - offsets[:-1]
        return Found(self._ids.copy(), lengths, self._doubtful[:documents] != 0)
