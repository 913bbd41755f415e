"""The oracle: Hugging Face `tokenizers`, pinned. Its version and its Unicode tables define what "exact" means."""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from tokenmill.engines.contract import LEARNED, Tokens, strings
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

    def encode_learned(self, text: pa.LargeStringArray, learned: "pa.LargeListArray[Any]") -> Tokens:
        """The ids of each document, marked where the token overlaps a span to learn from.

        That is what transformers 5.24 learns from (`apply_chat_template` with `return_assistant_tokens_mask`).

        Args:
            learned: each document's spans: start, stop, start, stop … in characters, in order.
        """
        ids: list[np.ndarray] = []
        ends = np.cumsum(learned.value_lengths().to_numpy())
        spans = np.split(learned.flatten().to_numpy(), ends[:-1])
        for document, places in zip(strings(text), spans, strict=True):
            begin = 0
            marked: list[np.ndarray] = [np.empty(0, np.uint32)]
            for parts in _calls(self._parts(document)):
                for part, encoding in zip(parts, self._tokenizer.encode_batch(parts, add_special_tokens=False), strict=True):
                    tokens = np.array(encoding.ids, np.uint32)
                    at = np.array(encoding.offsets, np.int64).reshape(-1, 2) + begin
                    marked.append(tokens | np.where(_overlap(at, places), LEARNED, np.uint32(0)))
                    begin += len(part)
            ids.append(np.concatenate(marked))
        return Tokens(np.concatenate(ids), np.cumsum([0, *map(len, ids)]))

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


def _overlap(tokens: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Which tokens, given by start and stop, overlap one of the spans: of those that end behind its start, the first."""
    starts, stops = places[::2], np.maximum.accumulate(places[1::2])
    span = np.searchsorted(stops, tokens[:, 0], side="right")
    there = span < len(starts)
    there[there] = tokens[there, 1] > starts[span[there]]
    return there


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
