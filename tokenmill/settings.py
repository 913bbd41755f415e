"""The environment, read once: what goes in is `os.environ`, what comes out is a frozen `Settings`.

This is the only file that reads environment variables. Nothing is read at import.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from tokenmill.broker import checked
from tokenmill.devices import VARIABLE as GPUS
from tokenmill.errors import UsageError
from tokenmill.roots import VARIABLE as ROOTS
from tokenmill.roots import Roots

#: Read by prometheus-client itself, which then keeps its numbers in files there.
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the host, not the job, decides."""

    #: URL of the Redis or Valkey that carries the batches (TOKENMILL_BROKER); None where a private one is to be started. One
    #: on another host has to be rediss://, unless TOKENMILL_PLAIN_BROKER=1 says that the network between them is safe.
    broker: str | None
    #: Where sources and outputs have to lie (TOKENMILL_ROOTS, comma-separated folders and URLs); without it, anywhere.
    roots: Roots
    #: Whether sources may be read over http:// from another host (TOKENMILL_PLAIN_HTTP=1): the network between them is safe.
    plain_http: bool
    #: Folder, or s3:// or gs:// URL, with the pointers to all submitted jobs, `jobs/<job_id>.json` (TOKENMILL_HOME).
    home: str
    #: Folder where this host keeps tokenizers by sha256 (TOKENMILL_CACHE).
    cache: Path
    #: Folder in which tokenizers are found by name, before a hub is asked (TOKENMILL_TOKENIZERS); None where there is none.
    tokenizers: Path | None
    #: Seconds for which a batch may stand at one column or document before its process is ended and the batch begun again
    #: (TOKENMILL_STUCK_SECONDS); the reference takes half a second per megabyte.
    stuck_seconds: float
    #: Seconds for which a worker that is told to end may finish its batches (TOKENMILL_GRACE_SECONDS); its container's must be
    #: longer.
    grace_seconds: float
    #: Whether the log is JSON, a line per event (TOKENMILL_LOG_FORMAT, "text" or "json").
    json_log: bool
    #: Where metrics are served (TOKENMILL_METRICS_HOST), if a port is given at all.
    metrics_host: str
    #: Folder in which a worker's processes leave their numbers for the one that serves them; `tokenmill-worker` sets it.
    metrics_folder: str | None
    #: Bytes of a GPU's memory that the engine `cuda` may take (TOKENMILL_GPU_GB, in 10^9 bytes). Half of one is room for three
    #: batches of a column each, 4 MB of text, and for a million words. A job's facts take up to 100 MB
    #: beside it, and 8 bytes for each run of a test set.
    gpu_bytes: int
    #: The GPUs that this process may use, as CUDA reads it (CUDA_VISIBLE_DEVICES); None where it is not set.
    visible_gpus: str | None

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read the variables named above, with defaults below the user's home. Raises UsageError if one makes no sense."""
        environment = os.environ
        broker, plain = environment.get("TOKENMILL_BROKER"), _yes("TOKENMILL_PLAIN_BROKER")
        return cls(
            broker=checked(broker, plain=plain) if broker else None,
            roots=Roots.named(environment.get(ROOTS, "")),
            plain_http=_yes("TOKENMILL_PLAIN_HTTP"),
            home=environment.get("TOKENMILL_HOME") or str(Path.home() / ".tokenmill"),
            cache=Path(environment.get("TOKENMILL_CACHE") or Path.home() / ".cache" / "tokenmill"),
            tokenizers=Path(folder) if (folder := environment.get("TOKENMILL_TOKENIZERS")) else None,
            stuck_seconds=_number("TOKENMILL_STUCK_SECONDS", 300, "seconds"),
            grace_seconds=_number("TOKENMILL_GRACE_SECONDS", 20, "seconds"),
            json_log=_one_of("TOKENMILL_LOG_FORMAT", "text", "json") == "json",
            metrics_host=environment.get("TOKENMILL_METRICS_HOST") or "127.0.0.1",
            metrics_folder=environment.get(METRICS_FOLDER),
            gpu_bytes=int(_number("TOKENMILL_GPU_GB", 0.5, "10^9 bytes") * 1e9),
            visible_gpus=environment.get(GPUS),
        )


def variable(name: str) -> str | None:
    """A variable that a job file names."""
    return os.environ.get(name)


def _number(variable: str, default: float, unit: str) -> float:
    given = os.environ.get(variable) or default
    try:
        number = float(given)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise UsageError(f"{variable} is {given!r}; give a number of {unit}.")
    return number


def _yes(variable: str) -> bool:
    given = os.environ.get(variable, "")
    if given not in ("", "0", "1"):
        raise UsageError(f"{variable} is {given!r}; give 1 for yes, or 0.")
    return given == "1"


def _one_of(variable: str, default: str, *others: str) -> str:
    given = os.environ.get(variable) or default
    if given not in (default, *others):
        raise UsageError(f"{variable} is {given!r}; give {' or '.join((default, *others))}.")
    return given


def child_environment(*, broker: str, gpus: str | None = None, metrics: str | None = None) -> dict[str, str]:
    """The environment of a worker process on this host: the broker by variable, never in argv where `ps` shows it.

    Args:
        gpus: UUIDs of the GPUs that it may use, "" for none; None for those that this process may use.
        metrics: folder in which it leaves its numbers; None where nobody serves them.

    One process per core is the only layer of parallelism (notes on fork safety: a Rust thread pool built before a fork
    deadlocks the child), so the engines' own thread pools are held at one thread.
    """
    single = {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    # A worker needs buffers of the same megabytes again and again; by default glibc gives each back to the kernel and gets it
    # anew, page by page. Kept, reading JSON Lines takes 2.6 CPU-seconds per GB instead of 3.7.
    kept = {"MALLOC_MMAP_THRESHOLD_": str(64 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
    visible = {} if gpus is None else {GPUS: gpus}
    counted = {} if metrics is None else {METRICS_FOLDER: metrics}
    return {**os.environ, **kept, **single, **visible, **counted, "TOKENMILL_BROKER": broker}


def hook_environment(said: dict[str, str]) -> dict[str, str]:
    """The environment of a user's own command: what is said, and no address that is a secret."""
    secret = ("TOKENMILL_BROKER", "TOKENMILL_NOTIFY")
    return {**{name: value for name, value in os.environ.items() if name not in secret}, **said}


def without_broker() -> dict[str, str]:
    """The environment of a process that is to start a private broker."""
    return {name: value for name, value in os.environ.items() if name != "TOKENMILL_BROKER"}
