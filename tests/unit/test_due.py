"""What is due, by a clock that the tests hold: missed nights, overlaps, dead schedulers, two at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from producer.schedule import table
from producer.schedule.due import look
from producer.schedule.runs import RunEnd, Runs
from producer.schedule.table import Schedule

FIRST = datetime(2026, 3, 1, 12, tzinfo=UTC)
Made = Callable[..., tuple[Schedule, Runs]]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A schedule for half past two in Paris, first served at FIRST."""

    def make(cron: str = "30 2 * * *", **keys: str) -> tuple[Schedule, Runs]:
        more = "\n".join(f'{key} = "{value}"' for key, value in keys.items())
        job = '[schedule.job]\nsources = ["a"]\ntokenizer = "t"\noutput = "o"'
        (tmp_path / "s.toml").write_text(f'[[schedule]]\nname = "n"\ncron = "{cron}"\ntimezone = "Europe/Paris"\n{more}\n{job}')
        schedules = table.read(str(tmp_path / "s.toml"))
        runs = Runs(schedules.runs, "n")
        assert look(schedules["n"], runs, FIRST) == []
        return schedules["n"], runs

    return make


def begun(schedule: Schedule, runs: Runs, now: datetime) -> list[str]:
    return [account.run.period for account in look(schedule, runs, now)]


def end(runs: Runs, period: str, now: datetime) -> bool:
    return runs.end(period, RunEnd(outcome="sealed", host="h", ended=now))


def outcomes(runs: Runs) -> dict[str, str]:
    return {account.run.period: account.end.outcome if account.end else "runs" for account in runs.history()}


def test_nothing_is_owed_from_before_the_schedule_was_there(made: Made) -> None:
    schedule, runs = made()
    assert begun(schedule, runs, FIRST + timedelta(hours=13)) == []
    assert begun(schedule, runs, FIRST + timedelta(hours=14)) == ["2026-03-02"]


def test_a_month_of_nights_with_a_change_of_clock(made: Made) -> None:
    """Looked at every hour by a clock that runs through both: one run a night, none twice."""
    schedule, runs = made()
    seen = []
    for step in range(35 * 24):
        now = FIRST + timedelta(minutes=60 * step + 1)
        for period in begun(schedule, runs, now):
            assert end(runs, period, now)
            seen.append(period)
    assert seen == [f"2026-03-{day:02d}" for day in range(2, 32)] + [f"2026-04-{day:02d}" for day in range(1, 6)]


@pytest.mark.parametrize(
    ("catch_up", "runs_for", "missed"),
    [
        ("none", [], ["2026-03-02", "2026-03-03", "2026-03-04"]),
        ("latest", ["2026-03-04"], ["2026-03-02", "2026-03-03"]),
        ("all", ["2026-03-02", "2026-03-03", "2026-03-04"], []),
    ],
)
def test_three_nights_that_nobody_was_there_for(made: Made, catch_up: str, runs_for: list[str], missed: list[str]) -> None:
    schedule, runs = made(catch_up=catch_up, max_lateness="9d")
    now = FIRST + timedelta(days=3)
    assert begun(schedule, runs, now) == runs_for
    assert begun(schedule, runs, now + timedelta(minutes=1)) == runs_for  # still without an end, and claimed once
    assert sorted(period for period, outcome in outcomes(runs).items() if outcome == "missed") == missed


def test_a_night_that_is_too_late(made: Made) -> None:
    schedule, runs = made(catch_up="all", max_lateness="12h")
    assert begun(schedule, runs, datetime(2026, 3, 3, 13, 0, tzinfo=UTC)) == ["2026-03-03"]
    assert outcomes(runs)["2026-03-02"] == "missed"
    account = runs.find("2026-03-02")
    assert account is not None
    assert account.end is not None
    assert "max_lateness is 12 h" in account.end.reason


def test_a_run_that_still_goes_on_is_not_run_beside(made: Made) -> None:
    schedule, runs = made("*/30 * * * *")
    now = datetime(2026, 3, 1, 12, 30, 10, tzinfo=UTC)
    assert begun(schedule, runs, now) == ["2026-03-01T1330"]
    assert begun(schedule, runs, now + timedelta(minutes=30)) == ["2026-03-01T1330"]
    assert end(runs, "2026-03-01T1330", now)
    assert begun(schedule, runs, now + timedelta(minutes=60)) == ["2026-03-01T1430"]
    skipped = runs.find("2026-03-01T1400")
    assert skipped is not None
    assert skipped.end is not None
    assert (skipped.end.outcome, skipped.end.reason) == ("skipped", "the run of 2026-03-01T1330 still goes on")


def test_a_run_that_still_goes_on_is_waited_for(made: Made) -> None:
    schedule, runs = made("*/30 * * * *", overlap="queue")
    now = datetime(2026, 3, 1, 12, 30, 10, tzinfo=UTC)
    begun(schedule, runs, now)
    assert begun(schedule, runs, now + timedelta(minutes=30)) == ["2026-03-01T1330", "2026-03-01T1400"]
    assert end(runs, "2026-03-01T1330", now)
    assert begun(schedule, runs, now + timedelta(minutes=31)) == ["2026-03-01T1400"]
    assert "skipped" not in outcomes(runs).values()


def test_a_scheduler_that_died_between_claim_and_end(made: Made) -> None:
    """Whoever looks next finds the run; of one that was to be missed it writes the end."""
    schedule, runs = made(catch_up="none")
    now = FIRST + timedelta(days=1)
    look(schedule, runs, now)
    ended = Path(runs.url("2026-03-02", ".end"))
    ended.unlink()
    assert begun(schedule, runs, now) == []
    assert ended.exists()


def test_many_schedulers_look_at_once(made: Made) -> None:
    """Each period has one claim and one end, whoever made them; all agree on what is to run."""
    schedule, runs = made("*/10 * * * *", catch_up="all", max_lateness="1d")
    now = FIRST + timedelta(hours=5)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: look(schedule, runs, now), range(16)))
        assert len(begun(schedule, runs, now)) == 30
        ends = list(pool.map(lambda _: end(runs, "2026-03-01T1310", now), range(16)))
    assert ends.count(True) == 1
    assert len(list(runs.history())) == 30
