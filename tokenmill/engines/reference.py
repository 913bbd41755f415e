"""The oracle: Hugging Face `tokenizers`, pinned. Its version and its Unicode tables define what "exact" means."""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np
import pyarrow as pa

from tokenmill.engines.contract import Tokens, strings
from tokenmill.engines.seams import seam
from tokenmill.tokenizers import Model

#: Characters of text per call, and about those of a long document's parts: what a call makes takes 80 to 140 bytes for each.
CALL_BYTES = 256 << 10


class ReferenceEngine:
    """Encodes with `tokenizers.Tokenizer.encode_batch_fast`.

    With `parse_special` a special token's string in the text becomes its id; without, it is text like any other
    (`encode_special_tokens`, which leaves the added tokens that are not marked special alone).
    """

    def __init__(self, model: Model, *, parse_special: bool = False) -> None:
        self._model, self._tokenizer = model, model.reference()
        self._tokenizer.encode_special_tokens = not parse_special

    @staticmethod
    def supports(model: Model) -> str | None:
        return None

    def encode(self, text: pa.LargeStringArray) -> Tokens:
        documents = [self._parts(document) for document in strings(text)]
        ids: list[np.ndarray] = [np.empty(0, np.uint32)]
        for texts in _calls(part for parts in documents for part in parts):
            encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            ids.extend(np.array(encoding.ids, dtype=np.uint32) for encoding in encodings)
        ends = np.cumsum([len(part) for part in ids])  # of the parts; the first, empty, is where the first document begins
        return Tokens(np.concatenate(ids), ends[np.cumsum([0, *map(len, documents)])])

    @cached_property
    def _seam(self) -> re.Pattern[str] | None:
        return seam(self._model, self._tokenizer)

    def _parts(self, document: str) -> list[str]:
        """A long document cut where that changes no id, if there are such places; any other is one part."""
        parts, begin = [], 0
        while len(document) - begin > CALL_BYTES and self._seam and (cut := self._seam.search(document, begin + CALL_BYTES)):
            parts.append(document[begin : cut.end()])
            begin = cut.end()
        return [*parts, document[begin:]]


def _calls(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in groups of about CALL_BYTES."""
    call: list[str] = []
    size = 0
    for text in texts:
        if call and size >= CALL_BYTES:
            yield call
            call, size = [], 0
        call.append(text)
        size += len(text)
    if call:
        yield call
