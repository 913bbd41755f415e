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
from operator import attrgetter

import numpy as np

from producer.sample import PIECE, Sample, ticket
from tokenmill import documents
from tokenmill.documents import Frames
from tokenmill.job import Batch, Cut, Span
from tokenmill.shuffle import PLAN, order
from tokenmill.spec import JobSpec

#: Without --batch-bytes a corpus is cut into about this many batches, so that small ones too keep many workers busy …
BATCHES = 64
#: … but never into batches smaller or larger than these bytes: the queue must cost nothing, and a batch take seconds.
SMALLEST, LARGEST = 4 << 20, 256 << 20

#: A shuffled batch is dealt about this many pieces from anywhere …
PIECES = 16
#: … none smaller than this, as far as batches are not: what is read around a piece must not cost more than the piece.
SMALLEST_PIECE = 1 << 20
#: What a piece of a file is, beside the file.
NUMBERS = attrgetter("start", "stop", "bytes", "plain_start", "plain_stop")


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
    #: Where an archive can be begun in its middle; None if nowhere, or if that is not known.
    frames: Frames | None = None


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
            size = spans[-1].bytes + piece.bytes
            piece = replace(spans.pop(), stop=piece.stop, bytes=size, plain_stop=piece.plain_stop)
        spans.append(piece)
    return tuple(spans)


def _shuffled(pieces: Iterable[Span], seed: int) -> Iterator[Span]:
    """All pieces in the order of a seed; they wait as numbers: 48 bytes each, 0.8 GB for a million large batches."""
    files: list[Span] = []
    numbers = array("q")
    for piece in pieces:
        if not files or files[-1].url != piece.url:
            files.append(piece)
        numbers.extend((len(files) - 1, *NUMBERS(piece)))
    for place in order(seed, PLAN, len(numbers) // 6):
        file, start, stop, size, plain_start, plain_stop = numbers[6 * place : 6 * place + 6]
        yield replace(files[file], start=start, stop=stop, bytes=size, plain_start=plain_start, plain_stop=plain_stop)


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
    aim = _aimed_at(spec)
    cut = documents.cut_of(file.url, spec)
    piece = partial(Span, url=file.url, cut=cut, size=file.size, mark=file.mark)
    ranges = max(1, round(file.size / aim) if every is None else math.ceil(file.size / every))
    ends = (min(file.size, number * every) if every else file.size * number // ranges for number in range(ranges + 1))
    if file.pieces is not None:
        for number, size in enumerate(file.pieces):
            yield piece(start=number, stop=number + 1, bytes=size)
    elif cut is Cut.BYTES and file.ranged:
        for start, stop in pairwise(ends):
            yield piece(start=start, stop=stop, bytes=stop - start)
    elif cut is Cut.FRAMES and file.frames is not None and ranges > 1:
        edges, plain = file.frames.edges, file.frames.plain
        cuts = np.unique(np.searchsorted(edges, list(ends)))
        for (start, stop), (begin, end) in zip(pairwise(edges[cuts].tolist()), pairwise(plain[cuts].tolist()), strict=True):
            yield piece(start=start, stop=stop, bytes=stop - start, plain_start=begin, plain_stop=end)
    else:
        yield piece(cut=Cut.WHOLE, start=0, stop=0, bytes=file.size)


def is_worth_cutting(size: int, spec: JobSpec) -> bool:
    """Whether a file of so many bytes would become more than one piece, if it can be cut anywhere."""
    return spec.sample is not None or round(size / _aimed_at(spec)) > 1


def _aimed_at(spec: JobSpec) -> int:
    """About the bytes of a piece, where a file can be cut anywhere."""
    aim = spec.batch_bytes
    return aim if spec.shuffle is None else max(aim // PIECES, min(aim, SMALLEST_PIECE))
