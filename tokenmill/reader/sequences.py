"""The rows of a packed job, as they were packed: one sequence a row.

Always holds: every token of the job is an input in exactly one row; a row knows nothing of another one: its last token has no
target; `document_ids`, `position_ids` and `attention_mask` are those of the pieces in it, of which a document's continuation in
the next row is another one.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from tokenmill.errors import UsageError
from tokenmill.reader.rows import IGNORED, Numbers, Rows

if TYPE_CHECKING:
    from tokenmill.reader.dataset import TokenDataset


class Sequences(Rows):
    """The packed rows of a job."""

    def __init__(
        self, dataset: "TokenDataset", length: int | None = None, *, cross_documents: bool = True, **options: Any
    ) -> None:
        """
        Args:
            length: tokens of a row that you train with; refused if the job was packed into others. None takes them as they are.
            cross_documents: whether a document's last token has the next one's first as its target.
            options: those of `Rows`.
        """
        packing = dataset.manifest.pack
        if packing is None:
            raise UsageError(f"{dataset.output} is not packed (tokenmill run --pack LENGTH). Use windows() or documents().")
        if length is not None and length != packing.length:
            raise UsageError(
                f"length is {length}; {dataset.output} was packed into rows of {packing.length}. Use these, or pack it anew."
            )
        super().__init__(dataset, **options)
        self.length, self._cross = packing.length, cross_documents
        self.padding, self.dropped_tokens = dataset.manifest.tokens_padding, 0

    def __len__(self) -> int:
        return self.dataset.manifest.sequences

    @property
    def identity(self) -> dict[str, Any]:
        return {"job": self.dataset.manifest.job_id, "rows": "sequences", "length": self.length}

    def spans(self, rows: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        starts = rows * self.length
        shards = self.dataset.shards_of(starts)
        firsts = self.dataset.spans_of(shards)[0] // self.length
        stops = starts.copy()
        for shard in np.unique(shards).tolist():
            own = shards == shard
            stops[own] += self.dataset.opened(shard).used[rows[own] - firsts[own]]
        return starts, stops, stops

    def width(self, lengths: Numbers) -> int:  # noqa: ARG002 - rows are as wide as they were packed
        return self.length

    def _targets(self, ids: Any, starts: list[int], stops: list[int], limits: list[int]) -> Numbers:
        targets = super()._targets(ids, starts, stops, limits)
        if not self._cross:
            documents, _ = self._places(ids.shape, starts, stops)
            targets[:, :-1][documents[:, :-1] != documents[:, 1:]] = IGNORED
        return targets
