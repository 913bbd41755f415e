"""What producer and workers agree on about the broker: names, the message, and how to speak to Redis.

Pure data: this file imports neither Celery nor Redis. The two programs never import each other; a `BatchMessage` and the
keys below are all that passes between them, and no document text ever does (law 5).
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tokenmill.errors import UsageError

#: The one task there is. Renaming it strands the messages that are under way.
TASK = "encode_batch"
#: The queue that every worker serves.
QUEUE = "encode"
#: Every key tokenmill's Celery makes in a shared Redis starts so.
PREFIX = "tokenmill:"

#: A silent packet drop left workers with default timeouts hung for ever (3 of 3 runs); with these they resumed in 7 s.
SOCKET_OPTIONS: dict[str, Any] = {"socket_timeout": 10, "socket_connect_timeout": 5, "health_check_interval": 10}

TRANSPORT_OPTIONS: dict[str, Any] = {
    **SOCKET_OPTIONS,
    "global_keyprefix": PREFIX,
    # The body is JSON already; base64 around it would add a third to each message.
    "body_encoding": None,
    # A worker renews its message every few seconds (workers.heartbeat), so this is the recovery time, not a task limit.
    "visibility_timeout": 60,
    # How often lost messages are looked for; the defaults of 10 and 10 made recovery from a killed worker take 100 s.
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchMessage:
    """What a worker is told: where the ledger is and which batch to do. The rest it reads from the ledger."""

    job_id: str
    output: str
    batch: int

    @property
    def task_id(self) -> str:
        """The same for every copy of the message, so that Flower shows a batch sent again in its old row."""
        return f"{self.job_id}-{self.batch}"

    def arguments(self) -> tuple[str, str, int]:
        """As the task's arguments."""
        return self.job_id, self.output, self.batch


def sightings_key(job_id: str) -> str:
    """Hash: batch index -> JSON of its last sign of life, from sending until it is done or parked."""
    return f"{PREFIX}sightings:{job_id}"


def attempts_key(job_id: str) -> str:
    """Hash: batch index -> how often a worker began it; with a suffix, where it is and what it died of."""
    return f"{PREFIX}attempts:{job_id}"


def lease_key(job_id: str, batch: int) -> str:
    """String with a time to live: which worker holds a batch."""
    return f"{PREFIX}lease:{job_id}:{batch}"


def lead_key(job_id: str) -> str:
    """String with a time to live: which dispatcher leads this job."""
    return f"{PREFIX}lead:{job_id}"


#: Seconds that the bookkeeping of a job outlives its last change in Redis.
KEY_SECONDS = 7 * 24 * 3600


def client_url(broker: str) -> str:
    """The broker's URL as redis-py reads it; Celery's `redis+socket://` is redis-py's `unix://`."""
    scheme = urlsplit(broker).scheme
    if scheme == "redis+socket":
        return broker.replace("redis+socket://", "unix://", 1).replace("virtual_host=", "db=")
    if scheme in ("redis", "rediss", "unix"):
        return broker
    raise UsageError(
        f"the broker's URL begins with {scheme}://; give redis://, rediss:// or redis+socket:// in TOKENMILL_BROKER."
    )


def without_password(broker: str) -> str:
    """The broker's URL as it may be shown."""
    parts = urlsplit(broker)
    return broker.replace(f":{parts.password}@", ":…@", 1) if parts.password else broker
