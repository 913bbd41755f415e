"""Does a sealed output still say what it said, and are its ids the reference's?

Comes in: an output folder. Goes out: a list of findings, empty when all is well. Checks: every file's size and sha256, the
sums of the manifest against its shards, the tokenizer's digest, and the ids of documents read again from the sources and
encoded with the reference — a sample, or all of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tokenmill import documents, storage
from tokenmill.columns import screen
from tokenmill.documents import GIVEN_UP, rejections
from tokenmill.engines import LEARNED, Encoder
from tokenmill.errors import TokenmillError
from tokenmill.job import Job
from tokenmill.ledger import Ledger
from tokenmill.lengths import LengthPolicy
from tokenmill.manifest import Manifest, Shard
from tokenmill.masks import unlearnable
from tokenmill.reader import TokenDataset
from tokenmill.shuffle import order
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
    findings: tuple[str, ...] = ()


def verify(output: str, *, full: bool, advance: Callable[[int, int], None]) -> Verdict:
    """Check a sealed output.

    Args:
        full: encode every document again, from the sources.
        advance: told how many of how many steps are done.

    Raises JobError if the output is not sealed; everything else is a finding.
    """
    dataset = TokenDataset(output)
    ledger, manifest = Ledger(output), dataset.manifest
    job, verdict, findings = ledger.job(), Verdict(), list[str]()
    chosen = manifest.shards if full else _spread(manifest.shards)
    steps, done = len(manifest.shards) + len(chosen), 0
    findings += _identity(job, manifest)
    findings += _sums(manifest)
    for file in (*manifest.tokenizer.files, *manifest.folder_files):
        findings += _file(ledger, file.path, file.bytes, file.sha256)
        verdict.files += 1
    sound: set[int] = set()
    for position, shard in enumerate(manifest.shards):
        found = [line for file in shard.files for line in _file(ledger, file.path, file.bytes, file.sha256)]
        found = found or _shard(dataset, position, shard)
        dataset.forget(position)
        verdict.files += len(shard.files)
        findings += found
        if not found:
            sound.add(shard.index)
        done += 1
        advance(done, steps)
    model = Model(storage.read(ledger.url("tokenizer/tokenizer.json")), ledger.url("tokenizer/tokenizer.json"))
    encoder = Encoder(model, job.spec, "reference")
    for shard in chosen:
        if shard.index in sound:
            limit = None if full else SAMPLE_DOCUMENTS
            try:
                for line in _compare(ledger, job, encoder, dataset, shard, limit, verdict):
                    findings.append(line)
            except TokenmillError as error:
                findings.append(f"shard {shard.index:06d} cannot be encoded again: {error}")
            dataset.forget(manifest.shards.index(shard))
        done += 1
        advance(done, steps)
    verdict.findings = tuple(findings)
    return verdict


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


def _shard(dataset: TokenDataset, position: int, shard: Shard) -> list[str]:
    reader = dataset.shard(position)
    tokens = int(reader.lengths.sum(dtype=np.int64))
    if (len(reader), tokens) != (shard.documents, shard.tokens):
        return [f"shard {shard.index:06d} holds {len(reader)} documents and {tokens} tokens, not what the manifest says"]
    return []


def _compare(
    ledger: Ledger, job: Job, encoder: Encoder, dataset: TokenDataset, shard: Shard, limit: int | None, verdict: Verdict
) -> Iterator[str]:
    """Read a batch's documents again, all or the first `limit`, and compare their ids with the shard's."""
    batch, output = ledger.batch(shard.index), ledger.output
    policy = LengthPolicy(job.spec, job.bos_id, job.eos_id)
    seed, count = job.spec.shuffle, shard.documents
    stands = np.arange(count) if seed is None else np.argsort(order(seed, shard.index, count))
    opened, next_document = dataset.opened(dataset.manifest.shards.index(shard)), 0
    reader, starts = opened.reader, opened.starts
    masks = np.empty(0, np.uint8) if opened.mask is None else opened.mask
    given_up = {(r.file, r.position): r.reason for r in rejections(output, shard.index) if r.reason in GIVEN_UP}
    for span in batch.spans:
        for found in documents.read(span, job.spec):
            places = enumerate(found.positions.tolist()) if given_up else ()
            refused = {i: given_up[found.file, position] for i, position in places if (found.file, position) in given_up}
            screened = screen(found, job.spec.special_tokens, encoder).without(refused)
            text, holds_special, learned = screened.text, screened.holds_special, screened.learned
            wanted = len(text) if limit is None else min(len(text), max(0, limit - next_document))
            tokens = encoder.encode(text[:wanted], holds_special[:wanted], None if learned is None else learned[:wanted])
            if learned is not None:
                tokens = tokens.only(~np.any(list(unlearnable(tokens, job.bos_id).values()), axis=0))
            tokens = policy(tokens).tokens
            for index in range(len(tokens)):
                if next_document >= len(reader):
                    yield f"shard {shard.index:06d}: the sources hold more documents than the shard; they have changed"
                    return
                stand, expected = int(stands[next_document]), tokens.document(index)
                if not np.array_equal(reader[stand], expected & ~LEARNED):
                    yield f"shard {shard.index:06d}: the ids of document {stand} are not the reference's"
                    return
                if learned is not None and not np.array_equal(masks[starts[stand] : starts[stand + 1]], expected >= LEARNED):
                    yield f"shard {shard.index:06d}: the mask of document {stand} is not what its conversation says"
                    return
                next_document += 1
                verdict.compared += 1
            if limit is not None and next_document >= limit:
                return
    if next_document < shard.documents:
        held = f"the sources hold {next_document} documents, the shard {shard.documents}"
        yield f"shard {shard.index:06d}: {held}; they have changed"
