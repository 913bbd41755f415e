"""Schedules as they are run: real beats, workers and a broker; schedulers are two, and are killed."""

import json
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from producer.schedule.runs import Runs
from tests.acceptance.cluster import Cluster, WaitUntil, children, committed, kill, living
from tests.acceptance.conftest import JOB, Run
from tests.acceptance.trial import SLOW
from tokenmill import storage

FILE = """
[[schedule]]
name = "web"
cron = "{cron}"
catch_up = "{catch_up}"
max_lateness = "3d"
[schedule.job]
sources = ["{corpus}"]
tokenizer = "{tokenizer}"
output = "tokens/{{period}}"
eos_token = false
bos_token = false
engine = "reference"
batch_bytes = 75_000
"""

Write = Callable[..., Path]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.jsonl").write_text("".join(f'{{"text": "night {number}"}}\n' for number in range(100)))
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a schedules.toml whose schedule was first served some days ago."""

    def schedules(corpus: Path, cron: str = "0 0 * * *", days: float = 0, catch_up: str = "latest") -> Path:
        path = tmp_path / "schedules.toml"
        path.write_text(FILE.format(tokenizer=JOB[1], cron=cron, corpus=corpus, catch_up=catch_up))
        if days:
            served = tmp_path / "runs" / "web" / "served.json"
            served.parent.mkdir(parents=True)
            served.write_text(json.dumps({"version": 1, "since": (datetime.now(UTC) - timedelta(days=days)).isoformat()}))
        return path

    return schedules


def history(tokenmill: Run) -> list[dict[str, Any]]:
    done = tokenmill("schedule", "history", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def midnight(days_ago: int = 0) -> str:
    return (datetime.now(UTC) - timedelta(days=days_ago)).strftime("%Y-%m-%d")


def ended(folder: Path) -> set[str]:
    return {path.name.removesuffix(".end.json") for path in (folder / "runs" / "web").glob("*.end.json")}


def test_two_schedulers_with_a_beat_each(cluster: Cluster, small: Path, write: Write, wait_until: WaitUntil) -> None:
    """Both beats send every minute; the minute is run once."""
    write(small, cron="* * * * *")
    cluster.worker("alpha")
    for name in ("one", "two"):
        cluster.start("tokenmill", "schedule", name=name)
    for name in ("one", "two"):
        wait_until(lambda name=name: "Sending due task web" in cluster.log(name), f"the beat of {name}", seconds=130)
    wait_until(lambda: ended(cluster.folder), "a run")
    first = min(ended(cluster.folder))
    assert (cluster.log("one") + cluster.log("two")).count(f"web {first} begins") == 1
    end = json.loads((cluster.folder / "runs" / "web" / f"{first}.end.json").read_text())
    assert (end["outcome"], end["documents"]) == ("sealed", 100)
    assert (cluster.folder / "tokens" / first / "manifest.json").exists()


def test_of_two_schedulers_one_carries_a_run_out(cluster: Cluster, small: Path, write: Write, wait_until: WaitUntil) -> None:
    """Both find the night that nobody was there for; the worker comes when both have had their turn."""
    write(small, days=1)
    for name in ("one", "two"):
        cluster.start("tokenmill", "schedule", name=name)
        wait_until(lambda name=name: "beat: Starting" in cluster.log(name), f"the beat of {name}")
    cluster.worker("alpha")
    wait_until(lambda: midnight() in ended(cluster.folder), "the run")
    assert (cluster.log("one") + cluster.log("two")).count(f"web {midnight()} begins") == 1


def test_a_scheduler_is_killed_in_mid_run(
    cluster: Cluster, corpus: Path, write: Write, wait_until: WaitUntil, tokenmill: Run
) -> None:
    """The other one takes the run over within a minute, with the job that stands, though the corpus has grown since."""
    grown = cluster.folder / "corpus"
    grown.mkdir()
    shutil.copy(corpus / "part-0.jsonl", grown)
    (cluster.folder / "site").mkdir()
    (cluster.folder / "site" / "sitecustomize.py").write_text(SLOW)
    cluster.environment["PYTHONPATH"] = str(cluster.folder / "site")
    write(grown, days=1)
    cluster.worker("alpha")
    output = cluster.folder / "tokens" / midnight()
    one = cluster.start("tokenmill", "schedule", name="one")
    wait_until(lambda: len(committed(output)) >= 3, "batches")
    processes = children(one.pid)
    kill([one.pid], signal.SIGKILL)
    wait_until(lambda: not living(processes), "its children to die with it", seconds=10)
    (grown / "new.jsonl").write_text('{"text": "came later"}\n')
    assert not ended(cluster.folder)
    cluster.start("tokenmill", "schedule", name="two")
    wait_until(lambda: ended(cluster.folder), "the end of the run", seconds=100)
    (account,) = [run for run in history(tokenmill) if run["outcome"] != "missed"]
    assert (account["period"], account["outcome"]) == (midnight(), "sealed")
    assert "came later" not in json.dumps(json.loads((output / "job.json").read_text()))
    assert account["documents"] == sum(1 for _ in (grown / "part-0.jsonl").open(encoding="utf-8"))


def test_the_broker_is_killed_and_comes_back_empty(
    cluster: Cluster, small: Path, write: Write, wait_until: WaitUntil, tokenmill: Run
) -> None:
    """A scheduler that has no broker claims and waits; when there is one, the run goes its way."""
    write(small, days=1)
    cluster.remembers = False
    one = cluster.start("tokenmill", "schedule", name="one")
    wait_until(lambda: "begins" in cluster.log("one"), "the run")
    cluster.kill_broker()
    wait_until(lambda: "broker is away" in cluster.log("one"), "the loss to be noticed")
    cluster.start_broker()
    wait_until(cluster.answers, "the broker")
    cluster.worker("alpha")
    wait_until(lambda: midnight() in ended(cluster.folder), "the end of the run")
    assert (one.poll(), history(tokenmill)[0]["outcome"]) == (None, "sealed")


def test_on_one_machine_without_a_broker(
    tmp_path: Path, small: Path, write: Write, tokenmill: Run, cluster: Cluster, wait_until: WaitUntil
) -> None:
    """Two nights are made up one after the other; SIGTERM leaves nothing behind, and the commands tell what was."""
    write(small, days=2, catch_up="all")
    del cluster.environment["TOKENMILL_BROKER"]
    service = cluster.start("tokenmill", "schedule", "--workers", 1, name="here")
    nights = {midnight(days) for days in range(2)}
    wait_until(lambda: ended(tmp_path) == nights, "the nights")
    processes = children(service.pid)
    service.send_signal(signal.SIGTERM)
    assert service.wait(20) == 130
    assert not living(processes)
    assert {(run["period"], run["outcome"], run["documents"]) for run in history(tokenmill)} == {
        (n, "sealed", 100) for n in nights
    }
    again = tokenmill("schedule", "run", "web")
    assert (again.returncode, "is sealed" in again.stderr) == (2, True)
    page = (
        tokenmill("schedule", "list").stdout + tokenmill("schedule", "next", 2).stdout + tokenmill("schedule", "history").stdout
    )
    assert max(map(len, page.splitlines())) <= 80
    assert "\x1b" not in page
    assert page.count((datetime.now(UTC) + timedelta(1)).strftime("%Y-%m-%d 00:00")) == 2


def test_a_run_by_hand_that_failed_is_run_again(small: Path, write: Write, tokenmill: Run, tmp_path: Path) -> None:
    write(small)
    (small / "a.jsonl").rename(tmp_path / "kept.jsonl")
    failed = tokenmill("schedule", "run", "web", "--period", "2026-03-01", "--file", "schedules.toml")
    assert failed.returncode == 1
    assert "failed web 2026-03-01" in failed.stdout
    (tmp_path / "kept.jsonl").rename(small / "a.jsonl")
    done = tokenmill("schedule", "--file", "schedules.toml", "run", "web", "--period", "2026-03-01")
    assert done.returncode == 0, done.stderr
    assert history(tokenmill)[0]["outcome"] == "sealed"
    assert (tmp_path / "tokens" / "2026-03-01" / "manifest.json").exists()
    wrong = tokenmill("schedule", "run", "web", "--period", "2026-03-01T0330")
    assert (wrong.returncode, "is no period of it" in wrong.stderr) == (2, True)


def test_a_run_that_was_parked_and_mended(small: Path, write: Write, tokenmill: Run, tmp_path: Path) -> None:
    """Its record says what it was, and the history that its output is sealed by now."""
    write(small)
    assert tokenmill("schedule", "run", "web", "--period", "2026-03-01").returncode == 0
    runs = Runs(str(tmp_path / "runs"), "web")
    account = runs.find("2026-03-01")
    assert account is not None
    assert account.end is not None
    assert account.job is not None
    storage.delete(runs.url("2026-03-01", ".end"))
    runs.end("2026-03-01", account.end.model_copy(update={"outcome": "parked", "reason": "1 batch"}))
    assert "parked, sealed since: 1 batch" in tokenmill("schedule", "history").stdout
    assert history(tokenmill)[0]["sealed_since"]
    (Path(account.job.output) / "manifest.json").unlink()
    assert "parked: 1 batch" in tokenmill("schedule", "history").stdout


def test_a_run_whose_process_dies_again_and_again(
    cluster: Cluster, small: Path, write: Write, wait_until: WaitUntil, tokenmill: Run
) -> None:
    """It ends as failed; the scheduler lives."""
    write(small, days=1)
    (cluster.folder / "site").mkdir()
    (cluster.folder / "site" / "sitecustomize.py").write_text(
        "import os, sys\nif 'producer.schedule.carry' in sys.orig_argv: os.abort()\n"
    )
    service = cluster.start("tokenmill", "schedule", name="one", PYTHONPATH=str(cluster.folder / "site"))
    wait_until(lambda: midnight() in ended(cluster.folder), "an end")
    assert service.poll() is None
    assert "its process died 3 times" in history(tokenmill)[0]["reason"]
