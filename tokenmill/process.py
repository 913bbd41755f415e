"""What a process owes the system: to begin quickly, to end with its parent, and to give memory back."""

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PR_SET_PDEATHSIG = 1


@contextmanager
def loading() -> Iterator[None]:
    """Look for no garbage while modules load, and never among what they have made.

    It stays for as long as the process: to look for garbage in it took a worker a tenth of its time to load, and what is not
    looked at stays shared with the processes that are forked.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends, however it ends (Linux; elsewhere nothing happens).

    For `preexec_fn`: it runs in the child, between fork and exec. Killing is safe, since every write is atomic (law 6).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def resident_bytes() -> int:
    """The memory this process holds now; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def release_memory() -> None:
    """Give the kernel back what was freed (glibc; elsewhere nothing happens)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
