"""How long a job will still take: a range as wide as what is known, and none while it is too early."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.display import time_left as written
from producer.pace import ENDED, Pace, TimeLeft, time_left


def test_a_steady_job_is_told_within_a_tenth() -> None:
    ended = [(10.0 * k, 1000) for k in range(20)]
    left = Pace().left(100_000, ended)
    assert left is not None
    assert left.least == pytest.approx(1000 / 1.1)
    assert left.most == pytest.approx(1000 / 0.9)


def test_an_unsteady_job_has_a_wider_range_that_holds_the_truth() -> None:
    """Every second stretch goes three times as fast as the other."""
    when, ended = 0.0, []
    for k in range(60):
        when += 1.0 if k // 10 % 2 else 3.0
        ended.append((when, 1000))
    left = Pace().left(100_000, ended)
    assert left is not None
    assert left.least < 200 < left.most
    assert left.most / left.least > 1.5


def test_it_is_too_early_to_tell_after_a_few_batches_or_where_the_last_run_was_long_ago() -> None:
    few = [(float(k), 1000) for k in range(ENDED - 1)]
    assert Pace().left(1000, few) is None
    assert Pace().left(1000, [(k - 86_400.0, 1000) for k in range(30)] + few) is None
    assert Pace().left(1000, [(5.0, 1000)] * 30) is None  # all at one moment


@given(st.lists(st.floats(0, 1e12, allow_nan=False), max_size=8), st.integers(0, 1 << 50))
def test_whatever_the_rates_the_range_is_one(rates: list[float], remaining: int) -> None:
    left = time_left(remaining, rates)
    if left is None:
        assert len(rates) < 2 or not any(rates)
    else:
        assert 0 <= left.least <= left.most


@pytest.mark.parametrize(
    ("least", "most", "said"),
    [
        (3, 5, "3–5 s"),
        (27, 54, "25–55 s"),
        (100, 170, "1–3 min"),
        (50 * 60, 58 * 60, "50–58 min"),
        (10800, 10800, "about 3 h"),
    ],
)
def test_a_range_in_words(least: float, most: float, said: str) -> None:
    assert written(TimeLeft(least, most)) == said
