"""A line of the log is one JSON object, whatever is logged."""

import json
import logging
import subprocess
import sys

import pytest

from tokenmill import logs
from tokenmill.errors import UsageError
from tokenmill.settings import Settings


def line(message: str, *arguments: object, **more: object) -> dict[str, object]:
    record = logging.getLogger("a").makeRecord("a", logging.INFO, "f", 1, message, arguments, **more)  # type: ignore[arg-type]
    written = logs.JsonFormatter().format(record)
    assert "\n" not in written
    return json.loads(written)


def test_facts_stand_beside_what_every_line_has_and_hide_none_of_it() -> None:
    said = line("batch %06d", 7, extra={"facts": {"batch": 7, "level": "quiet", "message": "no"}}, exc_info=None)
    assert said.items() >= {"batch": 7, "level": "INFO", "message": "batch 000007", "logger": "a"}.items()
    assert str(said["time"]).endswith("+00:00")


def test_text_of_any_kind_and_tracebacks_stay_in_their_line() -> None:
    try:
        raise ValueError("first\nsecond 你好 \ud800")
    except ValueError:
        said = line("two\nlines", exc_info=sys.exc_info(), extra={"facts": {"what": object}})
    assert said["message"] == "two\nlines"
    assert "second 你好" in str(said["traceback"])
    assert said["what"] == "<class 'object'>"


def test_a_lone_surrogate_reaches_the_reader() -> None:
    """It stands in file names that are no UTF-8; stderr must not choke on it."""
    program = "from tokenmill import logs; import logging; logs.configure(as_json=True); logging.error('\\ud800 %s', 1)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert json.loads(done.stderr)["message"].endswith(" 1")


def test_a_format_or_level_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENMILL_LOG_FORMAT", "xml")
    with pytest.raises(UsageError, match="TOKENMILL_LOG_FORMAT is 'xml'; give text or json"):
        Settings.from_environment()
    with pytest.raises(UsageError, match="'loud': give DEBUG, INFO, WARNING or ERROR"):
        logs.configure(as_json=True, level="loud")
