"""One batch, from source bytes to committed shard: documents -> engine -> shard -> entry.

Comes in: a job, a planned batch, an encoder. Goes out: shard files, rejected records, and last the entry. Always holds:
every document read is in the shard or in `rejected/`; the same batch gives the same bytes whoever runs it, and running it
twice writes the same files again. This is the only file that composes the three rooms.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tokenmill import documents, storage
from tokenmill.documents import Documents, Reason, Rejection
from tokenmill.engines import Encoder
from tokenmill.job import Batch, Counts, FileDigest, Job, Run, ShardEntry, SpecialTokens
from tokenmill.ledger import Ledger
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
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(65, np.int64))
    #: Seconds by stage.
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("read", "encode", "write"), 0.0))

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


def run_batch(
    job: Job, batch: Batch, encoder: Encoder, ledger: Ledger, meter: Meter, *, worker: str, attempt: int
) -> ShardEntry:
    """Encode one batch and commit it.

    Raises BatchError if a source is damaged or has changed, TransientError if storage is away, JobError if ids do not fit.
    """
    started, begin = time.time(), time.perf_counter()
    rejected: list[Rejection] = []
    with WRITERS[job.spec.format](ledger.output, batch.index, job.spec.dtype) as writer:
        for found in _read(job, batch, meter):
            good, refused, holds_special = screen(found, job.spec.special_tokens, encoder)
            rejected += refused
            meter.rejected.update(rejection.reason.value for rejection in refused)
            with meter.timed("encode"):
                tokens = encoder.encode(good, holds_special)
            with meter.timed("write"):
                writer.append(tokens.ids, tokens.lengths)
            meter.with_special_tokens += int(holds_special.sum())
            meter.text_bytes += int(pc.sum(pc.binary_length(good)).as_py() or 0)
            meter.count(tokens.lengths)
        with meter.timed("write"):
            files = writer.publish()
    if rejected:
        files += (_write_rejected(ledger, batch.index, rejected),)
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
    rejections = [_refuse(found, index, reason) for index, reason in refused.items()]
    in_order = sorted([*found.rejected, *rejections], key=lambda rejection: rejection.position)
    return found.text.filter(pa.array(keep)), in_order, holds_special[keep]


def _read(job: Job, batch: Batch, meter: Meter) -> Iterator[Documents]:
    """The documents of all spans, with the time spent on reading and the source bytes passed noted in the meter."""
    for span in batch.spans:
        before = meter.input_bytes
        found = documents.read(span, job.spec)
        while True:
            with meter.timed("read"):
                following = next(found, None)
            if following is None:
                break
            meter.input_bytes = before + following.consumed
            yield following
        meter.input_bytes = before + span.bytes


def _refuse(found: Documents, index: int, reason: Reason) -> Rejection:
    return Rejection(
        file=found.file,
        unit=found.unit,
        position=found.positions[index],
        reason=reason,
        id=found.ids[index],
        excerpt=documents.excerpt(found.text[index].as_py()),
    )


def _write_rejected(ledger: Ledger, index: int, rejected: list[Rejection]) -> FileDigest:
    path = f"rejected/{index:06d}.jsonl"
    lines = b"".join(msgspec.json.encode(rejection) + b"\n" for rejection in rejected)
    return storage.put(ledger.url(path), lines, path)
