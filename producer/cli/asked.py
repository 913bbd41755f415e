"""A job as a command is asked for it: by options, by a job file, or by both.

Comes in: what was given on the command line. Goes out: a command that takes a `Request`. Always holds: an option that is given
comes before the job file's.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from producer.options import files, request
from producer.period import Period


def _read_job(context: typer.Context, path: str | None) -> Any:
    """Take a job file's values for those options that nobody gives; needs to run before the others are looked at."""
    if path is None:
        return None
    from producer import jobfile

    job = jobfile.read(path)
    context.default_map = {**job.options, **(job.outputs[0] if job.outputs else {})}
    return job


#: Not what a job is, but where it is written down.
Job = Annotated[
    Any,
    typer.Option(
        "--job",
        metavar="FILE",
        is_eager=True,
        callback=_read_job,
        parser=str,
        help="Take the options that are not given here from a TOML file; see `tokenmill schema`.",
        rich_help_panel=files.PANEL,
    ),
]
ForPeriod = Annotated[
    Period | None,
    typer.Option(
        "--period",
        metavar="DATE",
        parser=Period.parsed,
        help="What {period} in a job file stands for.",
        rich_help_panel=files.PANEL,
    ),
]


def takes_request(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command all of `request`'s options in place of its first parameter."""
    asked = inspect.signature(request).parameters
    own = list(inspect.signature(command).parameters.values())[1:]

    @functools.wraps(command)
    def wrapped(**values: Any) -> Any:
        job, given = values.pop("job"), {name: values.pop(name) for name in asked}
        period = values.pop("period")
        return command(request(**given) if job is None else job.request(period, given), **values)

    written = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=None)
        for name, kind in (("period", ForPeriod), ("job", Job))
    ]
    parameters = [*asked.values(), *written, *own]
    wrapped.__signature__ = inspect.Signature([p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped
