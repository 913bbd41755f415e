"""What lies below a root is decided by where a path leads, not by how it is written."""

from pathlib import Path

import pytest

from tokenmill.errors import UsageError
from tokenmill.roots import Roots, leads_out


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A root beside a folder that is none, with links both ways."""
    for folder in ("root/out", "root-two", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "root/away").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/stay").symlink_to(tmp_path / "root/out")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "root/out")
    (tmp_path / "root/loop").symlink_to(tmp_path / "root/loop")
    return tmp_path


INSIDE = ["root", "root/", "root/out", "root/new/er", "root/stay/x", "root/a/../out", "elsewhere/back/x", "elsewhere/../root/x"]


@pytest.mark.parametrize("path", INSIDE)
def test_below_a_root(place: Path, path: str) -> None:
    Roots.named(f"/nowhere, {place}/root").admit(f"{place}/{path}")
    Roots.named(f"{place}/root").admit(f"file://{place}/{path}")


OUTSIDE = ["", "elsewhere", "root-two", "root-two/root", "root/..", "root/../elsewhere"]
LED_OUT = ["root/away", "root/away/x", "root/stay/../../elsewhere", "root/away/../x/../../elsewhere"]


@pytest.mark.parametrize("path", OUTSIDE + LED_OUT)
def test_not_below_a_root(place: Path, path: str) -> None:
    with pytest.raises(UsageError, match="lies below none of TOKENMILL_ROOTS="):
        Roots.named(f"{place}/root").admit(f"{place}/{path}")


RELATIVE = ["", "out", "./out", "../out", "~/out", "file://out", "file://host/out"]
STRANGE = ["/a\0b", "/a\nb", "/a\ud800", "/" + "a" * 5000, "s3://bucket/../x", "s3://bucket/a//b", "s3:///x", "s3://b/a\\b"]


@pytest.mark.parametrize("path", RELATIVE + STRANGE, ids=lambda path: ascii(path)[:20])
def test_neither_absolute_nor_plain(path: str) -> None:
    """Also without roots; what is written about it stays on one short line."""
    with pytest.raises(UsageError) as refusal:
        Roots().admit(path)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 400


def test_a_root_that_is_a_link_and_one_in_an_object_store(place: Path) -> None:
    roots = Roots.named(f"{place}/elsewhere/back,s3://bucket/corpora/")
    roots.admit(f"{place}/root/out/x")
    roots.admit("s3://bucket/corpora/new")
    for url in ("s3://bucket/corpora-two", "s3://bucket2/corpora", "gs://bucket/corpora", "s3://bucket"):
        with pytest.raises(UsageError, match="lies below none"):
            roots.admit(url)


def test_without_roots_every_absolute_path_is_admitted() -> None:
    for url in ("/etc", "file:///etc", "s3://bucket"):
        Roots.named("").admit(url)
    Roots.named("/").admit("/etc")


def test_a_root_must_be_absolute() -> None:
    with pytest.raises(UsageError, match="TOKENMILL_ROOTS: 'data' is no absolute path"):
        Roots.named("/corpora,data")


STEPS = ["", ".", "..", "/etc/passwd", "../x", "a/../x", "a/..", "a/./b", "a//b", "a/"]
TRICKS = ["..\\x", "a\\b", "a\nb", "a\0", "\x85"]


@pytest.mark.parametrize("path", STEPS + TRICKS)
def test_a_path_that_may_lead_out(path: str) -> None:
    assert leads_out(path)


@pytest.mark.parametrize(
    "path", ["job.json", "shards/000000.bin", "a/b.c/d", "..a", "a..", "...", ".hidden", "tokenizer/分词 器.model"]
)
def test_a_path_that_stays(path: str) -> None:
    assert not leads_out(path)
