"""What can be said of Dockerfile, compose files and environments without running them: the checkers' verdicts, and what the
project promises of them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rattler import MatchSpec

import tokenmill
from tests.containers.engine import COMPOSE
from tests.containers.standins import DOCKERFILE, ROOT

BIN = Path(sys.executable).parent
PLAIN = ["docker-compose.yml"]
GPU = [*PLAIN, "docker-compose.gpu.yml"]


def services(files: list[str]) -> dict[str, dict[str, Any]]:
    """The services as Compose itself understands them, with the settings of `.env.example`."""
    named = [part for file in files for part in ("--file", file)]
    command = [COMPOSE, "--env-file", ".env.example", *named, "--profile", "*", "config"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, dict[str, Any]] = yaml.safe_load(done.stdout)["services"]
    return found


@pytest.mark.parametrize("command", [
    ["hadolint", "--failure-threshold", "info", str(DOCKERFILE)],
    ["compose-lint", "--fail-on", "low", "docker-compose.yml"],
    ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", *GPU],
], ids=lambda command: command[0])  # fmt: skip
def test_the_checkers_find_nothing(command: list[str]) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_checker_would_find_a_mistyped_option(tmp_path: Path) -> None:
    wrong = (ROOT / "docker-compose.yml").read_text().replace("mem_limit: 3g", "mem_limt: 3g")
    (tmp_path / "docker-compose.yml").write_text(wrong)
    checked = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", tmp_path / "docker-compose.yml"]
    )
    assert checked.returncode == 1


@pytest.mark.parametrize("name", sorted(services(GPU)))
def test_every_service_is_confined(name: str) -> None:
    service = services(GPU)[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert "privileged" not in service
    assert name == "producer" or service["healthcheck"]
    assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), "an image without a version"
    for port in service.get("ports", []):
        assert port["host_ip"] == "127.0.0.1", "open to everybody"


def test_no_secret_stands_in_the_file_and_every_one_stands_in_the_example() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    required = set(re.findall(r"\$\{(\w+):\?", text))
    optional = set(re.findall(r"\$\{(\w+):-", text))
    example = (ROOT / ".env.example").read_text()
    assert {"BROKER_PASSWORD", "FLOWER_LOGIN", "GRAFANA_PASSWORD"} <= required
    for name in required:
        assert re.search(rf"^{name}=\S", example, re.MULTILINE), f"{name} is asked for and not in .env.example"
    for name in re.findall(r"^#?(\w+)=", example, re.MULTILINE):
        assert name in required | optional | {"COMPOSE_PROFILES"}, f"{name} does nothing"


def test_git_takes_no_file_of_secrets() -> None:
    for file in (".env", "deploy/kubernetes/cluster/broker.env", "deploy/ssh/keys/me.pub"):
        assert subprocess.run(["git", "check-ignore", "--quiet", file], cwd=ROOT).returncode == 0, file


def test_the_image_is_called_by_the_version() -> None:
    images = {service["image"] for service in services(GPU).values() if service["image"].startswith("tokenmill")}
    assert {image.rpartition(":")[2] for image in images} == {tokenmill.__version__}


def test_a_worker_is_given_more_time_than_its_batches_have() -> None:
    assert int(services(PLAIN)["cpu-worker"]["stop_grace_period"].removesuffix("s")) > 20


def test_each_gpu_worker_has_a_device_and_no_other_number_for_it() -> None:
    workers = {name: service for name, service in services(GPU).items() if name.startswith("gpu-worker")}
    devices = [service["deploy"]["resources"]["reservations"]["devices"] for service in workers.values()]
    assert len(workers) == 2
    assert [len(reserved) for reserved in devices] == [1, 1]
    assert len({str(reserved[0]["device_ids"]) for reserved in devices}) == 2
    for service in workers.values():
        assert not {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"} & service["environment"].keys()


@pytest.mark.parametrize("file", ["environment.yml", "environment-gpu.yml"])
def test_an_environment_is_what_conda_can_read(file: str) -> None:
    environment = yaml.safe_load((ROOT / file).read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    specs = {MatchSpec(spec).name.normalized: MatchSpec(spec) for spec in environment["dependencies"] if isinstance(spec, str)}
    assert {"python", "pip"} <= specs.keys()
    assert environment["dependencies"][-1] == {"pip": ["-r requirements.lock"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    python = str(specs["python"].version).removesuffix(".*").lstrip("=")
    assert SpecifierSet(project["requires-python"]).contains(python)
    assert not specs.keys() & {Requirement(line).name for line in project["dependencies"]}, "two lists of versions"


def test_what_conda_cannot_read_is_refused() -> None:
    with pytest.raises(Exception, match="version"):
        MatchSpec("python==3.11.==")


def test_the_image_has_no_file_that_it_does_not_need() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set(re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE.read_text(), re.MULTILINE))
    sources = {source for line in copied for source in line.split()}
    needless = [name for name in allowed if not any(below(source, name) for source in sources)]
    assert (needless, [source for source in sources if not any(below(source, name) for name in allowed)]) == ([], [])


def below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
