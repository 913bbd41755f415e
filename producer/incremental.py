"""What is new: the files of a growing corpus that no sealed generation holds as they are.

Comes in: a request with `--generation`, and the chain in its output. Goes out: the generation's record, claimed before anything
is planned, and its files, which stand beside it: who takes it up plans the same ones, whatever has been added since. Always
holds: a file is in exactly one generation for each of its states; what is known is columns, whatever the number of files.
"""

import hashlib
import io
import re
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from producer.corpus import Corpus, SourceFile, absolute, collect
from producer.draft import draft
from producer.request import Request
from producer.selection import Selection
from tokenmill import parquet, storage, tokenizers
from tokenmill.errors import JobError, UsageError
from tokenmill.generations import FOLDER, Chain, Generation, Sealed
from tokenmill.record import PLAIN_NAME, FileDigest
from tokenmill.spec import JobSpec

#: What the listing said of each file.
COLUMNS: dict[str, pa.DataType] = {
    "url": pa.string(),
    "size": pa.int64(),
    "mark": pa.string(),
    "ranged": pa.bool_(),
    "name": pa.string(),
}
SCHEMA = pa.schema(COLUMNS)
#: What generations of one chain may differ in: which files they read, how these are cut, and what the tokenizer is called.
FREE = frozenset({"sources", "include", "exclude", "batch_bytes", "tokenizer"})


@dataclass(frozen=True, slots=True)
class News:
    """A corpus against what is known."""

    #: The files to take: new ones, and those that have changed.
    corpus: Corpus
    new: int
    changed: int
    unchanged: int
    gone: int


@dataclass(frozen=True, slots=True)
class Begun:
    """A generation on record, and the job that it is."""

    generation: Generation
    request: Request
    spec: JobSpec
    tokenizer: tokenizers.TokenizerFiles
    corpus: Corpus


def begin(request: Request) -> Begun:
    """Begin the generation that a request names, or find it where it was begun.

    Raises UsageError if the one before it has not ended, is of another kind, or the output holds something else.
    """
    name, chain = _named(request), Chain(request.output)
    while True:
        last = chain.last()
        _admit(chain, last)
        found = chain.find(name, last)
        if found is not None:
            _mend(chain, last)
            return _drafted(chain, found, request)
        begun = _next(chain, last, name, request)
        if begun is not None:
            return begun


def look(request: Request) -> tuple[JobSpec, tokenizers.TokenizerFiles, Corpus]:
    """What the next generation would be; nothing is begun."""
    chain = Chain(request.output)
    last = chain.last()
    _admit(chain, last)
    found = chain.find(_named(request), last)
    if found is not None:
        begun = _drafted(chain, found, request)
        return begun.spec, begun.tokenizer, begun.corpus
    before = chain.sealed(last)
    return draft(_of_its_own(request, chain), _news(chain, before, request).corpus, _before(chain, before))


def compared(corpus: Corpus, known: pa.Table) -> News:
    """What of a corpus is not known as it is.

    Args:
        known: url, size and mark of files, each once, in their last state.
    """
    listed = table_of(corpus.files)
    at = pc.index_in(listed["url"], value_set=known["url"].combine_chunks())
    before = known.take(at)
    alike = [pc.equal(listed[column], before[column]).fill_null(False).to_numpy() for column in ("size", "mark")]
    same = np.logical_and(*alike)
    files = tuple(compress(corpus.files, ~same))
    new, unchanged = at.null_count, int(same.sum())
    return News(
        corpus=replace(corpus, files=files, grows=True),
        new=new,
        changed=len(listed) - new - unchanged,
        unchanged=unchanged,
        gone=known.num_rows - (len(listed) - new),
    )


def table_of(files: tuple[SourceFile, ...]) -> pa.Table:
    """Source files as columns."""
    return pa.table({name: [getattr(file, name) for file in files] for name in COLUMNS}, schema=SCHEMA)


def latest(tables: list[pa.Table]) -> pa.Table:
    """The last state of each file, of tables in order."""
    together = pa.concat_tables([SCHEMA.empty_table(), *tables]).select(["url", "size", "mark"])
    grouped = together.group_by("url", use_threads=False).aggregate([("size", "last"), ("mark", "last")])
    return grouped.select(["url", "size_last", "mark_last"]).rename_columns(["url", "size", "mark"])


def _named(request: Request) -> str:
    name = request.generation
    if name is None or not re.fullmatch(PLAIN_NAME, name) or name == FOLDER:
        raise UsageError(f"--generation {name!r} is no name of a folder. Give letters, digits, dots and dashes: 2026-11-24.")
    if request.beside:
        raise UsageError("--generation and [[output]] tables cannot be had together. Give each output a job file of its own.")
    return name


def _admit(chain: Chain, last: Generation | None) -> None:
    """Raise UsageError if the output is no folder of generations and cannot become one."""
    if last is not None:
        return
    if storage.exists(storage.join(chain.output, "job.json")):
        raise UsageError(f"{chain.output} is the output of a single job, it holds no generations. Choose another --output.")
    if set(storage.names(chain.output)) - {FOLDER}:
        raise UsageError(f"{chain.output} is not empty and holds no generations. Choose another --output.")


def _mend(chain: Chain, last: Generation | None) -> None:
    """Write the index that a killed dispatcher has left out."""
    if last is not None and chain.ledger(last.name).is_sealed():
        chain.write_index(last.number)


def _next(chain: Chain, last: Generation | None, name: str, request: Request) -> Begun | None:
    """Begin the generation after the last one; None if somebody else was quicker."""
    before = chain.sealed(last)
    passed_over = () if last is None else last.passed_over
    if last is not None and len(before) == len(last.previous):
        ledger = chain.ledger(last.name)
        if not ledger.is_cancelled():
            raise UsageError(
                f"generation {last.name} of {chain.output} is unfinished, and the next one begins where it ends. Run the same "
                f"command with --generation {last.name} to go on with it, `tokenmill retry {ledger.output}` if batches are "
                f"parked, or `tokenmill cancel {ledger.output}`: its files then count as new."
            )
        passed_over = (*passed_over, last.name)
    _mend(chain, last)
    news = _news(chain, before, request)
    own = _of_its_own(request, chain)
    spec, files, corpus = draft(own, news.corpus, _before(chain, before))
    if last is not None:
        _refuse_another_kind(chain, last, spec, files.ref.sha256)
    number = 1 if last is None else last.number + 1
    content = _written(corpus.files)
    sha256 = hashlib.sha256(content).hexdigest()
    path = f"{FOLDER}/{number:06d}-{sha256[:16]}.parquet"
    generation = Generation(
        number=number,
        name=name,
        previous=before,
        passed_over=passed_over,
        tokenizer_sha256=files.ref.sha256,
        spec=spec,
        files=FileDigest(path=path, bytes=len(content), sha256=sha256),
        new=news.new,
        changed=news.changed,
        unchanged=news.unchanged,
        gone=news.gone,
    )
    # by its content's name and before the claim: what a record names is there, and nobody replaces it
    storage.put(storage.join(chain.output, path), content)
    if chain.claim(generation):
        return Begun(generation, own, spec, files, corpus)
    if chain.record(number).files.path != path:
        storage.delete(storage.join(chain.output, path))
    return None


def _news(chain: Chain, before: tuple[Sealed, ...], request: Request) -> News:
    """The request's corpus against all that is sealed."""
    corpus = collect(tuple(map(absolute, request.sources)), Selection(request.include, request.exclude))
    records = (chain.record(sealed.number) for sealed in before)
    return compared(corpus, latest([_read(chain, record) for record in records]))


def _drafted(chain: Chain, generation: Generation, request: Request) -> Begun:
    """A generation that was begun, as its request drafts it. Raises UsageError if that asks for another kind."""
    own = _of_its_own(request, chain)
    files = tuple(SourceFile(**row) for row in _read(chain, generation).to_pylist())
    spec, tokenizer, corpus = draft(own, Corpus(files, grows=True), _before(chain, generation.previous))
    _refuse_another_kind(chain, generation, spec, tokenizer.ref.sha256)
    return Begun(generation, own, spec, tokenizer, corpus)


def _before(chain: Chain, sealed: tuple[Sealed, ...]) -> str | None:
    """The output of the generation before, whose tokenizer the next one has too."""
    return chain.ledger(sealed[-1].name).output if sealed else None


def _of_its_own(request: Request, chain: Chain) -> Request:
    """The request for the generation's folder."""
    assert request.generation is not None
    folder = chain.output.rpartition("/")[2]
    output = storage.join(chain.output, request.generation)
    return replace(request, output=output, name=request.name or f"{folder} {request.generation}")


def _refuse_another_kind(chain: Chain, standing: Generation, spec: JobSpec, tokenizer_sha256: str) -> None:
    """Raise UsageError, naming every difference, unless generations can be read as one."""
    differences = standing.spec.differences(spec, FREE)
    if standing.tokenizer_sha256 != tokenizer_sha256:
        differences.append(f"the tokenizer's sha256 was {standing.tokenizer_sha256[:12]}…, is {tokenizer_sha256[:12]}…")
    if differences:
        raise UsageError(
            f"the generations of {chain.output} are of another kind, and could not be read as one: {'; '.join(differences)}. "
            f"Choose another --output, or ask for the same again."
        )


def _written(files: tuple[SourceFile, ...]) -> bytes:
    file = io.BytesIO()
    pq.write_table(table_of(files), file, compression="zstd")
    return file.getvalue()


def _read(chain: Chain, generation: Generation) -> pa.Table:
    """The files of a generation. Raises JobError if they are not those on record."""
    url = storage.join(chain.output, generation.files.path)
    content = storage.find(url)
    if content is None or hashlib.sha256(content).hexdigest() != generation.files.sha256:
        raise JobError(f"{url} is missing or was changed; it says which files generation {generation.name} holds. Restore it.")
    return parquet.opened(io.BytesIO(content)).read(use_threads=False)
