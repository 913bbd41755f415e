"""Jobs in the stack: over a shared folder and over S3, sealed and exact, seen by Flower and Prometheus; then workers die."""

import base64
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.cluster import committed
from tests.acceptance.conftest import BIN, WHOLE_JOB, contents
from tests.containers.stack import Stack
from tests.containers.standins import ROOT
from tests.prometheus import query

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]

WaitUntil = Callable[..., None]
BOS = "<｜begin▁of▁sentence｜>"
#: Batches of a second or two each.
SLOW = ["--engine", "reference", "--batch-bytes", "1000000"]


@pytest.fixture(scope="module")
def demo(stack: Stack) -> Path:
    """The README's first job in containers, sealed, verified and inspected by its own command."""
    stack.tokenmill("demo", "--cluster", "--output", "/data/demo")
    return stack.data / "demo"


@pytest.fixture(scope="module")
def corpus(demo: Path) -> Path:
    """A third of the demo's corpus, where the containers see it."""
    lines = (demo / "corpus.jsonl").read_bytes().splitlines(keepends=True)
    (demo / "third.jsonl").write_bytes(b"".join(lines[::3]))
    return demo / "third.jsonl"


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, stack: Stack) -> dict[str, bytes]:
    """What the job of the faults makes when nothing happens."""
    stack.tokenmill(
        "submit", "/data/demo/third.jsonl", *WHOLE_JOB, *SLOW, "--name", "chaos", "--output", "/data/calm", "--follow"
    )
    return contents(stack.data / "calm")


def manifest(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "manifest.json").read_text())
    return found


# -- jobs ----------------------------------------------------------------------------------------------------------------------


def test_a_job_over_a_shared_folder_is_the_same_as_on_this_machine(demo: Path, tmp_path: Path) -> None:
    options = [*WHOLE_JOB[:4], "--bos-token", BOS, "--output", tmp_path / "here"]
    here = subprocess.run([BIN / "tokenmill", "run", demo / "corpus.jsonl", *options], capture_output=True, text=True)
    assert here.returncode == 0, here.stderr
    theirs, ours = manifest(demo / "tokens"), manifest(tmp_path / "here")
    assert theirs["shards"] == ours["shards"]
    assert theirs["tokens"] == ours["tokens"] > 1_000_000
    for name, found in contents(demo / "tokens").items():
        if name.startswith(("shards/", "tokenizer/")):
            assert found == (tmp_path / "here" / name).read_bytes(), name


def test_a_job_over_s3_is_the_same_as_over_a_folder(undisturbed: dict[str, bytes], stack: Stack) -> None:
    job = ["submit", "/data/demo/third.jsonl", *WHOLE_JOB, *SLOW, "--name", "chaos", "--follow"]
    stack.tokenmill(*job, "--output", "s3://tokens/third")
    stack.tokenmill("verify", "s3://tokens/third")
    there = json.loads(stack.tokenmill("inspect", "s3://tokens/third", "--json"))
    assert there["shards"] == json.loads(undisturbed["manifest.json"])["shards"]


# -- what people see -----------------------------------------------------------------------------------------------------------


def get(url: str, login: str | None = None) -> str:
    asked = urllib.request.Request(url)
    if login:
        asked.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return str(answer.read().decode())


def ask(stack: Stack, promql: str) -> list[dict[str, Any]]:
    return query(stack.port("PROMETHEUS"), promql)


def total(stack: Stack, promql: str) -> float:
    return sum(float(sample["value"][1]) for sample in ask(stack, promql))


def test_prometheus_has_counted_what_the_manifests_say(
    demo: Path, undisturbed: dict[str, bytes], stack: Stack, wait_until: WaitUntil
) -> None:
    manifests = [manifest(demo / "tokens"), json.loads(undisturbed["manifest.json"])]
    least = sum(found["tokens"] for found in manifests)
    wait_until(lambda: total(stack, "sum(tokenmill_tokens_total)") >= least, "the tokens in Prometheus", seconds=60)
    assert total(stack, "count(up == 1)") >= 4
    assert ask(stack, "up == 0") == []
    assert total(stack, "sum(tokenmill_workers)") == 2


def test_every_panel_of_the_dashboard_has_something_to_show(undisturbed: dict[str, bytes], stack: Stack) -> None:
    (dashboard,) = [json.loads(file.read_text()) for file in (ROOT / "deploy/grafana/dashboards").glob("*.json")]
    shown = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]
    shown = [(title, promql.replace("$__rate_interval", "5m")) for title, promql in shown]
    # a job's own series end with it, so what is asked is whether there was something to show
    empty = {title for title, promql in shown if not ask(stack, f"last_over_time(({promql})[10m:5s])")}
    assert len(shown) >= 10
    assert {title for title in empty if "GPU" not in title} == set()


def test_flower_shows_every_batch_and_lets_nobody_in_without_login(demo: Path, stack: Stack) -> None:
    site = f"http://127.0.0.1:{stack.port('FLOWER')}"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get(f"{site}/api/workers")
    tasks = json.loads(get(f"{site}/api/tasks?limit=10000", stack.settings["FLOWER_LOGIN"]))
    job = json.loads((demo / "tokens/job.json").read_text())
    done = [task for name, task in tasks.items() if name.startswith(job["job_id"]) and task["state"] == "SUCCESS"]
    assert len(done) == job["batches"]


# -- faults --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def follow(undisturbed: dict[str, bytes], stack: Stack, wait_until: WaitUntil) -> Iterator[Callable[[str], Path]]:
    """Submit the job into a folder and wait until it is well on its way."""

    def submit(name: str) -> Path:
        job = ["submit", "/data/demo/third.jsonl", *WHOLE_JOB, *SLOW, "--name", "chaos"]
        stack.tokenmill(*job, "--output", f"/data/{name}")
        wait_until(lambda: len(committed(stack.data / name)) >= 2, "the first batches", seconds=60)
        return stack.data / name

    yield submit
    stack.up("cpu-worker", cpu_worker=2)


def test_a_worker_container_is_killed_in_mid_job(
    follow: Callable[[str], Path], undisturbed: dict[str, bytes], stack: Stack, wait_until: WaitUntil
) -> None:
    output = follow("killed")
    victim = stack.containers("cpu-worker")[0]
    stack.engine.docker("kill", "--signal", "KILL", victim)
    assert not (output / "manifest.json").exists(), "the job was over before the kill"
    assert len(stack.containers("cpu-worker")) == 1
    wait_until((output / "manifest.json").exists, "the seal", seconds=120)
    assert contents(output) == undisturbed


def test_a_document_that_no_container_has_memory_for(stack: Stack, demo: Path, wait_until: WaitUntil) -> None:
    ordinary = (demo / "third.jsonl").read_bytes().splitlines(keepends=True)[:300]
    monster = json.dumps({"id": "monster", "text": "Grüße, 你好! " * 500_000}).encode() + b"\n"
    (stack.data / "monster.jsonl").write_bytes(b"".join([*ordinary[:150], monster, *ordinary[150:]]))
    before = total(stack, "sum(tokenmill_container_oom_kills_total)")
    job = ["submit", "/data/monster.jsonl", *WHOLE_JOB, *SLOW, "--max-document-bytes", "20000000", "--output", "/data/monster"]
    stack.tokenmill(*job, "--max-rejected", "0.1", "--follow")
    found = manifest(stack.data / "monster")
    assert (found["documents"], found["rejected"]) == (300, 1)
    rejected = [json.loads(line) for file in (stack.data / "monster/rejected").glob("*.jsonl") for line in file.open()]
    assert [document["reason"] for document in rejected] == ["killed_worker"]
    wait_until(lambda: total(stack, "sum(tokenmill_container_oom_kills_total)") > before, "the kills in Prometheus", seconds=60)
    wait_until(lambda: total(stack, "sum(tokenmill_workers)") == 2, "two workers again", seconds=60)
