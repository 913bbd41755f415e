"""From cron and time zone to moments and periods; pure.

Comes in: five cron fields and a zone. Goes out: occurrences, each a period by the wall clock and the moment at which it is due.
Always holds: every occurrence of the wall clock is due exactly once. One that a clock put forward passes over is due as much
later (02:30 at 03:30), one that a clock put back shows twice is due the first time: as in Celery's own crontab. Beat, `next`
and what is made up all ask here.
"""

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from producer.period import Period

#: No clock was ever put forward or back by more (Samoa crossed the date line in 2011).
LEAP = timedelta(hours=25)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time that a schedule falls due."""

    #: In UTC.
    due: datetime
    period: Period


@dataclass(frozen=True, slots=True)
class Calendar:
    """When a schedule falls due."""

    cron: str
    timezone: str = "UTC"

    def refusal(self) -> str | None:
        """What is wrong with the cron fields; None if nothing is."""
        if len(self.cron.split()) != 5:
            return "give five fields: minute, hour, day of the month, month, day of the week"
        try:
            next(CronSim(self.cron, datetime(2000, 1, 1)))
        except CronSimError as error:
            return str(error).lower()
        except StopIteration:
            return "it never falls due"
        return None

    def has_zone(self) -> bool:
        """Whether there is such a time zone."""
        try:
            return bool(ZoneInfo(self.timezone))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return False

    def upcoming(self, after: datetime) -> Iterator[Occurrence]:
        """All occurrences that are due later than a moment, in order."""
        waiting: list[Occurrence] = []
        for wall in CronSim(self.cron, self._wall(after) - LEAP):
            # what a clock put forward delays may be due after a later one: hold them until none can come before
            while waiting and self._wall(waiting[0].due) + LEAP < wall:
                yield waiting.pop(0)
            found = self._occurrence(wall)
            if found.due > after:
                insort(waiting, found, key=_order)
        yield from waiting

    def recent(self, after: datetime, now: datetime, most: int) -> list[Occurrence]:
        """The latest occurrences that are due later than `after` and not later than `now`, in order; `most` of them at most."""
        found: list[Occurrence] = []
        end = self._wall(after) - LEAP
        for wall in CronSim(self.cron, self._wall(now) + LEAP, reverse=True):
            if wall < end or len(found) == most:
                break
            occurrence = self._occurrence(wall)
            if after < occurrence.due <= now:
                found.append(occurrence)
        return sorted(found, key=_order)

    def latest(self, now: datetime) -> Occurrence | None:
        """The occurrence that fell due last."""
        found = self.recent(datetime(1971, 1, 1, tzinfo=UTC), now, 1)
        return found[0] if found else None

    def of(self, period: Period) -> Occurrence | None:
        """The occurrence of a period; None if the schedule has no such period."""
        day = period.at.replace(hour=0, minute=0)
        for wall in CronSim(self.cron, day - timedelta(minutes=1)):
            found = self._occurrence(wall)
            if found.period.key == period.key:
                return found
            if wall.date() > day.date():
                break
        return None

    def _wall(self, moment: datetime) -> datetime:
        return moment.astimezone(ZoneInfo(self.timezone)).replace(tzinfo=None, fold=0)

    def _occurrence(self, wall: datetime) -> Occurrence:
        """A time of the wall clock; zoneinfo reads one that is passed over as before the leap, one of two as the first."""
        due = wall.replace(tzinfo=ZoneInfo(self.timezone), fold=0).astimezone(UTC)
        return Occurrence(due, Period(wall, _several_a_day(self.cron)))


@cache
def _several_a_day(cron: str) -> bool:
    fields = CronSim(cron, datetime(2000, 1, 1))
    return len(fields.minutes) * len(fields.hours) > 1


def _order(occurrence: Occurrence) -> tuple[datetime, str]:
    return occurrence.due, occurrence.period.key
