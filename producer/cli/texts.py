"""Commands for one text."""

import json
import sys
from typing import Annotated, Any

import typer

from producer.cli.command import Json, app
from tokenmill.errors import UsageError

Model = Annotated[str, typer.Option("--model", help="Tokenizer, named as for --tokenizer.", envvar="TOKENMILL_TOKENIZER")]


@app.command()
def encode(
    model: Model,
    text: Annotated[str | None, typer.Option(help="Text to encode; without it, all of standard input.")] = None,
    special_tokens: Annotated[str, typer.Option(help="text or parse")] = "text",
    as_json: Json = False,
) -> None:
    """The ids and tokens of one text, without BOS or EOS."""
    if special_tokens not in ("text", "parse"):
        raise UsageError(f"--special-tokens {special_tokens}: give text or parse.")
    tokenizer = _tokenizer(model)
    tokenizer.encode_special_tokens = special_tokens != "parse"
    found = tokenizer.encode(_given(text), add_special_tokens=False)
    if as_json:
        typer.echo(json.dumps({"ids": found.ids, "tokens": found.tokens}, ensure_ascii=False))
    else:
        typer.echo(" ".join(map(str, found.ids)))
        typer.echo(" ".join(repr(tokenizer.decode([number], skip_special_tokens=False)) for number in found.ids))


@app.command()
def decode(
    model: Model,
    text: Annotated[str, typer.Option("--text", "--ids", help="Ids to decode, separated by spaces or commas.")],
    as_json: Json = False,
) -> None:
    """The text and tokens of some ids."""
    tokenizer = _tokenizer(model)
    try:
        ids = [int(word) for word in text.replace(",", " ").split()]
        tokens = [tokenizer.id_to_token(number) for number in ids]
    except (ValueError, OverflowError):
        raise UsageError(f"--ids {text[:60]!r}: give numbers, separated by spaces or commas.") from None
    if None in tokens:
        raise UsageError(f"{model} has no id {ids[tokens.index(None)]}.")
    decoded = tokenizer.decode(ids, skip_special_tokens=False)
    typer.echo(json.dumps({"text": decoded, "tokens": tokens}, ensure_ascii=False) if as_json else decoded)


def _given(text: str | None) -> str:
    """The text of the command line, or of standard input. Raises UsageError if it is not UTF-8."""
    # What is not UTF-8 in an argument reaches Python as halves of surrogate pairs.
    data = sys.stdin.buffer.read() if text is None else text.encode(errors="surrogateescape")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        where = "standard input" if text is None else "--text"
        raise UsageError(
            f"{where} is not UTF-8: byte {error.start:,} is 0x{data[error.start]:02x}. Convert it first."
        ) from None


def _tokenizer(name: str) -> Any:
    from tokenmill import tokenizers

    return tokenizers.resolve(name).model.reference()
