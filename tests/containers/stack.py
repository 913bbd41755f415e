"""The project's compose stack, brought up with a `.env` of the test's own, and what can be asked of it."""

import json
import secrets
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.containers.engine import COMPOSE, Engine
from tests.containers.standins import ROOT

PORTS = ("FLOWER_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT", "NOTEBOOK_PORT", "SSH_PORT")


class Stack:
    """Services of the project's compose files and of more, in one engine."""

    def __init__(self, engine: Engine, folder: Path, *more: Path, **settings: str) -> None:
        """Settings are lines of `.env`; the shared folder is `folder/data`, which every container sees as /data."""
        self.engine, self.folder = engine, folder
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        self.data.chmod(0o777)
        (folder / "keys").mkdir()
        probes = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
        ports = {name: str(probe.getsockname()[1]) for name, probe in zip(PORTS, probes, strict=True)}
        for probe in probes:
            probe.close()
        self.settings = {
            "BROKER_PASSWORD": secrets.token_hex(8),
            "FLOWER_LOGIN": f"tokenmill:{secrets.token_hex(8)}",
            "GRAFANA_PASSWORD": secrets.token_hex(8),
            "DATA": str(self.data),
            "SSH_KEYS": str(folder / "keys/allowed"),
            **ports,
            **settings,
        }
        self.set()
        self._files = [ROOT / "docker-compose.yml", ROOT / "docker-compose.gpu.yml", *more]

    def set(self, **settings: str) -> None:
        """Change lines of `.env`."""
        self.settings.update(settings)
        (self.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in self.settings.items()))

    def port(self, name: str) -> int:
        """The port of this host that a service answers on."""
        return int(self.settings[f"{name}_PORT"])

    def compose(self, *arguments: object, timeout: float = 300) -> str:
        """Run one compose command; returns what it printed. Raises RuntimeError with what it said if it fails."""
        done = self.start(*arguments)
        try:
            out, err = done.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            done.kill()
            raise RuntimeError(f"compose {arguments} takes over {timeout} s: {done.communicate()}") from None
        if done.returncode:
            raise RuntimeError(f"compose {' '.join(map(str, arguments))}: {err[-3000:]}")
        return out

    def start(self, *arguments: object) -> "subprocess.Popen[str]":
        """Start a compose command."""
        files = [part for file in self._files for part in ("--file", file)]
        command = [COMPOSE, "--project-directory", ROOT, "--env-file", self.folder / ".env", *files, *arguments]
        return subprocess.Popen(
            list(map(str, command)), env=self.engine.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def up(self, *services: str, **scale: int) -> None:
        """Bring services up and wait until each is healthy."""
        sizes = [f"--scale={name.replace('_', '-')}={number}" for name, number in scale.items()]
        self.compose("up", "--detach", "--no-build", "--wait", *sizes, *services)

    def down(self) -> None:
        """Take everything down, volumes too."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "3")

    def tokenmill(self, *arguments: object, timeout: float = 300) -> str:
        """Run a tokenmill command in a container of its own."""
        return self.compose("run", "--rm", "--no-TTY", "producer", *arguments, timeout=timeout)

    def containers(self, service: str) -> list[str]:
        """The ids of a service's running containers."""
        return self.compose("ps", "--quiet", "--status", "running", service).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """All that Docker knows of a container."""
        found: dict[str, Any] = json.loads(self.engine.docker("inspect", container))[0]
        return found

    def execute(self, container: str, *command: object) -> str:
        """Run a command in a container."""
        return self.engine.docker("exec", container, *command)
