"""Commands that look at an output."""

import json
import time
from typing import Annotated

import typer

from producer.cli.command import Exit, Json, Output, app
from tokenmill.choices import DtypeChoice, FormatName
from tokenmill.errors import UsageError


@app.command()
def status(
    output: Output,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and show every change, until the job has ended.")] = False,
    as_json: Json = False,
) -> None:
    """How far a job is, from anywhere that sees its output; or which generations there are."""
    from producer import generations_page, status_page
    from tokenmill.generations import Chain
    from tokenmill.ledger import Ledger
    from tokenmill.settings import Settings

    ledger = Ledger(output)
    if not watch and not ledger.has_job() and Chain(output).last() is not None:
        generations_page.show(Chain(output), as_json=as_json)
        return
    looks = status_page.Look(ledger, Settings.from_environment().broker)
    if not watch:
        status_page.once(looks.now(), ledger.output, as_json=as_json)
        return
    try:
        status_page.watch(looks, ledger.output, as_json=as_json)
    except KeyboardInterrupt:  # who only looks leaves nothing unfinished
        raise typer.Exit(Exit.INTERRUPTED) from None


@app.command()
def report(
    output: Output,
    target: Annotated[
        str | None, typer.Option("--output", help="Write there; - is stdout. Without it a page is OUTPUT/report.html.")
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")] = False,
    as_json: Json = False,
    cost_per_hour: Annotated[
        float | None,
        typer.Option(
            help="What an hour of one worker costs, in any currency: then the report says what a billion tokens cost.",
            envvar="TOKENMILL_COST_PER_HOUR",
            min=0,
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """What a job came to, and how: a page for people, Markdown for pull requests, JSON for machines. Sealed or not."""
    from producer import display
    from tokenmill import storage
    from tokenmill.ledger import Ledger
    from tokenmill.report import markdown, page, statistics
    from tokenmill.settings import Settings

    if as_markdown + as_json + show > 1:
        raise UsageError("--markdown, --json and --open exclude each other. Give one of them.")
    ledger = Ledger(output)
    job = ledger.job()
    with display.err.status("reading the entries"):
        found = statistics(ledger, job, ledger.totals(), cost_per_hour=cost_per_hour)
        said = markdown(found) if as_markdown else json.dumps(found.summary(), indent=2) + "\n" if as_json else page(found)
    if target == "-" or (target is None and (as_markdown or as_json)):
        typer.echo(said, nl=False)
        return
    place = storage.absolute(target) if target is not None else ledger.url("report.html")
    Settings.from_environment().roots.admit(place)
    storage.put(place, said.encode())
    typer.echo(place)
    if show:
        _opened(place)


def _opened(place: str) -> None:
    """Show a page in the user's browser."""
    import webbrowser
    from pathlib import Path

    from tokenmill import storage

    if not storage.is_local(place):
        raise UsageError(f"{place} is in no folder of this machine; give one to --open with --output FILE.")
    if not webbrowser.open(Path(place).as_uri()):
        typer.echo(f"tokenmill: there is no browser here; the page is {place}", err=True)


@app.command()
def verify(
    output: Output,
    full: Annotated[bool, typer.Option("--full", help="Encode every document again, from the sources.")] = False,
    as_json: Json = False,
) -> None:
    """Hash every file again, check the sums, encode a sample again with the reference."""
    from dataclasses import asdict

    from producer import display
    from tokenmill import verify as verification

    with display.err.status("verifying") as shown:
        verdict = verification.verify(output, full=full, advance=lambda done, steps: shown.update(f"verifying {done}/{steps}"))
    if as_json:
        typer.echo(json.dumps(asdict(verdict), indent=2))
    elif verdict.findings:
        for finding in verdict.findings:
            typer.echo(finding)
    else:
        again = f"{verdict.compared:,} documents encoded again, same ids"
        if verdict.outlived:
            again += f"; {verdict.outlived:,} batches have outlived their sources, which were not read again"
        display.out.print(f"[bold green]verified[/] {verdict.files:,} files; {again}")
    if verdict.findings:
        raise typer.Exit(Exit.FAILED)


@app.command()
def convert(
    output: Output,
    name: Annotated[FormatName, typer.Option("--format", help="Whose files to write.", show_default=False)],
    to: Annotated[str, typer.Option("--output", help="Folder for the converted job.", show_default=False)],
    dtype: Annotated[DtypeChoice, typer.Option("--dtype", help="Type of stored ids.")] = "auto",
) -> None:
    """Write a sealed output in another format, without encoding anything; the same command takes it up again."""
    from producer import display
    from tokenmill.convert import convert as converted
    from tokenmill.ledger import Ledger
    from tokenmill.settings import Settings

    target = Ledger(to)
    Settings.from_environment().roots.admit(target.output)
    with display.err.status("converting") as shown:
        totals = converted(output, to, name, dtype, lambda done, shards: shown.update(f"converting {done:,}/{shards:,} shards"))
    display.sealed(totals, target.job().batches, target.output, None)


@app.command()
def retire(
    output: Output,
    keep: Annotated[int, typer.Option("--keep", help="The newest so many generations stay.", min=1, show_default=False)],
) -> None:
    """Remove the shards of older generations; which files they hold stays known, so none of these is taken again."""
    from tokenmill.generations import Chain
    from tokenmill.settings import Settings

    chain = Chain(output)
    Settings.from_environment().roots.admit(chain.output)
    if chain.last() is None:
        raise UsageError(f"{chain.output} holds no generations. Give the --output of jobs that have a --generation.")
    gone = chain.retire(keep, time.time())
    typer.echo(f"tokenmill: {len(gone):,} generations have no shards any more, the newest {keep:,} stay.", err=True)


@app.command()
def inspect(
    output: Output,
    document: Annotated[int | None, typer.Option(help="Show this document, decoded.", min=0)] = None,
    as_json: Json = False,
) -> None:
    """Show what a sealed output holds, or one of its documents."""
    from producer import display
    from tokenmill.ledger import Ledger
    from tokenmill.reader import TokenDataset

    if document is None:
        held = Ledger(output).manifest()
        if held is None or not held.parts:  # what is split is no dataset, its parts are
            held = TokenDataset(output).manifest
        if as_json:
            typer.echo(held.to_json().decode(), nl=False)
        else:
            display.sealed(held, len(held.shards), output, None)
        return
    dataset = TokenDataset(output)
    if document >= len(dataset):
        raise UsageError(f"{output} holds {len(dataset):,} documents, 0 to {len(dataset) - 1:,}.")
    ids = dataset[document].tolist()
    text = dataset.tokenizer().decode(ids, skip_special_tokens=False)
    if as_json:
        typer.echo(json.dumps({"document": document, "ids": ids, "text": text}, ensure_ascii=False))
    else:
        display.document(document, ids, text)
