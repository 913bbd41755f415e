"""The log of both programs: one line per event on stderr, as text for people or as JSON for machines.

Comes in: log records; one may carry `facts`, a dict of names and plain values. Goes out: lines. Always holds in JSON: a line
is one object with time, level, logger, process and message; facts stand beside these and hide none of them; a traceback is a
value, not lines of its own.
"""

import json
import logging
from datetime import UTC, datetime

from tokenmill.errors import UsageError
from tokenmill.roots import shown

TEXT = "%(asctime)s %(levelname)-7s %(processName)s %(message)s"


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        said = {
            **getattr(record, "facts", {}),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.processName,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        # what cannot be JSON is shown as Python does: a line that is lost helps nobody
        return json.dumps(said, ensure_ascii=False, default=repr)


def configure(*, as_json: bool, level: int | str = logging.INFO) -> None:
    """Send this process's log to stderr. Raises UsageError if there is no such level."""
    if isinstance(level, str) and level.upper() not in logging.getLevelNamesMapping():
        raise UsageError(f"--log-level {shown(level)}: give DEBUG, INFO, WARNING or ERROR.")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter(TEXT, datefmt="%H:%M:%S"))
    logging.basicConfig(level=level.upper() if isinstance(level, str) else level, handlers=[handler])
    logging.captureWarnings(as_json)
