"""The ledger of faults: what was done to a job, and what became of it. Printed at the end of a test run.

`pytest tests/acceptance/test_chaos_*.py --faults FILE` also writes it as JSON.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
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
    #: Attempts until the batch was committed, where one document was at fault.
    attempts: int | None = None

    @property
    def lost(self) -> int:
        """Documents that are neither in a shard nor rejected; negative if some are there twice."""
        return self.documents_in - self.documents_out - self.rejected


@dataclass(slots=True)
class Ledger:
    """All faults of a session."""

    faults: list[Fault] = field(default_factory=list)
    #: Sentences below the table.
    remarks: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """As a table."""
        columns = f"{'times':>5} {'in':>7} {'out':>7} {'rejected':>8} {'lost':>5} {'recovery s':>10} {'attempts':>8}  bytes"
        return [f"{'fault':58} {columns}", *map(_line, self.faults), *self.remarks]

    def write(self, path: Path) -> None:
        """As JSON."""
        found = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "cpus": len(os.sched_getaffinity(0)),
            "faults": [{**asdict(one), "lost": one.lost} for one in self.faults],
            "remarks": self.remarks,
        }
        path.write_text(json.dumps(found, indent=1) + "\n")


def _line(fault: Fault) -> str:
    recovery = "" if fault.recovery is None else f"{fault.recovery:.1f}"
    return (
        f"{fault.name:58} {fault.times:5} {fault.documents_in:7,} {fault.documents_out:7,} {fault.rejected:8} {fault.lost:5} "
        f"{recovery:>10} {fault.attempts or '':>8}  {'same' if fault.same_bytes else 'its own'}"
    )
