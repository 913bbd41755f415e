"""One real job on one real cluster, disturbed, and compared with an undisturbed one.

Laws 2, 3, 4 and 6 at once: the manifest has the same digest, the shards are the same bytes, the sums close.
"""

import json
import subprocess
import time
from pathlib import Path

from tests.acceptance.cluster import Cluster, WaitUntil, committed
from tests.acceptance.conftest import JOB, contents
from tests.acceptance.faults import Fault, Ledger

#: Forty batches.
CUT = ["--batch-bytes", "75000", "--engine", "reference"]
#: A reference that takes its time, so that faults meet work: loaded by every Python process with this folder on its path.
SLOW = """
import time
from tokenmill.engines.reference import ReferenceEngine

quick = ReferenceEngine.encode

def encode(self, text):
    time.sleep(0.2)
    return quick(self, text)

ReferenceEngine.encode = encode
"""
#: The longest that a batch struck by a fault may wait, in seconds: after a worker's death, after the broker's return.
WORKER, BROKER = 30, 15


class Trial:
    """One job on one cluster, disturbed."""

    def __init__(
        self, cluster: Cluster, corpus: Path, undisturbed: dict[str, bytes], faults: Ledger, wait_until: WaitUntil
    ) -> None:
        self.cluster, self.corpus, self.wait_until = cluster, corpus, wait_until
        self._undisturbed, self._faults = undisturbed, faults
        self.output = cluster.folder / "out"
        self.recovery: float | None = None
        site = cluster.folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(SLOW)
        cluster.environment["PYTHONPATH"] = str(site)

    def submit(self, name: str = "follow") -> "subprocess.Popen[bytes]":
        """Submit the job, or take it up again, and follow it."""
        job = ["--output", "out", "--name", "chaos", "--follow"]
        return self.cluster.start("tokenmill", "submit", self.corpus, *JOB, *CUT, *job, name=name)

    def begun(self, on: str | None = None, batches: int = 3) -> set[int]:
        """Wait until some batches are committed and some are running (on a worker); those that run."""
        runs = (lambda: self.cluster.runs_on(on)) if on else (lambda: set(self.cluster.running()))
        self.wait_until(lambda: len(committed(self.output)) >= batches and runs(), f"batches running on {on or 'workers'}")
        return runs()

    def recovered(self, struck: set[int], within: float, since: float) -> None:
        """Wait until all batches that a fault struck are committed."""
        self.wait_until(lambda: struck <= committed(self.output), f"the struck batches {struck}", seconds=within)
        self.recovery = max(self.recovery or 0.0, time.monotonic() - since)

    def sealed(self, name: str, times: int = 1) -> None:
        """Wait for the seal; enter the fault into the ledger; the job must be as if nothing had happened."""
        self.wait_until((self.output / "manifest.json").exists, "the seal", seconds=120)
        found, manifest = contents(self.output), json.loads((self.output / "manifest.json").read_text())
        documents = sum(1 for part in self.corpus.glob("*.jsonl") for _ in part.open(encoding="utf-8"))
        fault = Fault(
            name=name,
            times=times,
            documents_in=documents,
            documents_out=manifest["documents"],
            rejected=manifest["rejected"],
            recovery=self.recovery,
            same_bytes=found == self._undisturbed,
        )
        self._faults.faults.append(fault)
        assert fault.lost == 0
        assert {name for name in found if found[name] != self._undisturbed.get(name)} == set()
        assert fault.same_bytes
        assert not list(self.output.rglob("*.part-*"))
