"""What `tokenmill status` shows, once or for as long as a job goes on: for people in 80 columns, for machines a line a change.

Comes in: a ledger, and the broker's address if there is one. Goes out: a page on the terminal, plain lines where there is none,
or JSON. Always holds: watching writes nothing anywhere, waits out whatever may pass, and ends with the job.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from producer import display
from producer.pace import Pace
from producer.progress import Progress, Tally, look
from tokenmill.errors import TransientError
from tokenmill.ledger import Ledger

#: Seconds between two looks at a job, and between two lines where there is no terminal.
LOOK, QUIET = 1.0, 10.0
#: Rows of a table; the rest is counted.
ROWS = 12


class Look:
    """Looks at a job, again and again."""

    def __init__(self, ledger: Ledger, broker: str | None) -> None:
        self._tally, self._broker, self._pace = Tally(ledger), broker, Pace()
        #: What kept the last look from seeing anything; passes by itself.
        self.trouble = ""

    def now(self) -> Progress:
        """Where the job is. Raises TransientError when storage is away."""
        return look(self._tally, self._broker, self._pace)

    def until_it_ends(self) -> Iterator[Progress]:
        """Where the job is, once a second, and at last how it ended."""
        progress = self.now()
        yield progress
        while not (progress.ended or progress.given_up):
            time.sleep(LOOK)
            try:
                progress, self.trouble = self.now(), ""
            except TransientError as error:
                self.trouble = str(error)
            yield progress


def once(progress: Progress, output: str, *, as_json: bool) -> None:
    """One look, on stdout."""
    if as_json:
        print(json.dumps(progress.summary(), indent=2))
    else:
        display.out.print(page(progress, output))


def watch(looks: Look, output: str, *, as_json: bool) -> None:
    """Stay until the job has ended, on stdout."""
    if as_json:
        _lines_for_machines(looks)
    elif display.out.is_terminal:
        with Live(console=display.out, auto_refresh=False, vertical_overflow="crop") as live:
            for progress in looks.until_it_ends():
                live.update(page(progress, output, looks.trouble), refresh=True)
    else:
        _lines(looks, output)


def _lines_for_machines(looks: Look) -> None:
    """One JSON object for each change."""
    last: dict[str, Any] = {}
    for progress in looks.until_it_ends():
        found = progress.summary()
        # time goes by without anything having changed
        standing = {name: value for name, value in found.items() if name not in ("bytes_per_second", "seconds_left")}
        standing["running"] = {name: value | {"seconds": 0} for name, value in found["running"].items()}
        if standing != last:
            print(json.dumps(found), flush=True)
            last = standing


def _lines(looks: Look, output: str) -> None:
    """A plain line now and then, as long as something moves, and the page at the end."""
    shown, last = float("-inf"), ""
    progress = None
    for progress in looks.until_it_ends():
        figures = f"{display.figures(progress)} · {display.speed(progress)}"
        line = f"waiting: {looks.trouble}" if looks.trouble else f"{progress.committed:,}/{progress.job.batches:,} · {figures}"
        if not (progress.ended or progress.given_up) and line != last and time.monotonic() - shown >= QUIET:
            print(line, flush=True)
            shown, last = time.monotonic(), line
    if progress is not None:
        display.out.print(page(progress, output))


def page(progress: Progress, output: str, trouble: str = "") -> RenderableType:
    """A job in 80 columns: how far, how fast, for how long, who is at it, what is wrong and what to do about it."""
    rows: list[RenderableType] = [
        Text.assemble((progress.job.name, "bold"), f"  {progress.job.job_id}  ", _state(progress)),
        display.bar(progress),
        Text(display.figures(progress)),
    ]
    if progress.at_work:
        rows.append(Text(display.speed(progress)))
    if progress.running:
        rows += ["", _workers(progress)]
    remarks = list(_remarks(progress, output, trouble))
    return Group(*rows, *([""] if remarks else []), *remarks)


def _state(progress: Progress) -> tuple[str, str]:
    """One word, and how it is shown."""
    states = {
        ("sealed", "bold green"): progress.sealed,
        ("cancelled", "yellow"): progress.cancelled,
        ("stopped", "red"): progress.stopped,
        ("parked", "red"): progress.given_up,
        ("running", "bold"): progress.at_work,
    }
    return next((state for state, holds in states.items() if holds), ("not running", "yellow"))


def _workers(progress: Progress) -> Table:
    """Who is at work at what."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("worker", overflow="ellipsis", no_wrap=True, max_width=28)
    for column in ("batch", "for", "documents", "tokens", "tokens/s"):
        table.add_column(column, justify="right", no_wrap=True)
    running = sorted(progress.running.items(), key=lambda item: (item[1].worker, item[0]))
    for index, sighting in running[:ROWS]:
        speed = sighting.tokens / sighting.seconds if sighting.seconds >= 2 else progress.speeds.get(sighting.worker)
        table.add_row(
            Text(sighting.worker),
            f"{index:06d}",
            f"{sighting.seconds:.0f} s" if sighting.seconds < 60 else display.duration(sighting.seconds),
            f"{sighting.documents:,}",
            f"{sighting.tokens:,}",
            Text("waits", "yellow") if sighting.waiting_for else display.short(speed) if speed else "–",
        )
    if len(running) > ROWS:
        table.add_row(Text(f"… and {len(running) - ROWS:,} more", "dim"))
    return table


def _remarks(progress: Progress, output: str, trouble: str) -> Iterator[RenderableType]:
    """What is wrong, and what to do about it."""
    if trouble:
        yield Text(f"waiting: {trouble}", "yellow")
    for reason in sorted({sighting.waiting_for for sighting in progress.running.values() if sighting.waiting_for}):
        yield Text(f"waiting: {reason}", "yellow")
    if progress.unserved:
        yield Text(f"waiting: {display.unserved(progress.unserved)}", "yellow")
    for disabled in progress.disabled:
        yield Text(disabled.says(), "yellow")
    for batch in progress.parked[:3]:
        yield Text(f"parked {batch.index:06d}: {batch.reason}", "red")
    if len(progress.parked) > 3:
        yield Text(f"… and {len(progress.parked) - 3:,} more parked batches, in {output}/parked", "red")
    if progress.stopped:
        yield Text(f"stopped: {progress.stopped}", "red")
    if progress.sealed:
        yield Text(f"the report: {output}/report.html", "dim")
    elif progress.parked:
        yield f"What to do: mend the cause, then run: [bold]tokenmill retry {escape(output)}[/]"
    elif progress.cancelled:
        yield f"What to do: to go on, run: [bold]tokenmill retry {escape(output)}[/]"
    elif not progress.at_work and not progress.stopped and not progress.under_way:
        yield "Nobody is at work on it, as far as this machine sees; the command that began it takes it up again."
