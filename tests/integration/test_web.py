"""Files on a real web server: cut, slow, refused, sent elsewhere, lied about, replaced in mid-read."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from producer.corpus import collect
from tests.corpora import spec
from tests.webserver import File, WebServer
from tokenmill import documents, storage
from tokenmill.errors import BatchError, TransientError, UsageError
from tokenmill.job import Cut, Span
from tokenmill.storage import ranged
from tokenmill.storage.web import address, connection

TEXTS = [f"document {number} " + os.urandom(500).hex() for number in range(3000)]
LINES = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in TEXTS)


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged, "PAUSE", 0.001)
    monkeypatch.setattr(connection, "PAUSE", 0.001)


def content(suffix: str) -> bytes:
    if suffix == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.table({"text": TEXTS}), sink, compression="none", row_group_size=1000)
        return sink.getvalue()
    return zstandard.ZstdCompressor().compress(LINES) if suffix == "jsonl.zst" else LINES


def texts_of(url: str) -> list[str]:
    span = Span(url=url, cut=Cut.WHOLE, start=0, stop=0, bytes=1, size=0, mark="")
    return [text for found in documents.read(span, spec()) for text in found.text.to_pylist()]


@pytest.mark.parametrize("mark", ["etag", "date"])
@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.zst", "parquet"])
def test_a_read_that_is_cut_goes_on_by_a_ranged_request(server: WebServer, suffix: str, mark: str) -> None:
    url = server.put(f"/c.{suffix}", content(suffix), mark=mark, cuts=4, after=600_000)
    assert texts_of(url) == TEXTS
    file = server.files[f"/c.{suffix}"]
    assert file.cuts < 4
    conditions = {headers.get("If-Range") for _, headers in server.asked if headers["Range"] != "bytes=0-0"}
    assert conditions == {file.etag if mark == "etag" else "Tue, 14 Nov 2023 22:13:20 GMT"}


def test_a_server_without_ranges_is_read_from_the_start_even_after_a_cut(server: WebServer) -> None:
    url = server.put("/c.jsonl", LINES, ranges=False, cuts=2, after=1_500_000)
    assert texts_of(url) == TEXTS
    assert server.files["/c.jsonl"].cuts == 0
    (file,) = collect([url]).files
    assert not file.ranged


@pytest.mark.parametrize("ranges", [True, False])
def test_two_versions_never_mix(server: WebServer, ranges: bool) -> None:
    """Same length, replaced while a reader is in the middle: an error, and not one byte of the other."""
    one, other = b"1" * 3_000_000, b"2" * 3_000_000
    url = server.put("/c.txt", one, ranges=ranges, after=1_300_000)
    with storage.open_input(url) as file:
        server.files["/c.txt"].cuts = 1
        assert file.read(1_000_000) == one[:1_000_000]
        server.files["/c.txt"].data = other
        with pytest.raises(BatchError, match="has changed while it was read"):
            file.read()


@pytest.mark.parametrize("lie", ["bytes 7-7/900", "bytes 0-0/*", "bytes 0-1/900", "chapters 0-0/900", "-"])
def test_a_range_that_is_not_the_one_asked_for_is_not_believed(server: WebServer, lie: str) -> None:
    url = server.put("/c.jsonl", b"x" * 900, lie=lie)
    with pytest.raises(BatchError, match="asked for bytes 0-0, the server answers 206"):
        storage.status(url)
    server.files["/c.jsonl"].lie = ""
    with storage.open_input(url) as file:
        server.files["/c.jsonl"].lie = "bytes 5-899/900"
        with pytest.raises(BatchError, match="asked for bytes 0-899"):
            file.read()


def test_a_busy_server_is_asked_again_and_a_long_wait_is_left_to_the_caller(server: WebServer) -> None:
    url = server.put("/c.txt", b"x", troubles=[(503, {"Retry-After": "0"}), (429, {}), (502, {})])
    assert storage.read(url) == b"x"
    server.files["/c.txt"].troubles = [(429, {"Retry-After": "3600"})]
    before = len(server.asked)
    with pytest.raises(TransientError, match="the server answers 429"):
        storage.read(url)
    assert len(server.asked) == before + 1
    server.files["/c.txt"].troubles = [(500, {})] * 9
    with pytest.raises(TransientError, match="the server answers 500"):
        storage.read(url)


def test_a_server_that_falls_silent_or_is_away_is_worth_waiting_for(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    connection._pool.cache_clear()
    monkeypatch.setattr(connection, "READ_SECONDS", 0.05)
    import threading

    forever = threading.Event()
    url = server.put("/c.txt", b"x", watch=lambda _: forever.wait(10))
    with pytest.raises(TransientError, match="ReadTimeoutError on the way"):
        storage.read(url)
    forever.set()
    connection._pool.cache_clear()
    with pytest.raises(TransientError, match="on the way"):
        storage.read("http://127.0.0.1:1/c.txt")


def test_what_is_not_there_and_what_may_not_be_seen(server: WebServer) -> None:
    assert storage.status(f"{server.url}/none.txt") is None
    assert storage.find(f"{server.url}/none.txt") is None
    with pytest.raises(UsageError, match=r"none\.txt.*: there is no such file"):
        collect([f"{server.url}/none.txt"])
    url = server.put("/secret.txt", b"x", troubles=[(403, {})] * 2)
    with pytest.raises(UsageError, match="the server answers 403"):
        collect([url])
    with pytest.raises(UsageError, match="lists nothing"):
        collect([f"{server.url}/*.jsonl"])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"mark": "weak"}, "neither a strong ETag nor a Last-Modified"),
        ({"mark": "none"}, "neither a strong ETag nor a Last-Modified"),
        ({"headers": {"Content-Encoding": "br"}}, r"packs what it sends \(br\)"),
        ({"headers": {"Content-Encoding": "gzip"}}, r"packs what it sends \(gzip\)"),
        ({"ranges": False, "headers": {"Content-Length": "", "Connection": "close"}}, "does not say how long it is"),
    ],
)
def test_what_cannot_be_held_to_one_version_is_refused(server: WebServer, how: dict[str, object], said: str) -> None:
    url = server.put("/c.jsonl", b"x" * 99, **how)
    with pytest.raises(BatchError, match=said):
        storage.status(url)


def test_a_gz_that_its_server_calls_an_encoding_is_the_file_as_it_stands(server: WebServer) -> None:
    url = server.put("/c.jsonl.gz", b"as it stands", headers={"Content-Encoding": "x-gzip"})
    assert storage.read(url) == b"as it stands"


@pytest.mark.parametrize("data", [b"", b"x"])
def test_the_smallest_files(server: WebServer, data: bytes) -> None:
    for ranges in (True, False):
        url = server.put("/c.txt", data, ranges=ranges)
        assert storage.read(url) == storage.find(url) == data
        found = storage.status(url)
        assert found is not None
        assert (found.size, found.mark) == (len(data), server.files["/c.txt"].etag)


def test_redirects_lead_on_but_not_in_circles(server: WebServer) -> None:
    server.put("/c.txt", b"found")
    url = server.put("/old.txt", b"", troubles=[(302, {"Location": "/c.txt?signature=secret"})] * 9)
    server.files["/c.txt?signature=secret"] = server.files["/c.txt"]
    assert storage.read(url) == b"found"
    server.put("/c.txt?signature=secret", b"", troubles=[(403, {})] * 9)
    with pytest.raises(BatchError) as refusal:
        storage.read(url)
    assert "secret" not in str(refusal.value)
    url = server.put("/round", b"", watch=lambda file: file.troubles.append((307, {"Location": "/round"})))
    with pytest.raises(UsageError, match="sends us on more than 5 times"):
        storage.read(url)


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest/x", "file:///etc/passwd", "ftp://host/x", "http://u:p@127.0.0.1/x"]
)
def test_a_server_cannot_send_a_worker_anywhere(server: WebServer, target: str) -> None:
    url = server.put("/c.txt", b"", troubles=[(302, {"Location": target})] * 9)
    with pytest.raises(UsageError) as refusal:
        storage.read(url)
    assert ":p@" not in str(refusal.value)


def test_with_roots_a_redirect_stays_below_them(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.put("/in/c.txt", b"in")
    server.put("/out/c.txt", b"out")
    inside = server.put("/in/a", b"", troubles=[(302, {"Location": "/in/c.txt"})])
    outside = server.put("/in/b", b"", troubles=[(302, {"Location": "/out/c.txt"})])
    behind = server.put("/in/d", b"", troubles=[(302, {"Location": "/in/%2e%2e/out/c.txt"})])
    monkeypatch.setenv("TOKENMILL_ROOTS", f"{server.url}/in")
    assert storage.status(inside) == storage.status(f"{server.url}/in/c.txt")
    for url in (outside, behind):
        with pytest.raises(UsageError, match="sends us on elsewhere"):
            storage.status(url)


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://data.example.com/x", "http://data.example.com/x"),
        ("https://data.example.com/x", "https://127.0.0.1/x"),
        ("https://data.example.com/x", "https://[::1]:8443/x"),
        ("https://data.example.com/x", "https://localhost/x"),
        ("https://data.example.com/x", "https://0.0.0.0/x"),
        ("https://data.example.com/x", "https://169.254.169.254/x"),
        ("https://data.example.com/x", "//10.0.0.7/x"),
    ],
)
@pytest.mark.parametrize("trusted", [True, False])
def test_nobody_outside_leads_inside_or_away_from_tls(url: str, location: str, trusted: bool) -> None:
    with pytest.raises(UsageError):
        address.redirected(url, location, trusted=trusted)


def test_a_secret_goes_to_its_own_host_alone(server: WebServer) -> None:
    with WebServer() as other:
        other.put("/c.txt", b"far")
        url = server.put("/c.txt", b"", troubles=[(302, {"Location": f"{other.url}/c.txt"})])
        answer = connection.ask(url, {}, secret={"Authorization": "Bearer secret"})
        assert answer.read() == b"far"
        assert server.asked[0][1]["Authorization"] == "Bearer secret"
        assert "Authorization" not in other.asked[0][1]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://me:hunter2@host/a.jsonl", "https://…@host: a user name or password"),
        ("https://host/a.jsonl?token=hunter2", r"https://host/a\.jsonl has a \? or # behind it"),
        ("https://host/a.jsonl#hunter2", "has a . or # behind it"),
        ("http://host/a.jsonl", "is another host without TLS"),
        ("https:///a.jsonl", "names no host"),
        ("https://host:port/a", "its host or port cannot be read"),
    ],
)
def test_addresses_that_are_refused(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refusal:
        storage.absolute(url)
    assert "hunter2" not in str(refusal.value)


def test_addresses_in_one_form(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        storage.absolute("https://Data.Example.com/a b/语料.jsonl") == "https://data.example.com/a%20b/%E8%AF%AD%E6%96%99.jsonl"
    )
    assert storage.absolute("https://host/a/../b%2f") == "https://host/b%2F"
    monkeypatch.setenv("TOKENMILL_PLAIN_HTTP", "1")
    assert storage.absolute("http://host/a") == "http://host/a"


def test_nothing_is_written() -> None:
    for write in (storage.writer, storage.delete, storage.sweep, storage.check_writable, lambda url: storage.claim(url, b"")):
        with pytest.raises(UsageError, match="nothing can be written there"):
            write("https://host/out")


def test_the_web_is_loaded_by_its_first_url_alone() -> None:
    program = (
        "import sys, producer.prepare, workers.tasks\n"
        "from tokenmill import storage\n"
        "assert not {'tokenmill.storage.web', 'huggingface_hub'} & set(sys.modules)\n"
        "storage.absolute('https://host/x')\n"
        "assert 'urllib3' in sys.modules and not {'boto3', 'huggingface_hub'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_odd_names(server: WebServer, tmp_path: Path) -> None:
    server.files["/a b/50%+ü&=#?.txt"] = File(b"odd")
    assert storage.read(f"{server.url}/a b/50%25+ü&=%23%3F.txt") == b"odd"
