"""Test sets as the runs of ids in them: what is known, and looked for in documents.

Comes in: the ids of a test set's texts. Goes out: its runs of `GRAM` ids, as numbers (`facts.shingles`), sorted, each once.
Always holds: a test set's file is read once, when the job is asked for; its runs are in `contamination/NAME.npy`, below the
output.
"""

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from tokenmill import storage
from tokenmill.engines import Tokens
from tokenmill.errors import JobError
from tokenmill.facts.shingles import shingles
from tokenmill.facts.texts import Ends
from tokenmill.record import FileDigest
from tokenmill.spec import HeldOut

#: Ids of a run.
GRAM = 13
Numbers = NDArray[np.uint64]


def runs_of(tokens: Tokens) -> Numbers:
    """All runs in some texts, sorted, each once; the texts have neither BOS nor EOS."""
    texts = Ends(bos=False, eos=False, marked=False).texts(tokens.ids, tokens.lengths)
    parts = [found.numbers for group in texts.groups() for found in shingles(group, GRAM)]
    return np.unique(np.concatenate([np.empty(0, np.uint64), *parts]))


def pinned(runs: Numbers) -> bytes:
    """The content of the file that holds a test set's runs."""
    file = io.BytesIO()
    np.lib.format.write_array(file, runs.astype("<u8"), version=(1, 0), allow_pickle=False)
    return file.getvalue()


@dataclass(frozen=True)
class Known:
    """The runs of all test sets of a job."""

    names: tuple[str, ...]
    #: Sorted, each once.
    runs: tuple[Numbers, ...]

    @cached_property
    def bits(self) -> int:
        """The sieve has 2^bits bits: a sixteenth of them are set, or fewer, up to 32 MiB."""
        return min(max(sum(map(len, self.runs)) * 16, 1 << 10).bit_length(), 28)

    @cached_property
    def sieve(self) -> NDArray[np.uint8]:
        """A bit for each value of a number's high bits, set where one is known; bit 0 of a byte is the first."""
        sieve = np.zeros(1 << self.bits >> 3, np.uint8)
        for runs in self.runs:
            high = runs >> np.uint64(64 - self.bits)
            np.bitwise_or.at(sieve, high >> np.uint64(3), np.uint8(1) << (high & np.uint64(7)).astype(np.uint8))
        return sieve

    def may_hold(self, numbers: Numbers) -> NDArray[np.int64]:
        """Which of some numbers may be known; most are told from the sieve alone."""
        high = numbers >> np.uint64(64 - self.bits)
        bits = self.sieve.take((high >> np.uint64(3)).view(np.int64))
        bits >>= (high & np.uint64(7)).astype(np.uint8)
        return np.flatnonzero(bits & np.uint8(1))


@lru_cache(maxsize=4)
def known(output: str, sets: tuple[HeldOut, ...]) -> Known:
    """The test sets that a job has in its output. Raises JobError if one is not what it was."""
    return Known(tuple(one.name for one in sets), tuple(_read(output, one.file) for one in sets))


def _read(output: str, file: FileDigest) -> Numbers:
    url = storage.join(output, file.path)
    data = storage.find(url)
    if data is None or hashlib.sha256(data).hexdigest() != file.sha256:
        what = "is missing" if data is None else "is not what the job was made with"
        raise JobError(f"{url} {what}. Ask for the same job again, into an empty folder if it has changed.")
    runs: Numbers = np.load(io.BytesIO(data), allow_pickle=False)
    return runs
