"""The ledger of faults: what was done to a job, and what became of it. Printed at the end of a test run.

`pytest tests/acceptance/test_chaos.py --faults FILE` also writes it as JSON.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(slots=True, kw_only=True)
class Fault:
    """One disturbed job."""

    name: str
    #: How often the fault came.
    times: int
    documents_in: int
    documents_out: int
    rejected: int
    #: Seconds from the fault, or from its end where it lasts, until all batches that it struck are committed.
    recovery: float | None
    #: Whether manifest and shards are those of the undisturbed job, byte by byte.
    same_bytes: bool

    @property
    def lost(self) -> int:
        """Documents that are neither in a shard nor rejected; negative if some are there twice."""
        return self.documents_in - self.documents_out - self.rejected


@dataclass(slots=True)
class Ledger:
    """All faults of a session."""

    faults: list[Fault] = field(default_factory=list)

    def lines(self) -> list[str]:
        """As a table."""
        head = f"{'fault':58} {'times':>5} {'in':>7} {'out':>7} {'rejected':>8} {'lost':>5} {'recovery s':>10}  bytes"
        return [head] + [
            f"{one.name:58} {one.times:5} {one.documents_in:7,} {one.documents_out:7,} {one.rejected:8} {one.lost:5} "
            f"{'' if one.recovery is None else f'{one.recovery:.1f}':>10}  {'same' if one.same_bytes else 'as expected'}"
            for one in self.faults
        ]

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps([{**asdict(one), "lost": one.lost} for one in self.faults], indent=1) + "\n")
