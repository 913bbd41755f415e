"""One list of metrics: what the code makes, the README of Prometheus explains, the dashboard shows, and the alerts ask for.

`python -m tests.unit.test_metric_names` writes the README's table anew.
"""

import re
from pathlib import Path

import pytest

from producer import gauges
from workers import metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
README = DEPLOY / "prometheus/README.md"
BEGIN, END = "<!-- metrics begin -->\n", "<!-- metrics end -->\n"
NAMES = {metric.name for metric in (*metrics.METRICS, *gauges.METRICS)}


def table() -> str:
    """Every metric, as the README shows it."""
    lines = ["| metric | labels | says |", "|---|---|---|"]
    for endpoint, made in (("workers", metrics.METRICS), ("dispatcher", gauges.METRICS)):
        lines.append(f"| **{endpoint}** | | |")
        lines += [f"| `{metric.name}` | {', '.join(metric.labels)} | {metric.says} |" for metric in made]
    return "\n".join(lines) + "\n"


def test_the_readme_explains_every_metric() -> None:
    _, rest = README.read_text().split(BEGIN)
    assert rest.split(END)[0] == table(), f"write it anew: {__doc__}"


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


if __name__ == "__main__":
    before, rest = README.read_text().split(BEGIN)
    README.write_text(before + BEGIN + table() + END + rest.split(END)[1])
