"""The job's tokenizer on this host: taken from the output folder, checked, kept by sha256, held warm in the process."""

import hashlib
from functools import lru_cache
from pathlib import Path

from tokenmill import storage
from tokenmill.errors import JobError, TransientError
from tokenmill.job import TokenizerRef
from tokenmill.tokenizers.files import TOKENIZER_JSON
from tokenmill.tokenizers.model import Model


def cached(ref: TokenizerRef, output: str, cache: Path) -> Model:
    """The job's tokenizer, loaded once per process.

    Raises JobError if the stored file is not what the job names, TransientError if it is missing.
    """
    return _load(ref.sha256, storage.join(output, "tokenizer", TOKENIZER_JSON), cache)


@lru_cache(maxsize=4)
def _load(sha256: str, stored: str, cache: Path) -> Model:
    kept = cache / "tokenizers" / sha256 / TOKENIZER_JSON
    if kept.is_file() and hashlib.sha256(data := kept.read_bytes()).hexdigest() == sha256:
        return Model(data, str(kept))
    copied = storage.find(stored)
    if copied is None:
        raise TransientError(f"{stored} is not there; the command that made the job puts it back. The work waits for it.")
    found = hashlib.sha256(copied).hexdigest()
    if found != sha256:
        raise JobError(f"{stored} has sha256 {found[:12]}…, the job names {sha256[:12]}…: it was replaced or damaged.")
    storage.put(str(kept), copied)
    return Model(copied, stored)
