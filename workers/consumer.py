"""What may reach Celery from the queue: messages of the one shape that our producers give them.

Comes in: anything that is JSON around a body. Goes out: the message to Celery, or one line of the log. Always holds: what is
passed on names the one task, has a JSON body of arguments only, and asks for nothing else: no callbacks, no later time.

Celery 5.7 looks at less. A body that is a number ends the whole worker, which puts the message back into the queue before it
goes: one such message kept every worker from working for ever. It also logs what it drops in full, as long as it may be.
"""

from collections.abc import Callable
from typing import Any

from celery.utils.log import get_task_logger
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.message import Message

from tokenmill.broker import TASK
from tokenmill.roots import shown

log = get_task_logger(__name__)

#: Headers that are text, if they are there.
TEXTS = ("id", "lang", "shadow", "argsrepr", "kwargsrepr", "root_id", "origin")
#: Headers that our producers leave at rest, and how those look.
AT_REST = ("eta", "expires", "group", "parent_id", "replaced_task_nesting", "retries", "stamped_headers", "stamps", "timelimit")
RESTING: tuple[object, ...] = (None, 0, {}, [None, None])


class Consumer(CeleryConsumer):  # type: ignore[misc]  # celery ships no types
    """Celery's consumer with a doorkeeper."""

    def create_task_handler(self, *arguments: Any) -> Callable[[Message], None]:
        """What Celery calls with each message of the queue."""
        handle = super().create_task_handler(*arguments)

        def handle_or_drop(message: Message) -> None:
            why = fault_of(message)
            if why is None:
                handle(message)
            else:
                log.error("a message is dropped: %s", why)
                message.reject_log_error(log, self.connection_errors)

        return handle_or_drop


def fault_of(message: Message) -> str | None:
    """Why a message is none of ours; None if it is."""
    headers, way = message.headers, message.delivery_info
    if not isinstance(headers, dict) or not isinstance(way, dict) or not isinstance(headers.get("id"), str):
        return "it is no task at all."
    if headers.get("task") != TASK:
        return f"there is no task {shown(headers.get('task'))}."
    if message.content_type != "application/json":
        return f"its body is of type {shown(message.content_type)}, not JSON."
    strange = [name for name in TEXTS if not isinstance(headers.get(name), str | None)]
    strange += [name for name in AT_REST if headers.get(name) not in RESTING]
    if strange:
        return f"our producers do not set {', '.join(strange)} so."
    try:
        body = message.decode()
    except Exception as error:  # whatever a stranger's bytes make a decoder do
        return f"its body cannot be read: {type(error).__name__}."
    match body:
        case [list(), dict(), dict() as more] if not any(more.values()):
            return None
    return "its body is not a task's: arguments, named arguments, and nothing else."
