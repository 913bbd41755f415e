"""The oracle: Hugging Face `tokenizers`, pinned. Its version and its Unicode tables define what "exact" means."""

import numpy as np
import pyarrow as pa

from tokenmill.engines.contract import Tokens, from_lengths, strings
from tokenmill.tokenizers import Model

#: Bytes of text per call; an Encoding object takes about a hundred bytes per token.
CALL_BYTES = 256 << 10


class ReferenceEngine:
    """Encodes with `tokenizers.Tokenizer.encode_batch_fast`.

    With `parse_special` a special token's string in the text becomes its id; without, it is text like any other
    (`encode_special_tokens`, which leaves the added tokens that are not marked special alone).
    """

    def __init__(self, model: Model, *, parse_special: bool = False) -> None:
        self._tokenizer = model.reference()
        self._tokenizer.encode_special_tokens = not parse_special

    @staticmethod
    def supports(model: Model) -> str | None:
        return None

    def encode(self, text: pa.LargeStringArray) -> Tokens:
        ids: list[np.ndarray] = []
        for texts in _calls(text):
            encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            ids.extend(np.array(encoding.ids, dtype=np.uint32) for encoding in encodings)
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        return from_lengths(np.concatenate(ids) if ids else np.empty(0, np.uint32), lengths)


def _calls(text: pa.LargeStringArray) -> list[list[str]]:
    """The documents in groups of about CALL_BYTES."""
    calls: list[list[str]] = []
    size = CALL_BYTES
    for document in strings(text):
        if size >= CALL_BYTES:
            calls.append([])
            size = 0
        calls[-1].append(document)
        size += len(document)
    return calls
