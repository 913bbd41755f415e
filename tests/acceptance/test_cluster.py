"""A cluster by hand: a broker on a port, workers in processes of their own, a dispatcher service, Flower."""

import json
import os
import signal
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.acceptance import trial
from tests.acceptance.cluster import Cluster, children, free_port
from tests.acceptance.conftest import JOB, Run, contents

SLOW = ["--batch-bytes", "250000", "--engine", "reference"]


def test_a_worker_killed_in_mid_job_changes_nothing(
    cluster: Cluster, tokenmill: Run, corpus: Path, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """Two workers by hand on a broker by hand; one is killed -9 with all of its own; the job seals by itself, identical."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(trial.SLOW.replace("0.2", "1"))  # a status takes its time too
    cluster.worker("alpha", PYTHONPATH=str(site))
    beta = cluster.worker("beta", PYTHONPATH=str(site))
    cluster.start("tokenmill", "dispatch", name="dispatch")
    submitted = tokenmill("submit", corpus, *JOB, *SLOW, "--output", "out", TOKENMILL_BROKER=cluster.broker)
    assert submitted.returncode == 0, submitted.stderr
    assert submitted.stdout.strip() == str(tmp_path / "out")

    def running_on(worker: str) -> bool:
        shown = tokenmill("status", "out", "--json", TOKENMILL_BROKER=cluster.broker)
        return any(worker in batch["worker"] for batch in json.loads(shown.stdout)["running"].values())

    wait_until(lambda: running_on("beta"), "a batch on beta")
    for pid in children(beta.pid):
        os.kill(pid, signal.SIGKILL)
    committed = len(list((tmp_path / "out/entries").glob("*.json")))
    wait_until((tmp_path / "out/manifest.json").exists, "the seal", seconds=120)
    total = json.loads((tmp_path / "out/job.json").read_text())["batches"]
    assert committed < total
    workers = {json.loads(path.read_text())["run"]["worker"] for path in (tmp_path / "out/entries").glob("*.json")}
    assert any(worker.startswith("alpha@") for worker in workers)
    assert tokenmill("run", corpus, *JOB, *SLOW, "--output", "undisturbed").returncode == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")
    wait_until(lambda: not list((tmp_path / "home").glob("jobs/*.json")), "the pointer gone")
    wait_until(lambda: "sealed" in cluster.log("dispatch"), "the dispatcher's word")
    assert not cluster.client.keys("tokenmill:sightings:*")


def test_flower_shows_workers_tasks_and_live_progress(
    cluster: Cluster, tokenmill: Run, corpus: Path, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    port = free_port()
    cluster.environment["FLOWER_UNAUTHENTICATED_API"] = "true"
    celery = ["-m", "celery", "-A", "workers.app", "flower", "--address=127.0.0.1", f"--port={port}"]
    cluster.start(sys.executable, *celery, name="flower")

    def ask(path: str) -> dict[str, dict[str, object]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return json.loads(answer.read())
        except OSError:
            return {}

    cluster.worker("alpha")
    wait_until(lambda: any(name.startswith("alpha@") for name in ask("/api/workers?refresh=1")), "the worker in Flower")
    submitted = ["submit", corpus, *JOB, *SLOW, "--output", "out", "--name", "prose", "--follow"]
    cluster.start("tokenmill", *submitted, name="follow")
    seen: dict[str, dict[str, object]] = {}

    def progress() -> bool:
        seen.update(ask("/api/tasks"))
        found = [str(task["result"]) for task in seen.values() if task["state"] == "PROGRESS"]
        return any(result == "begun" or "documents" in result for result in found)

    wait_until(progress, "live progress of a running batch")
    wait_until((tmp_path / "out/manifest.json").exists, "the seal", seconds=120)
    seen.update(ask("/api/tasks"))
    names = {str(task["name"]) for task in seen.values()}
    assert all(name.startswith("encode_batch[prose/0000") for name in names)
    assert all(" MB" in str(task["args"]) for task in seen.values())
    # a worker says so with each beat; Celery's own event of a task's arrival has room for the arguments' size only
    assert any(task["kwargs"] == f"report: {tmp_path}/out/report.html" for task in seen.values())


def test_submit_without_a_broker_says_what_to_do(tokenmill: Run, corpus: Path) -> None:
    nothing = tokenmill("submit", corpus, *JOB, "--output", "out")
    assert nothing.returncode == 2
    assert "TOKENMILL_BROKER is not set" in nothing.stderr
    away = tokenmill("submit", corpus, *JOB, "--output", "out", TOKENMILL_BROKER="redis://:secret@127.0.0.1:1/0")
    assert away.returncode == 1
    assert "no broker answers" in away.stderr
    assert "secret" not in away.stderr
