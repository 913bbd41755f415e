"""Producers are killed, interrupted, two at once; jobs are cancelled: no human, the same bytes."""

import json
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.acceptance.cluster import children, committed, kill
from tests.acceptance.conftest import JOB, Run
from tests.acceptance.trial import CUT, Trial


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
