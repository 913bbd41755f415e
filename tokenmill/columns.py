"""Columns of documents on their way to the engine: read, screened, gathered to a size that is worth an engine's call.

Comes in: a batch's documents as readers give them. Goes out: `Column`s, each with its rejections. Always holds: what is cut
together depends on the sources and the job alone, so a batch that is begun again meets the same columns; every document read is
in a column's text or among its rejections.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tokenmill.documents import COLUMN_BYTES, Documents, Reason, Rejection
from tokenmill.engines import Encoder
from tokenmill.poison import Place
from tokenmill.spec import SpecialTokens

#: What a rejection takes in memory, about: a batch of nothing but damage must not be held as a whole.
REJECTION_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Screened:
    """Documents as a reader gave them, and which of them are to be encoded."""

    found: Documents
    #: Indexes into `found` of the documents to encode.
    kept: NDArray[np.int64]
    #: Which of those hold a special token's string.
    holds_special: NDArray[np.bool_]
    #: All rejections, in source order.
    rejected: list[Rejection]

    @property
    def text(self) -> pa.LargeStringArray:
        """The documents to encode."""
        whole = len(self.kept) == len(self.found.text)
        return self.found.text if whole else self.found.text.take(pa.array(self.kept, pa.int64()))

    @property
    def learned(self) -> "pa.LargeListArray[Any] | None":
        """Of conversations, what each one to encode has to learn from."""
        if self.found.conversations is None:
            return None
        spans = self.found.conversations.column("learned").take(pa.array(self.kept, pa.int64()))
        return cast("pa.LargeListArray[Any]", spans)

    def without(self, refused: Mapping[int, Reason]) -> "Screened":
        """The same with more documents refused, given by their index into `found`."""
        if not refused:
            return self
        left = ~np.isin(self.kept, list(refused))
        rejections = [self.found.refuse(index, reason) for index, reason in refused.items()]
        in_order = sorted([*self.rejected, *rejections], key=lambda rejection: rejection.position)
        return Screened(self.found, self.kept[left], self.holds_special[left], in_order)


def screen(found: Documents, policy: SpecialTokens, encoder: Encoder) -> Screened:
    """Refuse the documents that are not to be encoded: empty ones, and by policy those with a special token's string.

    In a conversation it is looked for in what the record says: its template has to write special tokens.
    """
    lengths = pc.binary_length(found.text).to_numpy(zero_copy_only=False)
    said = found.text if found.conversations is None else found.conversations.column("said")
    holds_special = encoder.holds_special(cast("pa.LargeStringArray", said))
    refused = {int(index): Reason.EMPTY for index in np.flatnonzero(lengths == 0)}
    if policy is SpecialTokens.REJECT:
        refused.update({int(index): Reason.SPECIAL_TOKEN for index in np.flatnonzero(holds_special)})
    return Screened(found, np.arange(len(found.text)), holds_special, found.rejected).without(refused)


@dataclass(frozen=True)
class Column:
    """Documents that go to the engine together."""

    parts: tuple[Screened, ...]
    #: Source bytes of the batch read so far.
    consumed: int

    @cached_property
    def text(self) -> pa.LargeStringArray:
        texts = [part.text for part in self.parts]
        return texts[0] if len(texts) == 1 else pa.concat_arrays(texts)

    @cached_property
    def holds_special(self) -> NDArray[np.bool_]:
        return np.concatenate([part.holds_special for part in self.parts])

    @cached_property
    def learned(self) -> "pa.LargeListArray[Any] | None":
        """Of conversations, what each one has to learn from."""
        spans = [spans for part in self.parts if (spans := part.learned) is not None]
        return pa.concat_arrays(spans) if spans else None

    @property
    def rejected(self) -> list[Rejection]:
        """In source order."""
        return [rejection for part in self.parts for rejection in part.rejected]

    @property
    def place(self) -> Place:
        """Names the column by what was read for it, so that a document refused since does not change its name."""
        first = next((part.found for part in self.parts if len(part.found.positions)), self.parts[0].found)
        position = int(first.positions[0]) if len(first.positions) else 0
        return Place(first.file, position, sum(len(part.found.positions) for part in self.parts))

    def documents(self) -> Iterator[tuple[int, int, Place]]:
        """Each document to encode: index of its part, index into that part's `found`, its place."""
        for number, part in enumerate(self.parts):
            for index in part.kept.tolist():
                yield number, index, Place(part.found.file, int(part.found.positions[index]), alone=True)

    def values(self, name: str) -> list[str | None]:
        """A metadata field of each document to encode."""
        values: list[str | None] = []
        for part in self.parts:
            assert part.found.metadata is not None
            values += part.found.metadata.column(name).take(pa.array(part.kept, pa.int64())).to_pylist()
        return values

    def only(self, rows: NDArray[np.bool_]) -> "Column":
        """Some of the documents to encode, given by a mask over `text`; no rejections."""
        masks = np.split(rows, np.cumsum([len(part.kept) for part in self.parts])[:-1])
        pairs = zip(self.parts, masks, strict=True)
        parts = (Screened(part.found, part.kept[mask], part.holds_special[mask], []) for part, mask in pairs)
        return Column(tuple(parts), self.consumed)

    def dropped(self, rows: NDArray[np.bool_], reason: Reason) -> "Column":
        """The same with some of the documents refused, given by a mask over `text`."""
        ends = np.cumsum([len(part.kept) for part in self.parts])
        numbers = np.flatnonzero(rows)
        parts = np.searchsorted(ends, numbers, side="right")
        places = zip(parts.tolist(), numbers.tolist(), strict=True)
        return self.without({(p, int(self.parts[p].kept[row - ends[p]])): reason for p, row in places})

    def without(self, refused: Mapping[tuple[int, int], Reason]) -> "Column":
        """The same with more documents refused, given as `documents` names them."""
        parts = (
            part.without({index: reason for (of, index), reason in refused.items() if of == number})
            for number, part in enumerate(self.parts)
        )
        return Column(tuple(parts), self.consumed)


def gathered(
    read: Iterator[tuple[Documents, int]], rules: Sequence[tuple[SpecialTokens, Encoder]]
) -> Generator[tuple[Column, ...], None, None]:
    """Columns of documents, screened: the same documents once for each output.

    Args:
        read: documents, each with the source bytes of the batch that are behind it.
        rules: how each output screens, and what encodes it.
    """
    parts: list[tuple[Screened, ...]] = []
    consumed = size = 0
    for found, consumed in read:
        parts.append(tuple(screen(found, policy, encoder) for policy, encoder in rules))
        size += found.text.nbytes + REJECTION_BYTES * len(found.rejected)
        if size >= COLUMN_BYTES // 2:  # what a reader gives is nearly that already: joining two would copy both
            yield tuple(Column(of_one, consumed) for of_one in zip(*parts, strict=True))
            parts, size = [], 0
    if parts:
        yield tuple(Column(of_one, consumed) for of_one in zip(*parts, strict=True))
