"""One Celery worker process and its pool: `python -m workers.pool`, as `workers.launch` starts it.

Comes in: name, number of processes, and for a job on one machine the output folder to be warm for. Always holds: what all
processes need is loaded once, before they are forked, and shared by them: modules, and with `--warm` tokenizer and engines.
No thread is started before the fork (an engine's thread pool would deadlock its children).

Celery's own command is not used: to offer all its subcommands it loads Flower and a shell, 0.7 s of every start.
"""

import argparse
import sys

from celery.utils.nodenames import default_nodename, host_format

from tokenmill.broker import QUEUE
from workers import tasks, telemetry
from workers.app import app


def main() -> None:
    """Run until a signal asks for the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument("--warm", help="output folder of the job that these workers are for")
    asked = parser.parse_args()
    if asked.warm:
        try:
            tasks.warm(asked.warm)
        except Exception as error:  # the first batch meets the same trouble, and knows how to report it
            sys.stderr.write(f"not warmed up for {asked.warm}: {error}\n")
    telemetry.begin("cpu", asked.processes)
    worker = app.Worker(
        hostname=host_format(default_nodename(f"{asked.name}@%h")),
        # Of all pools only prefork survives signals, time limits and engine threads.
        pool="prefork",
        concurrency=asked.processes,
        queues=QUEUE,
        loglevel=asked.log_level,
        quiet=True,
        # Workers need to know nothing of each other; gossip and mingle cost a second at start and messages ever after.
        without_gossip=True,
        without_mingle=True,
    )
    worker.start()
    sys.exit(worker.exitcode)


if __name__ == "__main__":
    main()
