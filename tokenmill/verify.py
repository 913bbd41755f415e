"""Does a sealed output still say what it said, and are its ids the reference's?

Comes in: an output folder. Goes out: a list of findings, empty when all is well. Checks: every file's size and sha256, the
sums of the manifest against its shards, the tokenizer's digest, and the ids of documents read again from the sources and
encoded with the reference — a sample, or all of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tokenmill import documents, storage
from tokenmill.comparison import Place, compare, damage, forget, held_of
from tokenmill.engines import Encoder
from tokenmill.errors import BatchError, JobError, TokenmillError
from tokenmill.generations import Chain
from tokenmill.job import Batch, Job
from tokenmill.ledger import Ledger
from tokenmill.manifest import Manifest, Shard
from tokenmill.reader import TokenDataset
from tokenmill.tokenizers import Model

#: Shards of a sample, spread evenly over the job; of each, this many documents from its beginning are encoded again.
SAMPLE_SHARDS = 16
SAMPLE_DOCUMENTS = 64


@dataclass(slots=True)
class Verdict:
    """What was checked, and what was found wrong."""

    files: int = 0
    #: Documents whose ids were compared with the reference's.
    compared: int = 0
    #: Batches whose sources were changed or removed since, as a growing corpus does: nothing is left to compare them with.
    outlived: int = 0
    findings: tuple[str, ...] = ()


def verify(output: str, *, full: bool, advance: Callable[[int, int], None]) -> Verdict:
    """Check a sealed output.

    Args:
        full: encode every document again, from the sources.
        advance: told how many of how many steps are done.

    Raises JobError if the output is not sealed; everything else is a finding.
    """
    ledger = Ledger(output)
    manifest = ledger.manifest()
    chain = Chain(output)
    if manifest is None and chain.last() is not None:
        return _generations(chain, full=full, advance=advance)
    if manifest is None:
        raise JobError(f"{output} is not sealed (no manifest.json). Run the same `tokenmill run` again to finish it.")
    folders: tuple[str | None, ...] = tuple(part.path for part in manifest.parts) or (None,)
    parts = [Place(folder, TokenDataset(ledger.url(folder) if folder else output)) for folder in folders]
    job, verdict, findings = ledger.job(), Verdict(), list[str]()
    chosen = manifest.shards if full else _spread(manifest.shards)
    steps, done = len(manifest.shards) + len(chosen), 0
    findings += _identity(job, manifest)
    findings += _sums(manifest)
    held_out = (one.file for one in job.spec.held_out)
    for file in (*manifest.tokenizer.files, *manifest.folder_files, *held_out):
        findings += _file(ledger, file.path, file.bytes, file.sha256)
        verdict.files += 1
    sound: set[int] = set()
    for shard in manifest.shards:
        found = [line for file in shard.files for line in _file(ledger, file.path, file.bytes, file.sha256)]
        found = found or [line for held in held_of(parts, shard.index) for line in damage(held, shard.index)]
        forget(parts, shard.index)
        verdict.files += len(shard.files)
        findings += found
        if not found:
            sound.add(shard.index)
        done += 1
        advance(done, steps)
    for part in parts:
        if part.folder is not None:
            findings += _part(ledger, part.folder, part.dataset.manifest, verdict)
    model = Model(storage.read(ledger.url("tokenizer/tokenizer.json")), ledger.url("tokenizer/tokenizer.json"))
    encoder = Encoder(model, job.spec, "reference")
    for shard in chosen:
        if job.generation is not None and not _is_unchanged(ledger.batch(shard.index)):
            verdict.outlived += 1
        elif shard.index in sound:
            limit = None if full else SAMPLE_DOCUMENTS
            try:
                held = held_of(parts, shard.index)
                findings += compare(ledger, job, encoder, held, shard.index, limit)
                verdict.compared += sum(one.compared for one in held)
            except TokenmillError as error:
                findings.append(f"shard {shard.index:06d} cannot be encoded again: {error}")
            forget(parts, shard.index)
        done += 1
        advance(done, steps)
    verdict.findings = tuple(findings)
    return verdict


def _is_unchanged(batch: Batch) -> bool:
    """Whether the sources are what the plan saw."""
    try:
        for span in batch.spans:
            documents.check_unchanged(span)
    except BatchError:
        return False
    return True


def _generations(chain: Chain, *, full: bool, advance: Callable[[int, int], None]) -> Verdict:
    """The chain, and each sealed generation whose shards are here. Raises JobError if none is sealed."""
    kept = [sealed.name for sealed in chain.sealed(chain.last()) if not chain.is_retired(sealed.name)]
    if not kept:
        raise JobError(f"{chain.output} holds no sealed generation. Run the same `tokenmill run` again to finish one.")
    whole, findings = Verdict(), [*chain.findings()]
    for number, name in enumerate(kept):
        try:
            found = verify(chain.ledger(name).output, full=full, advance=lambda *_: None)
        except TokenmillError as error:
            found = Verdict(findings=(str(error),))
        whole.files += found.files
        whole.compared += found.compared
        whole.outlived += found.outlived
        findings += [f"{name}: {line}" for line in found.findings]
        advance(number + 1, len(kept))
    whole.findings = tuple(findings)
    return whole


def _part(ledger: Ledger, folder: str, manifest: Manifest, verdict: Verdict) -> Iterator[str]:
    """What a part says of itself."""
    part = Ledger(ledger.url(folder))
    for line in _sums(manifest):
        yield f"{folder}: {line}"
    for file in (*manifest.tokenizer.files, *manifest.folder_files):
        verdict.files += 1
        for line in _file(part, file.path, file.bytes, file.sha256):
            yield f"{folder}: {line}"


def _spread(shards: tuple[Shard, ...]) -> tuple[Shard, ...]:
    places = np.linspace(0, len(shards) - 1, min(SAMPLE_SHARDS, len(shards))).round().astype(int)
    return tuple(shards[place] for place in places)


def _identity(job: Job, manifest: Manifest) -> Iterator[str]:
    if job.job_id != manifest.job_id:
        yield f"job.json is of job {job.job_id}, the manifest of {manifest.job_id}"
    missing = set(range(job.batches)) - {shard.index for shard in manifest.shards}
    if missing:
        yield f"the manifest lacks {len(missing)} of {job.batches} planned batches, first {min(missing):06d}"


def _sums(manifest: Manifest) -> Iterator[str]:
    sums = {
        "tokens": sum(shard.tokens for shard in manifest.shards),
        "documents": sum(shard.documents for shard in manifest.shards),
        "rejected": sum(shard.rejected for shard in manifest.shards),
        "sequences": sum(shard.sequences or 0 for shard in manifest.shards),
        "tokens_padding": sum(shard.tokens_padding for shard in manifest.shards),
    }
    for name, total in sums.items():
        stated = getattr(manifest, name)
        if stated != total:
            yield f"the manifest states {stated} {name}, its shards add up to {total}"
    if sum(manifest.rejected_by_reason.values()) != manifest.rejected:
        yield f"the manifest's reasons add up to {sum(manifest.rejected_by_reason.values())} rejected, not {manifest.rejected}"


def _file(ledger: Ledger, path: str, size: int, sha256: str) -> Iterator[str]:
    url = ledger.url(path)
    if not storage.exists(url):
        yield f"{path} is missing"
        return
    found = storage.digest(url, path)
    if found.bytes != size:
        yield f"{path} is {found.bytes} bytes long, the manifest says {size}"
    elif found.sha256 != sha256:
        yield f"{path} has changed: sha256 {found.sha256[:12]}…, the manifest says {sha256[:12]}…"
