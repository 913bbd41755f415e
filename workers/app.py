"""The Celery application: every setting with its reason.

The environment is read when the configuration is first used, not at import, so `celery -A workers.app ...` and tests can both
import this file. The figures in the comments are of Celery 5.7 and Valkey 9.1, one fault injected at a time.
"""

from typing import Any

from celery import Celery
from kombu.utils.scheduling import priority_cycle

from tokenmill.broker import QUEUE, TRANSPORT_OPTIONS
from tokenmill.errors import UsageError
from tokenmill.settings import Settings


class GpuFirst(priority_cycle):
    """The order in which a worker of several queues asks them: `encode.gpu` before `encode`.

    kombu's own orders are turns, the alphabet, and that of a set, which is anybody's guess (5.7).
    """

    def consume(self, n: int) -> list[str]:
        """All `n` queues, in that order."""
        return sorted(self.items[:n], reverse=True)


def configuration() -> dict[str, Any]:
    """All settings. Raises UsageError if TOKENMILL_BROKER is not set."""
    broker = Settings.from_environment().broker
    if broker is None:
        raise UsageError(
            "TOKENMILL_BROKER is not set. Give the URL of your Redis or Valkey, such as redis://:password@host:6379/0."
        )
    return {
        "broker_url": broker,
        # By its name: what a worker says of itself to Flower is JSON, these options included.
        "broker_transport_options": {**TRANSPORT_OPTIONS, "queue_order_strategy": "workers.app:GpuFirst"},
        # Wait for the broker however long it is away; the default gives up after 100 tries.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_default_queue": QUEUE,
        # No code in messages: a pickled one was executed when pickle was allowed.
        "task_serializer": "json",
        "accept_content": ["json"],
        # What is none of our messages is dropped before it can end the worker.
        "worker_consumer": "workers.consumer:Consumer",
        # What is done stands in the ledger; results lied across a broker restart (2 of 4 recorded as failed).
        "task_ignore_result": True,
        # Acknowledge after the work, or a killed worker takes its batches along (2 of 8 lost).
        "task_acks_late": True,
        # A killed child's batch goes back at once; `tokenmill.poison` ends the endless loop this alone would be.
        "task_reject_on_worker_lost": True,
        # Nothing waits inside a busy worker.
        "worker_prefetch_multiplier": 1,
        # Kills tasks it should keep when the broker restarts (2 of 4 lost); 6.0 will turn it on by default.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # What Flower shows.
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        # Our own log format (workers.telemetry).
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }


app = Celery("tokenmill", include=["workers.tasks", "workers.telemetry"])
app.add_defaults(configuration)
