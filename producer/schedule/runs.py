"""The record of runs in storage: one claim and one end for each period of a schedule, whoever wrote them first.

Comes in: records. Goes out: `RUNS/<name>/<period>.json` (the claim), `.job.json` (the job that was made of it), `.diff.json`
(what it brought against the run before) and `.end.json`, and the records read back. Always holds: of many schedulers one
claims a period, and of many ends the first stands.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from producer.period import Period
from tokenmill import storage
from tokenmill.errors import UsageError
from tokenmill.ledger import Ledger
from tokenmill.record import VERSION, Record

Verdict = Literal["run", "skipped", "missed"]
Outcome = Literal["sealed", "failed", "parked", "cancelled", "skipped", "missed"]


class Run(Record):
    """A period that a scheduler has claimed, and what is to become of it."""

    version: Literal[1] = VERSION
    schedule: str
    period: str
    due: datetime
    verdict: Verdict
    #: Why it is not run; nothing where it is.
    reason: str = ""
    host: str
    claimed: datetime


class RunJob(Record):
    """The job that a run has on record: whoever takes the run over goes on with it, though the corpus may have grown since."""

    version: Literal[1] = VERSION
    job_id: str
    output: str
    #: All outputs of one read.
    outputs: tuple[str, ...]


class RunEnd(Record):
    """How a run ended."""

    version: Literal[1] = VERSION
    outcome: Outcome
    reason: str = ""
    #: What has moved further since the run before than the schedule's limits allow.
    alarms: tuple[str, ...] = ()
    documents: int = 0
    tokens: int = 0
    #: From its claim on.
    seconds: float = 0.0
    host: str
    ended: datetime


class Service(Record):
    """When a schedule was first served: what was due before is owed to nobody."""

    version: Literal[1] = VERSION
    since: datetime


@dataclass(frozen=True, slots=True)
class Account:
    """A run with what came of it so far."""

    run: Run
    job: RunJob | None
    end: RunEnd | None
    #: Whether it ended otherwise, and what it was to make is sealed all the same: somebody has mended it since.
    sealed_since: bool


class Runs:
    """The runs of one schedule."""

    def __init__(self, runs: str, schedule: str) -> None:
        self.schedule, self.folder = schedule, storage.join(runs, schedule)

    def url(self, period: str, what: str = "") -> str:
        """Where a record of a period lies."""
        return storage.join(self.folder, f"{period}{what}.json")

    def since(self, now: datetime) -> datetime:
        """When the schedule was first served: now, if nobody has said so before."""
        url = self.url("served")
        if (found := storage.find(url)) is None:
            storage.claim(url, Service(since=now).to_json())
            found = storage.read(url)
        return Service.from_json(found, url).since

    def claim(self, run: Run) -> bool:
        """Claim a period; False if it was claimed before."""
        return storage.claim(self.url(run.period), run.to_json())

    def note(self, period: str, job: RunJob) -> None:
        """Put the job of a run on record; the first stands."""
        storage.claim(self.url(period, ".job"), job.to_json())

    def end(self, period: str, end: RunEnd) -> bool:
        """Put a run's end on record; False if it had one before."""
        return storage.claim(self.url(period, ".end"), end.to_json())

    def open_again(self, run: Run) -> None:
        """Run a period that has ended once more, since a person asks for it."""
        storage.put(self.url(run.period), run.to_json())
        storage.delete(self.url(run.period, ".end"))

    def find(self, period: str) -> Account | None:
        """What became of a period; None while nobody has claimed it."""
        if (run := storage.find(self.url(period))) is None:
            return None
        noted, ended = storage.find(self.url(period, ".job")), storage.find(self.url(period, ".end"))
        job = None if noted is None else RunJob.from_json(noted, self.url(period, ".job"))
        end = None if ended is None else RunEnd.from_json(ended, self.url(period, ".end"))
        otherwise = end is not None and end.outcome in ("failed", "parked", "cancelled")
        sealed_since = job is not None and otherwise and all(Ledger(output).is_sealed() for output in job.outputs)
        return Account(Run.from_json(run, self.url(period)), job, end, sealed_since)

    def periods(self) -> tuple[set[str], set[str]]:
        """The periods that are claimed, and those that have ended."""
        claimed, ended = set[str](), set[str]()
        for name in storage.each_name(self.folder):
            stem = name.removesuffix(".json")
            period = stem.removesuffix(".end")
            try:
                Period.parsed(period)
            except UsageError:
                continue
            (claimed if period == stem else ended).add(period)
        return claimed, ended

    def history(self) -> Iterator[Account]:
        """All runs, the last first."""
        for period in sorted(self.periods()[0], reverse=True):
            if (found := self.find(period)) is not None:
                yield found
