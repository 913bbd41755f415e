"""One option of a job, as a command takes it: by its name, or from an environment variable that is named after it."""

from typing import Any

import typer


def named(*names: str, panel: str, help: str, **more: Any) -> Any:
    """An option of this name, and what else `typer.Option` takes, under a heading of the help."""
    variable = "TOKENMILL_" + names[0].removeprefix("--").upper().replace("-", "_")
    return typer.Option(*names, help=help, envvar=variable, rich_help_panel=panel, **more)
