"""Carries a claimed run out: makes its job, waits for its end, puts that on record.

Comes in: a schedule, and a run that nobody has ended. Goes out: the run's end. Always holds: who takes a run over goes on with
the job that stands in its output, whatever the sources have become since; what may pass (storage, broker) ends no run.
"""

import logging
import signal
import socket
import sys
from dataclasses import replace
from datetime import UTC, datetime

from producer import ending, service
from producer.dispatch import Dispatcher, Outcome, follow
from producer.local import admit, run_here
from producer.period import Period
from producer.prepare import Prepared, prepare
from producer.progress import Progress
from producer.queue import BatchQueue
from producer.schedule import notices, table
from producer.schedule.drift import drift
from producer.schedule.runs import Account, RunEnd, RunJob, Runs
from producer.schedule.runs import Outcome as RunOutcome
from producer.schedule.table import Schedule
from tokenmill import logs
from tokenmill.errors import BatchError, JobError, TransientError, UsageError
from tokenmill.job import Device
from tokenmill.ledger import Ledger
from tokenmill.settings import Settings

log = logging.getLogger(__name__)

#: What the exit status of a carrying process says: it may pass, somebody has to try again.
AGAIN = 75


def carry_out(schedule: Schedule, runs: Runs, account: Account, workers: int) -> RunEnd:
    """Bring a run to its end, and put that on record.

    Args:
        workers: those that this machine starts where there is no broker; 0 means one per core.

    Raises TransientError when storage or broker are away: the run then has no end, and whoever looks next goes on with it.
    """
    period = account.run.period
    prepared: Prepared | None = None
    try:
        prepared = _prepared(schedule, runs, account)
        outcome = _followed(prepared, workers)
    except TransientError:
        raise
    except (JobError, BatchError) as error:
        end = _end(account, "failed", str(error), prepared)
    else:
        end = _end(account, outcome.value, ending.reason(prepared, outcome), prepared)
        if outcome is Outcome.SEALED:
            found = drift(runs, period, prepared.ledger.output, schedule.limits)
            end = end.model_copy(update={"alarms": found.alarms if found else ()})
    if runs.end(period, end):
        notices.tell(schedule, replace(account, end=end), prepared)
    standing = runs.find(period)
    return standing.end if standing is not None and standing.end is not None else end


def _prepared(schedule: Schedule, runs: Runs, account: Account) -> Prepared:
    """The job of a run: the one that was made before, or a new one."""
    if account.job is not None:
        ledger = Ledger(account.job.output)
        job = ledger.find_job()
        if job is not None and job.job_id == account.job.job_id:
            return Prepared(job, ledger, len(ledger.committed()), "")
    request = schedule.job.request(Period.parsed(account.run.period))
    prepared = prepare(request)
    outputs = (prepared.ledger.output, *prepared.job.beside)
    runs.note(account.run.period, RunJob(job_id=prepared.job.job_id, output=prepared.ledger.output, outputs=outputs))
    return prepared


def _followed(prepared: Prepared, workers: int) -> Outcome:
    """Drive a job to its end: on the cluster, or without a broker on this machine."""
    settings = Settings.from_environment()
    if settings.broker is None:
        admit(Device(prepared.job.device), workers)
        return run_here(prepared, None, workers, _quiet, log.warning)
    if not prepared.ledger.is_sealed():
        service.register(settings.home, prepared.job, prepared.ledger.output)
    return follow(Dispatcher(prepared.ledger, BatchQueue(settings.broker)), _quiet, _Notes(), patience=None)


class _Notes:
    """Says what may pass, each kind once."""

    def __init__(self) -> None:
        self._said = ""

    def __call__(self, trouble: str) -> None:
        if trouble != self._said:
            self._said = trouble
            log.warning("waiting: %s", trouble)


def _quiet(progress: Progress) -> None:
    """Nobody looks on."""


def _end(account: Account, outcome: RunOutcome, reason: str, prepared: Prepared | None) -> RunEnd:
    now = datetime.now(UTC)
    totals = prepared.ledger.totals() if prepared is not None and outcome == "sealed" else None
    return RunEnd(
        outcome=outcome,
        reason=reason,
        documents=0 if totals is None else totals.documents,
        tokens=0 if totals is None else totals.tokens,
        seconds=round((now - account.run.claimed).total_seconds(), 3),
        host=socket.gethostname(),
        ended=now,
    )


def main() -> None:
    """`python -m producer.schedule.carry FILE NAME PERIOD WORKERS`: one run; the file is read anew."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    path, name, period, workers = sys.argv[1:]
    logs.configure(as_json=Settings.from_environment().json_log)
    schedules = table.read(path)
    runs = Runs(schedules.runs, name)
    account = runs.find(period)
    if account is None:
        raise UsageError(f"{runs.url(period)} is gone.")
    if account.end is not None:
        return
    try:
        end = carry_out(schedules[name], runs, account, int(workers))
    except TransientError as error:
        log.warning("%s %s: %s", name, period, error)
        sys.exit(AGAIN)
    except KeyboardInterrupt:
        sys.exit(AGAIN)
    facts = {"event": "run", "schedule": name, "period": period, "outcome": end.outcome}
    counts = f"{end.documents:,} documents, {end.tokens:,} tokens" if end.outcome == "sealed" else end.reason
    log.info("%s %s %s: %s", name, period, end.outcome, counts, extra={"facts": facts})


if __name__ == "__main__":
    main()
