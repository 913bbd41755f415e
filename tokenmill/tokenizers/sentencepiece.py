"""A SentencePiece .model turned into a tokenizer.json, BPE and Unigram.

The fields are those of `sentencepiece_model.proto` (sentencepiece 0.2). Always holds: the result gave the same ids as
SentencePiece itself on `probes`; a model for which it does not (equal scores, say, which the two break differently) is
refused.
"""

import base64
import json
from typing import Any

from tokenmill.errors import UsageError
from tokenmill.tokenizers.probes import probes

SPACE = "▁"
UNIGRAM, BPE = 1, 2
UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4


def from_sentencepiece(data: bytes, where: str) -> bytes:
    """Turn a .model file into a tokenizer.json. Raises UsageError if it is none, or asks for more than can be said."""
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    model: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # made at run time
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise UsageError(f"{where} is no SentencePiece model. Give a .model, a tokenizer.json or a .tiktoken file.") from error
    trainer, norm = model.trainer_spec, model.normalizer_spec
    if trainer.model_type not in (UNIGRAM, BPE) or trainer.treat_whitespace_as_suffix or not norm.escape_whitespaces:
        raise UsageError(
            f"{where}: only SentencePiece models of type BPE or unigram with spaces escaped in front of words can be "
            f"turned into a tokenizer.json. Give this vocabulary's own tokenizer.json."
        )
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": number, "content": piece.piece, **flags, "special": piece.type != USER_DEFINED}
        for number, piece in enumerate(model.pieces)
        if piece.type in (UNKNOWN, CONTROL, USER_DEFINED)
    ]
    fallback = trainer.byte_fallback
    decoders: list[dict[str, Any]] = [{"type": "Replace", "pattern": {"String": SPACE}, "content": " "}]
    decoders += [{"type": "ByteFallback"}, {"type": "Fuse"}] if fallback else [{"type": "Fuse"}]
    decoders += [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if norm.add_dummy_prefix else []
    value = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": _normalizer(norm),
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": _bpe(model, fallback) if trainer.model_type == BPE else _unigram(model, fallback),
    }
    _prove(value, data, where)
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def _prove(value: dict[str, Any], data: bytes, where: str) -> None:
    import tokenizers
    from sentencepiece import SentencePieceProcessor

    converted = tokenizers.Tokenizer.from_str(json.dumps(value))
    converted.encode_special_tokens = True
    original = SentencePieceProcessor(model_proto=data)
    for text in probes():
        if converted.encode(text, add_special_tokens=False).ids != original.encode(text):
            raise UsageError(
                f"{where} cannot be turned into a tokenizer.json exactly: the ids of {text[:40]!r} differ from "
                f"SentencePiece's. Give this vocabulary's own tokenizer.json."
            )


def _normalizer(norm: Any) -> dict[str, Any]:
    steps: list[dict[str, Any]] = []
    if norm.precompiled_charsmap:
        charsmap = base64.b64encode(norm.precompiled_charsmap).decode()
        steps.append({"type": "Precompiled", "precompiled_charsmap": charsmap})
    if norm.remove_extra_whitespaces:
        steps.append({"type": "Strip", "strip_left": True, "strip_right": True})
        steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    if norm.add_dummy_prefix:
        # Not the Metaspace pre-tokenizer: it leaves the prefix out where the text begins with a space already.
        steps.append({"type": "Prepend", "prepend": SPACE})
    steps.append({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})
    return {"type": "Sequence", "normalizers": steps}


def _bpe(model: Any, fallback: bool) -> dict[str, Any]:
    """SentencePiece joins the neighbours whose joint piece has the best score; of equal scores, the lower id."""
    vocabulary = {piece.piece: number for number, piece in enumerate(model.pieces)}
    merges: list[tuple[float, int, int, int, str, str]] = []
    for number, piece in enumerate(model.pieces):
        text = piece.piece
        if piece.type != 1:
            continue
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in vocabulary and right in vocabulary:
                merges.append((-piece.score, number, vocabulary[left], vocabulary[right], left, right))
    merges.sort()
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": model.trainer_spec.unk_piece,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": fallback,
        "ignore_merges": False,
        "vocab": vocabulary,
        "merges": [[left, right] for *_, left, right in merges],
    }


def _unigram(model: Any, fallback: bool) -> dict[str, Any]:
    return {
        "type": "Unigram",
        "unk_id": model.trainer_spec.unk_id,
        "byte_fallback": fallback,
        "vocab": [[piece.piece, piece.score] for piece in model.pieces],
    }
