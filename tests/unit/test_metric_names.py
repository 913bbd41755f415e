"""One list of metrics: what the code makes, the dashboard shows, the alerts ask for; test_docs sees that it is explained."""

import re
from pathlib import Path

import pytest

from producer import gauges
from workers import metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
NAMES = {metric.name for metric in (*metrics.METRICS, *gauges.METRICS)}


def asked_for(file: str) -> set[str]:
    """The names of ours in a file."""
    return set(re.findall(r"tokenmill_[a-z_]+", (DEPLOY / file).read_text()))


@pytest.mark.parametrize(
    "file", ["grafana/dashboards/tokenmill.json", "prometheus/rules/alerts.yml", "prometheus/alerts_test.yml"]
)
def test_nobody_asks_for_what_is_not_there(file: str) -> None:
    assert asked_for(file)
    assert asked_for(file) <= NAMES


def test_the_dashboard_shows_every_metric() -> None:
    assert asked_for("grafana/dashboards/tokenmill.json") == NAMES


def test_every_metric_is_one_of_the_two_kinds_and_says_what_it_is() -> None:
    made = [*metrics.METRICS, *gauges.METRICS]
    assert len(made) == len(NAMES)
    for metric in made:
        assert metric.says.endswith("."), metric
        assert re.fullmatch(r"tokenmill_[a-z_]+", metric.name), metric
