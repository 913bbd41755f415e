"""Law 1: whichever engine ran, the ids are those of Hugging Face `tokenizers` on the same tokenizer.json."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmill.engines import ENGINES, Encoder, certify, choose
from tokenmill.engines.contract import Tokens
from tokenmill.errors import UsageError
from tokenmill.job import JobSpec, SpecialTokens
from tokenmill.tokenizers import Model, probes, resolve, sweep

FAMILIES = ["deepseek", "gpt2", "qwen", "mistral", "bert"]
#: The engine that `auto` must end up with: a slower one here means that an exact fast engine was lost.
FASTEST = {"deepseek": "fastokens", "gpt2": "fastokens", "qwen": "fastokens", "mistral": "gigatoken", "bert": "nanotoken"}


def spec(**changes: Any) -> JobSpec:
    fixed = {"sources": (), "tokenizer": "t", "eos_token": None, "bos_token": None, "dtype": "int32", "batch_bytes": 1}
    return JobSpec(**{**fixed, "max_document_bytes": 1, **changes})


@pytest.fixture(scope="module")
def model(tokenizer_path: Callable[[str], Path]) -> Callable[[str], Model]:
    loaded: dict[str, Model] = {}

    def load(family: str) -> Model:
        if family not in loaded:
            loaded[family] = Model(resolve(str(tokenizer_path(family))).model, family)
        return loaded[family]

    return load


def oracle(model: Model, *, parse_special: bool = False) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer.from_str(model.json)
    tokenizer.encode_special_tokens = not parse_special
    return tokenizer


def column(texts: list[str]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def encode(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    text = column(texts)
    tokens = encoder.encode(text, encoder.holds_special(text))
    assert tokens.ids.dtype == np.uint32
    assert tokens.offsets.dtype == np.int64
    assert len(tokens) == len(texts)
    return [tokens.document(i).tolist() for i in range(len(tokens))]


@pytest.mark.parametrize("family", FAMILIES)
def test_auto_takes_the_fastest_exact_engine(family: str, model: Callable[[str], Model], real_texts: list[str]) -> None:
    choice = choose(model(family), spec(), "auto", column(real_texts[:20]))
    assert choice.name == FASTEST[family], choice.reason
    assert "same ids as the reference" in choice.reason


@pytest.mark.parametrize("family", FAMILIES)
def test_same_ids_on_real_and_on_adversarial_text(family: str, model: Callable[[str], Model], real_texts: list[str]) -> None:
    texts = [*real_texts, *probes(), *sweep()]
    tokenizer = oracle(model(family))
    expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    for engine in {FASTEST[family], "reference"}:
        found = encode(Encoder(model(family), spec(), engine), texts)
        assert [text for text, a, b in zip(texts, found, expected, strict=True) if a != b] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_same_ids_on_generated_text(family: str, model: Callable[[str], Model]) -> None:
    tokenizer, encoder = oracle(model(family)), Encoder(model(family), spec(), FASTEST[family])
    pieces = st.one_of(
        st.text(st.characters(codec="utf-8")), st.sampled_from([" ", "\n", "'s", "<|", "|>", "ab", "12", "\r\n"])
    )

    @settings(max_examples=150, deadline=None)
    @given(texts=st.lists(st.lists(pieces, max_size=12).map("".join), min_size=1, max_size=6))
    def check(texts: list[str]) -> None:
        assert encode(encoder, texts) == [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]

    check()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("policy", [SpecialTokens.TEXT, SpecialTokens.PARSE])
def test_special_tokens_in_text(family: str, policy: SpecialTokens, model: Callable[[str], Model]) -> None:
    special = [token["content"] for token in model(family).special_tokens]
    texts = ["plain", *(f"a {token}b" for token in special[:40]), "", special[0], special[-1] * 3, special[0][:-1]]
    tokenizer = oracle(model(family), parse_special=policy is SpecialTokens.PARSE)
    expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    encoder = Encoder(model(family), spec(special_tokens=policy), FASTEST[family])
    assert encode(encoder, texts) == expected
    held = encoder.holds_special(column(texts)).tolist()
    assert held == [any(token in text for token in special) for text in texts]
    if policy is SpecialTokens.TEXT:
        ids = {
            token["id"] for token in model(family).special_tokens if token["content"] != "[UNK]" and token["content"] != "<unk>"
        }
        assert not ids & {number for document in encode(encoder, texts) for number in document}


def test_bos_and_eos_stand_at_the_ends_of_every_document(model: Callable[[str], Model]) -> None:
    bos, eos = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
    texts = ["one", "", f"holds {eos} itself", "four"]
    tokenizer = oracle(model("deepseek"))
    bare = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    for before, after in [(bos, None), (None, eos), (bos, eos)]:
        encoder = Encoder(model("deepseek"), spec(bos_token=before, eos_token=after), "fastokens")
        expected = [[0] * (before is not None) + ids + [1] * (after is not None) for ids in bare]
        assert encode(encoder, texts) == expected


def test_truncation_and_padding_of_a_tokenizer_file_are_cleared(model: Callable[[str], Model]) -> None:
    """The BERT file of this package truncates to 128 tokens and pads to 128."""
    for engine in ("reference", "nanotoken"):
        (ids,) = encode(Encoder(model("bert"), spec(), engine), ["word " * 1000])
        assert len(ids) == 1000


class Liar:
    """An engine that is wrong about one letter, as a fast engine with other Unicode tables is."""

    name, version = "liar", "1"
    wrong_on = "ſ"

    def __init__(self, model: Model) -> None:
        self._honest = Encoder(model, spec(), "reference")

    @staticmethod
    def supports(_: Model) -> None:
        return None

    def encode(self, text: pa.LargeStringArray) -> Tokens:
        tokens = self._honest.encode(text, np.zeros(len(text), np.bool_))
        ids = tokens.ids.copy()
        for i, document in enumerate(text.to_pylist()):
            if self.wrong_on in document:
                ids[tokens.offsets[i]] += 1
        return Tokens(ids, tokens.offsets)


def test_an_engine_that_lies_is_refused(monkeypatch: pytest.MonkeyPatch, model: Callable[[str], Model]) -> None:
    monkeypatch.setitem(ENGINES, "liar", lambda: Liar)
    monkeypatch.setattr(certify, "candidates", lambda _: ["liar", "reference"])
    sample = column(["a sample of this job with a strange wörd"])
    choice = choose(model("gpt2"), spec(), "auto", sample)
    assert choice.name == "reference"
    assert "liar 1 differs from the reference on adversarial texts" in choice.reason
    with pytest.raises(UsageError, match="--engine liar cannot be used"):
        choose(model("gpt2"), spec(), "liar", sample)
    monkeypatch.setattr(Liar, "wrong_on", "strange wörd")  # no adversarial text holds it, the job does
    assert "differs from the reference on the job's own text" in choose(model("gpt2"), spec(), "auto", sample).reason


def test_an_unknown_engine_is_refused_by_name(model: Callable[[str], Model]) -> None:
    with pytest.raises(UsageError, match=r"there is no such engine. Give auto, fastokens"):
        choose(model("gpt2"), spec(), "quickest", column(["a"]))
    with pytest.raises(UsageError, match="nanotoken knows WordPiece, not BPE"):
        choose(model("gpt2"), spec(), "nanotoken", column(["a"]))
