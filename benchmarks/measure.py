"""What a command costs: seconds, memory and output bytes of its whole process tree, its start included.

Comes in: a command, the folder it will write. Goes out: a frozen `Measurement`. Always holds: every process below the command
is counted, also one whose parent never waited for it, because the measuring process adopts and reaps orphans; the measuring
process itself is not counted.

Each measurement runs in a fresh and small Python process, this file as a program. Two numbers need that: the kernel's
high-water mark over waited-for children cannot be reset within a process, and a child begins with the size that its parent
had when it forked.
"""

import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: From <linux/prctl.h>; Python has no name for it.
PR_SET_CHILD_SUBREAPER = 36
#: Seconds between two looks at memory. A look costs milliseconds; it is also kept below a twentieth of the time.
INTERVAL, SHARE = 0.25, 20
#: Seconds that orphans may outlive the command.
PATIENCE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one run of one command cost."""

    #: Seconds from the start of the command to its end.
    wall: float
    #: User and system seconds of every process of the tree.
    cpu: float
    #: Bytes: high-water mark of the largest single process, by the kernel's count.
    peak_rss: int
    #: Bytes: largest sum over the tree of memory with shared pages divided, sampled.
    peak_pss: int
    #: Bytes of all files in the output folder.
    output_bytes: int
    #: The JSON object that the command printed last; empty if it printed none.
    said: dict[str, Any]


def measure(command: Sequence[str], output: Path | None = None, environment: Mapping[str, str] | None = None) -> Measurement:
    """Run a command to its end, in an empty folder: its paths must be absolute.

    Raises RuntimeError with the end of what it said if it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        report, stdout, stderr = (Path(folder) / name for name in ("report.json", "stdout", "stderr"))
        with stdout.open("wb") as out, stderr.open("wb") as err:
            status = subprocess.run(
                [sys.executable, __file__, str(report), *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,  # `python -m` looks there first: this repository's own folders must not be found
                env={**os.environ, **(environment or {})},
            ).returncode
        if status != 0:
            tail = (stdout.read_bytes()[-2000:] + stderr.read_bytes()[-4000:]).decode(errors="replace")
            raise RuntimeError(f"{' '.join(command)} ended with status {status}:\n{tail}")
        counted = json.loads(report.read_text())
        said = _last_object(stdout.read_text(errors="replace"))
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file()) if output else 0
    return Measurement(**counted, output_bytes=size, said=said)


def as_json(measurement: Measurement) -> dict[str, Any]:
    """For a results file."""
    return asdict(measurement)


def _last_object(text: str) -> dict[str, Any]:
    lines = [line for line in text.splitlines() if line.startswith("{") and line.endswith("}")]
    try:
        return dict(json.loads(lines[-1])) if lines else {}
    except ValueError:
        return {}


class _MemoryWatch(threading.Thread):
    """Looks at the memory of everything below this process until it is told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._stop_asked = threading.Event()

    def run(self) -> None:
        pause = 0.0
        while not self._stop_asked.wait(pause):
            began = time.perf_counter()
            self.peak = max(self.peak, sum(map(_pss, _descendants())))
            pause = max(INTERVAL, SHARE * (time.perf_counter() - began))

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()


def _descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except OSError:  # it ended between the two calls
                continue
            children.setdefault(parent, []).append(int(entry))
    found: list[int] = []
    level = children.get(os.getpid(), [])
    while level:
        found += level
        level = [child for process in level for child in children.get(process, [])]
    return found


def _pss(process: int) -> int:
    try:
        with open(f"/proc/{process}/smaps_rollup") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:")), 0)
    except OSError:
        return 0


def _reap_orphans() -> None:
    """Wait for all that the command left behind: only what was waited for is counted."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"processes {_descendants()} outlived the command by {PATIENCE} s")
                time.sleep(0.01)
        except ChildProcessError:
            return


def main(report: str, command: list[str]) -> int:
    """Run the command below this process and write what it cost."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "this process cannot adopt orphans")
    watch = _MemoryWatch()
    watch.start()
    began = time.perf_counter()
    status = subprocess.Popen(command).wait()
    wall = time.perf_counter() - began
    watch.stop()
    _reap_orphans()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    counted = {
        "wall": wall,
        "cpu": spent.ru_utime + spent.ru_stime,
        "peak_rss": spent.ru_maxrss * 1024,
        "peak_pss": watch.peak,
    }
    Path(report).write_text(json.dumps(counted))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
