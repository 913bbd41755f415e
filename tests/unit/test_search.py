"""The search for special tokens and delicate code points finds what Python's own `in` finds, and nothing else."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmill.tokenizers import TextSearch

LETTERS = st.sampled_from(["<", "|", "<|", "|>", "end", "ſ", "\u0eba", "\U00011de0", "a", "é", "中", "\x00", "\U00011de1", "ś"])
TEXTS = st.lists(LETTERS, max_size=12).map("".join)


@given(strings=st.lists(TEXTS.filter(bool), max_size=5), texts=st.lists(TEXTS, max_size=8), skipped=st.integers(0, 3))
def test_the_same_documents_as_by_hand(strings: list[str], texts: list[str], skipped: int) -> None:
    column = pa.array(texts, pa.large_string())[skipped:]
    expected = [any(string in text for string in strings) for text in texts[skipped:]]
    assert TextSearch(strings).holds(column).tolist() == expected


@pytest.mark.parametrize("string", ["<|endoftext|>", "ſ", "<s>"])
def test_a_string_across_two_documents_is_in_neither(string: str) -> None:
    for cut in range(1, len(string.encode())):
        halves = [string.encode()[:cut], string.encode()[cut:]]
        column = pa.array(halves, pa.large_binary()).view(pa.large_string())
        assert TextSearch([string]).holds(column).tolist() == [False, False]
