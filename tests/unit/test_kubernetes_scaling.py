"""How many workers KEDA asks for, and what becomes of a batch when it asks for fewer."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from kubernetes_validate import ValidationError

from tests.manifests import Checkout, Manifest, check, damage, environment, of_kind, pods

PROMTOOL = shutil.which("promtool")


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A user's own copy."""
    return Checkout(tmp_path_factory.mktemp("deploy") / "kubernetes")


#: The fields of KEDA 2.20's ScaledObject, without those of old that it no longer names.
SCALED = {"scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod", "idleReplicaCount"}
SCALED |= {"initialCooldownPeriod", "fallback", "advanced", "triggers"}
TRIGGER = {"type", "name", "metadata", "metricType", "authenticationRef", "useCachedMetrics"}
PROMETHEUS = {"serverAddress", "query", "threshold", "activationThreshold", "ignoreNullValues", "namespace", "authModes"}


def check_scaling(scaled: Manifest) -> None:
    """KEDA's own fields by name, and what it makes of them, an autoscaler, by Kubernetes' schema."""
    spec = scaled["spec"]
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    assert spec.keys() <= SCALED
    for trigger in spec["triggers"]:
        assert trigger.keys() <= TRIGGER
        assert trigger["type"] == "prometheus"
        assert {"serverAddress", "query", "threshold"} <= trigger["metadata"].keys() <= PROMETHEUS
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": scaled["metadata"],
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", **spec["scaleTargetRef"]},
            "minReplicas": spec["minReplicaCount"],
            "maxReplicas": spec["maxReplicaCount"],
            **spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}),
        },
    }
    check(autoscaler)


@pytest.mark.parametrize("choice", ["gpu", "mig"])
def test_every_scaling_is_one(checkout: Checkout, choice: str) -> None:
    scaled = of_kind(checkout.render(choice), "ScaledObject")
    assert scaled.keys() == {"cpu-worker", "gpu-worker"}
    for manifest in scaled.values():
        check_scaling(manifest)


@pytest.mark.parametrize(("path", "value"), [
    ("spec/minReplicas", 1),
    ("spec/triggers/0/metadata/treshold", "4"),
    ("spec/advanced/horizontalPodAutoscalerConfig/behavior/scaleDown/stabilisationWindowSeconds", 120),
    ("spec/advanced/horizontalPodAutoscalerConfig/behavior/scaleDown/policies", [{"type": "Percent", "value": "half"}]),
])  # fmt: skip
def test_a_broken_scaling_is_refused(checkout: Checkout, path: str, value: object) -> None:
    scaled = of_kind(checkout.render("scaled"), "ScaledObject")["cpu-worker"]
    check_scaling(scaled)
    damage(scaled, path, value)
    with pytest.raises((ValidationError, AssertionError)):
        check_scaling(scaled)


def test_a_scaled_down_worker_may_finish_its_batch(checkout: Checkout) -> None:
    for name, pod in pods(checkout.render("gpu")).items():
        if name.endswith("-worker"):
            grace = float(environment(pod["containers"][0])["TOKENMILL_GRACE_SECONDS"]["value"])
            slowest = (256 << 20) / 1e6 * 0.5  # the largest batch by default, seconds per megabyte of the reference
            assert slowest < grace
            assert grace + 5 < pod["terminationGracePeriodSeconds"], "what is unfinished has 5 s to go back"
            assert pod["terminationGracePeriodSeconds"] <= 600, "the cluster autoscaler waits no longer"


def test_a_worker_is_called_for_every_batch_that_its_processes_could_take(checkout: Checkout) -> None:
    """Otherwise a long queue would ask for no further worker: dispatchers keep it at 16 and two for each batch that runs."""
    manifests = checkout.render("gpu")
    worker, scaled = pods(manifests)["cpu-worker"]["containers"][0], of_kind(manifests, "ScaledObject")["cpu-worker"]
    assert scaled["spec"]["triggers"][0]["metadata"]["threshold"] == worker["resources"]["requests"]["cpu"]
    assert environment(worker)["TOKENMILL_CPUS"]["valueFrom"] == {"resourceFieldRef": {"resource": "requests.cpu"}}
    assert all(scaled["spec"]["minReplicaCount"] >= 1 for scaled in of_kind(manifests, "ScaledObject").values())


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here: Debian's package `prometheus` brings it")
@pytest.mark.parametrize(("worker", "expected"), [("cpu-worker", 47), ("gpu-worker", 5)])
def test_keda_asks_for_what_waits_and_what_is_held_once(checkout: Checkout, tmp_path: Path, worker: str, expected: int) -> None:
    """Two dispatchers export the same queue, one a moment behind; another namespace has a queue of its own."""
    query = of_kind(checkout.render("gpu"), "ScaledObject")[worker]["spec"]["triggers"][0]["metadata"]["query"]
    series = {
        ("dispatcher-a", "tokenmill", "encode", "waiting"): "40",
        ("dispatcher-b", "tokenmill", "encode", "waiting"): "39",
        ("dispatcher-a", "tokenmill", "encode", "unacked"): "7",
        ("dispatcher-b", "tokenmill", "encode", "unacked"): "7",
        ("dispatcher-a", "tokenmill", "encode.gpu", "waiting"): "3",
        ("dispatcher-b", "tokenmill", "encode.gpu", "waiting"): "3",
        ("dispatcher-a", "tokenmill", "encode.gpu", "unacked"): "2",
        ("dispatcher-b", "tokenmill", "encode.gpu", "unacked"): "2",
        ("dispatcher-a", "another", "encode", "waiting"): "500",
    }
    inputs = [
        {"series": f'tokenmill_queue_batches{{pod="{p}",namespace="{n}",queue="{q}",state="{s}"}}', "values": f"{value}x10"}
        for (p, n, q, s), value in series.items()
    ]
    # dispatcher-a goes; what it said last is not believed for long, and the other one is
    gone = [
        {**series, "values": series["values"] + (" stale" if "dispatcher-a" in series["series"] else " _")} for series in inputs
    ]
    later = expected - 1 if worker == "cpu-worker" else expected
    tests = [
        {"interval": "15s", "input_series": inputs, "promql_expr_test": [asked(query, "1m", expected)]},
        {"interval": "15s", "input_series": gone, "promql_expr_test": [asked(query, "3m", later)]},
    ]
    (tmp_path / "tests.yml").write_text(yaml.safe_dump({"rule_files": [], "tests": tests}))
    done = subprocess.run([str(PROMTOOL), "test", "rules", tmp_path / "tests.yml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def asked(query: str, at: str, value: int) -> Manifest:
    return {"expr": query, "eval_time": at, "exp_samples": [{"labels": "{}", "value": value}]}
