"""`tokenmill-worker`: every worker this host should run, as one process group: one per GPU, and one pool for the CPUs.

Comes in: options, the GPUs that this process may use. Goes out: the pools for the supervisor. Always holds: a GPU's worker sees
this GPU and no other, and the CPU pool sees none, by CUDA_VISIBLE_DEVICES from its very start; GPU workers take what is meant
for GPUs first, and then what is for everybody.
"""

import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tokenmill import logs
from tokenmill.broker import GPU_QUEUE, QUEUE, without_password
from tokenmill.devices import Found, Gpu, choose, find
from tokenmill.errors import UsageError
from tokenmill.settings import Settings, child_environment
from workers import exposition, vitals
from workers.supervisor import Pool, Supervisor

log = logging.getLogger(__name__)


def main(
    gpus: Annotated[
        str,
        typer.Option(help="One worker for each of these GPUs: all, none, or numbers and UUIDs.", envvar="TOKENMILL_GPUS"),
    ] = "all",
    cpus: Annotated[
        str,
        typer.Option(
            help="Processes for the CPUs; 0 means one per core that no GPU's worker needs, none means none.",
            envvar="TOKENMILL_CPUS",
        ),
    ] = "0",
    gpu_processes: Annotated[
        int,
        typer.Option(
            help="Processes that share each GPU, a core to each: one core reads and writes less text than a GPU encodes.",
            envvar="TOKENMILL_GPU_PROCESSES",
            min=1,
        ),
    ] = 1,
    name: Annotated[
        str | None,
        typer.Option(help="What Flower and status call them, in place of cpu and gpu0.", envvar="TOKENMILL_WORKER_NAME"),
    ] = None,
    log_level: Annotated[str, typer.Option(help="Log level.", envvar="TOKENMILL_LOG_LEVEL")] = "INFO",
    metrics_port: Annotated[
        int | None,
        typer.Option(help="Serve metrics on this port; 0 takes any.", envvar="TOKENMILL_METRICS_PORT", min=0, max=65535),
    ] = None,
    warm: Annotated[
        str | None, typer.Option(help="Load what the job in this output folder needs before the first batch.")
    ] = None,
) -> None:
    """Run this host's workers on the broker that TOKENMILL_BROKER names, until SIGTERM or Ctrl-C.

    Example: TOKENMILL_BROKER=rediss://tokenmill:secret@broker.example:6379/0 tokenmill-worker --gpus all --cpus 8
    """
    try:
        settings = Settings.from_environment()
        broker = settings.broker
        if broker is None:
            raise UsageError("TOKENMILL_BROKER is not set. Give the URL of your Redis or Valkey.")
        found = Found() if gpus == "none" else find(settings.visible_gpus)
        chosen = choose(found, gpus)
        for_gpus = gpu_processes * len(chosen)
        processes = cpu_processes(cpus, for_gpus)
        if not chosen and not processes:
            raise UsageError(f"--gpus {gpus} with --cpus none leaves nothing to run: {found.why_none}. Give --cpus 0.")
        logs.configure(as_json=settings.json_log, level=log_level)
        for trouble in found.troubles:
            log.warning("no worker for a GPU: %s", trouble)
        with exposition.served(metrics_port, settings, chosen) as metrics:
            more = ("--log-level", log_level, *(("--warm", warm) if warm else ()))
            prefix = f"{name}-" if name else ""
            gpu_pools = [
                pool(f"{prefix}gpu{gpu.index}", gpu_processes, (GPU_QUEUE, QUEUE), more, broker, metrics, gpu) for gpu in chosen
            ]
            cpu_pools = [pool(name or "cpu", processes, (QUEUE,), more, broker, metrics)] if processes else []
            names = [one.name for one in (*gpu_pools, *cpu_pools)]
            with vitals.told(broker, names, for_gpus + processes, chosen):
                status = Supervisor((*gpu_pools, *cpu_pools), settings.grace_seconds).run()
            raise typer.Exit(status)
    except UsageError as error:
        typer.echo(f"tokenmill-worker: {error}", err=True)
        raise typer.Exit(2) from None


def cpu_processes(cpus: str, for_gpus: int) -> int:
    """How many processes the CPU pool gets beside so many for GPUs. Raises UsageError."""
    if cpus == "none":
        return 0
    if not cpus.isdecimal():
        raise UsageError(f"--cpus {cpus}: give a number of processes, 0 for one per core, or none.")
    return int(cpus) or max(0, len(os.sched_getaffinity(0)) - for_gpus)


def pool(
    name: str,
    processes: int,
    queues: Sequence[str],
    more: Sequence[str],
    broker: str,
    metrics: str | None,
    gpu: Gpu | None = None,
) -> Pool:
    """A process of `workers.pool`, with the GPU that it may see and the folder for its metrics."""
    arguments = ["--name", name, "--processes", str(processes), "--queues", ",".join(queues), *more]
    if gpu is not None:
        arguments += ["--gpu", str(gpu)]
    log.info("%s: processes %d%s, on %s", name, processes, f", GPU {gpu}" if gpu else "", without_password(broker))
    return Pool(
        name=name,
        command=(sys.executable, "-P", "-m", "workers.pool", *arguments),
        environment=child_environment(broker=broker, gpus=gpu.uuid if gpu else "", metrics=metrics),
        gpu=gpu,
    )


def run() -> None:
    """The console script."""
    typer.run(main)


if __name__ == "__main__":
    run()
