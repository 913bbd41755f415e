"""The `tokenmill` command itself: its name, its help, what went wrong in one paragraph, and the exit status."""

import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from tokenmill.errors import TokenmillError, UsageError


class Exit(IntEnum):
    """What the exit status says."""

    #: Done: a job is sealed, a check found nothing.
    SEALED = 0
    #: It failed; the message says why.
    FAILED = 1
    #: The request makes no sense; nothing was begun.
    USAGE = 2
    #: Sealing is impossible: batches are parked, everything else is committed.
    PARKED = 3
    #: Interrupted, or cancelled; the same command goes on.
    INTERRUPTED = 130


@contextmanager
def told() -> Iterator[None]:
    """Turns what went wrong into one paragraph and an exit status."""
    # SIGINT too: a shell starts its background jobs with it ignored, and Python would leave it so
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    except TokenmillError as error:
        typer.echo(f"tokenmill: {error}", err=True)
        raise typer.Exit(Exit.USAGE if isinstance(error, UsageError) else Exit.FAILED) from None
    except KeyboardInterrupt:
        typer.echo("tokenmill: interrupted. What is committed is kept; the same command takes the job up again.", err=True)
        raise typer.Exit(Exit.INTERRUPTED) from None


def execute(command: typer.Typer) -> NoReturn:
    """Run a command and leave with its status.

    What modules make stays as long as the process: to look for garbage in it, while they load and again at the end, was a
    quarter of the time of a short command.
    """
    gc.set_threshold(20_000)
    try:
        sys.exit(command())
    finally:
        gc.freeze()


class Commands(TyperGroup):
    """Several commands under one name."""

    def invoke(self, ctx: Any) -> Any:
        with told():
            return super().invoke(ctx)


class OneCommand(TyperCommand):
    """A command that has a name of its own."""

    def invoke(self, ctx: Any) -> Any:
        with told():
            return super().invoke(ctx)


# rich_markup_mode=None: rendering help through rich costs a tenth of a second and says no more
app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)

Output = Annotated[str, typer.Argument(help="The folder that --output named.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Workers = Annotated[int, typer.Option(help="Worker processes; 0 means one per core.", envvar="TOKENMILL_WORKERS", min=0)]


@app.callback()
def about() -> None:
    """Turn text corpora into token shards for training language models."""


def broker() -> str:
    """The cluster's broker. Raises UsageError if there is none."""
    from tokenmill.settings import Settings

    found = Settings.from_environment().broker
    if found is None:
        raise UsageError("TOKENMILL_BROKER is not set. Give the URL of your cluster's Redis or Valkey, or use `tokenmill run`.")
    return found
