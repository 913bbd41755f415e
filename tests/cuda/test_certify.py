"""A document is certified only if its bytes are text, NFC leaves it alone, and no added token stands in it."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers

from tests.cuda.header import CLASSES, Batch, Header

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


@CHUNKS
def test_normalization(header: Header, chunk: int) -> None:
    """As the class table's own rule says, whose proof is beside it; and never where NFC changes a text."""
    assert CLASSES is not None
    symbols = "aeé가\u1100\u1161\u11a8か\u3099\u0301\u0323\u0334\u05b0\u0e38\u0344\u212b"
    documents = ["".join(found) for length in range(4) for found in itertools.product(symbols, repeat=length)]
    batch = Batch(document.encode() for document in documents)
    found = header.doubtful(batch, chunk, normalized=True)
    assert np.array_equal(found, [not CLASSES.stable(document) for document in documents])
    assert all(doubt or NFC.normalize_str(document) == document for document, doubt in zip(documents, found, strict=True))
    assert not header.doubtful(batch, chunk).any()
