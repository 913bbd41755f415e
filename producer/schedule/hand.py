"""A run that a person asks for.

Comes in: a schedule, and a period of it. Goes out: the run with its end. Always holds: it is claimed and carried out as the
scheduler would, never beside it; what is sealed is not run again.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import redis

from producer.period import Period
from producer.queue import BatchQueue
from producer.schedule.carry import carry_out
from producer.schedule.due import claim
from producer.schedule.runs import Account, Runs
from producer.schedule.table import Schedule, Schedules
from tokenmill.broker import JobKeys
from tokenmill.errors import UsageError
from tokenmill.settings import Settings

#: Seconds between two renewals of the lease.
BEAT = 2.0


def run_by_hand(schedules: Schedules, schedule: Schedule, period: Period | None, workers: int) -> Account:
    """Run a period now, by default the last that was due. Raises UsageError if it is sealed, or runs already."""
    now = datetime.now(UTC)
    found = schedule.calendar.latest(now) if period is None else schedule.calendar.of(period)
    if found is None:
        asked = "nothing was due yet" if period is None else f"{period.key} is no period of it"
        following = next(schedule.calendar.upcoming(now), None)
        remedy = "" if following is None else f" Its next one is {following.period.key}."
        raise UsageError(f"{schedule.name}: {asked}.{remedy}")
    runs, key = Runs(schedules.runs, schedule.name), found.period.key
    with _leased(runs.url(key)):
        run = claim(schedule, found, now)
        account = None if runs.claim(run) else runs.find(key)
        if account is not None and account.end is not None:
            if account.end.outcome == "sealed":
                where = account.job.output if account.job else "its output"
                raise UsageError(f"{schedule.name} {key} is sealed, in {where}. Give another --period.")
            runs.open_again(run)
        account = runs.find(key)
        assert account is not None
        carry_out(schedule, runs, account, workers)
        account = runs.find(key)
        assert account is not None
        return account


@contextmanager
def _leased(run: str) -> Iterator[None]:
    """Hold a run's lease while the block lasts. Raises UsageError if a scheduler has it."""
    broker = Settings.from_environment().broker
    if broker is None:
        yield  # no cluster, and so nobody to share it with
        return
    queue, keys, ended = BatchQueue(broker), JobKeys("run", run), threading.Event()
    queue.ping()
    if not queue.lead(keys):
        raise UsageError(f"{run} is being carried out. `tokenmill schedule history` says when it has ended.")

    def renew() -> None:
        while not ended.wait(BEAT):
            try:
                queue.lead(keys)
            except redis.RedisError:
                pass  # the broker is away, for whoever would take it over too

    renewing = threading.Thread(target=renew, daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        try:
            queue.clear(keys)
        except redis.RedisError:
            pass  # it ends by itself
