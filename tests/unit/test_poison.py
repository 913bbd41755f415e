"""A document is given up only where two workers died over it alone; any other death costs speed and nothing more."""

import pytest

from tokenmill.documents import Reason
from tokenmill.poison import CONFIRMED, ELSEWHERE, MOST_GIVEN_UP, Cause, Deaths, Place

DOCUMENT, COLUMN = Place("a.jsonl", 7, alone=True), Place("a.jsonl", 7)


def test_a_document_alone_is_given_up_at_the_second_death_for_the_last_cause() -> None:
    deaths = Deaths.of([(DOCUMENT, Cause.KILLED)])
    assert deaths.verdict(DOCUMENT) is None
    deaths.add(DOCUMENT, Cause.MEMORY)
    assert deaths.verdict(DOCUMENT) is Reason.OUT_OF_MEMORY


def test_a_column_of_one_document_is_not_that_document_alone() -> None:
    """Workers may be killed for other reasons, and the fast engine may be what dies: neither is the document's fault."""
    deaths = Deaths.of([(COLUMN, Cause.KILLED)] * 10)
    assert COLUMN in deaths
    assert deaths.verdict(DOCUMENT) is None
    assert deaths.verdict(COLUMN) is None
    assert deaths.hopeless() is None


@pytest.mark.parametrize(
    ("known", "hopeless"),
    [
        ([(None, Cause.KILLED)] * (ELSEWHERE - 1), False),
        ([(None, Cause.KILLED)] * ELSEWHERE, True),
        ([(Place("a", i, alone=True), Cause.KILLED) for i in range(MOST_GIVEN_UP)] * CONFIRMED, False),
        ([(Place("a", i, alone=True), Cause.KILLED) for i in range(MOST_GIVEN_UP + 1)] * CONFIRMED, True),
        ([(Place("a", i, alone=True), Cause.KILLED) for i in range(100)], False),
    ],
)
def test_a_batch_is_hopeless_when_nothing_is_left_to_try(known: list[tuple[Place | None, Cause]], hopeless: bool) -> None:
    assert (Deaths.of(known).hopeless() is not None) is hopeless
