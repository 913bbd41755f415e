"""Who is told of an end: a real web server, and a real process; neither ever hurts the job, and neither sees a secret."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from producer import notify
from producer.notify import Notice, tell
from producer.schedule import table
from producer.schedule.due import look
from producer.schedule.notices import tell_passed_over
from producer.schedule.runs import Runs
from tests.acceptance.cluster import WaitUntil
from tokenmill.errors import UsageError

NOTICE = Notice(
    event="sealed", job="0" * 16, name="web", output="s3://bucket/tokens", period="2026-11-24", documents=3, tokens=9
)


class Hook(ThreadingHTTPServer):
    """A webhook that gives the answers it was told to, the last one for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.answers, self.told = [200], list[dict[str, Any]]()
        self.authorization: str | None = None
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, path: str = "/services/SECRET", login: str = "") -> str:
        return f"http://{login}127.0.0.1:{self.server_port}{path}"


class _Answer(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append({"path": self.path, "type": self.headers["Content-Type"], **json.loads(body)})
        self.server.authorization = self.headers["Authorization"]
        answers = self.server.answers
        status = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "PAUSE", 0.01)
    monkeypatch.setattr(notify, "ANSWER", 0.5)


def test_a_webhook_is_told(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    tell(NOTICE, [hook.url("/services/SECRET?token=1")], None)
    (said,) = hook.told
    assert (said.pop("path"), said.pop("type")) == ("/services/SECRET?token=1", "application/json")
    assert said == {
        "event": "sealed",
        "job": "0" * 16,
        "name": "web",
        "output": "s3://bucket/tokens",
        "period": "2026-11-24",
        "documents": 3,
        "tokens": 9,
        "seconds": None,
        "reason": "",
        "report": None,
    }
    assert caplog.text == ""


def test_a_webhook_that_is_tired_is_asked_again(hook: Hook) -> None:
    hook.answers = [503, 429, 200]
    tell(NOTICE, [hook.url()], None)
    assert len(hook.told) == 3


@pytest.mark.parametrize(("answers", "tries"), [([500], 4), ([404], 1), ([302], 1)])
def test_a_webhook_that_will_not_hear(hook: Hook, caplog: pytest.LogCaptureFixture, answers: list[int], tries: int) -> None:
    """Tried a few times at most, followed nowhere; the log says who and not where."""
    caplog.set_level(logging.INFO)
    hook.answers = answers
    tell(NOTICE, [hook.url("/services/SECRET?key=SECRET", "me:SECRET@")], None)
    assert len(hook.told) == tries
    assert hook.authorization is not None
    assert f"the webhook at 127.0.0.1 was not told: it answered {answers[0]}" in caplog.text
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/SECRET", "http://nowhere.invalid/SECRET", "http://[SECRET/"])
def test_a_webhook_that_is_not_there(caplog: pytest.LogCaptureFixture, url: str) -> None:
    tell(NOTICE, [url], None)
    assert "was not told" in caplog.text
    assert "SECRET" not in caplog.text


def test_no_login_and_no_query_is_said(hook: Hook) -> None:
    secret = Notice(
        event="failed",
        job=None,
        name="web",
        output="https://me:SECRET@host/out?sig=SECRET",
        reason="redis://:SECRET@host:6379/0 and s3://bucket/x?key=SECRET are away; see https://host/page#SECRET.",
    )
    tell(secret, [hook.url("/")], None)
    assert hook.told[0]["output"] == "https://host/out"
    assert "SECRET" not in json.dumps(hook.told)
    assert "are away" in hook.told[0]["reason"]


def test_a_command_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are data to it: nothing in them is run, and what is secret in our environment is not in its own."""
    monkeypatch.setenv("TOKENMILL_BROKER", "redis://:SECRET@host/0")
    monkeypatch.setenv("TOKENMILL_NOTIFY", "https://host/SECRET")
    name = f"'; touch {tmp_path}/hacked; $(touch {tmp_path}/hacked) `touch {tmp_path}/hacked` \"\n\0x"
    command = f'cat > {tmp_path}/said; env > {tmp_path}/env; printf %s "$TOKENMILL_END_NAME" > {tmp_path}/name'
    tell(Notice(event="parked", job=None, name=name, output="o"), [], command)
    assert json.loads((tmp_path / "said").read_text())["name"] == name
    assert (tmp_path / "name").read_text() == name.replace("\0", "")
    environment = (tmp_path / "env").read_text()
    assert "TOKENMILL_END_EVENT=parked" in environment
    assert "SECRET" not in environment
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("exit 3", "--on-end ended with status 3"),
        ("sleep 60 & wait", "took more than"),
        ("no-such-program", "--on-end ended with status 127"),
        ("exec <&-", ""),
    ],
)
def test_a_command_that_goes_wrong(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, command: str, said: str
) -> None:
    monkeypatch.setattr(notify, "COMMAND", 0.5)
    tell(NOTICE, [], command)
    assert said in caplog.text


def test_an_address_that_is_none_is_refused_without_being_said(asked: Callable[..., Any]) -> None:
    for url in ("ftp://host/SECRET", "SECRET", "https://"):
        with pytest.raises(UsageError, match="--notify: address 1 is no URL") as refused:
            notify.check(asked(notify=[url]))
        assert "SECRET" not in str(refused.value)


@pytest.fixture
def asked() -> Callable[..., Any]:
    from producer.options import request

    return lambda **more: request(sources=["a"], tokenizer="t", output="o", **more)


def test_periods_that_are_passed_over_are_told_of_once(hook: Hook, tmp_path: Path, wait_until: WaitUntil) -> None:
    """Four nights without a scheduler: the last is made up, and of the three before it one message tells, whoever looks."""
    job = '[schedule.job]\nsources = ["a"]\ntokenizer = "t"\noutput = "o"'
    head = f'[[schedule]]\nname = "n"\ncron = "30 2 * * *"\ntimezone = "UTC"\nmax_lateness = "7d"\nnotify = ["{hook.url()}"]'
    (tmp_path / "s.toml").write_text(f"{head}\n{job}")
    schedules = table.read(str(tmp_path / "s.toml"))
    runs, begin = Runs(schedules.runs, "n"), datetime(2026, 3, 1, tzinfo=UTC)
    look(schedules["n"], runs, begin, tell_passed_over)
    for _ in range(2):
        (made_up,) = look(schedules["n"], runs, begin + timedelta(days=3, hours=5), tell_passed_over)
        assert made_up.run.period == "2026-03-04"
    wait_until(lambda: hook.told, "the message")
    look(schedules["n"], runs, begin + timedelta(days=3, hours=6), tell_passed_over)
    (said,) = hook.told
    assert (said["event"], said["period"], said["name"]) == ("missed", "2026-03-03", "n")
    assert said["reason"].endswith("2026-03-04 is run in its place; so with 2 periods before it")
