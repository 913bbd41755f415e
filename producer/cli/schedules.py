"""Commands for jobs that run by the calendar."""

from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.asked import ForPeriod
from producer.cli.command import Commands, Exit, Json, app
from tokenmill.errors import UsageError

if TYPE_CHECKING:
    from producer.schedule.table import Schedules

DEFAULT = "schedules.toml"
File = Annotated[
    str | None,
    typer.Option("--file", help=f"The schedules; by default {DEFAULT}.", envvar="TOKENMILL_SCHEDULES", show_default=False),
]
Name = Annotated[str, typer.Argument(help="The schedule.", show_default=False)]
Workers = Annotated[
    int, typer.Option(help="Without TOKENMILL_BROKER: worker processes for each run; 0 means one per core.", min=0)
]

group = typer.Typer(cls=Commands, rich_markup_mode=None, add_completion=False)
app.add_typer(group, name="schedule")


@group.callback(invoke_without_command=True)
def schedule(context: typer.Context, file: File = None, workers: Workers = 0) -> None:
    """Run jobs by the calendar, as a service: on the cluster of TOKENMILL_BROKER, or on this machine. Any number may run.

    Example: tokenmill schedule --file schedules.toml
    """
    context.obj = file
    if context.invoked_subcommand is not None:
        return
    from producer.schedule.service import serve
    from tokenmill import logs
    from tokenmill.settings import Settings

    settings, schedules = Settings.from_environment(), _read(context, None)
    logs.configure(as_json=settings.json_log)
    serve(schedules, settings.broker, workers)


@group.command("list")
def list_schedules(context: typer.Context, file: File = None, as_json: Json = False) -> None:
    """All schedules: when they run next, and how they ended last."""
    from datetime import UTC, datetime

    from producer import display
    from producer.schedule import page

    schedules = _read(context, file)
    page.show_schedules(schedules, datetime.now(UTC), display.out, as_json=as_json)


@group.command("next")
def next_runs(
    context: typer.Context,
    count: Annotated[int, typer.Argument(help="How many.", min=1, max=10_000)] = 10,
    file: File = None,
    as_json: Json = False,
) -> None:
    """The runs that are due next, of all schedules together."""
    from datetime import UTC, datetime

    from producer import display
    from producer.schedule import page

    page.show_upcoming(_read(context, file), datetime.now(UTC), count, display.out, as_json=as_json)


@group.command("run")
def run_now(
    context: typer.Context,
    name: Name,
    period: ForPeriod = None,
    file: File = None,
    workers: Workers = 0,
) -> None:
    """Run a period now, by default the last that was due; one that was missed, skipped or failed is run once more."""
    from producer import display
    from producer.schedule import page
    from producer.schedule.hand import run_by_hand

    schedules = _read(context, file)
    with display.err.status(f"running {name}"):
        account = run_by_hand(schedules, schedules[name], period, workers)
    page.show_end(account, display.out)
    assert account.end is not None
    status = {"sealed": Exit.SEALED, "parked": Exit.PARKED, "cancelled": Exit.INTERRUPTED}.get(account.end.outcome, Exit.FAILED)
    raise typer.Exit(status)


@group.command("history")
def history(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="The schedule; by default all.", show_default=False)] = None,
    file: File = None,
    as_json: Json = False,
) -> None:
    """All runs, the last first: what they were for, how they ended, documents and tokens."""
    from producer import display
    from producer.schedule import page

    schedules = _read(context, file)
    chosen = schedules.schedules if name is None else (schedules[name],)
    page.show_history(schedules, chosen, display.out, as_json=as_json)


def _read(context: typer.Context, file: str | None) -> "Schedules":
    """The schedules of the file that was named, before the sub-command or behind it."""
    from producer.schedule import table

    named = file or context.obj
    if named is None:
        from pathlib import Path

        if not Path(DEFAULT).exists():
            raise UsageError(f"there is no {DEFAULT} here. Name the file with --file.")
        named = DEFAULT
    return table.read(named)
