"""One output of a batch: columns of documents in, shard files, rejected records and counts out.

Always holds: every document of a column is in the shard or in `rejected/`; ids are compared with the reference's before
anything becomes of them, so that one found wrong never reaches a shard (`Divergence`); nothing has its final name before
`publish`.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tokenmill import storage
from tokenmill.columns import Column
from tokenmill.documents import MetadataFile, Reason, RejectedFile
from tokenmill.engines import REFERENCE, Encoder, SpotCheck, Tokens, joined
from tokenmill.errors import TokenmillError
from tokenmill.facts import Arithmetic, Processor, asked_of, with_facts
from tokenmill.job import Counts, Job
from tokenmill.ledger import Ledger
from tokenmill.lengths import LengthPolicy
from tokenmill.masks import MaskedWriter, unlearnable
from tokenmill.meter import Meter
from tokenmill.packing.writers import packed
from tokenmill.partitions import folder_of, refuse_many
from tokenmill.poison import Deaths, Place
from tokenmill.record import FileDigest
from tokenmill.shards import FORMATS, ShardWriter
from tokenmill.shuffle import ShuffledWriter, keys


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
    #: Computes the job's facts; this processor if None.
    arithmetic: Arithmetic | None = None
    meter: Meter = field(default_factory=Meter)

    def computing(self) -> Arithmetic | None:
        """What computes the job's facts; None if it asks for none. Raises JobError if a test set is not what it was."""
        if self.arithmetic is not None:
            return self.arithmetic
        asked = asked_of(self.job, self.ledger.output)
        return None if asked is None else Processor(asked)

    def trusted(self) -> Self:
        """The same with what its engine falls back to, if that engine has been found wrong."""
        if self.encoder.name == REFERENCE or self.ledger.disabled_engine(self.encoder.name) is None:
            return self
        self.meter.disabled = True
        return replace(self, encoder=self.encoder.fallback, arithmetic=None).trusted()


@dataclass(frozen=True, slots=True)
class Finished:
    """What an entry says of a batch: of all of it, or of the documents that went into one part of a split output."""

    #: The part's folder, below the output; None for the output itself.
    folder: str | None
    counts: Counts
    files: tuple[FileDigest, ...]


class Part:
    """Takes documents once they are ids: all of them, or those of one part of a split output."""

    def __init__(self, job: Job, output: str, index: int, arithmetic: Arithmetic | None) -> None:
        self._policy = LengthPolicy(job.spec, job.bos_id, job.eos_id)
        self.meter = Meter()
        with ExitStack() as files:
            self._writer = files.enter_context(_writer(job, index, output, self.meter, arithmetic))
            self._metadata = files.enter_context(MetadataFile(output, index, job.spec, _keys(job, index)))
            self._files = files.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._files.__exit__(kind, error, trace)

    def append(self, column: Column, tokens: Tokens) -> NDArray[np.bool_] | None:
        """Write a column's documents; returns which of them are too long to be kept, if any are."""
        fitted = self._policy(tokens)
        if fitted.dropped is not None:
            column = column.dropped(fitted.dropped, Reason.TOO_MANY_TOKENS)
        ends = np.cumsum([len(part.kept) for part in column.parts])
        for part, pieces in zip(column.parts, np.split(fitted.pieces, ends[:-1]), strict=True):
            self._metadata.append(part.found, part.kept, pieces)
        self._writer.append(fitted.tokens.ids, fitted.tokens.lengths)
        self.meter.with_special_tokens += int(column.holds_special.sum())
        self.meter.text_bytes += int(pc.sum(pc.binary_length(column.text)).as_py() or 0)
        self.meter.count(fitted.tokens.lengths)
        self.meter.cuts.update(fitted.counts)
        return fitted.dropped

    def publish(self) -> tuple[FileDigest, ...]:
        """Give the files their final names."""
        return (*self._writer.publish(), *self._metadata.publish())


class Sink:
    """Takes a batch's columns for one output, in order."""

    def __init__(self, target: Target, index: int, watch: Watch) -> None:
        self._job, self._output, self._index = target.job, target.ledger.output, index
        self._encoder, self._meter, self._watch = target.encoder, target.meter, watch
        self._arithmetic = target.computing()
        self._check = SpotCheck(target.encoder, target.job.check_every)
        self._files = ExitStack()
        self._rejected = self._files.enter_context(RejectedFile(self._output, index))
        self._parts: dict[str | None, Part] = {}
        if self._job.spec.partition_by is None:
            self._part(None)

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
            if self._job.spec.chat is not None:
                column, tokens = _learnable(column, tokens, self._job.bos_id)
        with meter.timed("write"):  # the check was of what the engine said; what becomes of it is no engine's affair
            column = self._write(column, tokens)
            self._rejected.append(column.rejected)
        meter.rejected.update(rejection.reason.value for rejection in column.rejected)
        meter.input_bytes, meter.checked = column.consumed, self._check.checked
        meter.sum_up(part.meter for part in self._parts.values())

    def publish(self) -> list[Finished]:
        """Give the files their final names; the last one returned is the output itself."""
        with self._meter.timed("commit"):
            # first of all: only now is counted what packing has made of them
            written = {folder: part.publish() for folder, part in self._parts.items()}
            self._meter.sum_up(part.meter for part in self._parts.values())
            parts = [Finished(folder, part.meter.counts(), written[folder]) for folder, part in self._parts.items()]
            files = [
                file if part.folder is None else file.model_copy(update={"path": f"{part.folder}/{file.path}"})
                for part in parts
                for file in part.files
            ]
            whole = Finished(None, self._meter.counts(), (*files, *self._rejected.publish()))
            return [*(part for part in parts if part.folder is not None), whole]

    def _write(self, column: Column, tokens: Tokens) -> Column:
        """Write each document to its part; returns the column without those that are too long."""
        field = self._job.spec.partition_by
        if field is None:
            dropped = self._part(None).append(column, tokens)
            return column if dropped is None else column.dropped(dropped, Reason.TOO_MANY_TOKENS)
        folders = pa.array([folder_of(field, value) for value in column.values(field)], pa.string()).dictionary_encode()
        refuse_many(field, len(self._parts.keys() | set(folders.dictionary.to_pylist())))
        too_long = np.zeros(len(tokens), np.bool_)
        for number, folder in enumerate(folders.dictionary.to_pylist()):
            rows = folders.indices.to_numpy() == number
            dropped = self._part(folder).append(column.only(rows), tokens.only(rows))
            if dropped is not None:
                too_long[np.flatnonzero(rows)[dropped]] = True
        return column.dropped(too_long, Reason.TOO_MANY_TOKENS) if too_long.any() else column

    def _part(self, folder: str | None) -> Part:
        """The part that lies in a folder below the output, or all of it."""
        if folder not in self._parts:
            place = self._output if folder is None else storage.join(self._output, folder)
            self._parts[folder] = self._files.enter_context(Part(self._job, place, self._index, self._arithmetic))
        return self._parts[folder]

    def _encode(self, column: Column) -> tuple[Column, Tokens]:
        """A column's ids, and the column without the documents that had to be given up."""
        deaths = self._watch.deaths
        if column.place not in deaths:
            tokens = _tried(self._encoder, column.text, column.holds_special, column.learned)
            if tokens is not None:
                return column, tokens
        # by the reference, each document alone: one that cannot be encoded then takes no other along
        refused: dict[tuple[int, int], Reason] = {}
        encoded: list[Tokens] = []
        for row, (part, index, place) in enumerate(column.documents()):
            reason = deaths.verdict(place)
            if reason is None:
                self._watch.at(place)
                learned = None if column.learned is None else column.learned[row : row + 1]
                tokens = _tried(
                    self._encoder.reference, column.text[row : row + 1], column.holds_special[row : row + 1], learned
                )
                if tokens is not None:
                    encoded.append(tokens)
                    continue
                reason = Reason.NOT_ENCODABLE
            refused[part, index] = reason
        self._meter.one_by_one += len(encoded)
        return column.without(refused), joined(encoded)


def _writer(job: Job, index: int, output: str, meter: Meter, arithmetic: Arithmetic | None) -> ShardWriter:
    """What takes the documents of a batch, in source order."""
    writer, seed = FORMATS[job.spec.format].writer(output, index, job.spec.dtype), job.spec.shuffle
    if job.spec.chat is not None:
        writer = MaskedWriter(writer, output, index, meter.cuts)
    writer = packed(writer, output, index, job.spec.pack, job.pad_id, meter.cuts)
    writer = with_facts(writer, job, output, index, arithmetic, meter.contaminated)
    return writer if seed is None else ShuffledWriter(writer, output, seed, index)


def _keys(job: Job, index: int) -> Callable[[int, int], NDArray[np.uint64]] | None:
    """What the documents of a shuffled batch are sorted by."""
    return None if job.spec.shuffle is None else partial(keys, job.spec.shuffle, index)


def _learnable(column: Column, tokens: Tokens, bos: int | None) -> tuple[Column, Tokens]:
    """A column and its ids without the conversations that cannot be learned from."""
    for reason, rows in unlearnable(tokens, bos).items():
        if rows.any():
            return _learnable(column.dropped(rows, reason), tokens.only(~rows), bos)
    return column, tokens


def _tried(
    encoder: Encoder, text: pa.LargeStringArray, holds_special: NDArray[np.bool_], learned: "pa.LargeListArray[Any] | None"
) -> Tokens | None:
    """The ids; None where the engine gave an error over some document."""
    try:
        return encoder.encode(text, holds_special, learned)
    except (TokenmillError, MemoryError):
        raise
    except Exception:
        return None
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # what becomes of a panic in Rust (pyo3); it is no Exception
            return None
        raise
