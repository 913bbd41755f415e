"""`generate_tokens`: what `tokenmill encode` is, under a name of its own, for SSH sessions and scripts.

A console script where tokenmill is installed, and a plain one: `python producer/cli/generate_tokens.py --model M --text T`. It
cannot lie in `producer/`: a script's folder is searched for modules first, and `queue.py` there would hide Python's own.
"""

import typer

from producer.cli.command import OneCommand, execute
from producer.cli.texts import encode


def alone() -> typer.Typer:
    """`tokenmill encode` as a command by itself."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(cls=OneCommand)(encode)
    return app


def main() -> None:
    """The console script."""
    execute(alone())


if __name__ == "__main__":
    main()
