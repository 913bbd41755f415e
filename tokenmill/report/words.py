"""Numbers and settings of a report in words: what page and Markdown both say."""

from tokenmill.job import Job
from tokenmill.manifest import Totals
from tokenmill.report.statistics import Statistics


def short(number: float) -> str:
    """A count with three or four figures: 6.74 M."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return f"{number:,.0f}"


def size(number: float) -> str:
    """Bytes, for people."""
    for unit, one in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= one:
            return f"{number / one:,.1f} {unit}"
    return f"{number:,.0f} bytes"


def duration(seconds: float) -> str:
    """Seconds, for people."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.1f} min" if minutes < 120 else f"{hours:,.1f} h"


def plain(number: float) -> str:
    """A number with the figures that count, and never an exponent."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}" if number >= 0.1 else f"{number:.4f}"


def figure(number: float | None, is_share: bool = False) -> str:
    """A count in full, anything else with the figures that count; a dash for what is not known."""
    if number is None:
        return "–"
    if is_share:
        return f"{number:.2%}"
    return f"{number:,.0f}" if number == int(number) or abs(number) >= 1000 else f"{number:.4g}"


def tiles(found: Statistics) -> dict[str, tuple[str, str]]:
    """The figures that come first: label -> figure, and what it is in full."""
    totals = found.totals
    hours, cost, ratio = found.hours_per_billion, found.cost_per_billion, found.bytes_per_token
    rows = {
        "tokens": (short(totals.tokens), f"{totals.tokens:,}"),
        "documents": (short(totals.documents), _each(found)),
        "rejected": (short(totals.rejected), _share(totals)),
        "text": (size(totals.text_bytes), f"of {size(totals.input_bytes)} as stored"),
        "bytes per token": ("–" if ratio is None else f"{ratio:.2f}", "UTF-8 text a token stands for"),
    }
    if cost is not None:
        rows["cost of a billion tokens"] = (plain(cost), f"at {found.cost_per_hour:g} per worker hour")
    else:
        rows["worker hours"] = ("–" if hours is None else plain(hours), "for a billion tokens")
    return rows


def _each(found: Statistics) -> str:
    return "" if found.tokens_per_document is None else f"{found.tokens_per_document:,.0f} tokens each"


def _share(totals: Totals) -> str:
    read = totals.documents + totals.rejected
    return f"{totals.rejected / read:.2%} of all" if read else ""


def speed(found: Statistics) -> str:
    """One line on how long it took and how fast it went."""
    if not found.wall_seconds:
        return ""
    rate = f"{short(found.totals.tokens / found.wall_seconds)} tokens per second"
    return f"{duration(found.wall_seconds)} from the first batch to the last, {rate}; {duration(found.worker_seconds)} of work"


def live_check(found: Statistics) -> str:
    """What the live check did."""
    every = found.job.check_every
    said = f"one document in {every:,}" if every else "none asked for"
    differ = "no id differed" if not found.disabled else "; ".join(disabled.says() for disabled in found.disabled)
    return f"{said}: {found.checked:,} documents compared with the reference, {differ}"


def identity(found: Statistics) -> dict[str, str]:
    """What made these ids: label -> value."""
    job, totals = found.job, found.totals
    tokenizer, special = totals.tokenizer, f"{totals.documents_with_special_tokens:,} documents hold some"
    one_by_one = f"{found.one_by_one:,} documents, by the reference, where a worker had died or the engine failed"
    rows = {
        "tokenizer": f"{tokenizer.name} ({tokenizer.revision or 'file'}), {tokenizer.vocab_size:,} ids",
        "sha256 of tokenizer.json": tokenizer.sha256,
        "BOS, EOS": f"{totals.bos_token or 'none'}, {totals.eos_token or 'none'}",
        "special tokens in text": f"{totals.special_tokens.value}; {special}",
        "engine": f"{job.engine.name} {job.engine.version}",
        "certification": job.engine.reason,
        "batches by engine": ", ".join(f"{engine}: {count:,}" for engine, count in found.engines.items()) or "none",
        "live check": live_check(found),
        "length": totals.cut() or "as it is",
        "packed": totals.packed(),
        "learned from": totals.learned(),
        "test sets found": totals.found(),
        "order": "as in the sources" if totals.shuffle is None else f"shuffled by seed {totals.shuffle}",
        "shards": f"{job.batches:,} ({totals.format}, {totals.dtype})",
        "sources": ", ".join(job.spec.sources),
        "taken of them": taken(job, totals),
        "of the same read": ", ".join((*job.beside, *filter(None, (job.made_with,)))),
        "versions": ", ".join(f"{name} {version}" for name, version in job.versions.items()),
        "one by one": one_by_one if found.one_by_one else "",
    }
    return {label: value for label, value in rows.items() if value}


def parts(totals: Totals, most: int) -> list[tuple[str, int, int]]:
    """Parts of an output that is split, the largest first: value, tokens, documents; beyond `most` all others in one row."""
    rows = [
        ("(no value)" if part.value is None else part.value, part.tokens, part.documents)
        for part in sorted(totals.parts, key=lambda part: (-part.tokens, part.path))
    ]
    if len(rows) <= most:
        return rows
    shown, others = rows[: most - 1], rows[most - 1 :]
    return [*shown, (f"{len(others):,} others", sum(row[1] for row in others), sum(row[2] for row in others))]


def taken(job: Job, totals: Totals) -> str:
    """Which part of the sources was asked for."""
    spec, sample = job.spec, totals.sample
    globs = [f"--include {glob}" for glob in spec.include] + [f"--exclude {glob}" for glob in spec.exclude]
    if sample is None or not totals.corpus_bytes:
        return ", ".join(globs) or "all"
    asked = f"--sample {sample.share:g}" + (f" --limit {sample.limit:,}" if sample.limit else "")
    found = f"{totals.input_bytes:,} of {totals.corpus_bytes:,} bytes ({totals.input_bytes / totals.corpus_bytes:.2%})"
    return ", ".join([*globs, f"{found} for {asked} --sample-seed {sample.seed}"])
