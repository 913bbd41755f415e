"""Reading ahead changes nothing but when it happens."""

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tokenmill.prefetch import DEPTH, prefetched


def test_items_come_in_order_and_are_made_in_another_thread() -> None:
    def items() -> Iterator[tuple[int, int]]:
        for number in range(100):
            yield number, threading.get_ident()

    found = list(prefetched(items()))
    assert [number for number, _ in found] == list(range(100))
    assert threading.get_ident() not in {ident for _, ident in found}


def test_an_error_is_raised_at_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("damaged")

    ahead = prefetched(items())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="damaged"):
        next(ahead)


def test_no_more_is_made_than_may_wait() -> None:
    made: list[int] = []
    asked = threading.Semaphore(0)

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            asked.release()
            yield number

    with closing(prefetched(items())) as ahead:
        next(ahead)
        for _ in range(DEPTH + 2):  # one given out, DEPTH waiting, one in hand
            assert asked.acquire(timeout=10)
        assert not asked.acquire(timeout=0.3)
        assert len(made) == DEPTH + 2


def test_whoever_stops_early_leaves_no_thread_and_no_open_source() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.set()

    with closing(prefetched(items())) as ahead:
        assert next(ahead) == 0
    assert closed.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]
