"""A real S3 server behind a network that fails: connections cut, silent or refused, objects replaced, answers lost."""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from producer.doctor import _storage
from tests.corpora import spec
from tests.objectserver import ObjectServer
from tests.proxy import Proxy
from tokenmill import documents, storage
from tokenmill.errors import BatchError, TransientError, UsageError
from tokenmill.job import Cut, Span
from tokenmill.storage import ranged
from tokenmill.storage.parts import PART
from tokenmill.storage.s3 import connection

TEXTS = [f"document {number} " + os.urandom(500).hex() for number in range(3000)]


@pytest.fixture
def proxy(object_server: ObjectServer, prefix: str, point_at: Callable[[int], None]) -> Iterator[Proxy]:
    """What stands between this test and the server from here on."""
    with Proxy(object_server.port) as between:
        point_at(between.port)
        yield between


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged, "PAUSE", 0.01)
    monkeypatch.setattr(connection, "TRIES", 2)
    monkeypatch.setattr(connection, "READ_SECONDS", 1)


def stored(url: str) -> str:
    """Put the texts at a URL, in the format its suffix names."""
    data = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in TEXTS)
    if url.endswith(".parquet"):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"text": TEXTS}), sink, compression="none", row_group_size=1000)
        data = sink.getvalue().to_pybytes()
    storage.put(url, zstandard.ZstdCompressor().compress(data) if url.endswith(".zst") else data)
    return url


def texts_of(url: str) -> list[str]:
    span = Span(url=url, cut=Cut.WHOLE, start=0, stop=0, bytes=1, size=0, mark="")
    return [text for found in documents.read(span, spec()) for text in found.text.to_pylist()]


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.zst", "parquet"])
@pytest.mark.parametrize("after", [10_000, 700_000])
def test_a_connection_cut_in_mid_read_goes_on_where_it_was(proxy: Proxy, prefix: str, suffix: str, after: int) -> None:
    url = stored(f"{prefix}/corpus.{suffix}")
    proxy.after, proxy.faults = after, 3
    assert texts_of(url) == TEXTS
    assert proxy.faults < 3


def test_a_connection_that_is_always_cut_still_comes_to_the_end(proxy: Proxy, prefix: str) -> None:
    """Each try brings a piece or two; only tries that bring nothing count."""
    data = os.urandom(3_000_000)
    storage.put(f"{prefix}/a", data)
    proxy.after, proxy.faults = 600_000, 10**6
    with storage.open_input(f"{prefix}/a") as file:
        assert file.read() == data
    assert 10**6 - proxy.faults >= 5


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.zst", "parquet"])
def test_one_that_never_brings_anything_is_worth_waiting_for_and_no_damage(proxy: Proxy, prefix: str, suffix: str) -> None:
    url = stored(f"{prefix}/corpus.{suffix}")
    proxy.after, proxy.faults = 1000, 10**6
    with pytest.raises(TransientError, match=rf"reading {url}: "):
        texts_of(url)


def test_a_connection_that_falls_silent_is_opened_again(proxy: Proxy, prefix: str) -> None:
    data = os.urandom(1_000_000)
    storage.put(f"{prefix}/a", data)
    proxy.after, proxy.faults, proxy.silent = 500_000, 1, True
    with storage.open_input(f"{prefix}/a") as file:
        assert file.read() == data


def test_a_service_that_asks_for_a_pause_gets_one(proxy: Proxy, prefix: str) -> None:
    storage.put(f"{prefix}/a", b"x" * 1000)
    for ask in (
        lambda: storage.read(f"{prefix}/a"),
        lambda: storage.status(f"{prefix}/a"),
        lambda: storage.names(prefix),
        lambda: storage.put(f"{prefix}/b", b"y"),
    ):
        connection._client_of.cache_clear()  # a new connection for each, since one that stands is past the proxy's door
        proxy.unavailable = 1
        ask()
        assert proxy.unavailable == 0
    connection._client_of.cache_clear()
    proxy.unavailable = 10
    with pytest.raises(TransientError, match="503"):
        storage.read(f"{prefix}/a")


def test_a_listing_cut_off_is_never_a_short_one(proxy: Proxy, prefix: str) -> None:
    """Wherever the answer ends, after its head too; botocore itself takes that for an empty folder."""
    for number in range(3):
        storage.put(f"{prefix}/{number}", b"x")
    listed, cut = [], 0
    for after in range(0, 1600, 80):
        connection._client_of.cache_clear()
        proxy.after, proxy.faults = after, 2
        try:
            listed.append(storage.names(prefix))
        except TransientError:
            cut += 1
        proxy.faults = 0
    assert cut > 5
    assert all(names == ["0", "1", "2"] for names in listed)


@pytest.mark.parametrize("replacement", [b"another" * 500_000, b"short", None])
def test_an_object_replaced_in_mid_read_is_an_error_and_never_a_mix(prefix: str, replacement: bytes | None) -> None:
    url = f"{prefix}/a.jsonl"
    storage.put(url, b"first version " * 400_000)
    with storage.open_input(url) as file:
        assert file.read(100_000) == (b"first version " * 8000)[:100_000]
        if replacement is None:
            storage.delete(url)
        else:
            storage.put(url, replacement)
        with pytest.raises(BatchError, match=r"a\.jsonl has changed while it was read, or is gone"):
            file.read()


def test_whoever_claimed_a_name_knows_it_though_the_answer_was_lost(proxy: Proxy, prefix: str) -> None:
    """botocore asks again, and is told that the name is taken: by its own first request."""
    storage.exists(f"{prefix}/entry")
    connection._client_of.cache_clear()
    proxy.after, proxy.faults = 0, 1
    assert storage.claim(f"{prefix}/entry", b"mine")
    assert proxy.faults == 0
    assert not storage.claim(f"{prefix}/entry", b"mine")


def test_an_upload_survives_lost_answers_and_a_dead_one_says_so(proxy: Proxy, prefix: str) -> None:
    data = os.urandom(2 * PART + 5)
    came = 0
    for after in (0, 500, 1000, 1500, 2000):  # another answer is lost each time
        connection._client_of.cache_clear()
        proxy.after, proxy.faults = after, 1
        with suppress(TransientError):
            storage.put(f"{prefix}/{after}", [data, b"%d" % after])
            came += 1
        proxy.faults = 0
        assert storage.find(f"{prefix}/{after}") in (None, data + b"%d" % after)
    assert came >= 2
    file = storage.writer(f"{prefix}/b")
    file.write(data)
    connection._client_of.cache_clear()
    proxy.after, proxy.faults = 0, 10**6
    with pytest.raises(TransientError, match=rf"writing {prefix}/b: "):
        file.publish("b")
    file.discard()
    proxy.faults = 0
    connection._client_of.cache_clear()
    assert not storage.exists(f"{prefix}/b")
    storage.sweep(prefix)
    found = connection.client().list_multipart_uploads(Bucket="tests", Prefix=prefix.removeprefix("s3://tests/"))
    assert "Uploads" not in found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "Set AWS_SECRET_ACCESS_KEY to the secret of AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "Unable to locate credentials"),
        ({"AWS_ENDPOINT_URL_S3": "nonsense"}, "Invalid endpoint: nonsense"),
    ],
)
def test_a_wrong_environment_is_a_usage_error_without_its_secrets(
    prefix: str, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], said: str, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(connection._client_of.cache_clear)
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    connection._client_of.cache_clear()
    with pytest.raises(UsageError, match=said) as raised:
        storage.names(prefix)
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        assert not os.environ[name] or os.environ[name] not in str(raised.value)


def test_a_bucket_that_is_not_there_is_a_usage_error_wherever_it_is_named(prefix: str) -> None:
    for ask in (
        lambda: storage.names("s3://no-such-bucket/a"),
        lambda: storage.is_folder("s3://no-such-bucket/a"),
        lambda: storage.read("s3://no-such-bucket/a"),
        lambda: storage.put("s3://no-such-bucket/a", b"x"),
        lambda: storage.claim("s3://no-such-bucket/a", b"x"),
    ):
        with pytest.raises(UsageError, match="Create the bucket, name another"):
            ask()


def test_a_forked_process_uses_connections_of_its_own(prefix: str) -> None:
    """Workers are forked from a process that has read the job; two at one connection would read each other's answers."""
    for number in range(4):
        storage.put(f"{prefix}/{number}", b"%d" % number * 100_000)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(storage.read, [f"{prefix}/{number % 4}" for number in range(40)])
    assert found == [b"%d" % (number % 4) * 100_000 for number in range(40)]


def test_the_doctor_tries_to_write_and_leaves_nothing(prefix: str) -> None:
    assert _storage(prefix) == f"{prefix} can be written"
    assert storage.names(prefix) == []
