"""From a ledger to its `Statistics`, in one pass over the entries.

Comes in: the ledger of a job, sealed or under way. Goes out: `Statistics`. Always holds: what is kept of an entry are sums, and
eight bytes for the median; examples of rejected records are few, and come from few files.
"""

import heapq
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from statistics import median

import msgspec

from tokenmill.documents import Rejection, rejections
from tokenmill.errors import TokenmillError
from tokenmill.job import Batch, Counts, Job, ShardEntry
from tokenmill.ledger import Ledger
from tokenmill.manifest import Totals, totals_of
from tokenmill.meter import STAGES
from tokenmill.report.sources import Sources
from tokenmill.report.statistics import Statistics, Straggler, Worker
from tokenmill.report.timeline import MOST, OTHERS, Timeline

#: Examples of each reason; files that are read for them, and lines of each.
EXAMPLES, FILES, LINES = 3, 40, 500
#: Batches that are named as slow, at most; they take this many times the median, and no less than so many seconds.
STRAGGLERS, SLOW, NOTICED = 5, 2.0, 1.0
#: Workers in the table, the row for all others included.
WORKERS = 16


def statistics(ledger: Ledger, job: Job, totals: Totals | None = None, *, cost_per_hour: float | None = None) -> Statistics:
    """What there is to say about a job.

    Args:
        totals: those that it is sealed with; None while it is under way: they are then those of the entries so far.
        cost_per_hour: of one worker, in any currency.
    """
    found, plan = _Gathering(ledger), ledger.plan()
    for entry in ledger.entries():
        found.add(entry, _planned(plan, entry.index), summed=totals is None)
    return Statistics(
        output=ledger.output,
        job=job,
        sealed=totals is not None,
        totals=totals or totals_of(job, found.counts),
        committed=len(found.seconds),
        sources=found.sources.table(),
        shared_out=found.sources.shared_out / max(1, found.tokens),
        workers=found.workers(),
        throughput=found.timeline.throughput(),
        began=found.began,
        ended=found.ended,
        worker_seconds=sum(found.seconds),
        stages=dict(found.stages),
        median_seconds=median(found.seconds) if found.seconds else 0.0,
        stragglers=found.stragglers(),
        engines=dict(sorted(found.engines.items())),
        checked=found.checked,
        one_by_one=found.one_by_one,
        disabled=tuple(ledger.disabled_engines().values()),
        examples={reason: tuple(examples) for reason, examples in sorted(found.examples.items())},
        cost_per_hour=cost_per_hour,
    )


def _planned(plan: Iterator[Batch], index: int) -> Batch:
    """Batch `index` of a plan that is walked in order; an empty one if the plan does not hold it."""
    return next((batch for batch in plan if batch.index >= index), Batch(index=index, spans=()))


class _Gathering:
    """The sums so far."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.counts, self.tokens = Counts(), 0
        self.sources, self.timeline = Sources(), Timeline()
        self._workers: dict[str, Worker] = {}
        self.began: float | None = None
        self.ended: float | None = None
        #: Of each batch: of a million they take 8 MB.
        self.seconds = array("d")
        self.stages: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self._slowest: list[tuple[float, int, Straggler]] = []
        self.engines: Counter[str] = Counter()
        self.checked = self.one_by_one = 0
        self.examples: dict[str, list[Rejection]] = {}
        self._files = 0

    def add(self, entry: ShardEntry, batch: Batch, *, summed: bool) -> None:
        """Take one batch in."""
        counts, run = entry.counts, entry.run
        if summed:
            self.counts += counts
        self.tokens += counts.tokens
        self.sources.add(batch, counts)
        self.timeline.add(run.worker, run.started, run.seconds, counts.tokens)
        self._add_worker(entry)
        self.began = run.started if self.began is None else min(self.began, run.started)
        self.ended = max(self.ended or 0.0, run.started + run.seconds)
        self.seconds.append(run.seconds)
        for name, spent in run.stages.items():
            self.stages[name] = self.stages.get(name, 0.0) + spent
        stage = max(run.stages, key=lambda name: run.stages[name], default="")
        slow = Straggler(
            batch=entry.index, worker=run.worker, seconds=run.seconds, bytes=batch.bytes, attempt=run.attempt, stage=stage
        )
        heapq.heappush(self._slowest, (run.seconds, -entry.index, slow))
        if len(self._slowest) > STRAGGLERS:
            heapq.heappop(self._slowest)
        self.engines[run.engine] += 1
        self.checked += run.checked
        self.one_by_one += run.one_by_one
        if any(len(self.examples.get(reason, ())) < EXAMPLES for reason in counts.rejected):
            self._exemplify(entry.index)

    def _add_worker(self, entry: ShardEntry) -> None:
        name = entry.run.worker
        name = name if name in self._workers or len(self._workers) < MOST else OTHERS
        before = self._workers.get(name, Worker(name=name, batches=0, tokens=0, text_bytes=0, seconds=0.0))
        self._workers[name] = replace(
            before,
            batches=before.batches + 1,
            tokens=before.tokens + entry.counts.tokens,
            text_bytes=before.text_bytes + entry.counts.text_bytes,
            seconds=before.seconds + entry.run.seconds,
        )

    def _exemplify(self, index: int) -> None:
        """Look for examples among the rejected records of a batch, unless enough files have been read."""
        if self._files >= FILES:
            return
        self._files += 1
        # a report shall not keep a job from its seal
        with suppress(TokenmillError, msgspec.MsgspecError, OSError, UnicodeDecodeError):
            for rejection in islice(rejections(self._ledger.output, index), LINES):
                found = self.examples.setdefault(rejection.reason.value, [])
                if len(found) < EXAMPLES:
                    found.append(rejection)

    def workers(self) -> tuple[Worker, ...]:
        """The busiest first; beyond WORKERS all others in one row."""
        rows = sorted(self._workers.values(), key=lambda worker: (worker.name == OTHERS, -worker.tokens, worker.name))
        if len(rows) <= WORKERS:
            return tuple(rows)
        shown, others = rows[: WORKERS - 1], rows[WORKERS - 1 :]
        rest = Worker(
            name=OTHERS,
            batches=sum(row.batches for row in others),
            tokens=sum(row.tokens for row in others),
            text_bytes=sum(row.text_bytes for row in others),
            seconds=sum(row.seconds for row in others),
        )
        return (*shown, rest)

    def stragglers(self) -> tuple[Straggler, ...]:
        """The slowest batches, as far as they are slow."""
        bound = max(NOTICED, SLOW * median(self.seconds)) if self.seconds else 0.0
        return tuple(slow for seconds, _, slow in sorted(self._slowest, reverse=True) if seconds >= bound)
