"""One real cluster, watched by a real Prometheus: workers, dispatcher and Flower do a job while a child and a pool are killed.

What is looked at then: the totals of /metrics against the manifest, every panel of the dashboard, every line of the JSON logs.
"""

import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.cluster import Cluster, WaitUntil, children, committed, free_port, kill, living
from tests.acceptance.conftest import BIN, JOB
from tests.acceptance.endpoint import Samples, port_of, scraped, series, spoken, value
from tests.acceptance.flower import Flower
from tests.gpus import STAND_IN, Host, gpu
from tests.prometheus import query
from tokenmill.settings import METRICS_FOLDER

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/tokenmill.json").read_text())
#: A reference that stands still while a file is there, and says so: what is killed then is killed in mid-batch for certain.
GATE = """
import os, time
from tokenmill.engines.reference import ReferenceEngine

quick = ReferenceEngine.encode

def encode(self, text):
    while os.path.exists(os.environ["GATE"]):
        open(f"{os.environ['GATE']}.{os.getpid()}", "w").close()
        time.sleep(0.02)
    return quick(self, text)

ReferenceEngine.encode = encode
"""
#: What no document of the corpus is: one empty, two broken.
DAMAGE = '{"id": "empty", "text": ""}\n{"id": "broken", "te\n{"id": "no text"}\n'


class Prometheus:
    """Debian's Prometheus with the project's configuration; only where the targets are, and how often, is this test's."""

    def __init__(self, binary: str, folder: Path, targets: dict[str, int], stack: ExitStack) -> None:
        self.port = free_port()
        targets = {**targets, "prometheus": self.port}
        settings = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
        settings["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
        settings["rule_files"] = [str(ROOT / "deploy/prometheus" / name) for name in settings["rule_files"]]
        self.jobs = [scrape["job_name"] for scrape in settings["scrape_configs"]]
        for scrape in settings["scrape_configs"]:
            for way in ("dns_sd_configs", "static_configs"):
                scrape.pop(way, None)
            if scrape["job_name"] in targets:
                scrape["static_configs"] = [{"targets": [f"127.0.0.1:{targets[scrape['job_name']]}"]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
        command = [binary, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}"]
        with (folder / "prometheus.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, f"--web.listen-address=127.0.0.1:{self.port}"], stdout=log, stderr=log, cwd=folder
            )
        stack.callback(process.wait)
        stack.callback(process.kill)

    def asked(self, promql: str) -> list[dict[str, Any]]:
        """The answer to an instant query."""
        return query(self.port, promql)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What is left to look at when the job is sealed."""

    cluster: Cluster
    output: Path
    #: Ports of /metrics.
    workers: int
    gpus: int
    gpu_host: Host
    dispatcher: int
    another: int
    flower: Flower
    prometheus: Prometheus | None
    #: The process of the workers, and where its children leave their numbers.
    launcher: "subprocess.Popen[bytes]"
    folder: Path
    #: Seen of the dispatcher while both workers stood in mid-batch, and of the workers.
    midway: Samples
    #: Process numbers of the children that were killed.
    killed: tuple[int, ...]


@pytest.fixture(scope="module")
def watched(corpus: Path, tmp_path_factory: pytest.TempPathFactory, wait_until: WaitUntil) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    with ExitStack() as stack:
        cluster = Cluster(folder, stack)
        cluster.start_broker()
        wait_until(cluster.answers, "the broker")
        gate, site, output = folder / "gate", folder / "site", folder / "out"
        site.mkdir()
        (site / "sitecustomize.py").write_text(GATE)
        lines = (corpus / "part-0.jsonl").read_text().splitlines(keepends=True)
        (folder / "corpus.jsonl").write_text("".join([*lines[:40], DAMAGE, *lines[40:]]))
        cluster.environment |= {"TOKENMILL_HOME": str(folder / "home"), "TOKENMILL_CACHE": str(folder / "cache")}
        cluster.environment |= {"TOKENMILL_LOG_FORMAT": "json", "GATE": str(gate), "PYTHONPATH": str(site)}
        launcher = cluster.start("tokenmill-worker", "--gpus", "none", "--cpus", 2, "--metrics-port", 0, name="workers")
        cluster.start("tokenmill", "dispatch", "--metrics-port", 0, name="dispatch")
        cluster.start("tokenmill", "dispatch", "--metrics-port", 0, name="another")
        workers, dispatcher, another = (port_of(cluster, name, wait_until) for name in ("workers", "dispatch", "another"))
        flower = Flower(cluster, wait_until, worker="cpu@")
        binary = shutil.which("prometheus")
        targets = {"cpu-worker": workers, "gpu-worker": free_port(), "dispatcher": dispatcher, "flower": flower.port}
        prometheus = Prometheus(binary, folder, targets, stack) if binary else None
        if prometheus:  # the first rise of a counter is seen only where it has been seen before
            wait_until(lambda: len(prometheus.asked("up == 1")) == 4, "every target in Prometheus")

        def standing() -> list[int]:
            """The processes that stand in mid-batch."""
            living = children(launcher.pid)
            return [number for path in folder.glob("gate.*") if (number := int(path.suffix[1:])) in living]

        submit = ["submit", folder / "corpus.jsonl", *JOB, "--batch-bytes", "50000", "--engine", "reference"]
        submit += ["--max-rejected", "1", "--name", "prose", "--output", output]
        gate.touch()
        subprocess.run([BIN / "tokenmill", *map(str, submit)], env=cluster.environment, check=True, capture_output=True)
        wait_until(lambda: len(standing()) == 2, "both children in mid-batch")
        wait_until(lambda: len(cluster.running()) == 2, "both batches at work")
        for port in (dispatcher, another):  # one of them leads
            wait_until(lambda at=port: series(scraped(at), "tokenmill_job_batches", state="running") == [2], "both in metrics")
        midway = scraped(dispatcher)
        child = standing()[0]
        numbers = Path(f"/proc/{child}/environ").read_bytes().decode().split("\0")
        where = next(line.partition("=")[2] for line in numbers if line.startswith(f"{METRICS_FOLDER}="))
        kill([child], signal.SIGKILL)
        wait_until(lambda: len(standing()) == 2 and child not in standing(), "the next child in mid-batch")
        gate.unlink()
        wait_until(lambda: len(committed(output)) >= 3, "some batches")
        gate.touch()
        for mark in folder.glob("gate.*"):  # of the first time; whoever stands there makes his anew
            mark.unlink()
        wait_until(lambda: len(standing()) == 2, "both children in mid-batch again")
        pool = children(launcher.pid)[1:]
        kill(pool[:1], signal.SIGKILL)
        wait_until(lambda: not living(pool), "the end of the whole pool")
        gate.unlink()
        wait_until((output / "manifest.json").exists, "the seal", seconds=120)
        wait_until(lambda: series(scraped(workers), "tokenmill_workers") == [2], "the next pool")
        for port in (dispatcher, another):
            wait_until(lambda at=port: value(scraped(at), "tokenmill_jobs") == 0, "the dispatchers' end of the job")
        gpu_host = Host(folder)
        environment = gpu_host.has(gpu("a", used=7_000_000_000, busy=40)) | {"PYTHONPATH": str(STAND_IN)}
        gpu_worker = ["--cpus", "none", "--metrics-port", targets["gpu-worker"]]
        cluster.start("tokenmill-worker", *gpu_worker, name="gpu-worker", **environment)
        if prometheus:
            wait_until(
                lambda: prometheus.asked("count_over_time(tokenmill_gpu_memory_bytes[1m]) > 3"),
                "the GPU's worker in Prometheus",
            )
        yield Watched(
            gpus=targets["gpu-worker"], gpu_host=gpu_host, another=another,
            cluster=cluster, output=output, workers=workers, dispatcher=dispatcher, flower=flower, prometheus=prometheus,
            launcher=launcher, folder=Path(where), midway=midway, killed=(child, *pool),
        )  # fmt: skip


@pytest.fixture
def entries(watched: Watched) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (watched.output / "entries").glob("*.json")]


def test_the_workers_totals_are_the_manifests(watched: Watched, entries: list[dict[str, Any]], wait_until: WaitUntil) -> None:
    """Exactly, although a child and then a whole pool were killed in mid-batch: what they had counted is counted still."""
    manifest = json.loads((watched.output / "manifest.json").read_text())
    wait_until(lambda: value(scraped(watched.workers), "tokenmill_batches_total", outcome="committed") == len(entries), "all")
    now = scraped(watched.workers)
    assert value(now, "tokenmill_documents_total") == manifest["documents"] > 0
    assert value(now, "tokenmill_tokens_total") == manifest["tokens"] > 0
    assert value(now, "tokenmill_rejected_total") == manifest["rejected"] == 3
    assert value(now, "tokenmill_bytes_total") == sum(entry["counts"]["text_bytes"] for entry in entries)
    reasons = sum((Counter(entry["counts"]["rejected"]) for entry in entries), Counter[str]())
    assert {reason: value(now, "tokenmill_rejected_total", reason=reason) for reason in reasons} == reasons
    assert len(reasons) == 3
    begun = sum(entry["run"]["attempt"] for entry in entries)
    died = value(now, "tokenmill_batches_total", outcome="died")
    assert died == begun - len(entries) == 3, "one child, and later two with their pool"
    # a message that comes a second time is begun too, before the ledger is asked
    again = value(now, "tokenmill_batches_total", outcome="done_already")
    assert value(now, "tokenmill_attempts_total") == len(entries) + died + again
    for stage in ("read", "encode", "write", "commit"):
        assert value(now, "tokenmill_stage_seconds_total", stage=stage) >= sum(
            entry["run"]["stages"][stage] for entry in entries if entry["run"]["attempt"] == 1 and stage != "commit"
        )


def test_gauges_are_of_the_living_and_the_dead_leave_one_file(watched: Watched) -> None:
    now = scraped(watched.workers)
    assert value(now, "tokenmill_workers", kind="cpu") == 2, "not four, although two pools were started"
    assert value(now, "tokenmill_disabled_engines") == 0
    assert value(now, "tokenmill_cache_bytes") == sum(f.stat().st_size for f in (watched.output.parent / "cache").rglob("*.*"))
    living = set(children(watched.launcher.pid))
    owners = {int(path.stem.rpartition("_")[2]) for path in watched.folder.glob("*.db")}
    assert 0 in owners
    assert owners - {0} <= living
    assert not owners & set(watched.killed)


def test_the_dispatcher_says_what_waits_and_how_far_its_job_is(watched: Watched, entries: list[dict[str, Any]]) -> None:
    job = json.loads((watched.output / "job.json").read_text())
    states = {dict(labels)["state"]: number for (name, labels), number in watched.midway.items() if "job_batches" in name}
    assert states == {"planned": len(entries), "committed": 0, "parked": 0, "running": 2}
    assert value(watched.midway, "tokenmill_job_batches", job=job["job_id"], name="prose") > 0
    assert value(watched.midway, "tokenmill_jobs") == 1
    assert value(watched.midway, "tokenmill_queue_batches", queue="encode", state="unacked") == 2
    assert value(watched.midway, "tokenmill_queue_batches", queue="encode", state="waiting") == len(entries) - 2
    assert value(watched.midway, "tokenmill_queue_batches", queue="encode.gpu") == 0
    now = scraped(watched.dispatcher)
    ended = [
        value(scraped(port), "tokenmill_jobs_ended_total", outcome="sealed") for port in (watched.dispatcher, watched.another)
    ]
    assert max(ended) == 1, "the one that followed may have missed it"
    # what the killed pool held is unacked until it is sent again, a minute later
    assert value(now, "tokenmill_queue_batches", queue="encode", state="waiting") == 0
    for port in (watched.dispatcher, watched.another):
        assert not series(scraped(port), "tokenmill_job_batches"), "a job that has ended has none"


def test_a_gpu_is_read_for_as_long_as_it_is_there(watched: Watched, wait_until: WaitUntil) -> None:
    """By a stand-in for NVML; the worker's own process is not."""
    wait_until(lambda: series(scraped(watched.gpus), "tokenmill_workers", kind="gpu") == [1], "the GPU's worker")
    assert value(scraped(watched.gpus), "tokenmill_gpu_memory_bytes", gpu="0") == 7_000_000_000
    assert value(scraped(watched.gpus), "tokenmill_gpu_utilization_ratio", gpu="0") == 0.4
    watched.gpu_host.has(gpu("a", error=15))
    assert not series(scraped(watched.gpus), "tokenmill_gpu_memory_bytes")


def test_flower_shows_no_series_of_ours(watched: Watched) -> None:
    page = watched.flower.page("/metrics")
    assert "flower_worker_online" in page
    assert "tokenmill_" not in page


PANELS = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def test_every_panel_shows_something(watched: Watched, wait_until: WaitUntil) -> None:
    """Each query of the dashboard, asked of a real Prometheus that has watched the job."""
    prometheus = watched.prometheus
    if prometheus is None:
        reason = "no prometheus (Debian's package prometheus): the dashboard's queries are NOT tried"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    assert set(prometheus.jobs) == {"cpu-worker", "gpu-worker", "dispatcher", "flower", "prometheus"}
    total = value(scraped(watched.workers), "tokenmill_tokens_total")
    seen = "sum(tokenmill_tokens_total)"
    wait_until(lambda: [float(found["value"][1]) for found in prometheus.asked(seen)] == [total], "the totals in Prometheus")
    empty = {(title, query) for title, query in PANELS if not prometheus.asked(over_the_job(query))}
    # perhaps there is no limit of memory here; the query itself was understood
    assert {title for title, _ in empty} <= {"Memory per container", "Killed for memory"}
    progress = next(query for title, query in PANELS if title == "Jobs' progress")
    (last,) = prometheus.asked(f"max_over_time(({progress})[10m:500ms])")
    assert last["metric"]["name"] == "prose"
    assert last["metric"]["job"] == json.loads((watched.output / "job.json").read_text())["job_id"]
    rates = prometheus.asked("sum(increase(tokenmill_tokens_total[10m]))")
    assert float(rates[0]["value"][1]) == pytest.approx(total, rel=0.2), "from the first rise on"


def over_the_job(query: str) -> str:
    """A panel's query as Grafana would ask it over the last minutes: whether it had an answer at any moment of them."""
    return f"last_over_time(({query.replace('$__rate_interval', '2m')})[10m:500ms])"


def test_every_line_of_the_log_is_json_and_each_batch_has_one(watched: Watched, entries: list[dict[str, Any]]) -> None:
    lines = spoken(watched.cluster.log("workers"))
    batches = [line for line in lines if line.get("event") == "batch"]
    done = {line["batch"]: line for line in batches if line["outcome"] == "committed"}
    assert len(done) == sum(line["outcome"] == "committed" for line in batches) == len(entries)
    for entry in entries:
        line = done[entry["index"]]
        assert (line["job"], line["worker"]) == (entry["job_id"], entry["run"]["worker"])
        assert (line["documents"], line["tokens"]) == (entry["counts"]["documents"], entry["counts"]["tokens"])
        assert line["engine"] == entry["run"]["engine"]
        assert line["seconds"] >= entry["run"]["seconds"] - 0.001
    assert any("starting it again" in line["message"] for line in lines), "the launcher speaks JSON too"
    said = spoken(watched.cluster.log("dispatch")) + spoken(watched.cluster.log("another"))
    ended, *_ = (line for line in said if line.get("event") == "job")
    assert (ended["outcome"], ended["documents"]) == ("sealed", sum(entry["counts"]["documents"] for entry in entries))


def test_a_worker_that_is_told_to_end_takes_its_folder_along(watched: Watched) -> None:
    watched.launcher.terminate()
    assert watched.launcher.wait(30) == 0
    assert not watched.folder.exists()


def test_a_port_that_is_taken_is_said(watched: Watched) -> None:
    for command in (["tokenmill-worker", "--gpus", "none", "--cpus", "1"], ["tokenmill", "dispatch"]):
        asked = [BIN / command[0], *command[1:], "--metrics-port", str(watched.dispatcher)]
        done = subprocess.run(asked, env=watched.cluster.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert f"--metrics-port {watched.dispatcher} on 127.0.0.1: Address already in use" in done.stderr
        assert "Traceback" not in done.stderr
