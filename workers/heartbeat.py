"""A running batch says that it is alive, and hears whether it shall go on: the watch over one attempt.

A thread beats while the batch runs. Each beat renews the batch's lease and its sighting (the dispatcher resends a batch whose
sighting stands still), moves the message's time in kombu's index of unacknowledged messages forward (so that the short
visibility timeout redelivers dead workers' batches only), and sends Flower a line of progress. A beat that fails is skipped:
the broker may be away while the work goes on. When the batch has ended, its sighting and its lease are gone.

The work says where it is (`at`). If it stands at one place for too long, the thread ends the process: another one then begins
the batch again, knowing where this one was stuck. No time limit could tell a long batch from one that hangs.
"""

import json
import logging
import os
import signal
import threading
import time
from types import TracebackType
from typing import Self

import redis
from celery import Task

from tokenmill.broker import KEY_SECONDS, PREFIX, TASK, JobKeys, shown_report
from tokenmill.errors import TokenmillError
from tokenmill.ledger import Ledger
from tokenmill.meter import Meter
from tokenmill.pipeline import Abandoned
from tokenmill.poison import Cause, Deaths, Place
from workers.attempts import Attempts
from workers.lease import Lease

log = logging.getLogger(__name__)

#: Seconds between beats.
PERIOD = 1.0
#: Why a worker leaves a batch whose lease it has lost.
TAKEN_OVER = "another worker has taken it over"
#: kombu's sorted set of unacknowledged messages (kombu 5.7, `Channel.unacked_index_key`), below our prefix.
UNACKED_INDEX = PREFIX + "unacked_index"


class Heartbeat:
    """Beats from the beginning of its `with` block to the end."""

    def __init__(
        self, client: redis.Redis, task: Task, lease: Lease, attempts: Attempts, ledger: Ledger, *, worker: str, stuck: float
    ) -> None:
        """
        Args:
            stuck: seconds for which the work may stand at one place.
        """
        self._client, self._app, self._worker = client, task.app, worker
        self._lease, self._attempts, self._ledger, self._stuck = lease, attempts, ledger, stuck
        # taken here, in the task's own thread: Celery's current request is local to a thread
        self._task_id, self._hostname = task.request.id, task.request.hostname
        self._delivery_tag = (task.request.properties or {}).get("delivery_tag")
        #: What Flower shows of the task. It is said with each beat: of what Celery says of it once, Flower may keep the half.
        self._shown = {
            "name": task.request.get("shadow") or TASK,
            "args": task.request.get("argsrepr") or "",
            "kwargs": shown_report(ledger.output),
        }
        job_id, output, batch = task.request.args
        self._key, self._batch = JobKeys(job_id, output).sightings, str(batch)
        self._began = self._moved = time.monotonic()
        self._meter, self._input_bytes = Meter(), 1
        self._place: Place | None = None
        #: Why the work shall not go on.
        self._abandoned: str | None = None
        #: What the batch waits for; shown by `tokenmill status` and Flower.
        self.waiting_for: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_stopped, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        if not self._lease.renew():
            return  # the sighting is another worker's by now
        self._attempts.rest()  # however this ended, nobody died
        try:
            self._client.hdel(self._key, self._batch)
        except redis.RedisError:
            pass  # the sighting then stands still, and the dispatcher looks into the ledger
        self._lease.release()

    @property
    def deaths(self) -> Deaths:
        """What earlier attempts died of."""
        return self._attempts.deaths

    @property
    def place(self) -> Place | None:
        """Where the work is."""
        return self._place

    def at(self, place: Place | None) -> None:
        """The work is here now. Raises Abandoned if it shall not go on.

        Before it publishes, the lease is looked at there and then: the last beat may have been before a long sleep.
        """
        if place is None and not self._lease.renew():
            self._abandoned = TAKEN_OVER
        if self._abandoned is not None:
            raise Abandoned(self._abandoned)
        self._place, self._moved = place, time.monotonic()
        self._attempts.note(place)

    def watch(self, meter: Meter, input_bytes: int) -> None:
        """Report from this meter on; `input_bytes` is all that the batch has to read."""
        self._meter, self._input_bytes = meter, max(1, input_bytes)

    def wait(self, seconds: float, reason: str) -> None:
        """Pause the work, saying why. Raises Abandoned if it shall not go on."""
        self.waiting_for = reason
        self._attempts.rest()
        time.sleep(seconds)
        self.waiting_for = None
        self.at(None)

    def _beat_until_stopped(self) -> None:
        while True:
            self._look()
            try:
                self._beat()
                with self._app.events.default_dispatcher(hostname=self._hostname) as events:
                    events.send("task-progress", uuid=self._task_id, result=self._progress(), **self._shown)
            except (redis.RedisError, OSError):
                pass
            if self._stop.wait(PERIOD):
                return

    def _look(self) -> None:
        """Is the batch still ours and wanted, and does it move?"""
        if not self._lease.renew():
            self._abandoned = TAKEN_OVER
        try:
            if self._ledger.is_cancelled():
                self._abandoned = "the job was cancelled"
        except TokenmillError:
            pass  # storage is away: the work itself will notice
        if not self.waiting_for and time.monotonic() - self._moved > self._stuck:
            log.error("batch %s has stood at %s for %.0f s; ending this process", self._batch, self._place, self._stuck)
            self._attempts.blame(Cause.STUCK)
            os.kill(os.getpid(), signal.SIGKILL)

    def _beat(self) -> None:
        meter = self._meter
        sighting = {
            "state": "waiting" if self.waiting_for else "running",
            "worker": self._worker,
            "seconds": round(time.monotonic() - self._began, 1),
            "documents": meter.documents,
            "tokens": meter.tokens,
            "rejected": meter.rejected.total(),
            "input_bytes": meter.input_bytes,
            "waiting_for": self.waiting_for or "",
        }
        with self._client.pipeline(transaction=False) as pipe:
            pipe.hset(self._key, self._batch, json.dumps(sighting))
            pipe.expire(self._key, KEY_SECONDS)
            if self._delivery_tag:
                pipe.zadd(UNACKED_INDEX, {self._delivery_tag: time.time()}, xx=True)
            pipe.execute()

    def _progress(self) -> str:
        """One line for Flower's Result column."""
        meter, seconds = self._meter, time.monotonic() - self._began
        share = f"{100 * meter.input_bytes / self._input_bytes:.0f}%"
        if self.waiting_for:
            return f"{share} waiting: {self.waiting_for}"
        if not meter.documents:
            return "begun"
        return f"{share} · {meter.documents:,} documents · {meter.tokens:,} tokens · {meter.tokens / seconds / 1e6:.2f} M/s"
