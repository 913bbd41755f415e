"""The kernels cut text where the reference does, in one piece and in chunks, whatever the text."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from tests.cuda.header import BETWEEN, Batch, Header, Reference
from tokenmill.engines.cuda.families import PATTERNS, Family
from tokenmill.tokenizers import probes, resolve

#: A symbol for everything that a pattern tells apart, and what makes the alternatives of one begin alike.
SYMBOLS = {
    Family.GPT2: "sre中1'! \n\t\u0301",
    Family.CL100K: "asſ中1'! \n\r\t\u0301",
    Family.QWEN2: "asſ中1'! \n\r\t\u0301",
    Family.O200K: "Aas'中\u03011/! \n\t",
    Family.DEEPSEEK_V3: "aé中・1! \n\t\0\u0301§",
}
#: More of them, for shorter strings: every contraction in both cases; every class in and beside DeepSeek's ranges.
MORE = dict.fromkeys(Family, "'sStTrRevVmMdDlLſ 1") | {Family.DEEPSEEK_V3: "中ア・゛\u3040\u3099aé\0\xad1!/©\u0301 \r\n\u3000"}
#: A tokenizer of each.
REAL = {
    Family.GPT2: "gpt2",
    Family.CL100K: "llama3",
    Family.QWEN2: "qwen3",
    Family.O200K: "gptoss",
    Family.DEEPSEEK_V3: "deepseek",
}
#: Bytes to a chunk, and whether the last chunk comes first. None is one chunk for all.
CUTS = [(None, False), (1, True), (2, True), (3, True), (7, True), (32, True), (64, False)]
FAMILIES = pytest.mark.parametrize("family", Family, ids=lambda family: family.name)
#: What has surprised somebody: case without pairs, digits of other scripts, blanks that are none, marks, the unassigned.
NASTY = (
    "aAsStTrRevVmMdDlLſ'’\"!/.-_()<|>0123456789²½٣Ⅷ 〇\t\v\f\r\n\x1c\x85\xa0\u1680\u180e\u2028\u200b\u3000\ufeff\0\x7f\xad"
    "éÉßǅʰªº中文あア・ー゛\u3040\u3099\u0301\u20dd\u0e38한ㄱ\u1100\u0378\ue000😀\u200d🏽\U000e0041\U0010fffe"
)


def differences(header: Header, family: Family, documents: Sequence[str], starts: np.ndarray) -> list[object]:
    """The cuts by which not every word begins where it has to, or a document is doubtful."""
    batch = Batch(document.encode() for document in documents)
    found = {cut: header.starts(family, batch, cut[0], reverse=cut[1]) for cut in CUTS}
    return [cut for cut, (words, doubtful) in found.items() if doubtful.any() or not np.array_equal(words, starts)]


def strings(symbols: str, longest: int) -> Iterator[list[str]]:
    """Every string, a few hundred thousand at a time."""
    for length in range(longest + 1):
        first = max(0, length - 5)
        for head in itertools.product(symbols, repeat=first):
            yield ["".join((*head, *tail)) for tail in itertools.product(symbols, repeat=length - first)]


@FAMILIES
@pytest.mark.parametrize("longest", [5, pytest.param(6, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_every_short_string(header: Header, family: Family, longest: int) -> None:
    reference = Reference(family)
    for documents in strings(SYMBOLS[family], longest):
        assert differences(header, family, documents, reference.starts(documents)) == [], documents[1]
    for documents in strings(MORE[family], longest - 2):
        assert differences(header, family, documents, reference.starts(documents)) == [], documents[1]


@FAMILIES
@pytest.mark.parametrize("of", [16, pytest.param(1, marks=pytest.mark.slow)])
def test_every_code_point(header: Header, family: Family, of: int) -> None:
    """Among its neighbours and among others; in the short form, of each sixteen one, and its class is asked for elsewhere."""
    points = np.setdiff1d(np.arange(5, 0x110000, of, dtype=np.uint32), [*range(0xD800, 0xE000), ord(BETWEEN)])
    mixed = np.random.default_rng(8).permutation(
        np.concatenate([points, np.tile(np.frombuffer(b"aS'1! \n", np.uint8), 50_000 // of)])
    )
    text = np.concatenate([points, mixed]).astype("<u4").tobytes().decode("utf-32-le")
    documents = [text[begin : begin + 97] for begin in range(0, len(text), 97)]
    assert differences(header, family, documents, Reference(family).starts(documents)) == []


@FAMILIES
def test_real_text_by_the_tokenizers_themselves(
    header: Header, family: Family, real_texts: list[str], tokenizer_path: Callable[[str], Path]
) -> None:
    """What is asked here is the pre-tokenizer of the file that its authors published, one document at a time."""
    documents = [text.replace(BETWEEN, "") for text in (*real_texts[::2], *probes(), "", NASTY)]
    pre_tokenizer = resolve(str(tokenizer_path(REAL[family]))).model.reference().pre_tokenizer
    starts = []
    for document in documents:
        lengths = [len(character.encode()) for character in document]
        places = np.cumsum([0, *lengths])
        begins = np.zeros(places[-1], np.bool_)
        begins[places[[place[0] for _, place in pre_tokenizer.pre_tokenize_str(document)]]] = True
        starts.append(begins)
    assert np.array_equal(np.concatenate(starts), Reference(family).starts(documents))
    assert differences(header, family, documents, np.concatenate(starts)) == []


@FAMILIES
@given(
    documents=st.lists(st.text(st.sampled_from(NASTY) | st.characters(codec="utf-8", exclude_characters=BETWEEN)), min_size=1)
)
def test_any_text(header: Header, family: Family, documents: list[str]) -> None:
    assert differences(header, family, documents, Reference(family).starts(documents)) == []


@FAMILIES
def test_long_nasty_text(header: Header, family: Family) -> None:
    random = np.random.default_rng(9)
    documents = [
        "".join(random.choice(list(NASTY[: random.integers(2, len(NASTY))]), size)) for size in random.integers(0, 2000, 300)
    ]
    assert differences(header, family, documents, Reference(family).starts(documents)) == []


@FAMILIES
def test_a_short_sighted_thread_knows_what_it_does_not_know(short_sighted: Header, family: Family) -> None:
    """Whatever is not doubtful is exact, and what a thread can overlook is not doubtful."""
    reference = Reference(family)
    symbols = SYMBOLS[family]
    documents = [d for found in strings(symbols, 4) for d in found]
    documents += [head * 9 + tail * 9 for head, tail in itertools.product((*symbols, "\n ", "a ", "'s", "11 "), repeat=2)]
    batch, starts = Batch(d.encode() for d in documents), reference.starts(documents)
    of = np.repeat(np.arange(len(batch)), np.diff(batch.offsets))
    for chunk in (1, 2, 7):
        found, doubtful = short_sighted.starts(family, batch, chunk)
        assert 0 < doubtful.sum() < len(batch) / 10
        assert not doubtful[np.diff(batch.offsets) <= 8].any()
        assert np.array_equal(found[~doubtful[of]], starts[~doubtful[of]])


@FAMILIES
@pytest.mark.parametrize("run", ["a", " ", "\n", "1", "!", "'", "中", "\u0301", "\0", "'s", " \n", "a1"])
def test_runs_without_end(header: Header, family: Family, run: str) -> None:
    """More than a thread walks is cut as by the reference; in chunks it is so too, or doubtful, and others are exact."""
    documents = ["before it", run * (100_000 // len(run.encode())), "behind it"]
    starts = Reference(family).starts(documents)
    batch = Batch(d.encode() for d in documents)
    assert np.array_equal(header.starts(family, batch)[0], starts)
    found, doubtful = header.starts(family, batch, 64)
    of = np.repeat(doubtful, np.diff(batch.offsets))
    assert not doubtful[[0, 2]].any()
    assert np.array_equal(found[~of], starts[~of])


@FAMILIES
@given(damaged=st.lists(st.binary(min_size=1, max_size=40), min_size=1))
def test_bytes_that_are_no_text_harm_no_neighbour(header: Header, family: Family, damaged: list[bytes]) -> None:
    """They are not certified, so that their words mean nothing; those of the documents around them do."""
    good = "It's 1234 中文'LL,\r\n  end "
    batch = Batch(document for bad in damaged for document in (good.encode(), bad))
    starts = np.tile(Reference(family).starts([good]), len(damaged))
    is_good = np.repeat(np.arange(len(batch)) % 2 == 0, np.diff(batch.offsets))
    for chunk, reverse in CUTS:
        found, doubtful = header.starts(family, batch, chunk, reverse=reverse)
        assert not doubtful.any()
        assert np.array_equal(found[is_good], starts)
        assert found[batch.offsets[:-1]].all()


@FAMILIES
def test_published_spellings_of_a_split_cut_alike(family: Family) -> None:
    """Files of other authors keep what matches where the first keep everything: it is the same, but for DeepSeek's."""
    (*_, pattern) = next(patterns for patterns, own in PATTERNS.items() if own == family)
    text = NASTY * 3
    isolated = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated").pre_tokenize_str(text)
    removed = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "removed", invert=True).pre_tokenize_str(text)
    assert (isolated == removed) == (family != Family.DEEPSEEK_V3)
