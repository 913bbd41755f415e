"""Commands that make a job and bring it to its end."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.asked import takes_request
from producer.cli.command import Exit, Json, Output, Workers, app, broker
from producer.request import Request
from tokenmill.errors import TokenmillError, UsageError

if TYPE_CHECKING:
    from producer.dispatch import Outcome
    from producer.prepare import Prepared


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
    cluster: Annotated[bool, typer.Option("--cluster", help="On the cluster of TOKENMILL_BROKER instead.")] = False,
) -> None:
    """The main job on real text that this machine has, with a real tokenizer from pip; then verify and inspect."""
    from producer.cli.outputs import inspect, verify
    from producer.demo import BOS, EOS, TOKENIZER, write_corpus
    from tokenmill import storage

    corpus, tokens = f"{output}/corpus.jsonl", f"{output}/tokens"
    if not storage.exists(corpus):
        size = write_corpus(corpus)
        typer.echo(f"corpus     {size / 1e6:.1f} MB of Python sources and docs in {corpus}", err=True)
    request = Request(sources=(corpus,), tokenizer=TOKENIZER, output=tokens, eos_token=EOS, bos_token=BOS, name="demo")
    if cluster:
        _submit(request, follow=True)
    else:
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
    _submit(request, follow)


@app.command()
@takes_request
def plan(
    request: Request,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look; this command never does more.")] = True,  # noqa: ARG001  # says what happens anyway
    workers: Workers = 0,
    estimate: Annotated[bool, typer.Option("--estimate/--no-estimate", help="Encode a little of it to tell the time.")] = True,
    as_json: Json = False,
) -> None:
    """What would be done: batches, bytes, what cannot be cut, about how long it takes. No output is written."""
    from producer import display, forecast, forecast_page, incremental
    from producer.draft import draft
    from producer.prepare import engine_for
    from tokenmill.engines import trusted
    from tokenmill.settings import Settings

    with display.err.status("planning"):
        spec, files, corpus = draft(request) if request.generation is None else incremental.look(request)
        if corpus.grows and not corpus.files:
            raise UsageError("nothing is new or changed since the generations before: this one would hold no document.")
        job = forecast.forecast(spec, corpus)
    found = forecast_page.figures(spec, corpus, job, files.ref.sha256)
    if estimate:
        with display.err.status("encoding a little of it"):
            chosen = engine_for(request, spec, files, corpus, job.places)
            encoder = trusted(files.model, spec, chosen.name, Settings.from_environment().cache)
            tried = forecast.pilot(spec, encoder, job.places)
        found["estimate"] = forecast_page.estimate(job, tried, chosen, workers or len(os.sched_getaffinity(0)))
    forecast_page.show(found, as_json=as_json)


@app.command()
def cancel(output: Output) -> None:
    """Stop a job: workers leave its batches within seconds, what is committed stays; the same command or `retry` goes on."""
    from tokenmill.generations import Chain
    from tokenmill.ledger import Ledger

    ledger = Ledger(output)
    if not ledger.has_job() and Chain.around(output).abandon(ledger):
        typer.echo("tokenmill: cancelled; nothing was planned yet.", err=True)
        return
    job = ledger.job()
    if ledger.is_sealed():
        raise UsageError(f"{ledger.output} is sealed; there is nothing to cancel.")
    if job.made_with is not None:
        raise UsageError(f"{ledger.output} is made of the same read as {job.made_with}. Cancel that one.")
    ledger.cancel(job)
    committed = len(ledger.committed())
    typer.echo(f"tokenmill: cancelled; {committed:,} of {job.batches:,} batches are committed and kept.", err=True)


@app.command()
def retry(output: Output, workers: Workers = 0) -> None:
    """Take a job up again that was cancelled, or has parked batches: on the cluster of TOKENMILL_BROKER if set, else here."""
    from producer import service
    from producer.local import admit
    from producer.prepare import Prepared
    from tokenmill.ledger import Ledger
    from tokenmill.settings import Settings

    settings, ledger = Settings.from_environment(), Ledger(output)
    job = ledger.job()
    if ledger.is_sealed():
        raise UsageError(f"{ledger.output} is sealed; there is nothing to retry.")
    if job.made_with is not None:
        raise UsageError(f"{ledger.output} is made of the same read as {job.made_with}. Retry that one.")
    parked = len(ledger.parked())
    if settings.broker is None:
        admit(job.device, workers)
    ledger.take_up()
    prepared = Prepared(job, ledger, len(ledger.committed()), "")
    typer.echo(f"tokenmill: {parked:,} parked batches are taken up again, {prepared.resumed:,} are committed.", err=True)
    if settings.broker is None:
        began = time.monotonic()
        outcome = _drive(prepared, workers)
        _conclude(prepared, outcome, time.monotonic() - began)
    else:
        service.register(settings.home, job, ledger.output)
        typer.echo(ledger.output)


def _run(request: Request, workers: int) -> None:
    """One job from request to seal on this machine."""
    from producer import display
    from producer.local import admit
    from producer.prepare import prepare
    from tokenmill.job import Device

    admit(Device(request.device), workers)
    began = time.monotonic()
    with _told(request):
        with display.err.status("preparing"):
            prepared = prepare(request)
        if _stands(prepared):
            return
        display.introduce(prepared)
        outcome = _drive(prepared, workers)
    _conclude(prepared, outcome, time.monotonic() - began, request)


def _submit(request: Request, follow: bool) -> None:
    """One job to the cluster, and with `follow` to its seal."""
    from producer import display, service
    from producer.dispatch import Dispatcher
    from producer.dispatch import follow as follow_job
    from producer.prepare import prepare
    from producer.queue import BatchQueue, queue_of
    from tokenmill.settings import Settings

    if not follow and (request.notify or request.on_end):
        raise UsageError("--notify and --on-end need somebody who waits for the end. Give --follow too.")
    settings, began = Settings.from_environment(), time.monotonic()
    queue = BatchQueue(broker())
    queue.ping()
    with _told(request), display.err.status("preparing"):
        prepared = prepare(request)
    if _stands(prepared):
        typer.echo(prepared.ledger.output)
        return
    display.introduce(prepared)
    service.register(settings.home, prepared.job, prepared.ledger.output)
    # other workers may be started later; GPUs do not come by themselves
    if request.device == "cuda" and not queue.is_served(queue_of(prepared.job)):
        typer.echo(f"tokenmill: {display.unserved(queue_of(prepared.job))}", err=True)
    if not follow:
        typer.echo(prepared.ledger.output)
        return
    with _told(request), display.LiveProgress() as live:
        outcome = follow_job(Dispatcher(prepared.ledger, queue), live.show, live.note, patience=None)
    _conclude(prepared, outcome, time.monotonic() - began, request)


def _stands(prepared: "Prepared") -> bool:
    """Whether it is a generation that was sealed before; says so."""
    if prepared.generation is None or not prepared.ledger.is_sealed():
        return False
    typer.echo(f"tokenmill: {prepared.generation.says()}; it is sealed already.", err=True)
    return True


def _drive(prepared: "Prepared", workers: int) -> "Outcome":
    """A prepared job to its end on this machine."""
    from producer import display
    from producer.local import run_here
    from tokenmill.settings import Settings

    with display.LiveProgress() as live:
        return run_here(prepared, Settings.from_environment().broker, workers, live.show, live.note)


@contextmanager
def _told(request: Request) -> Iterator[None]:
    """Tell whom the request names if the job fails in the `with` block."""
    from producer import notify

    notify.check(request)
    try:
        yield
    except TokenmillError as error:
        failed = notify.Notice(event="failed", job=None, name=request.name, output=request.output, reason=str(error))
        notify.tell(failed, request.notify, request.on_end)
        raise


def _conclude(prepared: "Prepared", outcome: "Outcome", seconds: float, request: Request | None = None) -> None:
    """Print how the job ended, tell whom the request names, and leave with its status."""
    from producer import display, ending, notify
    from producer.dispatch import Outcome
    from tokenmill.ledger import Ledger

    if request is not None and (request.notify or request.on_end):
        notify.tell(ending.notice(prepared, outcome, seconds), request.notify, request.on_end)
    if outcome is Outcome.PARKED:
        for parked in prepared.ledger.parked():
            typer.echo(f"tokenmill: batch {parked.index:06d} is parked: {parked.reason}", err=True)
        parked_in = prepared.ledger.url("parked")
        typer.echo(f"tokenmill: sealing is impossible; everything else is committed. See {parked_in}.", err=True)
        typer.echo(f"tokenmill: when the cause is mended, run: tokenmill retry {prepared.ledger.output}", err=True)
        raise typer.Exit(Exit.PARKED)
    if outcome is Outcome.CANCELLED:
        typer.echo("tokenmill: cancelled. What is committed is kept; the same command takes the job up again.", err=True)
        raise typer.Exit(Exit.INTERRUPTED)
    for ledger in (prepared.ledger, *map(Ledger, prepared.job.beside)):
        totals, disabled = ledger.totals(), ledger.disabled_engines().values()
        assert totals is not None
        # a rate would not be this run's where an earlier one did part of the work
        display.sealed(totals, prepared.job.batches, ledger.output, None if prepared.resumed else seconds, disabled)
