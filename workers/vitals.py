"""Says every few seconds how this host is, for `tokenmill top`: from the launcher, in a thread of its own.

Comes in: the launcher's pools and GPUs, what the system says of its children. Goes out: one field of a hash in Redis, taken
away at the end. Always holds: nothing waits for it, and what goes wrong with it does so quietly: who is at work does not care.
"""

import logging
import os
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tokenmill.broker import SOCKET_OPTIONS, client_url
from tokenmill.devices import Gpu, readings
from tokenmill.vitals import FORGOTTEN, KEY, PERIOD, GpuVitals, Vitals, read
from workers import container

if TYPE_CHECKING:
    import psutil
    import redis

log = logging.getLogger(__name__)


@contextmanager
def told(broker: str, pools: Collection[str], processes: int, gpus: Collection[Gpu]) -> Iterator[None]:
    """Say so for as long as the block lasts.

    Args:
        processes: in all pools.
        gpus: those that have a worker here.
    """
    # before the thread begins: a child that is forked while a thread holds the lock of an import would wait for it for ever
    import psutil  # noqa: F401
    import redis  # noqa: F401

    teller = _Teller(broker, tuple(pools), processes, gpus)
    thread = threading.Thread(target=teller.run, name="vitals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        teller.ending.set()
        thread.join(PERIOD)


class _Teller:
    def __init__(self, broker: str, pools: tuple[str, ...], processes: int, gpus: Collection[Gpu]) -> None:
        self._broker, self._pools, self._processes, self._gpus = broker, pools, processes, gpus
        self._host = socket.gethostname()
        self._name = f"{self._host}:{os.getpid()}"
        #: The children's processes as they were seen last: each remembers its own time.
        self._seen: dict[int, psutil.Process] = {}
        self.ending = threading.Event()

    def run(self) -> None:
        """Tell until the end."""
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        client = redis.Redis.from_url(client_url(self._broker), retry=Retry(NoBackoff(), 0), **SOCKET_OPTIONS)
        forgotten = False
        while not self.ending.is_set():
            try:
                now = _now(client)
                if not forgotten:
                    _forget(client, now)
                    forgotten = True
                client.hset(KEY, self._name, self._vitals(now).to_json().decode())
            except (redis.RedisError, OSError) as error:
                log.debug("nothing is said of this host: %s", error)
            self.ending.wait(PERIOD)
        try:
            client.hdel(KEY, self._name)
        except (redis.RedisError, OSError):
            pass  # it is taken for gone soon

    def _vitals(self, now: float) -> Vitals:
        used, total = _memory()
        read_now = readings(self._gpus) if self._gpus else {}
        return Vitals(
            host=self._host,
            pools=self._pools,
            processes=self._processes,
            busy_cores=round(self._busy(), 2),
            cores=len(os.sched_getaffinity(0)),
            memory_bytes=used,
            memory_total=total,
            gpus=tuple(
                GpuVitals(
                    index=gpu.index,
                    name=gpu.name,
                    memory_bytes=reading.memory_bytes,
                    memory_total=gpu.memory_bytes,
                    utilization=reading.utilization,
                )
                for gpu, reading in read_now.items()
            ),
            at=now,
        )

    def _busy(self) -> float:
        """Cores that all below this process kept busy since they were seen last."""
        import psutil

        found = {child.pid: child for child in psutil.Process().children(recursive=True)}
        self._seen = {pid: self._seen.get(pid, child) for pid, child in found.items()}
        busy = 0.0
        for child in self._seen.values():
            try:
                busy += child.cpu_percent() / 100
            except psutil.Error:
                pass  # ended meanwhile
        return busy


def _memory() -> tuple[int, int]:
    """Bytes in use, and bytes there are."""
    import psutil

    limited = container.memory()
    if limited is not None:
        return limited.bytes, limited.limit
    host = psutil.virtual_memory()
    return int(host.total - host.available), int(host.total)


def _now(client: "redis.Redis") -> float:
    """Unix time by the broker's clock: those of hosts need not agree."""
    seconds, micros = client.time()
    return float(seconds) + micros / 1e6


def _forget(client: "redis.Redis", now: float) -> None:
    """Take away what launchers that were killed have left."""
    for name, said in client.hgetall(KEY).items():
        vitals = read(said)
        if vitals is None or now - vitals.at > FORGOTTEN:
            client.hdel(KEY, name)
