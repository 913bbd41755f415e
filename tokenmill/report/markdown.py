"""A job in Markdown, short enough for a pull request.

Comes in: `Statistics`. Goes out: text of GitHub's kind. Always holds: what others have named stands in it as text: no markup,
no link, no mention comes of it.
"""

from collections.abc import Iterable, Sequence

from tokenmill.report import words
from tokenmill.report.statistics import Statistics

#: Rows of a table.
ROWS = 8
#: What means something in Markdown or HTML, and what stands for it.
MEANING = {ord(sign): f"&#{ord(sign)};" for sign in "&<>|`*_[]()#@!~\\$"}


def markdown(found: Statistics) -> str:
    """The job's summary."""
    totals = found.totals
    state = "sealed" if found.sealed else f"{found.committed:,} of {found.job.batches:,} batches done"
    parts = [
        f"### {text(found.job.name)}: {totals.tokens:,} tokens",
        f"Job `{found.job.job_id}`, {state}. {words.speed(found)}".rstrip(),
        table(("", ""), ((label, f"{figure} {full and f'({full})'}") for label, (figure, full) in words.tiles(found).items())),
    ]
    if len(found.sources) > 1:
        rows = [(text(source.name), f"{source.tokens:,}", f"{source.documents:,}") for source in found.sources]
        parts.append(table(("source", "tokens", "documents"), rows[:ROWS]))
        parts += [f"… and {len(rows) - ROWS} more."] if len(rows) > ROWS else []
    if totals.parts:
        rows = [(text(value), f"{tokens:,}", f"{documents:,}") for value, tokens, documents in words.parts(totals, ROWS)]
        parts.append(table((text(totals.partition_by or ""), "tokens", "documents"), rows))
    if totals.rejected:
        reasons = sorted(totals.rejected_by_reason.items(), key=lambda reason: -reason[1])
        parts.append(table(("rejected because", "documents"), [(text(reason), f"{count:,}") for reason, count in reasons]))
    identity = words.identity(found)
    kept = ("tokenizer", "engine", "live check", "length", "packed", "learned from", "order", "shards", "of the same read")
    parts.append(table(("", ""), [(label, text(identity[label])) for label in kept if label in identity]))
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are Markdown already."""
    lines = [head, ["---", *("---:" for _ in head[1:])] if head[1] else ["---" for _ in head], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def text(said: str) -> str:
    """What somebody else has written, as text in one line."""
    return " ".join(said.split()).translate(MEANING)
