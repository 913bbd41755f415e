"""Which of two exact encoders is the quicker one here: measured for a second each, on a job's own text.

Comes in: a GPU's encoder and the CPU's, some text. Goes out: bytes per second of each, in this process: a GPU's worker has one
core to itself, and that core could run the CPU's engine instead. Always holds: it decides who does the work and no id of it.
"""

import time
from dataclasses import dataclass

import pyarrow as pa

from tokenmill.engines.encoder import Encoder

#: How long each is measured, in seconds.
SECONDS = 1.0
#: Bytes of text in a measured column, as in a job's own.
COLUMN = 4 << 20


@dataclass(frozen=True, slots=True)
class Calibration:
    """Bytes of text per second."""

    gpu: float
    cpu: float

    def says(self) -> str:
        """One line for people."""
        return f"{self.gpu / 1e6:,.0f} MB/s on the GPU, {self.cpu / 1e6:,.0f} MB/s on the core beside it"


def calibrate(gpu: Encoder, cpu: Encoder, text: pa.LargeStringArray) -> Calibration:
    """Measure both on a column of that text, repeated where it is short."""
    column = pa.concat_arrays([text] * max(1, COLUMN // max(1, text.nbytes)))
    return Calibration(_rate(gpu, column), _rate(cpu, column))


def _rate(encoder: Encoder, column: pa.LargeStringArray) -> float:
    holds = encoder.holds_special(column)
    encoder.encode(column, holds)  # loads it, and lets it meet the words
    done, begin = 0, time.perf_counter()
    while (seconds := time.perf_counter() - begin) < SECONDS:
        encoder.encode(column, holds)
        done += column.nbytes
    return done / seconds
