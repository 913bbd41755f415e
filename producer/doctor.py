"""`tokenmill doctor`: broker, storage, tokenizer, engines, GPUs — what works, what does not, what to do."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from producer.local import PrivateBroker
from producer.queue import BatchQueue
from tokenmill import storage, tokenizers
from tokenmill.broker import without_password
from tokenmill.devices import find
from tokenmill.engines import ENGINES, Encoder
from tokenmill.settings import Settings
from tokenmill.spec import JobSpec


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of one part."""

    part: str
    works: bool
    said: str
    #: False for parts that a machine may do without.
    needed: bool = True


def examine(settings: Settings, tokenizer: str, output: str) -> Iterator[Finding]:
    """Try each part for real."""
    yield _try("broker", lambda: _broker(settings))
    yield _try("storage", lambda: _storage(output))
    yield _try("cache", lambda: _storage(str(settings.cache)))
    yield _try("tokenizer", lambda: _tokenizer(tokenizer))
    for engine in ENGINES:
        yield _try(f"engine {engine}", lambda engine=engine: _engine(engine, tokenizer), needed=engine == "reference")  # type: ignore[misc]
    yield _try("GPUs", lambda: _gpus(settings), needed=False)


def _try(part: str, attempt: Callable[[], str], *, needed: bool = True) -> Finding:
    try:
        return Finding(part, True, attempt(), needed)
    except Exception as error:  # whatever is wrong is what the user wants to read
        return Finding(part, False, str(error) or type(error).__name__, needed)


def _broker(settings: Settings) -> str:
    if settings.broker is not None:
        return f"{BatchQueue(settings.broker).ping()} at {without_password(settings.broker)}"
    with PrivateBroker() as broker:
        return f"{BatchQueue(broker.url).ping()}, private; set TOKENMILL_BROKER to use a cluster's"


def _storage(folder: str) -> str:
    place = storage.absolute(folder)
    url = storage.join(place, ".tokenmill-doctor")
    storage.put(url, b"tokenmill")
    claimed_twice = storage.claim(url, b"again")
    storage.delete(url)
    if claimed_twice:
        raise RuntimeError(f"{place} lets a second writer replace the first (no If-None-Match). Use another service.")
    free = f"; {shutil.disk_usage(place).free / 1e9:,.0f} GB free" if storage.is_local(place) else ""
    return f"{place} can be written{free}"


def _tokenizer(name: str) -> str:
    ref = tokenizers.resolve(name).ref
    return f"{name}: {ref.vocab_size:,} ids, sha256 {ref.sha256[:12]}…"


def _engine(engine: str, tokenizer: str) -> str:
    files = tokenizers.resolve(tokenizer)
    spec = JobSpec(
        sources=(), tokenizer=tokenizer, eos_token=None, bos_token=None, dtype="int32", batch_bytes=1, max_document_bytes=1
    )
    encoder = Encoder(files.model, spec, engine)
    encoder.load()  # a GPU's engine that does not load would leave the text to its fallback
    text = pa.array(["Hello, world! 你好世界"], pa.large_string())
    ids = encoder.encode(text, encoder.holds_special(text)).ids.tolist()
    return f"{encoder.version} gives {ids}"


def _gpus(settings: Settings) -> str:
    found = find(settings.visible_gpus)
    if not found.gpus:
        raise RuntimeError(f"{found.why_none}; tokenmill-worker starts CPU workers only")
    return "; ".join([*map(str, found.gpus), *found.troubles])
