"""The connection to web servers, and what their answers ask of the caller.

Comes in: a URL and headers. Goes out: an answer whose body is still to be read, or an error of `tokenmill.errors`. Always
holds: redirects are followed in small numbers and only to where `redirected` allows; a secret in a header goes to the host it
was meant for and to none that this one names; no message shows what stands behind a `?`.

urllib3 it is: typed, kept, and here already for S3. httpx comes with huggingface_hub alone, which has changed its own (httpx2).
"""

import os
import random
import ssl
import time
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.exceptions import HTTPError
from urllib3.exceptions import SSLError as TlsError

from tokenmill.errors import TokenmillError, TransientError, UsageError
from tokenmill.storage.web.address import redirected

#: Connections a process keeps open to one host.
CONNECTIONS = 16
CONNECT_SECONDS, READ_SECONDS = 5, 30
#: Tries of one request, and the pause before the second, in seconds; it doubles. Workers wait on when these are used up.
TRIES, PAUSE = 4, 0.5
#: A server that wants us to wait longer than this is left alone by the request, and waited for by whoever made it.
LONGEST_PAUSE = 20.0
#: Servers a request may be sent on to.
REDIRECTS = 5
REDIRECTED = frozenset({301, 302, 303, 307, 308})
#: Answers with which the same request may succeed later.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
#: Bytes of an answer that nobody wants, read so that its connection can be used again.
DRAINED = 64 << 10

#: An answer that ended before its content did.
CUT = (HTTPError, OSError)


def ask(url: str, headers: Mapping[str, str], *, secret: Mapping[str, str] | None = None) -> BaseHTTPResponse:
    """A GET, with redirects followed and passing trouble waited out for a moment. Raises TransientError, UsageError.

    Args:
        secret: headers for this URL's host alone. A server that is trusted with them may send us on to any other.
    """
    pause, said = PAUSE, ""
    for attempt in range(TRIES):
        if attempt:
            if pause > LONGEST_PAUSE:
                break
            time.sleep(pause)
        try:
            answer = _followed(url, headers, secret)
        except CUT as error:
            trouble = sort(error, f"reading {url}")
            if not isinstance(trouble, TransientError):
                raise trouble from error
            said, pause = str(trouble), random.uniform(0.5, 1) * PAUSE * 2**attempt
            continue
        if answer.status not in PASSING:
            return answer
        let_go(answer)
        said = f"reading {url}: the server answers {answer.status} {answer.reason or ''}".rstrip() + "."
        pause = _asked_for(answer.headers.get("Retry-After")) or random.uniform(0.5, 1) * PAUSE * 2**attempt
    raise TransientError(said)


def _followed(url: str, headers: Mapping[str, str], secret: Mapping[str, str] | None) -> BaseHTTPResponse:
    here, host = url, urlsplit(url).netloc
    for _ in range(REDIRECTS + 1):
        own = secret if secret and urlsplit(here).netloc == host else {}
        asked = {"Accept-Encoding": "identity", **headers, **own}
        # as it was sent: some servers call a stored .gz an encoding
        answer = _pool(os.getpid()).request(
            "GET", here, headers=asked, redirect=False, preload_content=False, decode_content=False
        )
        if answer.status not in REDIRECTED:
            return answer
        let_go(answer)
        here = redirected(here, answer.headers.get("Location", ""), trusted=secret is not None)
    raise UsageError(f"{url} sends us on more than {REDIRECTS} times. Name where the file lies itself.")


@lru_cache(maxsize=1)
def _pool(process: int) -> PoolManager:  # noqa: ARG001  # the key: a connection must not be used on both sides of a fork
    return PoolManager(
        maxsize=CONNECTIONS,
        retries=False,
        timeout=Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        ssl_context=ssl.create_default_context(),
        headers={"User-Agent": "tokenmill"},
    )


def let_go(answer: BaseHTTPResponse) -> None:
    """Leave an answer unread; its connection is used again where little of it is left."""
    try:
        if int(answer.headers.get("Content-Length", DRAINED)) < DRAINED:
            answer.drain_conn()
            return
    except (ValueError, *CUT):
        pass
    answer.close()


def sort(error: Exception, doing: str) -> TokenmillError:
    """What went wrong on the way as one of our errors."""
    if isinstance(error, TlsError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return UsageError(f"{doing}: the server's certificate is not to be trusted. Set SSL_CERT_FILE to its CA's certificate.")
    return TransientError(f"{doing}: {type(error).__name__} on the way.")  # its own words would show the whole address


def _asked_for(retry_after: str | None) -> float | None:
    """The seconds that a server wants us to wait; a date is taken for no word at all, since clocks need not agree."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else None
