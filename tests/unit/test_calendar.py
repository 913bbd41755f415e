"""Calendars: every occurrence of the wall clock falls due once, whatever becomes of the clock."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import crontab
from hypothesis import given
from hypothesis import strategies as st

from producer.period import Period
from producer.schedule.calendar import Calendar
from tokenmill.errors import UsageError

PARIS = ZoneInfo("Europe/Paris")
NIGHTLY = Calendar("30 2 * * *", "Europe/Paris")

calendars = st.builds(
    Calendar,
    st.sampled_from(["30 2 * * *", "0 * * * *", "*/20 1-3 * * *", "15 0,12 * * 1-5", "0 3 1 * *", "59 23 * * 0", "0 0 29 2 *"]),
    st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]),
)
moments = st.datetimes(datetime(2011, 6, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


def due(calendar: Calendar, after: datetime, days: float) -> list[tuple[str, str]]:
    """Period and moment, by the wall, of what is due within some days."""
    zone, end = ZoneInfo(calendar.timezone), after + timedelta(days=days)
    found = []
    for occurrence in calendar.upcoming(after):
        if occurrence.due > end:
            break
        found.append((occurrence.period.key, occurrence.due.astimezone(zone).isoformat()))
    return found


def test_a_night_whose_clock_is_put_forward() -> None:
    assert due(NIGHTLY, datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == [
        ("2026-03-29", "2026-03-29T03:30:00+02:00"),
        ("2026-03-30", "2026-03-30T02:30:00+02:00"),
    ]


def test_a_night_whose_clock_is_put_back() -> None:
    assert due(NIGHTLY, datetime(2026, 10, 24, 12, tzinfo=UTC), 2) == [
        ("2026-10-25", "2026-10-25T02:30:00+02:00"),
        ("2026-10-26", "2026-10-26T02:30:00+01:00"),
    ]


def test_every_hour_of_a_day_that_has_23_or_25() -> None:
    """As many periods as the wall clock has hours to show, each once."""
    hourly = Calendar("0 * * * *", "Europe/Paris")
    spring = due(hourly, datetime(2026, 3, 28, 22, 59, tzinfo=UTC), 23 / 24)
    assert [period[-4:] for period, _ in spring] == [f"{hour:02d}00" for hour in range(24)]
    autumn = due(hourly, datetime(2026, 10, 24, 21, 59, tzinfo=UTC), 1.04)
    assert [period[-4:] for period, _ in autumn] == [f"{hour:02d}00" for hour in range(24)]


def test_celery_runs_a_night_at_the_same_moment() -> None:
    """What was measured of beat's own crontab: the calendar is another program, and has to say the same."""
    for before in (
        datetime(2026, 3, 28, 12, tzinfo=UTC),
        datetime(2026, 10, 24, 12, tzinfo=UTC),
        datetime(2026, 7, 1, tzinfo=UTC),
    ):
        theirs = crontab(minute="30", hour="2", nowfun=lambda before=before: before.astimezone(PARIS))
        theirs.tz = PARIS
        left = theirs.remaining_estimate(before.astimezone(PARIS))
        assert before + left == next(NIGHTLY.upcoming(before)).due


@given(calendars, moments)
def test_periods_follow_each_other_without_gap_or_twin(calendar: Calendar, after: datetime) -> None:
    """What is to come from a moment on is what has been, looking back from later; no period is met twice."""
    coming = list(islice(calendar.upcoming(after), 40))
    keys = [occurrence.period.key for occurrence in coming]
    assert len(set(keys)) == len(keys)
    assert [found.due for found in coming] == sorted(found.due for found in coming)
    last = coming[-1].due
    behind = calendar.recent(after, last, 10_000)
    assert [found for found in behind if found.due < last] == [found for found in coming if found.due < last]
    latest = calendar.latest(last)
    assert latest is not None
    assert latest.due == last


@given(calendars, moments)
def test_a_key_leads_back_to_its_occurrence(calendar: Calendar, after: datetime) -> None:
    for occurrence in islice(calendar.upcoming(after), 10):
        period = Period.parsed(occurrence.period.key)
        assert calendar.of(period) == occurrence


def test_keys_and_what_they_are_written_as() -> None:
    daily, several = next(NIGHTLY.upcoming(datetime(2026, 11, 24, tzinfo=UTC))), Calendar("30 2,14 * * *")
    assert daily.period.key == "2026-11-24"
    assert next(several.upcoming(datetime(2026, 11, 24, tzinfo=UTC))).period.key == "2026-11-24T0230"
    assert daily.period.written("%Y/%m") == "2026/11"
    assert Period.parsed("2026-11-24T02:30") == Period.parsed("2026-11-24T0230")
    with pytest.raises(UsageError, match="'tonight' is no period"):
        Period.parsed("tonight")


def test_a_period_that_there_is_not() -> None:
    assert Calendar("0 3 * * 1").of(Period.parsed("2026-11-24")) is None  # a Tuesday
    assert Calendar("0 0 29 2 *").of(Period.parsed("2026-02-28")) is None


@pytest.mark.parametrize("cron", ["", "30 2 * *", "0 30 2 * * *", "61 * * * *", "a b c d e", "0 0 30 2 *", "* * * * MONDAY"])
def test_cron_that_says_nothing(cron: str) -> None:
    assert Calendar(cron).refusal()
