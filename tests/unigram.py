"""A Unigram tokenizer.json of the form in which those of T5 and XLM-R were published: none of them ships in a small package.

Comes in: real text. Goes out: a vocabulary that SentencePiece, which made theirs too, learned from it, behind their normalizer
(SentencePiece's own table) and their pre-tokenizer.
"""

import base64
import io
import json
from typing import Any


def train(texts: list[str], pieces: int = 8000) -> bytes:
    """Learn a tokenizer.json; a few seconds for a megabyte."""
    from sentencepiece import SentencePieceTrainer, sentencepiece_model_pb2

    made = io.BytesIO()
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=made,
        model_type="unigram",
        vocab_size=pieces,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    model: Any = sentencepiece_model_pb2.ModelProto.FromString(made.getvalue())
    charsmap = base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    value = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": token, **flags} for number, token in enumerate(["<pad>", "</s>", "<unk>"])],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Precompiled", "precompiled_charsmap": charsmap},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ],
        },
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
        "post_processor": None,
        "decoder": metaspace,
        "model": {
            "type": "Unigram",
            "unk_id": 2,
            "byte_fallback": False,
            "vocab": [[piece.piece, piece.score] for piece in model.pieces],
        },
    }
    return json.dumps(value, ensure_ascii=False).encode()
