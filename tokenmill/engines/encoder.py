"""Exact ids for a text column under a job's rules: an engine, and its fallback where the engine will not do.

Comes in: a text column without damage. Goes out: `Tokens` with BOS and EOS in place. Always holds: a document with a code point
of the engine's guard goes to the fallback, and so does one of which the engine itself is not sure, and, where special tokens
are to be parsed, one that holds such a token's string: an engine takes all text as text (law 5). An engine loads at the first
document that needs it; the last fallback is the reference.
"""

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenmill.engines.contract import Engine, Tokens, Unavailable, from_lengths, with_ends
from tokenmill.engines.reference import ReferenceEngine
from tokenmill.engines.registry import GPU, REFERENCE, engine_type, engine_version
from tokenmill.process import release_memory, resident_bytes
from tokenmill.spec import JobSpec, SpecialTokens
from tokenmill.tokenizers import Model, TextSearch

if TYPE_CHECKING:  # CUDA's packages are not imported where there is no GPU
    from tokenmill.engines.cuda.device import Device

log = logging.getLogger(__name__)

#: Engines remember the words they have met, some without bound: gigatoken 0.10 (its issue #36) takes ten bytes for each byte of
#: text that never repeats. A process that holds more than this forgets them, which costs the second that an engine loads …
RESIDENT_BYTES = 480 << 20
#: … but not before what was loaded last had this much room: the engines of two tokenizers in one process (several outputs of
#: one read), with 96 MiB, were loaded anew every 60 MB of mixed text.
CACHE_BYTES = 256 << 20


class Encoder:
    """One engine bound to one tokenizer and one job's rules."""

    #: Bytes that this process may hold before an engine is loaded anew. The process's, not each engine's own: a second
    #: tokenizer beside the first would take the first one's room, and both would be loaded anew for every column.
    _most: ClassVar[int] = RESIDENT_BYTES

    def __init__(
        self, model: Model, spec: JobSpec, engine: str, guard: tuple[int, ...] = (), fallback: "Encoder | None" = None
    ) -> None:
        """Raises UsageError if there is no such engine.

        Args:
            guard: code points on which the engine is not exact.
            fallback: takes the documents that the engine does not vouch for; the reference if None.
        """
        self.model, self.spec, self.name, self.guard = model, spec, engine, guard
        self.version = engine_version(engine)
        self._type = engine_type(engine)
        # what a template has written is meant, and what a conversation says was looked at before
        self._parse = spec.special_tokens is SpecialTokens.PARSE or spec.chat is not None
        self._special = TextSearch(token["content"] for token in model.special_tokens)
        self._guarded = TextSearch(map(chr, guard))
        self._bos, self._eos = model.id_of(spec.bos_token), model.id_of(spec.eos_token)
        self._fallback = fallback
        #: Why its engine no longer runs here, and its fallback does all; None while it does.
        self.lost: str | None = None

    @cached_property
    def reference(self) -> "Encoder":
        """The same rules with the reference alone: what defines this encoder's ids."""
        if self._fallback is not None:
            return self._fallback.reference
        return self if self.name == REFERENCE else Encoder(self.model, self.spec, REFERENCE)

    @property
    def fallback(self) -> "Encoder":
        """The same rules without this engine."""
        return self._fallback or self.reference

    @property
    def device(self) -> "Device | None":
        """What its engine runs on beside the processor; None for nothing, and once that is lost."""
        if self.name != GPU or self.lost is not None:
            return None
        from tokenmill.engines.cuda import CudaEngine

        engine = self._engine
        assert isinstance(engine, CudaEngine)
        return engine.device

    def load(self) -> None:
        """Load what is needed for every document now. Raises whatever the engine raises about a file it does not take."""
        _ = self._engine

    def holds_special(self, text: pa.LargeStringArray) -> NDArray[np.bool_]:
        """For each document, whether it holds a special token's string."""
        return self._special.holds(text)

    def encode(
        self, text: pa.LargeStringArray, holds_special: NDArray[np.bool_], learned: "pa.LargeListArray[Any] | None" = None
    ) -> Tokens:
        """The ids of each document, BOS and EOS included.

        Args:
            text: the documents.
            holds_special: what `holds_special` says of them.
            learned: for conversations, what of each is learned from, see `ReferenceEngine.encode_learned`.
        """
        if not len(text):
            return Tokens(np.empty(0, np.uint32), np.zeros(1, np.int64))
        if learned is not None:
            engine = self.reference._engine
            assert isinstance(engine, ReferenceEngine)
            bare = engine.encode_learned(text, learned)
        else:
            bare = self._bare(text, holds_special)
        tokens = with_ends(bare, self._bos, self._eos)
        if resident_bytes() > self._most:
            self._forget()
            _settle()  # or what no engine gives back would be looked for at every column
        return tokens

    @cached_property
    def _engine(self) -> Engine:
        engine = ReferenceEngine(self.model, parse_special=self._parse) if self.name == REFERENCE else self._type(self.model)
        _settle()  # what it was parsed from goes
        return engine

    def _forget(self) -> None:
        """Drop the engine with all it has remembered; the next document loads it anew. A GPU's bounds itself, and stays."""
        if self._fallback is not None:
            self._fallback._forget()
        else:
            self.__dict__.pop("_engine", None)

    def _bare(self, text: pa.LargeStringArray, holds_special: NDArray[np.bool_]) -> Tokens:
        if self.name == REFERENCE:
            return self._engine.encode(text)
        if self.lost is not None:
            return self.fallback._bare(text, holds_special)
        delicate = self._guarded.holds(text) | holds_special if self._parse else self._guarded.holds(text)
        try:
            fast = self._engine.encode(text.filter(pa.array(~delicate)) if delicate.any() else text)
        except Unavailable as error:
            self.lost = str(error)
            log.warning("%s is no longer used here: %s", self.name, error)
            return self.fallback._bare(text, holds_special)
        if fast.unsure is not None and fast.unsure.any():
            delicate[~delicate] = fast.unsure
            fast = fast.only(~fast.unsure)
        if not delicate.any():
            return fast
        exact = self.fallback._bare(text.filter(pa.array(delicate)), holds_special[delicate])
        return _interleave(fast, exact, delicate)


def _settle() -> None:
    """Give back what nobody holds, and let the engines have their room beside what is left."""
    release_memory()
    Encoder._most = max(RESIDENT_BYTES, resident_bytes() + CACHE_BYTES)


def _interleave(first: Tokens, second: Tokens, takes_second: NDArray[np.bool_]) -> Tokens:
    """Merge two sets of documents back into the order of the column they were filtered from."""
    lengths = np.empty(len(takes_second), dtype=np.int64)
    lengths[~takes_second], lengths[takes_second] = first.lengths, second.lengths
    result = from_lengths(np.empty(int(lengths.sum()), np.uint32), lengths)
    from_second = np.repeat(takes_second, lengths)
    result.ids[~from_second], result.ids[from_second] = first.ids, second.ids
    return result
