"""Which messages a worker acts upon: whoever may write to the broker must not thereby read and write what workers can.

Comes in: the arguments of a task, from anybody. Goes out: a well-formed message whose output lies below TOKENMILL_ROOTS, or a
refusal. Always holds: before a message is admitted nothing is opened, and nothing is written but one line of the log and, where
the message is at least well formed, a sighting that tells `tokenmill status` why the batch does not move.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import replace

import redis
from celery import Task

from tokenmill import storage
from tokenmill.broker import KEY_SECONDS, BatchMessage
from tokenmill.errors import UsageError
from tokenmill.job import Batch
from tokenmill.settings import Settings
from workers.connection import broker_client
from workers.ending import Ending, Outcome

#: What a worker opens below an output folder; each of them could be a link that leads elsewhere.
OPENED = (
    *("job.json", "plan.parquet", "tokenizer/tokenizer.json"),
    *("shards", "entries", "rejected", "metadata", "packing", "facts", "contamination", "parked", "disabled"),
)


def admitted(work: Callable[[Task, str, str, int], Ending]) -> Callable[..., Ending]:
    """Give a task only messages that may be acted upon; the others are refused."""

    @functools.wraps(work)
    def refuse_or_work(task: Task, *arguments: object, **named: object) -> Ending:
        try:
            message = _message(arguments, named)
        except UsageError as error:
            return Ending(outcome=Outcome.REFUSED, why=str(error))
        try:
            admit_output(message.output)
        except UsageError as error:
            _tell(task, message, str(error))
            ending = Ending(outcome=Outcome.REFUSED, why=str(error))
        else:
            ending = work(task, *message.arguments())
        return replace(ending, job_id=message.job_id, batch=message.batch)

    return refuse_or_work


def admit_output(output: str) -> None:
    """Raise UsageError if an output folder, or what a worker opens in it, lies outside of TOKENMILL_ROOTS."""
    roots = Settings.from_environment().roots
    roots.admit(output)
    for place in OPENED:
        roots.admit(storage.join(output, place))


def admit_sources(planned: Batch) -> None:
    """Raise UsageError if a planned batch would read a file outside of TOKENMILL_ROOTS."""
    roots = Settings.from_environment().roots
    for url in dict.fromkeys(span.url for span in planned.spans):
        roots.admit(url)


def _message(arguments: tuple[object, ...], named: dict[str, object]) -> BatchMessage:
    """The message, if it is one of ours. Raises UsageError."""
    if len(arguments) != 3 or named:
        raise UsageError(f"it has {len(arguments)} arguments and {len(named)} named ones; ours have 3 and none.")
    job_id, output, batch = arguments
    return BatchMessage(job_id=job_id, output=output, batch=batch)  # type: ignore[arg-type]  # it looks for itself


def _tell(task: Task, message: BatchMessage, why: str) -> None:
    """Leave word for the dispatcher, which shows it and tries again when it has stood still for a while."""
    sighting = {"state": "refused", "worker": str(task.request.hostname), "waiting_for": f"refused: {why}"}
    key = message.keys.sightings
    try:
        broker_client().hset(key, str(message.batch), json.dumps(sighting))
        broker_client().expire(key, KEY_SECONDS)
    except redis.RedisError:
        pass  # the log has it
