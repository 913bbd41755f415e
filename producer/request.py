"""What a user asked for, as given; nothing is looked up yet. Imports nothing heavy, since `tokenmill --help` does."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for, as given."""

    sources: tuple[str, ...]
    tokenizer: str
    output: str
    name: str | None = None
    #: A token, False for none, None to leave it to the tokenizer.
    eos_token: str | bool | None = None
    bos_token: str | bool | None = None
    special_tokens: Literal["text", "parse", "reject"] = "text"
    max_tokens: int | None = None
    over_length: Literal["keep", "truncate", "split", "drop"] = "keep"
    stride: int = 0
    shuffle: int | None = None
    dtype: Literal["auto", "uint16", "int32"] = "auto"
    text_field: str = "text"
    id_field: str | None = None
    separator: str | None = None
    batch_bytes: int | None = None
    max_document_bytes: int = 8 << 20
    max_rejected: float = 0.01
    check_every: int = 1000
    engine: str = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
