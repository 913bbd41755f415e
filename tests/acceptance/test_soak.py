"""The soak: one job after the other under a rain of random faults; every one must end as if nothing had happened.

One job of it runs with all tests; `--soak-minutes 30` makes it last, `--seed 7` is another rain.
"""

import json
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.cluster import Cluster, WaitUntil, children, committed, kill
from tests.acceptance.conftest import BIN, JOB, contents
from tests.acceptance.faults import Fault, Ledger
from tests.acceptance.trial import SLOW

#: A thousand batches; many documents are longer than one, so that many hold nothing.
CUT = ["--batch-bytes", "3000", "--engine", "reference"]
NAMES = ("alpha", "beta", "gamma", "delta")
#: Seconds between two faults.
PAUSE = (1.0, 4.0)


class Rain:
    """Faults, one at a time, on a cluster of four workers and a dispatcher."""

    def __init__(self, cluster: Cluster, dice: random.Random, wait_until: WaitUntil) -> None:
        self.cluster, self.dice, self.wait_until = cluster, dice, wait_until
        self.workers = {name: cluster.worker(name) for name in NAMES}
        self.dispatcher = cluster.start("tokenmill", "dispatch", name="dispatch")
        self.asleep: list[int] = []
        self.fallen: Counter[str] = Counter()
        self._faults: dict[str, Callable[[], None]] = {
            "kill -9 of a worker child": self.kill_child,
            "kill -9 of a worker's main process": self.kill_main,
            "kill -9 of a worker, another one started": self.kill_worker,
            "SIGTERM to a worker, another one started": self.end_worker,
            "a worker put to sleep past its lease": self.put_to_sleep,
            "kill -9 of the dispatcher, another one started": self.kill_dispatcher,
            "FLUSHALL": self.wipe,
            "kill -9 of the broker, started again": self.kill_broker,
        }

    def fall(self) -> None:
        """One fault."""
        kill(self.asleep, signal.SIGCONT)
        self.asleep = []
        name = self.dice.choice(sorted(self._faults))
        self._faults[name]()
        self.fallen[name] += 1

    def _worker(self) -> tuple[str, "subprocess.Popen[bytes]"]:
        name = self.dice.choice(NAMES)
        return name, self.workers[name]

    def kill_child(self) -> None:
        kill(children(self._worker()[1].pid)[2:], signal.SIGKILL)

    def kill_main(self) -> None:
        kill(children(self._worker()[1].pid)[1:2], signal.SIGKILL)

    def kill_worker(self) -> None:
        name, worker = self._worker()
        kill(children(worker.pid), signal.SIGKILL)
        worker.wait()
        self.workers[name] = self.cluster.worker(name)

    def end_worker(self) -> None:
        name, worker = self._worker()
        worker.send_signal(signal.SIGTERM)
        worker.wait(40)
        self.workers[name] = self.cluster.worker(name)

    def put_to_sleep(self) -> None:
        self.asleep = children(self._worker()[1].pid)[1:]
        kill(self.asleep, signal.SIGSTOP)
        waking = time.monotonic() + 7
        self.wait_until(lambda: time.monotonic() > waking, "the sleeper's lease to end")

    def kill_dispatcher(self) -> None:
        kill(children(self.dispatcher.pid), signal.SIGKILL)
        self.dispatcher.wait()
        self.dispatcher = self.cluster.start("tokenmill", "dispatch", name="dispatch")

    def wipe(self) -> None:
        self.cluster.client.flushall()

    def kill_broker(self) -> None:
        self.cluster.kill_broker()
        self.cluster.remembers = self.dice.random() < 0.5
        self.cluster.start_broker()
        self.wait_until(self.cluster.answers, "the broker")


@pytest.mark.timeout(3600)
def test_jobs_under_a_rain_of_faults(
    cluster: Cluster,
    corpus: Path,
    faults: Ledger,
    wait_until: WaitUntil,
    tmp_path: Path,
    pytestconfig: pytest.Config,
) -> None:
    """At least one whole job of a thousand batches."""
    seed = pytestconfig.getoption("--seed")
    until = time.monotonic() + 60 * pytestconfig.getoption("--soak-minutes")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SLOW)
    run = [BIN / "tokenmill", "run", corpus, *JOB, *CUT, "--output", tmp_path / "undisturbed"]
    subprocess.run(run, check=True, capture_output=True)
    undisturbed = contents(tmp_path / "undisturbed")
    documents = sum(1 for part in corpus.glob("*.jsonl") for _ in part.open(encoding="utf-8"))

    cluster.environment |= {"PYTHONPATH": str(site), "TOKENMILL_GRACE_SECONDS": "5"}
    rain, job, batches, since = Rain(cluster, random.Random(seed), wait_until), 0, 0, time.monotonic()
    while job == 0 or time.monotonic() < until:
        output = tmp_path / f"out-{job}"
        submit = [BIN / "tokenmill", "submit", corpus, *JOB, *CUT, "--output", output]
        subprocess.run(submit, check=True, capture_output=True, env=cluster.environment)
        stalled, progress = time.monotonic() + 120, -1
        while not (output / "manifest.json").exists():
            pause = time.monotonic() + rain.dice.uniform(*PAUSE)
            wait_until(lambda: time.monotonic() > pause or (output / "manifest.json").exists(), "the next fault")  # noqa: B023
            rain.fall()
            if len(committed(output)) > progress:
                stalled, progress = time.monotonic() + 120, len(committed(output))
            assert time.monotonic() < stalled, f"nothing was committed for two minutes, at {progress} batches"
        found, manifest = contents(output), json.loads((output / "manifest.json").read_text())
        assert found == undisturbed, f"seed {seed}, job {job}: not the same bytes"
        assert manifest["documents"] + manifest["rejected"] == documents
        job, batches = job + 1, batches + len(manifest["shards"])
    seconds = time.monotonic() - since
    faults.faults.append(
        Fault(
            name=f"soak of {seconds / 60:.1f} minutes, seed {seed}: {job} jobs, {batches:,} batches",
            times=rain.fallen.total(),
            documents_in=job * documents,
            documents_out=job * manifest["documents"],
            rejected=job * manifest["rejected"],
            recovery=None,
            same_bytes=True,
        )
    )
    faults.remarks += [f"soak: {times} × {name}" for name, times in sorted(rain.fallen.items())]
