"""The connection to Google Cloud Storage, and what its errors ask of the caller.

Comes in: credentials as Google's library finds them (Application Default Credentials); without any, nobody's, which are enough
for public buckets. Goes out: one client a process, and errors of `tokenmill.errors`. Always holds: no message carries a key, a
token or the address of an upload, which is as good as one.

Google's own client it is, not requests of ours: Google was never asked from here, only an emulator, so what can be wrong about
credentials, retries and uploads had better be what everybody uses. It speaks JSON, where an emulator proves preconditions.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from google.api_core.client_info import ClientInfo
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError, RetryError
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.cloud.storage import Blob, Bucket, Client
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as CutError
from requests.exceptions import InvalidURL, MissingSchema, RequestException
from urllib3.exceptions import HTTPError

from tokenmill.errors import BatchError, TokenmillError, TransientError, UsageError

#: Connections a process keeps open.
CONNECTIONS = 32
CONNECT_SECONDS, READ_SECONDS = 5, 30
#: Seconds until a request is made again, which double, and after which it is not. Workers and dispatchers wait on.
FIRST_PAUSE, PATIENCE = 0.5, 15.0

#: How the library begins to say that it has found no credentials at all, rather than bad ones.
NONE_FOUND = "Your default credentials were not found"
#: What a bucket may be called; the library itself says less.
BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]+[a-z0-9]")

#: Everything that Google, the library and the way to it raise.
TROUBLE = (GoogleAPIError, GoogleAuthError, InvalidResponse, DataCorruption, RequestException, HTTPError, ConnectionError)

CREDENTIALS = (
    "Set GOOGLE_APPLICATION_CREDENTIALS to the file of a key, or run 'gcloud auth application-default login', here and where "
    "the workers run."
)


def client() -> Client:
    """This process's client. Raises UsageError if there are credentials that cannot be used."""
    return _client_of(os.getpid())  # a connection must not be used on both sides of a fork


@lru_cache(maxsize=1)
def _client_of(process: int) -> Client:  # noqa: ARG001  # the key
    given = {"project": None, "client_info": ClientInfo(user_agent="tokenmill")}
    try:
        try:
            made = Client(**given)
        except DefaultCredentialsError as error:
            if not str(error).startswith(NONE_FOUND):
                raise
            made = Client(**given, credentials=AnonymousCredentials())
    except (GoogleAuthError, ValueError, OSError) as error:
        raise UsageError(f"gs:// cannot be reached: {str(error).rstrip('.')}. {CREDENTIALS}") from error
    # It would ask for the bucket in a thread of its own, again with each object that is not there, for traces nobody makes.
    made._bucket_metadata_cache = None
    for scheme in ("https://", "http://"):
        made._http.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
    made._http.hooks["response"].append(_check_whole)
    return made


def _check_whole(answer: Response, **_: Any) -> None:
    """Raise an error if an answer does not say where it ends: the library takes one cut off in its head for an empty object."""
    if answer.status_code in (200, 206) and not {"content-length", "transfer-encoding"} & {*map(str.lower, answer.headers)}:
        raise CutError("the answer ends in its head")


def place(url: str) -> tuple[str, str]:
    """Bucket and key of a URL; the key of a whole bucket is empty. Raises UsageError if it names no bucket."""
    bucket, _, key = url.removeprefix("gs://").partition("/")
    if not BUCKET.fullmatch(bucket):
        raise UsageError(f"{url} names no bucket. Write gs://bucket/key.")
    return bucket, key


def bucket(name: str) -> Bucket:
    """A bucket, unasked."""
    return client().bucket(name)


def blob(url: str, generation: int | None = None) -> Blob:
    """An object, unasked, or one version of it."""
    name, key = place(url)
    return bucket(name).blob(key, generation=generation)


def patience() -> dict[str, Any]:
    """How long the library tries each request."""
    return {
        "timeout": (CONNECT_SECONDS, READ_SECONDS),
        "retry": DEFAULT_RETRY.with_delay(initial=FIRST_PAUSE, maximum=8.0, multiplier=2.0).with_timeout(PATIENCE),
    }


@contextmanager
def sorted_errors(doing: str, *, writing: bool = False) -> Iterator[None]:
    """Translate what Google and the way to it say while `doing` something; what nobody may write to is no output."""
    try:
        yield
    except TROUBLE as error:
        raise sort(error, doing, writing=writing) from error


def sort(error: Exception, doing: str, *, writing: bool = False) -> TokenmillError:
    """One error as one of ours."""
    if isinstance(error, RetryError) and error.cause is not None:
        error = error.cause
    if isinstance(error, GoogleAPICallError | InvalidResponse) and isinstance(error.response, Response):
        return _refused(error.response, doing, writing=writing)
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return UsageError(f"{doing}: the certificate is not to be trusted. Set REQUESTS_CA_BUNDLE to its CA's certificate.")
    away = isinstance(error, TransportError) or isinstance(error.__cause__, TransportError)
    if isinstance(error, GoogleAuthError) and not error.retryable and not away:
        return UsageError(f"{doing}: {str(error.args[0] if error.args else error).rstrip('.')}. {CREDENTIALS}")
    if isinstance(error, InvalidURL | MissingSchema):
        return UsageError(f"{doing}: STORAGE_EMULATOR_HOST is no URL. Set it to an emulator's http://host:port, or unset it.")
    return TransientError(f"{doing}: {type(error).__name__} on the way.")  # its own words would show the whole address


def _refused(answer: Response, doing: str, *, writing: bool) -> TokenmillError:
    """What the service answered."""
    status, asked = answer.status_code, answer.request
    what = f"{doing}: {_said(answer)} ({status})"
    if status >= 500 or status in (408, 429):
        return TransientError(f"{what}.")
    if status == 401:
        return UsageError(f"{what}. {CREDENTIALS}")
    if status in (404, 410):
        if (
            isinstance(asked, PreparedRequest) and asked.method == "PUT"
        ):  # an upload that has lapsed: the next try begins another
            return TransientError(f"{what}.")
        return UsageError(f"{what}. Create the bucket, or name another.")
    if writing:
        return UsageError(f"{what}. Choose an output that the workers' credentials may write to.")
    return BatchError(f"{what}. Restore it, or allow it to be read, or leave it out, then run the same command again.")


def _said(answer: Response) -> str:
    """The service's own words: a JSON document, or for an object's bytes plain text, or nothing."""
    try:
        words = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        words = answer.text if "text/plain" in answer.headers.get("Content-Type", "") else ""
    return " ".join(str(words).split())[:300].rstrip(".") or answer.reason or "refused"
