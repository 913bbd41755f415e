"""splintr-rs 0.22: Unigram at 12 to 17 times the reference's speed."""

import msgspec
import numpy as np
import pyarrow as pa
import splintr
from numpy.typing import NDArray

from tokenmill.engines.contract import Tokens, from_lengths, strings
from tokenmill.tokenizers import Model


class SplintrEngine:
    """Encodes with `encode_flat`, a document a call: its batch calls make a thread pool, which deadlocks a forked child.

    Neighbouring unknown characters become one unknown token, or their bytes. The reference counts in the unknown token's own
    string (`☃<unk>☃` is one unknown token of T5), splintr does not. A text that holds that string, or becomes it by
    normalization, shows it in splintr's ids: two unknown tokens side by side, or one where characters become bytes.
    """

    def __init__(self, model: Model) -> None:
        self._tokenizer = splintr.from_json_bytes(model.plain_json)
        self._unknown = model.part("model", _Unknown)

    @staticmethod
    def supports(model: Model) -> str | None:
        return None if model.family == "Unigram" else f"splintr-rs is used for Unigram, not {model.family}"

    def encode(self, text: pa.LargeStringArray) -> Tokens:
        documents = [self._tokenizer.encode_flat(document) for document in strings(text)]
        lengths = np.fromiter(map(len, documents), dtype=np.int64, count=len(documents)) // 4
        tokens = from_lengths(np.frombuffer(b"".join(documents), np.uint32), lengths)
        return Tokens(tokens.ids, tokens.offsets, self._unsure(tokens))

    def _unsure(self, tokens: Tokens) -> NDArray[np.bool_]:
        """Documents in which the unknown token's own string may stand."""
        unknown = np.flatnonzero(tokens.ids == self._unknown.unk_id)
        if not self._unknown.byte_fallback:  # the two may lie in two documents: then the first is named for nothing
            unknown = unknown[:-1][np.diff(unknown) == 1]
        unsure = np.zeros(len(tokens), np.bool_)
        unsure[np.searchsorted(tokens.offsets, unknown, side="right") - 1] = True
        return unsure


class _Unknown(msgspec.Struct):
    """What a Unigram model does with characters that no piece spells. A file that names no token for them is refused."""

    unk_id: int
    byte_fallback: bool = False
