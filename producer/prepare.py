"""From a draft to a job on record: plan, choose an engine, write it all into the output.

Comes in: what the user asked for. Goes out: a `Job` whose `job.json`, plan and tokenizer stand in the output folder. Always
holds: `job.json` is claimed before anything else is written, so that of two producers one gets the folder, and what it names
(plan, tokenizer) is put beside it, by whoever comes first; an output that belongs to another job is refused with the difference
named; a job that stands there already is taken up again, whatever engine or number of workers is asked for now.
"""

import hashlib
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version

from producer import bytesize
from producer.corpus import Corpus, frames, pieces
from producer.draft import draft
from producer.heldout import held_out
from producer.incremental import Begun, begin
from producer.plan import Plannable, is_worth_cutting, plan, tickets
from producer.request import Request
from producer.sample import Sample
from tokenmill import __version__, documents, tokenizers
from tokenmill import plan as plan_file
from tokenmill.engines import choose
from tokenmill.errors import UsageError
from tokenmill.generations import Chain, Generation
from tokenmill.job import Batch, Device, EngineChoice, Job
from tokenmill.ledger import Ledger
from tokenmill.record import FileDigest
from tokenmill.settings import Settings
from tokenmill.spec import JobSpec

#: From how many places of the corpus the text is taken on which an engine has to agree.
SAMPLE_PLACES = 16
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
    #: What it is of a corpus that grows; None for a job by itself.
    generation: Generation | None = None


@dataclass(slots=True)
class Spread:
    """Keeps some batches, spread evenly over a plan whose length is not known beforehand."""

    kept: list[Batch] = field(default_factory=list)
    #: Batches that have passed, and their bytes.
    passed: int = 0
    bytes: int = 0
    _stride: int = 1

    def watching(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches."""
        for batch in batches:
            if self.passed % self._stride == 0:
                self.kept.append(batch)
                if len(self.kept) > SAMPLE_PLACES:
                    self.kept = self.kept[::2]
                    self._stride *= 2
            self.passed += 1
            self.bytes += batch.bytes
            yield batch


@dataclass(frozen=True, slots=True)
class Company:
    """Which outputs are made of one read, or one after the other, as one of them has it on record."""

    beside: tuple[str, ...] = ()
    made_with: str | None = None
    generation: int | None = None


def planned(spec: JobSpec, corpus: Corpus) -> Iterator[Batch]:
    """The batches of a corpus; footers are read as the plan comes to their files, and before where a sample has a limit.

    Raises UsageError if a sample takes nothing.
    """
    sample = None
    if spec.sample is not None:
        sample = Sample.of_share(spec.sample)
        if spec.sample.limit is not None:
            sample = sample.within(spec.sample.limit, tickets(_plannable(spec, corpus), spec, spec.sample.seed))
    batch = None
    for batch in plan(_plannable(spec, corpus), spec, sample):
        yield batch
    if batch is None and sample is not None and not corpus.grows:
        raise UsageError(
            f"--sample or --limit takes none of {len(corpus.files):,} files with {bytesize.written(corpus.bytes)}: what cannot "
            f"be cut is taken whole or not at all. Take more, or give another --sample-seed."
        )


def _plannable(spec: JobSpec, corpus: Corpus) -> Iterator[Plannable]:
    for file in corpus.files:
        found = frames(file, spec) if is_worth_cutting(file.size, spec) else None
        yield Plannable(file.url, file.size, file.mark, pieces(file, spec), file.ranged, file.name, found)


def prepare(request: Request) -> Prepared:
    """Put a job on record, or take up the one that stands in the output; likewise for the outputs beside it.

    Returns the job that leads: the first one that is not sealed yet. Of a corpus that grows, that is the generation it names.

    Raises UsageError if the request is wrong or an output belongs to something else.
    """
    if request.generation is not None:
        return _generation(begin(request))
    if not request.beside:
        return _prepare(request, Company(), *draft(request))
    asked: list[Request] = [replace(request, beside=()), *request.beside]
    ledgers = [Ledger(one.output) for one in asked]
    unsealed = [number for number, ledger in enumerate(ledgers) if not ledger.is_sealed()] or [0]
    lead, beside = ledgers[unsealed[0]].output, tuple(ledgers[number].output for number in unsealed[1:])
    drafts = [draft(asked[0])]
    drafts += [draft(one, drafts[0][2]) for one in asked[1:]]
    if any(spec.chat != drafts[0][0].chat for spec, _, _ in drafts):
        raise UsageError(
            "--chat writes conversations by the tokenizer's template, which [[output]] tables share. Give all one."
        )
    prepared = dict[int, Prepared]()
    # the leading one last: who works on it must find the others as it names them
    for number in reversed(range(len(asked))):
        company = Company() if number not in unsealed else Company(made_with=lead) if number != unsealed[0] else Company(beside)
        prepared[number] = _prepare(asked[number], company, *drafts[number])
    return prepared[unsealed[0]]


def _generation(begun: Begun) -> Prepared:
    """A generation on record as a job on record; one that is sealed stays as it is."""
    company, ledger = Company(generation=begun.generation.number), Ledger(begun.request.output)
    if ledger.is_sealed():
        job = ledger.job()
        _refuse_another(job, begun.spec, begun.tokenizer.ref.sha256, begun.corpus, ledger.output)
        return Prepared(job, ledger, job.batches, "", begun.generation)
    prepared = _prepare(begun.request, company, begun.spec, begun.tokenizer, begun.corpus)
    return replace(prepared, generation=begun.generation)


def _prepare(request: Request, company: Company, spec: JobSpec, files: tokenizers.TokenizerFiles, corpus: Corpus) -> Prepared:
    """One output of a request, as drafted."""
    ledger = Ledger(request.output)
    Settings.from_environment().roots.admit(ledger.output)
    if ledger.is_strange() and request.generation is None and Chain(ledger.output).last() is not None:
        raise UsageError(f"{ledger.output} holds generations of a growing corpus. Give --generation NAME, or another --output.")
    if ledger.is_strange():
        raise UsageError(f"{ledger.output} is not empty and holds no tokenmill job. Choose another --output.")
    make = _taken_up if ledger.has_job() else _new
    job = make(request, spec, files, corpus, ledger, company)
    sets = {one.file.path: content for one, content in held_out(request.contamination, files.model)}
    ledger.furnish(job, {**files.files, **sets}, lambda: plan_file.written(planned(spec, corpus)))
    ledger.take_up()
    passed_over = ", ".join(f"{count} {suffix}" for suffix, count in corpus.passed_over.most_common(5))
    return Prepared(job, ledger, len(ledger.committed()), passed_over)


def _new(
    request: Request, spec: JobSpec, files: tokenizers.TokenizerFiles, corpus: Corpus, ledger: Ledger, company: Company
) -> Job:
    """Put a new job on record. Nothing stands under its final name before the record: of two producers one gets the folder."""
    spread = Spread()
    plan_bytes = plan_file.written(spread.watching(planned(spec, corpus)))
    job = Job(
        job_id=_job_id(spec, files.ref.sha256, corpus),
        name=request.name or ledger.output.rstrip("/").rpartition("/")[2],
        spec=spec,
        tokenizer=files.ref,
        bos_id=files.model.id_of(spec.bos_token),
        eos_id=files.model.id_of(spec.eos_token),
        pad_id=None if spec.pack is None else files.model.id_of(spec.pack.pad_token),
        source_fingerprint=corpus.fingerprint(),
        source_files=len(corpus.files),
        source_bytes=corpus.bytes if spec.sample is None else spread.bytes,
        corpus_bytes=None if spec.sample is None else corpus.bytes,
        batches=spread.passed,
        plan=FileDigest(path=plan_file.NAME, bytes=len(plan_bytes), sha256=hashlib.sha256(plan_bytes).hexdigest()),
        max_rejected=request.max_rejected,
        engine=engine_for(request, spec, files, corpus, spread.kept),
        device=Device(request.device),
        check_every=request.check_every,
        beside=company.beside,
        made_with=company.made_with,
        generation=company.generation,
        versions={"tokenmill": __version__, "python": platform.python_version(), **{name: version(name) for name in VERSIONS}},
    )
    if ledger.claim_for(job):
        return job
    return _taken_up(request, spec, files, corpus, ledger, company)  # another producer was quicker


def _taken_up(
    request: Request, spec: JobSpec, files: tokenizers.TokenizerFiles, corpus: Corpus, ledger: Ledger, company: Company
) -> Job:
    """The job that stands in the output, with those of its settings changed that decide no byte."""
    standing = ledger.job()
    _refuse_another(standing, spec, files.ref.sha256, corpus, ledger.output)
    engine = standing.engine
    if request.engine not in ("auto", engine.name):
        spread = Spread()
        for _ in spread.watching(planned(spec, corpus)):
            pass
        engine = engine_for(request, spec, files, corpus, spread.kept)
    changed = {
        "name": request.name or standing.name,
        "max_rejected": request.max_rejected,
        "engine": engine,
        "device": Device(request.device),
        "check_every": request.check_every,
        "beside": company.beside,
        "made_with": company.made_with,
    }
    job = standing.model_copy(update=changed)
    if job != standing:
        ledger.write_job(job)
    return job


def engine_for(
    request: Request, spec: JobSpec, files: tokenizers.TokenizerFiles, corpus: Corpus, places: Sequence[Batch]
) -> EngineChoice:
    """The engine for a job, tried on its own text from some places."""
    folder = Settings.from_environment().cache
    return choose(files.model, spec, request.engine, partial(documents.sample, places, spec), folder, corpus.bytes)


def _job_id(spec: JobSpec, tokenizer_sha256: str, corpus: Corpus) -> str:
    """Names what decides the output: spec, tokenizer, and the files by name and size.

    Modification marks are left out, so that a corpus restored from a backup makes the same manifest.
    """
    files = "".join(f"{file.url}\t{file.size}\n" for file in corpus.files)
    return hashlib.sha256(b"\0".join((spec.to_json(), tokenizer_sha256.encode(), files.encode()))).hexdigest()[:16]


def _refuse_another(standing: Job, spec: JobSpec, tokenizer_sha256: str, corpus: Corpus, output: str) -> None:
    """Raise UsageError, naming every difference, unless the request is for the job that stands in the output."""
    differences = standing.spec.differences(spec)
    if standing.tokenizer.sha256 != tokenizer_sha256:
        differences.append(f"the tokenizer's sha256 was {standing.tokenizer.sha256[:12]}…, is {tokenizer_sha256[:12]}…")
    if standing.source_fingerprint != corpus.fingerprint():
        differences.append("source files were added, removed or changed since")
    if differences:
        raise UsageError(
            f"{output} belongs to another job: {'; '.join(differences)}. Choose another --output, or ask for the same again."
        )
