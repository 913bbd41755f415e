"""Test sets that a corpus is searched for: from files to the runs of ids that stand in them.

Comes in: the files of `--contamination`, a tokenizer. Goes out: records for the spec, and the content of `contamination/`.
Always holds: each file is read once, when the job is asked for; its text is text, whatever special tokens it spells.

A line of a .txt file is a text; of a .jsonl file each string in a record is one, however deep it lies. A text is encoded as it
is and behind a space: inside of a document its first token is that of a word that follows another one.
"""

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from producer.corpus import absolute
from tokenmill import storage
from tokenmill.engines import ENGINES, REFERENCE
from tokenmill.errors import UsageError
from tokenmill.facts.testsets import GRAM, pinned, runs_of
from tokenmill.record import PLAIN_NAME, FileDigest
from tokenmill.spec import HeldOut
from tokenmill.tokenizers import Model

OPTION = "--contamination"
#: A file may be so large, and so many texts are encoded together.
MOST, TOGETHER = 1 << 28, 1000


@lru_cache(maxsize=4)
def held_out(files: tuple[str, ...], model: Model) -> tuple[tuple[HeldOut, bytes], ...]:
    """The test sets, each with what the job keeps of it. Raises UsageError for a file that is none, or two of one name."""
    found = tuple(_encoded(file, model) for file in files)
    names = [one.name for one, _ in found]
    if twice := next((name for number, name in enumerate(names) if name in names[:number]), None):
        raise UsageError(f"{OPTION}: two test sets are called {twice}, by the names of their files. Rename one.")
    return found


def _encoded(file: str, model: Model) -> tuple[HeldOut, bytes]:
    name = re.sub(r"\.(jsonl|txt)$", "", file.rstrip("/").rpartition("/")[2])
    if not re.match(PLAIN_NAME, name):
        raise UsageError(f"{OPTION} {file}: a test set is called as its file is. Use letters, digits, dots, - and _ only.")
    engine, read, strings, short = ENGINES[REFERENCE]()(model), _texts(file), 0, 0
    runs = [np.empty(0, np.uint64)]
    while texts := list(islice(read, TOGETHER)):
        tokens = engine.encode(pa.array(texts, pa.large_string()))
        strings += len(texts)
        short += int((tokens.lengths < GRAM).sum())
        runs += [runs_of(tokens), runs_of(engine.encode(pa.array([f" {text}" for text in texts], pa.large_string())))]
    known = np.unique(np.concatenate(runs))
    if not len(known):
        raise UsageError(f"{OPTION} {file}: none of its {strings:,} texts has {GRAM} tokens, so none could be found.")
    content = pinned(known)
    kept = FileDigest(path=f"contamination/{name}.npy", bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    return HeldOut(name=name, strings=strings, short=short, runs=len(known), file=kept), content


def _texts(file: str) -> Iterator[str]:
    """The texts of a file."""
    url = absolute(file)
    found = storage.status(url)
    if found is None:
        raise UsageError(f"{OPTION} {file} is missing.")
    if found.size > MOST:
        raise UsageError(f"{OPTION} {file} has {found.size:,} bytes, more than the {MOST:,} that a test set may have.")
    if not file.endswith((".jsonl", ".txt")):
        raise UsageError(f"{OPTION} {file}: a test set is a .jsonl file, or a .txt file with a text on each line.")
    for number, line in enumerate(storage.read(url).splitlines(), start=1):
        try:
            if line.strip() and file.endswith(".txt"):
                yield line.decode()
            elif line.strip():
                yield from _strings(msgspec.json.decode(line))
        except (UnicodeDecodeError, msgspec.DecodeError) as error:
            raise UsageError(f"{OPTION} {file}, line {number}: {error}.") from None


def _strings(value: Any) -> Iterator[str]:
    """All strings in a JSON value but the names of its fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)
