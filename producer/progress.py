"""How far a job is: what the ledger says is done, what the broker says is under way, and the pace."""

import heapq
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import redis

from producer.pace import WINDOW, Pace, TimeLeft
from producer.queue import BatchQueue, Sighting, queue_of
from tokenmill.broker import JobKeys
from tokenmill.errors import TransientError
from tokenmill.job import Counts, DisabledEngine, Job, ParkedBatch, ShardEntry
from tokenmill.ledger import Ledger

#: Of so many batches, those that ended last, it is known when; of so many workers, how fast they were.
RECENT, WORKERS = 64, 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One moment of a job."""

    job: Job
    sealed: bool
    #: Batches with an entry.
    committed: int
    #: Sums over the committed batches.
    counts: Counts
    #: Batches under way, by index.
    under_way: dict[int, Sighting]
    parked: tuple[ParkedBatch, ...]
    #: Whether somebody has cancelled the job.
    cancelled: bool = False
    #: Why nobody can go on with it; None where that is not so.
    stopped: str | None = None
    #: Engines that the live check found wrong.
    disabled: tuple[DisabledEngine, ...] = ()
    #: The job's queue, if its batches wait and no worker takes any from there.
    unserved: str | None = None
    #: Source bytes per second; None until there is something to measure.
    pace: float | None = None
    #: For how long it will still go; None while it is too early to tell, or where nobody is at work.
    left: TimeLeft | None = None
    #: Seconds since a batch ended, as far as hosts' clocks agree; None where none has.
    quiet: float | None = None
    #: Tokens per second of each worker, over the last batch that it did.
    speeds: dict[str, float] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nobody will go on with the job unless it is asked for again."""
        return self.sealed or self.cancelled or self.stopped is not None

    @property
    def at_work(self) -> bool:
        """Whether somebody is at work on it: seen through the broker, or by what comes of it."""
        moves = self.pace is not None or (self.quiet is not None and self.quiet < WINDOW)
        return not self.ended and not self.given_up and (bool(self.running) or moves)

    @property
    def given_up(self) -> bool:
        """Whether all that is left of the job is parked: it cannot be sealed."""
        return not self.ended and bool(self.parked) and self.committed + len(self.parked) >= self.job.batches

    @property
    def running(self) -> dict[int, Sighting]:
        """The batches that a worker holds."""
        return {index: sighting for index, sighting in self.under_way.items() if sighting.state != "sent"}

    @property
    def documents(self) -> int:
        return self.counts.documents + sum(sighting.documents for sighting in self.running.values())

    @property
    def tokens(self) -> int:
        return self.counts.tokens + sum(sighting.tokens for sighting in self.running.values())

    @property
    def rejected(self) -> int:
        return self.counts.rejected_total + sum(sighting.rejected for sighting in self.running.values())

    @property
    def input_bytes(self) -> int:
        return self.counts.input_bytes + sum(sighting.input_bytes for sighting in self.running.values())

    @property
    def remaining(self) -> int:
        """Source bytes that nobody has read yet."""
        return max(0, self.job.source_bytes - self.input_bytes)

    def summary(self) -> dict[str, Any]:
        """For machines: `tokenmill status --json`."""
        return {
            "job_id": self.job.job_id,
            "name": self.job.name,
            "sealed": self.sealed,
            "cancelled": self.cancelled,
            "stopped": self.stopped,
            "batches": self.job.batches,
            "committed": self.committed,
            "documents": self.documents,
            "tokens": self.tokens,
            "rejected": self.rejected,
            "documents_truncated": self.counts.documents_truncated,
            "documents_split": self.counts.documents_split,
            "tokens_dropped": self.counts.tokens_dropped,
            "tokens_added": self.counts.tokens_added,
            "sequences": self.counts.sequences,
            "tokens_padding": self.counts.tokens_padding,
            "tokens_learned": self.counts.tokens_learned,
            "input_bytes": self.input_bytes,
            "total_bytes": self.job.source_bytes,
            "bytes_per_second": self.pace,
            "seconds_left": asdict(self.left) if self.left else None,
            "running": {f"{index:06d}": asdict(sighting) for index, sighting in sorted(self.running.items())},
            "unserved_queue": self.unserved,
            "parked": {f"{batch.index:06d}": batch.reason for batch in self.parked},
            "disabled_engines": {disabled.engine: disabled.says() for disabled in self.disabled},
        }


class Tally:
    """The sums over a ledger's entries; each entry is read once."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.counts = Counts()
        #: How many batches are in the sums.
        self.committed = 0
        #: When the last batches ended, by their workers' clocks, and their source bytes: a heap.
        self._recent: list[tuple[float, int]] = []
        #: Tokens per second of each worker over the batch that it ended last.
        self.speeds: dict[str, float] = {}
        # one byte for each planned batch; a set of a million numbers takes 66 MB
        self._taken = bytearray(ledger.job().batches)

    def __contains__(self, batch: int) -> bool:
        """Whether a batch is in the sums."""
        return batch < len(self._taken) and bool(self._taken[batch])

    def add(self, entry: ShardEntry) -> None:
        """Take one entry into the sums, once; one beyond the plan never, and sealing refuses it."""
        if entry.index < len(self._taken) and entry.index not in self:
            self._taken[entry.index] = True
            self.committed += 1
            self.counts += entry.counts
            run = entry.run
            heapq.heappush(self._recent, (run.started + run.seconds, entry.counts.input_bytes))
            if len(self._recent) > RECENT:
                heapq.heappop(self._recent)
            self.speeds.pop(run.worker, None)  # the one that has done nothing for longest stands first
            self.speeds[run.worker] = entry.counts.tokens / run.seconds if run.seconds else 0.0
            if len(self.speeds) > WORKERS:
                del self.speeds[next(iter(self.speeds))]

    def ended(self) -> list[tuple[float, int]]:
        """When the last batches ended, and the source bytes of each, in that order."""
        return sorted(self._recent)

    def refresh(self) -> None:
        """Read what was committed since."""
        for entry in self.ledger.entries(index for index in self.ledger.committed() if index not in self):
            self.add(entry)


def observe(tally: Tally, sightings: dict[int, Sighting], pace: Pace) -> Progress:
    """What anybody can see who sees the output."""
    tally.refresh()
    ledger = tally.ledger
    stopped = ledger.stopped()
    progress = Progress(
        job=ledger.job(),
        sealed=ledger.is_sealed(),
        cancelled=ledger.is_cancelled(),
        stopped=stopped.reason if stopped else None,
        committed=tally.committed,
        counts=tally.counts,
        under_way=sightings,
        parked=tuple(ledger.parked()),
        disabled=tuple(ledger.disabled_engines().values()),
    )
    return paced(progress, tally, pace)


def paced(progress: Progress, tally: Tally, pace: Pace) -> Progress:
    """The same moment, with how fast it goes and for how long still."""
    now = pace(progress.input_bytes)
    ended = tally.ended()
    quiet = time.time() - ended[-1][0] if ended else None
    progress = replace(progress, pace=now, quiet=quiet, speeds=tally.speeds)
    return replace(progress, left=pace.left(progress.remaining, ended)) if progress.at_work else progress


def look(tally: Tally, broker: str | None, pace: Pace) -> Progress:
    """What anybody can see who sees the output, and the broker too, if there is one and it answers."""
    if broker is None:
        return observe(tally, {}, pace)
    queue, job = BatchQueue(broker), tally.ledger.job()
    try:
        sightings = queue.sightings(JobKeys(job.job_id, tally.ledger.output))
    except redis.RedisError:
        return observe(tally, {}, pace)
    progress = observe(tally, sightings, pace)
    wants = not progress.ended and progress.committed + len(progress.parked) < job.batches
    if not wants or progress.running:
        return progress
    try:
        return progress if queue.is_served(queue_of(job)) else replace(progress, unserved=queue_of(job))
    except TransientError:
        return progress
