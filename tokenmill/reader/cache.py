"""Shards from an object store on this disk: fetched whole, hashed on their way, the least recently used one leaves first.

Comes in: a folder, how many bytes may lie there, and shards that are wanted. Goes out: a folder that holds a shard's files
under their output-relative names. Always holds: what has its final name is whole and has the manifest's sha256; the folder's
files, unfinished ones at their full size, add up to no more than its limit. Any number of processes of this host may share
it: `lock` guards the sum, a lock for each shard its files. What a killed process has left unfinished is removed by the next.

A shard that somebody has mapped may be evicted: its pages stay until the last map goes, so the disk may hold the shards that
processes have open beside the limit.
"""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tokenmill import storage
from tokenmill.errors import JobError, UsageError, from_os_error
from tokenmill.manifest import Manifest, Shard
from tokenmill.record import FileDigest

#: Ends the name of a file that is being fetched.
UNFINISHED = ".part"
#: Seconds between looks for room, while other processes fetch all that fills the cache.
PAUSE = 0.05
BLOCK = 1 << 20


class ShardCache:
    """One folder, shared by the processes of a host."""

    def __init__(self, folder: str, limit: int | None) -> None:
        """
        Args:
            limit: bytes that may lie there; None for no limit but the disk's.
        """
        self._folder, self._limit = Path(folder).absolute(), limit
        if limit is not None and limit < 1:
            raise UsageError(f"cache_bytes is {limit}; give the bytes of a few shards.")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise from_os_error(error, f"making the cache {folder}") from error

    @contextmanager
    def holding(self, output: str, manifest: Manifest, position: int) -> Iterator[str]:
        """A local copy of the output in which this shard's files lie, at least until the `with` block ends.

        Raises JobError if what comes is not what the manifest says, or the shard is larger than the cache.
        """
        shard = manifest.shards[position]
        # by content as well: a job that was made anew under the same id has other bytes
        name = hashlib.sha256(shard.to_json()).hexdigest()[:16]
        home = self._folder / f"{manifest.job_id}-{shard.index:06d}-{name}"
        try:
            with _locked(home.with_suffix(".lock")):
                self._sweep(home)
                if not all((home / file.path).exists() for file in shard.files):
                    self._fetch(output, shard, home)
                now = (
                    time.time_ns()
                )  # the clock that files have of themselves moves in ticks of 4 ms: two shards would be alike
                os.utime(home, ns=(now, now))
                yield str(home)
        except OSError as error:
            raise from_os_error(error, f"using the cache {self._folder}") from error

    def _fetch(self, output: str, shard: Shard, home: Path) -> None:
        self._reserve(shard, home)
        try:
            for file in shard.files:
                _copy(storage.join(output, file.path), file, home / (file.path + UNFINISHED))
                os.rename(home / (file.path + UNFINISHED), home / file.path)
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise

    def _reserve(self, shard: Shard, home: Path) -> None:
        """Make room, and take it: files of full size but without content, which others count."""
        size = sum(file.bytes for file in shard.files)
        if self._limit is not None and size > self._limit:
            larger = f"shard {shard.index:06d} has {size} bytes, more than cache_bytes={self._limit}"
            raise JobError(f"{larger}. Give several shards' worth.")
        while True:
            with _locked(self._folder / "lock"):
                if self._limit is None or self._make_room(self._limit - size, home):
                    for file in shard.files:
                        (home / file.path).parent.mkdir(parents=True, exist_ok=True)
                        with open(home / (file.path + UNFINISHED), "wb") as reserved:
                            reserved.truncate(file.bytes)
                    return
            time.sleep(PAUSE)

    def _make_room(self, target: int, ours: Path) -> bool:
        """Remove shards, the one that was used longest ago first, until no more than `target` bytes are taken."""
        homes = {home: _size(home) for home in self._folder.iterdir() if home.is_dir() and home != ours}
        used = sum(homes.values())
        for home in sorted(homes, key=_used):
            if used <= target:
                break
            with _locked(home.with_suffix(".lock"), wait=False) as free:
                if free:
                    shutil.rmtree(home, ignore_errors=True)
                    used -= homes[home]
        return used <= target

    def _sweep(self, home: Path) -> None:
        """What a killed process has left of this shard; whoever holds its lock is alone with it."""
        if any(home.rglob("*" + UNFINISHED)):
            shutil.rmtree(home)


def _copy(url: str, file: FileDigest, target: Path) -> None:
    sha256 = hashlib.sha256()
    with storage.open_input(url) as source, open(target, "r+b") as copy:
        while block := source.read(BLOCK):
            sha256.update(block)
            copy.write(block)
        size = copy.tell()
        copy.flush()
        os.fsync(copy.fileno())
    if (size, sha256.hexdigest()) != (file.bytes, file.sha256):
        raise JobError(f"{url} is not what the manifest says: {size} bytes, sha256 {sha256.hexdigest()}, not {file.sha256}.")


def _size(home: Path) -> int:
    """Bytes of a shard's files; looked at again if one gets its final name meanwhile, or it would not be counted."""
    while home.exists():
        with suppress(FileNotFoundError):
            return sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    return 0


def _used(home: Path) -> int:
    """When a shard was last opened, in nanoseconds."""
    with suppress(FileNotFoundError):
        return home.stat().st_mtime_ns
    return 0


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a file's lock; it goes with the process. Without `wait`, False if somebody has it."""
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
