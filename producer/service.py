"""`tokenmill dispatch`: the reconcile loop for every submitted job, as a service. Any number may run; one leads each job.

Jobs are found in storage, `$TOKENMILL_HOME/jobs/<job_id>.json`, so that a wiped Redis forgets none. A pointer is removed when
its job has ended; submitting again writes it anew.
"""

import logging
import time
from pathlib import Path

from producer.dispatch import TICK, Dispatcher
from producer.queue import BatchQueue
from tokenmill import storage
from tokenmill.errors import TokenmillError, TransientError
from tokenmill.job import Job, Record
from tokenmill.ledger import Ledger
from tokenmill.settings import Settings

log = logging.getLogger(__name__)


class JobPointer(Record):
    """Where a submitted job's output lies."""

    job_id: str
    output: str


def register(home: Path, job: Job, output: str) -> None:
    """Hand a job to the dispatchers."""
    pointer = JobPointer(job_id=job.job_id, output=output)
    storage.put(str(home / "jobs" / f"{job.job_id}.json"), pointer.to_json())


def serve(home: Path, queue: BatchQueue) -> None:
    """Drive all registered jobs, for ever."""
    jobs = str(home / "jobs")
    dispatchers: dict[str, Dispatcher] = {}
    log.info("dispatching the jobs in %s", jobs)
    while True:
        for name in storage.names(jobs):
            url = storage.join(jobs, name)
            try:
                if name not in dispatchers:
                    pointer = JobPointer.from_json(storage.read(url), url)
                    Settings.from_environment().roots.admit(pointer.output)
                    dispatchers[name] = Dispatcher(Ledger(pointer.output), queue)
                    log.info("%s: %s", pointer.job_id, pointer.output)
                _tick(dispatchers[name], name.removesuffix(".json"))
                ended = dispatchers[name].outcome is not None
            except TransientError as error:
                log.warning("%s: %s", name, error)
                time.sleep(1)
                continue
            except TokenmillError as error:
                log.error("%s stopped: %s", name, error)
                ended = True
            if ended:
                dispatchers.pop(name, None)
                storage.delete(url)
        time.sleep(TICK)


def _tick(dispatcher: Dispatcher, job_id: str) -> None:
    progress = dispatcher.tick()
    if dispatcher.outcome is not None:
        parked = f", {len(progress.parked)} batches parked" if progress.parked else ""
        totals = f"{progress.documents:,} documents, {progress.tokens:,} tokens{parked}"
        log.info("%s %s: %s", job_id, dispatcher.outcome.value, totals)
