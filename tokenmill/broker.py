"""What producer and workers agree on about the broker: names, the message, and how to speak to Redis.

Pure data: this file imports neither Celery nor Redis. The two programs never import each other; a `BatchMessage` and the
`JobKeys` are all that passes between them, and no document text ever does (law 5). Always holds: a `BatchMessage` is well
formed, whoever wrote it; an address that was `checked` proves who the broker is before it is told a password.
"""

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tokenmill.errors import UsageError
from tokenmill.roots import shown

#: The one task there is. Renaming it strands the messages that are under way.
TASK = "encode_batch"
#: The queue that every worker serves, and the one that only GPUs' workers do.
QUEUE, GPU_QUEUE = "encode", "encode.gpu"
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


#: What a job is called: it stands in Redis keys and file names.
JOB_ID = r"[0-9a-f]{16}"
#: A plan of more batches would take 80 GB; the number stands in Redis keys and file names too.
MOST_BATCHES = 10**10


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchMessage:
    """What a worker is told: where the ledger is and which batch to do. The rest it reads from the ledger."""

    job_id: str
    output: str
    batch: int

    def __post_init__(self) -> None:
        """Raises UsageError if this is no message that a producer of ours writes."""
        if not isinstance(self.job_id, str) or not re.fullmatch(JOB_ID, self.job_id):
            raise UsageError(f"{shown(self.job_id)} names no job.")
        if not isinstance(self.output, str):
            raise UsageError(f"{shown(self.output)} names no output folder.")
        if type(self.batch) is not int or not 0 <= self.batch < MOST_BATCHES:  # True is an int too
            raise UsageError(f"{shown(self.batch)} numbers no batch.")

    @property
    def task_id(self) -> str:
        """The same for every copy of the message, so that Flower shows a batch sent again in its old row."""
        return f"{self.keys.name}-{self.batch}"

    @property
    def keys(self) -> "JobKeys":
        """Where the bookkeeping of its job stands."""
        return JobKeys(self.job_id, self.output)

    def arguments(self) -> tuple[str, str, int]:
        """As the task's arguments."""
        return self.job_id, self.output, self.batch


class JobKeys:
    """The keys in Redis of one job in one output folder: the same job may be made in two folders at the same time."""

    def __init__(self, job_id: str, output: str) -> None:
        #: Names the job in its folder, in keys and in file names.
        self.name = f"{job_id}-{hashlib.sha256(output.encode()).hexdigest()[:8]}"

    @property
    def sightings(self) -> str:
        """Hash: batch index -> JSON of its last sign of life, from sending until it is done or parked."""
        return f"{PREFIX}sightings:{self.name}"

    @property
    def attempts(self) -> str:
        """Hash: batch index -> how often a worker began it; with a suffix, where it is and what it died of."""
        return f"{PREFIX}attempts:{self.name}"

    @property
    def lead(self) -> str:
        """String with a time to live: which dispatcher leads this job."""
        return f"{PREFIX}lead:{self.name}"

    def lease(self, batch: int) -> str:
        """String with a time to live: which worker holds a batch."""
        return f"{PREFIX}lease:{self.name}:{batch}"


def shown_report(output: str) -> str:
    """Where a job's report lies, as Flower shows it on the page of each of its batches."""
    return f"report: {output.rstrip('/')}/report.html"


#: Seconds that the bookkeeping of a job outlives its last change in Redis.
KEY_SECONDS = 7 * 24 * 3600


def checked(broker: str, *, plain: bool) -> str:
    """The broker's URL, found fit for use, with the server's certificate demanded.

    Args:
        plain: whether a broker on another host may be spoken to unencrypted, or without knowing who it is.

    Raises UsageError. It never repeats the URL: where one is malformed, nobody knows which part of it is the password.
    """
    if not broker.startswith(("redis://", "rediss://", "redis+socket://")):
        raise UsageError("TOKENMILL_BROKER is no URL of a broker: it begins with redis://, rediss:// or redis+socket://.")
    try:
        parts = urlsplit(broker)
        host, asked, _ = parts.hostname, parse_qs(parts.query), parts.port
        misplaced = parts.fragment or "@" in parts.path + parts.query or {"username", "password"} & asked.keys()
    except ValueError:
        misplaced = True
    if misplaced or ";" in broker:
        raise UsageError(
            "TOKENMILL_BROKER can be read in more than one way, or in none. Write one redis://USER:PASSWORD@HOST:PORT/0, "
            "and in the password %2F for /, %3F for ?, %23 for #, %40 for @, %3A for :, %3B for ; and %5B for [."
        )
    if plain or parts.scheme == "redis+socket" or (parts.scheme == "redis" and is_here(host)):
        return broker
    if parts.scheme == "redis":
        raise UsageError(
            f"TOKENMILL_BROKER is redis:// on another host, {host}: its password would travel unencrypted. Use rediss://, "
            f"or set TOKENMILL_PLAIN_BROKER=1 where the network between them is yours alone."
        )
    if asked.get("ssl_cert_reqs", ["required"]) != ["required"] or asked.get("ssl_check_hostname", ["true"]) != ["true"]:
        raise UsageError(
            "TOKENMILL_BROKER asks for TLS without knowing who answers. Use ssl_cert_reqs=required, with ssl_ca_certs=FILE "
            "for a CA of your own, and leave ssl_check_hostname out; or set TOKENMILL_PLAIN_BROKER=1."
        )
    # without it kombu 5.7 takes any certificate at all ("defaulting to insecure SSL behaviour")
    return broker if "ssl_cert_reqs" in asked else f"{broker}{'&' if parts.query else '?'}ssl_cert_reqs=required"


def is_here(host: str | None) -> bool:
    """Whether a host is this one; without a name it is."""
    try:
        return ipaddress.ip_address(host or "127.0.0.1").is_loopback
    except ValueError:
        return host == "localhost"


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
    scheme, _, rest = broker.partition("://")
    login, at, host = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    return f"{scheme}://{user}{colon}{'…' if colon else ''}{at}{host}"
