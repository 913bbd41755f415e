"""What only paths, or only object stores, have: temporary names, full disks, part sizes, and errors sorted."""

import errno
import os
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pytest
import requests
from botocore import exceptions as boto
from google.api_core import exceptions as google_exceptions
from google.auth import exceptions as auth

from tokenmill import storage
from tokenmill.errors import BatchError, TokenmillError, TransientError, UsageError, from_os_error
from tokenmill.storage.gs import connection as google
from tokenmill.storage.local import AtomicFile
from tokenmill.storage.parts import PART
from tokenmill.storage.s3 import connection
from tokenmill.storage.s3.writer import part_size


def test_a_path_being_written_has_another_name(tmp_path: Path) -> None:
    file = AtomicFile(str(tmp_path / "b"))
    assert [name.partition(".part-")[0] for name in os.listdir(tmp_path)] == ["b"]
    file.discard()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, TransientError), (errno.EIO, TransientError), (errno.EACCES, BatchError), (errno.ENOENT, BatchError)],
)
def test_what_the_system_says_is_sorted(number: int, kind: type[Exception]) -> None:
    assert isinstance(from_os_error(OSError(number, os.strerror(number)), "reading x"), kind)


def test_a_full_disk_is_waited_for(tmp_path: Path) -> None:
    """/dev/full is Linux's own full disk."""
    file = AtomicFile(str(tmp_path / "a"))
    file._file.close()
    file._file = open("/dev/full", "wb", buffering=0)
    with pytest.raises(TransientError, match="No space left"):
        file.write(b"x")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("gcs://bucket/key", "gcs:// is not served. Give a path"),
        ("s3:///key", "names no bucket"),
        ("s3://", "names no bucket"),
        ("gs:///key", "names no bucket"),
    ],
)
def test_what_is_no_place_is_refused_by_name(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        storage.read(url)


def test_one_form_of_a_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert storage.absolute("a/../b/") == str(tmp_path / "b")
    assert storage.absolute("file:///a") == "/a"
    assert storage.absolute("~/a") == "/home/me/a"
    assert storage.absolute("s3://bucket/a/") == "s3://bucket/a"
    assert storage.absolute("s3://bucket/") == "s3://bucket"


def test_the_s3_library_is_loaded_by_the_first_s3_url_alone(tmp_path: Path) -> None:
    program = (
        "import sys, producer.prepare, workers.tasks\n"
        "from tokenmill import storage\n"
        f"storage.put({str(tmp_path / 'a')!r}, b'x')\n"
        "assert not {'boto3', 'botocore'} & set(sys.modules)\n"
        "storage.absolute('s3://bucket/key')\n"
        "assert 'boto3' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_ten_thousand_parts_hold_the_largest_object() -> None:
    sizes = [part_size(number) for number in range(1, 10_001)]
    assert min(sizes) == sizes[999] == PART >= 8 << 20  # a shard of eight gigabytes still has equal parts
    assert max(sizes) <= 5 << 30
    assert list(accumulate(sizes))[-1] >= 5 << 40


def answer(status: int, code: str = "", message: str = "said so") -> boto.ClientError:
    return boto.ClientError(
        {"Error": {"Code": code or str(status), "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Do"
    )


@pytest.mark.parametrize(
    ("error", "reading", "writing"),
    [
        (answer(500, "InternalError"), TransientError, TransientError),
        (answer(503, "SlowDown"), TransientError, TransientError),
        (answer(507, "XMinioStorageFull"), TransientError, TransientError),
        (answer(429), TransientError, TransientError),
        (answer(400, "RequestTimeout"), TransientError, TransientError),
        (answer(409, "ConditionalRequestConflict"), TransientError, TransientError),
        (answer(404, "NoSuchUpload"), TransientError, TransientError),
        (boto.EndpointConnectionError(endpoint_url="http://x"), TransientError, TransientError),
        (boto.ConnectTimeoutError(endpoint_url="http://x"), TransientError, TransientError),
        (boto.ReadTimeoutError(endpoint_url="http://x"), TransientError, TransientError),
        (boto.ConnectionClosedError(endpoint_url="http://x"), TransientError, TransientError),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), TransientError, TransientError),
        (boto.ResponseStreamingError(error="cut"), TransientError, TransientError),
        (boto.SSLError(endpoint_url="https://x", error="EOF occurred"), TransientError, TransientError),
        (boto.SSLError(endpoint_url="https://x", error="CERTIFICATE_VERIFY_FAILED"), UsageError, UsageError),
        (boto.NoCredentialsError(), UsageError, UsageError),
        (boto.ProfileNotFound(profile="p"), UsageError, UsageError),
        (answer(501, "NotImplemented"), UsageError, UsageError),
        (answer(404, "NoSuchBucket"), UsageError, UsageError),
        (answer(403, "InvalidAccessKeyId"), UsageError, UsageError),
        (answer(403, "SignatureDoesNotMatch"), UsageError, UsageError),
        (answer(403, "AccessDenied"), BatchError, UsageError),
        (answer(403), BatchError, UsageError),
        (answer(404, "NoSuchKey"), BatchError, UsageError),
    ],
    ids=str,
)
def test_what_s3_says_is_sorted(error: Exception, reading: type[Exception], writing: type[Exception]) -> None:
    for expected, found in ((reading, connection.sort(error, "doing x")), (writing, connection.sort(error, "x", writing=True))):
        assert type(found) is expected
    with pytest.raises(TokenmillError, match=r"^reading s3://b/k: "), connection.sorted_errors("reading s3://b/k"):
        raise error


def google_answer(status: int, method: str = "GET", *, media: bool = False) -> Exception:
    response = requests.Response()
    response.status_code, response.reason = status, "said so"
    response.request = requests.Request(method, "https://storage.googleapis.com/x?upload_id=secret").prepare()
    if media:
        return google.InvalidResponse(response, "Request failed", status)
    return google_exceptions.from_http_response(response)


@pytest.mark.parametrize(
    ("error", "reading", "writing"),
    [
        (google_answer(503), TransientError, TransientError),
        (google_answer(429), TransientError, TransientError),
        (google_answer(408), TransientError, TransientError),
        (google_answer(410, "PUT", media=True), TransientError, TransientError),
        (google_answer(404, "PUT", media=True), TransientError, TransientError),
        (google_answer(404, "POST", media=True), UsageError, UsageError),
        (google_answer(404), UsageError, UsageError),
        (google_answer(401), UsageError, UsageError),
        (google_answer(403), BatchError, UsageError),
        (google_answer(400), BatchError, UsageError),
        (google_exceptions.RetryError("Timeout", google_answer(503)), TransientError, TransientError),
        (
            google_exceptions.RetryError("Timeout", requests.ConnectionError("?upload_id=secret")),
            TransientError,
            TransientError,
        ),
        (requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED"), UsageError, UsageError),
        (requests.exceptions.ChunkedEncodingError("?upload_id=secret"), TransientError, TransientError),
        (auth.TransportError("away"), TransientError, TransientError),
        (auth.RefreshError("away", retryable=True), TransientError, TransientError),
        (auth.RefreshError("invalid_grant"), UsageError, UsageError),
    ],
    ids=str,
)
def test_what_google_says_is_sorted(error: Exception, reading: type[Exception], writing: type[Exception]) -> None:
    for expected, found in ((reading, google.sort(error, "doing x")), (writing, google.sort(error, "x", writing=True))):
        assert type(found) is expected
        assert "secret" not in str(found)
    with pytest.raises(TokenmillError, match=r"^reading gs://b/k: "), google.sorted_errors("reading gs://b/k"):
        raise error


def test_no_message_carries_a_password() -> None:
    error = boto.EndpointConnectionError(endpoint_url="https://me:secret@host/b?list-type=2")
    assert "https://…@host/b?list-type=2" in str(connection.sort(error, "listing s3://b"))
    assert "secret" not in str(connection.sort(error, "listing s3://b"))
