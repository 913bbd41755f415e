"""A resolved tokenizer: the very files that decide ids, in memory, with their digests."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tokenmill.errors import UsageError
from tokenmill.job import FileDigest, TokenizerRef

#: The file every engine loads; other kinds of vocabulary are converted into it.
TOKENIZER_JSON = "tokenizer.json"
#: Carries eos_token, bos_token and whether they are added.
TOKENIZER_CONFIG = "tokenizer_config.json"


@dataclass(frozen=True, kw_only=True)
class TokenizerFiles:
    """What `--tokenizer` was resolved to."""

    #: As the user named it.
    name: str
    revision: str | None
    #: File name -> content; `tokenizer.json` is always among them.
    files: dict[str, bytes]
    #: True when tokenizer.json was made from another kind of vocabulary, which says nothing of BOS or EOS.
    converted: bool = False

    @property
    def model(self) -> bytes:
        """The tokenizer.json."""
        return self.files[TOKENIZER_JSON]

    @cached_property
    def ref(self) -> TokenizerRef:
        """The identity that goes into the job: digests of all files, the size of the vocabulary."""
        digests = tuple(
            FileDigest(path=f"tokenizer/{name}", bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
            for name, data in sorted(self.files.items())
        )
        return TokenizerRef(
            name=self.name,
            revision=self.revision,
            sha256=hashlib.sha256(self.model).hexdigest(),
            vocab_size=vocab_size(self.parsed),
            files=digests,
        )

    @cached_property
    def parsed(self) -> dict[str, Any]:
        """The tokenizer.json as JSON. Raises UsageError if it is none."""
        return parse(self.model, f"{TOKENIZER_JSON} of {self.name}")

    def config(self) -> dict[str, Any]:
        """The tokenizer_config.json as JSON; empty if there is none."""
        data = self.files.get(TOKENIZER_CONFIG)
        return parse(data, f"{TOKENIZER_CONFIG} of {self.name}") if data else {}


def parse(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object. Raises UsageError that names `what`."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise UsageError(f"{what} is not JSON: {error}. Fetch it again.") from error
    if not isinstance(value, dict):
        raise UsageError(f"{what} holds no JSON object. Fetch it again.")
    return value


def vocab_size(parsed: dict[str, Any]) -> int:
    """Largest id + 1. Ids can have gaps, so this and not the number of tokens decides the dtype."""
    vocabulary = parsed.get("model", {}).get("vocab", {})
    if isinstance(vocabulary, dict):
        largest = max(vocabulary.values(), default=-1)
    else:  # Unigram: a list of [piece, score], the id is the position
        largest = len(vocabulary) - 1
    return max([largest, *(int(token["id"]) for token in parsed.get("added_tokens", []))]) + 1
