"""A tokenizer as engines load it: its tokenizer.json without the parts that are not about ids of a whole text."""

import json
from functools import cached_property
from typing import Any

import tokenizers

from tokenmill.errors import JobError
from tokenmill.tokenizers.ends import token_id
from tokenmill.tokenizers.files import parse, vocab_size


class Model:
    """A tokenizer.json, parsed once, with the truncation and padding that some ship (BERT: 128 tokens) cleared."""

    def __init__(self, data: bytes, where: str) -> None:
        self.where = where
        self.parsed = {**parse(data, where), "truncation": None, "padding": None}

    @cached_property
    def json(self) -> str:
        """The cleaned tokenizer.json, for engines to load."""
        return json.dumps(self.parsed, ensure_ascii=False)

    @cached_property
    def vocab_size(self) -> int:
        return vocab_size(self.parsed)

    @property
    def family(self) -> str:
        """The model's type: BPE, Unigram, WordPiece or WordLevel."""
        return str(self.parsed["model"]["type"])

    @property
    def byte_level(self) -> bool:
        """Whether words are spelled in bytes (GPT-2's way) and not in characters."""
        return "ByteLevel" in json.dumps(self.parsed.get("pre_tokenizer"))

    @property
    def special_tokens(self) -> list[dict[str, Any]]:
        """The added tokens that are marked special."""
        return [token for token in self.parsed.get("added_tokens", []) if token.get("special")]

    def id_of(self, token: str | None) -> int | None:
        """The id of a token by its content; None for None."""
        if token is None:
            return None
        found = token_id(self.parsed, token)
        if found is None:
            raise JobError(f"{token!r} is no token of {self.where}.")
        return found

    def reference(self) -> tokenizers.Tokenizer:
        """A fresh Hugging Face tokenizer: what defines the ids."""
        try:
            return tokenizers.Tokenizer.from_str(self.json)
        except Exception as error:  # tokenizers raises bare Exception
            raise JobError(f"{self.where}: tokenizers {tokenizers.__version__} cannot load it: {error}") from error
