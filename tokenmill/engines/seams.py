"""Seams: the places where a text may be cut so that its parts, encoded one by one, give the ids of the whole.

Comes in: a tokenizer. Goes out: what a seam of it looks like; None if it is not proved to have any. A seam is one space or
newline between two letters, and belongs to what follows. Always holds, because a tokenizer with anything that is not listed
here has none:

1. No added token lies across a seam: none has whitespace behind another character, or takes in whitespace beside a letter.
2. Normalizers look at a character and the marks behind it, or at runs without letters, so none looks across a seam. What a
   table of the tokenizer's own makes of letters and whitespace is tried out.
3. Pre-tokenizers end a word between a letter and whitespace, whatever stands further off: no alternative of a pattern takes
   whitespace behind a letter, none looks back, and `(?!\\S)` looks ahead by one character, behind whitespace, only.
4. Models see one word at a time.
"""

import re
from typing import Any

import tokenizers

from tokenmill.tokenizers import Model
from tokenmill.tokenizers.tiktoken import CL100K_PATTERN, GPT2_PATTERN, O200K_PATTERN, QWEN_PATTERN

#: First and last letters of runs that Unicode has had since version 3, and none of which joins what stands before it.
LETTERS = (("A", "Z"), ("a", "z"), ("А", "я"), ("ぁ", "ゖ"), ("ァ", "ヺ"), ("一", "龥"), ("가", "힣"))
#: DeepSeek's three patterns, one after the other.
NUMBERS_PATTERN = r"\p{N}{1,3}"
CJK_PATTERN = "[一-龥぀-ゟ゠-ヿ]+"
DEEPSEEK_PATTERN = (
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
)
BOTH = " \n"
#: Patterns that were read for 3, and the whitespace before which they end a word.
PATTERNS = {
    GPT2_PATTERN: BOTH,
    CL100K_PATTERN: BOTH,
    QWEN_PATTERN: BOTH,
    O200K_PATTERN: BOTH,
    DEEPSEEK_PATTERN: BOTH,
    NUMBERS_PATTERN: "",
    CJK_PATTERN: "",
}
#: Other pre-tokenizers, likewise. Metaspace knows the space alone.
PRE_TOKENIZERS = {
    "BertPreTokenizer": BOTH,
    "Whitespace": BOTH,
    "WhitespaceSplit": BOTH,
    "Metaspace": " ",
    "Digits": "",
    "Punctuation": "",
}
#: Normalizers that are as 2 says, whatever their options.
NORMALIZERS = frozenset({"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer", "Precompiled"})
#: What a Replace may look for: runs of spaces, a single space, invisible characters, quotation marks.
REPLACED = frozenset({" {2,}", r"\p{Zs}", r"[\u00AD\u200B\u200C\u200D\u2060\uFEFF]", "``", "''"})


def seam(model: Model, tokenizer: tokenizers.Tokenizer) -> re.Pattern[str] | None:
    """A pattern that finds the letter before a seam; None if there are no seams.

    Args:
        tokenizer: the reference of that model, set to find special tokens in text or to leave them alone.
    """
    matched = [token for token in model.added_tokens if not (token.get("special") and tokenizer.encode_special_tokens)]
    normalizers, pre_tokenizers = steps(model.part("normalizer")), steps(model.part("pre_tokenizer"))
    ended = [_ends_words_before(step) for step in pre_tokenizers]
    if (
        any(_may_lie_across(token, normalized=bool(normalizers)) for token in matched)
        or not all(map(_is_local, normalizers))
        or None in ended
        or (any(step["type"] == "Precompiled" for step in normalizers) and not _keeps_letters(tokenizer))
    ):
        return None
    found = "".join(end or "" for end in ended)
    whitespace = "".join(mark for mark in BOTH if _normalized(tokenizer, f"a{mark}b")[1:-1] in tuple(found))
    letters = "".join(f"{first}-{last}" for first, last in LETTERS)
    return re.compile(f"[{letters}](?=[{whitespace}][{letters}])") if whitespace else None


def steps(part: Any) -> list[dict[str, Any]]:
    """A normalizer or pre-tokenizer, taken apart where it is a sequence."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    return [step for inner in part.get("normalizers", part.get("pretokenizers")) for step in steps(inner)]


def _may_lie_across(token: dict[str, Any], *, normalized: bool) -> bool:
    content = token["content"]
    strips = (token.get("lstrip") and content[:1].isalnum()) or (token.get("rstrip") and content[-1:].isalnum())
    changes = token.get("normalized") and normalized
    return bool(strips or changes or token.get("single_word") or re.search(r"\S\s", content))


def _is_local(step: dict[str, Any]) -> bool:
    if step["type"] == "Strip":  # the right end of a part is a letter, or the end of the text
        return not step["strip_left"]
    if step["type"] == "Replace":
        return bool(REPLACED & set(step["pattern"].values()))
    return step["type"] in NORMALIZERS


def _ends_words_before(step: dict[str, Any]) -> str | None:
    """The whitespace before which a pre-tokenizer ends a word; None if it was not read."""
    kind = step["type"]
    if kind == "Split":
        plain = step["behavior"] == "Isolated" and not step["invert"]
        return PATTERNS.get(step["pattern"].get("Regex", "")) if plain else None
    if kind == "ByteLevel":
        plain = not step["add_prefix_space"]
        return (PATTERNS[GPT2_PATTERN] if step.get("use_regex", True) else "") if plain else None
    if kind == "Metaspace" and not step.get("split", True):
        return None
    return PRE_TOKENIZERS.get(kind)


def _keeps_letters(tokenizer: tokenizers.Tokenizer) -> bool:
    """Whether normalization makes of every letter something that is neither empty nor has whitespace at its ends."""
    letters = (chr(point) for first, last in LETTERS for point in range(ord(first), ord(last) + 1))
    return all(became and became == became.strip() for became in (_normalized(tokenizer, letter) for letter in letters))


def _normalized(tokenizer: tokenizers.Tokenizer, text: str) -> str:
    return tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
