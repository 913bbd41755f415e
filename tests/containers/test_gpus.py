"""One container per GPU: real reservations in a real engine, for GPUs that are stood in for."""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.conftest import WHOLE_JOB
from tests.containers.engine import GPUS
from tests.containers.stack import Stack
from tests.prometheus import query

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]

SERVICES = ("gpu-worker-0", "gpu-worker-1")


@pytest.fixture(scope="module")
def workers(stack: Stack) -> Iterator[dict[str, str]]:
    """GPU worker service -> its container."""
    stack.up(*SERVICES)
    yield {service: stack.containers(service)[0] for service in SERVICES}
    stack.compose("rm", "--force", "--stop", *SERVICES)


def test_each_container_has_one_gpu_and_its_worker_sees_just_this(workers: dict[str, str], stack: Stack) -> None:
    reserved = [stack.inspect(container)["HostConfig"]["DeviceRequests"][0]["DeviceIDs"] for container in workers.values()]
    assert reserved == [["0"], ["1"]]
    script = "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | sed -n 's/^CUDA_VISIBLE_DEVICES=//p' | sort -u"
    seen = [stack.execute(container, "sh", "-c", script).split() for container in workers.values()]
    assert seen == [[gpu["uuid"]] for gpu in GPUS]


def test_a_job_for_gpus_is_done_by_both_and_by_nobody_else(workers: dict[str, str], stack: Stack) -> None:
    with (stack.data / "gpus.jsonl").open("w") as corpus:
        for number in range(3000):
            print(json.dumps({"text": f"Document {number}. " + "Grüße, 你好! " * 200}), file=corpus)
    job = ["submit", "/data/gpus.jsonl", *WHOLE_JOB, "--engine", "reference", "--batch-bytes", "400000", "--device", "cuda"]
    stack.tokenmill(*job, "--output", "/data/gpus", "--follow")
    entries = [json.loads(file.read_text()) for file in (stack.data / "gpus/entries").glob("*.json")]
    hosts = {stack.inspect(container)["Config"]["Hostname"] for container in workers.values()}
    assert {entry["run"]["worker"].partition("/")[0] for entry in entries} == {f"gpu0@{host}" for host in hosts}


def test_prometheus_sees_both_gpus(workers: dict[str, str], stack: Stack, wait_until: Callable[..., None]) -> None:
    port = stack.port("PROMETHEUS")
    wait_until(lambda: len(query(port, "tokenmill_gpu_memory_bytes")) == 2, "two GPUs", seconds=60)
    assert {sample["metric"]["job"] for sample in query(port, "tokenmill_gpu_memory_bytes")} == {"gpu-worker"}
