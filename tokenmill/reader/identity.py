"""Is this the tokenizer that the job was made with?

Comes in: what somebody trains with — a path, a sha256, or an object of `tokenizers` or `transformers` — and the job's own.
Goes out: nothing, or a JobError with both digests. Always holds: no network is asked. A file counts by its bytes. An object has
none: it counts by what decides its ids (model, normalizer, pre-tokenizer, added tokens), as `tokenizers` writes it, and so does
then the job's own; what transformers sets anew (padding, truncation, template) does not.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable
from typing import Any

from tokenmill.errors import JobError, UsageError
from tokenmill.job import TokenizerRef

DECIDING = ("model", "normalizer", "pre_tokenizer", "added_tokens")


def check(given: Any, ours: TokenizerRef, own: Callable[[], Any], where: str) -> None:
    """Raise JobError unless `given` is the tokenizer of the job.

    Args:
        own: loads the job's own tokenizer; asked only to compare objects.
        where: names the job.

    Raises UsageError if `given` is nothing of the kind.
    """
    theirs, expected = _digests(given, ours, own)
    if theirs != expected:
        raise JobError(
            f"{where} was made with the tokenizer {ours.name} of sha256 {expected}, you train with {theirs}. "
            "Use the one in the output's folder tokenizer/, or the job that was made with yours."
        )


def _digests(given: Any, ours: TokenizerRef, own: Callable[[], Any]) -> tuple[str, str]:
    if isinstance(given, str) and re.fullmatch("[0-9a-f]{64}", given):
        return given, ours.sha256
    if isinstance(given, (str, os.PathLike)):
        return _of_file(os.fspath(given)), ours.sha256
    return _of_object(given), _of_object(own())


def _of_file(path: str) -> str:
    file = os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path
    try:
        with open(file, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"tokenizer={path!r}: {error.strerror}. Give a tokenizer.json, its folder or its sha256.") from error


def _of_object(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(backend, "to_str"):
        raise UsageError(f"tokenizer= is a {type(tokenizer).__name__}; give a path, a sha256, or a fast tokenizer.")
    parts = json.loads(backend.to_str())
    return hashlib.sha256(json.dumps([parts[name] for name in DECIDING], sort_keys=True).encode()).hexdigest()
