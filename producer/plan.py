"""The plan: source files and a spec in, batches out. Pure.

Always holds: every byte (or row group, or record batch) of every file, or of the sample, is in exactly one span, in order
unless the job is shuffled; batches are as even as the files' cuts allow; the plan depends on the sources and the spec alone,
never on who will work on it (law 2).
"""

import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from producer.sample import PIECE, Sample, ticket
from tokenmill import documents
from tokenmill.job import Batch, Cut, JobSpec, Span
from tokenmill.shuffle import PLAN, order

#: Without --batch-bytes a corpus is cut into about this many batches, so that small ones too keep many workers busy …
BATCHES = 64
#: … but never into batches smaller or larger than these bytes: the queue must cost nothing, and a batch take seconds.
SMALLEST, LARGEST = 4 << 20, 256 << 20

#: A shuffled batch is dealt about this many pieces from anywhere …
PIECES = 16
#: … none smaller than this, as far as batches are not: what is read around a piece must not cost more than the piece.
SMALLEST_PIECE = 1 << 20


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
    pieces = (piece for file in files for piece in (_pieces(file, spec) if sample is None else _sampled(file, spec, sample)))
    index, taken, size = 0, list[Span](), 0
    for piece in pieces if spec.shuffle is None else _shuffled(pieces, spec.shuffle):
        if taken and size + piece.bytes > spec.batch_bytes * 5 // 4:
            yield Batch(index=index, spans=_merged(taken))
            index, taken, size = index + 1, [], 0
        taken.append(piece)
        size += piece.bytes
    if taken:
        yield Batch(index=index, spans=_merged(taken))


def _merged(pieces: list[Span]) -> tuple[Span, ...]:
    """The same stretches in source order, neighbours joined."""
    spans: list[Span] = []
    for piece in sorted(pieces, key=lambda piece: (piece.url, piece.start)):
        if spans and spans[-1].url == piece.url and spans[-1].stop == piece.start:
            piece = replace(spans[-1], stop=piece.stop, bytes=spans.pop().bytes + piece.bytes)
        spans.append(piece)
    return tuple(spans)


def _shuffled(pieces: Iterable[Span], seed: int) -> Iterator[Span]:
    """All pieces in the order of a seed; they wait as numbers: 32 bytes each, half a gigabyte for a million large batches."""
    files: list[Span] = []
    numbers = array("q")
    for piece in pieces:
        if not files or files[-1].url != piece.url:
            files.append(piece)
        numbers.extend((len(files) - 1, piece.start, piece.stop, piece.bytes))
    for place in order(seed, PLAN, len(numbers) // 4):
        file, start, stop, size = numbers[4 * place : 4 * place + 4]
        yield replace(files[file], start=start, stop=stop, bytes=size)


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
    """A file in pieces of at most one and a half times the size aimed at, as far as its format can be cut.

    Args:
        every: bytes of each piece instead, but for the last, where it can be cut anywhere.
    """
    aim = spec.batch_bytes
    if spec.shuffle is not None:
        aim = max(aim // PIECES, min(aim, SMALLEST_PIECE))
    cut = documents.cut_of(file.url, spec)
    piece = partial(Span, url=file.url, cut=cut, size=file.size, mark=file.mark)
    if file.pieces is not None:
        for number, size in enumerate(file.pieces):
            yield piece(start=number, stop=number + 1, bytes=size)
    elif cut is Cut.BYTES and file.ranged:
        ranges = max(1, round(file.size / aim) if every is None else math.ceil(file.size / every))
        ends = (min(file.size, number * every) if every else file.size * number // ranges for number in range(ranges + 1))
        for start, stop in pairwise(ends):
            yield piece(start=start, stop=stop, bytes=stop - start)
    else:
        yield piece(cut=Cut.WHOLE, start=0, stop=0, bytes=file.size)
