"""Stores of objects behind a network that fails: answers lost, listings cut off, objects replaced, pauses asked for."""

import multiprocessing
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from producer.doctor import _storage
from tests.proxy import Proxy
from tokenmill import storage
from tokenmill.errors import BatchError, TransientError, UsageError
from tokenmill.storage import gs, ranged, s3
from tokenmill.storage.parts import PART


@pytest.fixture(params=["s3", "gs"])
def connection(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """How one of them is reached, with little patience."""
    found: ModuleType = {"s3": s3.connection, "gs": gs.connection}[request.param]
    monkeypatch.setattr(ranged, "PAUSE", 0.01)
    monkeypatch.setattr(found, "READ_SECONDS", 1)
    patience = {"TRIES": 2} if request.param == "s3" else {"PATIENCE": 1.0, "FIRST_PAUSE": 0.05}
    for name, value in patience.items():
        monkeypatch.setattr(found, name, value)
    return found


@pytest.fixture
def folder(connection: ModuleType, request: pytest.FixtureRequest) -> str:
    """The URL of an empty folder."""
    return str(request.getfixturevalue("prefix" if connection is s3.connection else "google_prefix"))


@pytest.fixture
def afresh(connection: ModuleType) -> Callable[[], None]:
    """Lets what comes next open connections of its own, since one that stands is past the proxy's door."""
    forget: Callable[[], None] = connection._client_of.cache_clear
    return forget


@pytest.fixture
def proxy(
    connection: ModuleType,
    folder: str,
    afresh: Callable[[], None],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Proxy]:
    """What stands between this test and the server from here on."""
    on_s3 = connection is s3.connection
    server = request.getfixturevalue("object_server" if on_s3 else "google_server")
    with Proxy(server.port) as between:
        if on_s3:
            request.getfixturevalue("point_at")(between.port)
        else:
            for variable, value in server.environment(between.port).items():
                monkeypatch.setenv(variable, value)
            afresh()
        yield between


def test_a_service_that_asks_for_a_pause_gets_one(proxy: Proxy, folder: str, afresh: Callable[[], None]) -> None:
    storage.put(f"{folder}/a", b"x" * 1000)
    for ask in (
        lambda: storage.read(f"{folder}/a"),
        lambda: storage.status(f"{folder}/a"),
        lambda: storage.names(folder),
        lambda: storage.put(f"{folder}/b", b"y"),
        lambda: storage.delete(f"{folder}/b"),
    ):
        afresh()
        proxy.unavailable = 1
        ask()
        assert proxy.unavailable == 0
    afresh()
    proxy.unavailable = 10**6
    with pytest.raises(TransientError, match="503"):
        storage.read(f"{folder}/a")


def test_a_listing_cut_off_is_never_a_short_one(proxy: Proxy, folder: str, afresh: Callable[[], None]) -> None:
    """Wherever the answer ends, after its head too; botocore itself takes that for an empty folder."""
    for number in range(3):
        storage.put(f"{folder}/{number}", b"x")
    listed, refused, met = [], 0, 0
    for after in range(0, 1600, 80):
        afresh()
        proxy.after, proxy.faults = after, 2
        try:
            listed.append(storage.names(folder))
        except TransientError:
            refused += 1
        met += proxy.faults < 2
        proxy.faults = 0
    assert len(listed) + refused == 20
    assert met > 5
    assert all(names == ["0", "1", "2"] for names in listed)


@pytest.mark.parametrize("replacement", [b"another" * 800_000, b"short", None])
def test_an_object_replaced_in_mid_read_is_an_error_and_never_a_mix(folder: str, replacement: bytes | None) -> None:
    url = f"{folder}/a.jsonl"
    storage.put(url, b"first version " * 400_000)
    with storage.open_input(url) as file:
        assert file.read(100_000) == (b"first version " * 8000)[:100_000]
        if replacement is None:
            storage.delete(url)
        else:
            storage.put(url, replacement)
        with pytest.raises(BatchError, match=r"a\.jsonl has changed while it was read, or is gone"):
            file.read()


def test_whoever_claimed_a_name_knows_it_though_the_answer_was_lost(
    proxy: Proxy, folder: str, afresh: Callable[[], None]
) -> None:
    """The library asks again, and is told that the name is taken: by its own first request."""
    storage.exists(f"{folder}/entry")
    afresh()
    proxy.after, proxy.faults = 0, 1
    assert storage.claim(f"{folder}/entry", b"mine")
    assert proxy.faults == 0
    assert not storage.claim(f"{folder}/entry", b"mine")
    assert storage.read(f"{folder}/entry") == b"mine"


def test_a_bucket_that_is_not_there_is_a_usage_error_wherever_it_is_named(folder: str) -> None:
    nowhere = f"{folder.partition('://')[0]}://no-such-bucket/a"
    for ask in (
        storage.names,
        storage.is_folder,
        storage.read,
        lambda url: storage.put(url, b"x"),
        lambda url: storage.put(url, bytes(PART + 1)),
        lambda url: storage.claim(url, b"x"),
    ):
        with pytest.raises(UsageError, match=r"Create the bucket, (or )?name another"):
            ask(nowhere)


def test_a_forked_process_uses_connections_of_its_own(folder: str) -> None:
    """Workers are forked from a process that has read the job; two at one connection would read each other's answers."""
    for number in range(4):
        storage.put(f"{folder}/{number}", b"%d" % number * 100_000)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(storage.read, [f"{folder}/{number % 4}" for number in range(40)])
    assert found == [b"%d" % (number % 4) * 100_000 for number in range(40)]


def test_the_doctor_tries_to_write_and_leaves_nothing(folder: str) -> None:
    assert _storage(folder) == f"{folder} can be written"
    assert storage.names(folder) == []
