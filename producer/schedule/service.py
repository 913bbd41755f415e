"""`tokenmill schedule`: beat, a receiver of its messages, and a process for each run, as a service. Any number may run.

Comes in: a file of schedules. Goes out: runs, each claimed once in storage. Always holds: the service remembers nothing that
storage does not say. It looks at start, at each message, at the end of each run and once a minute, so that a lost message, a
dead beat or a wiped Redis costs a minute at most; of many services one carries a run out, by a lease as dispatchers have one.
"""

import json
import logging
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from kombu.exceptions import KombuError, OperationalError
from kombu.messaging import Consumer, Exchange, Queue

from producer.local import PrivateBroker, end_process, start_process
from producer.period import Period
from producer.queue import BatchQueue
from producer.schedule.beat import QUEUE, TASK, application
from producer.schedule.carry import AGAIN
from producer.schedule.due import look
from producer.schedule.notices import tell_passed_over
from producer.schedule.runs import Account, RunEnd, Runs
from producer.schedule.table import Schedule, Schedules
from tokenmill.broker import JobKeys
from tokenmill.errors import TokenmillError, UsageError
from tokenmill.roots import shown
from tokenmill.settings import child_environment, without_broker

log = logging.getLogger(__name__)

#: Seconds between two looks at all schedules; and for a message to come.
LOOK, WAIT = 60.0, 0.5
#: How often a run may die of what nobody foresaw.
DEATHS = 3
#: A message may come from a host whose clock is ahead by so much.
AHEAD = timedelta(minutes=1)
#: What is raised while the broker is away.
TROUBLE = (OSError, redis.RedisError, OperationalError, KombuError)


class Scheduler:
    """All schedules of a file, served."""

    def __init__(self, schedules: Schedules, queue: BatchQueue, environment: dict[str, str], workers: int) -> None:
        self._schedules, self._queue, self._environment, self._workers = schedules, queue, environment, workers
        self._runs = {schedule.name: Runs(schedules.runs, schedule.name) for schedule in schedules.schedules}
        #: The run that is carried out, or would be next, of each schedule.
        self._first: dict[str, Account] = {}
        self._children: dict[str, tuple[Account, subprocess.Popen[bytes]]] = {}
        self._deaths = Counter[str]()
        self._again: dict[str, float] = {}

    def look(self, name: str, now: datetime) -> None:
        """Claim what a schedule owes; what is to be carried out is begun by `turn`."""
        try:
            unfinished = look(self._schedules[name], self._runs[name], now, tell_passed_over)
        except TokenmillError as error:
            log.warning("%s: %s", name, error)
            return
        self._first.pop(name, None)
        if unfinished:
            self._first[name] = unfinished[0]

    def turn(self) -> None:
        """Keep the leases, see to children that have ended, begin what waits."""
        for name, account in list(self._first.items()):
            try:
                leads = self._queue.lead(JobKeys("run", self._runs[name].url(account.run.period)))
            except redis.RedisError:
                leads = False  # who is under way goes on without; the job's own dispatcher waits for the broker
            if name in self._children:
                self._reap(name)
            elif leads and time.monotonic() >= self._again.get(name, 0.0):
                self._begin(self._schedules[name], account)

    def _begin(self, schedule: Schedule, account: Account) -> None:
        period = account.run.period
        log.info("%s %s begins", schedule.name, period, extra={"facts": {"event": "run", "schedule": schedule.name}})
        module = ["producer.schedule.carry", self._schedules.path, schedule.name, period, str(self._workers)]
        process = start_process([sys.executable, "-P", "-m", *module], self._environment, stderr=None)
        self._children[schedule.name] = account, process

    def _reap(self, name: str) -> None:
        account, process = self._children[name]
        if process.poll() is None:
            return
        del self._children[name]
        period, status = account.run.period, process.returncode
        if status == 0:
            try:
                self._queue.clear(JobKeys("run", self._runs[name].url(period)))
            except redis.RedisError:
                pass  # the lease ends by itself
        elif status == AGAIN:
            self._again[name] = time.monotonic() + LOOK
        else:
            self._deaths[f"{name} {period}"] += 1
            if self._deaths[f"{name} {period}"] >= DEATHS:
                reason = f"its process died {DEATHS} times, the last with status {status}; the scheduler's log says more"
                end = RunEnd(outcome="failed", reason=reason, host=account.run.host, ended=datetime.now(UTC))
                try:
                    self._runs[name].end(period, end)
                except TokenmillError as error:
                    log.warning("%s %s: %s", name, period, error)
        self.look(name, datetime.now(UTC))

    def end(self) -> None:
        """End the children; their runs are taken over by whoever looks next."""
        for _, process in self._children.values():
            process.send_signal(signal.SIGTERM)
        for _, process in self._children.values():
            end_process(process, signal.SIGTERM)


class Receiver:
    """Receives beat's messages."""

    def __init__(self, schedules: Schedules, broker: str) -> None:
        self._app, self._names = application(schedules, broker), {schedule.name for schedule in schedules.schedules}
        self._connection: Any = None
        self._due: list[tuple[str, str, Any]] = []

    def wait(self) -> list[tuple[str, str, Any]]:
        """Messages that came within half a second: name, period, and the message, to be acknowledged when both are claimed."""
        self._due = []
        try:
            if self._connection is None:
                # kombu would wait for the broker itself, and nobody would look after the runs meanwhile
                self._connection = self._app.connection_for_read(transport_options={"max_retries": 1})
                queue = Queue(QUEUE, Exchange(QUEUE), routing_key=QUEUE)
                Consumer(self._connection.default_channel, [queue], on_message=self._take).consume()
            self._connection.drain_events(timeout=WAIT)
        except TimeoutError:
            pass
        except (ValueError, TypeError, LookupError) as error:
            log.warning("what is no message is dropped: %s", error)
        except TROUBLE as error:
            self._away(error)
        return self._due

    def acknowledge(self, message: Any) -> None:
        """Done with a message; where the broker is away it comes again, and does no harm."""
        try:
            message.ack()
        except TROUBLE as error:
            self._away(error)

    def _away(self, error: Exception) -> None:
        log.warning("the broker is away: %s", error)
        self._connection = None
        time.sleep(WAIT)

    def close(self) -> None:
        """Give back what was not acknowledged."""
        if self._connection is not None:
            self._connection.release()

    def _take(self, message: Any) -> None:
        """Take a message of ours; anything else is dropped with a line of the log."""
        try:
            (name, period), _, _ = json.loads(message.body)
            expires = message.headers.get("expires")
            stale = expires is not None and datetime.fromisoformat(expires) < datetime.now(UTC)
            if message.headers["task"] != TASK or name not in self._names or stale:
                raise ValueError("it is of no schedule here, or has expired")
            Period.parsed(period)
        except (ValueError, TypeError, KeyError, UsageError) as error:
            log.warning("a message is dropped: %s: %s", error, shown(message.body))
            message.ack()
            return
        self._due.append((name, period, message))


def serve(schedules: Schedules, broker: str | None, workers: int) -> None:
    """Run all schedules, for ever.

    Args:
        broker: of the cluster; None to run the jobs on this machine.
        workers: those of this machine, then.
    """
    with ExitStack() as stack:
        url = broker or stack.enter_context(PrivateBroker()).url
        # without a cluster each run has a private broker and workers of its own
        environment = child_environment(broker=broker) if broker else without_broker()
        scheduler = Scheduler(schedules, BatchQueue(url), environment, workers)
        receiver = Receiver(schedules, url)
        beat = _Beat(schedules.path, url)
        stack.callback(receiver.close)
        stack.callback(beat.end)
        stack.callback(scheduler.end)
        log.info("serving %d schedules of %s; runs are in %s", len(schedules.schedules), schedules.path, schedules.runs)
        look_again = 0.0
        while True:
            beat.keep()
            if time.monotonic() >= look_again:
                for schedule in schedules.schedules:
                    scheduler.look(schedule.name, datetime.now(UTC))
                look_again = time.monotonic() + LOOK
            for name, period, message in receiver.wait():
                scheduler.look(name, _now(schedules[name], period))
                receiver.acknowledge(message)
            scheduler.turn()


def _now(schedule: Schedule, period: str) -> datetime:
    """The time, by the clock of whoever found a period due if that is a little ahead."""
    now, found = datetime.now(UTC), schedule.calendar.of(Period.parsed(period))
    return found.due if found is not None and now < found.due < now + AHEAD else now


class _Beat:
    """Beat in a process of its own, begun again when it dies."""

    def __init__(self, path: str, broker: str) -> None:
        self._arguments = [sys.executable, "-P", "-m", "producer.schedule.beat", path]
        self._environment = child_environment(broker=broker)
        self._process: subprocess.Popen[bytes] | None = None
        self._since = float("-inf")

    def keep(self) -> None:
        """Start it unless it runs."""
        if (self._process is not None and self._process.poll() is None) or time.monotonic() < self._since + WAIT * 4:
            return
        if self._process is not None:
            log.warning("beat ended with status %d; it is started again", self._process.returncode)
        self._process, self._since = start_process(self._arguments, self._environment, stderr=None), time.monotonic()

    def end(self) -> None:
        """End it."""
        if self._process is not None:
            end_process(self._process, signal.SIGTERM)
