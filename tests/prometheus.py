"""What a Prometheus answers, on this machine or in a container."""

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import pytest


def query(port: int, promql: str) -> list[dict[str, Any]]:
    """The answer to an instant query; nothing while it does not listen."""
    form = urllib.parse.urlencode({"query": promql}).encode()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query", form, timeout=10) as answer:
            found = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        if error.code == 503:  # it reads its log
            return []
        pytest.fail(f"{promql}: {error.read().decode()}")
    except OSError:
        return []
    assert found["status"] == "success"
    result: list[dict[str, Any]] = found["data"]["result"]
    return result
