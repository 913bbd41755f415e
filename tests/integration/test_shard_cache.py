"""Shards from S3 in a cache that is smaller than the job: same rows, never more disk than said, safe for many processes."""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.sealed import counting, seal
from tokenmill import TokenDataset, storage
from tokenmill.errors import JobError
from tokenmill.reader import Batches, Shuffle
from tokenmill.shards import FORMATS

#: Six shards of 1,000 tokens in 50 documents: 3,034 bytes each.
SHARDS = [[20] * 50] * 6
SHARD = 2000 + 34 + 12 * 50 + 8 * 51
READER = """
import sys
from tokenmill import TokenDataset
from tokenmill.reader import Batches, Shuffle
rows = TokenDataset(sys.argv[1], cache=sys.argv[2], cache_bytes=int(sys.argv[3]), open_shards=1).windows(100)
batches = Batches(rows, 5, shuffle=Shuffle(seed=int(sys.argv[4]), block=1))
print(sorted(token for batch in batches for token in batch["input_ids"].reshape(-1).tolist()) == list(range(6000)))
"""


@pytest.fixture
def output(prefix: str) -> str:
    seal(prefix, counting(*SHARDS))
    return prefix


def size(cache: Path) -> int:
    """Bytes of all files, each once: one may get its final name while they are counted."""
    found = {}
    for folder, _, files in os.walk(cache):
        for name in files:
            with suppress(FileNotFoundError):
                status = os.stat(os.path.join(folder, name))
                found[status.st_ino] = status.st_size
    return sum(found.values())


def names(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*.bin"))


def test_rows_are_those_of_a_disk_and_the_cache_stays_small(output: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    dataset = TokenDataset(output, cache=str(cache), cache_bytes=2 * SHARD)
    windows = dataset.windows(100)
    for row in range(60):
        assert windows[row]["input_ids"].tolist() == list(range(row * 100, row * 100 + 100))
        assert size(cache) <= 2 * SHARD
    assert names(cache) == ["000004.bin", "000005.bin"]
    dataset.forget(4)
    windows[45]  # which makes 4 the one that was used last
    dataset.forget(0)
    windows[0]
    assert names(cache) == ["000000.bin", "000004.bin"]


def test_what_is_there_is_not_fetched_again(output: str, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    before = TokenDataset(output, cache=cache).windows(100)[3]["input_ids"].tolist()
    dataset = TokenDataset(output, cache=cache)
    storage.delete(f"{output}/shards/000000.bin")
    assert dataset.windows(100)[3]["input_ids"].tolist() == before


@pytest.mark.parametrize("format", list(FORMATS))
def test_every_format_is_read_through_the_cache(prefix: str, tmp_path: Path, format: str) -> None:  # noqa: A002
    seal(prefix, counting(*SHARDS), format=format)
    windows = TokenDataset(prefix, cache=str(tmp_path)).windows(100, fields=("input_ids",))
    assert windows.gather(np.array([59, 0, 9, 10]))["input_ids"][:, 99].tolist() == [5999, 99, 999, 1099]


def test_many_processes_share_one_cache(output: str, tmp_path: Path) -> None:
    """Four processes that hold one shard each in a cache of three, and look at its size all the while."""
    cache, limit, largest, stop = tmp_path / "cache", 3 * SHARD, 0, threading.Event()

    def look() -> None:
        nonlocal largest
        while not stop.wait(0.001):
            largest = max(largest, size(cache))

    cache.mkdir()
    watcher = threading.Thread(target=look)
    watcher.start()
    command = [sys.executable, "-c", READER, output, cache, str(limit)]
    readers = [subprocess.Popen([*command, str(seed)], stdout=subprocess.PIPE, text=True) for seed in range(4)]
    said = [reader.communicate(timeout=120)[0] for reader in readers]
    stop.set()
    watcher.join()
    assert said == ["True\n"] * 4
    assert 0 < largest <= limit


def test_a_flipped_byte_on_the_way_is_an_error_and_stays_outside(output: str, tmp_path: Path) -> None:
    url, cache = f"{output}/shards/000002.bin", tmp_path / "cache"
    content = bytearray(storage.read(url))
    content[77] ^= 4
    storage.put(url, bytes(content))
    windows = TokenDataset(output, cache=str(cache)).windows(100)
    with pytest.raises(JobError, match="is not what the manifest says: 2000 bytes"):
        windows[25]
    assert names(cache) == []
    assert windows[15]["input_ids"][0] == 1500


def test_what_a_killed_process_left_is_fetched_anew(output: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    expected = TokenDataset(output, cache=str(cache)).windows(100)[0]["input_ids"]
    [whole] = cache.rglob("*.bin")
    whole.rename(whole.with_name(whole.name + ".part"))
    assert np.array_equal(TokenDataset(output, cache=str(cache)).windows(100)[0]["input_ids"], expected)
    assert [path.suffix for path in cache.rglob("shards/*")].count(".part") == 0


def test_a_shard_that_is_larger_than_the_cache_is_refused(output: str, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"more than cache_bytes=100\. Give several shards' worth"):
        TokenDataset(output, cache=str(tmp_path), cache_bytes=100).windows(10)[0]


def test_a_shuffled_epoch_through_the_cache_is_whole(output: str, tmp_path: Path) -> None:
    rows = TokenDataset(output, cache=str(tmp_path), cache_bytes=2 * SHARD).windows(100)
    seen = [batch["input_ids"].reshape(-1) for batch in Batches(rows, 7, shuffle=Shuffle(seed=1, block=10, buffer=2))]
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(6000))
