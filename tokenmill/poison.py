"""What earlier attempts at a batch died of: the places where the work was when its worker was killed.

Comes in: places and causes, as whoever begins the batch again remembers them. Goes out: which column must be taken apart, and
which document is given up. Always holds: a document is given up only after two workers have died over it while it was alone in
the reference's hands; a death anywhere else costs speed and nothing more.

A column in which a worker died is encoded by the reference, document by document, each noted before it is begun: the next death
names the document, and one more confirms it. So a poisonous document is found after three deaths, however long the batch is.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from tokenmill.documents import Reason

#: Deaths over a document alone after which it is given up.
CONFIRMED = 2
#: Deaths outside of any column, such as in reading or writing, after which a batch is parked: nothing there can be left out.
ELSEWHERE = 4
#: Documents of one batch that are given up before the batch is: it is then not the documents that are ill.
MOST_GIVEN_UP = 8


class Cause(StrEnum):
    """How a worker ended."""

    #: By a signal, its own or the kernel's; a dead process cannot say which.
    KILLED = "killed"
    MEMORY = "memory"
    STUCK = "stuck"


REASONS = {
    Cause.KILLED: Reason.KILLED_WORKER,
    Cause.MEMORY: Reason.OUT_OF_MEMORY,
    Cause.STUCK: Reason.NEVER_ENDED,
}


@dataclass(frozen=True, slots=True)
class Place:
    """Documents that were being encoded together: where the first stands, and how many they are."""

    file: str
    position: int
    documents: int = 1
    #: One document in the reference's hands; a column of one document is not that.
    alone: bool = False


@dataclass(slots=True)
class Deaths:
    """All deaths over one batch."""

    #: None stands for everything that is not encoding.
    _places: Counter[Place | None] = field(default_factory=Counter)
    _causes: dict[Place | None, Cause] = field(default_factory=dict)

    @classmethod
    def of(cls, known: Iterable[tuple[Place | None, Cause]]) -> "Deaths":
        """From one place and cause per death, oldest first."""
        deaths = cls()
        for place, cause in known:
            deaths.add(place, cause)
        return deaths

    def add(self, place: Place | None, cause: Cause) -> None:
        """One more."""
        self._places[place] += 1
        self._causes[place] = cause

    def __bool__(self) -> bool:
        return bool(self._places)

    def __contains__(self, place: Place) -> bool:
        """Whether a worker died here."""
        return place in self._places

    def verdict(self, place: Place) -> Reason | None:
        """Why a document is given up; None if it is not."""
        return REASONS[self._causes[place]] if place.alone and self._places[place] >= CONFIRMED else None

    def hopeless(self) -> str | None:
        """Why the batch has to be parked; None while there is something left to try."""
        if self._places[None] >= ELSEWHERE:
            return f"{self._places[None]} workers died over it while they read, checked or wrote"
        given_up = [place for place in self._places if place is not None and self.verdict(place)]
        if len(given_up) > MOST_GIVEN_UP:
            first = given_up[0]
            return (
                f"workers died over {len(given_up)} of its documents, first {first.file} at {first.position}: "
                f"it is hardly the documents; do workers have enough memory?"
            )
        return None
