"""An iterator run ahead in a thread of its own, so that reading overlaps what is done with its items.

Comes in: an iterator. Goes out: its items, in order. Always holds: at most DEPTH items wait (memory stays bounded); what the
iterator raises is raised at its place; closing the generator ends the thread.
"""

import threading
from collections.abc import Generator, Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

Item = TypeVar("Item")

#: Items that may wait: one being made while one is used hides what reading waits for, such as a disk or a network.
DEPTH = 1


class _End:
    """The iterator has ended, well or with an error."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetched(items: Iterator[Item]) -> Generator[Item, None, None]:
    """The items of an iterator, made in another thread."""
    ready: Queue[Item | _End] = Queue(DEPTH)
    closed = threading.Event()
    thread = threading.Thread(target=_run, args=(items, ready, closed), name="prefetch", daemon=True)
    thread.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        closed.set()
        while not ready.empty():
            try:
                ready.get_nowait()
            except Empty:
                break
        thread.join()


def _run(items: Iterator[Item], ready: "Queue[Item | _End]", closed: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            if not _put(ready, item, closed):
                break
    except BaseException as raised:  # goes on in the thread that asked
        error = raised
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
    _put(ready, _End(error), closed)


def _put(ready: "Queue[Item | _End]", item: "Item | _End", closed: threading.Event) -> bool:
    """Wait until there is room; False when nobody wants any more."""
    while not closed.is_set():
        try:
            ready.put(item, timeout=0.1)
            return True
        except Full:
            continue
    return False
