"""A shuffle is a permutation, another for each epoch and seed, and mixes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmill.errors import UsageError
from tokenmill.reader.order import Order, Permutation, Shuffle


@settings(deadline=None)
@given(count=st.integers(1, 3000), key=st.lists(st.integers(0, 2**63), max_size=3))
def test_a_permutation_is_one_and_can_be_undone(count: int, key: list[int]) -> None:
    permutation, places = Permutation(count, *key), np.arange(count)
    found = permutation(places)
    assert np.array_equal(np.sort(found), places)
    assert np.array_equal(permutation.inverse(found), places)


@pytest.mark.parametrize("count", [2**31 + 1, 10**12, 2**62 - 1])
def test_very_many_rows_take_no_memory_and_no_wrong_turn(count: int) -> None:
    permutation = Permutation(count, 7)
    places = np.array([0, 1, count // 2, count - 1])
    found = permutation(places)
    assert len(set(found.tolist())) == 4
    assert found.min() >= 0
    assert found.max() < count
    assert np.array_equal(permutation.inverse(found), places)


@given(
    rows=st.integers(1, 700),
    block=st.integers(1, 40),
    buffer=st.integers(1, 9),
    seed=st.integers(0, 2**70),
    pieces=st.integers(20, 90),
)
@settings(deadline=None, max_examples=50)
def test_every_epoch_of_a_shuffle_is_a_permutation(rows: int, block: int, buffer: int, seed: int, pieces: int) -> None:
    """However the positions are asked for: in pieces that straddle buffers and epochs, or all at once."""
    order = Order(rows, Shuffle(seed=seed, block=block, buffer=buffer))
    positions = np.arange(3 * rows)
    found = np.concatenate([order(positions[start : start + pieces]) for start in range(0, len(positions), pieces)])
    assert np.array_equal(found, order(positions))
    for epoch in found.reshape(3, rows):
        assert np.array_equal(np.sort(epoch), np.arange(rows))


def test_without_a_shuffle_rows_come_in_source_order() -> None:
    assert Order(3, None)(np.arange(7)).tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_epochs_and_seeds_differ() -> None:
    order, other = (Order(5000, Shuffle(seed=seed)) for seed in (1, 2))
    first, second = order(np.arange(10_000)).reshape(2, 5000)
    assert np.mean(first == second) < 0.01
    assert np.mean(first == other(np.arange(5000))) < 0.01


def test_rows_of_a_buffer_are_mixed_like_a_random_permutations() -> None:
    """No row stays near its neighbour or its place: both as rarely as numpy's own shuffle has it, within five deviations."""
    rows = 20_000
    found = Order(rows, Shuffle(seed=3, block=16, buffer=4096))(np.arange(rows))
    assert abs(np.corrcoef(found, np.arange(rows))[0, 1]) < 5 / np.sqrt(rows)
    near = np.abs(np.diff(found)) < 100
    assert abs(np.mean(near) - 200 / rows) < 5 * np.sqrt(200 / rows / rows)


def test_a_buffer_stays_in_its_blocks() -> None:
    """What keeps reading local: so many successive rows come from no more than one block over the buffer's."""
    found = Order(64_000, Shuffle(seed=5, block=64, buffer=10))(np.arange(64_000))
    for start in range(0, 64_000, 640):
        assert len(np.unique(found[start : start + 640] // 64)) <= 11


@pytest.mark.parametrize("wrong", [{"block": 0}, {"buffer": -1}])
def test_a_shuffle_of_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="give 1 or more"):
        Shuffle(seed=1, **wrong)
