"""Looks after this host's worker processes: starts again what dies, ends all when asked, lets go of one whose GPU is lost.

Comes in: pools, signals. Goes out: an exit status. Always holds: each process is started again on its own, after a pause of its
own; SIGTERM and SIGINT let running batches finish, for as long as the grace period; what is not finished then, and everything
at SIGQUIT or a second SIGTERM, goes back to the queue at once: nothing is lost, only done again. If this process is killed
outright, the kernel ends its children (Linux).

Celery's own soft shutdown is not used: it sleeps through its whole time-out even if the work is done at once (5.7).
"""

import logging
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from tokenmill import devices
from tokenmill.devices import Gpu
from tokenmill.process import die_with_parent

log = logging.getLogger(__name__)

#: Longest pause before a worker that died is started again, in seconds.
LONGEST_PAUSE = 30.0
#: Seconds between two looks at the children.
TICK = 0.2
#: Seconds for a worker to hand its work back before it is killed.
COLD = 5.0
#: Seconds between two questions whether the GPUs are still there.
ASK = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One worker process that this host should run."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)
    #: The GPU that it is for.
    gpu: Gpu | None = None


class Child:
    """A pool's process, and the next one after it."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._process: subprocess.Popen[bytes] | None = None
        self._began, self._pause, self._due = 0.0, 1.0, 0.0
        #: When running batches go back to the queue, by the monotonic clock; None until the end is asked for.
        self._deadline: float | None = None
        #: When they did.
        self._cold: float | None = None

    @property
    def ending(self) -> bool:
        """Whether the end has been asked for."""
        return self._deadline is not None

    @property
    def ended(self) -> bool:
        """Whether it has come."""
        return self.ending and self._process is None

    def end(self, deadline: float) -> None:
        """Let running batches go on until `deadline`, by the monotonic clock, and start nothing again."""
        if self._process is not None and not self.ending and deadline > time.monotonic():
            self._process.send_signal(signal.SIGTERM)
        self._deadline = min(deadline, self._deadline or math.inf)

    def tend(self) -> None:
        """Do what is due now: start, start again, hand back, kill."""
        now = time.monotonic()
        if self._process is None:
            if not self.ending and now >= self._due:
                self._start(now)
        elif (status := self._process.poll()) is not None:
            self._process = None
            if not self.ending:
                self._pause = 1.0 if now - self._began > 60 else min(2 * self._pause, LONGEST_PAUSE)
                self._due = now + self._pause
                log.error("%s ended with status %d; starting it again in %.0f s", self.pool.name, status, self._pause)
        elif self._deadline is not None and now >= self._deadline:
            if self._cold is None:
                self._cold = now
                # the unfinished goes back to the queue; a second one would throw it away
                self._process.send_signal(signal.SIGQUIT)
            elif now > self._cold + COLD:
                os.killpg(self._process.pid, signal.SIGKILL)

    def _start(self, now: float) -> None:
        self._began = now
        self._process = subprocess.Popen(
            self.pool.command, env=self.pool.environment, preexec_fn=die_with_parent, start_new_session=True
        )


class Supervisor:
    """All the children of this host."""

    def __init__(self, pools: Collection[Pool], grace: float) -> None:
        """
        Args:
            grace: seconds for which running batches may go on after the first signal.
        """
        self._children = [Child(pool) for pool in pools]
        self._grace = grace
        self._deadline: float | None = None

    def asked(self, number: int, _: object) -> None:
        """A signal has come: the first SIGTERM or SIGINT is kind, everything else is not."""
        kind = number != signal.SIGQUIT and self._deadline is None
        self._deadline = min(self._deadline or math.inf, time.monotonic() + (self._grace if kind else 0))

    def run(self) -> int:
        """Look after the children until none is left; the exit status: 0 if a signal asked for the end."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self.asked)
        watch = Watch([child.pool.gpu for child in self._children if child.pool.gpu is not None])
        while self._children:
            for child in self._children:
                if child.pool.gpu in watch.lost and not child.ending:
                    log.error("GPU %s is gone: %s ends, and its batch goes back to the queue", child.pool.gpu, child.pool.name)
                    child.end(time.monotonic())
                if self._deadline is not None:
                    child.end(self._deadline)
                child.tend()
            self._children = [child for child in self._children if not child.ended]
            time.sleep(TICK)
        if self._deadline is None:
            log.error("no worker is left. Mend or leave out the GPUs, and start again.")
        return 0 if self._deadline is not None else 1


class Watch:
    """Asks which GPUs are gone, in a thread of its own: a driver in trouble may keep its answer for minutes."""

    def __init__(self, gpus: Collection[Gpu]) -> None:
        self._gpus = gpus
        #: Those that were gone twice running: one failed question is no loss.
        self.lost: set[Gpu] = set()
        if gpus:
            threading.Thread(target=self._ask, name="gpus", daemon=True).start()

    def _ask(self) -> None:
        before: set[Gpu] = set()
        while True:
            time.sleep(ASK)
            now = devices.lost(self._gpus)
            self.lost = self.lost | now & before
            before = now
