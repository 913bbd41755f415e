"""The plan: source files and a spec in, batches out. Pure.

Always holds: every byte (or row group, or record batch) of every file, or of the sample, is in exactly one span, in order;
batches are as even as the files' cuts allow; the plan depends on the sources and the spec alone, never on who will work on it
(law 2).
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from producer.sample import PIECE, Sample, ticket
from tokenmill import documents
from tokenmill.job import Batch, Cut, JobSpec, Span

#: Without --batch-bytes a corpus is cut into about this many batches, so that small ones too keep many workers busy …
BATCHES = 64
#: … but never into batches smaller or larger than these bytes: the queue must cost nothing, and a batch take seconds.
SMALLEST, LARGEST = 4 << 20, 256 << 20


@dataclass(frozen=True, slots=True)
class Plannable:
    """A source file with what its footer says."""

    url: str
    size: int
    #: Modification mark, as the listing gave it.
    mark: str
    #: Bytes of each row group or record batch; None for files without.
    pieces: tuple[int, ...] | None = None
    #: Whether any stretch of it can be read by itself.
    ranged: bool = True
    #: Its path below the folder that was named.
    name: str = ""


def batch_bytes_for(total: int) -> int:
    """The bytes to aim at per batch, for a corpus of `total` bytes."""
    return min(max(total // BATCHES, SMALLEST), LARGEST)


def plan(files: Iterable[Plannable], spec: JobSpec, sample: Sample | None = None) -> Iterator[Batch]:
    """Cut files into batches of about `spec.batch_bytes`: at most a quarter more, unless one piece cannot be cut.

    Args:
        sample: which pieces are taken; None for all.
    """
    index, spans, size = 0, list[Span](), 0
    for file in files:
        for span in _pieces(file, spec) if sample is None else _sampled(file, spec, sample):
            if spans and size + span.bytes > spec.batch_bytes * 5 // 4:
                yield Batch(index=index, spans=tuple(spans))
                index, spans, size = index + 1, [], 0
            if spans and spans[-1].url == span.url and spans[-1].stop == span.start:
                previous = spans.pop()
                span = replace(previous, stop=span.stop, bytes=previous.bytes + span.bytes)
                size -= previous.bytes
            spans.append(span)
            size += span.bytes
    if spans:
        yield Batch(index=index, spans=tuple(spans))


def tickets(files: Iterable[Plannable], spec: JobSpec, seed: int) -> Iterator[tuple[int, int]]:
    """Ticket and bytes of every piece that a sample may take."""
    for file in files:
        for number, span in enumerate(_pieces(file, spec, PIECE)):
            yield ticket(seed, file.name, file.size, number), span.bytes


def _sampled(file: Plannable, spec: JobSpec, sample: Sample) -> Iterator[Span]:
    """Those of a file's pieces that a sample takes."""
    for number, span in enumerate(_pieces(file, spec, PIECE)):
        if sample.takes(file.name, file.size, number):
            yield span


def _pieces(file: Plannable, spec: JobSpec, every: int | None = None) -> Iterator[Span]:
    """A file in pieces of at most one and a half times the batch size, as far as its format can be cut.

    Args:
        every: bytes of each piece instead, but for the last, where it can be cut anywhere.
    """
    cut = documents.cut_of(file.url, spec)
    piece = partial(Span, url=file.url, cut=cut, size=file.size, mark=file.mark)
    if file.pieces is not None:
        for number, size in enumerate(file.pieces):
            yield piece(start=number, stop=number + 1, bytes=size)
    elif cut is Cut.BYTES and file.ranged:
        ranges = max(1, round(file.size / spec.batch_bytes) if every is None else math.ceil(file.size / every))
        ends = (min(file.size, number * every) if every else file.size * number // ranges for number in range(ranges + 1))
        for start, stop in pairwise(ends):
            yield piece(start=start, stop=stop, bytes=stop - start)
    else:
        yield piece(cut=Cut.WHOLE, start=0, stop=0, bytes=file.size)
