"""One output of a batch: columns of documents in, shard files, rejected records and counts out.

Always holds: every document of a column is in the shard or in `rejected/`; ids are compared with the reference's before
anything becomes of them, so that one found wrong never reaches a shard (`Divergence`); nothing has its final name before
`publish`.
"""

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Protocol, Self

import pyarrow as pa
import pyarrow.compute as pc
from numpy import bool_
from numpy.typing import NDArray

from tokenmill.columns import Column
from tokenmill.documents import MetadataFile, Reason, RejectedFile
from tokenmill.engines import Encoder, SpotCheck, Tokens, joined
from tokenmill.errors import TokenmillError
from tokenmill.job import FileDigest, Job
from tokenmill.ledger import Ledger
from tokenmill.lengths import LengthPolicy
from tokenmill.meter import Meter
from tokenmill.poison import Deaths, Place
from tokenmill.shards import FORMATS, ShardWriter
from tokenmill.shuffle import ShuffledWriter


class Watch(Protocol):
    """Whoever watches over one attempt at a batch."""

    @property
    def deaths(self) -> Deaths:
        """What earlier attempts died of."""
        ...

    def at(self, place: Place | None) -> None:
        """The work is here now; None for everything but encoding. Raises `Abandoned` if it shall not go on."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """Where a batch goes, and what encodes it."""

    job: Job
    ledger: Ledger
    encoder: Encoder
    meter: Meter = field(default_factory=Meter)

    def trusted(self) -> Self:
        """The same with the reference, if its engine has been found wrong."""
        return self if self.ledger.disabled_engine(self.encoder.name) is None else self.with_reference()

    def with_reference(self) -> Self:
        """The same without its engine."""
        self.meter.disabled = True
        return replace(self, encoder=self.encoder.reference)


class Sink:
    """Takes a batch's columns for one output, in order."""

    def __init__(self, target: Target, index: int, watch: Watch) -> None:
        job, output = target.job, target.ledger.output
        self._encoder, self._meter, self._watch = target.encoder, target.meter, watch
        self._check = SpotCheck(target.encoder, job.check_every)
        self._policy = LengthPolicy(job.spec, job.bos_id, job.eos_id)
        self._files = ExitStack()
        self._writer = self._files.enter_context(_writer(job, index, output))
        self._rejected = self._files.enter_context(RejectedFile(output, index))
        self._metadata = self._files.enter_context(MetadataFile(output, index, job.spec))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._files.__exit__(kind, error, trace)

    def take(self, column: Column) -> None:
        """Encode a column and write it. Raises Divergence where the live check finds a wrong id."""
        meter = self._meter
        with meter.timed("encode"):
            column, tokens = self._encode(column)
        with meter.timed("check"):
            self._check(column.text, column.holds_special, tokens)
        with meter.timed("write"):  # the check was of what the engine said; what becomes of it is no engine's affair
            fitted = self._policy(tokens)
            if fitted.dropped is not None:
                column = column.dropped(fitted.dropped, Reason.TOO_MANY_TOKENS)
            self._rejected.append(column.rejected)
            for part in column.parts:
                self._metadata.append(part.found, part.kept)
            self._writer.append(fitted.tokens.ids, fitted.tokens.lengths)
        meter.rejected.update(rejection.reason.value for rejection in column.rejected)
        meter.with_special_tokens += int(column.holds_special.sum())
        meter.text_bytes += int(pc.sum(pc.binary_length(column.text)).as_py() or 0)
        meter.input_bytes, meter.checked = column.consumed, self._check.checked
        meter.count(fitted.tokens.lengths)
        meter.cuts.update(fitted.counts)

    def publish(self) -> tuple[FileDigest, ...]:
        """Give the files their final names."""
        with self._meter.timed("commit"):
            return (*self._writer.publish(), *self._rejected.publish(), *self._metadata.publish())

    def _encode(self, column: Column) -> tuple[Column, Tokens]:
        """A column's ids, and the column without the documents that had to be given up."""
        deaths = self._watch.deaths
        if column.place not in deaths:
            tokens = _tried(self._encoder, column.text, column.holds_special)
            if tokens is not None:
                return column, tokens
        # by the reference, each document alone: one that cannot be encoded then takes no other along
        refused: dict[tuple[int, int], Reason] = {}
        encoded: list[Tokens] = []
        for row, (part, index, place) in enumerate(column.documents()):
            reason = deaths.verdict(place)
            if reason is None:
                self._watch.at(place)
                tokens = _tried(self._encoder.reference, column.text[row : row + 1], column.holds_special[row : row + 1])
                if tokens is not None:
                    encoded.append(tokens)
                    continue
                reason = Reason.NOT_ENCODABLE
            refused[part, index] = reason
        self._meter.one_by_one += len(encoded)
        return column.without(refused), joined(encoded)


def _writer(job: Job, index: int, output: str) -> ShardWriter:
    """What takes the documents of a batch, in source order."""
    writer, seed = FORMATS[job.spec.format].writer(output, index, job.spec.dtype), job.spec.shuffle
    return writer if seed is None else ShuffledWriter(writer, output, seed, index)


def _tried(encoder: Encoder, text: pa.LargeStringArray, holds_special: NDArray[bool_]) -> Tokens | None:
    """The ids; None where the engine gave an error over some document."""
    try:
        return encoder.encode(text, holds_special)
    except (TokenmillError, MemoryError):
        raise
    except Exception:
        return None
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # what becomes of a panic in Rust (pyo3); it is no Exception
            return None
        raise
