"""The plan: source files and a spec in, batches out. Pure.

Always holds: every byte (or row group) of every file is in exactly one span, in order unless the job is shuffled; batches are
as even as the files' cuts allow; the plan depends on the sources and the spec alone, never on who will work on it (law 2).
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

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
    #: Bytes of each row group; None for files without.
    row_groups: tuple[int, ...] | None = None


def batch_bytes_for(total: int) -> int:
    """The bytes to aim at per batch, for a corpus of `total` bytes."""
    return min(max(total // BATCHES, SMALLEST), LARGEST)


def plan(files: Iterable[Plannable], spec: JobSpec) -> Iterator[Batch]:
    """Cut files into batches of about `spec.batch_bytes`: at most a quarter more, unless one piece cannot be cut."""
    pieces = (piece for file in files for piece in _pieces(file, spec))
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


def _pieces(file: Plannable, spec: JobSpec) -> Iterator[Span]:
    """A file in pieces of at most one and a half times the size aimed at, as far as its format can be cut."""
    aim = spec.batch_bytes
    if spec.shuffle is not None:
        aim = max(aim // PIECES, min(aim, SMALLEST_PIECE))
    cut = documents.cut_of(file.url, spec)
    piece = partial(Span, url=file.url, cut=cut, size=file.size, mark=file.mark)
    if file.row_groups is not None:
        for group, size in enumerate(file.row_groups):
            yield piece(start=group, stop=group + 1, bytes=size)
    elif cut is Cut.BYTES:
        ranges = max(1, round(file.size / aim))
        ends = (file.size * number // ranges for number in range(ranges + 1))
        for start, stop in pairwise(ends):
            yield piece(start=start, stop=stop, bytes=stop - start)
    else:
        yield piece(cut=Cut.WHOLE, start=0, stop=0, bytes=file.size)
