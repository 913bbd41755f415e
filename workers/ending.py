"""How the work on a message ended: what Flower, the log and the metrics say of it.

Always holds: a message that a worker took, and that did not take the worker along, has exactly one ending.
"""

from dataclasses import dataclass
from enum import StrEnum

from tokenmill.job import ShardEntry


class Outcome(StrEnum):
    """What became of a batch, as far as this worker goes."""

    #: Its entry stands, and is this worker's.
    COMMITTED = "committed"
    #: Its entry stands, and is another attempt's.
    DONE_ALREADY = "done_already"
    #: Another worker has it.
    HELD_ELSEWHERE = "held_elsewhere"
    #: The job was cancelled, or another worker took the batch over.
    LEFT = "left"
    #: The output is not there, on this host.
    UNSEEN = "unseen"
    #: Given up; `parked/` says why.
    PARKED = "parked"
    #: No message that may be acted upon.
    REFUSED = "refused"
    #: Its worker died over it. Nobody can say so of himself: the next attempt finds it out.
    DIED = "died"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the work on one message ended."""

    outcome: Outcome
    #: The reason, where there is one.
    why: str = ""
    #: Which batch of which job, where the message was well formed.
    job_id: str | None = None
    batch: int | None = None
    #: What was committed.
    entry: ShardEntry | None = None

    def __str__(self) -> str:
        """For people."""
        why = self.why
        if self.entry is not None:
            counts = self.entry.counts
            why = f"{counts.documents:,} documents · {counts.tokens:,} tokens"
            why += f" · {counts.rejected_total:,} rejected" if counts.rejected else ""
        return self.outcome.replace("_", " ") + (f": {why}" if why else "")
