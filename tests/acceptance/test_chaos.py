"""Any fault, no human, the same bytes: each row disturbs a real job on a real cluster and compares it with an undisturbed one.

Law 2, 3, 4 and 6 at once: the manifest of the disturbed job has the same digest, its shards are the same bytes, its sums close.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.acceptance.cluster import Cluster, WaitUntil, children, committed, kill
from tests.acceptance.conftest import JOB, Run, contents
from tests.acceptance.faults import Fault, Ledger
from tests.acceptance.network import Wire

#: Forty batches.
CUT = ["--batch-bytes", "150000", "--engine", "reference"]
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


@pytest.fixture(scope="session")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the job comes to when nothing happens to it."""
    from tests.acceptance.conftest import BIN

    folder = tmp_path_factory.mktemp("undisturbed")
    command = [BIN / "tokenmill", "run", corpus, *JOB, *CUT, "--output", folder / "out"]
    subprocess.run(command, check=True, capture_output=True)
    return contents(folder / "out")


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


@pytest.fixture
def trial(cluster: Cluster, corpus: Path, undisturbed: dict[str, bytes], faults: Ledger, wait_until: WaitUntil) -> Trial:
    return Trial(cluster, corpus, undisturbed, faults, wait_until)


def pool_children(worker: "subprocess.Popen[bytes]") -> list[int]:
    """The processes that do the work; above them stand the launcher and the pool."""
    return children(worker.pid)[2:]


# -- workers ---------------------------------------------------------------------------------------------------------


def test_a_worker_child_is_killed(trial: Trial) -> None:
    workers = [trial.cluster.worker(name) for name in ("alpha", "beta")]
    trial.submit()
    dice, strikes = random.Random(4), []
    for batches in (3, 12, 21):
        strikes.append((trial.begun(batches=batches), time.monotonic()))
        kill(pool_children(dice.choice(workers)), signal.SIGKILL)
    for struck, since in strikes:
        trial.recovered(struck, WORKER, since)
    trial.sealed("kill -9 of a random worker child", times=3)


def test_a_workers_main_process_is_killed(trial: Trial) -> None:
    alpha = trial.cluster.worker("alpha")
    trial.submit()
    struck, since = trial.begun("alpha"), time.monotonic()
    kill(children(alpha.pid)[1:2], signal.SIGKILL)
    trial.recovered(struck, WORKER, since)
    assert "starting it again" in trial.cluster.log("alpha")
    trial.sealed("kill -9 of a worker's main process")


@pytest.mark.slow
def test_all_workers_are_killed(trial: Trial) -> None:
    workers = [trial.cluster.worker(name) for name in ("alpha", "beta")]
    trial.submit()
    struck = trial.begun()
    for worker in workers:
        kill(children(worker.pid), signal.SIGKILL)
    since = time.monotonic()
    trial.cluster.worker("gamma")
    trial.recovered(struck, WORKER, since)
    trial.sealed("kill -9 of all workers, another one started")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGQUIT, marks=pytest.mark.slow)])
def test_workers_are_restarted_one_after_the_other(trial: Trial, number: signal.Signals) -> None:
    """A rolling restart under load: each hands its work back or ends it, and no attempt is counted against a batch."""
    workers = [trial.cluster.worker(name) for name in ("alpha", "beta")]
    trial.submit()
    for old, name in zip(workers, ("gamma", "delta"), strict=True):
        struck, since = trial.begun(), time.monotonic()
        old.send_signal(number)
        assert old.wait(30) == 0
        trial.cluster.worker(name)
        trial.recovered(struck, WORKER, since)
    trial.sealed(f"{number.name} to all workers in turn, each replaced", times=2)
    assert not list((trial.output / "parked").glob("*"))


@pytest.mark.slow
def test_work_that_outlasts_the_grace_period_goes_back_at_once(trial: Trial) -> None:
    alpha = trial.cluster.worker("alpha", TOKENMILL_GRACE_SECONDS="0.1")
    trial.submit()
    struck, since = trial.begun("alpha"), time.monotonic()
    alpha.send_signal(signal.SIGTERM)
    assert alpha.wait(10) == 0
    trial.cluster.worker("beta")
    trial.recovered(struck, WORKER, since)
    trial.sealed("SIGTERM, grace period too short")


def test_a_worker_sleeps_past_its_lease_and_wakes_up(trial: Trial) -> None:
    """The sleeper's batch goes to another; when it wakes up it must neither commit nor disturb."""
    alpha = trial.cluster.worker("alpha")
    trial.submit()
    struck = trial.begun("alpha")
    since = time.monotonic()
    asleep = children(alpha.pid)[1:]
    kill(asleep, signal.SIGSTOP)
    trial.cluster.worker("beta")
    trial.recovered(struck, WORKER, since)
    kill(asleep, signal.SIGCONT)
    trial.sealed("SIGSTOP past the lease, and SIGCONT")
    entries = [json.loads((trial.output / f"entries/{index:06d}.json").read_text()) for index in struck]
    assert all(entry["run"]["worker"].startswith("beta@") for entry in entries)


@pytest.mark.slow
def test_a_workers_clock_is_an_hour_behind(trial: Trial) -> None:
    """Its messages look an hour old to Celery's transport, which redelivers them: copies meet the lease."""
    behind = trial.cluster.folder / "behind"
    behind.mkdir()
    late = "import time\nreal = time.time\ntime.time = lambda: real() - 3600\n"
    (behind / "sitecustomize.py").write_text(SLOW + late)
    trial.cluster.worker("alpha", PYTHONPATH=str(behind))
    trial.cluster.worker("beta")
    trial.submit()
    trial.begun("alpha")
    trial.sealed("a worker's clock set back by an hour")


# -- producers -------------------------------------------------------------------------------------------------------


def test_the_producer_is_killed(trial: Trial) -> None:
    trial.cluster.worker("alpha")
    for attempt in range(3):
        producer = trial.submit()
        trial.begun(batches=5 * attempt + 2)
        kill(children(producer.pid), signal.SIGKILL)
        producer.wait()
    since = time.monotonic()
    trial.submit()
    before = committed(trial.output)
    trial.wait_until(lambda: committed(trial.output) > before, "a batch after the restart")
    trial.recovery = time.monotonic() - since
    trial.sealed("kill -9 of the producer, started again", times=3)


@pytest.mark.slow
def test_the_producer_is_interrupted_five_times(trial: Trial) -> None:
    trial.cluster.worker("alpha")
    for attempt in range(5):
        producer = trial.submit()
        trial.begun(batches=3 * attempt + 1)
        producer.send_signal(signal.SIGINT)
        assert producer.wait(30) == 130
    trial.submit()
    trial.sealed("Ctrl-C of the producer, and again", times=5)


def test_two_producers_submit_the_same_job_at_once(trial: Trial) -> None:
    trial.cluster.worker("alpha")
    trial.cluster.worker("beta")
    producers = [trial.submit(name) for name in ("one", "two")]
    assert [producer.wait(120) for producer in producers] == [0, 0]
    trial.sealed("two producers, one job")


def test_of_two_jobs_for_one_output_one_is_refused(trial: Trial, tmp_path: Path) -> None:
    """Both begin at once in an empty folder; the one that loses leaves no trace in it."""
    trial.cluster.worker("alpha")
    other = tmp_path / "other.jsonl"
    shutil.copy(trial.corpus / "part-0.jsonl", other)
    follow = ["--output", "out", "--follow"]
    one = trial.cluster.start("tokenmill", "submit", trial.corpus, *JOB, *CUT, *follow, name="one")
    two = trial.cluster.start("tokenmill", "submit", other, *JOB, *CUT, *follow, name="two")
    assert sorted([one.wait(120), two.wait(120)]) == [0, 2]
    loser = "one" if one.returncode else "two"
    assert "belongs to another job" in trial.cluster.log(loser) or "is not empty" in trial.cluster.log(loser)
    manifest = json.loads((trial.output / "manifest.json").read_text())
    source = trial.corpus if loser == "two" else other
    parts = sorted(source.glob("*.jsonl")) if source.is_dir() else [source]
    assert manifest["documents"] + manifest["rejected"] == sum(1 for part in parts for _ in part.open(encoding="utf-8"))


def test_a_job_is_cancelled_and_taken_up_again(trial: Trial, tokenmill: Run) -> None:
    alpha = trial.cluster.worker("alpha")
    producer = trial.submit()
    trial.begun("alpha")
    since = time.monotonic()
    assert tokenmill("cancel", "out").returncode == 0
    assert producer.wait(10) == 130
    trial.wait_until(lambda: not trial.cluster.running(), "the workers to leave the job", seconds=10)
    stopped = time.monotonic() - since
    assert "cancelled" in trial.cluster.log("follow")
    kept = committed(trial.output)
    assert alpha.poll() is None
    again = trial.cluster.start("tokenmill", "dispatch", name="dispatch")
    assert tokenmill("retry", "out", TOKENMILL_BROKER=trial.cluster.broker).returncode == 0
    trial.recovery = stopped
    trial.sealed("cancel, and retry (recovery: seconds until work stops)")
    assert kept <= committed(trial.output)
    assert again.poll() is None


# -- the broker ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remembers", [pytest.param(True, marks=pytest.mark.slow), False], ids=["with its log", "without"])
def test_the_broker_is_killed(trial: Trial, remembers: bool) -> None:
    trial.cluster.kill_broker()
    trial.cluster.remembers = remembers
    trial.cluster.start_broker()
    trial.wait_until(trial.cluster.answers, "the broker")
    trial.cluster.worker("alpha")
    trial.submit()
    for batches in (3, 12):
        trial.begun(batches=batches)
        trial.cluster.kill_broker()
        trial.cluster.start_broker()
        trial.wait_until(trial.cluster.answers, "the broker")
        before, since = committed(trial.output), time.monotonic()
        trial.wait_until(lambda: committed(trial.output) > before, "work after the broker's return", seconds=BROKER)  # noqa: B023
        trial.recovery = max(trial.recovery or 0.0, time.monotonic() - since)
    trial.sealed(f"kill -9 of the broker {'with' if remembers else 'without'} its log", times=2)


def test_the_broker_is_wiped(trial: Trial) -> None:
    trial.cluster.worker("alpha")
    trial.submit()
    for batches in (3, 10, 20):
        struck, since = trial.begun(batches=batches), time.monotonic()
        trial.cluster.client.flushall()
        trial.recovered(struck, BROKER, since)
    trial.sealed("FLUSHALL", times=3)


@pytest.mark.parametrize("seconds", [12, pytest.param(60, marks=pytest.mark.slow)])
def test_the_broker_is_away(trial: Trial, seconds: int) -> None:
    trial.cluster.worker("alpha")
    trial.submit()
    trial.begun()
    trial.cluster.kill_broker()
    back = time.monotonic() + seconds
    trial.wait_until(lambda: time.monotonic() > back, "the broker's time away", seconds=seconds + 5)
    trial.cluster.start_broker()
    trial.wait_until(trial.cluster.answers, "the broker")
    before, since = committed(trial.output), time.monotonic()
    trial.wait_until(lambda: committed(trial.output) > before, "work after the broker's return", seconds=BROKER)
    trial.recovery = time.monotonic() - since
    trial.sealed(f"the broker away for {seconds} s")


@pytest.mark.parametrize(
    ("mode", "seconds"),
    [
        ("drop", 15),
        pytest.param("slow", 8, marks=pytest.mark.slow),
        pytest.param("drop", 70, marks=pytest.mark.slow),
    ],
)
def test_the_wire_to_the_broker_is_bad(trial: Trial, mode: str, seconds: int) -> None:
    """Silent: connections stay open and nothing arrives. With default time-outs workers then hang for ever."""
    cluster = trial.cluster
    with Wire(cluster.port) as wire:
        cluster.environment["TOKENMILL_BROKER"] = cluster.broker.replace(f":{cluster.port}/", f":{wire.port}/")
        cluster.worker("alpha")
        trial.submit()
        trial.begun()
        wire.mode = mode
        healed = time.monotonic() + seconds
        trial.wait_until(lambda: time.monotonic() > healed, "the bad time", seconds=seconds + 5)
        wire.mode = "pass"
        before, since = committed(trial.output), time.monotonic()
        if not (trial.output / "manifest.json").exists():
            after = lambda: committed(trial.output) > before or (trial.output / "manifest.json").exists()  # noqa: E731
            trial.wait_until(after, "work on the mended wire", seconds=2 * BROKER)
            trial.recovery = time.monotonic() - since
        trial.sealed(f"the wire to the broker {'silent' if mode == 'drop' else 'slow'} for {seconds} s")


def test_every_message_comes_twice(trial: Trial) -> None:
    trial.cluster.worker("alpha")
    trial.cluster.worker("beta")
    producer = trial.submit()
    copied: set[str] = set()

    def copy_messages() -> bool:
        try:
            for message in trial.cluster.client.lrange("tokenmill:encode", 0, -1):
                tag = json.loads(message)["properties"]["delivery_tag"]
                if tag not in copied:
                    copied.add(tag)
                    trial.cluster.client.rpush("tokenmill:encode", message)
        except redis.RedisError:
            pass
        return producer.poll() is not None

    trial.wait_until(copy_messages, "the end", seconds=120)
    assert len(copied) > 10
    trial.sealed("messages delivered twice", times=len(copied))


# -- sources and disk ------------------------------------------------------------------------------------------------


def test_the_disk_is_full_and_freed_again(trial: Trial) -> None:
    """The worker says what it waits for, and goes on by itself when there is room."""
    trial.output.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", trial.output]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        alpha = trial.cluster.worker("alpha")
        trial.submit()
        trial.begun()
        with (trial.output / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(b"x" * 4096)

        def waits() -> bool:
            return any("No space left on device" in one["waiting_for"] for one in trial.cluster.running().values())

        trial.wait_until(waits, "the worker's word")
        struck = set(trial.cluster.running())
        (trial.output / "ballast").unlink()
        trial.recovered(struck, 45, time.monotonic())
        trial.sealed("disk full, and freed again")
        assert alpha.poll() is None
    finally:
        subprocess.run(["umount", "--lazy", trial.output], check=True)


def test_a_worker_without_a_tokenizer_waits_for_it(trial: Trial) -> None:
    trial.submit()
    trial.wait_until((trial.output / "plan.parquet").exists, "the job on record")
    away = trial.cluster.folder / "away"
    (trial.output / "tokenizer").rename(away)
    trial.cluster.worker("alpha", TOKENMILL_CACHE=str(trial.cluster.folder / "empty"))

    def waits() -> bool:
        return any("tokenizer.json is not there" in one["waiting_for"] for one in trial.cluster.running().values())

    trial.wait_until(waits, "the worker's word")
    struck = set(trial.cluster.running())
    away.rename(trial.output / "tokenizer")
    trial.recovered(struck, 45, time.monotonic())
    trial.sealed("no tokenizer, and put back")


def _appended(path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write('{"text": "one more"}\n')


def _rewritten(path: Path) -> None:
    path.write_bytes(path.read_bytes().swapcase())


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        pytest.param(_appended, "bytes long, planned were", marks=pytest.mark.slow),
        (_rewritten, "was written again after the job was planned"),
        pytest.param(lambda path: os.truncate(path, 1000), "bytes long, planned were", marks=pytest.mark.slow),
        pytest.param(Path.unlink, "is gone", marks=pytest.mark.slow),
    ],
    ids=["grew", "rewritten", "truncated", "deleted"],
)
def test_a_source_changes_in_mid_job(
    trial: Trial, tokenmill: Run, tmp_path: Path, fault: Callable[[Path], None], says: str, request: pytest.FixtureRequest
) -> None:
    """Its batches are parked with the reason; put back as it was, the job ends as if nothing had happened."""
    source = trial.corpus / "part-2.jsonl"
    kept = tmp_path / "kept.jsonl"
    shutil.copy2(source, kept)
    try:
        trial.cluster.worker("alpha")
        producer = trial.submit()
        trial.begun()
        fault(source)
        assert producer.wait(60) == 3, trial.cluster.log("follow")
        assert says in trial.cluster.log("follow")
        assert "tokenmill retry" in trial.cluster.log("follow")
    finally:
        shutil.copy2(kept, source)
    trial.cluster.start("tokenmill", "dispatch", name="dispatch")
    assert tokenmill("retry", "out", TOKENMILL_BROKER=trial.cluster.broker).returncode == 0
    trial.sealed(f"a source {request.node.callspec.id}, put back, retry")
