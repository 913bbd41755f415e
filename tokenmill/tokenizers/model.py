"""A tokenizer.json, read only as deep as it is asked about: engines get its bytes, people get its parts.

Comes in: the bytes of a tokenizer.json. Goes out: the same without the parts that are not about the ids of a whole text.
Always holds: truncation and padding, which some files ship (BERT: 128 tokens), are cleared. A vocabulary of 200,000 tokens is
not turned into Python objects unless somebody asks for it, and what engines are given is not kept: both would take more time
and memory than an engine itself.
"""

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from tokenmill.errors import JobError, UsageError

if TYPE_CHECKING:
    import tokenizers

_NULL = msgspec.Raw(b"null")


class Model:
    """One tokenizer.json."""

    def __init__(self, data: bytes, where: str) -> None:
        """Raises UsageError that names `where` if the bytes are no JSON object."""
        self._data, self.where = data, where
        self._parts = parts(data, where)

    @cached_property
    def sha256(self) -> str:
        """Of the file as it was given."""
        return hashlib.sha256(self._data).hexdigest()

    @property
    def json(self) -> bytes:
        """The tokenizer.json for the reference."""
        return msgspec.json.encode({**self._parts, "truncation": _NULL, "padding": _NULL})

    @property
    def plain_json(self) -> bytes:
        """The tokenizer.json for engines that are to take all text as text: it knows no special token.

        `tokenizers` with `encode_special_tokens` gives the same ids, since a special token's string is then cut like any other.
        What a post-processor adds is no part of a text's ids either.
        """
        kept = [token for token in self.added_tokens if not token.get("special")]
        cleared = {"added_tokens": msgspec.Raw(msgspec.json.encode(kept)), "post_processor": _NULL}
        return msgspec.json.encode({**self._parts, **cleared, "truncation": _NULL, "padding": _NULL})

    def part(self, name: str, shape: Any = Any) -> Any:
        """One top-level part, such as `normalizer`; None if it is missing.

        Args:
            shape: what of it is wanted, as a msgspec type; what that does not name is passed over.

        Raises msgspec.ValidationError if the part has another shape.
        """
        return msgspec.json.decode(self._parts.get(name, _NULL), type=shape)

    @cached_property
    def added_tokens(self) -> list[dict[str, Any]]:
        """The tokens that are found in a text before it is cut into words."""
        return self.part("added_tokens") or []

    @property
    def special_tokens(self) -> list[dict[str, Any]]:
        """The added tokens that are marked special."""
        return [token for token in self.added_tokens if token.get("special")]

    @cached_property
    def family(self) -> str:
        """The model's type: BPE, Unigram, WordPiece or WordLevel."""
        found = self.part("model", _Kind | None)
        if found is None:
            return "none"
        # files of 2020 name no type (XLNet's); of the four, Unigram alone has a list for a vocabulary
        return found.type or ("Unigram" if bytes(found.vocab).startswith(b"[") else "BPE")

    @property
    def byte_level(self) -> bool:
        """Whether words are spelled in bytes (GPT-2's way) and not in characters."""
        return b"ByteLevel" in bytes(self._parts.get("pre_tokenizer", _NULL))

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Token -> id, without the added tokens."""
        found = self.part("model", _Vocabulary | None)
        vocabulary = found.vocab if found is not None else {}
        if isinstance(vocabulary, dict):
            return vocabulary
        # Unigram: a list of [piece, score], the id is the position; of two equal pieces the first counts
        return {piece: number for number, (piece, _) in reversed(list(enumerate(vocabulary)))}

    @cached_property
    def vocab_size(self) -> int:
        """Largest id + 1. Ids can have gaps, so this and not the number of tokens decides the dtype."""
        ids = (*self.vocabulary.values(), *(int(token["id"]) for token in self.added_tokens))
        return max(ids, default=-1) + 1

    def find(self, token: str) -> int | None:
        """The id of a token by its content, added tokens first; None if there is none."""
        added = next((int(added["id"]) for added in self.added_tokens if added["content"] == token), None)
        return self.vocabulary.get(token) if added is None else added

    def id_of(self, token: str | None) -> int | None:
        """The id of a token that must be there; None for None. Raises JobError if it is not."""
        if token is None:
            return None
        found = self.find(token)
        if found is None:
            raise JobError(f"{token!r} is no token of {self.where}.")
        return found

    def reference(self) -> "tokenizers.Tokenizer":
        """A fresh Hugging Face tokenizer: what defines the ids."""
        import tokenizers

        try:
            return tokenizers.Tokenizer.from_buffer(self.json)
        except Exception as error:  # tokenizers raises bare Exception
            raise JobError(f"{self.where}: tokenizers {tokenizers.__version__} cannot load it: {error}") from error


class _Kind(msgspec.Struct):
    type: str | None = None
    vocab: msgspec.Raw = _NULL


class _Vocabulary(msgspec.Struct):
    vocab: dict[str, int] | list[tuple[str, float]] = {}


def parts(data: bytes, what: str) -> dict[str, msgspec.Raw]:
    """The values of a JSON object, unparsed. Raises UsageError that names `what`."""
    try:
        return msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        # msgspec sees the wrong kind before it sees the end
        raise UsageError(f"{what} is not JSON, or holds no object. Fetch it again.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{what} is not JSON: {error}. Fetch it again.") from error
