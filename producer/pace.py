"""How fast a job goes, and for how long it will still go: a range, and nothing while it is too early to tell.

Comes in: how far the job was at some moments, and when its batches ended. Goes out: source bytes per second, the `TimeLeft`.
Always holds: a range is as wide as the rates it is made of were different, and never narrower than a tenth either way: nobody
knows what the rest of a corpus is like.
"""

import math
import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

#: Seconds of history that the pace is taken from, and the range.
WINDOW, HISTORY = 30.0, 120.0
#: Stretches that a history is cut into: how much their rates differ says how sure anybody can be.
STRETCHES = 6
#: It is too early to tell before so many seconds have been seen, or so many batches have ended.
SEEN, ENDED = 10.0, 8
#: The narrowest a range may be, and the slowest end of one, as shares of the mean rate.
NARROWEST, SLOWEST = 0.1, 0.25


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """Between how many seconds and how many a job will still take, if it goes on as it does."""

    least: float
    most: float


class Pace:
    """What one who watches a job has seen of its progress."""

    def __init__(self) -> None:
        #: Seconds by this host's clock, source bytes.
        self._samples: deque[tuple[float, int]] = deque()

    def __call__(self, input_bytes: int) -> float | None:
        """Note how far the job is now, and return its source bytes per second over the last WINDOW seconds."""
        now = time.monotonic()
        self._samples.append((now, input_bytes))
        while now - self._samples[0][0] > HISTORY and len(self._samples) > 2:
            self._samples.popleft()
        then, before = next((sample for sample in self._samples if now - sample[0] <= WINDOW), self._samples[-1])
        seconds = now - then
        return (input_bytes - before) / seconds if seconds > 0.5 and input_bytes > before else None

    def left(self, remaining: int, ended: Sequence[tuple[float, int]]) -> TimeLeft | None:
        """For how long a job will still go.

        Args:
            remaining: source bytes.
            ended: when its last batches ended, by any clock, and the source bytes of each; in that order.
        """
        if self._samples and self._samples[-1][0] - self._samples[0][0] >= SEEN:
            return time_left(remaining, _rates(self._samples))
        ended = [one for one in ended if ended[-1][0] - one[0] <= HISTORY]  # a job may have been taken up again
        if len(ended) < ENDED:
            return None
        sums, total = [(ended[0][0], 0)], 0
        for when, size in ended[1:]:
            total += size
            sums.append((when, total))
        return time_left(remaining, _rates(sums))


def time_left(remaining: int, rates: Sequence[float]) -> TimeLeft | None:
    """The range that some rates, of stretches of equal length, give; None where they give none."""
    mean = statistics.fmean(rates) if len(rates) > 1 else 0.0
    if mean <= 0:
        return None
    doubt = max(NARROWEST * mean, 2 * statistics.stdev(rates) / math.sqrt(len(rates)))
    return TimeLeft(remaining / (mean + doubt), remaining / max(mean - doubt, SLOWEST * mean))


def _rates(samples: Sequence[tuple[float, int]]) -> list[float]:
    """Bytes per second in stretches of equal time between the first sample and the last; none where all are of one moment."""
    first, last = samples[0][0], samples[-1][0]
    if last <= first:
        return []
    length = (last - first) / STRETCHES
    marks, at = [float(samples[0][1])], 1
    for number in range(1, STRETCHES):
        moment = first + number * length
        while samples[at][0] < moment:
            at += 1
        (t0, b0), (t1, b1) = samples[at - 1], samples[at]
        marks.append(b0 + (b1 - b0) * (moment - t0) / (t1 - t0) if t1 > t0 else b1)
    marks.append(float(samples[-1][1]))
    return [max(0.0, after - before) / length for before, after in pairwise(marks)]
