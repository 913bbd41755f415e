"""Batches share rows out to ranks, mix jobs in proportion, and go on where they stood."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sealed import counting, seal
from tokenmill import TokenDataset
from tokenmill.errors import JobError, UsageError
from tokenmill.reader import Batches, Mixture, Rows, Shuffle
from tokenmill.reader.mixture import CYCLE, shares

Opened = Callable[..., Rows]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Rows of one token each, whose id is their number."""

    @cache  # a seal waits for the disk
    def make(rows: int, **options: Any) -> Rows:
        folder = tmp_path_factory.mktemp("job")
        if rows:
            seal(str(folder), counting([rows]), **options)
        return TokenDataset(str(folder)).windows(1, fields=("input_ids",))

    return make


def read(batches: Batches, limit: int | None = None) -> list[int]:
    found: list[int] = []
    for number, batch in enumerate(batches):
        if number == limit:
            break
        found += batch["input_ids"][:, 0].tolist()
    return found


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 60),
    size=st.integers(1, 7),
    world=st.integers(1, 5),
    epochs=st.integers(1, 3),
    seed=st.none() | st.integers(0, 9),
    ragged=st.sampled_from(["keep", "drop", "repeat"]),
)
def test_ranks_share_every_epoch_among_them(
    job: Opened, rows: int, size: int, world: int, epochs: int, seed: int | None, ragged: Any
) -> None:
    source, shuffle = job(rows), None if seed is None else Shuffle(seed=seed, block=4, buffer=3)
    alone = read(Batches(source, 1, shuffle=shuffle, epochs=epochs))
    for epoch in np.array(alone).reshape(epochs, rows):
        assert sorted(epoch) == list(range(rows))
    ranks = [
        Batches(source, size, shuffle=shuffle, epochs=epochs, rank=rank, world=world, ragged=ragged) for rank in range(world)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    steps = [[read_step(batches, step) for batches in ranks] for step in range(len(ranks[0]))]
    together = [row for step in steps for part in step for row in part]
    if ragged == "keep":
        assert together == alone
    elif ragged == "drop":
        assert together == alone[: len(together)]
        assert ranks[0].dropped_rows == len(alone) - len(together) < size * world
    else:
        assert together[: len(alone)] == alone
        assert all(len(part) == size for step in steps for part in step)


def read_step(batches: Batches, step: int) -> list[int]:
    return batches[step]["input_ids"][:, 0].tolist()


@settings(deadline=None, max_examples=40)
@given(rows=st.integers(1, 50), size=st.integers(1, 5), stop=st.integers(0, 30), seed=st.integers(0, 9))
def test_a_state_goes_on_where_the_run_stood(job: Opened, rows: int, size: int, stop: int, seed: int) -> None:
    """After any step, through JSON, with any number of ranks, and without an end as well."""
    source, shuffle = job(rows), Shuffle(seed=seed, block=2, buffer=5)
    whole = read(Batches(source, size, shuffle=shuffle, epochs=None), 40)
    begun = Batches(source, size, shuffle=shuffle, epochs=None)
    position = begun[stop - 1]["position"] if stop else None
    state = json.loads(json.dumps(begun.state_dict(position)))
    again = Batches(source, size, shuffle=shuffle, epochs=None)
    again.load_state_dict(state)
    assert read(again, 40 - stop) == whole[stop * size :]
    two = [Batches(source, size, shuffle=shuffle, epochs=None, rank=rank, world=2) for rank in range(2)]
    for batches in two:
        batches.load_state_dict(state)
    assert [row for step in range(5) for batches in two for row in read_step(batches, step)] == read(again, 10)


def test_a_state_of_other_rows_is_refused(job: Opened) -> None:
    source = job(20)
    state = Batches(source, 2, shuffle=Shuffle(seed=1)).state_dict()
    with pytest.raises(JobError, match=r"shuffle was \[1, 64, 1024\], is \[2, 64, 1024\]"):
        Batches(source, 2, shuffle=Shuffle(seed=2)).load_state_dict(state)
    with pytest.raises(JobError, match=r"'length': 1.*'length': 2"):
        Batches(source.dataset.windows(2), 2, shuffle=Shuffle(seed=1)).load_state_dict(state)


def test_uneven_ranks_are_nothing_to_be_surprised_by(job: Opened) -> None:
    with pytest.raises(UsageError, match=r"4 are left for the last step\. Give ragged="):
        Batches(job(10), 3, rank=0, world=2)
    assert len(Batches(job(10), 3)) == 4
    with pytest.raises(TypeError, match="no length"):
        len(Batches(job(10), 3, epochs=None))


@given(weights=st.lists(st.floats(0.001, 1000), min_size=2, max_size=9))
def test_shares_are_the_weights_to_one_in_a_cycle(weights: list[float]) -> None:
    found = shares(weights)
    for share, weight in zip(found, weights, strict=True):
        assert share >= 1
        assert abs(share - CYCLE * weight / sum(weights)) <= 1 + sum(w / sum(weights) < 1 / CYCLE for w in weights)


@settings(deadline=None, max_examples=20)
@given(
    sizes=st.lists(st.integers(1, 3000), min_size=2, max_size=3),
    weights=st.data(),
    exhausted=st.sampled_from(["stop", "repeat"]),
)
def test_a_mixture_keeps_its_proportions_and_loses_nothing(job: Opened, sizes: list[int], weights: Any, exhausted: Any) -> None:
    chosen = weights.draw(st.lists(st.floats(0.2, 5), min_size=len(sizes), max_size=len(sizes)))
    sources = [job(size) for size in sizes]
    try:
        mixture = Mixture(list(zip(sources, chosen, strict=True)), exhausted=exhausted)
    except UsageError:
        assert exhausted == "stop"
        assert any(size < share for size, share in zip(sizes, shares(chosen), strict=True))
        return
    positions = np.arange(len(mixture))
    found, numbers = mixture.located(positions)
    cycles = found.reshape(-1, CYCLE)
    for source, (size, share) in enumerate(zip(sizes, shares(chosen), strict=True)):
        assert set((cycles == source).sum(axis=1)) == {share}
        mine = numbers[found == source]
        assert np.array_equal(np.sort(mine), np.arange(len(mine)))
        assert len(mine) + mixture.left_over[source] >= size
        if exhausted == "stop":
            assert len(mine) <= size
        else:
            assert mixture.left_over[source] == 0
    batch = mixture.gather(positions[:500], mixture.orders(None))
    assert batch["input_ids"][:, 0].tolist() == [int(n) % sizes[s] for s, n in zip(found[:500], numbers[:500], strict=True)]
    assert np.array_equal(batch["sources"], found[:500])


def test_a_mixture_of_two_tokenizers_is_refused(job: Opened) -> None:
    with pytest.raises(JobError, match=f"{'0' * 64}.*{'1' * 64}"):
        Mixture([(job(2000), 1), (job(2000, sha256="1" * 64), 1)])


def test_mixtures_are_of_windows_of_one_length(job: Opened) -> None:
    source = job(5000)
    for other in (source.dataset.windows(2, fields=("input_ids",)), source.dataset.windows(1), source.dataset.documents()):
        with pytest.raises(UsageError, match="windows of one length"):
            Mixture([(source, 1), (other, 1)])


def test_documents_of_a_batch_are_padded_together(tmp_path: Path) -> None:
    seal(str(tmp_path), counting([2, 5, 1]))
    batches = list(Batches(TokenDataset(str(tmp_path)).documents(pad_id=9), 2))
    assert batches[0]["input_ids"].tolist() == [[0, 1, 9, 9, 9], [2, 3, 4, 5, 6]]
    assert batches[0]["attention_mask"].tolist() == [[1, 1, 0, 0, 0], [1] * 5]
    assert batches[1]["input_ids"].tolist() == [[7]]
