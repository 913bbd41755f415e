"""The metrics endpoint of a dispatcher: what waits in the queues, and how far its jobs are.

Comes in: each job's progress after a tick, and how it ended; the broker when somebody asks. Goes out: /metrics. Always holds: a
job has series only while it is driven, so a dispatcher that runs for years exports no more than one that has just begun. All
dispatchers of a cluster say the same of the queues: take the maximum over them, never the sum.
"""

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import redis

from producer.progress import Progress
from producer.queue import BatchQueue
from tokenmill.broker import GPU_QUEUE, QUEUE
from tokenmill.errors import UsageError
from tokenmill.metric import Metric

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

log = logging.getLogger(__name__)

QUEUE_BATCHES = Metric(
    "tokenmill_queue_batches", "Messages in the broker: waiting for a worker, or taken by one and unacked.", ("queue", "state")
)
JOBS = Metric("tokenmill_jobs", "Jobs that this dispatcher drives, or follows while another one leads.")
JOB_BATCHES = Metric(
    "tokenmill_job_batches",
    "Batches of a job under way: planned, and of those committed, parked, running.",
    ("job", "name", "state"),
)
JOBS_ENDED = Metric("tokenmill_jobs_ended_total", "Jobs whose end this dispatcher has seen.", ("outcome",))

METRICS = (QUEUE_BATCHES, JOBS, JOB_BATCHES, JOBS_ENDED)

#: How a job may end: as `producer.dispatch.Outcome` has it, or by an error that stops it.
OUTCOMES = ("sealed", "parked", "cancelled", "stopped")


class Gauges:
    """What a dispatcher knows that others may ask for, from another thread."""

    def __init__(self, queue: BatchQueue) -> None:
        self._queue = queue
        self._jobs: dict[str, Progress] = {}
        self._ended = Counter[str]()
        self._lock = threading.Lock()

    def saw(self, pointer: str, progress: Progress) -> None:
        """A job, named by what points to it, has come so far."""
        with self._lock:
            self._jobs[pointer] = progress

    def ended(self, pointer: str, outcome: str | None) -> None:
        """A job is driven no more.

        Args:
            outcome: None where another dispatcher knows.
        """
        with self._lock:
            self._jobs.pop(pointer, None)
            if outcome is not None:
                self._ended[outcome] += 1

    def collect(self) -> "Iterator[Family]":
        """Everything, as prometheus-client wants it."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        queues = GaugeMetricFamily(QUEUE_BATCHES.name, QUEUE_BATCHES.says, labels=QUEUE_BATCHES.labels)
        try:
            taken = self._queue.taken()
            for queue in (QUEUE, GPU_QUEUE):
                queues.add_metric([queue, "waiting"], self._queue.waiting(queue))
                queues.add_metric([queue, "unacked"], taken[queue])
        except redis.RedisError as error:
            log.warning("nothing is said of the queues: the broker is away: %s", error)
        with self._lock:
            jobs, ended = dict(self._jobs), Counter(self._ended)
        batches = GaugeMetricFamily(JOB_BATCHES.name, JOB_BATCHES.says, labels=JOB_BATCHES.labels)
        for (job_id, name, state), number in _batches(jobs.values()).items():
            batches.add_metric([job_id, name, state], number)
        ends = CounterMetricFamily(JOBS_ENDED.name, JOBS_ENDED.says, labels=JOBS_ENDED.labels)
        for outcome in OUTCOMES:
            ends.add_metric([outcome], ended[outcome])
        yield from (queues, GaugeMetricFamily(JOBS.name, JOBS.says, len(jobs)), batches, ends)

    def serve(self, host: str, port: int) -> None:
        """Answer /metrics from here on, in a thread of its own; port 0 is any that is free. Raises UsageError."""
        from prometheus_client import CollectorRegistry, start_http_server

        registry = CollectorRegistry()
        registry.register(self)
        try:
            server, _ = start_http_server(port, host, registry)
        except OSError as error:
            where = f"--metrics-port {port} on {host}"
            raise UsageError(f"{where}: {error.strerror or error}. Give another, or 0 for any.") from error
        log.info("metrics at http://%s:%d/metrics", host, server.server_port)


def _batches(jobs: Iterable[Progress]) -> Counter[tuple[str, str, str]]:
    """Batches by job, name and state; a job that is made in two folders under one name counts as one, since a series is one."""
    found = Counter[tuple[str, str, str]]()
    for progress in jobs:
        states = {"planned": progress.job.batches, "committed": progress.committed}
        states |= {"parked": len(progress.parked), "running": len(progress.running)}
        for state, number in states.items():
            found[progress.job.job_id, progress.job.name, state] += number
    return found
