"""A corpus that grows, and a tokenizer of bytes that loads at once: for tests of many nights."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from producer.request import Request
from tokenmill import TokenDataset

EOS = "</s>"


def byte_tokenizer(folder: Path) -> Path:
    """A tokenizer.json with a token for each byte, and an end."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={character: number for number, character in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    made.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    made.add_special_tokens([EOS])
    made.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def write(folder: Path, name: str, *texts: str) -> None:
    """A source file of documents."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def night(corpus: object, output: object, generation: str | None, tokenizer: object, **options: Any) -> Request:
    """What a nightly job asks for; without a generation, a job by itself."""
    return Request(
        sources=(str(corpus),),
        output=str(output),
        generation=generation,
        tokenizer=str(tokenizer),
        **{"eos_token": EOS, "bos_token": False, "engine": "reference", **options},
    )


def ids(output: object) -> list[int]:
    """All ids of an output, end to end, its files hashed."""
    return [int(token) for document in TokenDataset(str(output), hashes=True) for token in document]


def texts(output: object) -> list[str]:
    """All documents of an output, decoded."""
    dataset = TokenDataset(str(output))
    tokenizer = dataset.tokenizer()
    return [tokenizer.decode(document.tolist()) for document in dataset]
