"""The reconcile loop: planned − committed − parked − under way → send, up to a window; at the end, seal.

Comes in: a ledger and a broker. Goes out: messages, and the manifest. Always holds: it alone does the first submit, the
resume, the resend after Redis lost everything, and the sealing; it needs no memory of what it did before, since the ledger
says what is done and Redis only what is under way. The queue stays shallow, so a plan of any length takes constant memory.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

import redis

from producer.outputs import level, refuse_damage, seal_beside
from producer.pace import Pace
from producer.progress import Progress, Tally, observe, paced
from producer.queue import BatchQueue, Sighting, queue_of
from tokenmill.broker import JobKeys
from tokenmill.errors import JobError, TokenmillError, TransientError
from tokenmill.generations import Chain
from tokenmill.job import Batch, DisabledEngine, ParkedBatch
from tokenmill.ledger import Ledger
from tokenmill.report import page, statistics

#: Seconds from one look to the next, unless the look itself takes longer.
TICK = 0.2
#: A batch whose sighting stands still for so many seconds has lost its worker: those beat every second. If it has not, the copy
#: meets its lease.
STALE = 10.0
#: Seconds between two looks for what others have done to the job.
HEARING = 1.0
#: Batches sent ahead of the workers: this many, and two for each one that runs.
AHEAD = 16


class Outcome(Enum):
    """How a job ended."""

    SEALED = "sealed"
    PARKED = "parked"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class _Seen:
    """The last sighting of a batch, and when it last changed by this host's clock: workers' clocks need not agree."""

    sighting: Sighting
    at: float


class Dispatcher:
    """Drives one job to its end, a tick at a time."""

    def __init__(self, ledger: Ledger, queue: BatchQueue) -> None:
        self.ledger, self._queue, self._job = ledger, queue, ledger.job()
        self._keys = JobKeys(self._job.job_id, ledger.output)
        self._todo: Iterator[Batch] = iter(())
        self._lost: list[Batch] = []
        self._under_way: dict[int, _Seen] = {}
        self._tally = Tally(ledger)
        self._parked: list[ParkedBatch] = []
        self._pace = Pace()
        self._leading = False
        self._disabled: dict[str, DisabledEngine] = {}
        #: Whether an engine may have been found wrong since the last look.
        self._doubtful = True
        #: When somebody else was last given a hearing, by the monotonic clock.
        self._heard = float("-inf")
        #: How the job ended; None while it runs.
        self.outcome: Outcome | None = None

    def tick(self) -> Progress:
        """Look, settle, send; returns where the job is.

        Raises JobError when the job must stop, which is then on record; TransientError when storage or broker are away: then
        tick again later.
        """
        try:
            self._hear()
            if self.outcome is not None:
                return observe(self._tally, {}, self._pace)
            if not self._queue.lead(self._keys):
                self._leading = False
                return observe(self._tally, self._queue.sightings(self._keys), self._pace)
            if not self._leading:
                self._take_over()
            sightings = self._queue.sightings(self._keys)
            self._look(sightings)
            if self._doubtful:
                self._distrust()
            self._check()
            if not self._send() and not self._under_way:
                self._end()
        except (redis.RedisError, TransientError) as error:
            # nobody could be seen meanwhile, and what was begun is half done: everything is looked at anew
            self._leading, self._doubtful = False, True
            if isinstance(error, TransientError):
                raise
            raise TransientError(f"the broker is away: {error}") from error
        except TokenmillError as error:
            self.ledger.stop(self._job, str(error))
            raise
        return self._progress(sightings)

    def _hear(self) -> None:
        """Has somebody else ended the job? Asked once a second: where storage is far, each question takes its time."""
        if time.monotonic() - self._heard < HEARING:
            return
        self._heard = time.monotonic()
        if not self._leading and self.ledger.is_sealed():  # who leads knows
            self.outcome = Outcome.SEALED
        elif self.ledger.is_cancelled():
            self._queue.clear(self._keys)
            self.outcome = Outcome.CANCELLED
        elif (stopped := self.ledger.stopped()) is not None:
            raise JobError(stopped.reason)
        else:
            job = self.ledger.find_job()
            if job is not None and job.job_id == self._job.job_id:  # asked for again, it may be for another device
                self._job = job

    def _take_over(self) -> None:
        """Learn from the ledger what is done and from Redis what is under way."""
        if level(self.ledger, self._job.beside):
            self._tally = Tally(self.ledger)
        self._tally.refresh()
        self._parked = self.ledger.parked()
        now = time.monotonic()
        self._under_way = {
            index: _Seen(sighting, now)
            for index, sighting in self._queue.sightings(self._keys).items()
            if index not in self._tally
        }
        skip = self._under_way.keys() | {parked.index for parked in self._parked}
        unsent = (batch for batch in self.ledger.plan() if batch.index not in skip and batch.index not in self._tally)
        self._todo, self._lost = unsent, []
        self._leading = True

    def _look(self, sightings: dict[int, Sighting]) -> None:
        """Settle every batch that has gone from sight, and those that have stood still too long."""
        queue = queue_of(self._job)
        now, idle = time.monotonic(), self._queue.waiting(queue) == 0
        for index, seen in list(self._under_way.items()):
            sighting = sightings.get(index)
            if sighting is None:
                self._settle(index)
            elif sighting != seen.sighting:
                self._under_way[index] = _Seen(sighting, now)
            else:
                sent = sighting.state == "sent"
                strayed = sent and sighting.queue != queue  # the job has another device now; nobody may ever look there
                if strayed or (now - seen.at > STALE and (idle or not sent)):
                    self._queue.forget(self._keys, index)
                    self._settle(index)

    def _settle(self, index: int) -> None:
        """Ask the ledger what became of a batch: done, parked, or lost and to be sent again."""
        del self._under_way[index]
        entry = self.ledger.entry(index)
        self._doubtful = self._doubtful or (entry is not None and entry.run.engine_name != self._job.engine.name)
        if entry is not None and entry.run.engine_name in self._disabled:  # it was under way when the engine was found wrong
            self.ledger.revoke(index)
            entry = None
        if entry is not None:
            self._tally.add(entry)
        elif (parked := self.ledger.parked_batch(index)) is not None:
            self._parked.append(parked)
        else:
            self._lost.append(self.ledger.batch(index))

    def _distrust(self) -> None:
        """Take back every batch done by an engine that was found wrong since: its other ids may be wrong too.

        Whoever finds an engine wrong does that batch again with another one: until an entry says so there is no need to look.
        """
        self._doubtful = False
        disabled = self.ledger.disabled_engines()
        if disabled == self._disabled:
            return
        for entry in self.ledger.entries():
            if entry.run.engine_name in disabled:
                self.ledger.revoke(entry.index)
        self._disabled = disabled
        self._tally = Tally(self.ledger)
        self._take_over()

    def _check(self) -> None:
        """Raise JobError if what has come back so far says that the job must stop."""
        for parked in self._parked:
            if parked.stops_job:
                raise JobError(f"batch {parked.index:06d} stopped the job: {parked.reason}")
        counts = self._tally.counts
        # until the end, what the rest may hold is estimated: a job stops early only if it would even if the rest were clean
        ended = self._tally.committed == self._job.batches
        share = 1.0 if ended or not counts.input_bytes else counts.input_bytes / self._job.source_bytes
        refuse_damage(self._job, self.ledger, counts, min(share, 1.0))

    def _send(self) -> bool:
        """Fill the window; False when there is nothing left to send."""
        running = sum(seen.sighting.state not in ("sent", "refused") for seen in self._under_way.values())
        while len(self._under_way) < AHEAD + 2 * running:
            batch = self._lost.pop() if self._lost else next(self._todo, None)
            if batch is None:
                return False
            # noted first: if sending fails, the next look finds no sighting, and the batch is sent again
            self._under_way[batch.index] = _Seen(Sighting(state="sent", queue=queue_of(self._job)), time.monotonic())
            self._queue.send(self._job, self.ledger.output, batch)
        return True

    def _end(self) -> None:
        """Everything is done or parked: seal, unless something is parked."""
        if self.ledger.disabled_engines() != self._disabled:
            self._doubtful = True  # the next tick sees to it
            return
        if self._parked:
            self.outcome = Outcome.PARKED
            return
        if level(self.ledger, self._job.beside):
            self._leading = False  # the next tick looks at everything anew
            return
        for place in self._job.beside:
            seal_beside(Ledger(place))
        self.ledger.seal(self._job, lambda totals: page(statistics(self.ledger, self._job, totals)))
        if self._job.generation is not None:
            with suppress(TransientError):  # it is sealed: the next generation writes the index, and readers need none
                Chain.around(self.ledger.output).write_index(self._job.generation)
        self._queue.clear(self._keys)
        self.outcome = Outcome.SEALED

    def _progress(self, sightings: dict[int, Sighting]) -> Progress:
        under_way = {index: sightings.get(index, seen.sighting) for index, seen in self._under_way.items()}
        progress = Progress(
            job=self._job,
            sealed=self.outcome is Outcome.SEALED,
            committed=self._tally.committed,
            counts=self._tally.counts,
            under_way=under_way,
            parked=tuple(self._parked),
            disabled=tuple(self._disabled.values()),
        )
        return paced(progress, self._tally, self._pace)


def follow(
    dispatcher: Dispatcher, show: Callable[[Progress], None], note: Callable[[str], None], patience: float | None
) -> Outcome:
    """Tick until the job has ended.

    Args:
        show: told where the job is.
        note: told about trouble that may pass.
        patience: seconds for which nothing at all may move before the wait is given up; None waits for ever.

    Raises JobError when the job must stop, or when patience ends.
    """
    moved, last = time.monotonic(), None
    while dispatcher.outcome is None:
        trouble, began = "", time.monotonic()
        try:
            progress = dispatcher.tick()
        except TransientError as error:
            trouble = str(error)
        else:
            show(progress)
            waits = {sighting.waiting_for for sighting in progress.running.values()}
            trouble = next(iter(waits), "") if waits and "" not in waits else ""
            state = (progress.committed, progress.tokens, progress.input_bytes)
            if state != last:
                moved, last = time.monotonic(), state
        if trouble:
            note(trouble)
            if patience is not None and time.monotonic() - moved > patience:
                raise JobError(
                    f"nothing has moved for {patience:.0f} s: {trouble} "
                    f"What is done is kept; run the same command again when that is mended."
                )
        if dispatcher.outcome is None:
            time.sleep(max(0.0, began + TICK - time.monotonic()))
    return dispatcher.outcome
