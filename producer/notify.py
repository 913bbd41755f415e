"""Who is told when a job or a run has ended: webhooks, and a command of the user's.

Comes in: a `Notice`. Goes out: its JSON, by POST and on a command's standard input. Always holds: whatever becomes of it, the
job is as it was; no secret is in a notice, and the address of a webhook, which is one, stands in no log and no record. What is
said comes to the command by its environment and its input, never as a part of its text.
"""

import json
import logging
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from producer.request import Request
from tokenmill.errors import UsageError
from tokenmill.settings import hook_environment

log = logging.getLogger(__name__)

Event = Literal["sealed", "failed", "parked", "cancelled", "skipped", "missed", "alarm"]

#: Seconds to connect and to answer, tries, and the pause before the second: 46 seconds at most.
CONNECT, ANSWER, TRIES, PAUSE = 3.0, 7.0, 4, 0.5
#: Seconds that a command may take.
COMMAND = 60.0
#: What a server says that may answer later.
LATER = (408, 425, 429, 500, 502, 503, 504)
#: A URL with what may be secret in it: a login, a query.
LOGIN, QUERY = re.compile(r"(\w+://)[^\s/@]+@"), re.compile(r"(\w+://[^\s?#]+)[?#]\S*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What is said of a job or a run."""

    event: Event
    #: The job's id; None where it came to none.
    job: str | None
    #: Of the job, or of its schedule.
    name: str | None
    output: str
    period: str | None = None
    documents: int = 0
    tokens: int = 0
    seconds: float | None = None
    reason: str = ""
    #: The report for people.
    report: str | None = None

    def public(self) -> dict[str, Any]:
        """Its values, without logins and queries of URLs."""
        return {key: without_secrets(value) if isinstance(value, str) else value for key, value in asdict(self).items()}


def without_secrets(text: str) -> str:
    """A text whose URLs have neither login nor query."""
    return QUERY.sub(r"\1", LOGIN.sub(r"\1", text))


def check(request: Request) -> None:
    """Raise UsageError if a webhook has no address that can be used. The address is not repeated."""
    for number, url in enumerate(request.notify, start=1):
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("https", "http") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            good = False
        if not good:
            raise UsageError(f"--notify: address {number} is no URL of a webhook. Give https://HOST/PATH.")


def tell(notice: Notice, urls: Iterable[str], command: str | None) -> None:
    """Tell everybody; what goes wrong is a line of the log."""
    said = notice.public()
    for url in urls:
        _post(url, json.dumps(said).encode())
    if command:
        _run(command, said)


def _post(url: str, body: bytes) -> None:
    import urllib3

    try:
        parts = urllib3.util.parse_url(url)
        headers = {"Content-Type": "application/json", "User-Agent": "tokenmill"}
        if parts.auth:
            headers |= urllib3.make_headers(basic_auth=parts.auth)
        address, wait = parts._replace(auth=None).url, urllib3.Timeout(connect=CONNECT, read=ANSWER)
        with urllib3.PoolManager(retries=False, timeout=wait) as pool:
            # urllib3's own way to try again says the whole address in a warning
            for attempt in range(TRIES):
                time.sleep(PAUSE * (2**attempt - 1))
                try:
                    status = pool.request("POST", address, body=body, headers=headers, redirect=False).status
                except urllib3.exceptions.HTTPError as error:
                    trouble = type(error).__name__  # its words may name the path
                    continue
                if 200 <= status < 300:
                    return
                trouble = f"it answered {status}"
                if status not in LATER:
                    break
    except urllib3.exceptions.HTTPError:
        log.warning("a webhook was not told: its address is none")
        return
    log.warning("the webhook at %s was not told: %s", parts.host, trouble)


def _run(command: str, said: dict[str, Any]) -> None:
    """Run a user's own command; names are data to it."""
    values = {f"TOKENMILL_END_{key.upper()}": "" if value is None else str(value) for key, value in said.items()}
    environment = hook_environment({key: value.replace("\0", "") for key, value in values.items()})
    try:
        process = subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.PIPE, env=environment, start_new_session=True)
    except OSError as error:
        log.warning("--on-end could not be run: %s", error.strerror)
        return
    try:
        process.communicate(json.dumps(said).encode() + b"\n", timeout=COMMAND)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.warning("--on-end took more than %.0f s and was ended", COMMAND)
        return
    except BrokenPipeError:
        process.wait()  # it did not want to know
    if process.returncode:
        log.warning("--on-end ended with status %d", process.returncode)
