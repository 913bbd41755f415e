"""One batch, from source bytes to committed shard: documents -> engine -> shard -> entry.

Comes in: a job, a planned batch, an encoder, and whoever watches over the attempt. Goes out: shard files, rejected records, and
last the entry. Always holds: every document read is in the shard or in `rejected/`; the same batch gives the same bytes whoever
runs it, and running it twice writes the same files again; ids that the live check has found wrong never reach a shard; sources
that are not what the plan saw are never published. This is the only file that composes the three rooms.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tokenmill import documents
from tokenmill.columns import Column, gathered
from tokenmill.documents import Documents, MetadataFile, Reason, RejectedFile, check_unchanged
from tokenmill.engines import Divergence, Encoder, SpotCheck, Tokens, joined
from tokenmill.errors import TokenmillError
from tokenmill.job import Batch, DisabledEngine, FileDigest, Job, Run, ShardEntry
from tokenmill.ledger import Ledger
from tokenmill.lengths import LengthPolicy
from tokenmill.masks import MaskedWriter, unlearnable
from tokenmill.meter import Meter
from tokenmill.poison import Deaths, Place
from tokenmill.prefetch import prefetched
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


class Abandoned(Exception):
    """The batch is no longer this worker's, or no longer wanted; it was not committed. Says why; leaves the pipeline."""


def run_batch(
    job: Job, batch: Batch, encoder: Encoder, ledger: Ledger, meter: Meter, watch: Watch, *, worker: str, attempt: int
) -> ShardEntry | None:
    """Encode one batch and commit it; returns its entry, or None where another worker's stands.

    If that one names other bytes, which only an engine found wrong meanwhile makes, it is taken back: the batch is done again.

    If the live check finds a wrong id, the engine is disabled for the whole job and the batch is done again with the reference.

    Raises BatchError if a source is damaged or has changed, TransientError if storage is away, JobError if ids do not fit,
    Abandoned if the watch says so.
    """
    if ledger.disabled_engine(encoder.name) is not None:
        encoder, meter.disabled = encoder.reference, True
    started, begin = time.time(), time.perf_counter()
    try:
        files = _write_files(job, batch, encoder, ledger, meter, watch)
    except Divergence as divergence:
        ledger.disable_engine(_disabled(job, batch, encoder, divergence, worker))
        encoder = encoder.reference
        meter.clear()
        meter.found_wrong = meter.disabled = True
        files = _write_files(job, batch, encoder, ledger, meter, watch)
    entry = ShardEntry(
        job_id=job.job_id,
        index=batch.index,
        counts=meter.counts(),
        files=files,
        run=Run(
            engine=f"{encoder.name} {encoder.version}",
            worker=worker,
            attempt=attempt,
            started=started,
            seconds=time.perf_counter() - begin,
            stages=meter.stages,
            checked=meter.checked,
            one_by_one=meter.one_by_one,
        ),
    )
    with meter.timed("commit"):
        if ledger.commit(entry):
            return entry
        standing = ledger.entry(batch.index) or entry
        if standing.files != entry.files:  # ours have just replaced the ones it names: nobody can say which are right
            ledger.revoke(batch.index)
        return None


def _write_files(
    job: Job, batch: Batch, encoder: Encoder, ledger: Ledger, meter: Meter, watch: Watch
) -> tuple[FileDigest, ...]:
    """Write shard and rejected records of a batch under their final names."""
    check = SpotCheck(encoder, job.check_every)
    policy = LengthPolicy(job.spec, job.bos_id, job.eos_id)
    columns = gathered(_read(job, batch, meter), job.spec.special_tokens, encoder)
    if not watch.deaths:  # after a death one thing at a time is done, so that the next one can be laid to the right place
        columns = prefetched(columns)
    with (
        _writer(job, batch, ledger.output) as writer,
        RejectedFile(ledger.output, batch.index) as rejected,
        MetadataFile(ledger.output, batch.index, job.spec) as metadata,
        closing(columns),
    ):
        for column in columns:
            watch.at(column.place)
            with meter.timed("encode"):
                column, tokens = _encode(column, encoder, watch, meter)
            with meter.timed("check"):
                check(column.text, column.holds_special, tokens)
                if job.spec.chat is not None:
                    column, tokens = _learnable(column, tokens, job.bos_id)
            with meter.timed("write"):  # the check was of what the engine said; what becomes of it is no engine's affair
                fitted = policy(tokens)
                if fitted.dropped is not None:
                    column = column.dropped(fitted.dropped, Reason.TOO_MANY_TOKENS)
                rejected.append(column.rejected)
                for part in column.parts:
                    metadata.append(part.found, part.kept)
                writer.append(fitted.tokens.ids, fitted.tokens.lengths)
            meter.rejected.update(rejection.reason.value for rejection in column.rejected)
            meter.with_special_tokens += int(column.holds_special.sum())
            meter.text_bytes += int(pc.sum(pc.binary_length(column.text)).as_py() or 0)
            meter.input_bytes, meter.checked = column.consumed, check.checked
            meter.count(fitted.tokens.lengths)
            meter.cuts.update(fitted.counts)
            if watch.deaths:
                watch.at(None)
        watch.at(None)
        for span in batch.spans:
            check_unchanged(span)
        with meter.timed("commit"):
            return (*writer.publish(), *rejected.publish(), *metadata.publish())


def _writer(job: Job, batch: Batch, output: str) -> ShardWriter:
    """What takes the documents of a batch, in source order."""
    writer, seed = FORMATS[job.spec.format].writer(output, batch.index, job.spec.dtype), job.spec.shuffle
    if job.spec.chat is not None:
        writer = MaskedWriter(writer, output, batch.index)
    return writer if seed is None else ShuffledWriter(writer, output, seed, batch.index)


def _encode(column: Column, encoder: Encoder, watch: Watch, meter: Meter) -> tuple[Column, Tokens]:
    """A column's ids, and the column without the documents that had to be given up."""
    if column.place not in watch.deaths:
        tokens = _tried(encoder, column.text, column.holds_special, column.learned)
        if tokens is not None:
            return column, tokens
    # by the reference, each document alone: one that cannot be encoded then takes no other along
    refused: dict[tuple[int, int], Reason] = {}
    encoded: list[Tokens] = []
    for row, (part, index, place) in enumerate(column.documents()):
        reason = watch.deaths.verdict(place)
        if reason is None:
            watch.at(place)
            learned = None if column.learned is None else column.learned[row : row + 1]
            tokens = _tried(encoder.reference, column.text[row : row + 1], column.holds_special[row : row + 1], learned)
            if tokens is not None:
                encoded.append(tokens)
                continue
            reason = Reason.NOT_ENCODABLE
        refused[part, index] = reason
    meter.one_by_one += len(encoded)
    return column.without(refused), joined(encoded)


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


def _read(job: Job, batch: Batch, meter: Meter) -> Iterator[tuple[Documents, int]]:
    """The documents of all spans, each with the source bytes of the batch that are behind it."""
    before = 0
    for span in batch.spans:
        check_unchanged(span)
        found = documents.read(span, job.spec)
        while True:
            with meter.timed("read"):
                following = next(found, None)
            if following is None:
                break
            yield following, before + following.consumed
        before += span.bytes


def _disabled(job: Job, batch: Batch, encoder: Encoder, divergence: Divergence, worker: str) -> DisabledEngine:
    return DisabledEngine(
        job_id=job.job_id,
        engine=encoder.name,
        engine_version=encoder.version,
        batch=batch.index,
        worker=worker,
        excerpt=divergence.excerpt,
        found=tuple(divergence.found),
        expected=tuple(divergence.expected),
    )
