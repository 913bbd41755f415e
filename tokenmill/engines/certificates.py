"""Certificates: the proofs of engines on this host, each made once and kept.

Comes in: a tokenizer and an engine's name. Goes out: a `Certificate`, read from the cache or made now. Always holds: a
certificate counts only for the very tokenizer.json, engine version, `tokenizers` version, processor features and probing code
it was made with; every host of a cluster makes its own, since an engine may take another path on another processor.
"""

import fcntl
import hashlib
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Literal

from tokenmill import storage
from tokenmill.engines import certify
from tokenmill.engines.registry import GPU, REFERENCE, engine_version
from tokenmill.errors import JobError
from tokenmill.record import Record
from tokenmill.tokenizers import Model
from tokenmill.tokenizers import probes as probing

#: What engines are known to choose their code by.
FEATURES = frozenset({"sse4_2", "avx2", "bmi2", "avx512f", "avx512bw", "avx512vbmi", "asimd", "sve", "sve2"})


class Certificate(Record):
    """What was proved, and of what."""

    version: Literal[1] = 1
    #: sha256 of the tokenizer.json.
    tokenizer: str
    engine: str
    engine_version: str
    #: Version of `tokenizers`, which defines the ids.
    oracle: str
    #: Architecture and features of the processor; the GPU and its driver.
    processor: str
    #: sha256 of the code that proved it.
    probes: str
    #: Texts on which ids were compared.
    texts: int
    #: Code points whose documents go to the reference.
    guard: tuple[int, ...]
    #: Why the engine cannot be used; None if it can.
    refusal: str | None

    def says(self) -> str:
        """One line for people."""
        if self.refusal is not None:
            return f"{self.engine} {self.engine_version} is not used: {self.refusal}"
        kept = f", {len(self.guard)} code points left to the reference" if self.guard else ""
        return f"same ids as the reference on {self.texts:,} adversarial texts{kept}"


def certificate(model: Model, engine: str, folder: Path) -> Certificate:
    """The certificate of an engine for a tokenizer on this host; making it takes seconds, once.

    Raises UsageError if there is no such engine.
    """
    subject = {
        "tokenizer": model.sha256,
        "engine": engine,
        "engine_version": engine_version(engine),
        "oracle": engine_version(REFERENCE),
        "processor": processor() if engine != GPU else graphics(),
        "probes": _probing_code(),
    }
    key = hashlib.sha256("\0".join(subject.values()).encode()).hexdigest()[:24]
    kept = folder / "certificates" / f"{engine}-{key}.json"
    with _alone(kept.with_suffix(".lock")):
        if kept.is_file():
            try:
                return Certificate.from_json(kept.read_bytes(), str(kept))
            except JobError:
                pass  # damaged in the cache: made anew
        proof = certify.prove(model, engine)
        made = Certificate.model_validate({**subject, **asdict(proof)})
        storage.put(str(kept), made.to_json())
        return made


@cache
def processor() -> str:
    """The architecture and those features of this processor by which engines choose their code."""
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:  # no Linux: the architecture has to do
        told = ""
    lines = (line for line in told.splitlines() if line.startswith(("flags", "Features")))
    found = FEATURES & set(next(lines, "").split())
    return " ".join([platform.machine(), *sorted(found)])


@cache
def graphics() -> str:
    """The GPU of this process and its driver."""
    from tokenmill.engines.cuda import describe

    return describe()


@cache
def _probing_code() -> str:
    sources = (certify.__file__, probing.__code__.co_filename)
    return hashlib.sha256(b"".join(Path(source).read_bytes() for source in sources)).hexdigest()


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one process of this host at a time through: the others then find the certificate made."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
