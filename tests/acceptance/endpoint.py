"""What a metrics endpoint and a JSON log say, for tests to ask."""

import json
import re
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.cluster import Cluster, WaitUntil

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(port: int) -> Samples:
    """What an endpoint says now."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def series(samples: Samples, name: str, /, **labels: str) -> list[float]:
    """The values of all series of a name that have these labels."""
    return [number for (called, has), number in samples.items() if called == name and labels.items() <= dict(has).items()]


def value(samples: Samples, name: str, /, **labels: str) -> float:
    """Their sum; there has to be one."""
    found = series(samples, name, **labels)
    assert found, f"no {name} with {labels}"
    return sum(found)


def spoken(log: str) -> list[dict[str, Any]]:
    """The lines of a JSON log: every line is one."""
    lines = [json.loads(line) for line in log.splitlines()]
    assert all({"time", "level", "logger", "process", "message"} <= line.keys() for line in lines)
    return lines


def port_of(cluster: Cluster, name: str, wait_until: WaitUntil) -> int:
    """Where a process serves its metrics, as its log says."""
    said: list[str] = []
    wait_until(lambda: said.extend(re.findall(r"metrics at http://[\d.]+:(\d+)/", cluster.log(name))) or said, f"{name}'s port")
    return int(said[0])
