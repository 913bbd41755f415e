"""`tokenmill jobs` and `tokenmill top`: what a cluster's people see of it."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

from producer.queue import BatchQueue
from tests.acceptance.cluster import Cluster
from tests.acceptance.conftest import JOB, Run
from tests.acceptance.trial import CUT, SLOW
from tests.gpus import STAND_IN, Host, gpu
from tokenmill.vitals import KEY


def test_jobs_shows_what_is_registered_and_how_far_it_is(
    cluster: Cluster, tokenmill: Run, corpus: Path, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """A pointer that leads nowhere hides no job, and one whose job has ended is gone."""
    site, home = tmp_path / "site", str(tmp_path / "home")
    site.mkdir()
    (site / "sitecustomize.py").write_text(SLOW)
    told = {"TOKENMILL_BROKER": cluster.broker, "TOKENMILL_HOME": home}

    def jobs() -> dict[str, dict[str, object]]:
        return {job["name"]: job for job in json.loads(tokenmill("jobs", "--json", **told).stdout)}

    assert jobs() == {}
    command = ("submit", corpus / "part-0.jsonl", *JOB, *CUT, "--output", "out", "--name", "night")
    assert tokenmill(*command, **told).returncode == 0
    (pointer,) = (tmp_path / "home/jobs").iterdir()
    stray = pointer.with_name(f"{'0' * 16}-00000000.json")
    stray.write_text(json.dumps({"job_id": "0" * 16, "output": str(tmp_path / "nowhere")}))
    assert jobs()["night"] | {"job_id": ""} == {
        "job_id": "", "output": str(tmp_path / "out"), "name": "night", "state": "waiting",
        "batches": json.loads((tmp_path / "out/job.json").read_text())["batches"], "committed": 0, "parked": 0, "why": "",
    }  # fmt: skip
    assert jobs()[""]["state"] == "unreadable"
    assert "no job.json" in tokenmill("jobs", **told).stdout.replace("\n", " ")
    stray.unlink()
    cluster.worker("alpha", PYTHONPATH=str(site))
    cluster.start("tokenmill", "dispatch", name="dispatch", TOKENMILL_HOME=home)
    wait_until(lambda: jobs().get("night", {}).get("state") == "running", "a running job")
    wait_until(lambda: not jobs(), "its end")


def test_top_shows_hosts_as_long_as_they_live(
    cluster: Cluster, tokenmill: Run, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """Cores, memory and GPUs of each; one that has ended says so, one that was killed is not believed, nor is a stranger."""
    host = Host(tmp_path)
    environment = {**host.has(gpu("a")), "PYTHONPATH": str(STAND_IN)}
    worker = cluster.start("tokenmill-worker", "--cpus", 2, "--name", "alpha", name="alpha", **environment)
    queue = BatchQueue(cluster.broker)
    wait_until(queue.hosts, "the host")
    (found,) = json.loads(tokenmill("top", "--json", TOKENMILL_BROKER=cluster.broker).stdout)
    assert (found["pools"], found["processes"]) == (["alpha-gpu0", "alpha"], 3)
    assert 0 < found["memory_bytes"] <= found["memory_total"]
    assert found["cores"] >= 1
    assert [one["memory_total"] for one in found["gpus"]] == [80_000_000_000]
    assert found["host"] in tokenmill("top", TOKENMILL_BROKER=cluster.broker).stdout

    (name,) = cluster.client.hkeys(KEY)
    said = json.loads(cluster.client.hget(KEY, name))
    cluster.client.hset(KEY, "killed", json.dumps(said | {"host": "killed", "at": said["at"] - 60}))
    cluster.client.hset(KEY, "strange", json.dumps({"host": ["<script>"]}))
    assert [one.host for one in queue.hosts()] == [found["host"]]
    worker.send_signal(signal.SIGTERM)
    worker.wait(30)
    assert queue.hosts() == []
    nobody = tokenmill("top", TOKENMILL_BROKER=cluster.broker)
    assert "Start tokenmill-worker" in nobody.stdout.replace("\n", "")
    assert tokenmill("top").returncode == 2
