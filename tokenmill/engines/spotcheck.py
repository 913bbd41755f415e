"""The live check: some documents of every batch are encoded again with the reference while the job runs.

Comes in: text columns and what the engine made of them. Goes out: nothing, or the first document whose ids differ. Always
holds: which documents are checked depends on the batch alone, so a batch done again is checked in the same places; the first
one is always among them.
"""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tokenmill.engines.contract import Tokens
from tokenmill.engines.encoder import Encoder
from tokenmill.engines.registry import REFERENCE

#: A longer document is passed over for the next: the reference takes 0.5 s a megabyte, and 100 MB where it has no seams.
LONGEST = 1 << 20


class Divergence(Exception):
    """The engine's ids of a document are not the reference's; it never leaves the pipeline."""

    def __init__(self, excerpt: str, found: list[int], expected: list[int]) -> None:
        self.excerpt, self.found, self.expected = excerpt, found, expected


@dataclass(slots=True)
class SpotCheck:
    """Checks one document in `every`, over one batch."""

    encoder: Encoder
    #: 0 checks nothing.
    every: int
    #: Documents compared so far.
    checked: int = 0
    #: Documents to pass over before the next one to check.
    _pause: int = field(default=0)

    def __call__(self, text: pa.LargeStringArray, holds_special: NDArray[np.bool_], tokens: Tokens) -> None:
        """Check what is due in a column. Raises Divergence."""
        if not self.every or self.encoder.name == REFERENCE:
            return
        due = self._due(text)
        if not due:
            return
        chosen = pa.array(due)
        expected = self.encoder.reference.encode(text.take(chosen), holds_special[due])
        self.checked += len(due)
        for place, index in enumerate(due):
            if not np.array_equal(tokens.document(index), expected.document(place)):
                wrong, right = tokens.document(index)[:16].tolist(), expected.document(place)[:16].tolist()
                raise Divergence(text[index].as_py()[:200], wrong, right)

    def _due(self, text: pa.LargeStringArray) -> list[int]:
        short = pc.binary_length(text).to_numpy(zero_copy_only=False) <= LONGEST
        due: list[int] = []
        place = self._pause
        while place < len(text):
            following = np.flatnonzero(short[place:])
            if not len(following):
                place = len(text)
                break
            due.append(place + int(following[0]))
            place = due[-1] + self.every
        self._pause = place - len(text)
        return due
