"""The producer's side of the broker: batches sent, sightings read, one leader per job.

Comes in: batches. Goes out: messages of less than 1 KB that hold names and numbers, never text (law 5). Everything kept in
Redis may vanish at any time; the ledger is the truth.
"""

import json
import secrets
from collections import Counter
from dataclasses import dataclass
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry

from tokenmill import vitals
from tokenmill.broker import (
    GPU_QUEUE,
    KEY_SECONDS,
    PREFIX,
    QUEUE,
    SOCKET_OPTIONS,
    TASK,
    TRANSPORT_OPTIONS,
    BatchMessage,
    JobKeys,
    client_url,
    without_password,
)
from tokenmill.errors import TransientError
from tokenmill.job import Batch, Device, Job
from tokenmill.vitals import Vitals

#: kombu's hash of the messages that workers have taken (kombu 5.7, `Channel.unacked_key`), below our prefix.
UNACKED = PREFIX + "unacked"

#: Seconds that a leader keeps its job without a word.
LEAD_SECONDS = 10
#: Seconds that workers have to say which queues they serve; their main processes answer at once, whatever is being encoded.
ROLL_CALL = 1.0

#: Keep the lead if it is ours; takes key, token, seconds.
RENEW = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('expire', KEYS[1], ARGV[2]) else return 0 end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """The last sign of life of a batch that is under way."""

    #: "sent", "running", "waiting" or "refused"
    state: str
    worker: str = ""
    seconds: float = 0.0
    documents: int = 0
    tokens: int = 0
    rejected: int = 0
    input_bytes: int = 0
    waiting_for: str = ""
    #: Where a "sent" batch waits.
    queue: str = ""


def queue_of(job: Job) -> str:
    """The queue that a job's batches go to."""
    return GPU_QUEUE if job.device is Device.CUDA else QUEUE


class BatchQueue:
    """A connection to the broker; opened at the first use."""

    def __init__(self, broker: str) -> None:
        self.broker = broker
        self._celery = Celery("tokenmill-producer", broker=broker)
        self._celery.conf.update(
            broker_transport_options=TRANSPORT_OPTIONS,
            task_serializer="json",
            task_ignore_result=True,
            task_send_sent_event=True,
            broker_connection_retry_on_startup=False,
        )
        # redis-py would try for seconds by itself; whoever asks here can wait and say so
        self._redis = redis.Redis.from_url(client_url(broker), retry=Retry(NoBackoff(), 0), **SOCKET_OPTIONS)
        self._token = secrets.token_hex(8)

    def ping(self) -> str:
        """The server's name and version. Raises TransientError if it does not answer."""
        try:
            info: dict[str, Any] = self._redis.info("server")
        except redis.RedisError as error:
            raise TransientError(
                f"no broker answers at {without_password(self.broker)}: {error}. "
                f"Start Redis or Valkey there, or set TOKENMILL_BROKER."
            ) from error
        return f"{info.get('server_name', 'redis')} {info.get('valkey_version', info.get('redis_version'))}"

    def send(self, job: Job, output: str, batch: Batch) -> None:
        """Send one batch; its sighting is written first, so that a quick worker's end is not overwritten.

        Raises TransientError or redis.RedisError when the broker is away.
        """
        message, queue = BatchMessage(job_id=job.job_id, output=output, batch=batch.index), queue_of(job)
        key = message.keys.sightings
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(key, str(batch.index), json.dumps({"state": "sent", "queue": queue}))
            pipe.expire(key, KEY_SECONDS)
            pipe.execute()
        try:
            self._celery.send_task(
                TASK,
                args=message.arguments(),
                task_id=message.task_id,
                queue=queue,
                shadow=f"{TASK}[{job.name}/{batch.index:06d}]",
                argsrepr=f"{batch.bytes / 1e6:.1f} MB" + (f" in {len(batch.spans)} spans" if len(batch.spans) > 1 else ""),
                reply_to="-",  # nobody waits for a result; the default names a queue in 36 bytes
                retry=False,
            )
        except OperationalError as error:
            raise TransientError(f"the broker is away: {error}") from error

    def waiting(self, queue: str) -> int:
        """Messages in a queue that no worker has taken yet, of all jobs."""
        return int(self._redis.llen(PREFIX + queue))

    def taken(self) -> Counter[str]:
        """Messages that workers have taken and are not done with, of all jobs, by queue; as many as there are busy processes.

        kombu keeps those of all queues in one hash, each as [message, exchange, routing key] (5.7, `QoS.append`).
        """
        found = Counter[str]()
        for message in self._redis.hgetall(UNACKED).values():
            try:
                found[json.loads(message)[2]] += 1
            except (ValueError, LookupError, TypeError):
                pass  # no message of ours; the worker that has it drops it
        return found

    def is_served(self, queue: str) -> bool:
        """Whether a worker takes messages from a queue; takes a second. Raises TransientError when the broker is away."""
        try:
            answers = self._celery.control.inspect(timeout=ROLL_CALL).active_queues() or {}
        except (OperationalError, redis.RedisError) as error:
            raise TransientError(f"the broker is away: {error}") from error
        return any(queue == served["name"] for queues in answers.values() for served in queues)

    def hosts(self) -> list[Vitals]:
        """The hosts that have workers, by name. Raises TransientError when the broker is away."""
        try:
            seconds, _ = self._redis.time()
            said = [vitals.read(one) for one in self._redis.hgetall(vitals.KEY).values()]
        except redis.RedisError as error:
            raise TransientError(f"the broker is away: {error}") from error
        alive = [one for one in said if one is not None and seconds - one.at < vitals.GONE]
        return sorted(alive, key=lambda one: (one.host, one.pools))

    def sightings(self, keys: JobKeys) -> dict[int, Sighting]:
        """The batches of a job that are under way."""
        found = self._redis.hgetall(keys.sightings)
        return {int(index): Sighting(**json.loads(data)) for index, data in found.items()}

    def forget(self, keys: JobKeys, batch: int) -> None:
        """Drop the sighting of a batch that nobody works on any more."""
        self._redis.hdel(keys.sightings, str(batch))

    def clear(self, keys: JobKeys) -> None:
        """Drop all bookkeeping of a job that has ended."""
        self._redis.delete(keys.sightings, keys.attempts, keys.lead)

    def lead(self, keys: JobKeys) -> bool:
        """Take or keep the lead of a job; False while another dispatcher has it."""
        taken = self._redis.set(keys.lead, self._token, nx=True, ex=LEAD_SECONDS)
        return bool(taken) or bool(self._redis.eval(RENEW, 1, keys.lead, self._token, LEAD_SECONDS))
