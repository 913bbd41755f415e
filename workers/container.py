"""How much memory this container takes, and how often the kernel killed in it: read from the files of its control group.

Comes in: /proc and /sys/fs/cgroup, of version 2 or 1. Goes out: `Memory`, or nothing where no limit is set. Docker does not
show the death of a pool's child for memory (OOMKilled=false, restarts=0, with 20.10): only the group's own counter does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Version 1 writes a number near 2^63 where there is no limit.
NO_LIMIT = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The memory of a control group."""

    #: Without pages of files that can be read again: with them every group that reads a corpus is always full.
    bytes: int
    limit: int
    oom_kills: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What a version calls its files and what they hold."""

    used: str
    limit: str
    #: The entry of memory.stat with what can be read again.
    inactive: str
    events: str


V2 = Files(used="memory.current", limit="memory.max", inactive="inactive_file", events="memory.events")
V1 = Files(
    used="memory.usage_in_bytes", limit="memory.limit_in_bytes", inactive="total_inactive_file", events="memory.oom_control"
)


def memory(root: Path = Path("/")) -> Memory | None:
    """The memory of the group that this process is in; None where it has no limit, or the system does not say."""
    for folder, files in _groups(root):
        try:
            limit = (folder / files.limit).read_text().strip()
            if not limit.isdecimal() or int(limit) >= NO_LIMIT:
                return None
            used = int((folder / files.used).read_text())
            inactive = _table(folder / "memory.stat").get(files.inactive, 0)
            kills = _table(folder / files.events).get("oom_kill", 0)
            return Memory(bytes=max(0, used - inactive), limit=int(limit), oom_kills=kills)
        except (OSError, ValueError):
            continue
    return None


def _groups(root: Path) -> Iterator[tuple[Path, Files]]:
    """Where this process's group may lie. In a container its own is often mounted as if it were the top one."""
    mounted = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield from ((mounted / "memory" / place, V1) for place in (path.lstrip("/"), ""))
        elif not controllers:
            yield from ((mounted / place, V2) for place in (path.lstrip("/"), ""))


def _table(path: Path) -> dict[str, int]:
    """A file of names and numbers."""
    return {name: int(number) for name, number in (line.split() for line in path.read_text().splitlines())}
