"""Length policies do what `tokenizers` does with the same limit and overlap, and every token is accounted for."""

import numpy as np
import pytest
import tokenizers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from tokenmill.engines import Tokens, from_lengths, with_ends
from tokenmill.lengths import LengthPolicy, ranges
from tokenmill.spec import JobSpec, OverLength

BOS, EOS = 500, 501
BODIES = st.lists(st.lists(st.integers(0, 499), max_size=60), max_size=8)
ENDS = st.sampled_from([(None, None), (BOS, None), (None, EOS), (BOS, EOS)])
Ends = tuple[int | None, int | None]


def policy(rule: OverLength, limit: int, ends: Ends, stride: int = 0) -> LengthPolicy:
    spec = JobSpec(
        sources=("/corpus",), tokenizer="t", eos_token=None, bos_token=None, dtype="int32", batch_bytes=1,
        max_document_bytes=1, max_tokens=limit, over_length=rule, stride=stride,
    )  # fmt: skip
    return LengthPolicy(spec, *ends)


def column(bodies: list[list[int]], ends: Ends) -> Tokens:
    ids = np.array([token for body in bodies for token in body], np.uint32)
    return with_ends(from_lengths(ids, np.array([len(body) for body in bodies], np.int64)), *ends)


def documents(tokens: Tokens) -> list[list[int]]:
    return [tokens.document(index).tolist() for index in range(len(tokens))]


def oracle(bodies: list[list[int]], ends: Ends, limit: int, stride: int) -> list[list[list[int]]]:
    """For each document its pieces, by `tokenizers` itself: truncation, and then a template that adds the ends."""
    made = tokenizers.Tokenizer(WordLevel({f"w{id_}": id_ for id_ in range(502)}, unk_token="w0"))
    made.pre_tokenizer = WhitespaceSplit()
    names = [f"w{end}" if end is not None else "" for end in ends]
    template = " ".join(part for part in (names[0], "$A", names[1]) if part)
    made.post_processor = TemplateProcessing(single=template, special_tokens=[(f"w{e}", e) for e in ends if e is not None])
    made.enable_truncation(limit, stride=stride)
    encoded = [made.encode(" ".join(f"w{token}" for token in body)) for body in bodies]
    return [[encoding.ids, *(piece.ids for piece in encoding.overflowing)] for encoding in encoded]


@settings(deadline=None)  # the oracle makes a tokenizer each time
@given(bodies=BODIES, ends=ENDS, limit=st.integers(1, 40), stride=st.integers(0, 20))
def test_split_gives_the_pieces_that_tokenizers_gives(bodies: list[list[int]], ends: Ends, limit: int, stride: int) -> None:
    assume(limit - sum(end is not None for end in ends) > stride)
    encoded = column(bodies, ends)
    fitted = policy(OverLength.SPLIT, limit, ends, stride)(encoded)
    expected = oracle(bodies, ends, limit, stride)
    assert documents(fitted.tokens) == [piece for pieces in expected for piece in pieces]
    assert fitted.dropped is None
    cut = [pieces for pieces in expected if len(pieces) > 1]
    assert fitted.counts.get("documents_split", 0) == len(cut)
    assert fitted.counts.get("pieces", 0) == sum(map(len, cut))
    assert len(encoded.ids) == len(fitted.tokens.ids) - fitted.counts.get("tokens_added", 0)


@settings(deadline=None)  # the oracle makes a tokenizer each time
@given(bodies=BODIES, ends=ENDS, limit=st.integers(3, 40))
def test_truncate_keeps_what_tokenizers_keeps_ends_included(bodies: list[list[int]], ends: Ends, limit: int) -> None:
    encoded = column(bodies, ends)
    fitted = policy(OverLength.TRUNCATE, limit, ends)(encoded)
    assert documents(fitted.tokens) == [pieces[0] for pieces in oracle(bodies, ends, limit, 0)]
    assert fitted.counts.get("documents_truncated", 0) == int((encoded.lengths > limit).sum())
    assert len(encoded.ids) == len(fitted.tokens.ids) + fitted.counts.get("tokens_dropped", 0)


@given(bodies=BODIES, ends=ENDS, limit=st.integers(1, 40))
def test_drop_takes_whole_documents_and_says_which(bodies: list[list[int]], ends: Ends, limit: int) -> None:
    encoded = column(bodies, ends)
    fitted = policy(OverLength.DROP, limit, ends)(encoded)
    dropped = np.zeros(len(encoded), np.bool_) if fitted.dropped is None else fitted.dropped
    assert documents(fitted.tokens) == [document for document in documents(encoded) if len(document) <= limit]
    assert dropped.tolist() == (encoded.lengths > limit).tolist()
    assert len(encoded.ids) == len(fitted.tokens.ids) + fitted.counts.get("tokens_dropped", 0)


@pytest.mark.parametrize("rule", list(OverLength))
def test_what_is_short_enough_is_not_copied(rule: OverLength) -> None:
    encoded = column([[1, 2], [3]], (BOS, EOS))
    assert policy(rule, 4, (BOS, EOS))(encoded).tokens is encoded


@given(pairs=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9))))
def test_ranges_are_end_to_end(pairs: list[tuple[int, int]]) -> None:
    starts, lengths = (np.array([pair[i] for pair in pairs], np.int64) for i in (0, 1))
    assert ranges(starts, lengths).tolist() == [n for start, length in pairs for n in range(start, start + length)]
