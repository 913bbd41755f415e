"""What workers say of themselves: the log format. One line per event, on stderr."""

import logging
from typing import Any

from celery.signals import setup_logging

FORMAT = "%(asctime)s %(levelname)-7s %(processName)s %(message)s"


@setup_logging.connect
def configure_logging(loglevel: int | str | None = None, **_: Any) -> None:
    """Take Celery's place in setting up the log."""
    logging.basicConfig(level=loglevel or logging.INFO, format=FORMAT, datefmt="%H:%M:%S")
