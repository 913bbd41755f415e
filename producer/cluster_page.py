"""What `tokenmill jobs` and `tokenmill top` show: the jobs that are registered, and the hosts that have workers.

Comes in: a home folder, a broker. Goes out: tables for people, JSON for machines. Always holds: looking changes nothing, and
one job or host that cannot be read hides no other.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import msgspec
import redis
from rich.console import RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from producer import display
from producer.queue import BatchQueue
from producer.service import registered
from tokenmill.broker import JobKeys
from tokenmill.errors import TokenmillError, TransientError
from tokenmill.ledger import Ledger
from tokenmill.roots import Roots
from tokenmill.vitals import GpuVitals, Vitals

#: Seconds between two looks.
LOOK = 2.0
STYLES = {"running": "bold", "waiting": "yellow", "sealed": "green"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredJob:
    """A job that the dispatchers of a home drive."""

    job_id: str
    output: str
    name: str = ""
    #: "running", "waiting" (for a worker), "sealed", "cancelled", "stopped", "parked" or "unreadable".
    state: str
    batches: int = 0
    committed: int = 0
    parked: int = 0
    #: Why it is in this state, where there is more to say.
    why: str = ""


def jobs(home: str, queue: BatchQueue | None, roots: Roots) -> Iterator[RegisteredJob]:
    """All registered jobs, by name of their pointers."""
    for pointer in registered(home):
        try:
            roots.admit(pointer.output)
            yield _job(Ledger(pointer.output), queue)
        except TokenmillError as error:
            yield RegisteredJob(job_id=pointer.job_id, output=pointer.output, state="unreadable", why=str(error))


def _job(ledger: Ledger, queue: BatchQueue | None) -> RegisteredJob:
    job, stopped = ledger.job(), ledger.stopped()
    committed, parked = len(ledger.committed()), len(ledger.parked())
    under_way: set[str] = set()
    if queue is not None:
        try:
            under_way = {sighting.state for sighting in queue.sightings(JobKeys(job.job_id, ledger.output)).values()}
        except redis.RedisError:
            pass  # what the ledger says is true without it
    states = {
        "sealed": ledger.is_sealed(),
        "cancelled": ledger.is_cancelled(),
        "stopped": stopped is not None,
        "parked": parked > 0 and committed + parked >= job.batches,
        "running": bool(under_way - {"sent"}),
    }
    return RegisteredJob(
        job_id=job.job_id,
        output=ledger.output,
        name=job.name,
        state=next((state for state, holds in states.items() if holds), "waiting"),
        batches=job.batches,
        committed=committed,
        parked=parked,
        why=stopped.reason if stopped else "",
    )


def show_jobs(found: Sequence[RegisteredJob], home: str, *, as_json: bool) -> None:
    """All of them, on stdout."""
    if as_json:
        print(json.dumps([asdict(job) for job in found], indent=2))
    elif not found:
        display.out.print(Text(f"no job is registered in {home}/jobs; one that has ended is taken away from there."))
    else:
        table = _table(("job", "name", "state", "batches", "output"), right={"batches"})
        for job in found:
            state = Text(job.state, STYLES.get(job.state, "red"))
            parked = f" ({job.parked:,} parked)" if job.parked else ""
            table.add_row(job.job_id, Text(job.name), state, f"{job.committed:,}/{job.batches:,}{parked}", Text(job.output))
        display.out.print(table)
        for job in found:
            if job.why:
                display.out.print(Text(f"{job.job_id}: {job.why}", "red"))


def show_hosts(hosts: Callable[[], list[Vitals]], *, watch: bool, as_json: bool) -> None:
    """All hosts with workers, on stdout; with `watch` until Ctrl-C. Raises TransientError when the first look sees nothing."""
    found = hosts()
    if watch and display.out.is_terminal and not as_json:
        with Live(_hosts(found), console=display.out, auto_refresh=False) as live:
            for page in _seen(hosts, _hosts):
                live.update(page, refresh=True)
    _print_hosts(found, as_json=as_json, indent=None if watch else 2)
    while watch:
        time.sleep(LOOK)
        try:
            _print_hosts(hosts(), as_json=as_json, indent=None)
        except TransientError as error:
            display.err.print(Text(f"waiting: {error}", "yellow"))


def _seen(hosts: Callable[[], list[Vitals]], page: Callable[[list[Vitals]], RenderableType]) -> Iterator[RenderableType]:
    """Page after page, for ever."""
    while True:
        time.sleep(LOOK)
        try:
            yield page(hosts())
        except TransientError as error:
            yield Text(f"waiting: {error}", "yellow")


def _print_hosts(found: list[Vitals], *, as_json: bool, indent: int | None) -> None:
    if as_json:
        print(json.dumps(msgspec.to_builtins(found), indent=indent), flush=True)
    else:
        display.out.print(_hosts(found))


def _hosts(found: list[Vitals]) -> RenderableType:
    if not found:
        return Text("no host with workers has said anything for ten seconds. Start tokenmill-worker somewhere.", "yellow")
    table = _table(("host", "workers", "cores busy", "memory", "GPU"), right={"cores busy", "memory"})
    for vitals in found:
        gpus = Text("\n".join(map(_gpu, vitals.gpus)) or "–")
        workers = Text(f"{vitals.processes} ({', '.join(vitals.pools)})")
        memory = f"{vitals.memory_bytes / 1e9:.1f}/{vitals.memory_total / 1e9:.0f} GB"
        table.add_row(Text(vitals.host), workers, f"{vitals.busy_cores:.1f}/{vitals.cores}", memory, gpus)
    return table


def _gpu(gpu: GpuVitals) -> str:
    busy = "" if gpu.utilization is None else f"{gpu.utilization:.0%} "
    return f"{gpu.index}: {busy}{gpu.memory_bytes / 1e9:.0f}/{gpu.memory_total / 1e9:.0f} GB"


def _table(columns: Sequence[str], right: set[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table
