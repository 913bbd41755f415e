"""A process as in the containers: user 10001, called tok, without any capability or a way to gain one, on a read-only root.

A mount namespace of its own gives it an /etc/passwd in which it stands, opens folders on the way to Python that are closed to
others (root's home, where some machines have it), and leaves it nothing to write to but /tmp and its volumes. The machine
itself is not touched.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import pytest

ROOT = Path(__file__).parents[1]
UID = 10001
CONFINED = [
    *("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs"),
    *("--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"),
]


@contextmanager
def volume() -> Iterator[Path]:
    """A new folder as a named volume begins: of that user's, open to all; not below pytest's, which only root may enter."""
    with TemporaryDirectory(prefix="tokenmill-") as name:
        made = Path(name)
        os.chown(made, UID, UID)
        made.chmod(0o1777)
        yield made


def start(command: list[str], home: Path, log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start a command as that user. It gets this environment and no other; all it says goes to the log."""
    if os.geteuid():
        pytest.skip("needs root, to become user 10001")
    passwd = log.with_suffix(".passwd")
    passwd.write_text(f"root:x:0:0::/root:/bin/sh\ntok:x:{UID}:{UID}::{home}:/bin/sh\n")
    steps = [f"mount --bind {shlex.quote(str(passwd))} /etc/passwd", *_opened(), *_read_only()]
    steps.append(shlex.join(["exec", *CONFINED, *command]))
    basic = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(home)}
    with log.open("ab") as output:
        return subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", "\n".join(steps)],
            env={**basic, **environment},
            stdout=output,
            stderr=output,
            cwd=home,
            start_new_session=True,
        )


def _opened() -> list[str]:
    """Mounts that let others pass on the way to Python, its environment and this repository."""
    needed = {Path(sys.base_prefix), Path(sys.executable).resolve(), Path(sys.prefix), ROOT}
    closed = {parent for path in needed for parent in path.parents if not parent.stat().st_mode & 0o001}
    steps = ["mount -t tmpfs tmpfs /mnt"] if closed else []
    for number, parent in enumerate(sorted(closed)):
        place, layers = shlex.quote(str(parent)), f"/mnt/{number}"
        steps.append(f"mkdir -p {layers}/upper {layers}/work")
        steps.append(f"mount -t overlay overlay -o lowerdir={place},upperdir={layers}/upper,workdir={layers}/work {place}")
        steps.append(f"chmod o+x {place}")
    return steps


def _read_only() -> list[str]:
    """Mounts that leave only the folder in which volumes are made to be written to."""
    writable = shlex.quote(gettempdir())
    return [f"mount --bind {writable} {writable}", "mount -o remount,bind,ro /"]


def stop(process: subprocess.Popen[bytes], wait_until: Callable[..., None]) -> int:
    """SIGTERM, as a container gets it; the exit status."""
    process.terminate()
    wait_until(lambda: process.poll() is not None, "the end after SIGTERM", seconds=15)
    return process.returncode
