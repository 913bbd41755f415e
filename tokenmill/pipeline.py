"""One batch, from source bytes to committed shard: documents -> engine -> shard -> entry.

Comes in: a job, a planned batch, an encoder. Goes out: shard files, rejected records, and last the entry. Always holds:
every document read is in the shard or in `rejected/`; the same batch gives the same bytes whoever runs it, and running it
twice writes the same files again; ids that the live check has found wrong never reach a shard. This is the only file that
composes the three rooms.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tokenmill import documents
from tokenmill.documents import COLUMN_BYTES, Documents, Reason, RejectedFile, Rejection
from tokenmill.engines import Divergence, Encoder, SpotCheck
from tokenmill.job import Batch, Counts, DisabledEngine, FileDigest, Job, Run, ShardEntry, SpecialTokens
from tokenmill.ledger import Ledger
from tokenmill.prefetch import prefetched
from tokenmill.shards import WRITERS


@dataclass(slots=True)
class Meter:
    """What a batch has come to so far; another thread may look at it."""

    documents: int = 0
    tokens: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    with_special_tokens: int = 0
    #: Source bytes passed.
    input_bytes: int = 0
    text_bytes: int = 0
    #: Documents that the live check compared.
    checked: int = 0
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(65, np.int64))
    #: Seconds by stage; reading goes on while the others work.
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("read", "encode", "check", "write"), 0.0))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.stages[stage] += time.perf_counter() - begin

    def count(self, lengths: NDArray[np.int64]) -> None:
        """Add encoded documents by their lengths in tokens."""
        self.documents += len(lengths)
        self.tokens += int(lengths.sum())
        # frexp gives k with 2^(k-1) <= n < 2^k, and 0 for 0
        self.lengths += np.bincount(np.frexp(lengths.astype(np.float64))[1], minlength=65)

    def counts(self) -> Counts:
        """The sums, as the entry states them."""
        used = int(np.flatnonzero(self.lengths)[-1]) + 1 if self.lengths.any() else 0
        return Counts(
            documents=self.documents,
            tokens=self.tokens,
            rejected=dict(sorted(self.rejected.items())),
            with_special_tokens=self.with_special_tokens,
            input_bytes=self.input_bytes,
            text_bytes=self.text_bytes,
            lengths=tuple(map(int, self.lengths[:used])),
        )

    def clear(self) -> None:
        """Begin anew."""
        fresh = Meter()
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))


@dataclass(slots=True)
class Column:
    """Documents that go to the engine together."""

    text: pa.LargeStringArray
    holds_special: NDArray[np.bool_]
    rejected: list[Rejection]
    #: Source bytes of the batch read so far.
    consumed: int


def run_batch(
    job: Job, batch: Batch, encoder: Encoder, ledger: Ledger, meter: Meter, *, worker: str, attempt: int
) -> ShardEntry:
    """Encode one batch and commit it.

    If the live check finds a wrong id, the engine is disabled for the whole job and the batch is done again with the reference.

    Raises BatchError if a source is damaged or has changed, TransientError if storage is away, JobError if ids do not fit.
    """
    if ledger.disabled_engine(encoder.name) is not None:
        encoder = encoder.reference
    started, begin = time.time(), time.perf_counter()
    try:
        files = _write_files(job, batch, encoder, ledger, meter)
    except Divergence as divergence:
        ledger.disable_engine(_disabled(job, batch, encoder, divergence, worker))
        encoder = encoder.reference
        meter.clear()
        files = _write_files(job, batch, encoder, ledger, meter)
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
        ),
    )
    ledger.commit(entry)
    return entry


def screen(
    found: Documents, policy: SpecialTokens, encoder: Encoder
) -> tuple[pa.LargeStringArray, list[Rejection], NDArray[np.bool_]]:
    """Take out the documents that are not to be encoded: empty ones, and by policy those with a special token's string.

    Returns the documents to encode, all rejections in source order, and which of the documents hold such a string.
    """
    lengths = pc.binary_length(found.text).to_numpy(zero_copy_only=False)
    holds_special = encoder.holds_special(found.text)
    refused = {int(index): Reason.EMPTY for index in np.flatnonzero(lengths == 0)}
    if policy is SpecialTokens.REJECT:
        refused.update({int(index): Reason.SPECIAL_TOKEN for index in np.flatnonzero(holds_special)})
    if not refused:
        return found.text, found.rejected, holds_special
    keep = np.ones(len(found.text), dtype=np.bool_)
    keep[list(refused)] = False
    rejections = [found.refuse(index, reason) for index, reason in refused.items()]
    in_order = sorted([*found.rejected, *rejections], key=lambda rejection: rejection.position)
    return found.text.filter(pa.array(keep)), in_order, holds_special[keep]


def _write_files(job: Job, batch: Batch, encoder: Encoder, ledger: Ledger, meter: Meter) -> tuple[FileDigest, ...]:
    """Write shard and rejected records of a batch under their final names."""
    check = SpotCheck(encoder, job.check_every)
    with (
        WRITERS[job.spec.format](ledger.output, batch.index, job.spec.dtype) as writer,
        RejectedFile(ledger.output, batch.index) as rejected,
        closing(prefetched(_columns(job, batch, encoder, meter))) as columns,
    ):
        for column in columns:
            rejected.append(column.rejected)
            with meter.timed("encode"):
                tokens = encoder.encode(column.text, column.holds_special)
            with meter.timed("check"):
                check(column.text, column.holds_special, tokens)
            with meter.timed("write"):
                writer.append(tokens.ids, tokens.lengths)
            meter.rejected.update(rejection.reason.value for rejection in column.rejected)
            meter.with_special_tokens += int(column.holds_special.sum())
            meter.text_bytes += int(pc.sum(pc.binary_length(column.text)).as_py() or 0)
            meter.input_bytes, meter.checked = column.consumed, check.checked
            meter.count(tokens.lengths)
        with meter.timed("write"):
            return (*writer.publish(), *rejected.publish())


def _columns(job: Job, batch: Batch, encoder: Encoder, meter: Meter) -> Iterator[Column]:
    """The documents of all spans, screened and gathered into columns that are worth an engine's call."""
    texts: list[pa.LargeStringArray] = []
    holds: list[NDArray[np.bool_]] = []
    rejected: list[Rejection] = []
    consumed = size = 0
    for found, consumed in _read(job, batch, meter):
        text, refused, holds_special = screen(found, job.spec.special_tokens, encoder)
        texts.append(text)
        holds.append(holds_special)
        rejected += refused
        size += text.nbytes
        if size >= COLUMN_BYTES // 2:  # what a reader gives is nearly that already: joining two would copy both
            yield _column(texts, holds, rejected, consumed)
            texts, holds, rejected, size = [], [], [], 0
    if texts:
        yield _column(texts, holds, rejected, consumed)


def _column(
    texts: list[pa.LargeStringArray], holds: list[NDArray[np.bool_]], rejected: list[Rejection], consumed: int
) -> Column:
    text = texts[0] if len(texts) == 1 else pa.concat_arrays(texts)
    return Column(text, np.concatenate(holds), rejected, consumed)


def _read(job: Job, batch: Batch, meter: Meter) -> Iterator[tuple[Documents, int]]:
    """The documents of all spans, each with the source bytes of the batch that are behind it."""
    before = 0
    for span in batch.spans:
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
