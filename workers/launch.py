"""`tokenmill-worker`: every worker this host should run, as one process group.

Starts the Celery workers, starts one again that dies, and ends when they have ended. SIGTERM and Ctrl-C let running batches
finish; SIGQUIT, or a second SIGTERM, ends them where they are: nothing is lost, only done again. If this process is killed
outright, the kernel ends its children (Linux).
"""

import os
import signal
import subprocess
import sys
import time
from typing import Annotated

import typer

from tokenmill.broker import without_password
from tokenmill.process import die_with_parent
from tokenmill.settings import Settings, child_environment

#: Longest pause before a worker that died is started again, in seconds.
LONGEST_PAUSE = 30.0


def main(
    cpus: Annotated[int, typer.Option(help="Worker processes; 0 means one per core.", envvar="TOKENMILL_CPUS", min=0)] = 0,
    name: Annotated[str, typer.Option(help="What Flower and status call them.", envvar="TOKENMILL_WORKER_NAME")] = "cpu",
    log_level: Annotated[str, typer.Option(help="Log level.", envvar="TOKENMILL_LOG_LEVEL")] = "INFO",
    warm: Annotated[
        str | None, typer.Option(help="Load what the job in this output folder needs before the first batch.")
    ] = None,
) -> None:
    """Run this host's workers on the broker that TOKENMILL_BROKER names, until SIGTERM or Ctrl-C.

    Example: TOKENMILL_BROKER=redis://:secret@10.0.0.1:6379/0 tokenmill-worker --cpus 8
    """
    broker = Settings.from_environment().broker
    if broker is None:
        typer.echo("tokenmill-worker: TOKENMILL_BROKER is not set. Give the URL of your Redis or Valkey.", err=True)
        raise typer.Exit(2)
    processes = cpus or len(os.sched_getaffinity(0))
    typer.echo(f"tokenmill-worker: {processes} processes on {without_password(broker)}", err=True)
    raise typer.Exit(supervise(command(name, processes, log_level, warm), child_environment(broker=broker)))


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


def supervise(arguments: list[str], environment: dict[str, str]) -> int:
    """Keep one child running until a signal asks for the end; return its exit status."""
    stopping = False
    child: subprocess.Popen[bytes] | None = None

    def stop(number: int, _: object) -> None:
        nonlocal stopping
        if child is not None and child.poll() is None:
            if stopping or number == signal.SIGQUIT:
                os.killpg(child.pid, signal.SIGKILL)
            else:
                child.send_signal(signal.SIGTERM)
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, stop)
    pause = 1.0
    while True:
        began = time.monotonic()
        child = subprocess.Popen(arguments, env=environment, preexec_fn=die_with_parent, start_new_session=True)
        status = child.wait()
        if stopping:
            return 0
        pause = 1.0 if time.monotonic() - began > 60 else min(2 * pause, LONGEST_PAUSE)
        typer.echo(f"tokenmill-worker: the worker ended with status {status}; starting it again in {pause:.0f} s", err=True)
        time.sleep(pause)
        if stopping:
            return 0


def run() -> None:
    """The console script."""
    typer.run(main)


if __name__ == "__main__":
    run()
