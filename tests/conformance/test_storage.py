"""Every kind of storage keeps the same promises: a name either does not exist or holds complete content (law 6)."""

import gc
import hashlib
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.acceptance.cluster import WaitUntil
from tokenmill import storage
from tokenmill.errors import BatchError
from tokenmill.storage.parts import PART
from tokenmill.storage.s3 import connection

#: Names that a URL, a shell or an XML document would read as something else.
NAMES = ["plain.jsonl", "a b.jsonl", "50%+ü&=#.jsonl", "[1]?.jsonl", "语料.jsonl"]


@pytest.fixture(params=["local", "s3", "gs"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty folder."""
    if request.param == "local":
        return str(tmp_path)
    return str(request.getfixturevalue("prefix" if request.param == "s3" else "google_prefix"))


@pytest.fixture
def left_over(folder: str) -> Callable[[], list[str]]:
    """What unfinished writers have left behind."""

    def look() -> list[str]:
        if storage.is_local(folder):
            return [name for _, _, names in os.walk(folder) for name in names if ".part-" in name]
        if folder.startswith("gs://"):
            return []  # Google lists no unfinished uploads, and forgets them by itself
        bucket, key = connection.place(folder)
        found = connection.client().list_multipart_uploads(Bucket=bucket, Prefix=key)
        return [upload["Key"] for upload in found.get("Uploads", ())]

    return look


@pytest.mark.parametrize("size", [0, 1, PART, 2 * PART + 12_345])
def test_nothing_is_visible_before_publish_and_everything_after(
    folder: str, size: int, left_over: Callable[[], list[str]]
) -> None:
    url, data = storage.join(folder, "new", "a.bin"), os.urandom(size)
    file = storage.writer(url)
    for start in range(0, size, 3_333_333):
        file.write(data[start : start + 3_333_333])
        assert storage.names(storage.join(folder, "new")) == []
        assert storage.status(url) is None
    assert not file.closed
    digest = file.publish("a.bin")
    assert file.closed
    file.discard()
    assert storage.read(url) == data
    assert digest == storage.digest(url, "a.bin")
    assert (digest.bytes, digest.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert storage.names(storage.join(folder, "new")) == ["a.bin"]
    assert left_over() == []


def test_a_writer_that_fails_leaves_nothing_and_a_killed_one_is_swept(
    folder: str, left_over: Callable[[], list[str]], wait_until: WaitUntil
) -> None:
    failed = storage.writer(storage.join(folder, "a"))
    failed.write(bytes(PART + 1))
    failed.discard()
    assert left_over() == []
    killed = storage.writer(storage.join(folder, "b"))
    killed.write(bytes(PART + 1))
    deeper = storage.writer(storage.join(folder, "another", "job"))
    deeper.write(bytes(PART + 1))
    # a part is sent by a thread of the writer's own
    wait_until(lambda: len(left_over()) == (0 if folder.startswith("gs://") else 2), "what two writers have begun")
    storage.sweep(folder)
    kept = left_over()
    assert len(kept) == (0 if folder.startswith("gs://") else 1)
    assert all("job" in name for name in kept)
    assert storage.names(storage.join(folder, "another")) == []
    deeper.discard()
    assert left_over() == []
    del failed, killed, deeper  # a file that is let go must not come to be for that
    gc.collect()
    assert list(storage.walk(folder)) == []


def test_an_old_version_is_replaced_in_one_step(folder: str) -> None:
    url = storage.join(folder, "a")
    storage.put(url, b"old")
    before = storage.status(url)
    storage.put(url, [b"n", b"ew"])
    assert storage.read(url) == b"new"
    assert before is not None
    assert storage.status(url) != before


def test_of_many_that_claim_a_name_one_gets_it(folder: str) -> None:
    url = storage.join(folder, "entry")
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda number: storage.claim(url, b"%d" % number), range(64)))
    assert won.count(True) == 1
    assert storage.read(url) == b"%d" % won.index(True)
    assert storage.names(folder) == ["entry"]
    storage.delete(url)
    assert storage.claim(url, b"again")


def test_what_is_not_there(folder: str) -> None:
    url = storage.join(folder, "nothing")
    assert storage.status(url) is None
    assert not storage.exists(url)
    assert not storage.is_folder(url)
    assert storage.find(url) is None
    assert storage.names(url) == []
    assert list(storage.walk(url)) == []
    storage.delete(url)
    storage.sweep(url)
    with pytest.raises(BatchError, match=r"reading .*nothing: .*Restore it or leave it out"):
        storage.read(url)
    with pytest.raises(BatchError, match=r"reading .*nothing: "), storage.open_input(url):
        pass


def test_an_open_file_can_be_sought(folder: str) -> None:
    data = os.urandom(5_000_000)
    url = storage.join(folder, "a.bin")
    storage.put(url, data)
    with storage.open_input(url, 4_000_000) as file:
        assert file.tell() == 4_000_000
        assert file.read(10) == data[4_000_000:4_000_010]
        assert file.seek(-20, io.SEEK_END) == len(data) - 20
        assert file.read() == data[-20:]
        assert file.read(1) == b""
        file.seek(3)
        assert file.read(2_500_000) == data[3:2_500_003]
        file.seek(100, io.SEEK_CUR)
        assert file.read() == data[2_500_103:]
    storage.put(url, b"")
    with storage.open_input(url) as file:
        assert file.read() == b""


def test_listings_say_the_same_as_asking_for_each(folder: str) -> None:
    for name in ("b.txt", "a/one.jsonl", "a/deep/two.jsonl", ".hidden", "a/.git/three.jsonl"):
        storage.put(storage.join(folder, name), name.encode())
    assert storage.is_folder(folder)
    assert not storage.is_folder(storage.join(folder, "b.txt"))
    assert set(storage.names(folder)) == {"a", "b.txt", ".hidden"}
    found = dict(storage.walk(folder))
    assert sorted(found) == [storage.join(folder, name) for name in ("a/deep/two.jsonl", "a/one.jsonl", "b.txt")]
    assert all(storage.status(url) == status for url, status in found.items())
    assert all(storage.status(url) == status for url, status in storage.matching(storage.join(folder, "a", "*.jsonl")))


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("*.jsonl", ["x.jsonl"]),
        ("**/*.jsonl", ["a/b/z.jsonl", "a/y.jsonl", "x.jsonl"]),
        ("a/**", ["a/b/z.jsonl", "a/w.txt", "a/y.jsonl"]),
        ("?/[xy].jsonl", ["a/y.jsonl"]),
        ("**/b/*", ["a/b/z.jsonl"]),
        (".h*/*", [".h/v.jsonl"]),
        ("none*", []),
    ],
)
def test_globs(folder: str, pattern: str, matched: list[str]) -> None:
    for name in ("x.jsonl", "a/y.jsonl", "a/w.txt", "a/b/z.jsonl", ".h/v.jsonl", "a/.u.jsonl"):
        storage.put(storage.join(folder, name), b"x")
    assert sorted(url for url, _ in storage.matching(storage.join(folder, pattern))) == [
        storage.join(folder, name) for name in matched
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_may_hold_anything(folder: str, name: str) -> None:
    url = storage.join(folder, name)
    storage.put(url, name.encode())
    assert storage.read(url) == name.encode()
    assert storage.names(folder) == [name]
    assert [found for found, _ in storage.walk(folder)] == [url]
    storage.delete(url)
    assert not storage.exists(url)


def test_many_small_files_come_in_the_order_asked_for(folder: str) -> None:
    urls = [storage.join(folder, f"{number}.json") for number in range(50)]
    for number in range(0, 50, 2):
        storage.put(urls[number], b"%d" % number)
    expected = [(url, None if number % 2 else b"%d" % number) for number, url in enumerate(urls)]
    assert list(storage.find_each(iter(urls))) == expected
    assert list(storage.find_each([])) == []


def test_a_file_as_an_array(folder: str) -> None:
    url = storage.join(folder, "a.bin")
    numbers = np.arange(100_000, dtype="<i4")
    storage.put(url, numbers.tobytes())
    assert np.array_equal(storage.mapped(url, numbers.dtype), numbers)


def test_parquet_goes_out_and_comes_back(folder: str) -> None:
    """pyarrow writes to our writers, and reads footers and columns from our files in an order of its own."""
    url = storage.join(folder, "a.parquet")
    table = pa.table({"id": list(range(30_000)), "text": [f"text {number} " * 20 for number in range(30_000)]})
    file = storage.writer(url)
    with pq.ParquetWriter(file, table.schema, compression="none") as writer:  # type: ignore[arg-type]  # it only writes
        writer.write_table(table, row_group_size=10_000)
    file.publish("a.parquet")
    with storage.open_input(url) as opened:
        source = pq.ParquetFile(opened)
        assert source.read_row_group(2, columns=["text"]).column("text").to_pylist()[-1] == "text 29999 " * 20
        assert source.read_row_group(0).equals(table.slice(0, 10_000))


def test_one_form_of_a_url(folder: str) -> None:
    assert storage.absolute(folder + "/") == folder
    assert storage.absolute(folder) == folder
