"""Workers are killed, restarted, put to sleep: no human, the same bytes."""

import json
import random
import signal
import subprocess
import time

import pytest

from tests.acceptance.cluster import children, committed, kill
from tests.acceptance.trial import SLOW, WORKER, Trial


def pool_children(worker: "subprocess.Popen[bytes]") -> list[int]:
    """The processes that do the work; above them stand the launcher and the pool."""
    return children(worker.pid)[2:]


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
    struck: set[int] = set()
    while not struck:  # a batch may be committed between the look and the stop
        running, since = trial.begun("alpha"), time.monotonic()
        asleep = children(alpha.pid)[1:]
        kill(asleep, signal.SIGSTOP)
        struck = running - committed(trial.output)
        if not struck:
            kill(asleep, signal.SIGCONT)
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
