"""How an engine is proved, chosen and caught: engines that lie are refused, guarded, or found out."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tokenmill.engines import ENGINES, REFERENCE, Encoder, SpotCheck, Tokens, certify, choose, trusted
from tokenmill.engines import choice as engine_choice
from tokenmill.engines.certificates import certificate
from tokenmill.engines.spotcheck import LONGEST, Divergence
from tokenmill.errors import UsageError
from tokenmill.spec import JobSpec
from tokenmill.tokenizers import Model, resolve


class Liar:
    """An engine that is wrong wherever a string occurs, as a fast engine with other Unicode tables is."""

    wrong_on = "ſ"

    def __init__(self, model: Model) -> None:
        self._honest = Encoder(model, spec(), REFERENCE)

    @staticmethod
    def supports(_: Model) -> None:
        return None

    def encode(self, text: pa.LargeStringArray) -> Tokens:
        tokens = self._honest.encode(text, np.zeros(len(text), np.bool_))
        ids = tokens.ids.copy()
        for i, document in enumerate(text.to_pylist()):
            if self.wrong_on in document and tokens.lengths[i]:
                ids[tokens.offsets[i]] += 1
        return Tokens(ids, tokens.offsets)


def spec(**changes: Any) -> JobSpec:
    fixed = {"sources": (), "tokenizer": "t", "eos_token": None, "bos_token": None, "dtype": "int32", "batch_bytes": 1}
    return JobSpec(**{**fixed, "max_document_bytes": 1, **changes})


def column(*texts: str) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


@pytest.fixture(scope="module")
def model(tokenizer_path: Callable[[str], Path]) -> Model:
    return resolve(str(tokenizer_path("gpt2"))).model


@pytest.fixture
def small_sweep(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A sweep of Latin letters only: what is tested here is not the size of it."""
    monkeypatch.setattr(certify, "SWEPT", tuple(range(0x250)))
    certify.forget()
    yield
    certify.forget()


@pytest.fixture
def liar(monkeypatch: pytest.MonkeyPatch, small_sweep: None) -> type[Liar]:
    """The liar as the only engine; engines are named after packages, so it borrows nanotoken's name."""
    monkeypatch.setitem(ENGINES, "nanotoken", lambda: Liar)
    monkeypatch.setattr(engine_choice, "candidates", lambda _: ["nanotoken"])
    monkeypatch.setattr(Liar, "wrong_on", Liar.wrong_on)
    return Liar


def test_an_engine_that_differs_on_single_code_points_is_used_with_a_guard(
    liar: type[Liar], model: Model, tmp_path: Path
) -> None:
    proof = certificate(model, "nanotoken", tmp_path)
    assert proof.refusal is None
    assert proof.guard == (ord("ſ"),)
    text = column("a plain document", "one with ſ in it", "", "ſ")
    guarded = trusted(model, spec(), "nanotoken", tmp_path)
    assert guarded.name == "nanotoken"
    holds = guarded.holds_special(text)
    assert guarded.encode(text, holds).first_difference(guarded.reference.encode(text, holds)) is None
    unguarded = Encoder(model, spec(), "nanotoken")
    assert unguarded.encode(text, holds).first_difference(guarded.reference.encode(text, holds)) == 1


def test_an_engine_that_differs_where_no_code_point_is_to_blame_is_refused(
    liar: type[Liar], model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liar, "wrong_on", "Hello, world!")
    choice = choose(model, spec(), "auto", lambda: column("a sample"), tmp_path, 1)
    assert choice.name == REFERENCE
    assert "it differs on 'Hello, world!" in choice.reason
    with pytest.raises(UsageError, match="--engine nanotoken cannot be used"):
        choose(model, spec(), "nanotoken", lambda: column("a sample"), tmp_path, 1)
    assert trusted(model, spec(), "nanotoken", tmp_path).name == REFERENCE


def test_an_engine_that_differs_on_the_jobs_own_text_is_refused(
    liar: type[Liar], model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liar, "wrong_on", "strange wörd")
    sample = column("a sample of this job with a strange wörd")
    choice = choose(model, spec(), "auto", lambda: sample, tmp_path, 1)
    assert choice.name == REFERENCE
    assert "differs from the reference on the job's own text" in choice.reason


@pytest.mark.usefixtures("small_sweep")
def test_a_certificate_is_made_once_and_counts_for_its_own_subject_only(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = certificate(model, "fastokens", tmp_path)
    tried: list[str] = []
    monkeypatch.setattr(certify, "prove", lambda _, name: tried.append(name) or certify.Proof(refusal="tried again"))
    assert certificate(model, "fastokens", tmp_path) == made
    assert tried == []
    other = Model(model.json.replace(b'"Ghello"', b'"Ghallo"') + b" ", "another file")
    assert certificate(other, "fastokens", tmp_path).refusal == "tried again"
    monkeypatch.setattr("tokenmill.engines.certificates.processor", lambda: "another processor")
    assert certificate(model, "fastokens", tmp_path).refusal == "tried again"
    monkeypatch.setattr("tokenmill.engines.certificates.engine_version", lambda _: "another version")
    assert certificate(model, "fastokens", tmp_path).refusal == "tried again"
    assert tried == ["fastokens"] * 3


@pytest.mark.usefixtures("small_sweep")
def test_a_damaged_certificate_is_made_anew(model: Model, tmp_path: Path) -> None:
    made = certificate(model, "fastokens", tmp_path)
    (kept,) = tmp_path.glob("certificates/*.json")
    kept.write_bytes(kept.read_bytes()[:100])
    assert certificate(model, "fastokens", tmp_path) == made


@pytest.mark.usefixtures("small_sweep")
def test_a_special_token_that_normalization_can_make_is_left_to_the_reference(model: Model, tmp_path: Path) -> None:
    value = json.loads(model.json)
    value["normalizer"] = {"type": "NFKC"}
    value["added_tokens"][0]["normalized"] = True
    delicate = Model(json.dumps(value).encode(), "delicate")
    parsing = choose(delicate, spec(special_tokens="parse"), "auto", lambda: column("a"), tmp_path, 1)
    assert parsing.name == REFERENCE
    assert "only the reference parses those" in parsing.reason or "refuses" in parsing.reason


def test_an_unknown_engine_is_refused_by_name(model: Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no such engine. Give auto, gigatoken"):
        choose(model, spec(), "quickest", lambda: column("a"), tmp_path, 1)
    with pytest.raises(UsageError, match="nanotoken knows WordPiece, not BPE"):
        choose(model, spec(), "nanotoken", lambda: column("a"), tmp_path, 1)


def test_the_live_check_looks_at_the_first_and_then_at_every_nth_document(model: Model) -> None:
    encoder = Encoder(model, spec(), "fastokens")
    check = SpotCheck(encoder, 1000)
    for size in (1, 999, 1, 5, 2000):
        text = column(*[f"document {i}" for i in range(size)])
        holds = encoder.holds_special(text)
        check(text, holds, encoder.encode(text, holds))
    assert check.checked == 4  # documents 0, 1000, 2000, 3000 of 3006
    nothing = SpotCheck(encoder, 0)
    nothing(text, holds, Tokens(np.zeros(0, np.uint32), np.zeros(2001, np.int64)))
    assert nothing.checked == 0


def test_the_live_check_finds_a_wrong_id_bos_and_eos_included(model: Model) -> None:
    encoder = Encoder(model, spec(eos_token="<|endoftext|>"), "fastokens")
    text = column("first", "second")
    holds = encoder.holds_special(text)
    tokens = encoder.encode(text, holds)
    tokens.ids[tokens.offsets[1] - 1] = 0  # the first document's EOS
    with pytest.raises(Divergence) as caught:
        SpotCheck(encoder, 1)(text, holds, tokens)
    assert caught.value.expected[-1] == 50256
    assert caught.value.found[-1] == 0


def test_the_live_check_passes_over_documents_that_would_cost_the_reference_too_much(model: Model) -> None:
    encoder = Encoder(model, spec(), "fastokens")
    text = column("x " * LONGEST, "short")
    holds = encoder.holds_special(text)
    check = SpotCheck(encoder, 1000)
    check(text, holds, encoder.encode(text, holds))
    assert check.checked == 1
