"""What workers say of themselves: the log, and one line of it for each message that they are done with.

Comes in: endings. Goes out: lines on stderr, and what the metrics count.
"""

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

from billiard import current_process
from billiard.util import get_logger
from celery import Task
from celery.signals import setup_logging

from tokenmill import logs
from tokenmill.settings import Settings
from workers import metrics
from workers.ending import Ending, Outcome

log = logging.getLogger(__name__)

#: How loudly the log says it; others are said for information.
LEVELS = {Outcome.PARKED: logging.ERROR, Outcome.REFUSED: logging.ERROR}
LEVELS |= {Outcome.LEFT: logging.WARNING, Outcome.UNSEEN: logging.WARNING}


@setup_logging.connect
def configure_logging(loglevel: int | str | None = None, **_: Any) -> None:
    """Take Celery's place in setting up the log; what was set up before stays."""
    logs.configure(as_json=Settings.from_environment().json_log, level=loglevel or logging.INFO)
    # what it says of a dead child would go around the root's format (billiard.util.get_logger)
    get_logger().propagate = True
    # its line for each task that ended: ours says more
    logging.getLogger("celery.app.trace").setLevel(logging.WARNING)


def reported(work: Callable[..., Ending]) -> Callable[..., str]:
    """Count how a task ended and say so in one line; returns what Flower shows of it."""

    @functools.wraps(work)
    def work_and_report(task: Task, *arguments: Any, **named: Any) -> str:
        began = time.monotonic()
        ending = work(task, *arguments, **named)
        metrics.count_ending(ending)
        _log_ending(ending, task, time.monotonic() - began)
        return str(ending)

    return work_and_report


def worker_name(task: Task) -> str:
    """The process that a task runs in, as entries and sightings name it."""
    return f"{task.request.hostname}/{getattr(current_process(), 'index', 0)}"


def _log_ending(ending: Ending, task: Task, seconds: float) -> None:
    counts = ending.entry.counts if ending.entry else None
    facts = {
        "event": "batch",
        "job": ending.job_id,
        "batch": ending.batch,
        "outcome": ending.outcome,
        "documents": counts.documents if counts else 0,
        "tokens": counts.tokens if counts else 0,
        "rejected": counts.rejected_total if counts else 0,
        "seconds": round(seconds, 3),
        "engine": ending.entry.run.engine if ending.entry else None,
        "worker": worker_name(task),
    }
    what = "a message" if ending.batch is None else f"batch {ending.batch:06d}"
    log.log(LEVELS.get(ending.outcome, logging.INFO), "%s is %s", what, ending, extra={"facts": facts})
