"""What a user asked for, as given; nothing is looked up yet. Imports nothing heavy, since `tokenmill --help` does."""

from dataclasses import dataclass
from typing import Literal

from tokenmill.choices import DtypeChoice, FormatName, PackMethod


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for, as given."""

    sources: tuple[str, ...]
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    #: Share of the corpus, most bytes of it, and what decides which.
    sample: float = 1.0
    limit: int | None = None
    sample_seed: int = 0
    tokenizer: str
    output: str
    #: The output is a folder of generations, and this is what the next one is called.
    generation: str | None = None
    name: str | None = None
    #: A token, False for none, None to leave it to the tokenizer.
    eos_token: str | bool | None = None
    bos_token: str | bool | None = None
    #: None: text, and with `chat` reject.
    special_tokens: Literal["text", "parse", "reject"] | None = None
    dtype: DtypeChoice = "auto"
    format: FormatName = "megatron"
    max_tokens: int | None = None
    over_length: Literal["keep", "truncate", "split", "drop"] = "keep"
    stride: int = 0
    shuffle: int | None = None
    #: Tokens of a packed row, how rows are made, and what fills them; None leaves that to the tokenizer.
    pack: int | None = None
    pack_method: PackMethod = "concatenate"
    pad_token: str | None = None
    text_field: str = "text"
    text_template: str | None = None
    #: Documents are conversations: the fields with the messages, or with prompt and response. Empty for text.
    chat: tuple[str, ...] = ()
    #: A template of one's own, the date that it may ask for, and the roles to learn from in place of what it says.
    chat_template: str | None = None
    chat_date: str | None = None
    learn_from: tuple[str, ...] = ()
    id_field: str | None = None
    metadata: tuple[str, ...] = ()
    partition_by: str | None = None
    #: Facts about the ids that are wanted beside the shards.
    histograms: bool = False
    minhash: int | None = None
    #: Files of test sets that are looked for.
    contamination: tuple[str, ...] = ()
    separator: str | None = None
    batch_bytes: int | None = None
    max_document_bytes: int = 8 << 20
    max_rejected: float = 0.01
    check_every: int = 1000
    engine: str = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    #: Who is told of the end: addresses of webhooks, which may be secret, and a command.
    notify: tuple[str, ...] = ()
    on_end: str | None = None
    #: Other outputs that are to be made of the same read.
    beside: tuple["Request", ...] = ()
