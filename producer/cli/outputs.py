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
    watch: Annotated[bool, typer.Option("--watch", help="Stay and show every change.")] = False,
    as_json: Json = False,
) -> None:
    """How far a job is, from anywhere that sees its output; or which generations there are."""
    from rich.live import Live

    from producer import display, generations_page
    from producer.progress import Pace, Tally, look
    from tokenmill.generations import Chain
    from tokenmill.ledger import Ledger
    from tokenmill.settings import Settings

    if not watch and not Ledger(output).has_job() and Chain(output).last() is not None:
        generations_page.show(Chain(output), as_json=as_json)
        return
    ledger, pace, broker = Ledger(output), Pace(), Settings.from_environment().broker
    tally = Tally(ledger)
    progress = look(tally, broker, pace)
    if as_json and not watch:
        typer.echo(json.dumps(progress.summary(), indent=2))
    elif not watch:
        display.out.print(display.status(progress))
    else:
        with Live(display.status(progress), console=display.out, auto_refresh=False) as live:
            while not progress.ended:
                time.sleep(1)
                progress = look(tally, broker, pace)
                if as_json:
                    typer.echo(json.dumps(progress.summary()))
                else:
                    live.update(display.status(progress), refresh=True)


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
