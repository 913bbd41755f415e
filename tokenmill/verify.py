"""Does a sealed output still say what it said, and are its ids the reference's?

Comes in: an output folder. Goes out: a list of findings, empty when all is well. Checks: every file's size and sha256, the
sums of the manifest against its shards, the tokenizer's digest, and the ids of documents read again from the sources and
encoded with the reference — a sample, or all of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenmill import documents, storage
from tokenmill.columns import Column, Screened, screen
from tokenmill.documents import GIVEN_UP, rejections
from tokenmill.engines import LEARNED, Encoder
from tokenmill.errors import BatchError, JobError, TokenmillError
from tokenmill.generations import Chain
from tokenmill.job import Batch, Job
from tokenmill.ledger import Ledger
from tokenmill.lengths import LengthPolicy
from tokenmill.manifest import Manifest, Shard
from tokenmill.masks import unlearnable
from tokenmill.partitions import folder_of
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
    for file in (*manifest.tokenizer.files, *manifest.folder_files):
        findings += _file(ledger, file.path, file.bytes, file.sha256)
        verdict.files += 1
    sound: set[int] = set()
    for shard in manifest.shards:
        found = [line for file in shard.files for line in _file(ledger, file.path, file.bytes, file.sha256)]
        found = found or [line for held in _held(parts, shard.index) for line in _shard(held, shard.index)]
        _forget(parts, shard.index)
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
                for line in _compare(ledger, job, encoder, _held(parts, shard.index), shard.index, limit, verdict):
                    findings.append(line)
            except TokenmillError as error:
                findings.append(f"shard {shard.index:06d} cannot be encoded again: {error}")
            _forget(parts, shard.index)
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


class Place:
    """Where documents lie: an output, or one of the parts it is split into."""

    def __init__(self, folder: str | None, dataset: TokenDataset) -> None:
        self.folder, self.dataset = folder, dataset
        #: Batch -> place among the shards; a part has none of a batch without documents for it.
        self.positions = {shard.index: position for position, shard in enumerate(dataset.manifest.shards)}


@dataclass(slots=True)
class Held:
    """What a place holds of one batch."""

    folder: str | None
    dataset: TokenDataset
    position: int
    #: Documents compared so far.
    compared: int = 0

    @property
    def documents(self) -> int:
        return self.dataset.manifest.shards[self.position].documents

    def stands(self, seed: int | None, index: int) -> NDArray[np.int64]:
        """Where each document is in the shard, by its place in the sources."""
        return np.arange(self.documents) if seed is None else np.argsort(order(seed, index, self.documents))


def _held(places: list[Place], index: int) -> list[Held]:
    """What all places hold of a batch."""
    return [Held(place.folder, place.dataset, place.positions[index]) for place in places if index in place.positions]


def _forget(places: list[Place], index: int) -> None:
    for held in _held(places, index):
        held.dataset.forget(held.position)


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


def _shard(held: Held, index: int) -> Iterator[str]:
    """Whether its files hold what the manifest says, and packed rows nothing but documents and padding."""
    try:
        opened = held.dataset.opened(held.position)
    except TokenmillError as error:
        yield str(error)
        return
    packing, pad_id = held.dataset.manifest.pack, held.dataset.manifest.pad_id
    if packing is None:
        return
    for row in np.flatnonzero(opened.used < packing.length).tolist():
        if (opened.stored[row][opened.used[row] :] != pad_id).any():
            yield f"shard {index:06d}: sequence {row} has other ids than {pad_id} in its padding"
            return


def _compare(
    ledger: Ledger, job: Job, encoder: Encoder, held: list[Held], index: int, limit: int | None, verdict: Verdict
) -> Iterator[str]:
    """Read a batch's documents again, all or the first `limit`, and compare their ids with the shard's."""
    batch, output, field = ledger.batch(index), ledger.output, job.spec.partition_by
    policy = LengthPolicy(job.spec, job.bos_id, job.eos_id)
    stands = {one.folder: one.stands(job.spec.shuffle, index) for one in held}
    by_folder, compared = {one.folder: one for one in held}, 0
    given_up = {(r.file, r.position): r.reason for r in rejections(output, index) if r.reason in GIVEN_UP}
    for span in batch.spans:
        for found in documents.read(span, job.spec):
            places = enumerate(found.positions.tolist()) if given_up else ()
            refused = {i: given_up[found.file, position] for i, position in places if (found.file, position) in given_up}
            screened = screen(found, job.spec.special_tokens, encoder).without(refused)
            text, holds_special, learned = screened.text, screened.holds_special, screened.learned
            wanted = len(text) if limit is None else min(len(text), max(0, limit - compared))
            encoded = encoder.encode(text[:wanted], holds_special[:wanted], None if learned is None else learned[:wanted])
            kept = np.ones(wanted, np.bool_)
            if learned is not None:
                kept = ~np.any(list(unlearnable(encoded, job.bos_id).values()), axis=0)
            for folder, rows in _split(screened, field, kept):
                tokens = policy(encoded if rows.all() else encoded.only(rows)).tokens
                one = by_folder.get(folder)
                for number in range(len(tokens)):
                    if one is None or one.compared >= one.documents:
                        yield f"shard {index:06d}: the sources hold more documents than the shard; they have changed"
                        return
                    place, expected = int(stands[folder][one.compared]), tokens.document(number)
                    opened = one.dataset.opened(one.position)
                    if not np.array_equal(opened.reader[place], expected & ~LEARNED):
                        yield f"shard {index:06d}: the ids of document {place} are not the reference's"
                        return
                    if learned is not None and not np.array_equal(opened.mask_of(place), expected >= LEARNED):
                        yield f"shard {index:06d}: the mask of document {place} is not what its conversation says"
                        return
                    one.compared += 1
                    compared += 1
                    verdict.compared += 1
            if limit is not None and compared >= limit:
                return
    for one in held:
        if one.compared < one.documents:
            holds = f"the sources hold {one.compared} documents, the shard {one.documents}"
            yield f"shard {index:06d}: {holds}; they have changed"


def _split(screened: Screened, field: str | None, kept: NDArray[np.bool_]) -> Iterator[tuple[str | None, NDArray[np.bool_]]]:
    """Those of the first documents that are kept, by the part they belong to."""
    if field is None:
        yield None, kept
        return
    folders = np.array([folder_of(field, value) for value in Column((screened,), 0).values(field)[: len(kept)]])
    for folder in dict.fromkeys(folders.tolist()):
        yield folder, (folders == folder) & kept
