"""Tokens over time by worker, while neither the time's length nor the number of workers is known beforehand.

Comes in: batches, each with its beginning, its seconds and its tokens, in any order. Goes out: `Throughput`. Always holds:
there are at most STEPS steps and MOST workers, since steps become twice as long when there are too many; the sum stays.
"""

import math

from tokenmill.report.statistics import Throughput

#: Steps that time is cut into, at most.
STEPS = 96
#: Seconds of the shortest step.
SHORTEST = 0.25
#: Workers that are told apart while entries come in, and in the end.
MOST, SHOWN = 256, 7
#: What the others are called.
OTHERS = "others"


class Timeline:
    """Tokens by worker and step."""

    def __init__(self) -> None:
        self._step = SHORTEST
        self._tokens: dict[str, dict[int, float]] = {}
        self._first, self._last = 0, -1

    def add(self, worker: str, began: float, seconds: float, tokens: int) -> None:
        """Spread a batch's tokens evenly over its time."""
        if not (math.isfinite(began) and math.isfinite(seconds)):
            return
        worker = worker if worker in self._tokens or len(self._tokens) < MOST else OTHERS
        seconds = max(seconds, 1e-3)
        first, last = int(began // self._step), int((began + seconds) // self._step)
        if self._last < self._first:
            self._first, self._last = first, last
        while max(last, self._last) - min(first, self._first) >= STEPS:
            self._double()
            first, last = int(began // self._step), int((began + seconds) // self._step)
        self._first, self._last = min(first, self._first), max(last, self._last)
        steps = self._tokens.setdefault(worker, {})
        for step in range(first, last + 1):
            overlap = min(began + seconds, (step + 1) * self._step) - max(began, step * self._step)
            steps[step] = steps.get(step, 0.0) + tokens * max(0.0, overlap) / seconds

    def _double(self) -> None:
        self._step *= 2
        self._first, self._last = self._first // 2, self._last // 2
        for worker, steps in self._tokens.items():
            doubled: dict[int, float] = {}
            for step, tokens in steps.items():
                doubled[step // 2] = doubled.get(step // 2, 0.0) + tokens
            self._tokens[worker] = doubled

    def throughput(self) -> Throughput:
        """Tokens per second in each step; the SHOWN busiest workers by name, all others together."""
        sums = {worker: sum(steps.values()) for worker, steps in self._tokens.items()}
        busiest = sorted((worker for worker in sums if worker != OTHERS), key=lambda worker: (-sums[worker], worker))[:SHOWN]
        series: dict[str, list[float]] = {}
        for worker in [*busiest, *(worker for worker in self._tokens if worker not in busiest)]:
            row = series.setdefault(worker if worker in busiest else OTHERS, [0.0] * (self._last - self._first + 1))
            for step, tokens in self._tokens[worker].items():
                row[step - self._first] += tokens / self._step
        return Throughput(step=self._step, series=series)
