"""Prometheus' own checker on what the project gives Prometheus: the configuration, the alert rules, and the cases of each."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
ALERTS = [rule["alert"] for rule in yaml.safe_load((PROMETHEUS / "rules/alerts.yml").read_text())["groups"][0]["rules"]]


@pytest.fixture(scope="session")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        reason = "no promtool (Debian's package prometheus): configuration and alert rules are NOT checked"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return found


def said(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)


def test_the_configuration_is_valid(promtool: str) -> None:
    done = said(promtool, "check", "config", "--lint-fatal", PROMETHEUS / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


def test_each_alert_comes_where_it_has_to_and_nowhere_else(promtool: str) -> None:
    done = said(promtool, "test", "rules", PROMETHEUS / "alerts_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("instead", ["vector(0) > 1", "vector(1)"], ids=["never comes", "always comes"])
@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_that_is_broken_is_noticed(alert: str, instead: str, promtool: str, tmp_path: Path) -> None:
    """The cases are worth something: each rule, made mute or made to cry without end, fails one."""
    rules = yaml.safe_load((PROMETHEUS / "rules/alerts.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        if rule["alert"] == alert:
            rule["expr"] = instead
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/alerts.yml").write_text(yaml.safe_dump(rules))
    shutil.copy(PROMETHEUS / "alerts_test.yml", tmp_path)
    done = said(promtool, "test", "rules", tmp_path / "alerts_test.yml")
    assert done.returncode == 1, f"{alert} may say anything"
