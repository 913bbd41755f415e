"""The metrics endpoint of a host's workers: served by the launcher, so that it outlives every child.

Comes in: what the children leave in files of prometheus-client's multiprocess mode, in a private folder that lives as long as
the launcher; what the host itself says when it is asked. Goes out: /metrics. Always holds: what a process has counted stays
when it dies, what it was goes with it; the folder grows with the processes that live, not with those that ever did.
"""

import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tokenmill.devices import Gpu, readings
from tokenmill.errors import UsageError
from tokenmill.settings import Settings
from workers import container, metrics

if TYPE_CHECKING:
    from prometheus_client.core import Metric

log = logging.getLogger(__name__)

#: Files of the cache that are looked at, at most: tokenizers and certificates are a few.
MOST_FILES = 10_000
#: Where the counts of the dead are summed up; no process has this number.
DEAD = "counter_0.db"


class Processes:
    """The numbers of a host's worker processes, living and dead."""

    def __init__(self, folder: str) -> None:
        from prometheus_client.multiprocess import MultiProcessCollector

        self._folder = Path(folder)
        self._collector = MultiProcessCollector(None, folder)  # type: ignore[no-untyped-call]
        # two scrapes at once must not bury one process twice
        self._lock = threading.Lock()

    def collect(self) -> "Iterator[Metric]":
        """Everything, summed over processes."""
        with self._lock:
            for file in self._folder.glob("*_*.db"):
                number = int(file.stem.rpartition("_")[2])
                if number and not _lives(number):
                    self._bury(file)
            yield from self._collector.collect()  # type: ignore[no-untyped-call]

    def _bury(self, file: Path) -> None:
        """Add what a dead process counted to what all the dead did, and take its file away."""
        from prometheus_client.mmap_dict import MmapedDict

        if file.name.startswith("counter_"):
            dead = MmapedDict(str(self._folder / DEAD))  # type: ignore[no-untyped-call]
            for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]
                dead.write_value(key, dead.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]
            dead.close()  # type: ignore[no-untyped-call]
        file.unlink()


class Host:
    """What a host says of itself when it is asked."""

    def __init__(self, cache: Path, gpus: Collection[Gpu]) -> None:
        self._cache, self._gpus = cache, gpus

    def collect(self) -> "Iterator[Metric]":
        """Cache, GPUs and container, as far as there are."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        yield GaugeMetricFamily(metrics.CACHE_BYTES.name, metrics.CACHE_BYTES.says, size(self._cache))
        in_use = GaugeMetricFamily(metrics.GPU_MEMORY.name, metrics.GPU_MEMORY.says, labels=metrics.GPU_MEMORY.labels)
        busy = GaugeMetricFamily(metrics.GPU_USE.name, metrics.GPU_USE.says, labels=metrics.GPU_USE.labels)
        for gpu, reading in readings(self._gpus).items() if self._gpus else ():
            in_use.add_metric([gpu.index], reading.memory_bytes)
            if reading.utilization is not None:
                busy.add_metric([gpu.index], reading.utilization)
        yield from (in_use, busy)
        memory = container.memory()
        if memory is not None:
            yield GaugeMetricFamily(metrics.MEMORY.name, metrics.MEMORY.says, memory.bytes)
            yield GaugeMetricFamily(metrics.MEMORY_LIMIT.name, metrics.MEMORY_LIMIT.says, memory.limit)
            yield CounterMetricFamily(metrics.OOM_KILLS.name, metrics.OOM_KILLS.says, memory.oom_kills)


@contextmanager
def served(port: int | None, settings: Settings, gpus: Collection[Gpu]) -> Iterator[str | None]:
    """Serve /metrics for as long as the block; gives the folder that the children are to know, None if no port is given.

    Args:
        port: 0 for any that is free.
        gpus: those that have a worker here.

    Raises UsageError if the port is not to be had.
    """
    if port is None:
        yield None
        return
    from prometheus_client import CollectorRegistry, start_http_server

    folder = tempfile.mkdtemp(prefix="tokenmill-metrics-")
    try:
        registry = CollectorRegistry()
        registry.register(Processes(folder))
        registry.register(Host(settings.cache, gpus))
        try:
            server, _ = start_http_server(port, settings.metrics_host, registry)
        except OSError as error:
            where = f"--metrics-port {port} on {settings.metrics_host}"
            raise UsageError(f"{where}: {error.strerror or error}. Give another, or 0 for any.") from error
        log.info("metrics at http://%s:%d/metrics", settings.metrics_host, server.server_port)
        try:
            yield folder
        finally:
            server.shutdown()
            server.server_close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def size(folder: Path) -> int:
    """Bytes of the files below a folder, of the first MOST_FILES of them."""
    total = seen = 0
    for where, _, names in os.walk(folder):
        for name in names:
            seen += 1
            if seen > MOST_FILES:
                return total
            try:
                total += os.lstat(os.path.join(where, name)).st_size
            except OSError:
                pass  # gone meanwhile
    return total


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's by now
    return True
