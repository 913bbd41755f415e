"""What is due: claims every period that a schedule owes, and says which runs are to be carried out.

Comes in: a schedule, its record, the time. Goes out: claims, and the runs without an end. Always holds: nothing is remembered
between two looks, so any number of schedulers may look, and die anywhere; a period is claimed once, and what is claimed and
has no end is found again by whoever looks next.
"""

import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from producer.schedule.calendar import Occurrence
from producer.schedule.runs import Account, Run, RunEnd, Runs, Verdict
from producer.schedule.table import Schedule

#: A period that is claimed within this time is on time: beat's message is redelivered after a minute if its receiver died.
ON_TIME = timedelta(minutes=5)
#: How far back is looked for periods that nobody claimed, and how many of them are put on record.
MEMORY, MOST = timedelta(days=35), 500


def look(
    schedule: Schedule, runs: Runs, now: datetime, passed_over: Callable[[Schedule, list[Account]], None] = lambda *_: None
) -> list[Account]:
    """Claim what is due; the runs that have no end yet, in order of period. Raises TransientError while storage is away.

    Args:
        passed_over: is given the skipped and missed periods to which this look has given their end.
    """
    since = max(runs.since(now), now - max(schedule.max_lateness, MEMORY))
    claimed, ended = runs.periods()
    unfinished = sorted(claimed - ended)
    under_way = [account.run for period in unfinished if (account := runs.find(period)) is not None and account.end is None]
    found = schedule.calendar.recent(since, now, MOST)
    owed = [occurrence for occurrence in found if occurrence.period.key not in claimed]
    for occurrence in owed:
        verdict, reason = _verdict(schedule, occurrence, owed[-1], under_way, now)
        run = claim(schedule, occurrence, now, verdict, reason)
        if runs.claim(run):
            unfinished.append(run.period)
    accounts = [account for period in sorted(unfinished) if (account := _settled(runs, period, now)) is not None]
    passed_over(schedule, [account for account in accounts if account.end is not None])
    return [account for account in accounts if account.end is None]


def claim(schedule: Schedule, occurrence: Occurrence, now: datetime, verdict: Verdict = "run", reason: str = "") -> Run:
    """A claim to a period, as this host makes it."""
    return Run(
        schedule=schedule.name,
        period=occurrence.period.key,
        due=occurrence.due,
        verdict=verdict,
        reason=reason,
        host=socket.gethostname(),
        claimed=now,
    )


def _verdict(
    schedule: Schedule, occurrence: Occurrence, last: Occurrence, under_way: list[Run], now: datetime
) -> tuple[Verdict, str]:
    """What is to become of a period, and why if it is not run."""
    late = now - occurrence.due
    if late > schedule.max_lateness:
        return "missed", f"no scheduler ran until {_hours(late)} later; max_lateness is {_hours(schedule.max_lateness)}"
    if late > ON_TIME:
        if schedule.catch_up == "none":
            return "missed", f"no scheduler ran until {_hours(late)} later; catch_up is none"
        if schedule.catch_up == "latest" and occurrence != last:
            return "missed", f"no scheduler ran until {_hours(late)} later; {last.period.key} is run in its place"
    elif schedule.overlap == "skip":
        # what was claimed after it fell due is made up, by us or by another scheduler at this moment, and waits its turn
        before = [run.period for run in under_way if run.claimed < occurrence.due]
        if before:
            return "skipped", f"the run of {before[-1]} still goes on"
    return "run", ""


def _settled(runs: Runs, period: str, now: datetime) -> Account | None:
    """A run that is to be carried out, or one that we give its end at once; None if it has one."""
    account = runs.find(period)
    if account is None or account.end is not None:
        return None
    run = account.run
    if run.verdict == "run":
        return account
    end = RunEnd(outcome=run.verdict, reason=run.reason, host=run.host, ended=now)
    return replace(account, end=end) if runs.end(period, end) else None


def _hours(span: timedelta) -> str:
    """A span of time for people."""
    minutes = round(span.total_seconds() / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:g} h" if minutes % 60 == 0 else f"{minutes / 60:.1f} h"
