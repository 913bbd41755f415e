"""What a job is asked to make: all that decides ids, shards and manifest, and nothing else.

Always holds: with the bytes of its sources and its tokenizer, a `JobSpec` decides every byte of an output (law 2).
"""

import datetime
from enum import StrEnum

from pydantic import Field

from tokenmill.choices import Dtype, FormatName, PackMethod
from tokenmill.record import OutputFile, PlainName, Record


class SpecialTokens(StrEnum):
    """What becomes of a document whose text contains a special token's string, such as `<|endoftext|>`."""

    TEXT = "text"
    PARSE = "parse"
    REJECT = "reject"


class OverLength(StrEnum):
    """What becomes of a document with more tokens than `max_tokens`."""

    KEEP = "keep"
    TRUNCATE = "truncate"
    SPLIT = "split"
    DROP = "drop"


class Sampling(Record):
    """A part of a corpus that is taken for the whole: pieces drawn by a seed."""

    #: Share of the pieces.
    share: float = Field(default=1.0, gt=0, le=1)
    #: Most bytes in it; None for no such limit.
    limit: int | None = Field(default=None, gt=0)
    seed: int = 0


class Packing(Record):
    """Rows of one length, which the shard format stores in place of documents."""

    #: Tokens of a row, padding included.
    length: int = Field(gt=0, lt=1 << 31)
    method: PackMethod
    #: What fills a row.
    pad_token: str


class Chat(Record):
    """How a record becomes a conversation, and what of it is learned from: all that `tokenmill.chat` needs to know."""

    #: The template that writes conversations, and the one for those with tools, where a tokenizer has two.
    template: str
    tool_template: str | None = None
    #: Tokens that templates know by a name, such as `bos_token`.
    tokens: dict[str, str] = Field(default_factory=dict)
    #: The date that templates are told; None where none asks.
    date: datetime.date | None = None
    #: Roles whose turns are learned from; empty leaves it to the template's generation blocks.
    learn_from: tuple[str, ...] = ()
    #: The field with the messages, or those with prompt and response.
    fields: tuple[str, ...] = Field(min_length=1, max_length=2)


class HeldOut(Record):
    """A test set that documents are searched for (`tokenmill.facts.testsets`)."""

    name: PlainName
    #: Texts in it, and how many of them are too short to be found.
    strings: int
    short: int
    #: Different runs of ids that are looked for, and the file that holds them.
    runs: int
    file: OutputFile


class Facts(Record):
    """What is to be known of a shard's ids, beside it in `facts/` (`tokenmill.facts`)."""

    #: How often each id occurs, and each length of a document.
    histograms: bool = False
    #: Numbers of each document's signature; None for none.
    minhash: int | None = Field(default=None, gt=0, le=4096)
    #: Test sets that are looked for.
    held_out: tuple[HeldOut, ...] = ()


class JobSpec(Record):
    """Everything the user asked for that decides ids, shards or the manifest."""

    #: Source paths, folders, globs, URLs, or lists of them (`@list.txt`), as given but absolute.
    sources: tuple[str, ...]
    #: Globs of which one has to match a file, if there are any, and globs of which none may (`producer.selection`).
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    #: Which part of the files is taken; None for all.
    sample: Sampling | None = None
    #: The tokenizer as given: hub id, path or package:NAME.
    tokenizer: str
    #: Token appended to each document; None for none.
    eos_token: str | None
    #: Token put before each document; None for none.
    bos_token: str | None
    special_tokens: SpecialTokens = SpecialTokens.TEXT
    #: A document may have this many tokens, BOS and EOS included; None for any number.
    max_tokens: int | None = Field(default=None, gt=0)
    over_length: OverLength = OverLength.KEEP
    #: Tokens of text that a piece of a split document shares with the one before.
    stride: int = Field(default=0, ge=0)
    #: Seed of the documents' order; None leaves them in that of the sources.
    shuffle: int | None = Field(default=None, ge=0, lt=1 << 64)
    #: Rows that documents are packed into; None stores documents as they are.
    pack: Packing | None = None
    dtype: Dtype
    format: FormatName = "megatron"
    #: Field or column that holds a document's text, by its name or by a path (`data.text`).
    text_field: str = "text"
    #: Text made of several fields, such as "{title}\n\n{body}"; `text_field` then means nothing.
    text_template: str | None = None
    #: Documents are conversations; the fields above then mean nothing. None for text.
    chat: Chat | None = None
    #: Field or column that names a document in `rejected/`.
    id_field: str | None = None
    #: Fields or columns that are carried into `metadata/`.
    metadata: tuple[str, ...] = ()
    #: Field or column by whose values the output is split, see `tokenmill.partitions`; None leaves it whole.
    partition_by: str | None = None
    #: What is told of the ids, in `facts/`; None for nothing.
    facts: Facts | None = None
    #: Cuts .txt files into documents; None makes each file one document.
    separator: str | None = None
    #: Source bytes a batch aims at.
    batch_bytes: int = Field(gt=0)
    #: A record longer than this many bytes is rejected; it bounds a worker's memory.
    max_document_bytes: int = Field(gt=0)

    @property
    def held_out(self) -> tuple[HeldOut, ...]:
        """Test sets that are looked for."""
        return () if self.facts is None else self.facts.held_out

    def differences(self, other: "JobSpec", free: frozenset[str] = frozenset()) -> list[str]:
        """What another spec says otherwise, for people; but for the fields that are free to differ."""
        return [
            f"{name} was {getattr(self, name)!r}, is {getattr(other, name)!r}"
            for name in JobSpec.model_fields
            if name not in free and getattr(self, name) != getattr(other, name)
        ]
