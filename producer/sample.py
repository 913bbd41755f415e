"""Which pieces of a corpus a sample takes: `--sample`, `--limit`, `--sample-seed`.

Comes in: the pieces of a corpus, and what was asked for. Goes out: for each piece, whether it is taken. Always holds: a piece
draws a ticket from the seed and from its own file, by name below the folder that was named, size, and number, so the choice is
the same wherever the corpus lies and whoever makes it; taken are all tickets below one bound, so a larger sample contains every
smaller one of the same seed; what is not taken is never read.
"""

import hashlib
import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from tokenmill.spec import Sampling

#: Bytes of a piece of a file that can be cut anywhere: a sample of a share is that many of them, spread over all files, and a
#: request for a megabyte is still worth its way.
PIECE = 1 << 20
#: Tickets are whole numbers below this.
TICKETS = 1 << 64


def ticket(seed: int, name: str, size: int, piece: int) -> int:
    """What a piece draws: evenly spread, and the same for ever."""
    drawn = hashlib.blake2b(f"{seed}\0{name}\0{size}\0{piece}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn, "big")


@dataclass(frozen=True, slots=True)
class Sample:
    """All pieces whose ticket lies below a bound."""

    seed: int
    bound: int

    @classmethod
    def of_share(cls, asked: Sampling) -> Self:
        """The pieces of a share, whatever their sizes."""
        return cls(asked.seed, math.ceil(asked.share * TICKETS))

    def takes(self, name: str, size: int, piece: int) -> bool:
        """Whether a piece of a file is taken."""
        return ticket(self.seed, name, size, piece) < self.bound

    def within(self, limit: int, pieces: Iterable[tuple[int, int]]) -> Self:
        """As many of them, lowest tickets first, as `limit` bytes hold.

        Args:
            pieces: ticket and bytes of every piece. Remembered are those that are taken, no others.
        """
        taken: list[tuple[int, int]] = []
        bound, total = self.bound, 0
        for drawn, size in pieces:
            if drawn >= bound:
                continue
            heapq.heappush(taken, (-drawn, size))
            total += size
            while total > limit:
                highest, given_up = heapq.heappop(taken)
                bound, total = -highest, total - given_up
        return type(self)(self.seed, bound)
