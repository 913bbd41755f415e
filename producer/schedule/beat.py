"""Celery beat for schedules: its entries send `start(name, period)`, and nothing depends on a message's arrival.

Comes in: schedules. Goes out: messages of 200 bytes in the queue `schedule`. Always holds: the period is that of the moment
that fell due, by the same calendar as `next` and what is made up; a message that is sent twice, late or never does no harm,
since runs are claimed in storage and the service looks there by itself.
"""

import fcntl
import hashlib
import os
import signal
import sys
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import IO, Any

from celery import Celery
from celery.beat import BeatLazyFunc, PersistentScheduler, Service
from celery.schedules import BaseSchedule, schedstate

from producer.schedule import table
from producer.schedule.calendar import Calendar
from producer.schedule.table import Schedules
from tokenmill import logs, storage
from tokenmill.broker import TRANSPORT_OPTIONS
from tokenmill.settings import Settings

#: Both stand below `tokenmill:` in Redis.
TASK, QUEUE = "start", "schedule"


class Moments(BaseSchedule):  # type: ignore[misc]  # Celery ships no types
    """A calendar as beat asks it."""

    def __init__(self, calendar: Calendar, nowfun: Any = None, app: Any = None) -> None:
        super().__init__(nowfun=nowfun, app=app)
        self.calendar = calendar

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """How long it is to the first occurrence later than the last run."""
        following = next(self.calendar.upcoming(last_run_at), None)
        return timedelta(days=365) if following is None else following.due - self.now()

    def is_due(self, last_run_at: datetime) -> Any:
        """Whether an occurrence fell due after the last run, and the seconds to the next one."""
        left = self.remaining_estimate(last_run_at).total_seconds()
        if left > 0:
            return schedstate(False, left)
        return schedstate(True, max(0.0, self.remaining_estimate(self.now()).total_seconds()))

    def period(self) -> str:
        """The period that fell due last: the one a message that is sent now is for."""
        latest = self.calendar.latest(self.now())
        return "" if latest is None else latest.period.key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Moments) and other.calendar == self.calendar

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> Any:
        return Moments, (self.calendar, self.nowfun)


def application(schedules: Schedules, broker: str, nowfun: Any = None) -> Celery:
    """The Celery application that beat and the receiver of its messages share."""
    app = Celery("tokenmill-schedule", broker=broker)
    moments = {schedule.name: Moments(schedule.calendar, nowfun) for schedule in schedules.schedules}
    app.conf.update(
        broker_transport_options=TRANSPORT_OPTIONS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        timezone="UTC",
        # Without it, of what was sent before a kill -9 some was sent again.
        beat_sync_every=1,
        beat_schedule={
            schedule.name: {
                "task": TASK,
                "schedule": moments[schedule.name],
                "args": (schedule.name, BeatLazyFunc(moments[schedule.name].period)),
                "options": {"queue": QUEUE, "expires": int(schedule.max_lateness.total_seconds()), "reply_to": "-"},
            }
            for schedule in schedules.schedules
        },
    )
    return app


def state_folder(path: str, home: str) -> tuple[Path, IO[str]]:
    """A folder for beat's pickles, closed to other users, and the lock that keeps this host's other beats out of it."""
    base = Path(home) if storage.is_local(home) else Path.home() / ".tokenmill"
    name = hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:12]
    for number in count():
        folder = base / "beat" / f"{name}-{number}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        lock = (folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return folder, lock
    raise AssertionError


def main() -> None:
    """`python -m producer.schedule.beat FILE`: beat until it is told to end."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = Settings.from_environment()
    logs.configure(as_json=settings.json_log)
    schedules = table.read(sys.argv[1])
    assert settings.broker is not None
    folder, lock = state_folder(schedules.path, settings.home)
    app = application(schedules, settings.broker)
    with lock:
        Service(app, scheduler_cls=PersistentScheduler, schedule_filename=str(folder / "schedule")).start()


if __name__ == "__main__":
    main()
