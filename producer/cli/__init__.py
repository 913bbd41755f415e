"""The `tokenmill` command: parses and prints, nothing else. Data on stdout, everything else on stderr.

Everything heavy is imported inside the command that needs it, so that `tokenmill --help` answers at once. Commands are listed
in the order in which their files are imported here.
"""

from producer.cli import jobs, outputs, schedules, texts, machine  # isort: skip
from producer.cli.command import app, execute

__all__ = ["app", "jobs", "machine", "main", "outputs", "schedules", "texts"]


def main() -> None:
    """The console script."""
    execute(app)
