"""The one task: decode the message, run the pipeline, sort what goes wrong into wait, park or stop."""

import random
import time
import traceback
from dataclasses import dataclass
from functools import lru_cache

from celery import Task
from celery.utils.log import get_task_logger

from tokenmill import tokenizers
from tokenmill.broker import TASK, JobKeys
from tokenmill.engines import Encoder, trusted
from tokenmill.errors import BatchError, JobError, TokenmillError, TransientError
from tokenmill.facts import Arithmetic
from tokenmill.job import Batch, Job, ParkedBatch
from tokenmill.ledger import Ledger
from tokenmill.meter import Meter
from tokenmill.pipeline import Abandoned, run_batch
from tokenmill.poison import Cause
from tokenmill.settings import Settings
from tokenmill.sink import Target
from workers import metrics, telemetry
from workers.admission import admit_output, admit_sources, admitted
from workers.app import app
from workers.attempts import Attempts
from workers.connection import broker_client
from workers.ending import Ending, Outcome
from workers.graphics import computing, may_have_gpu, quickest
from workers.heartbeat import Heartbeat
from workers.lease import Lease

log = get_task_logger(__name__)

#: Longest pause between two tries at something transient, in seconds.
LONGEST_PAUSE = 30.0
#: How long a process takes no other batch after one whose output is not there, in seconds.
UNSEEN_PAUSE = 10.0


@app.task(name=TASK, bind=True)
@telemetry.reported
@admitted
def encode_batch(task: Task, job_id: str, output: str, batch: int) -> Ending:
    """Encode one batch of one job; however this ends, the batch is then committed, parked, another worker's, or not wanted.

    Returns how it ended, for people who look at Flower, the log or a dashboard; nothing else reads it.
    """
    client, worker, keys = broker_client(), telemetry.worker_name(task), JobKeys(job_id, output)
    lease, attempts, ledger = Lease(client, keys, batch), Attempts(client, keys, batch), Ledger(output)
    if not lease.take():
        return Ending(outcome=Outcome.HELD_ELSEWHERE)
    stuck = Settings.from_environment().stuck_seconds
    with Heartbeat(client, task, lease, attempts, ledger, worker=worker, stuck=stuck) as heartbeat:
        pause = 1.0
        metrics.count_attempt(died=attempts.begin())
        while True:
            try:
                ending = commit_or_park(job_id, ledger, batch, heartbeat, attempts, worker)
                break
            except Abandoned as why:
                return Ending(outcome=Outcome.LEFT, why=str(why))
            except MemoryError:  # must not reach Celery: it kills the worker's main process over it
                attempts.died(Cause.MEMORY, heartbeat.place)
                metrics.count_attempt(died=attempts.begin())
            except TransientError as error:  # never counts against the batch
                log.warning("batch %06d waits: %s", batch, error)
                metrics.count_wait()
                try:
                    heartbeat.wait(random.uniform(pause / 2, pause), str(error))
                except Abandoned as why:
                    return Ending(outcome=Outcome.LEFT, why=str(why))
                pause = min(2 * pause, LONGEST_PAUSE)
        attempts.forget()
    if ending.outcome in (Outcome.UNSEEN, Outcome.REFUSED):
        # The batch is out of our hands by now. A host that lacks the storage must not be the quickest to take all the others.
        time.sleep(UNSEEN_PAUSE)
    return ending


def commit_or_park(job_id: str, ledger: Ledger, batch: int, heartbeat: Heartbeat, attempts: Attempts, worker: str) -> Ending:
    """Do the batch, or write down why it cannot be done; return how it ended.

    Raises TransientError when it is worth waiting, MemoryError and Abandoned as they come.
    """
    try:
        job = ledger.job() if ledger.has_job() else None
    except (JobError, BatchError) as error:
        return Ending(outcome=Outcome.REFUSED, why=str(error))
    if job is None or job.job_id != job_id:
        why = f"{ledger.output} holds no job {job_id}. Does this host see the storage?"
        return Ending(outcome=Outcome.UNSEEN, why=why)
    if batch >= job.batches:
        return Ending(outcome=Outcome.REFUSED, why=f"the job has {job.batches:,} batches.")
    if ledger.entry(batch) is not None:
        return Ending(outcome=Outcome.DONE_ALREADY)
    if ledger.is_cancelled():
        return Ending(outcome=Outcome.LEFT, why="the job was cancelled")
    reason, details, stops_job, meters = "", "", False, list[Meter]()
    try:
        hopeless = heartbeat.deaths.hopeless()
        if hopeless is not None:
            raise BatchError(f"{hopeless}. Look into the workers' logs; `tokenmill retry` takes it up again.")
        works = prepared(job_id, ledger.output, job.beside)
        planned = works[0].ledger.batch(batch)
        admit_sources(planned)
        targets = [work.target(planned) for work in works]
        meters = [target.meter for target in targets]
        heartbeat.watch(meters[0], planned.bytes)
        entry = run_batch(targets, planned, heartbeat, worker=worker, attempt=attempts.number)
        return Ending(outcome=Outcome.COMMITTED if entry else Outcome.DONE_ALREADY, entry=entry)
    except (TransientError, MemoryError, Abandoned):
        raise
    except TokenmillError as error:
        reason, stops_job = str(error), isinstance(error, JobError)
    except Exception as error:
        reason, details = f"unforeseen {type(error).__name__}: {error}", traceback.format_exc()
    finally:
        for meter in meters:
            metrics.count_spent(meter)
    if ledger.entry(batch) is not None:  # another copy of this batch came through meanwhile
        return Ending(outcome=Outcome.DONE_ALREADY)
    ledger.park(
        ParkedBatch(
            job_id=job_id,
            index=batch,
            stops_job=stops_job,
            reason=reason,
            details=details,
            attempts=attempts.number,
            worker=worker,
        )
    )
    return Ending(outcome=Outcome.PARKED, why=reason)


@dataclass(slots=True)
class Work:
    """What a process keeps warm for a job."""

    job: Job
    ledger: Ledger
    #: The CPU's, or the GPU's with the CPU's behind it.
    encoder: Encoder
    #: The GPU's, if that encodes; None for the processor's.
    arithmetic: Arithmetic | None = None
    _decided: bool = False

    def target(self, batch: Batch) -> Target:
        """Where a batch goes, with nothing counted yet."""
        if not self._decided and may_have_gpu(self.job):
            encoder = quickest(self.job, self.encoder, [batch])
            self.arithmetic = computing(self.job, self.ledger.output, encoder)
            self.encoder = encoder
        self._decided = True
        if self.encoder.lost is not None:
            self.encoder, self.arithmetic = self.encoder.fallback, None
        return Target(self.job, self.ledger, self.encoder, self.arithmetic)


@lru_cache(maxsize=2)
def prepared(job_id: str, output: str, beside: tuple[str, ...]) -> tuple[Work, ...]:  # noqa: ARG001  # a folder may be given to another job
    """A job, and those whose outputs are made beside its own, with tokenizers and engines; loaded once per process.

    Raises JobError if one of them is no longer there.
    """
    cache, works = Settings.from_environment().cache, list[Work]()
    for place in (output, *beside):
        admit_output(place)
        ledger = Ledger(place)
        job = ledger.find_job()
        if job is None or (place != output and job.made_with != output):
            raise JobError(f"{place} is not, or no longer, made beside {output}. Ask for both again, by the same job file.")
        model = tokenizers.cached(job.tokenizer, ledger.output, cache)
        works.append(Work(job, ledger, trusted(model, job.spec, job.engine.name, cache)))
    return tuple(works)


def warm(output: str) -> None:
    """Load a job's tokenizers, engines and references now; an empty job needs none of them."""
    job = Ledger(output).job()
    if job.source_bytes:
        for work in prepared(job.job_id, output, job.beside):
            work.encoder.load()
            work.encoder.reference.load()
