"""One batch, from source bytes to committed shards: documents -> engine -> shard -> entry.

Comes in: a planned batch, the outputs that are to have it, and whoever watches over the attempt. Goes out: shard files,
rejected records, and last the entries. Always holds: the same batch gives the same bytes whoever runs it, and running it twice
writes the same files again; sources that are not what the plan saw are never published; they are read once, however many
outputs there are. A batch is known by its first output, whose entry is the last to be written.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing

from tokenmill import documents
from tokenmill.columns import gathered
from tokenmill.documents import Documents, check_unchanged
from tokenmill.engines import Divergence
from tokenmill.job import Batch, DisabledEngine, Run, ShardEntry
from tokenmill.ledger import Ledger
from tokenmill.meter import Meter
from tokenmill.prefetch import prefetched
from tokenmill.sink import Finished, Sink, Target, Watch
from tokenmill.spec import JobSpec


class Abandoned(Exception):
    """The batch is no longer this worker's, or no longer wanted; it was not committed. Says why; leaves the pipeline."""


class _Wrong(Exception):
    """The live check found a wrong id in one of the outputs, given by its number."""

    def __init__(self, number: int, divergence: Divergence) -> None:
        self.number, self.divergence = number, divergence


def run_batch(targets: Sequence[Target], batch: Batch, watch: Watch, *, worker: str, attempt: int) -> ShardEntry | None:
    """Encode one batch and commit it to all outputs; returns the first one's entry, or None where another worker's stands.

    If that one names other bytes, which only an engine found wrong meanwhile makes, it is taken back: the batch is done again.

    If the live check finds a wrong id, the engine is disabled for the whole job and the batch is done again with the reference.

    Raises BatchError if a source is damaged or has changed, TransientError if storage is away, JobError if ids do not fit,
    Abandoned if the watch says so.
    """
    targets = [target.trusted() for target in targets]
    started, begin = time.time(), time.perf_counter()
    while True:
        try:
            written = _write_files(targets, batch, watch)
            break
        except _Wrong as wrong:
            target = targets[wrong.number]
            target.ledger.disable_engine(_disabled(target, batch, wrong.divergence, worker))
            for each in targets:
                each.meter.clear()
            target.meter.found_wrong = True
            targets = [each.trusted() for each in targets]
    entry, taken_back = None, False
    for target, finished in reversed([*zip(targets, written, strict=True)]):
        seconds, engine = time.perf_counter() - begin, f"{target.encoder.name} {target.encoder.version}"
        run = Run(
            engine=engine,
            worker=worker,
            attempt=attempt,
            started=started,
            seconds=seconds,
            stages=target.meter.stages,
            checked=target.meter.checked,
            one_by_one=target.meter.one_by_one,
        )
        with target.meter.timed("commit"):
            for done in finished:
                if taken_back and done.folder is None:
                    return None
                place = target.ledger if done.folder is None else Ledger(target.ledger.url(done.folder))
                entry = ShardEntry(job_id=target.job.job_id, index=batch.index, counts=done.counts, files=done.files, run=run)
                if not place.commit(entry):
                    taken_back = _differs(place, entry) or taken_back
                    entry = None
    return entry


def _differs(ledger: Ledger, entry: ShardEntry) -> bool:
    """Whether the entry that stands names other files than ours; it is then taken back.

    Ours have just replaced the ones it names: nobody can say which are right.
    """
    standing = ledger.entry(entry.index) or entry
    if standing.files == entry.files:
        return False
    ledger.revoke(entry.index)
    return True


def _write_files(targets: Sequence[Target], batch: Batch, watch: Watch) -> list[list[Finished]]:
    """Write the files of a batch under their final names; returns what the entries of each output say."""
    read = _read(targets[0].job.spec, batch, targets[0].meter)
    columns = gathered(read, [(target.job.spec.special_tokens, target.encoder) for target in targets])
    if not watch.deaths:  # after a death one thing at a time is done, so that the next one can be laid to the right place
        columns = prefetched(columns)
    with ExitStack() as stack:
        sinks = [stack.enter_context(Sink(target, batch.index, watch)) for target in targets]
        stack.enter_context(closing(columns))
        for screened in columns:
            for number, (sink, column) in enumerate(zip(sinks, screened, strict=True)):
                watch.at(column.place)
                try:
                    sink.take(column)
                except Divergence as divergence:
                    raise _Wrong(number, divergence) from None
                if watch.deaths:
                    watch.at(None)
        watch.at(None)
        for span in batch.spans:
            check_unchanged(span)
        return [sink.publish() for sink in sinks]


def _read(spec: JobSpec, batch: Batch, meter: Meter) -> Iterator[tuple[Documents, int]]:
    """The documents of all spans, each with the source bytes of the batch that are behind it."""
    before = 0
    for span in batch.spans:
        check_unchanged(span)
        found = documents.read(span, spec)
        while True:
            with meter.timed("read"):
                following = next(found, None)
            if following is None:
                break
            yield following, before + following.consumed
        before += span.bytes


def _disabled(target: Target, batch: Batch, divergence: Divergence, worker: str) -> DisabledEngine:
    return DisabledEngine(
        job_id=target.job.job_id,
        engine=target.encoder.name,
        engine_version=target.encoder.version,
        batch=batch.index,
        worker=worker,
        excerpt=divergence.excerpt,
        found=tuple(divergence.found),
        expected=tuple(divergence.expected),
    )
