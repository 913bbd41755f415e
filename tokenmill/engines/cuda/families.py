"""Which tokenizers the kernels know: how text is cut into words, and what may come before that.

Comes in: a tokenizer. Goes out: its family, and what is certified of a document before its words are believed; or the reason
why this engine does not take the tokenizer. Always holds: everything in a tokenizer.json that can change the ids of a text is
looked at, and what is not known is refused. Post-processors are not looked at: they add tokens around a text, or move offsets.
Whether the vocabulary can be merged from bytes is `merges.py`'s to say.
"""

import importlib.metadata
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgspec

from tokenmill.engines.cuda.classes import classes_of, table_of
from tokenmill.engines.seams import CJK_PATTERN, DEEPSEEK_PATTERN, NUMBERS_PATTERN, steps
from tokenmill.tokenizers import Model
from tokenmill.tokenizers.tiktoken import CL100K_PATTERN, GPT2_PATTERN, O200K_PATTERN, QWEN_PATTERN


class Family(IntEnum):
    """Whose pattern cuts words; the same numbers in `kernels/pretokens.h`."""

    GPT2 = 0
    #: Llama-3's too, whose models differ in `ignore_merges` and not in their words.
    CL100K = 1
    #: Of Qwen 2, 2.5 and 3: every digit a word.
    QWEN2 = 2
    #: gpt-oss's too.
    O200K = 3
    DEEPSEEK_V3 = 4


#: The patterns of a family, one after the other.
PATTERNS = {
    (GPT2_PATTERN,): Family.GPT2,
    (CL100K_PATTERN,): Family.CL100K,
    (QWEN_PATTERN,): Family.QWEN2,
    (O200K_PATTERN,): Family.O200K,
    (NUMBERS_PATTERN, CJK_PATTERN, DEEPSEEK_PATTERN): Family.DEEPSEEK_V3,
}


@dataclass(frozen=True, slots=True)
class Cutting:
    """How a tokenizer makes words of text."""

    family: Family
    #: Whether text is brought into NFC first: documents that NFC may change are not certified.
    normalized: bool
    #: The strings that are found in text before it is cut; documents with one of them are not certified.
    added: tuple[str, ...]


class _Options(msgspec.Struct):
    """What changes how a BPE model merges."""

    dropout: float | None = None
    continuing_subword_prefix: str | None = None
    end_of_word_suffix: str | None = None
    byte_fallback: bool = False


def cutting_of(model: Model) -> Cutting | str:
    """How a tokenizer cuts text, or why the kernels cannot; reads neither vocabulary nor merges."""
    if model.family != "BPE":
        return f"it is {model.family}; the kernels merge byte-level BPE"
    options = model.part("model", _Options)
    if set_ := [name for name in options.__struct_fields__ if getattr(options, name)]:
        return f"its model has {' and '.join(set_)} set"
    family = _family(steps(model.part("pre_tokenizer")))
    if isinstance(family, str):
        return family
    normalizers = [step["type"] for step in steps(model.part("normalizer"))]
    if set(normalizers) - {"NFC"}:
        return f"its normalizer is {', '.join(normalizers)}; the kernels know none, and NFC where it changes nothing"
    version = importlib.metadata.version("tokenizers")
    classes = classes_of(version)
    if classes is None:
        return f"{table_of(version).name} is missing or damaged; `python -m tokenmill.engines.cuda.probe` makes it"
    added = [token for token in model.added_tokens if not token.get("special") and token["content"]]
    changed = [token["content"] for token in added if normalizers and not classes.stable(token["content"])]
    if changed:
        return f"NFC may change its added token {changed[0]!r}"
    return Cutting(family, bool(normalizers), tuple(token["content"] for token in added))


def _family(pre_tokenizers: list[dict[str, Any]]) -> Family | str:
    """The family of a pre-tokenizer, taken apart into its steps, or why it is none."""
    *splits, last = pre_tokenizers or [{"type": "none"}]
    if last["type"] != "ByteLevel" or any(step["type"] != "Split" for step in splits):
        return (
            f"its pre-tokenizer is {', '.join(step['type'] for step in [*splits, last])}; the kernels know Split and ByteLevel"
        )
    if last["add_prefix_space"]:
        return "it puts a space before every text (add_prefix_space)"
    patterns = [step["pattern"].get("Regex", "") for step in splits]
    patterns += [GPT2_PATTERN] * last.get("use_regex", True)
    family = PATTERNS.get(tuple(patterns))
    if family is None:
        return f"its words are cut by a pattern that the kernels do not know: {' then '.join(patterns)[:80]}"
    if any(not _keeps_all(step, family) for step in splits):
        return "its pattern takes away what it finds, or joins it with what stands beside it"
    return family


def _keeps_all(step: dict[str, Any], family: Family) -> bool:
    """Whether a split leaves all text, cut at both ends of every match. Four families' patterns match every character, so
    that nothing stands between their matches to be removed."""
    kept = (step["behavior"], step["invert"])
    return kept == ("Isolated", False) or (kept == ("Removed", True) and family != Family.DEEPSEEK_V3)
