"""BOS and EOS: what was asked for, else what the tokenizer's own files settle, else an error that names the option."""

import json
from typing import Any

import pytest

from tokenmill.errors import UsageError
from tokenmill.tokenizers import TokenizerFiles, settle

FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
}
BERT = {"type": "BertProcessing", "sep": ["</s>", 1], "cls": ["<s>", 0]}


def files(post_processor: Any = None, config: dict[str, Any] | None = None, *, converted: bool = False) -> TokenizerFiles:
    model = {
        "added_tokens": [{"id": 0, "content": "<s>", **FLAGS}, {"id": 1, "content": "</s>", **FLAGS}],
        "post_processor": post_processor,
        "model": {"type": "BPE", "vocab": {"<s>": 0, "</s>": 1, "a": 2}, "merges": []},
    }
    found = {"tokenizer.json": json.dumps(model).encode()}
    if config is not None:
        found["tokenizer_config.json"] = json.dumps(config).encode()
    return TokenizerFiles(name="t", revision=None, files=found, converted=converted)


@pytest.mark.parametrize(
    ("given", "eos", "bos", "expected"),
    [
        (files(), "</s>", None, ("</s>", None)),  # a tokenizer.json that adds nothing in front settles BOS as none
        (files(), False, "<s>", (None, "<s>")),
        (files(TEMPLATE), "</s>", None, ("</s>", "<s>")),  # a template says which token stands in front
        (files(BERT), None, None, ("</s>", "<s>")),
        (files({"type": "Sequence", "processors": [{"type": "ByteLevel"}, BERT]}), None, None, ("</s>", "<s>")),
        (files(BERT), False, False, (None, None)),  # what is asked for goes before everything
        (files(config={"add_eos_token": True, "eos_token": {"content": "</s>"}}), None, None, ("</s>", None)),
        (files(config={"add_eos_token": False, "eos_token": "</s>"}), None, None, (None, None)),
        (files(config={"add_bos_token": True, "bos_token": "<s>"}), False, None, (None, "<s>")),
    ],
)
def test_what_settles_the_ends(given: TokenizerFiles, eos: Any, bos: Any, expected: tuple[str | None, str | None]) -> None:
    assert settle(given, eos, bos) == expected


@pytest.mark.parametrize(
    ("given", "eos", "bos", "said"),
    [
        (files(), None, None, "--eos-token TOKEN or --no-eos-token"),
        (files(TEMPLATE), None, None, "--eos-token TOKEN or --no-eos-token"),
        (files(config={"eos_token": "</s>"}), None, None, r"its configuration names '</s>'"),
        (files(converted=True), False, None, "--bos-token TOKEN or --no-bos-token"),
        (files(), "<eos>", None, "'<eos>' is no token of t. Its special tokens are <s>, </s>"),
    ],
)
def test_what_is_not_settled_is_an_error_that_says_what_to_give(given: TokenizerFiles, eos: Any, bos: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        settle(given, eos, bos)
