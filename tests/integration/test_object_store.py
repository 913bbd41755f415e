"""A real S3 server behind a network that fails: connections cut, silent or refused, objects replaced, answers lost."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tests.corpora import spec
from tests.objectserver import ObjectServer
from tests.proxy import Proxy
from tokenmill import documents, storage
from tokenmill.errors import TransientError, UsageError
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
