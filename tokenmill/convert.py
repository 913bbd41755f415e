"""A sealed job in another format: the same documents, entries and totals in another output folder, without encoding anything.

Comes in: a sealed output, a format. Goes out: an output like that of a job which was run with that format: shards and the
format's own index are byte for byte the same, `job_id` is that of the job that was converted. Always holds: what is read is
what was sealed (sha256), or nothing made of it is published; a shard counts as converted when it has its entry, so the same
command takes up what was interrupted; memory is a group of documents and the longest of them.
"""

import hashlib
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from tokenmill import storage
from tokenmill.choices import DtypeChoice, FormatName
from tokenmill.errors import JobError, UsageError
from tokenmill.generations import Chain
from tokenmill.job import Job, ShardEntry
from tokenmill.ledger import Ledger
from tokenmill.manifest import Manifest, Shard, Totals
from tokenmill.record import FileDigest
from tokenmill.report import page, statistics
from tokenmill.shards import FORMATS, Format, ShardReader

#: Bytes of a file that is copied as it is, held at a time.
BLOCK = 1 << 20
#: Tokens that are converted at a time, or one document.
TOKENS = 1 << 20


def convert(source: str, output: str, name: FormatName, dtype: DtypeChoice, advance: Callable[[int, int], None]) -> Totals:
    """Convert a sealed output.

    Args:
        name: the format to write.
        dtype: what ids are stored as; auto for the format's own rule.
        advance: told how many of how many shards are converted.

    Raises UsageError if the format cannot say what the job holds or `output` is not empty and not this conversion; JobError if
    `source` is not sealed, or is not what was sealed.
    """
    old, new = Ledger(source), Ledger(output)
    if not old.has_job() and (kept := Chain(old.output).sealed(Chain(old.output).last())):
        one = old.url(kept[-1].name)
        raise UsageError(f"{old.output} is a folder of generations. Convert them one by one, such as {one}.")
    manifest, job = old.manifest(), old.job()
    if manifest is None:
        raise JobError(f"{old.output} is not sealed (no manifest.json). Run the same `tokenmill run` again to finish it.")
    if old.output == new.output:
        raise UsageError(f"--output is the folder to convert, {old.output}. Name another one.")
    if job.job_id != manifest.job_id:
        raise JobError(f"{old.output}: job.json and manifest.json are of two jobs. Run: tokenmill verify {old.output}")
    if manifest.partition_by is not None:
        what = f"is split by {manifest.partition_by}, which cannot be converted"
        raise UsageError(f"{old.output} {what}. Run the job with --format {name}.")
    job = _claimed(_converted(job, name, dtype), new)
    new.furnish(job, _kept(old, job), lambda: b"".join(_blocks(old, job.plan)))
    done = set(new.committed())
    for position, shard in enumerate(manifest.shards):
        if shard.index not in done:
            new.commit(_shard(old, new, manifest, job, shard))
        advance(position + 1, len(manifest.shards))
    if new.is_sealed():
        totals = new.totals()
        assert totals is not None
        return totals
    return new.seal(job, lambda totals: page(statistics(new, job, totals)))


def _converted(job: Job, name: FormatName, dtype: DtypeChoice) -> Job:
    """The job as it would stand on record had it been run with that format."""
    has_ends = job.spec.eos_token is not None or job.spec.bos_token is not None
    settled = FORMATS[name].settle(name, dtype, job.tokenizer.vocab_size, has_ends=has_ends)
    return job.model_copy(update={"spec": job.spec.model_copy(update={"format": name, "dtype": settled})})


def _claimed(job: Job, new: Ledger) -> Job:
    """Take the output folder for this conversion, or take up the one that stands there."""
    if new.is_strange():
        raise UsageError(f"{new.output} is not empty and holds no tokenmill job. Choose another --output.")
    if not new.claim_for(job) and new.job() != job:
        raise UsageError(f"{new.output} belongs to another job or another conversion. Choose another --output.")
    return job


def _kept(old: Ledger, job: Job) -> dict[str, bytes]:
    """What a job keeps for all its shards: the tokenizer's files, by name, and what test sets came to."""
    files = (*job.tokenizer.files, *(one.file for one in job.spec.held_out))
    return {file.path.removeprefix("tokenizer/"): b"".join(_blocks(old, file)) for file in files}


def _shard(old: Ledger, new: Ledger, manifest: Manifest, job: Job, shard: Shard) -> ShardEntry:
    """Convert one shard; returns the entry that commits it."""
    entry, source, target = old.entry(shard.index), FORMATS[manifest.format], FORMATS[job.spec.format]
    if entry is None or entry.files != shard.files:
        raise _changed(old, f"entries/{shard.index:06d}.json")
    own = [file for file in shard.files if source.owns(file.path)]
    for file in own:
        for _ in _blocks(old, file):
            pass
    reader = source.reader(old.output, shard.index)
    if (len(reader), int(reader.lengths.sum(dtype=np.int64))) != (shard.stored_documents, shard.stored_tokens):
        raise _changed(old, own[0].path)
    written = _write(reader, target, new, job, shard.index)
    others = (file for file in shard.files if not source.owns(file.path))
    copied = tuple(storage.put(new.url(file.path), _blocks(old, file), file.path) for file in others)
    return entry.model_copy(update={"files": written + copied})


def _write(reader: ShardReader, target: Format, new: Ledger, job: Job, index: int) -> tuple[FileDigest, ...]:
    """The same documents as a shard of the other format."""
    with target.writer(new.output, index, job.spec.dtype) as writer:
        for start, stop in _stretches(reader):
            ids = np.ascontiguousarray(reader.span(start, stop)).astype(np.uint32, copy=False)
            writer.append(ids, reader.lengths[start:stop].astype(np.int64))
        return writer.publish()


def _stretches(reader: ShardReader) -> Iterator[tuple[int, int]]:
    """Documents that are converted together: about so many tokens."""
    ends = np.cumsum(reader.lengths, dtype=np.int64)
    full = np.unique(np.searchsorted(ends, np.arange(TOKENS, int(ends[-1]) if len(ends) else 0, TOKENS))) + 1
    return pairwise([0, *(stop for stop in full.tolist() if stop < len(ends)), len(ends)])


def _blocks(old: Ledger, file: FileDigest) -> Iterator[bytes]:
    """A file of the sealed output, block by block. Raises JobError, at its end, if it is not what was sealed."""
    if not storage.exists(old.url(file.path)):
        raise _changed(old, file.path)
    digest, size = hashlib.sha256(), 0
    with storage.open_input(old.url(file.path)) as opened:
        while block := opened.read(BLOCK):
            digest.update(block)
            size += len(block)
            yield block
    if (size, digest.hexdigest()) != (file.bytes, file.sha256):
        raise _changed(old, file.path)


def _changed(old: Ledger, path: str) -> JobError:
    return JobError(f"{old.url(path)} is not what was sealed. Run: tokenmill verify {old.output}")
