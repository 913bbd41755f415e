"""An emulator of Google Cloud Storage behind a network that fails, and credentials that are no good."""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from producer.doctor import _storage
from tests.googleserver import GoogleServer
from tests.proxy import Proxy
from tokenmill import storage
from tokenmill.errors import BatchError, TransientError, UsageError
from tokenmill.storage import ranged
from tokenmill.storage.gs import connection
from tokenmill.storage.parts import PART


@pytest.fixture
def proxy(google_server: GoogleServer, google_prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What stands between this test and the server from here on."""
    with Proxy(google_server.port) as between:
        for variable, value in google_server.environment(between.port).items():
            monkeypatch.setenv(variable, value)
        connection._client_of.cache_clear()
        yield between


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged, "PAUSE", 0.01)
    monkeypatch.setattr(connection, "PATIENCE", 1.0)
    monkeypatch.setattr(connection, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(connection, "READ_SECONDS", 1)


@pytest.mark.parametrize("after", [10_000, 700_000])
def test_a_connection_cut_in_mid_read_goes_on_where_it_was(proxy: Proxy, google_prefix: str, after: int) -> None:
    data = os.urandom(3_000_000)
    storage.put(f"{google_prefix}/a", data)
    proxy.after, proxy.faults = after, 2
    with storage.open_input(f"{google_prefix}/a") as file:
        assert file.read() == data
    connection._client_of.cache_clear()
    proxy.faults += 2
    assert storage.read(f"{google_prefix}/a") == data
    assert proxy.faults < 2


@pytest.mark.parametrize("silent", [False, True])
def test_one_that_never_brings_anything_is_worth_waiting_for_and_no_damage(
    proxy: Proxy, google_prefix: str, silent: bool
) -> None:
    url = f"{google_prefix}/a"
    storage.put(url, os.urandom(100_000))
    connection._client_of.cache_clear()
    proxy.after, proxy.faults, proxy.silent = 100, 10**6, silent
    for ask in (storage.read, storage.status, storage.names, lambda url: storage.put(url, b"x")):
        with pytest.raises(TransientError, match=url) as raised:
            ask(url)
        assert "upload_id" not in str(raised.value)


def test_a_service_that_asks_for_a_pause_gets_one(proxy: Proxy, google_prefix: str) -> None:
    storage.put(f"{google_prefix}/a", b"x" * 1000)
    for ask in (
        lambda: storage.read(f"{google_prefix}/a"),
        lambda: storage.status(f"{google_prefix}/a"),
        lambda: storage.names(google_prefix),
        lambda: storage.put(f"{google_prefix}/b", b"y"),
        lambda: storage.delete(f"{google_prefix}/b"),
    ):
        connection._client_of.cache_clear()  # a new connection for each, since one that stands is past the proxy's door
        proxy.unavailable = 1
        ask()
        assert proxy.unavailable == 0
    connection._client_of.cache_clear()
    proxy.unavailable = 10**6
    with pytest.raises(TransientError, match="503"):
        storage.read(f"{google_prefix}/a")


def test_a_listing_cut_off_is_never_a_short_one(proxy: Proxy, google_prefix: str) -> None:
    for number in range(3):
        storage.put(f"{google_prefix}/{number}", b"x")
    listed, cut = [], 0
    for after in range(0, 1600, 80):
        connection._client_of.cache_clear()
        proxy.after, proxy.faults = after, 2
        try:
            listed.append(storage.names(google_prefix))
        except TransientError:
            cut += 1
        proxy.faults = 0
    assert len(listed) + cut == 20
    assert all(names == ["0", "1", "2"] for names in listed)


@pytest.mark.parametrize("replacement", [b"another" * 800_000, b"short", None])
def test_an_object_replaced_in_mid_read_is_an_error_and_never_a_mix(google_prefix: str, replacement: bytes | None) -> None:
    url = f"{google_prefix}/a.jsonl"
    storage.put(url, b"first version " * 400_000)
    with storage.open_input(url) as file:
        assert file.read(100_000) == (b"first version " * 8000)[:100_000]
        if replacement is None:
            storage.delete(url)
        else:
            storage.put(url, replacement)
        with pytest.raises(BatchError, match=r"a\.jsonl has changed while it was read, or is gone"):
            file.read()


def test_whoever_claimed_a_name_knows_it_though_the_answer_was_lost(proxy: Proxy, google_prefix: str) -> None:
    """The library asks again, and is told that the name is taken: by its own first request."""
    proxy.after, proxy.faults = 0, 1
    assert storage.claim(f"{google_prefix}/entry", b"mine")
    assert proxy.faults == 0
    assert not storage.claim(f"{google_prefix}/entry", b"mine")
    assert storage.read(f"{google_prefix}/entry") == b"mine"


def test_an_upload_survives_lost_answers_and_a_dead_one_says_so(proxy: Proxy, google_prefix: str) -> None:
    data = os.urandom(2 * PART + 5)
    came = 0
    # The emulator appends a part that is sent again, where Google passes over what it has (fsouza/fake-gcs-server#2056): the
    # library compares checksums, so nobody is told that such an object was written.
    for after in (0, 300, 600, 900, 1200, 1500, 1800, 2100):  # another answer is lost each time
        connection._client_of.cache_clear()
        proxy.after, proxy.faults = after, 1
        with suppress(TransientError):
            storage.put(f"{google_prefix}/{after}", [data, b"%d" % after])
            assert storage.read(f"{google_prefix}/{after}") == data + b"%d" % after
            came += 1
        proxy.faults = 0
    assert came >= 2
    file = storage.writer(f"{google_prefix}/b")
    file.write(data)
    connection._client_of.cache_clear()
    proxy.after, proxy.faults = 0, 10**6
    with pytest.raises(TransientError, match=rf"writing {google_prefix}/b: ") as raised:
        file.publish("b")
    assert "upload_id" not in str(raised.value)
    file.discard()
    proxy.faults = 0
    connection._client_of.cache_clear()
    assert not storage.exists(f"{google_prefix}/b")


def test_a_bucket_that_is_not_there_is_a_usage_error_wherever_it_is_named(google_prefix: str) -> None:
    for ask in (
        lambda: storage.names("gs://no-such-bucket/a"),
        lambda: storage.is_folder("gs://no-such-bucket/a"),
        lambda: storage.read("gs://no-such-bucket/a"),
        lambda: storage.put("gs://no-such-bucket/a", b"x"),
        lambda: storage.put("gs://no-such-bucket/a", bytes(PART + 1)),
        lambda: storage.claim("gs://no-such-bucket/a", b"x"),
    ):
        with pytest.raises(UsageError, match="Create the bucket, or name another"):
            ask()


def test_a_forked_process_uses_connections_of_its_own(google_prefix: str) -> None:
    """Workers are forked from a process that has read the job; two at one connection would read each other's answers."""
    for number in range(4):
        storage.put(f"{google_prefix}/{number}", b"%d" % number * 100_000)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(storage.read, [f"{google_prefix}/{number % 4}" for number in range(40)])
    assert found == [b"%d" % (number % 4) * 100_000 for number in range(40)]


@pytest.fixture
def endpoint(google_server: GoogleServer, google_prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same server as one that wants credentials: to an emulator the library sends none."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("API_ENDPOINT_OVERRIDE", f"http://127.0.0.1:{google_server.port}")
    connection._client_of.cache_clear()
    yield
    connection._client_of.cache_clear()


def test_without_credentials_a_public_bucket_is_read(endpoint: None, google_prefix: str) -> None:
    storage.put(f"{google_prefix}/a", b"public")
    assert storage.read(f"{google_prefix}/a") == b"public"
    assert connection.client()._credentials.token is None


@pytest.fixture
def office() -> Iterator[HTTPServer]:
    """Where keys are changed for tokens; it knows none of them."""

    class Office(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = json.dumps({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}).encode()
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(400)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Office) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def key_file(folder: Path, office: HTTPServer) -> Path:
    """A key as Google hands them out, of an account that nobody knows."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "key.json"
    account = {"type": "service_account", "client_email": "nobody@tests.example", "private_key": key.decode()}
    path.write_text(json.dumps({**account, "token_uri": f"http://127.0.0.1:{office.server_port}/token"}))
    return path


def test_credentials_that_are_no_good_are_said_and_not_shown(
    endpoint: None, google_prefix: str, office: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is named is used or complained of, never passed over for nobody's."""
    refused, broken = key_file(tmp_path, office), tmp_path / "broken.json"
    secret = json.loads(refused.read_text())["private_key"].splitlines()[1]
    broken.write_text(json.dumps({"type": "service_account", "private_key": secret}))
    for path, said in (
        (refused, "Invalid JWT Signature|invalid_grant"),
        (broken, "missing fields"),
        (tmp_path / "none.json", "none.json was not found"),
    ):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        connection._client_of.cache_clear()
        for ask in (storage.names, storage.read, lambda url: storage.put(url, b"x")):
            with pytest.raises(UsageError, match=rf"(?s){said}.*Set GOOGLE_APPLICATION_CREDENTIALS") as raised:
                ask(google_prefix + "/a")
            assert secret[:20] not in str(raised.value)


def test_an_office_that_is_away_is_worth_waiting_for(
    endpoint: None, google_prefix: str, office: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file(tmp_path, office)))
    office.shutdown()
    office.server_close()
    with pytest.raises(TransientError, match=r"looking at gs://.*on the way"):
        storage.status(google_prefix + "/a")


def test_an_endpoint_that_is_no_url(google_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "nonsense")
    connection._client_of.cache_clear()
    with pytest.raises(UsageError, match="STORAGE_EMULATOR_HOST is no URL"):
        storage.names(google_prefix)


def test_without_the_client_the_way_to_it_is_said() -> None:
    program = (
        "import sys; sys.modules['google.api_core'] = None\n"
        "from tokenmill import errors, storage\n"
        "try: storage.read('gs://bucket/key')\n"
        "except errors.UsageError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "gs://bucket/key: gs:// needs Google's client. Run: pip install 'tokenmill[gs]', on every host.\n"


def test_the_doctor_tries_to_write_and_leaves_nothing(google_prefix: str) -> None:
    assert _storage(google_prefix) == f"{google_prefix} can be written"
    assert storage.names(google_prefix) == []
