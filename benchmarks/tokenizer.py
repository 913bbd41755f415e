"""A tokenizer as every contender can load it: a tokenizer.json.

Comes in: such a file, a folder with one, or GPT-2's own vocab.json and merges.txt. Goes out: the file, and the name of its
folder, by which results are kept. GPT-2's is written in the form in which Hugging Face publishes it (ByteLevel with its own
pattern), because that is what users of all contenders load.
"""

from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors

FILE = "tokenizer.json"
GPT2_END, GPT2_END_ID = "<|endoftext|>", 50256


def as_file(given: Path, scratch: Path) -> tuple[str, Path]:
    """The tokenizer's name and its tokenizer.json, made in `scratch` if there is none."""
    if given.is_file():
        return given.resolve().parent.name, given.resolve()
    if (given / FILE).is_file():
        return given.resolve().name, (given / FILE).resolve()
    made = scratch / given.resolve().name / FILE
    made.parent.mkdir(parents=True, exist_ok=True)
    _gpt2(given).save(str(made))
    return made.parent.name, made


def _gpt2(folder: Path) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens([AddedToken(GPT2_END, special=True, normalized=True)])
    if tokenizer.token_to_id(GPT2_END) != GPT2_END_ID:
        raise SystemExit(f"{folder}: vocab.json and merges.txt are not GPT-2's; give a {FILE}")
    return tokenizer
