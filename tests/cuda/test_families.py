"""The kernels take the tokenizers that they know, and say of every other why not."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tokenmill.engines.cuda import classes
from tokenmill.engines.cuda.families import PATTERNS, Cutting, Family, cutting_of
from tokenmill.tokenizers import Model
from tokenmill.tokenizers.tiktoken import CL100K_PATTERN, O200K_PATTERN, QWEN_PATTERN

DEEPSEEK = next(patterns for patterns, family in PATTERNS.items() if family == Family.DEEPSEEK_V3)


def model(**changes: Any) -> Model:
    """A small tokenizer.json, changed."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    bpe = {"type": "BPE", "vocab": {"a": 0}, "merges": [], **changes.pop("model", {})}
    parts = {"added_tokens": [], "normalizer": None, "pre_tokenizer": byte_level, "model": bpe, **changes}
    return Model(json.dumps(parts).encode(), "test")


def splits(*patterns: str, **changes: Any) -> dict[str, Any]:
    """A pre-tokenizer of several patterns."""
    steps = [{"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated", "invert": False, **changes} for p in patterns]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [*steps, byte_level]}


def added(content: str, **flags: Any) -> list[dict[str, Any]]:
    return [{"id": 1, "content": content, "special": False, **flags}]


@pytest.mark.parametrize(
    ("name", "family", "normalized", "token"),
    [
        ("gpt2", Family.GPT2, False, None),
        ("cl100k", Family.CL100K, False, None),
        ("gpt4", Family.CL100K, False, None),
        ("llama3", Family.CL100K, False, None),
        ("qwen3", Family.QWEN2, True, "<think>"),
        ("gptoss", Family.O200K, False, None),
        ("deepseek", Family.DEEPSEEK_V3, False, "<｜fim▁hole｜>"),
    ],
)
def test_real_tokenizers(
    model_of: Callable[[str], Model], name: str, family: Family, normalized: bool, token: str | None
) -> None:
    cutting = cutting_of(model_of(name))
    assert isinstance(cutting, Cutting), cutting
    assert (cutting.family, cutting.normalized) == (family, normalized)
    assert "<|endoftext|>" not in cutting.added  # special, so it is text like any other
    assert token in cutting.added if token else not cutting.added


@pytest.mark.parametrize(("name", "reason"), [("bert", "WordPiece"), ("mon", "Unigram"), ("mistral", "byte_fallback")])
def test_real_tokenizers_of_other_kinds(model_of: Callable[[str], Model], name: str, reason: str) -> None:
    refused = cutting_of(model_of(name))
    assert isinstance(refused, str)
    assert reason in refused


@pytest.mark.parametrize(
    "known",
    [
        model(),
        model(normalizer={"type": "NFC"}, added_tokens=added("中é", lstrip=True)),
        model(normalizer={"type": "Sequence", "normalizers": []}, post_processor={"type": "TemplateProcessing"}),
        model(model={"continuing_subword_prefix": "", "end_of_word_suffix": "", "dropout": None}),
        model(pre_tokenizer=splits(CL100K_PATTERN, behavior="Removed", invert=True)),
    ],
)
def test_what_changes_no_id_is_taken(known: Model) -> None:
    assert isinstance(cutting_of(known), Cutting)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (model(model={"dropout": 0.1}), "dropout"),
        (model(model={"byte_fallback": True}), "byte_fallback"),
        (model(model={"continuing_subword_prefix": "##"}), "continuing_subword_prefix"),
        (model(model={"end_of_word_suffix": "</w>"}), "end_of_word_suffix"),
        (model(model={"type": "Unigram", "vocab": []}), "it is Unigram"),
        (model(pre_tokenizer=None), "pre-tokenizer is none"),
        (model(pre_tokenizer={"type": "Metaspace"}), "Metaspace"),
        (model(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}), "add_prefix_space"),
        (model(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}), "pattern"),
        (model(pre_tokenizer=splits("a+")), "a+"),
        (model(pre_tokenizer=splits(QWEN_PATTERN, O200K_PATTERN)), "pattern"),
        (model(pre_tokenizer=splits(O200K_PATTERN, behavior="MergedWithNext")), "takes away"),
        (model(pre_tokenizer=splits(O200K_PATTERN, behavior="Removed")), "takes away"),
        (model(pre_tokenizer=splits(O200K_PATTERN, invert=True)), "takes away"),
        # it leaves control characters unmatched, which would be lost
        (model(pre_tokenizer=splits(*DEEPSEEK, behavior="Removed", invert=True)), "takes away"),
        (model(normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}), "NFC, Lowercase"),
        (model(normalizer={"type": "NFC"}, added_tokens=added("e\u0301")), "added token"),
    ],
)
def test_what_could_change_an_id_is_refused(other: Model, reason: str) -> None:
    refused = cutting_of(other)
    assert isinstance(refused, str)
    assert reason in refused


def test_a_version_without_a_table_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "SHA256", {})
    assert "probe" in str(cutting_of(model()))
