"""What a job would be: its batches, what cannot be cut, and about how long it would take.

Comes in: a spec, its corpus, and for the time an encoder. Goes out: figures, nothing written. Always holds: the batches are
those of the job itself, and no more of them is kept than figures and a few places; the rate is measured on this host, on the
job's own text, and called what it is: that of a pilot.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from producer.corpus import Corpus
from producer.prepare import Spread, planned
from tokenmill import documents
from tokenmill.columns import gathered
from tokenmill.engines import Encoder
from tokenmill.errors import BatchError, UsageError
from tokenmill.job import Batch, Cut
from tokenmill.spec import JobSpec

#: Source bytes that a pilot reads at each of its places.
PLACE_BYTES = 512 << 10


@dataclass(slots=True)
class Kind:
    """The files of one format and compression."""

    files: int = 0
    bytes: int = 0
    #: Files that one batch has to read from start to end.
    uncut: int = 0


@dataclass(frozen=True, slots=True)
class Forecast:
    """The figures of a plan."""

    batches: int
    bytes: int
    largest: Batch
    kinds: dict[str, Kind]
    #: Some of its batches, spread evenly.
    places: Sequence[Batch] = field(repr=False)

    @property
    def mean(self) -> float:
        return self.bytes / self.batches

    @property
    def skew(self) -> float:
        """How many times the mean the largest batch is."""
        return self.largest.bytes / self.mean if self.mean else 1.0

    def why_largest(self) -> str:
        """What makes the largest batch as large as it is."""
        span = max(self.largest.spans, key=lambda span: span.bytes)
        if 2 * span.bytes < self.largest.bytes:
            return f"{len(self.largest.spans):,} stretches of files"
        what = "a stretch of"
        if span.cut is Cut.WHOLE:
            what = "all of a file that cannot be cut:"
        elif span.cut is not Cut.BYTES and span.stop - span.start == 1:
            what = f"one of the {span.cut.value.replace('_', ' ')} of"
        return f"{what} {span.url}"


def forecast(spec: JobSpec, corpus: Corpus) -> Forecast:
    """Cut the plan and count. Raises UsageError if there is nothing to do."""
    kinds: dict[str, Kind] = {}
    for file in corpus.files:
        kind = kinds.setdefault(_kind(file.url), Kind())
        kind.files += 1
        kind.bytes += file.size
    spread, largest = Spread(), None
    for batch in spread.watching(planned(spec, corpus)):
        for span in batch.spans:
            kinds[_kind(span.url)].uncut += span.cut is Cut.WHOLE
        if largest is None or batch.bytes > largest.bytes:
            largest = batch
    if largest is None:
        raise UsageError("the sources hold no document. Name others.")
    return Forecast(spread.passed, spread.bytes, largest, dict(sorted(kinds.items())), tuple(spread.kept))


def _kind(url: str) -> str:
    """Format and compression, as a file's name says them."""
    suffix = documents.format_of(url).suffix
    return url[url.rindex(suffix) :] if suffix in url else suffix


@dataclass(frozen=True, slots=True)
class Pilot:
    """What one process of this host read and encoded."""

    bytes: int
    seconds: float

    @property
    def rate(self) -> float:
        """Source bytes a second."""
        return self.bytes / self.seconds

    def expects(self, job: Forecast, workers: int) -> float:
        """About the seconds that so many workers take; no batch is done by two."""
        return max(job.bytes / workers, job.largest.bytes) / self.rate


def pilot(spec: JobSpec, encoder: Encoder, places: Iterable[Batch]) -> Pilot | None:
    """Read and encode a little of a job at some places; None if nothing could be read there."""
    encoder.load()  # a worker does that once
    began = time.perf_counter()
    done = sum(_tried(spec, encoder, batch) for batch in places)
    return Pilot(done, time.perf_counter() - began) if done else None


def _tried(spec: JobSpec, encoder: Encoder, batch: Batch) -> int:
    """The source bytes read and encoded at one place."""
    read = 0
    try:
        found = ((some, some.consumed) for some in documents.read(batch.spans[0], spec))
        for (column,) in gathered(found, [(spec.special_tokens, encoder)]):
            encoder.encode(column.text, column.holds_special, column.learned)
            read = column.consumed
            if read >= PLACE_BYTES:
                break
    except BatchError:
        pass  # the worker that gets this file reports it
    return read
