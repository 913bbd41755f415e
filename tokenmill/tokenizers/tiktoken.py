"""Ranks files (.tiktoken, GPT-2's vocab.json + merges.txt) turned into a tokenizer.json.

Such a file holds ranks and nothing else: neither the pattern that cuts text into words nor the special tokens. So only
files whose sha256 is known are taken; everything else is refused instead of guessed. The patterns are those of OpenAI's
`tiktoken` 0.14 (`tiktoken_ext/openai_public.py`) and of Qwen's `tokenization_qwen.py`, in the spelling of the
tokenizer.json files that were published for the same vocabularies.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from tokenmill.errors import UsageError

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
CL100K_PATTERN = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN_PATTERN = CL100K_PATTERN.replace("{1,3}", "")
O200K_PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + CONTRACTIONS + "?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + CONTRACTIONS + "?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """What a ranks file does not say."""

    name: str
    pattern: str
    special_tokens: dict[str, int] = field(default_factory=dict)
    #: Whether text is brought into Unicode form NFC first.
    nfc: bool = False


GPT2 = Encoding(name="gpt2", pattern=GPT2_PATTERN, special_tokens={"<|endoftext|>": 50256})
CL100K_SPECIAL = {
    "<|endoftext|>": 100257,
    "<|fim_prefix|>": 100258,
    "<|fim_middle|>": 100259,
    "<|fim_suffix|>": 100260,
    "<|endofprompt|>": 100276,
}
QWEN_SPECIAL = {
    "<|endoftext|>": 151643,
    "<|im_start|>": 151644,
    "<|im_end|>": 151645,
    **{f"<|extra_{number}|>": 151646 + number for number in range(205)},
}

#: sha256 of a ranks file -> its encoding.
ENCODINGS = {
    "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930": GPT2,  # r50k_base.tiktoken
    "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069": Encoding(
        name="p50k_base", pattern=GPT2_PATTERN, special_tokens={"<|endoftext|>": 50256}
    ),
    "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7": Encoding(
        name="cl100k_base", pattern=CL100K_PATTERN, special_tokens=CL100K_SPECIAL
    ),
    "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d": Encoding(
        name="o200k_base", pattern=O200K_PATTERN, special_tokens={"<|endoftext|>": 199999, "<|endofprompt|>": 200018}
    ),
    "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186": Encoding(
        name="qwen", pattern=QWEN_PATTERN, special_tokens=QWEN_SPECIAL, nfc=True
    ),
}

#: GPT-2's merges.txt (once vocab.bpe) and vocab.json (once encoder.json).
GPT2_MERGES = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
GPT2_VOCAB = "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"


def from_ranks(data: bytes, where: str) -> bytes:
    """Turn a .tiktoken file into a tokenizer.json. Raises UsageError for a file whose encoding is not known."""
    encoding = ENCODINGS.get(hashlib.sha256(data).hexdigest())
    if encoding is None:
        known = ", ".join(sorted({e.name for e in ENCODINGS.values()}))
        raise UsageError(
            f"{where} holds ranks only, and is none of the files whose word pattern and special tokens are known ({known}). "
            f"Give this vocabulary's tokenizer.json instead: a wrong pattern would change ids silently."
        )
    try:
        ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, data.splitlines())}
    except (ValueError, binascii.Error) as error:
        raise UsageError(f"{where} is no ranks file: {error}.") from error
    alphabet = byte_alphabet()
    spelled = {token: "".join(alphabet[byte] for byte in token) for token in ranks}
    merges: list[tuple[int, str, str]] = []
    for token, rank in ranks.items():
        # Two neighbours join whenever their bytes together are a token, whichever way that token was once learned.
        pairs = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        pairs = [pair for pair in pairs if pair[0] in ranks and pair[1] in ranks]
        pairs.sort(key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
        merges.extend((rank, spelled[left], spelled[right]) for left, right in pairs)
    merges.sort(key=lambda merge: merge[0])
    vocabulary = {spelled[token]: rank for token, rank in ranks.items()}
    return _tokenizer_json(encoding, vocabulary, [[left, right] for _, left, right in merges], ignore_merges=True)


def from_gpt2(vocab: bytes, merges: bytes, where: str) -> bytes:
    """Turn GPT-2's vocab.json and merges.txt into a tokenizer.json. Raises UsageError for any other vocabulary."""
    if (hashlib.sha256(vocab).hexdigest(), hashlib.sha256(merges).hexdigest()) != (GPT2_VOCAB, GPT2_MERGES):
        raise UsageError(
            f"{where}: vocab.json and merges.txt do not say how text is cut into words, and these are not GPT-2's. "
            f"Give this vocabulary's tokenizer.json instead."
        )
    lines = merges.decode().splitlines()
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    return _tokenizer_json(GPT2, json.loads(vocab), pairs, ignore_merges=False)


def byte_alphabet() -> list[str]:
    """The printable character that stands for each byte in byte-level vocabularies (GPT-2, `bytes_to_unicode`)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    alphabet = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in alphabet:
            alphabet[byte] = chr(256 + len(alphabet) - len(printable))
    return [alphabet[byte] for byte in range(256)]


def _tokenizer_json(encoding: Encoding, vocabulary: dict[str, int], merges: list[list[str]], *, ignore_merges: bool) -> bytes:
    # GPT-2's pattern is ByteLevel's own; spelled as a Split, gigatoken refuses it and fastokens is four times slower
    own = encoding.pattern == GPT2_PATTERN
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": own}
    split = {"type": "Split", "pattern": {"Regex": encoding.pattern}, "behavior": "Isolated", "invert": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    special = [{"id": number, "content": token, **flags} for token, number in encoding.special_tokens.items()]
    value: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "NFC"} if encoding.nfc else None,
        "pre_tokenizer": byte_level if own else {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": ignore_merges,
            # Special tokens stand in the vocabulary too, or `tokenizers` would number them on without the gaps.
            "vocab": {**vocabulary, **encoding.special_tokens},
            "merges": merges,
        },
    }
    return json.dumps(value, ensure_ascii=False, indent=1).encode()
