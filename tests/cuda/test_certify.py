"""A document is certified only if its bytes are text, NFC leaves it alone, and no added token stands in it."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import normalizers

from tests.cuda.header import CLASSES, Batch, Header
from tokenmill.engines.cuda.classes import Beside, Kind

NFC = normalizers.NFC()
#: Bytes at both ends of every range that table 3-7 of the Unicode Standard tells apart.
EDGES = bytes.fromhex("41 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")
CHUNKS = pytest.mark.parametrize("chunk", [1, 3, 64])
ADDED = ["<think>", "</think>", "<thin", "｜DSML｜", " \n", "é"]


def is_text(document: bytes) -> bool:
    try:
        document.decode()
    except UnicodeDecodeError:
        return False
    return True


@CHUNKS
def test_bytes_that_are_no_text(header: Header, chunk: int) -> None:
    """Every string of up to four bytes; what is missing at the end of a document does not come from the next."""
    documents = [bytes(symbols) for length in range(5) for symbols in itertools.product(EDGES, repeat=length)]
    expected = [not is_text(document) for document in documents]
    assert np.array_equal(header.doubtful(Batch(documents), chunk), expected)


@given(documents=st.lists(st.binary(max_size=8) | st.text(max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_any_bytes(header: Header, documents: list[bytes]) -> None:
    assert np.array_equal(header.doubtful(Batch(documents), 7), [not is_text(document) for document in documents])


@CHUNKS
def test_added_tokens(header: Header, chunk: int) -> None:
    pieces = ["<", "think", ">", "</think>", "｜", "DSML", " ", "\n", "é", "e"]
    documents = ["".join(found) for length in range(5) for found in itertools.product(pieces, repeat=length)]
    batch = Batch(document.encode() for document in documents)
    found = header.doubtful(batch, chunk, added=[token.encode() for token in ADDED])
    assert np.array_equal(found, [any(token in document for token in ADDED) for document in documents])
    assert not header.doubtful(batch, chunk).any()


def letters(points: NDArray[np.integer[Any]]) -> list[str]:
    return list(points.astype("<u4").tobytes().decode("utf-32-le"))


POINTS = np.setdiff1d(np.arange(0x110000), [*range(0xD800, 0xE000), ord("\n")])
assert CLASSES is not None
BESIDE, KINDS = CLASSES.beside_of(POINTS.astype(np.uint32)), CLASSES.of(POINTS.astype(np.uint32)) & 0x0F
FOLLOWERS = letters(POINTS[BESIDE & Beside.FOLLOWER != 0])
#: Those that only change places.
MARKS = letters(POINTS[(BESIDE & Beside.RANK != 0) & (BESIDE & Beside.FOLLOWER == 0)])


def doubts(header: Header, texts: list[str], chunk: int = 64) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which texts are doubtful where text is brought into NFC, and which of them NFC changes."""
    changed = [a != b for a, b in zip(texts, NFC.normalize_str("\n".join(texts)).split("\n"), strict=True)]
    return header.doubtful(Batch(text.encode() for text in texts), chunk, normalized=True), np.array(changed)


@CHUNKS
def test_normalization(header: Header, chunk: int) -> None:
    """As the table's own rule says, and never certified where NFC changes a text."""
    assert CLASSES is not None
    symbols = "aeé가\u1100\u1161\u11a8か\u3099\u0301\u0323\u0334\u05b0\u0e38\u0344\u212b\u09c7\u09be"
    documents = ["".join(found) for length in range(4) for found in itertools.product(symbols, repeat=length)]
    found, changed = doubts(header, documents, chunk)
    assert np.array_equal(found, [not CLASSES.stable(document) for document in documents])
    assert not (changed & ~found).any()
    assert not header.doubtful(Batch(document.encode() for document in documents), chunk).any()


def test_every_code_point_alone_and_behind_marks(header: Header) -> None:
    for before in ("", "\u0334", "\u05b0", "\u0e48", "x\u0316", "\u0300", "\u0345"):
        points = POINTS if not before else POINTS[KINDS > 0]  # of those in no class there are 800,000
        found, changed = doubts(header, [before + point for point in letters(points)])
        assert np.array_equal(found, changed) if not before else not (changed & ~found).any()
        assert found.sum() < 2500


def test_marks_are_doubtful_where_they_change_places_and_nowhere_else(header: Header) -> None:
    """Every two that join nothing, which is where UAX #15 has its quick check say no, and not perhaps."""
    assert len(MARKS) > 600
    found, changed = doubts(header, [f"x{one}{other}" for one in MARKS for other in MARKS])
    assert np.array_equal(found, changed)
    assert 0.2 < found.mean() < 0.5


def test_what_may_join_is_certified_behind_what_it_never_joins(header: Header) -> None:
    """Every follower behind every letter and mark of every script without ideographs; more is certified than by UAX #15."""
    before = letters(POINTS[np.isin(KINDS, [Kind.UPPER, Kind.LOWER, Kind.LETTER, Kind.MARK]) & (POINTS < 0x20000)])
    before = [c for c in before if not ("㐀" <= c <= "鿿" or "가" <= c <= "힣" or "\U00017000" <= c <= "\U00018cff")]
    for follower in FOLLOWERS:
        found, changed = doubts(header, [f"{one}{follower}" for one in before])
        assert not (changed & ~found).any()
        assert found.mean() < 0.4


HEADS = "aeéệо가\u1100नकকতக\u0bc6שבلاก\u0344\u0958 "


@given(
    st.lists(st.text(st.sampled_from(MARKS) | st.sampled_from(FOLLOWERS) | st.sampled_from(HEADS), max_size=12), min_size=1),
    st.integers(1, 9),
)
def test_strings_of_marks(header: Header, texts: list[str], chunk: int) -> None:
    found, changed = doubts(header, texts, chunk)
    assert not (changed & ~found).any(), [text for text, wrong in zip(texts, changed & ~found, strict=True) if wrong]
