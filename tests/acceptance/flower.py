"""Flower as people start it, and what it answers."""

import json
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from typing import Any

from tests.acceptance.cluster import Cluster, WaitUntil, free_port

LOGIN = "tokenmill:open-sesame"


class Flower:
    """A running Flower with a login; ends with its cluster."""

    def __init__(self, cluster: Cluster, wait_until: WaitUntil, worker: str = "alpha") -> None:
        self.port, self._wait_until = free_port(), wait_until
        command = ["-m", "celery", "-A", "workers.app", "flower", "--address=127.0.0.1", f"--port={self.port}"]
        self.process = cluster.start(sys.executable, *command, name="flower", FLOWER_BASIC_AUTH=LOGIN)
        wait_until(lambda: worker in self.page("/api/workers?refresh=1"), "the worker in Flower")

    def page(self, path: str, *, login: str = LOGIN, post: bool = False) -> str:
        """What it answers; the status where that is an error, nothing while it does not listen."""
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method="POST" if post else "GET")
        asked.add_header("Authorization", f"Basic {b64encode(login.encode()).decode()}")
        try:
            with urllib.request.urlopen(asked, timeout=5) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return str(error.code)
        except OSError:
            return ""

    def task(self, name: str) -> dict[str, Any]:
        """What it knows of a task that has ended."""
        self._wait_until(lambda: '"state": "SUCCESS"' in self.page(f"/api/task/info/{name}"), f"{name} in Flower")
        found: dict[str, Any] = json.loads(self.page(f"/api/task/info/{name}"))
        return found
