"""From a request to a job on record: resolve, settle, list, plan, choose an engine, write it all into the output.

Comes in: what the user asked for. Goes out: a `Job` whose `job.json`, plan and tokenizer stand in the output folder. Always
holds: `job.json` is written last; an output that belongs to another job is refused with the difference named; a job that
stands there already is taken up again, whatever engine or number of workers is asked for now.
"""

import hashlib
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from producer.corpus import Corpus, absolute, collect, row_groups
from producer.plan import Plannable, batch_bytes_for, plan
from producer.request import Request
from tokenmill import __version__, documents, storage, tokenizers
from tokenmill.engines import choose
from tokenmill.errors import BatchError, UsageError
from tokenmill.job import Batch, Job, JobSpec, SpecialTokens
from tokenmill.ledger import Ledger
from tokenmill.settings import Settings
from tokenmill.shards import dtype_for

#: Bytes of the job's own text on which an engine has to agree, and from how many places of the corpus they are taken.
SAMPLE_BYTES, SAMPLE_PLACES = 2 << 20, 16
#: Packages whose versions can decide an id or a byte.
VERSIONS = ("tokenizers", "pyarrow", "numpy", "msgspec")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job on record, and what the user may want to know of it."""

    job: Job
    ledger: Ledger
    #: Batches that were done before.
    resumed: int
    passed_over: str


def draft(request: Request) -> tuple[JobSpec, tokenizers.TokenizerFiles, Corpus]:
    """Turn a request into a spec, its tokenizer and its corpus. Raises UsageError for all that can be seen to be wrong."""
    sources = tuple(absolute(source) for source in request.sources)
    corpus = collect(sources)
    files = _from_hub_before(request) or tokenizers.resolve(request.tokenizer)
    eos, bos = tokenizers.settle(files, request.eos_token, request.bos_token)
    fitting = dtype_for(files.ref.vocab_size)
    if request.dtype == "uint16" and fitting != "uint16":
        size = files.ref.vocab_size
        raise UsageError(f"--dtype uint16: {files.name} has {size:,} ids, too many for 16 bits. Give auto or int32.")
    if request.text_field == request.id_field:
        raise UsageError("--id-field names the text field. Name another field or leave it out.")
    spec = JobSpec(
        sources=sources,
        tokenizer=request.tokenizer,
        eos_token=eos,
        bos_token=bos,
        special_tokens=SpecialTokens(request.special_tokens),
        dtype=fitting if request.dtype == "auto" else request.dtype,
        text_field=request.text_field,
        id_field=request.id_field,
        separator=request.separator,
        batch_bytes=request.batch_bytes or batch_bytes_for(corpus.bytes),
        max_document_bytes=request.max_document_bytes,
    )
    return spec, files, corpus


def _from_hub_before(request: Request) -> tokenizers.TokenizerFiles | None:
    """The tokenizer that the job in this output fetched from a hub under the same name: a hub is asked once per job."""
    ledger = Ledger(request.output)
    if not ledger.has_job():
        return None
    ref = ledger.job().tokenizer
    if ref.name != request.tokenizer or ref.revision is None or ref.name.startswith("package:"):
        return None
    files = {file.path.removeprefix("tokenizer/"): storage.read(ledger.url(file.path)) for file in ref.files}
    return tokenizers.TokenizerFiles(name=ref.name, revision=ref.revision, files=files)


def planned(spec: JobSpec, corpus: Corpus) -> Iterator[Batch]:
    """The batches of a corpus; footers are read as the plan comes to their files."""
    return plan((Plannable(file.url, file.size, row_groups(file, spec)) for file in corpus.files), spec)


def prepare(request: Request) -> Prepared:
    """Put a job on record, or take up the one that stands in the output.

    Raises UsageError if the request is wrong or the output belongs to something else.
    """
    spec, files, corpus = draft(request)
    ledger = Ledger(request.output)
    if ledger.is_strange():
        raise UsageError(f"{ledger.output} is not empty and holds no tokenmill job. Choose another --output.")
    ref = files.ref
    job_id = _job_id(spec, ref.sha256, corpus)
    standing = ledger.job() if ledger.has_job() else None
    if standing is not None:
        _refuse_another(standing, spec, ref.sha256, corpus, ledger.output)
    batches = standing.batches if standing is not None else _record(ledger, spec, files, corpus)
    engine = standing.engine if standing is not None else None
    if engine is None or request.engine not in ("auto", engine.name):
        sample = partial(_sample, spec, ledger, batches)
        folder = Settings.from_environment().cache
        engine = choose(files.model, spec, request.engine, sample, folder, corpus.bytes)
    job = Job(
        job_id=job_id,
        name=request.name or ledger.output.rstrip("/").rpartition("/")[2],
        spec=spec,
        tokenizer=ref,
        bos_id=files.model.id_of(spec.bos_token),
        eos_id=files.model.id_of(spec.eos_token),
        source_fingerprint=corpus.fingerprint(),
        source_files=len(corpus.files),
        source_bytes=corpus.bytes,
        batches=batches,
        max_rejected=request.max_rejected,
        engine=engine,
        check_every=request.check_every,
        versions={"tokenmill": __version__, "python": platform.python_version(), **{name: version(name) for name in VERSIONS}},
    )
    if job != standing:
        ledger.write_job(job)
    ledger.unpark()
    passed_over = ", ".join(f"{count} {suffix}" for suffix, count in corpus.passed_over.most_common(5))
    return Prepared(job, ledger, len(ledger.committed()), passed_over)


def _job_id(spec: JobSpec, tokenizer_sha256: str, corpus: Corpus) -> str:
    """Names what decides the output: spec, tokenizer, and the files by name and size.

    Modification marks are left out, so that a corpus restored from a backup makes the same manifest.
    """
    files = "".join(f"{file.url}\t{file.size}\n" for file in corpus.files)
    return hashlib.sha256(b"\0".join((spec.to_json(), tokenizer_sha256.encode(), files.encode()))).hexdigest()[:16]


def _record(ledger: Ledger, spec: JobSpec, files: tokenizers.TokenizerFiles, corpus: Corpus) -> int:
    """Write tokenizer and plan into the output; return the number of batches."""
    for name, data in files.files.items():
        storage.put(ledger.url(f"tokenizer/{name}"), data)
    count = 0

    def counted() -> Iterator[Batch]:
        nonlocal count
        for batch in planned(spec, corpus):
            count += 1
            yield batch

    ledger.write_plan(counted())
    return count


def _sample(spec: JobSpec, ledger: Ledger, batches: int) -> pa.LargeStringArray:
    """Some of a job's own text: the first documents at several places, spread evenly over its batches."""
    places = sorted({batches * place // SAMPLE_PLACES for place in range(min(SAMPLE_PLACES, batches))})
    taken: list[pa.LargeStringArray] = []
    for place in places:
        try:
            found = next(documents.read(ledger.batch(place).spans[0], spec), None)
        except BatchError:
            continue  # the worker that gets this file reports it
        if found is not None:
            share = SAMPLE_BYTES // len(places)
            # a document that is longer than the whole sample would take the reference seconds and gigabytes
            sizes = pc.binary_length(found.text).to_numpy(zero_copy_only=False)
            short = sizes < SAMPLE_BYTES
            taken.append(found.text.filter(pa.array(short))[: int(np.searchsorted(np.cumsum(sizes[short]), share)) + 1])
    return pa.concat_arrays(taken) if taken else pa.array([], pa.large_string())


def _refuse_another(standing: Job, spec: JobSpec, tokenizer_sha256: str, corpus: Corpus, output: str) -> None:
    """Raise UsageError, naming every difference, unless the request is for the job that stands in the output."""
    differences = [
        f"{name} was {getattr(standing.spec, name)!r}, is {getattr(spec, name)!r}"
        for name in JobSpec.model_fields
        if getattr(standing.spec, name) != getattr(spec, name)
    ]
    if standing.tokenizer.sha256 != tokenizer_sha256:
        differences.append(f"the tokenizer's sha256 was {standing.tokenizer.sha256[:12]}…, is {tokenizer_sha256[:12]}…")
    if standing.source_fingerprint != corpus.fingerprint():
        differences.append("source files were added, removed or changed since")
    if differences:
        raise UsageError(
            f"{output} belongs to another job: {'; '.join(differences)}. Choose another --output, or ask for the same again."
        )
