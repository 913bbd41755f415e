"""What people see of schedules: calm tables at 80 columns, or JSON."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table
from rich.text import Text

from producer.display import duration, short
from producer.schedule.calendar import Occurrence
from producer.schedule.runs import Account, Runs
from producer.schedule.table import Schedule, Schedules

STYLES = {"sealed": "green", "failed": "red", "parked": "red", "cancelled": "yellow", "skipped": "yellow", "missed": "yellow"}


def show_schedules(schedules: Schedules, now: datetime, out: Console, *, as_json: bool) -> None:
    """All schedules, with the run before and the run to come."""
    rows: list[tuple[Schedule, Occurrence | None, Account | None]] = [
        (schedule, next(schedule.calendar.upcoming(now), None), next(Runs(schedules.runs, schedule.name).history(), None))
        for schedule in schedules.schedules
    ]
    if as_json:
        _print_json(
            out,
            [
                {
                    "name": schedule.name,
                    "cron": schedule.calendar.cron,
                    "timezone": schedule.calendar.timezone,
                    "next": None if following is None else _occurrence(following),
                    "last": None if last is None else _account(last),
                }
                for schedule, following, last in rows
            ],
        )
        return
    table = _table("schedule", "cron", "zone", "next", "last")
    for schedule, following, last in rows:
        ahead = "never" if following is None else _local(following.due, schedule)
        before = Text("–") if last is None else Text.assemble(last.run.period, " ", _outcome(last))
        table.add_row(schedule.name, schedule.calendar.cron, schedule.calendar.timezone, ahead, before)
    out.print(table)


def show_upcoming(schedules: Schedules, now: datetime, count: int, out: Console, *, as_json: bool) -> None:
    """The runs to come, of all schedules together."""
    each = [_named(schedule, now) for schedule in schedules.schedules]
    found = list(islice(merge(*each, key=lambda row: row[1].due), count))
    if as_json:
        _print_json(out, [{"name": schedule.name, **_occurrence(occurrence)} for schedule, occurrence in found])
        return
    table = _table("due", "zone", "schedule", "period")
    for schedule, occurrence in found:
        when = _local(occurrence.due, schedule)
        table.add_row(when, schedule.calendar.timezone, schedule.name, occurrence.period.key)
    out.print(table)


def show_history(schedules: Schedules, chosen: Iterable[Schedule], out: Console, *, as_json: bool) -> None:
    """The runs on record, the last first."""
    found = [(schedule, account) for schedule in chosen for account in Runs(schedules.runs, schedule.name).history()]
    found.sort(key=lambda row: row[1].run.due, reverse=True)
    if as_json:
        _print_json(out, [_account(account) for _, account in found])
        return
    if not found:
        out.print(f"no runs are on record in {schedules.runs}")
        return
    table = _table("period", "schedule", "ended", right=("documents", "tokens", "took"))
    for schedule, account in found:
        end = account.end
        figures = ("", "", "") if end is None or end.outcome != "sealed" else _figures(account)
        said = "" if end is None else end.reason or "; ".join(end.alarms)
        reason = f": {said}" if said else ""
        table.add_row(account.run.period, schedule.name, Text.assemble(_outcome(account), (reason, "dim")), *figures)
    out.print(table)


def show_end(account: Account, out: Console) -> None:
    """How one run ended."""
    end, job = account.end, account.job
    assert end is not None
    where = "" if job is None else f" {job.output}"
    out.print(Text.assemble(_outcome(account), f" {account.run.schedule} {account.run.period}{where}"))
    if end.outcome == "sealed":
        documents, tokens, took = _figures(account)
        out.print(f"{documents} documents · {tokens} tokens · {took}")
    for said in (*end.alarms, *([end.reason] if end.reason else [])):
        out.print(Text(said))


def _named(schedule: Schedule, now: datetime) -> Iterator[tuple[Schedule, Occurrence]]:
    for occurrence in schedule.calendar.upcoming(now):
        yield schedule, occurrence


def _table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    for column in right:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _outcome(account: Account) -> Text:
    outcome = "runs" if account.end is None else account.end.outcome
    said = Text(outcome, style=STYLES.get(outcome, ""))
    return said.append(", sealed since", style=STYLES["sealed"]) if account.sealed_since else said


def _figures(account: Account) -> tuple[str, str, str]:
    assert account.end is not None
    return short(account.end.documents), short(account.end.tokens), duration(account.end.seconds)


def _local(due: datetime, schedule: Schedule) -> str:
    return due.astimezone(ZoneInfo(schedule.calendar.timezone)).strftime("%Y-%m-%d %H:%M")


def _occurrence(occurrence: Occurrence) -> dict[str, Any]:
    return {"due": occurrence.due.isoformat(), "period": occurrence.period.key}


def _account(account: Account) -> dict[str, Any]:
    """A run for machines."""
    run, job, end = account.run, account.job, account.end
    return {
        "name": run.schedule,
        "period": run.period,
        "due": run.due.isoformat(),
        "claimed": run.claimed.isoformat(),
        "host": run.host,
        "outputs": [] if job is None else list(job.outputs),
        "outcome": None if end is None else end.outcome,
        "sealed_since": account.sealed_since,
        "reason": "" if end is None else end.reason,
        "alarms": [] if end is None else list(end.alarms),
        "documents": 0 if end is None else end.documents,
        "tokens": 0 if end is None else end.tokens,
        "seconds": None if end is None else end.seconds,
    }


def _print_json(out: Console, found: Any) -> None:
    out.file.write(json.dumps(found, indent=2) + "\n")
