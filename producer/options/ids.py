"""Options that say what becomes of text: which ids, where a document begins and ends, and in which order and rows they are stored."""

from functools import partial
from typing import Annotated, Literal

from producer.options.option import named
from tokenmill import choices

PANEL = "Ids"
option = partial(named, panel=PANEL)

Tokenizer = Annotated[
    str, option("--tokenizer", help="Hub id, folder, tokenizer.json, .tiktoken, SentencePiece .model, or package:NAME.")
]
EosToken = Annotated[str | None, option("--eos-token", help="Token after each document.")]
NoEosToken = Annotated[bool, option("--no-eos-token", help="No token after documents.")]
BosToken = Annotated[str | None, option("--bos-token", help="Token before each document.")]
NoBosToken = Annotated[bool, option("--no-bos-token", help="No token before documents.")]
SpecialTokens = Annotated[
    Literal["text", "parse", "reject"] | None,
    option(
        "--special-tokens",
        help="A special token's string in a document: keep it as text (default), parse it, or reject the document (default with --chat).",
    ),
]
MaxTokens = Annotated[int | None, option("--max-tokens", help="Most tokens of a document, BOS and EOS included.", min=1)]
OverLength = Annotated[
    Literal["keep", "truncate", "split", "drop"],
    option("--over-length", help="A document with more: cut it off, cut it up, or leave it out, counted."),
]
Stride = Annotated[int, option("--stride", help="With split: tokens a piece shares with the one before.", min=0)]
Shuffle = Annotated[
    int | None,
    option("--shuffle", help="Seed: put all documents into an order that depends on it alone.", min=0, max=2**64 - 1),
]
Pack = Annotated[
    int | None, option("--pack", help="Store rows of exactly this many tokens in place of documents.", min=2, max=2**31 - 1)
]
PackMethod = Annotated[
    choices.PackMethod, option("--pack-method", help="Documents end to end, cut where rows end; or whole, with padding.")
]
PadToken = Annotated[str | None, option("--pad-token", help="With --pack: what fills a row; by default the tokenizer's own.")]
Dtype = Annotated[
    choices.DtypeChoice,
    option("--dtype", help="Type of stored ids; auto is 16 bits where the format's own tools take these, else 32."),
]
