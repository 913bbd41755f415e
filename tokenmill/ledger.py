"""The ledger of one output folder: what the job is, what is done, what was given up, and the seal.

Comes in: records. Goes out: the files of the output contract (`job.json`, `plan.parquet`, `tokenizer/`, `shards/`,
`entries/`, `rejected/`, `metadata/`, `packing/`, `facts/`, `contamination/`, `partitions/`, `parked/`, `disabled/`,
`manifest.json`) and the records read back. Always holds: a batch is done when, and only when, its entry exists; the entry is
written after every other file of the batch. Storage is the truth, the broker is not.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import BinaryIO, TypeVar

from tokenmill import plan, storage
from tokenmill.errors import JobError, UsageError
from tokenmill.job import Batch, Counts, DisabledEngine, Job, ParkedBatch, ShardEntry, StoppedJob
from tokenmill.manifest import Manifest, Part, Shard, Totals, read_totals, stream, totals_of
from tokenmill.partitions import folders_of, value_of
from tokenmill.plan import PlanFile
from tokenmill.record import FileDigest, Record
from tokenmill.shards import FORMATS

Kind = TypeVar("Kind", bound=Record)


class Ledger:
    """The files of one output folder, by meaning."""

    def __init__(self, output: str) -> None:
        self.output = storage.absolute(output)
        self._plan = PlanFile(self.url(plan.NAME))

    def url(self, path: str) -> str:
        """Where an output-relative path lies."""
        return storage.join(self.output, path)

    def _found(self, kind: type[Kind], path: str) -> Kind | None:
        """A record that may be there."""
        found = storage.find(self.url(path))
        return None if found is None else kind.from_json(found, self.url(path))

    # -- the job -------------------------------------------------------------------------------------------------------

    def has_job(self) -> bool:
        return storage.exists(self.url("job.json"))

    def job(self) -> Job:
        """The job that owns this output. Raises UsageError if there is none."""
        found = self.find_job()
        if found is None:
            raise UsageError(f"{self.output} holds no tokenmill job (no job.json). Give the folder that --output named.")
        return found

    def find_job(self) -> Job | None:
        """The job that owns this output, if one does."""
        return self._found(Job, "job.json")

    def claim_for(self, job: Job) -> bool:
        """Record a new job: from here on the folder is its own. False if another producer has put one on record meanwhile."""
        return storage.claim(self.url("job.json"), job.to_json())

    def write_job(self, job: Job) -> None:
        """Record the job anew, as far as it may change."""
        storage.put(self.url("job.json"), job.to_json())

    def is_strange(self) -> bool:
        """Whether the folder holds files, but no job of ours."""
        return not self.has_job() and bool(set(storage.names(self.output)) - {"cancelled.json"})

    # -- the plan ------------------------------------------------------------------------------------------------------

    def furnish(self, job: Job, files: Mapping[str, bytes], plan: Callable[[], bytes]) -> None:
        """Put tokenizer and plan of the job on record into the folder, unless they are there.

        Args:
            files: name -> content below `tokenizer/`, path -> content of what test sets came to.
            plan: makes the plan's content; asked only where it is missing.
        """
        for file in (*job.tokenizer.files, *(one.file for one in job.spec.held_out)):
            if not self._holds(file):
                content = files.get(file.path.removeprefix("tokenizer/"))
                if content is None:
                    raise JobError(f"{self.url('job.json')} was changed: no tokenizer or test set has a file {file.path}.")
                storage.put(self.url(file.path), content)
        if not self._holds(job.plan):
            storage.put(self.url(job.plan.path), plan())

    def _holds(self, file: FileDigest) -> bool:
        found = storage.status(self.url(file.path))
        return found is not None and found.size == file.bytes

    def batch(self, index: int) -> Batch:
        """One planned batch."""
        return self._plan[index]

    def plan(self) -> Iterator[Batch]:
        """All planned batches, in order."""
        return iter(self._plan)

    # -- what is done --------------------------------------------------------------------------------------------------

    def commit(self, entry: ShardEntry) -> bool:
        """Write the entry; from here on the batch is done. False if it was done already: the first entry stands."""
        return storage.claim(self.url(f"entries/{entry.index:06d}.json"), entry.to_json())

    def entry(self, index: int) -> ShardEntry | None:
        """The entry of a batch; None while it is not done."""
        return self._found(ShardEntry, f"entries/{index:06d}.json")

    def entries(self, indexes: Iterable[int] | None = None) -> Iterator[ShardEntry]:
        """The entries of some batches, as far as they are done; of all that are, in order of index, if none are named."""
        chosen = self.committed() if indexes is None else indexes
        for url, found in storage.find_each(self.url(f"entries/{index:06d}.json") for index in chosen):
            if found is not None:
                yield ShardEntry.from_json(found, url)

    def committed(self) -> list[int]:
        """The indexes of all batches that are done, sorted."""
        return sorted(_index(name) for name in storage.each_name(self.url("entries")))

    # -- what was given up ---------------------------------------------------------------------------------------------

    def park(self, parked: ParkedBatch) -> None:
        storage.put(self.url(f"parked/{parked.index:06d}.json"), parked.to_json())

    def parked(self) -> list[ParkedBatch]:
        """All batches that were given up on, in order of index."""
        urls = [self.url(f"parked/{name}") for name in storage.names(self.url("parked"))]
        return [ParkedBatch.from_json(storage.read(url), url) for url in urls]

    def parked_batch(self, index: int) -> ParkedBatch | None:
        return self._found(ParkedBatch, f"parked/{index:06d}.json")

    # -- a job that somebody stopped ------------------------------------------------------------------------------------

    def cancel(self, job: Job | None) -> None:
        """Ask everybody to stop working on this job; what is committed stays. None for one that is not on record yet."""
        job_id = None if job is None else job.job_id
        storage.put(self.url("cancelled.json"), json.dumps({"job_id": job_id, "at": time.time()}).encode() + b"\n")

    def is_cancelled(self) -> bool:
        return storage.exists(self.url("cancelled.json"))

    def stop(self, job: Job, reason: str) -> None:
        """Put on record why nobody can go on with this job; the first reason stands."""
        storage.claim(self.url("stopped.json"), StoppedJob(job_id=job.job_id, reason=reason).to_json())

    def stopped(self) -> StoppedJob | None:
        return self._found(StoppedJob, "stopped.json")

    def is_over(self) -> bool:
        """Of a job that has ended: whether it still has, since nobody has asked for it again."""
        return self.is_sealed() or self.is_cancelled() or self.stopped() is not None or bool(storage.names(self.url("parked")))

    def take_up(self) -> None:
        """Forget what was given up, and that the job was cancelled or stopped, since somebody asks for it again."""
        for name in ("cancelled.json", "stopped.json"):
            storage.delete(self.url(name))
        for name in storage.names(self.url("parked")):
            storage.delete(self.url(f"parked/{name}"))

    # -- engines that were found wrong --------------------------------------------------------------------------------

    def disable_engine(self, disabled: DisabledEngine) -> None:
        """From here on nobody uses this engine for this job, and what it did is done again."""
        storage.put(self.url(f"disabled/{disabled.engine}.json"), disabled.to_json())

    def disabled_engine(self, name: str) -> DisabledEngine | None:
        return self._found(DisabledEngine, f"disabled/{name}.json")

    def disabled_engines(self) -> dict[str, DisabledEngine]:
        """All engines that were found wrong, by name."""
        urls = [self.url(f"disabled/{name}") for name in storage.names(self.url("disabled"))]
        found = [DisabledEngine.from_json(storage.read(url), url) for url in urls]
        return {disabled.engine: disabled for disabled in found}

    def revoke(self, index: int) -> None:
        """Take an entry back: the batch is to be done again."""
        storage.delete(self.url(f"entries/{index:06d}.json"))

    # -- the seal ------------------------------------------------------------------------------------------------------

    def is_sealed(self) -> bool:
        return storage.exists(self.url("manifest.json"))

    def totals(self) -> Totals | None:
        """What the sealed job holds, without its shards; None while it is not sealed."""
        if not self.is_sealed():
            return None
        with storage.open_input(self.url("manifest.json")) as file:
            return read_totals(file, self.url("manifest.json"))

    def manifest(self) -> Manifest | None:
        """The manifest; None while the job is not sealed."""
        return self._found(Manifest, "manifest.json")

    def seal(self, job: Job, report: Callable[[Totals], str] | None = None) -> Totals:
        """Sum up all entries, sweep away what killed writers left, write the format's own index, and last of all the manifest.

        Args:
            report: makes `report.html`, which is written before: nobody comes back for it once the job is sealed.

        Raises JobError if an entry is missing or belongs to another job: then nothing is sealed.
        """
        return self._seal(job, report, None)

    def _seal(self, job: Job, report: Callable[[Totals], str] | None, part: str | None) -> Totals:
        """The same, or the seal of a part: of an output that is split, each batch has entries in some of the parts."""
        # The totals stand before the table, so its rows wait on disk: each entry is read once, and what is summed is listed.
        with storage.scratch(self.output) as rows:
            counts, found, strange, complete, folders = Counts(), 0, 0, True, set[str]()
            for entry in self.entries():
                counts += entry.counts
                strange += entry.job_id != job.job_id
                complete = complete and entry.index == found
                found += 1
                folders |= folders_of(file.path for file in entry.files)
                rows.write(Shard.of(entry, job).model_dump_json().encode() + b"\n")
            if strange or (part is None and (not complete or found != job.batches)):
                raise JobError(
                    f"{self.output} cannot be sealed: {found} of {job.batches} batches have an entry, "
                    f"{strange} of them of another job. Run the same command again, or into an empty folder."
                )
            for folder in ("", "shards", "entries", "rejected", "metadata", "packing", "facts", "parked"):
                storage.sweep(self.url(folder))
            totals = totals_of(job, counts)
            if part is not None:
                totals = totals.model_copy(update={"partition": value_of(part)})
            if job.spec.partition_by is None or part is not None:
                made = FORMATS[job.spec.format].seal(totals, partial(_table, rows))
                written = tuple(storage.put(self.url(path), pieces, path) for path, pieces in made)
                totals = totals.model_copy(update={"folder_files": written})
            else:
                totals = totals.model_copy(update={"parts": self._seal_parts(job, counts, folders)})
            if report is not None:
                storage.put(self.url("report.html"), report(totals).encode())
            storage.put(self.url("manifest.json"), stream(totals, _table(rows)))
        return totals

    def _seal_parts(self, job: Job, counts: Counts, folders: set[str]) -> tuple[Part, ...]:
        """Seal the parts of an output that is split. Raises JobError if they do not add up to it."""
        sealed: list[Part] = []
        for folder in sorted(folders):
            part = Ledger(self.url(folder))
            for file in job.tokenizer.files:
                storage.put(part.url(file.path), storage.read(self.url(file.path)))
            totals = part._seal(job, None, folder)
            sealed.append(Part(path=folder, value=value_of(folder), documents=totals.documents, tokens=totals.tokens))
        if (sum(part.documents for part in sealed), sum(part.tokens for part in sealed)) != (counts.documents, counts.tokens):
            raise JobError(f"the parts of {self.output} do not add up to it. Run the same job into an empty folder.")
        return tuple(sealed)


def _table(rows: BinaryIO) -> Iterator[Shard]:
    """The manifest's table, from the file where its rows wait."""
    rows.seek(0)
    return map(Shard.model_validate_json, rows)


def _index(name: str) -> int:
    stem = name.removesuffix(".json")
    if not stem.isdecimal():
        raise JobError(f"entries/{name} is no entry of tokenmill. Move it out of the output folder.")
    return int(stem)
