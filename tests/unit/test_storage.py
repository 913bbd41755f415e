"""A name either does not exist or holds complete content (law 6)."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tokenmill import storage
from tokenmill.errors import BatchError, TransientError, UsageError, from_os_error


def test_nothing_is_visible_before_publish_and_everything_after(tmp_path: Path) -> None:
    file = storage.AtomicFile(str(tmp_path / "deep" / "a.bin"))
    file.write(b"half")
    assert storage.names(str(tmp_path / "deep")) == []
    assert not (tmp_path / "deep" / "a.bin").exists()
    file.write(b"whole")
    digest = file.publish("a.bin")
    assert (tmp_path / "deep" / "a.bin").read_bytes() == b"halfwhole"
    assert digest == storage.digest(str(tmp_path / "deep" / "a.bin"), "a.bin")
    assert os.listdir(tmp_path / "deep") == ["a.bin"]


def test_a_writer_that_fails_leaves_nothing_and_a_killed_one_is_swept(tmp_path: Path) -> None:
    failed = storage.AtomicFile(str(tmp_path / "a"))
    failed.write(b"x")
    failed.discard()
    assert os.listdir(tmp_path) == []
    storage.AtomicFile(str(tmp_path / "b")).write(b"killed")
    assert len(os.listdir(tmp_path)) == 1
    storage.sweep(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_an_old_version_is_replaced_in_one_step(tmp_path: Path) -> None:
    storage.put(str(tmp_path / "a"), b"old")
    storage.put(str(tmp_path / "a"), b"new")
    assert storage.read(str(tmp_path / "a")) == b"new"


def test_of_many_that_claim_a_name_one_gets_it(tmp_path: Path) -> None:
    url = str(tmp_path / "entry")
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda number: storage.claim(url, b"%d" % number), range(64)))
    assert won.count(True) == 1
    assert storage.read(url) == b"%d" % won.index(True)
    assert os.listdir(tmp_path) == ["entry"]


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, TransientError), (errno.EIO, TransientError), (errno.EACCES, BatchError), (errno.ENOENT, BatchError)],
)
def test_what_the_system_says_is_sorted(number: int, kind: type[Exception]) -> None:
    assert isinstance(from_os_error(OSError(number, os.strerror(number)), "reading x"), kind)


def test_a_full_disk_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """/dev/full is Linux's own full disk."""
    file = storage.AtomicFile(str(tmp_path / "a"))
    file._file.close()
    file._file = open("/dev/full", "wb", buffering=0)
    with pytest.raises(TransientError, match="No space left"):
        file.write(b"x")


def test_another_scheme_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="s3:// is not served yet"):
        storage.read("s3://bucket/key")
