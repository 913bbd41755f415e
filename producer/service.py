"""`tokenmill dispatch`: the reconcile loop for every submitted job, as a service. Any number may run; one leads each job.

Jobs are found in storage, `$TOKENMILL_HOME/jobs/<job_id>-<output>.json`, so that a wiped Redis forgets none. A pointer is
removed when its job has ended; submitting again writes it anew.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from producer.dispatch import TICK, Dispatcher
from producer.gauges import Gauges
from producer.queue import BatchQueue
from tokenmill import storage
from tokenmill.broker import JobKeys
from tokenmill.errors import TokenmillError, TransientError
from tokenmill.job import Job
from tokenmill.ledger import Ledger
from tokenmill.record import Record
from tokenmill.settings import Settings

log = logging.getLogger(__name__)

#: Seconds from one look for jobs to the next: in an object store a listing takes a round trip, and costs.
LOOK = 1.0


class JobPointer(Record):
    """Where a submitted job's output lies."""

    job_id: str
    output: str


def register(home: str, job: Job, output: str) -> None:
    """Hand a job to the dispatchers."""
    pointer, name = JobPointer(job_id=job.job_id, output=output), JobKeys(job.job_id, output).name
    storage.put(storage.join(storage.absolute(home), "jobs", f"{name}.json"), pointer.to_json())


def registered(home: str) -> Iterator[JobPointer]:
    """The jobs that were handed to the dispatchers and have not ended. Raises TransientError when storage is away."""
    jobs = storage.join(storage.absolute(home), "jobs")
    for name in storage.names(jobs):
        url = storage.join(jobs, name)
        found = storage.find(url)  # one that has ended meanwhile is gone
        if found is not None:
            yield JobPointer.from_json(found, url)


def serve(home: str, queue: BatchQueue, gauges: Gauges) -> None:
    """Drive all registered jobs, for ever."""
    jobs = storage.join(storage.absolute(home), "jobs")
    dispatchers: dict[str, Dispatcher] = {}
    names, look_again = list[str](), 0.0
    log.info("dispatching the jobs in %s", jobs)
    while True:
        if time.monotonic() >= look_again:
            with _waited_out(jobs):
                names = storage.names(jobs)
                for name in dispatchers.keys() - set(names):  # another dispatcher has seen its end
                    del dispatchers[name]
                    gauges.ended(name, None)
            look_again = time.monotonic() + LOOK
        for name in tuple(names):
            url = storage.join(jobs, name)
            with _waited_out(name):
                if not _drive(name, url, dispatchers, queue, gauges):
                    names.remove(name)
        time.sleep(TICK)


@contextmanager
def _waited_out(what: str) -> Iterator[None]:
    """Log what may pass, and go on with the others after a pause."""
    try:
        yield
    except TransientError as error:
        log.warning("%s: %s", what, error)
        time.sleep(1)


def _drive(name: str, url: str, dispatchers: dict[str, Dispatcher], queue: BatchQueue, gauges: Gauges) -> bool:
    """Drive one job a tick further; False when it has ended and its pointer is gone. Raises TransientError."""
    if not _ended(name, url, dispatchers, queue, gauges):
        return True
    ended = dispatchers.pop(name, None)
    storage.delete(url)
    if ended is None or ended.ledger.is_over():
        return False
    # asked for again since: whoever did so took the ending away before he wrote the pointer, which may have just been removed
    pointer = JobPointer(job_id=_job_id(name), output=ended.ledger.output)
    storage.put(url, pointer.to_json())
    return True


def _ended(name: str, url: str, dispatchers: dict[str, Dispatcher], queue: BatchQueue, gauges: Gauges) -> bool:
    """Drive one job a tick further; True when it has ended, well or not. Raises TransientError."""
    job_id = _job_id(name)
    try:
        if name not in dispatchers:
            pointer = JobPointer.from_json(storage.read(url), url)
            Settings.from_environment().roots.admit(pointer.output)
            dispatchers[name] = Dispatcher(Ledger(pointer.output), queue)
            log.info("%s: %s", job_id, pointer.output, extra={"facts": {"job": job_id}})
        progress = dispatchers[name].tick()
    except TransientError:
        raise
    except TokenmillError as error:
        log.error("%s stopped: %s", job_id, error, extra={"facts": {"event": "job", "job": job_id, "outcome": "stopped"}})
        gauges.ended(name, "stopped")
        return True
    gauges.saw(name, progress)
    outcome = dispatchers[name].outcome
    if outcome is None:
        return False
    gauges.ended(name, outcome.value)
    facts = {"documents": progress.documents, "tokens": progress.tokens, "parked": len(progress.parked)}
    parked = f", {len(progress.parked)} batches parked" if progress.parked else ""
    totals = f"{progress.documents:,} documents, {progress.tokens:,} tokens{parked}"
    said = {"facts": {"event": "job", "job": job_id, "outcome": outcome.value, **facts}}
    log.info("%s %s: %s", job_id, outcome.value, totals, extra=said)
    return True


def _job_id(name: str) -> str:
    """The job that a pointer is for."""
    return name.partition("-")[0]
