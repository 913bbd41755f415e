"""One worker per GPU, each seeing its own; real workers, and NVML stood in for."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.cluster import Cluster, WaitUntil, children, kill
from tests.acceptance.conftest import JOB, Run, contents
from tests.acceptance.flower import Flower
from tests.acceptance.trial import CUT, WORKER, Trial
from tests.gpus import STAND_IN, Host, gpu, instance
from tokenmill.devices import find
from workers.launch import cpu_processes

A, B = gpu("a"), gpu("b")
#: Writes down, for each column, which worker encodes it and what CUDA would let it see.
TELLING = """
import os
from celery import current_task
from tokenmill.engines.reference import ReferenceEngine

quick = ReferenceEngine.encode

def encode(self, text):
    if current_task:
        with open(os.environ["SEEN"], "a") as seen:
            print(current_task.request.hostname.partition("@")[0], os.environ["CUDA_VISIBLE_DEVICES"], file=seen)
    return quick(self, text)

ReferenceEngine.encode = encode
"""


@pytest.fixture
def host(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """The GPUs of all workers of the cluster: two, unless a test says otherwise."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    cluster.environment.pop("CUDA_VISIBLE_DEVICES", None)
    made = Host(tmp_path)
    cluster.environment |= {**made.has(A, B), "PYTHONPATH": str(STAND_IN)}
    return made


@pytest.fixture
def start(cluster: Cluster, wait_until: WaitUntil) -> Callable[..., "subprocess.Popen[bytes]"]:
    """Start a host's workers; they are ready when their pools have been forked."""

    def start(*options: object, expect: set[str], **environment: str) -> "subprocess.Popen[bytes]":
        process = cluster.start("tokenmill-worker", *options, name="host", **environment)
        wait_until(lambda: {name for name, pids in pools(process).items() if len(pids) > 1} == expect, f"{expect}")
        return process

    return start


def pools(process: "subprocess.Popen[bytes]") -> dict[str, list[int]]:
    """Worker -> its main process and those that it has forked."""
    found: dict[str, list[int]] = {}
    for pid in children(process.pid)[1:]:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        except OSError:
            continue
        if "--name" in words:
            found.setdefault(words[words.index("--name") + 1], []).append(pid)
    return found


def visible(process: "subprocess.Popen[bytes]") -> dict[str, set[str]]:
    """Worker -> CUDA_VISIBLE_DEVICES of its processes, as the kernel keeps it."""
    found: dict[str, set[str]] = {}
    for name, pids in pools(process).items():
        for pid in pids:
            words = Path(f"/proc/{pid}/environ").read_text().split("\0")
            found.setdefault(name, set()).add(next(w for w in words if w.startswith("CUDA_VISIBLE_DEVICES=")).partition("=")[2])
    return found


def workers_of(output: Path) -> set[str]:
    """Who did the batches, without host and process."""
    entries = [json.loads(path.read_text()) for path in (output / "entries").glob("*.json")]
    return {entry["run"]["worker"].partition("@")[0] for entry in entries}


# -- which workers there are -----------------------------------------------------------------------------------------------


def test_each_gpu_has_a_worker_that_sees_it_alone(
    cluster: Cluster, host: Host, start: Callable[..., "subprocess.Popen[bytes]"], corpus: Path, tmp_path: Path
) -> None:
    """By the kernel's word, and by what the encoding process of a real job finds in its environment."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(TELLING)
    path, seen = f"{STAND_IN}:{tmp_path / 'site'}", tmp_path / "seen"
    process = start("--cpus", 1, expect={"gpu0", "gpu1", "cpu"}, PYTHONPATH=path, SEEN=str(seen))
    assert visible(process) == {"gpu0": {A["uuid"]}, "gpu1": {B["uuid"]}, "cpu": {""}}
    assert [len(pids) for pids in pools(process).values()] == [2, 2, 2]
    job = cluster.start("tokenmill", "submit", corpus, *JOB, *CUT, "--output", "out", "--follow", name="follow")
    assert job.wait(120) == 0, cluster.log("follow")
    assert set(seen.read_text().splitlines()) == {f"gpu0 {A['uuid']}", f"gpu1 {B['uuid']}", "cpu "}
    assert workers_of(tmp_path / "out") == {"gpu0", "gpu1", "cpu"}
    process.terminate()
    assert process.wait(30) == 0


def test_each_mig_instance_has_a_worker(
    cluster: Cluster, host: Host, start: Callable[..., "subprocess.Popen[bytes]"], wait_until: WaitUntil
) -> None:
    """And Flower shows which one it is."""
    parts = [instance("c"), instance("d")]
    host.has(gpu("a", instances=parts))
    process = start("--cpus", "none", expect={"gpu0:0", "gpu0:1"})
    assert visible(process) == {"gpu0:0": {parts[0]["uuid"]}, "gpu0:1": {parts[1]["uuid"]}}
    flower = Flower(cluster, wait_until, worker="gpu0:1@")
    name = next(name for name in json.loads(flower.page("/api/workers?refresh=1")) if name.startswith("gpu0:1@"))
    page = flower.page(f"/worker/{name}")
    assert parts[1]["uuid"] in page
    assert "encode.gpu" in page


def test_processes_that_share_a_gpu(host: Host, start: Callable[..., "subprocess.Popen[bytes]"], wait_until: WaitUntil) -> None:
    """All of them see the same one, and the pool for the CPUs none."""
    process = start("--cpus", 1, "--gpu-processes", 3, expect={"gpu0", "gpu1", "cpu"})
    forked = {"gpu0": 3, "gpu1": 3, "cpu": 1}
    wait_until(lambda: {name: len(pids) - 1 for name, pids in pools(process).items()} == forked, f"{forked}")
    assert visible(process) == {"gpu0": {A["uuid"]}, "gpu1": {B["uuid"]}, "cpu": {""}}


def test_each_core_has_one_process() -> None:
    cores = len(os.sched_getaffinity(0))
    assert [cpu_processes("0", for_gpus) for for_gpus in (0, 1, cores, cores + 1)] == [cores, cores - 1, 0, 0]
    assert [cpu_processes(asked, cores) for asked in ("7", "none")] == [7, 0]


@pytest.mark.parametrize(
    ("options", "environment", "expect"),
    [
        (["--gpus", "1"], {}, {"gpu1": "GPU-b", "alpha": ""}),
        (["--gpus", "none"], {}, {"alpha": ""}),
        ([], {"TOKENMILL_GPUS": A["uuid"]}, {"gpu0": "GPU-a", "alpha": ""}),
        ([], {"CUDA_VISIBLE_DEVICES": B["uuid"]}, {"gpu1": "GPU-b", "alpha": ""}),
        ([], {"CUDA_VISIBLE_DEVICES": ""}, {"alpha": ""}),
        ([], {"NVML_STAND_IN": ""}, {"alpha": ""}),
    ],
    ids=["one", "none", "by environment", "what CUDA may see", "CUDA may see none", "no driver"],
)
def test_the_gpus_that_were_asked_for(
    host: Host,
    start: Callable[..., "subprocess.Popen[bytes]"],
    wait_until: WaitUntil,
    options: list[str],
    environment: dict[str, str],
    expect: dict[str, str],
) -> None:
    named = {name if name == "alpha" else f"alpha-{name}": uuid for name, uuid in expect.items()}
    process = start("--name", "alpha", "--cpus", 2, *options, expect=set(named), **environment)
    found = visible(process)
    assert {name: next(iter(uuids))[:5] for name, uuids in found.items()} == named
    wait_until(lambda: len(pools(process)["alpha"]) == 3, "both processes for the CPUs")


@pytest.mark.parametrize(
    ("options", "visible", "says"),
    [
        (["--gpus", "7"], None, "--gpus 7: '7' names no GPUs of this process. There are: 0 NVIDIA H100"),
        (["--gpus", "0"], B["uuid"], "--gpus 0: '0' names no GPUs of this process. There are: 1 NVIDIA H100"),
        ([], "5", "CUDA_VISIBLE_DEVICES=5: '5' names no GPUs"),
        (["--gpus", "none", "--cpus", "none"], None, "--gpus none with --cpus none leaves nothing to run"),
        (["--cpus", "many"], None, "--cpus many: give a number of processes"),
    ],
)
def test_what_cannot_be_is_refused(cluster: Cluster, host: Host, options: list[str], visible: str | None, says: str) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    refused = cluster.start("tokenmill-worker", *options, name="refused", **environment)
    assert refused.wait(30) == 2
    assert says in cluster.log("refused")
    assert "Traceback" not in cluster.log("refused")


def test_a_worker_that_dies_is_started_again_alone(
    cluster: Cluster, host: Host, start: Callable[..., "subprocess.Popen[bytes]"], wait_until: WaitUntil
) -> None:
    process = start("--cpus", 1, expect={"gpu0", "gpu1", "cpu"})
    before = pools(process)
    kill(before["gpu0"][:1], signal.SIGKILL)
    wait_until(lambda: pools(process).get("gpu0", before["gpu0"])[0] != before["gpu0"][0], "another gpu0")
    after = pools(process)
    assert (after["gpu1"], after["cpu"]) == (before["gpu1"], before["cpu"])
    assert visible(process)["gpu0"] == {A["uuid"]}
    assert "gpu0 ended with status -9; starting it again in 2 s" in cluster.log("host")


# -- GPUs that go ----------------------------------------------------------------------------------------------------------


def test_a_gpu_that_falls_off_takes_its_worker_out_and_not_the_host(
    trial: Trial, host: Host, start: Callable[..., "subprocess.Popen[bytes]"], wait_until: WaitUntil
) -> None:
    """Its batch goes to the others, the bytes are the same, and it is not started again."""
    slow = f"{STAND_IN}:{trial.cluster.folder / 'site'}"
    process = start("--cpus", 1, expect={"gpu0", "gpu1", "cpu"}, PYTHONPATH=slow)
    trial.submit()
    struck, since = trial.begun("gpu1"), time.monotonic()
    before = pools(process)
    host.has(A, gpu("b", error=15))
    wait_until(lambda: "gpu1" not in pools(process), "the end of gpu1", seconds=20)
    assert f"GPU 1 NVIDIA H100 80GB HBM3, 80 GB, {B['uuid']} is gone: gpu1 ends" in trial.cluster.log("host")
    trial.recovered(struck, WORKER, since)
    trial.sealed("a GPU falls off the bus")
    assert pools(process) == {name: pids for name, pids in before.items() if name != "gpu1"}
    assert workers_of(trial.output) == {"gpu0", "gpu1", "cpu"}


def test_when_the_last_worker_goes_so_does_the_host(
    cluster: Cluster, host: Host, start: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    process = start("--cpus", "none", expect={"gpu0", "gpu1"})
    host.has()
    assert process.wait(30) == 1
    assert "no worker is left" in cluster.log("host")


# -- jobs for GPUs ---------------------------------------------------------------------------------------------------------


def test_a_job_for_gpus_goes_through_their_workers_only_and_first(
    cluster: Cluster,
    host: Host,
    start: Callable[..., "subprocess.Popen[bytes]"],
    wait_until: WaitUntil,
    undisturbed: dict[str, bytes],
    corpus: Path,
    tmp_path: Path,
) -> None:
    """Two jobs wait, that for everybody longer; the ids do not depend on who does them."""
    jobs = {}
    for device, sources in (("auto", corpus / "part-0.jsonl"), ("cuda", corpus)):
        follow = [*JOB, *CUT, "--device", device, "--output", device, "--follow"]
        jobs[device] = cluster.start("tokenmill", "submit", sources, *follow, name=device)
    depth = cluster.client.llen
    wait_until(lambda: depth("tokenmill:encode") > 8 and depth("tokenmill:encode.gpu") > 8, "both jobs waiting")
    cpu = cluster.start("tokenmill-worker", "--gpus", "none", "--cpus", 1, "--name", "slow", name="slow")
    start("--cpus", "none", "--gpus", "0", expect={"gpu0"})
    assert [job.wait(120) for job in jobs.values()] == [0, 0]
    assert cpu.poll() is None
    assert workers_of(tmp_path / "cuda") == {"gpu0"}
    assert "slow" in workers_of(tmp_path / "auto")
    assert contents(tmp_path / "cuda") == undisturbed
    runs = {device: [json.loads(p.read_text())["run"] for p in (tmp_path / device / "entries").glob("*")] for device in jobs}
    auto_on_gpu = [run["started"] for run in runs["auto"] if run["worker"].startswith("gpu0@")]
    assert sorted(run["started"] for run in runs["cuda"])[10] < min(auto_on_gpu, default=float("inf"))


def test_a_job_for_gpus_without_any_says_so_and_goes_elsewhere_when_asked(
    cluster: Cluster, tokenmill: Run, corpus: Path, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """A warning, no failure: GPUs may come later."""
    cluster.environment["TOKENMILL_HOME"] = home = str(tmp_path / "home")
    cluster.start("tokenmill", "dispatch", name="dispatch")
    cluster.worker("alpha")
    wait_until(lambda: cluster.client.smembers("tokenmill:_kombu.binding.encode"), "the worker")
    job, here = ["submit", corpus, *JOB, *CUT, "--output", "out"], {"TOKENMILL_BROKER": cluster.broker, "TOKENMILL_HOME": home}
    submitted = tokenmill(*job, "--device", "cuda", **here)
    assert submitted.returncode == 0
    assert "no worker serves the queue encode.gpu. Start tokenmill-worker on a host that has a GPU" in submitted.stderr
    wait_until(lambda: cluster.client.llen("tokenmill:encode.gpu") == 16, "the batches")
    status = tokenmill("status", "out", **here)
    assert status.returncode == 0
    assert "no worker serves the queue encode.gpu" in status.stdout.replace("\n", " ")
    said = json.loads(tokenmill("status", "out", "--json", **here).stdout)
    assert (said["unserved_queue"], said["committed"]) == ("encode.gpu", 0)
    assert tokenmill(*job, "--device", "auto", **here).returncode == 0
    wait_until((tmp_path / "out/manifest.json").exists, "the seal", seconds=120)
    assert workers_of(tmp_path / "out") == {"alpha"}


def test_a_job_for_gpus_on_this_machine(tokenmill: Run, host: Host, corpus: Path, tmp_path: Path) -> None:
    job = ["run", corpus, *JOB, *CUT, "--output", "out", "--device", "cuda"]
    without = tokenmill(*job, PYTHONPATH=str(STAND_IN), NVML_STAND_IN="")
    assert without.returncode == 2
    assert "--device cuda: there is no GPU for this process: there is no NVIDIA driver here" in without.stderr
    assert "--device auto, or submit the job to a cluster" in without.stderr
    assert not (tmp_path / "out").exists()
    here = {"PYTHONPATH": str(STAND_IN), "NVML_STAND_IN": str(host.file)}
    assert "Leave --workers (TOKENMILL_WORKERS) out" in tokenmill(*job, "--workers", 2, **here).stderr
    done = tokenmill(*job, **here)
    assert done.returncode == 0, done.stderr
    assert {worker.rpartition("-")[2] for worker in workers_of(tmp_path / "out")} <= {"gpu0", "gpu1"}


#: Prints how many GPUs CUDA sees, and the UUID of the first.
CUDA = """
import ctypes, uuid
cuda, count, raw = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), (ctypes.c_ubyte * 16)()
assert cuda.cuInit(0) == 0
assert cuda.cuDeviceGetCount(ctypes.byref(count)) == 0
assert cuda.cuDeviceGetUuid_v2(raw, 0) == 0
print(count.value, uuid.UUID(bytes=bytes(raw)))
"""


def test_on_a_real_gpu(cluster: Cluster, start: Callable[..., "subprocess.Popen[bytes]"], corpus: Path, tmp_path: Path) -> None:
    """In each worker's environment CUDA itself sees that worker's GPU alone, and in the CPU pool's none."""
    found = find(None)
    if not found.gpus:
        pytest.skip(f"needs a GPU: {found.why_none}")
    process = start("--cpus", 1, expect={"cpu", *(f"gpu{one.index}" for one in found.gpus)})

    def cuda(worker: str) -> "subprocess.CompletedProcess[str]":
        words = Path(f"/proc/{pools(process)[worker][0]}/environ").read_text().split("\0")
        environment = dict(word.split("=", 1) for word in words if word)
        return subprocess.run([sys.executable, "-c", CUDA], env=environment, capture_output=True, text=True)

    for one in found.gpus:
        assert cuda(f"gpu{one.index}").stdout.split() == ["1", one.uuid.partition("-")[2]]
    assert "cuInit" in cuda("cpu").stderr
    follow = [*JOB, *CUT, "--device", "cuda", "--output", "out", "--follow"]
    assert cluster.start("tokenmill", "submit", corpus, *follow, name="follow").wait(120) == 0, cluster.log("follow")
    assert workers_of(tmp_path / "out") <= {f"gpu{one.index}" for one in found.gpus}


#: The engine of the GPU runs its real kernels, on the processor.
PLAYING = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.cuda.host import HostDevice
from tokenmill.engines import cuda
from tokenmill.engines.cuda import engine

engine.open_device = lambda: HostDevice(lazy=False)
cuda.why_not_here, cuda.describe = lambda: None, lambda: "the processor"
"""


@pytest.mark.parametrize("plays", [True, False], ids=["GPU that encodes", "GPU that cannot"])
def test_gpu_and_cpu_workers_make_the_same_shards(
    cluster: Cluster,
    host: Host,
    start: Callable[..., "subprocess.Popen[bytes]"],
    corpus: Path,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    plays: bool,
) -> None:
    """Each proves what it uses; the entries tell who used what, and the output does not."""
    host.has(A)
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(PLAYING if plays else "")
    start("--cpus", 1, expect={"gpu0", "cpu"}, PYTHONPATH=f"{STAND_IN}:{tmp_path / 'site'}")
    job = [*JOB, *CUT[:2], "--engine", "cuda", "--output", "out", "--follow"]
    assert cluster.start("tokenmill", "submit", corpus, *job, name="follow").wait(200) == 0, cluster.log("follow")
    runs = [json.loads(path.read_text())["run"] for path in (tmp_path / "out/entries").glob("*.json")]
    on_gpu = {run["worker"].partition("@")[0]: run["engine"].startswith("cuda ") for run in runs}
    assert on_gpu == {"gpu0": plays, "cpu": False}
    assert contents(tmp_path / "out") == undisturbed
    why = "asked for" if plays else "there is no NVIDIA driver here (no libcuda.so.1)"
    assert f": {why}" in cluster.log("host")


def test_the_doctor_shows_the_gpus(tokenmill: Run, host: Host) -> None:
    shown = tokenmill("doctor", PYTHONPATH=str(STAND_IN), NVML_STAND_IN=str(host.file), COLUMNS="300").stdout
    assert f"0 NVIDIA H100 80GB HBM3, 80 GB, {A['uuid']}; 1 NVIDIA" in shown
