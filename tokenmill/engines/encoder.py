"""Exact ids for a text column under a job's rules: the job's engine, and the reference where only that will do.

Comes in: a text column without damage. Goes out: `Tokens` with BOS and EOS in place. Always holds: a fast engine never sees a
document that holds a special token's string; those go to the reference, which has the rule for them (law 5).
"""

from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenmill.engines.contract import Engine, Tokens, from_lengths
from tokenmill.engines.reference import ReferenceEngine
from tokenmill.engines.registry import engine_type
from tokenmill.job import JobSpec, SpecialTokens
from tokenmill.tokenizers import Model, SpecialTokenSearch


class Encoder:
    """One engine bound to one tokenizer and one job's rules."""

    def __init__(self, model: Model, spec: JobSpec, engine: str) -> None:
        """Raises UsageError if there is no such engine; whatever the engine raises if it cannot load the tokenizer."""
        self._search, self._model = SpecialTokenSearch(model), model
        self._parse_special = spec.special_tokens is SpecialTokens.PARSE
        self._engine: Engine = self._reference if engine == ReferenceEngine.name else engine_type(engine)(model)
        self.name, self.version = self._engine.name, self._engine.version
        self._bos, self._eos = model.id_of(spec.bos_token), model.id_of(spec.eos_token)

    @cached_property
    def _reference(self) -> ReferenceEngine:
        """Made when the first document needs it: it loads for half a second."""
        return ReferenceEngine(self._model, parse_special=self._parse_special)

    def holds_special(self, text: pa.LargeStringArray) -> NDArray[np.bool_]:
        """For each document, whether it holds a special token's string."""
        return self._search.holds(text)

    def encode(self, text: pa.LargeStringArray, holds_special: NDArray[np.bool_]) -> Tokens:
        """The ids of each document, BOS and EOS included.

        Args:
            text: the documents.
            holds_special: what `holds_special` says of them.
        """
        if self.name == ReferenceEngine.name or not holds_special.any():
            return self._with_ends(self._engine.encode(text))
        fast = self._engine.encode(text.filter(pa.array(~holds_special)))
        exact = self._reference.encode(text.filter(pa.array(holds_special)))
        return self._with_ends(_interleave(fast, exact, holds_special))

    def _with_ends(self, tokens: Tokens) -> Tokens:
        before, after = int(self._bos is not None), int(self._eos is not None)
        if not before and not after:
            return tokens
        lengths = tokens.lengths + before + after
        result = from_lengths(np.empty(int(lengths.sum()), np.uint32), lengths)
        body = np.ones(len(result.ids), dtype=np.bool_)
        if self._bos is not None:
            result.ids[result.offsets[:-1]] = self._bos
            body[result.offsets[:-1]] = False
        if self._eos is not None:
            result.ids[result.offsets[1:] - 1] = self._eos
            body[result.offsets[1:] - 1] = False
        result.ids[body] = tokens.ids
        return result


def _interleave(first: Tokens, second: Tokens, takes_second: NDArray[np.bool_]) -> Tokens:
    """Merge two sets of documents back into the order of the column they were filtered from."""
    lengths = np.empty(len(takes_second), dtype=np.int64)
    lengths[~takes_second], lengths[takes_second] = first.lengths, second.lengths
    result = from_lengths(np.empty(int(lengths.sum()), np.uint32), lengths)
    from_second = np.repeat(takes_second, lengths)
    result.ids[~from_second], result.ids[from_second] = first.ids, second.ids
    return result
