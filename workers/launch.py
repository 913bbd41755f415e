"""`tokenmill-worker`: every worker this host should run, as one process group.

Starts the Celery workers, starts one again that dies, and ends when they have ended. SIGTERM and Ctrl-C let running batches
finish, for as long as TOKENMILL_GRACE_SECONDS says; what is not finished then, and everything at SIGQUIT or a second SIGTERM,
goes back to the queue at once: nothing is lost, only done again. If this process is killed outright, the kernel ends its
children (Linux).

Celery's own soft shutdown is not used: it sleeps through its whole time-out even if the work is done at once (5.7).
"""

import math
import os
import signal
import subprocess
import sys
import time
from typing import Annotated

import typer

from tokenmill.broker import without_password
from tokenmill.errors import UsageError
from tokenmill.process import die_with_parent
from tokenmill.settings import Settings, child_environment

#: Longest pause before a worker that died is started again, in seconds.
LONGEST_PAUSE = 30.0
#: Seconds between two looks at the clock while the worker runs.
TICK = 0.2
#: Seconds for a worker to hand its work back before it is killed.
COLD = 5.0


def main(
    cpus: Annotated[int, typer.Option(help="Worker processes; 0 means one per core.", envvar="TOKENMILL_CPUS", min=0)] = 0,
    name: Annotated[str, typer.Option(help="What Flower and status call them.", envvar="TOKENMILL_WORKER_NAME")] = "cpu",
    log_level: Annotated[str, typer.Option(help="Log level.", envvar="TOKENMILL_LOG_LEVEL")] = "INFO",
    warm: Annotated[
        str | None, typer.Option(help="Load what the job in this output folder needs before the first batch.")
    ] = None,
) -> None:
    """Run this host's workers on the broker that TOKENMILL_BROKER names, until SIGTERM or Ctrl-C.

    Example: TOKENMILL_BROKER=rediss://tokenmill:secret@broker.example:6379/0 tokenmill-worker --cpus 8
    """
    try:
        settings = Settings.from_environment()
        broker = settings.broker
        if broker is None:
            raise UsageError("TOKENMILL_BROKER is not set. Give the URL of your Redis or Valkey.")
    except UsageError as error:
        typer.echo(f"tokenmill-worker: {error}", err=True)
        raise typer.Exit(2) from None
    processes = cpus or len(os.sched_getaffinity(0))
    typer.echo(f"tokenmill-worker: {processes} processes on {without_password(broker)}", err=True)
    environment = child_environment(broker=broker)
    raise typer.Exit(supervise(command(name, processes, log_level, warm), environment, settings.grace_seconds))


def command(name: str, processes: int, log_level: str, warm: str | None) -> list[str]:
    """The command line of the process that does the work."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "workers.pool",
        "--name",
        name,
        "--processes",
        str(processes),
        "--log-level",
        log_level,
    ]
    return [*command, "--warm", warm] if warm else command


def supervise(arguments: list[str], environment: dict[str, str], grace: float) -> int:
    """Keep one child running until a signal asks for the end; return its exit status.

    Args:
        grace: seconds for which running batches may go on after the first signal.
    """
    supervisor = Supervisor(grace)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, supervisor.asked)
    pause = 1.0
    while True:
        began = time.monotonic()
        status = supervisor.run(
            subprocess.Popen(arguments, env=environment, preexec_fn=die_with_parent, start_new_session=True)
        )
        if supervisor.stopping:
            return 0
        pause = 1.0 if time.monotonic() - began > 60 else min(2 * pause, LONGEST_PAUSE)
        typer.echo(f"tokenmill-worker: the worker ended with status {status}; starting it again in {pause:.0f} s", err=True)
        time.sleep(pause)
        if supervisor.stopping:
            return 0


class Supervisor:
    """What signals do to the child: warm shutdown, then cold, then the end."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._child: subprocess.Popen[bytes] | None = None
        #: When running batches go back to the queue, by the monotonic clock; None until a signal asks for the end.
        self._deadline: float | None = None

    @property
    def stopping(self) -> bool:
        """Whether a signal has asked for the end."""
        return self._deadline is not None

    def asked(self, number: int, _: object) -> None:
        """A signal has come: the first SIGTERM or SIGINT is kind, everything else is not."""
        kind = number != signal.SIGQUIT and not self.stopping
        self._deadline = min(self._deadline or math.inf, time.monotonic() + (self._grace if kind else 0))
        if kind and self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)

    def run(self, child: subprocess.Popen[bytes]) -> int:
        """Wait for the child, as long as it may take."""
        self._child = child
        cold: float | None = None
        while True:
            try:
                return child.wait(TICK)
            except subprocess.TimeoutExpired:
                now = time.monotonic()
            if self._deadline is None or now < self._deadline:
                continue
            if cold is None:
                cold = now
                child.send_signal(signal.SIGQUIT)  # the unfinished goes back to the queue; a second one would throw it away
            elif now > cold + COLD:
                os.killpg(child.pid, signal.SIGKILL)


def run() -> None:
    """The console script."""
    typer.run(main)


if __name__ == "__main__":
    run()
