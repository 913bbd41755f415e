"""The rules over whole arrays give the words of the reference, and so those of the kernels."""

import numpy as np
import pytest

from tests.cuda.header import BETWEEN, Batch, Header, Reference
from tests.cuda.specification import RULES, words
from tests.cuda.test_pretokens import MORE, NASTY, SYMBOLS, strings
from tokenmill.engines.cuda.families import Family
from tokenmill.tokenizers import probes

FAMILIES = pytest.mark.parametrize("family", list(RULES), ids=lambda family: family.name)


@FAMILIES
def test_rules_are_the_references(family: Family) -> None:
    reference = Reference(family)
    for documents in (*strings(SYMBOLS[family], 4), *strings(MORE[family], 3)):
        assert np.array_equal(words(family, documents), reference.starts(documents)), documents[1]


@FAMILIES
def test_rules_are_the_kernels(header: Header, family: Family, real_texts: list[str]) -> None:
    random = np.random.default_rng(10)
    nasty = ["".join(random.choice(list(NASTY), size)) for size in random.integers(0, 3000, 300)]
    for documents in ([text.replace(BETWEEN, "") for text in (*real_texts, *probes())], nasty):
        found, _ = header.starts(family, Batch(document.encode() for document in documents))
        assert np.array_equal(words(family, documents), found), documents[1]
