"""schedules.toml: which jobs run when.

Comes in: a file of `[[schedule]]` tables. Goes out: frozen `Schedule`s. Always holds: an unknown key, a wrong type or value is
refused with file, line, key and remedy, in the jobs too; relative paths start at the file's folder.
"""

import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from producer import jobfile
from producer.jobfile import JobFile, JobTable
from producer.schedule.calendar import Calendar
from producer.tomltable import TomlTable, parsed, text_of
from tokenmill import storage
from tokenmill.errors import UsageError
from tokenmill.record import PlainName
from tokenmill.report import limits

Keys = TypeVar("Keys", bound=BaseModel)
CatchUp = Literal["none", "latest", "all"]
Overlap = Literal["skip", "queue"]

UNITS = {"m": "minutes", "h": "hours", "d": "days"}
HELP = "docs/howto/nightly.md lists the keys"


class ScheduleKeys(BaseModel):
    """The keys of a `[[schedule]]`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    #: What its runs are kept under, in the folder `runs`.
    name: PlainName
    #: When: minute, hour, day of the month, month, day of the week.
    cron: str
    #: Whose clock that is.
    timezone: str = "UTC"
    #: A job file; or the job itself, in a table `[schedule.job]`.
    job: str | dict[str, Any]
    #: Which periods are made up of those that no scheduler was there for.
    catch_up: CatchUp = "latest"
    #: A period that is later is on record as missed: 90m, 12h, 2d.
    max_lateness: str = "1d"
    #: What becomes of a period that falls due while the one before still runs.
    overlap: Overlap = "skip"
    #: How far a figure of `tokenmill diff` may move from one run to the next before it is an alarm, such as `{ tokens = 0.5 }`.
    limits: dict[str, float] = {}
    #: Webhooks that are told how a run ended; a secret in one comes from the environment, `{env.NAME}`.
    notify: list[str] = []
    #: A command that is told, with JSON on its standard input.
    on_end: str | None = None


class FileKeys(BaseModel):
    """The keys above them."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    #: Where runs are on record: a folder, or `s3://bucket/runs`.
    runs: str = "runs"
    #: The schedules.
    schedule: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One job that runs by the calendar."""

    name: str
    calendar: Calendar
    job: JobFile
    #: Which of the periods that nobody was there for are made up.
    catch_up: CatchUp
    #: A period that is later is on record as missed.
    max_lateness: timedelta
    #: What becomes of a period that falls due while the one before still runs.
    overlap: Overlap
    #: How far a figure may move from one run to the next before it is an alarm, as of `tokenmill diff --limit`.
    limits: dict[str, float] = field(default_factory=dict)
    #: Who is told how a run ended: webhooks, whose `{env.NAME}` is filled in when they are, and a command.
    notify: tuple[str, ...] = ()
    on_end: str | None = None


@dataclass(frozen=True, slots=True)
class Schedules:
    """What a file says."""

    path: str
    #: Folder, or s3:// URL, where runs are on record.
    runs: str
    schedules: tuple[Schedule, ...]

    def __getitem__(self, name: str) -> Schedule:
        """A schedule by its name. Raises UsageError if there is none."""
        for schedule in self.schedules:
            if schedule.name == name:
                return schedule
        known = ", ".join(schedule.name for schedule in self.schedules)
        raise UsageError(f"{self.path} has no schedule {name!r}. It has {known}.")


def read(path: str) -> Schedules:
    """The schedules of a file. Raises UsageError if it cannot be read or says something that means nothing."""
    text = text_of(path)
    whole = TomlTable(path, text)
    keys = _checked(whole, FileKeys, parsed(path, text), "key of a schedules file")
    if not keys.schedule:
        raise UsageError(f"{path} has no [[schedule]]. Write one.")
    tables = [replace(whole, header="[[schedule]]", number=number) for number in range(len(keys.schedule))]
    schedules = [_schedule(table, found) for table, found in zip(tables, keys.schedule, strict=True)]
    names = [schedule.name for schedule in schedules]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise UsageError(f"{tables[number].at('name')}: {name} is the name of another schedule. Give each its own.")
    return Schedules(path, storage.absolute(whole.from_here(keys.runs)), tuple(schedules))


def _schedule(table: TomlTable, found: dict[str, Any]) -> Schedule:
    keys = _checked(table, ScheduleKeys, found, "key of a schedule")
    calendar = Calendar(keys.cron, keys.timezone)
    if refusal := calendar.refusal():
        raise UsageError(
            f"{table.at('cron')} cannot be {keys.cron!r}: {refusal}. Every night at half past two is '30 2 * * *'."
        )
    if not calendar.has_zone():
        raise UsageError(f"{table.at('timezone')} cannot be {keys.timezone!r}: there is no such zone. Europe/Paris is one.")
    lateness = re.fullmatch(r"(\d{1,4})([mhd])", keys.max_lateness)
    if lateness is None:
        raise UsageError(
            f"{table.at('max_lateness')} cannot be {keys.max_lateness!r}. Give minutes, hours or days: 90m, 12h, 2d."
        )
    try:
        limits(f"{name}={limit}" for name, limit in keys.limits.items())
    except UsageError as error:
        raise UsageError(f"{table.at('limits')}: {str(error).removeprefix('--limit ')}") from None
    if isinstance(keys.job, str):
        job = jobfile.read(table.from_here(keys.job))
    else:
        header = "[schedule.job]"
        job = JobTable(table.path, table.text, header, table.before(header)).job(keys.job)
    return Schedule(
        name=keys.name,
        calendar=calendar,
        job=job,
        catch_up=keys.catch_up,
        max_lateness=timedelta(**{UNITS[lateness[2]]: int(lateness[1])}),
        overlap=keys.overlap,
        limits=keys.limits,
        notify=tuple(keys.notify),
        on_end=keys.on_end,
    )


def _checked(table: TomlTable, model: type[Keys], found: dict[str, Any], what: str) -> Keys:
    """A table's keys. Raises UsageError that names the first that is wrong, with its line and a remedy."""
    try:
        return model.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            raise table.unknown(key, model.model_fields, what, HELP) from None
        if first["type"] == "missing":
            raise UsageError(f"{table.path}: {table.header or 'the file'} says no {key}. {HELP}.") from None
        raise UsageError(f"{table.at(key)} cannot be {first['input']!r}: {first['msg'].lower()}. {HELP}.") from None
