"""Rows of token ids: what a batch is made of.

Comes in: row numbers, and the spans of tokens that a view gives them. Goes out: arrays, one row of tokens each. Always holds:
a row is a span of the token stream, padded at its end if it is short; every array of a batch has the same shape.

| field | what, per token |
|---|---|
| `input_ids` | the id; `pad_id` in the padding |
| `targets` | the id that follows, already shifted; -100 in the padding, where nothing follows, and where the loss mask says 0 |
| `document_ids` | number of its document in the dataset; -1 in the padding |
| `position_ids` | place in its document's part of this row, from 0; 0 in the padding |
| `attention_mask` | 1, or 0 in the padding |
| `loss_mask` | 1 where `targets` is to be learned from |

A model that shifts labels itself, as those of transformers do, takes `input_ids` as its labels, not `targets`.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokenmill.errors import UsageError

if TYPE_CHECKING:
    from tokenmill.reader.dataset import TokenDataset

FIELDS = ("input_ids", "targets", "document_ids", "position_ids", "attention_mask", "loss_mask")
#: What torch's cross_entropy ignores by default.
IGNORED = -100
Arrays = dict[str, NDArray[Any]]
Numbers = NDArray[np.int64]


class Rows(ABC):
    """A map-style dataset: `rows[i]` is a dictionary of arrays; `gather` makes a batch of many at once."""

    def __init__(
        self,
        dataset: "TokenDataset",
        *,
        fields: tuple[str, ...] = ("input_ids", "targets", "document_ids", "position_ids"),
        pad_id: int | None = None,
        dtype: str = "int64",
    ) -> None:
        """
        Args:
            fields: what each row holds, of `FIELDS`; fewer are faster.
            pad_id: stands in the padding, where no mask lets it count; without it what packed rows have, EOS, or 0.
            dtype: of `input_ids`; what torch's embeddings take is int64 and int32.
        """
        if unknown := set(fields) - set(FIELDS):
            raise UsageError(f"fields={fields!r}: {', '.join(sorted(unknown))} is none of {', '.join(FIELDS)}.")
        dataset.check_sums()
        totals = dataset.manifest
        pad = next(token for token in (pad_id, totals.pad_id, totals.eos_id, 0) if token is not None)
        if max(pad, totals.tokenizer.vocab_size - 1) > np.iinfo(dtype).max:
            raise UsageError(f"dtype={dtype!r} cannot hold ids up to {totals.tokenizer.vocab_size - 1}. Give a wider one.")
        self.dataset, self.fields, self.pad_id, self._dtype = dataset, fields, pad, np.dtype(dtype)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def spans(self, rows: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Of each row: its first token, the end of its tokens, and the end of what its targets may see."""

    @abstractmethod
    def width(self, lengths: Numbers) -> int:
        """Tokens in a row, padding included, of a batch whose rows hold so many."""

    @property
    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What decides the rows: a state of another identity is refused."""

    def __getitem__(self, row: int) -> Arrays:
        """One row, without a dimension for the batch."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        return {field: values[0] for field, values in self.gather(np.array([row])).items()}

    def __getitems__(self, rows: list[int]) -> list[Arrays]:
        """Many rows, as torch's DataLoader asks for them."""
        batch = self.gather(np.asarray(rows, np.int64))
        return [{field: values[number] for field, values in batch.items()} for number in range(len(rows))]

    def gather(self, rows: Numbers) -> Arrays:
        """Many rows as one array for each field, of shape (rows, width)."""
        starts, stops, limits = self.spans(rows)
        lengths = stops - starts
        shape = len(lengths), self.width(lengths)
        ids = np.empty(shape, self._dtype)
        self._fill(ids, starts, stops)
        for row in np.flatnonzero(lengths < shape[1]).tolist():
            ids[row, lengths[row] :] = self.pad_id
        found: Arrays = {"input_ids": ids}
        if "targets" in self.fields or "loss_mask" in self.fields:
            found["targets"] = self._targets(ids, starts.tolist(), stops.tolist(), limits.tolist())
            if "loss_mask" in self.fields:
                found["loss_mask"] = (found["targets"] != IGNORED).astype(np.uint8)
        if "document_ids" in self.fields or "position_ids" in self.fields:
            found["document_ids"], found["position_ids"] = self._places(shape, starts.tolist(), stops.tolist())
        if "attention_mask" in self.fields:
            found["attention_mask"] = (np.arange(shape[1]) < lengths[:, None]).astype(np.int64)
        return {field: found[field] for field in self.fields}

    def _fill(self, ids: NDArray[Any], starts: Numbers, stops: Numbers) -> None:
        """Put each row's tokens into it; rows that are neighbours in the stream are one copy."""
        if not ids.size:
            return
        width, flat, dataset = ids.shape[1], ids.reshape(-1), self.dataset
        if len(starts) == 1:
            self._copy(int(starts[0]), int(stops[0]), flat)
            return
        joined = (stops[:-1] == starts[1:]) & (stops[:-1] - starts[:-1] == width)
        heads = np.flatnonzero(np.concatenate(([True], ~joined)))
        firsts, ends = starts[heads], stops[np.append(heads[1:], len(starts)) - 1]
        held = ends > firsts
        places, firsts, ends = heads[held] * width, firsts[held], ends[held]
        shards = dataset.shards_of(firsts)
        before, limits = dataset.spans_of(shards)
        numbers = np.where(ends <= limits, shards, -1)  # a run that ends in another shard is copied piece by piece
        sources = {number: None if number < 0 else dataset.opened(number).flat for number in set(numbers.tolist())}
        stops = places + (ends - firsts)
        runs = zip(*(array.tolist() for array in (numbers, places, stops, firsts - before, ends - before)), strict=True)
        for run, (number, place, stop, first, last) in enumerate(runs):
            source = sources[number]
            if source is None:
                self._copy(int(firsts[run]), int(ends[run]), flat[place:stop])
            else:
                flat[place:stop] = source[first:last]

    def _copy(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Put tokens of the whole stream into an array, from as many shards as they lie in."""
        dataset = self.dataset
        while start < stop:
            shard = dataset.shard_of(start)
            before, end = dataset.tokens_before(shard), min(stop, dataset.tokens_before(shard + 1))
            dataset.opened(shard).copy(start - before, end - before, out[: end - start])
            out, start = out[end - start :], end

    def _targets(self, ids: NDArray[Any], starts: list[int], stops: list[int], limits: list[int]) -> NDArray[np.int64]:
        targets = np.full(ids.shape, IGNORED, np.int64)
        targets[:, :-1] = ids[:, 1:]
        following = np.empty(1, np.int64)
        for row, (start, stop, limit) in enumerate(zip(starts, stops, limits, strict=True)):
            length = stop - start
            if stop < limit:
                self._copy(stop, stop + 1, following)
                targets[row, length - 1] = following[0]
            targets[row, max(0, length - (stop >= limit)) :] = IGNORED
            self._mask(start + 1, min(stop + 1, limit), targets[row])
        return targets

    def _mask(self, start: int, stop: int, targets: NDArray[np.int64]) -> None:
        """Ignore what the loss mask says 0 of: the mask of a target is that of the token it is."""
        dataset = self.dataset
        while start < stop:
            shard = dataset.shard_of(start)
            before, end = dataset.tokens_before(shard), min(stop, dataset.tokens_before(shard + 1))
            mask = dataset.opened(shard).mask
            if mask is not None:
                targets[: end - start][mask[start - before : end - before] == 0] = IGNORED
            targets, start = targets[end - start :], end

    def _places(self, shape: tuple[int, int], starts: list[int], stops: list[int]) -> tuple[Numbers, Numbers]:
        """`document_ids` and `position_ids`."""
        documents, positions = np.full(shape, -1, np.int64), np.zeros(shape, np.int64)
        dataset = self.dataset
        for row, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            token = start
            while token < stop:
                shard = dataset.shard_of(token)
                before, end = dataset.tokens_before(shard), min(stop, dataset.tokens_before(shard + 1))
                opened = dataset.opened(shard)
                places = opened.places
                first, last = np.searchsorted(places, (token - before, end - before - 1), "right").tolist()
                bounds = np.clip(places[first - 1 : last + 1], token - before, end - before) + (before - start)
                held = np.diff(bounds)
                span = slice(token - start, end - start)
                numbers = opened.documents_at(first - 1, last) + dataset.documents_before(shard)
                documents[row, span] = np.repeat(numbers, held)
                positions[row, span] = np.arange(span.start, span.stop) - np.repeat(bounds[:-1], held)
                token = end
        return documents, positions


def boundaries(position_ids: NDArray[np.int64], attention_mask: NDArray[np.integer] | None = None) -> NDArray[np.int32]:
    """Where documents begin in a batch laid end to end, and its end: `cu_seqlens` of attention kernels for packed rows.

    Padding is a document of its own for each token of it, unless `attention_mask` takes it out of the count.
    """
    flat = position_ids.reshape(-1)
    if attention_mask is not None:
        flat = flat[attention_mask.reshape(-1) != 0]
    return np.append(np.flatnonzero(flat == 0), len(flat)).astype(np.int32)
