"""Law 1: every engine on every real tokenizer gives the ids of Hugging Face `tokenizers`, or is refused."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmill.engines import REFERENCE, Encoder
from tokenmill.engines import encoder as engine_memory
from tokenmill.engines.certificates import Certificate, certificate
from tokenmill.engines.registry import candidates
from tokenmill.spec import JobSpec, SpecialTokens
from tokenmill.tokenizers import Model, in_contexts, probes, token_probes

#: Tokenizer -> engine -> a code point on which it is known to differ, None for none known. An engine that is not named here
#: must be refused: a new refusal means that an exact fast engine was lost, a new grant that a lying one came through.
GRANTED: dict[str, dict[str, str | None]] = {
    "qwen3": {"gigatoken": "\u0eba", "fastokens": None},
    "cl100k": {"gigatoken": None},
    "llama3": {"gigatoken": "\U00011de0", "fastokens": None},
    "gptoss": {"gigatoken": None, "fastokens": "\u017f"},
    "deepseek": {"fastokens": None},
    "gpt2": {"gigatoken": None, "fastokens": None},
    "qwen": {"gigatoken": "\u0eba", "fastokens": None},
    "mistral": {"gigatoken": None, "fastokens": None},
    "bert": {"nanotoken": None},
    "mon": {"splintr-rs": "\u0eba"},
    "unigram": {"splintr-rs": None},
}
PAIRS = [(family, engine) for family, engines in GRANTED.items() for engine in engines]


def spec(**changes: Any) -> JobSpec:
    fixed = {"sources": (), "tokenizer": "t", "eos_token": None, "bos_token": None, "dtype": "int32", "batch_bytes": 1}
    return JobSpec(**{**fixed, "max_document_bytes": 1, **changes})


@pytest.fixture(scope="module")
def granted(model_of: Callable[[str], Model], shared_cache: Path) -> Callable[[str, str], Certificate]:
    """The proofs of this run of the tests: those of its jobs, or made here."""
    return lambda family, engine: certificate(model_of(family), engine, shared_cache)


@lru_cache(1)  # a tokenizer takes a second of the processor to load, and its engines come one after the other
def oracle(model: Model) -> tokenizers.Tokenizer:
    """What the engines of a tokenizer are compared with."""
    return tokenizers.Tokenizer.from_str(model.json.decode())


@lru_cache(2)
def reference(model: Model, rules: JobSpec) -> Encoder:
    """Our reference on a tokenizer."""
    return Encoder(model, rules, REFERENCE)


def sharing(encoder: Encoder) -> Encoder:
    """An encoder that leaves what its engine does not vouch for to the reference that is loaded already."""
    encoder.reference = reference(encoder.model, encoder.spec)
    return encoder


def ids(tokenizer: tokenizers.Tokenizer, texts: list[str], *, parse_special: bool = False) -> list[list[int]]:
    tokenizer.encode_special_tokens = not parse_special
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def column(texts: list[str]) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def encode(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    text = column(texts)
    tokens = encoder.encode(text, encoder.holds_special(text))
    assert tokens.ids.dtype == np.uint32
    assert tokens.offsets.dtype == np.int64
    assert len(tokens) == len(texts)
    return [tokens.document(i).tolist() for i in range(len(tokens))]


@pytest.mark.parametrize("family", GRANTED)
def test_each_engine_is_granted_or_refused_as_it_was_measured(
    family: str, model_of: Callable[[str], Model], granted: Callable[[str, str], Certificate]
) -> None:
    found = {engine: granted(family, engine) for engine in candidates(model_of(family))}
    usable = {engine for engine, proof in found.items() if proof.refusal is None}
    assert usable == set(GRANTED[family]), {engine: proof.says() for engine, proof in found.items()}
    for engine, point in GRANTED[family].items():
        assert found[engine].texts > 200_000
        assert bool(found[engine].guard) == (point is not None)
        assert point is None or ord(point) in found[engine].guard


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def pair(
    request: pytest.FixtureRequest, model_of: Callable[[str], Model], granted: Callable[[str, str], Certificate]
) -> Encoder:
    """An engine on a tokenizer, with the guard it was granted; loaded once for all tests of the pair."""
    family, engine = request.param
    return sharing(Encoder(model_of(family), spec(), engine, granted(family, engine).guard))


@pytest.fixture(scope="module")
def expected(real_texts: list[str]) -> Callable[[Model], dict[str, list[int]]]:
    """Real and adversarial texts, and their ids, which our reference gives too; kept for the next engine of the tokenizer."""

    @lru_cache(1)
    def of(model: Model) -> dict[str, list[int]]:
        texts = list(dict.fromkeys([*real_texts, *probes(), *token_probes(model)]))
        due = dict(zip(texts, ids(oracle(model), texts), strict=True))
        assert differing(reference(model, spec()), due) == []
        return due

    return of


def differing(encoder: Encoder, expected: dict[str, list[int]]) -> list[str]:
    """The texts to which an encoder gives other ids."""
    found = encode(encoder, list(expected))
    return [text for text, ids, due in zip(expected, found, expected.values(), strict=True) if ids != due]


def test_same_ids_on_real_and_on_adversarial_text(pair: Encoder, expected: Callable[[Model], dict[str, list[int]]]) -> None:
    in_guard = [in_contexts([point]) for point in pair.guard]
    assert differing(pair, expected(pair.model) | dict(zip(in_guard, ids(oracle(pair.model), in_guard), strict=True))) == []


def test_same_ids_on_generated_text(pair: Encoder) -> None:
    tokenizer = oracle(pair.model)
    ours = [token["content"] for token in pair.model.added_tokens[:20]]
    delicate = [chr(point) for point in pair.guard] or ["\u0301"]
    pieces = st.one_of(
        st.text(st.characters(codec="utf-8")),
        st.sampled_from([" ", "\n", "'s", "<|", "|>", "ab", "12", "\r\n", "\u0323", "\u200d", "中文", *ours]),
        st.sampled_from(delicate),
    )

    @settings(max_examples=100, deadline=None)
    @given(texts=st.lists(st.lists(pieces, max_size=12).map("".join), min_size=1, max_size=6))
    def check(texts: list[str]) -> None:
        assert encode(pair, texts) == ids(tokenizer, texts)

    check()


def test_special_tokens_in_text(pair: Encoder) -> None:
    special = [token["content"] for token in pair.model.special_tokens]
    texts = ["plain", *(f"a {token}b" for token in special[:40]), "", special[0], special[-1] * 3, special[0][:-1]]
    rules = spec(special_tokens=SpecialTokens.PARSE)
    parsing = sharing(Encoder(pair.model, rules, pair.name, pair.guard))
    parsing._engine = pair._engine  # which takes all text as text, whatever a job's rules are
    for encoder, parse_special in ((pair, False), (parsing, True)):
        assert encode(encoder, texts) == ids(oracle(pair.model), texts, parse_special=parse_special)
        held = encoder.holds_special(column(texts)).tolist()
        assert held == [any(token in text for token in special) for text in texts]
    if pair.model.family == "Unigram":
        return  # special tokens are pieces of its vocabulary like any other, and the reference finds them in text
    unknown = {"[UNK]", "<unk>"}  # what an ordinary character may become
    forbidden = {token["id"] for token in pair.model.special_tokens if token["content"] not in unknown}
    assert not forbidden & {number for document in encode(pair, texts) for number in document}


@pytest.mark.parametrize("family", ["mon", "unigram"])
def test_the_unknown_tokens_own_string_is_one_with_unknown_characters_around_it(
    family: str, model_of: Callable[[str], Model]
) -> None:
    """splintr counts two unknown tokens where the reference counts one, also where the string comes about by normalization."""
    texts = ["plain", "<unk><unk>", "☃<unk>", "a ☃ b", "<unk>☃ <unk>", "", "＜unk><unk＞", "☃☃"]
    expected = ids(oracle(model_of(family)), texts)
    encoder = Encoder(model_of(family), spec(), "splintr-rs")
    assert encode(encoder, texts) == expected
    bare = encoder._engine.encode(column(texts))
    wrong = [i for i in range(len(texts)) if bare.document(i).tolist() != expected[i]]
    assert wrong
    assert bare.unsure is not None
    assert bare.unsure[wrong].all()
    assert not bare.unsure[[0, 3, 5, 7]].any()


@pytest.mark.parametrize("piece", ["a", " ", "中", "=\n", "\u0301"])
def test_same_ids_on_long_text_without_a_break(pair: Encoder, piece: str) -> None:
    """What is cut into words nowhere is one word of 100,000 letters to an engine."""
    texts = [piece * 100_000]
    expected = ids(oracle(pair.model), texts)
    assert encode(pair, texts) == expected


def test_bos_and_eos_stand_at_the_ends_of_every_document(model_of: Callable[[str], Model]) -> None:
    bos, eos = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
    texts = ["one", "", f"holds {eos} itself", "four"]
    bare = ids(oracle(model_of("deepseek")), texts)
    for before, after in [(bos, None), (None, eos), (bos, eos)]:
        encoder = Encoder(model_of("deepseek"), spec(bos_token=before, eos_token=after), "fastokens")
        expected = [[0] * (before is not None) + body + [1] * (after is not None) for body in bare]
        assert encode(encoder, texts) == expected


def test_truncation_and_padding_of_a_tokenizer_file_are_cleared(model_of: Callable[[str], Model]) -> None:
    """The BERT file of this package truncates to 128 tokens and pads to 128."""
    for engine in (REFERENCE, "nanotoken"):
        (found,) = encode(Encoder(model_of("bert"), spec(), engine), ["word " * 1000])
        assert len(found) == 1000


def test_memory_that_no_engine_gives_back_is_not_looked_for_at_every_column(
    model_of: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a GPU's engine, which stays."""
    held, looks = 1 << 30, list[int]()
    monkeypatch.setattr(engine_memory, "resident_bytes", lambda: held)
    behind = Encoder(model_of("gpt2"), spec(), REFERENCE)
    encoder = Encoder(model_of("gpt2"), spec(), "fastokens", (), behind)
    encode(encoder, ["text"])
    monkeypatch.setattr(engine_memory, "release_memory", lambda: looks.append(held))
    held += engine_memory.CACHE_BYTES + 1
    for _ in range(3):
        encode(encoder, ["text"])
    assert len(looks) == 1


def test_two_tokenizers_in_one_process_do_not_take_each_others_room(
    model_of: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine is loaded anew when the process has grown, not because another tokenizer was loaded after it."""
    held = 1 << 30
    monkeypatch.setattr(engine_memory, "resident_bytes", lambda: held)
    first, second = (Encoder(model_of(name), spec(), REFERENCE) for name in ("gpt2", "qwen3"))
    first.load()
    held += engine_memory.CACHE_BYTES  # the second one's vocabulary and engine
    second.load()
    loaded = first._engine
    held += engine_memory.CACHE_BYTES
    encode(first, ["text"])
    assert first._engine is loaded
    held += 1
    encode(first, ["text"])
    assert first._engine is not loaded
