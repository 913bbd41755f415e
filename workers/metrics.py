"""Every metric of the workers' endpoint, and how it is counted.

Comes in: endings, and what was spent on them. Goes out: numbers in the files of prometheus-client's multiprocess mode, from
where the launcher serves them (`workers.exposition`). Always holds: a batch is counted when it ends, never a document; nothing
is counted, and prometheus-client is not loaded, unless the launcher has named a folder for it, so Flower, which imports this
with the application, shows no series of zeros.
"""

import functools
from typing import TYPE_CHECKING, Any

from tokenmill.metric import Metric
from tokenmill.settings import Settings

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge

    from tokenmill.meter import Meter
    from workers.ending import Ending

DOCUMENTS = Metric("tokenmill_documents_total", "Documents in the shards that were committed.")
TOKENS = Metric("tokenmill_tokens_total", "Tokens in the shards that were committed.")
BYTES = Metric("tokenmill_bytes_total", "UTF-8 bytes of text in the documents that were committed.")
REJECTED = Metric("tokenmill_rejected_total", "Documents of committed batches that could not be encoded.", ("reason",))
BATCHES = Metric("tokenmill_batches_total", "Messages that workers are done with, by how that ended.", ("outcome",))
ATTEMPTS = Metric("tokenmill_attempts_total", "How often a batch was begun.")
WAITS = Metric("tokenmill_waits_total", "How often a batch had to wait for something that may pass, such as storage.")
STAGE_SECONDS = Metric(
    "tokenmill_stage_seconds_total", "Seconds spent on batches by stage, reading beside the others, in vain or not.", ("stage",)
)
DIFFERENCES = Metric("tokenmill_live_check_differences_total", "Batches in which the live check found a wrong id.")
DISABLED = Metric("tokenmill_disabled_engines", "Whether a process did its last batch without the job's engine, found wrong.")
WORKERS = Metric("tokenmill_workers", "Processes that take batches.", ("kind",))
CACHE_BYTES = Metric("tokenmill_cache_bytes", "Size of TOKENMILL_CACHE on this host.")
GPU_MEMORY = Metric("tokenmill_gpu_memory_bytes", "Memory in use of a GPU that has a worker.", ("gpu",))
GPU_USE = Metric("tokenmill_gpu_utilization_ratio", "Share of the last moment in which a GPU computed.", ("gpu",))
MEMORY = Metric("tokenmill_container_memory_bytes", "Memory of this container, without files that can be read again.")
MEMORY_LIMIT = Metric("tokenmill_container_memory_limit_bytes", "What it may be at most; absent where there is no limit.")
OOM_KILLS = Metric("tokenmill_container_oom_kills_total", "Processes that the kernel killed in this container for memory.")

METRICS = (
    *(DOCUMENTS, TOKENS, BYTES, REJECTED, BATCHES, ATTEMPTS, WAITS, STAGE_SECONDS, DIFFERENCES, DISABLED, WORKERS),
    *(CACHE_BYTES, GPU_MEMORY, GPU_USE, MEMORY, MEMORY_LIMIT, OOM_KILLS),
)


def begin(kind: str, processes: int) -> None:
    """A pool begins: make the metrics, at zero, so that their first rise is seen.

    Args:
        kind: "cpu" or "gpu".
    """
    from tokenmill.documents import Reason
    from tokenmill.meter import STAGES
    from workers.ending import Outcome

    if not _wanted():
        return
    for metric in (DOCUMENTS, TOKENS, BYTES, ATTEMPTS, WAITS, DIFFERENCES):
        _counter(metric)
    for reason in Reason:
        _counter(REJECTED).labels(reason)
    for outcome in Outcome:
        _counter(BATCHES).labels(outcome)
    for stage in STAGES:
        _counter(STAGE_SECONDS).labels(stage)
    _gauge(WORKERS, "livesum").labels(kind).set(processes)


def count_attempt(*, died: bool) -> None:
    """A batch was begun.

    Args:
        died: whether the attempt before it took its process along.
    """
    if _wanted():
        _counter(ATTEMPTS).inc()
        _counter(BATCHES).labels("died").inc(died)


def count_wait() -> None:
    """A batch has to wait for something that may pass."""
    if _wanted():
        _counter(WAITS).inc()


def count_spent(meter: "Meter") -> None:
    """An attempt is over, well or not."""
    if _wanted():
        for stage, seconds in meter.stages.items():
            _counter(STAGE_SECONDS).labels(stage).inc(seconds)
        _counter(DIFFERENCES).inc(meter.found_wrong)
        _gauge(DISABLED, "livemax").set(meter.disabled)


def count_ending(ending: "Ending") -> None:
    """A worker is done with a message."""
    if not _wanted():
        return
    _counter(BATCHES).labels(ending.outcome).inc()
    if ending.entry is not None:
        counts = ending.entry.counts
        _counter(DOCUMENTS).inc(counts.documents)
        _counter(TOKENS).inc(counts.tokens)
        _counter(BYTES).inc(counts.text_bytes)
        for reason, number in counts.rejected.items():
            _counter(REJECTED).labels(reason).inc(number)


@functools.cache
def _wanted() -> bool:
    return Settings.from_environment().metrics_folder is not None


@functools.cache
def _counter(metric: Metric) -> "Counter":
    from prometheus_client import Counter

    return Counter(metric.name, metric.says, metric.labels)


@functools.cache
def _gauge(metric: Metric, across: Any) -> "Gauge":
    """
    Args:
        across: what becomes of the values of several processes, as prometheus-client calls it.
    """
    from prometheus_client import Gauge

    return Gauge(metric.name, metric.says, metric.labels, multiprocess_mode=across)
