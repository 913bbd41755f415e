"""`report.html`: a sealed job on one page for people. Self-contained, light and dark, no script.

Comes in: the job, its totals, its entries. Goes out: HTML text.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from html import escape
from string import Template

from tokenmill.job import Job, ShardEntry
from tokenmill.manifest import Totals

PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$name · tokenmill</title><style>
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); --bar: #3b82c4 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 3rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.05rem; margin: 2.2rem 0 .6rem }
.sub { opacity: .7 } .tiles { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.5rem 0 }
.tile { flex: 1 1 9rem; border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem }
.tile b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
td, th { border-bottom: 1px solid var(--line); padding: .3rem .6rem .3rem 0; text-align: left; vertical-align: top }
td.n, th.n { text-align: right } td.bar { width: 55% } code { font-size: .9em; overflow-wrap: anywhere }
.fill { background: var(--bar); height: .8rem; border-radius: .15rem; min-width: 1px }
</style></head><body>
<h1>$name</h1><div class="sub">sealed job <code>$job_id</code></div>
<div class="tiles">$tiles</div>
<h2>Documents by length</h2><table><tr><th>tokens</th><th class="n">documents</th><th></th></tr>$lengths</table>
<h2>Rejected</h2>$rejected
<h2>Where the time went</h2>
<table><tr><th>worker</th><th class="n">batches</th><th class="n">MB of text per second</th><th></th></tr>
$workers</table><p class="sub">Seconds by stage, all workers: $stages.</p>
<h2>What made these ids</h2><table>$identity</table>
</body></html>
""")


def render(job: Job, totals: Totals, entries: Iterable[ShardEntry]) -> str:
    """The page of a sealed job."""
    seconds: dict[str, float] = defaultdict(float)
    stages: dict[str, float] = defaultdict(float)
    text: dict[str, int] = defaultdict(int)
    batches: dict[str, int] = defaultdict(int)
    engines: Counter[str] = Counter()
    for entry in entries:
        worker = entry.run.worker
        seconds[worker] += entry.run.seconds
        text[worker] += entry.counts.text_bytes
        batches[worker] += 1
        engines[entry.run.engine] += 1
        for stage, spent in entry.run.stages.items():
            stages[stage] += spent
    tiles = {
        "tokens": f"{totals.tokens:,}",
        "documents": f"{totals.documents:,}",
        "rejected": f"{totals.rejected:,}",
        "text": f"{totals.text_bytes / 1e6:,.1f} MB",
        "bytes per token": f"{totals.text_bytes / totals.tokens:.2f}" if totals.tokens else "–",
        "shards": f"{job.batches:,}",
    }
    rates = {worker: text[worker] / 1e6 / seconds[worker] if seconds[worker] else 0.0 for worker in sorted(seconds)}
    return PAGE.substitute(
        name=escape(job.name),
        job_id=job.job_id,
        tiles="".join(f'<div class="tile">{label}<b>{value}</b></div>' for label, value in tiles.items()),
        lengths=_bars(_lengths(totals.document_lengths)),
        rejected=_rejected(totals),
        workers=_bars([(escape(w), f'{batches[w]:,}</td><td class="n">{rate:,.1f}', rate) for w, rate in rates.items()]),
        stages=", ".join(f"{stage} {spent:,.1f}" for stage, spent in stages.items()),
        identity=_identity(job, totals, engines),
    )


def _lengths(counts: tuple[int, ...]) -> list[tuple[str, str, float]]:
    """The rows of the histogram, from the first length that any document has."""
    first = next((k for k, count in enumerate(counts) if count), 0)
    return [(_range(k), f"{counts[k]:,}", float(counts[k])) for k in range(first, len(counts))]


def _range(k: int) -> str:
    return str(k) if k < 2 else f"{1 << (k - 1):,} – {(1 << k) - 1:,}"


def _bars(rows: list[tuple[str, str, float]]) -> str:
    largest = max((size for *_, size in rows), default=0) or 1
    return "".join(
        f'<tr><td>{label}</td><td class="n">{figure}</td>'
        f'<td class="bar"><div class="fill" style="width:{100 * size / largest:.1f}%"></div></td></tr>'
        for label, figure, size in rows
    )


def _rejected(totals: Totals) -> str:
    if not totals.rejected:
        return "<p>None.</p>"
    rows = [(escape(reason), f"{count:,}", float(count)) for reason, count in totals.rejected_by_reason.items()]
    return f"<table>{_bars(rows)}</table><p>Each one stands in <code>rejected/</code>.</p>"


def _taken(job: Job, totals: Totals) -> str:
    spec, sample = job.spec, totals.sample
    globs = [f"--include {glob}" for glob in spec.include] + [f"--exclude {glob}" for glob in spec.exclude]
    if sample is None or not totals.corpus_bytes:
        return ", ".join(globs) or "all"
    asked = f"--sample {sample.share:g}" + (f" --limit {sample.limit:,}" if sample.limit else "")
    found = f"{totals.input_bytes:,} of {totals.corpus_bytes:,} bytes ({totals.input_bytes / totals.corpus_bytes:.2%})"
    return ", ".join([*globs, f"{found} for {asked} --sample-seed {sample.seed}"])


def _identity(job: Job, totals: Totals, engines: Counter[str]) -> str:
    tokenizer = totals.tokenizer
    holding = f"{totals.documents_with_special_tokens:,} documents hold some"
    rows = {
        "tokenizer": f"{tokenizer.name} ({tokenizer.revision or 'file'}), {tokenizer.vocab_size:,} ids",
        "sha256 of tokenizer.json": tokenizer.sha256,
        "BOS, EOS": f"{totals.bos_token or 'none'}, {totals.eos_token or 'none'}",
        "order": "as in the sources" if totals.shuffle is None else f"shuffled by seed {totals.shuffle}",
        "length": totals.cut() or "as it is",
        "packed": totals.packed() or "no",
        "special tokens in text": f"{totals.special_tokens.value}; {holding}",
        "engine chosen": f"{job.engine.name} {job.engine.version}: {job.engine.reason}",
        "batches by engine": ", ".join(f"{engine}: {count:,}" for engine, count in sorted(engines.items())) or "none",
        "shards": f"{totals.format}, {totals.dtype}",
        "sources": ", ".join(job.spec.sources),
        "taken of them": _taken(job, totals),
        "versions": ", ".join(f"{name} {version}" for name, version in job.versions.items()),
    }
    return "".join(f"<tr><td>{label}</td><td><code>{escape(value)}</code></td></tr>" for label, value in rows.items())
