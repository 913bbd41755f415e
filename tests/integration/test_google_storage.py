"""An emulator of Google Cloud Storage behind a network that fails, and credentials that are no good."""

import json
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

from tests.googleserver import GoogleServer
from tests.proxy import Proxy
from tokenmill import storage
from tokenmill.errors import TransientError, UsageError
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
