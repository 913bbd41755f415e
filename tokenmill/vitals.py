"""What a host that runs workers says of itself every few seconds, in Redis: for `tokenmill top`.

Comes in: figures from the launcher. Goes out: JSON and the record read back. Always holds: what is read back is of this shape,
whoever wrote it; how old it is, is told by the broker's clock alone.
"""

import msgspec

from tokenmill.broker import PREFIX

#: Hash: a launcher's name -> JSON of its `Vitals`.
KEY = PREFIX + "hosts"
#: Seconds between two of a launcher's words, after which it is taken for gone, and after which it is forgotten.
PERIOD, GONE, FORGOTTEN = 2.0, 10.0, 3600.0


class GpuVitals(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU that has a worker."""

    index: str
    name: str
    memory_bytes: int
    memory_total: int
    #: Share of the last moment in which it computed; None where NVML does not say.
    utilization: float | None = None


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """One launcher and its workers, at one moment."""

    host: str
    #: Names of its pools, and processes in all of them.
    pools: tuple[str, ...]
    processes: int
    #: Cores that these processes kept busy since the last word, and cores that the launcher may use.
    busy_cores: float
    cores: int
    #: Memory in use, by anybody, and what there is: of the container if that has a limit, else of the host.
    memory_bytes: int
    memory_total: int
    gpus: tuple[GpuVitals, ...] = ()
    #: Unix time by the broker's clock.
    at: float

    def to_json(self) -> bytes:
        """As it stands in Redis."""
        return msgspec.json.encode(self)


def read(said: bytes | str) -> Vitals | None:
    """The record; None where it is none of ours."""
    try:
        return msgspec.json.decode(said, type=Vitals)
    except msgspec.MsgspecError:
        return None
