"""What a kind of storage answers that is only read: nothing is ever written there.

Comes in: what somebody would write. Goes out: a UsageError. A store takes these four for its own.
"""

from typing import NoReturn

from tokenmill.errors import UsageError


def refuse(url: str) -> NoReturn:
    """Raise UsageError: nothing can be written to `url`."""
    raise UsageError(
        f"{url}: nothing can be written there. Choose an output on a path that every worker sees, on s3:// or gs://."
    )


def writer(url: str) -> NoReturn:
    refuse(url)


def claim(url: str, data: bytes) -> NoReturn:  # noqa: ARG001  # as every store has it
    refuse(url)


def delete(url: str) -> NoReturn:
    refuse(url)


def sweep(url: str) -> NoReturn:
    refuse(url)
