"""A running batch says that it is alive: to the dispatcher, to Celery's transport, and to Flower.

A thread beats while the batch runs. Each beat renews the batch's sighting (the dispatcher resends a batch whose sighting
stands still), moves the message's time in kombu's index of unacknowledged messages forward (so that the short visibility
timeout redelivers dead workers' batches only), and sends Flower a line of progress. A beat that fails is skipped: the
broker may be away while the work goes on. When the batch has ended, its sighting is gone.
"""

import json
import threading
import time
from types import TracebackType
from typing import Self

import redis
from celery import Task

from tokenmill.broker import KEY_SECONDS, PREFIX, sightings_key
from tokenmill.pipeline import Meter

#: Seconds between beats.
PERIOD = 1.0
#: kombu's sorted set of unacknowledged messages (kombu 5.7, `Channel.unacked_index_key`), below our prefix.
UNACKED_INDEX = PREFIX + "unacked_index"


class Heartbeat:
    """Beats from the beginning of its `with` block to the end."""

    def __init__(self, client: redis.Redis, task: Task, *, job_id: str, batch: int, worker: str) -> None:
        self._client, self._app, self._worker = client, task.app, worker
        # taken here, in the task's own thread: Celery's current request is local to a thread
        self._task_id, self._hostname = task.request.id, task.request.hostname
        self._delivery_tag = (task.request.properties or {}).get("delivery_tag")
        self._key, self._batch = sightings_key(job_id), str(batch)
        self._began = time.monotonic()
        self._meter, self._input_bytes = Meter(), 1
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
        try:
            self._client.hdel(self._key, self._batch)
        except redis.RedisError:
            pass  # the sighting then stands still, and the dispatcher looks into the ledger

    def watch(self, meter: Meter, input_bytes: int) -> None:
        """Report from this meter on; `input_bytes` is all that the batch has to read."""
        self._meter, self._input_bytes = meter, max(1, input_bytes)

    def wait(self, seconds: float, reason: str) -> None:
        """Pause the work, saying why."""
        self.waiting_for = reason
        time.sleep(seconds)
        self.waiting_for = None

    def _beat_until_stopped(self) -> None:
        while True:
            try:
                self._beat()
                with self._app.events.default_dispatcher(hostname=self._hostname) as events:
                    events.send("task-progress", uuid=self._task_id, result=self._progress())
            except (redis.RedisError, OSError):
                pass
            if self._stop.wait(PERIOD):
                return

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
        return f"{share} · {meter.documents:,} documents · {meter.tokens:,} tokens · {meter.tokens / seconds / 1e6:.2f} M/s"
