"""One Celery worker process and its pool: `python -m workers.pool`, as `workers.supervisor` starts it.

Comes in: name, number of processes, queues, and for a job on one machine the output folder to be warm for. Always holds: what
all processes need is loaded once, before they are forked, and shared by them: modules, and with `--warm` tokenizer and engines.
No thread is started before the fork (an engine's thread pool would deadlock its children), nor CUDA (it does not survive one).

Celery's own command is not used: to offer all its subcommands it loads Flower and a shell, 0.7 s of every start.
"""

import argparse
import logging
import sys

from tokenmill.process import loading

log = logging.getLogger(__name__)


def main() -> None:
    """Run until a signal asks for the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--queues", required=True, help="comma-separated")
    parser.add_argument("--gpu", help="the GPU it is for, as people shall read it")
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument("--warm", help="output folder of the job that these workers are for")
    asked = parser.parse_args()
    with loading():
        from celery.utils.nodenames import default_nodename, host_format

        from workers import metrics, tasks
        from workers.app import app
        from workers.telemetry import configure_logging
    configure_logging(asked.log_level)  # before Celery, which begins with a warning where it runs as root
    if asked.warm:
        try:
            tasks.warm(asked.warm)
        except Exception as error:  # the first batch meets the same trouble, and knows how to report it
            log.warning("not warmed up for %s: %s", asked.warm, error)
    if asked.gpu:
        app.conf.update(gpu=asked.gpu)  # no setting of Celery's, but one that Flower shows
    metrics.begin("gpu" if asked.gpu else "cpu", asked.processes)
    worker = app.Worker(
        hostname=host_format(default_nodename(f"{asked.name}@%h")),
        # Of all pools only prefork survives signals, time limits and engine threads.
        pool="prefork",
        concurrency=asked.processes,
        queues=asked.queues,
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
