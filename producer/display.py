"""What a person sees on the terminal: a live line while a job runs, short pages for inspect and doctor.

Everything live goes to stderr; results go to stdout. Not a terminal: no bar, a plain line now and then.
"""

import json
import math
import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from producer.pace import TimeLeft
from producer.prepare import Prepared
from producer.progress import Progress
from tokenmill.broker import GPU_QUEUE
from tokenmill.job import DisabledEngine
from tokenmill.manifest import Totals

#: Seconds between lines where there is no terminal.
QUIET_PERIOD = 10.0
#: Parts of an output that are named.
PARTS = 8

err = Console(stderr=True, highlight=False)
out = Console(highlight=False)


def bar(progress: Progress) -> RenderableType:
    """How far a job is, in one line."""
    job = progress.job
    share = progress.input_bytes / job.source_bytes if job.source_bytes else 1.0
    line = Table.grid(padding=(0, 1), expand=True)
    line.add_column(ratio=1)
    line.add_column(justify="right", no_wrap=True)
    line.add_row(
        ProgressBar(total=1.0, completed=min(share, 1.0), complete_style="cyan", finished_style="green"),
        f"{share:.0%}  {progress.committed:,}/{job.batches:,} batches",
    )
    return line


def live(progress: Progress) -> RenderableType:
    """The live view of a job that this process drives: a bar, the figures, what waits."""
    rows: list[RenderableType] = [
        Text(progress.job.name, style="bold"),
        bar(progress),
        Text(f"{figures(progress)} · {speed(progress)}", style="dim"),
    ]
    waits = sorted({sighting.waiting_for for sighting in progress.running.values() if sighting.waiting_for})
    rows += [Text(f"waiting: {reason}", style="yellow") for reason in waits]
    rows += [Text(f"parked {batch.index:06d}: {batch.reason}", style="red") for batch in progress.parked[:3]]
    rows += [Text(disabled.says(), style="yellow") for disabled in progress.disabled]
    return Group(*rows)


def figures(progress: Progress) -> str:
    """Documents, tokens and rejected, as plain text."""
    counts = {"documents": progress.documents, "tokens": progress.tokens, "rejected": progress.rejected}
    return " · ".join(f"{short(count)} {name}" for name, count in counts.items())


def speed(progress: Progress) -> str:
    """How fast a job goes and for how long still, as plain text."""
    pace = f"{progress.pace / 1e6:.1f} MB/s" if progress.pace else "– MB/s"
    return f"{pace} · " + ("time left: too early to tell" if progress.left is None else f"{time_left(progress.left)} left")


class LiveProgress:
    """Shows a job while the `with` block lasts: a live bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self) -> None:
        self._live = Live(console=err, transient=True, refresh_per_second=8) if err.is_terminal else None
        self._shown, self._noted = time.monotonic(), ""

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, progress: Progress) -> None:
        """Where the job is."""
        if self._live is not None:
            self._live.update(live(progress))
        elif time.monotonic() - self._shown > QUIET_PERIOD:
            self._shown = time.monotonic()
            batches = f"{progress.committed}/{progress.job.batches} batches"
            print(f"{batches} · {figures(progress)} · {speed(progress)}", file=sys.stderr, flush=True)

    def note(self, trouble: str) -> None:
        """Trouble that may pass; each kind is said once."""
        if trouble != self._noted:
            self._noted = trouble
            err.print(Text(f"waiting: {trouble}", style="yellow"))


def introduce(prepared: Prepared) -> None:
    """Say on stderr what is about to be done."""
    job = prepared.job
    if prepared.generation is not None:
        print(f"growing    {prepared.generation.says()}", file=sys.stderr)
        if prepared.generation.changed:
            print(f"note       {prepared.generation.warns()}", file=sys.stderr)
    size = f"{job.source_files:,} files, {job.source_bytes / 1e6:,.1f} MB, {job.batches:,} batches"
    print(f"job        {job.job_id}: {size}", file=sys.stderr)
    print(f"tokenizer  {job.tokenizer.name}: {job.tokenizer.vocab_size:,} ids, {job.spec.dtype}", file=sys.stderr)
    print(f"ends       BOS {job.spec.bos_token or 'none'}, EOS {job.spec.eos_token or 'none'}", file=sys.stderr)
    if (pack := job.spec.pack) is not None:
        print(f"packed     rows of {pack.length:,} ({pack.method}), filled with {pack.pad_token}", file=sys.stderr)
    print(f"engine     {job.engine.name} {job.engine.version}: {job.engine.reason}", file=sys.stderr)
    for one in job.spec.held_out:
        short = f", {one.short:,} of them too short to be found" if one.short else ""
        print(f"test set   {one.name}: {one.strings:,} texts{short}", file=sys.stderr)
    if prepared.passed_over:
        print(f"note       passed over files that are no sources: {prepared.passed_over}", file=sys.stderr)
    if prepared.resumed:
        print(f"resuming   {prepared.resumed:,} of {job.batches:,} batches are done already", file=sys.stderr)


def sealed(totals: Totals, shards: int, output: str, seconds: float | None, disabled: Iterable[DisabledEngine] = ()) -> None:
    """The summary of a sealed job, on stdout."""
    table = Table.grid(padding=(0, 2))
    table.add_row("documents", f"{totals.documents:,}")
    table.add_row("tokens", f"{totals.tokens:,}")
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in totals.rejected_by_reason.items())
    table.add_row("rejected", f"{totals.rejected:,}" + (f"  ({reasons})" if reasons else ""))
    if cut := totals.cut():
        table.add_row("length", cut)
    if packed := totals.packed():
        table.add_row("packed", packed)
    if learned := totals.learned():
        table.add_row("learned", learned)
    if found := totals.found():
        table.add_row("test sets", f"found: {found}")
    if totals.documents_with_special_tokens:
        what = {"text": "kept as text", "parse": "parsed", "reject": "rejected"}[totals.special_tokens.value]
        table.add_row("special", f"{totals.documents_with_special_tokens:,} documents hold a special token's string, {what}")
    if totals.parts:
        most = sorted(totals.parts, key=lambda part: -part.tokens)[:PARTS]
        named = ", ".join(f"{part.value or 'none'} {part.tokens:,}" for part in most)
        rest = f", {len(totals.parts) - PARTS:,} more" if len(totals.parts) > PARTS else ""
        table.add_row("parts", f"{len(totals.parts):,} by {totals.partition_by}: {named}{rest} tokens")
    table.add_row("shards", f"{shards:,} ({totals.format}, {totals.dtype})")
    if seconds:
        rate = f"{totals.text_bytes / 1e6 / seconds:.1f} MB/s, {totals.tokens / seconds / 1e6:.2f} M tokens/s"
        table.add_row("speed", f"{rate}, start-up included")
    for engine in disabled:
        table.add_row("engine", Text(engine.says(), style="yellow"))
    out.print(Text.assemble(("sealed", "bold green"), f" {output}", f" in {duration(seconds)}" if seconds else ""))
    out.print(table)


def unserved(queue: str) -> str:
    """What to do about a queue that no worker serves."""
    if queue == GPU_QUEUE:
        what = "Start tokenmill-worker on a host that has a GPU, or ask for the same job again with --device auto."
    else:
        what = "Start tokenmill-worker somewhere."
    return f"no worker serves the queue {queue}. {what}"


def document(number: int, ids: list[int], text: str) -> None:
    """One decoded document."""
    shown = ids if len(ids) <= 24 else [*ids[:16], "…", *ids[-4:]]
    body = text if len(text) <= 800 else f"{text[:600]}\n … {len(text) - 700:,} characters …\n{text[-100:]}"
    out.print(Text(f"document {number}: {len(ids):,} tokens", style="bold"))
    out.print(Text(" ".join(map(str, shown)), style="dim"))
    out.print(Text(body))


def finding(part: str, works: bool, needed: bool, said: str) -> None:
    """One line of `tokenmill doctor`."""
    mark, style = ("ok", "green") if works else ("broken", "red") if needed else ("not here", "yellow")
    out.print(Text.assemble((f"{mark:9}", style), (f"{part:18}", "bold"), said))


def facts(found: dict[str, Any], as_json: bool) -> None:
    """Names and values, on stdout."""
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            print(f"{name:20} {value:,}" if isinstance(value, int) else f"{name:20} {value}")


def short(number: float) -> str:
    """A count in at most five characters or so."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if number >= size:
            return f"{number / min(size, 1e3 if unit == 'k' else size):.1f} {unit}"
    return f"{number:,.0f}"


def duration(seconds: float | None) -> str:
    """Seconds for people."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def time_left(left: TimeLeft) -> str:
    """A range for people, no finer than anybody can know."""
    unit, one = ("h", 3600) if left.most > 2 * 3600 else ("min", 60) if left.most > 120 else ("s", 1)
    grain = 5 if unit == "s" and left.most > 20 else 1
    least = int(left.least / one / grain) * grain
    most = math.ceil(left.most / one / grain) * grain
    if least == 0 < most:
        return f"at most {most} {unit}"
    return f"about {most} {unit}" if least == most else f"{least}–{most} {unit}"
