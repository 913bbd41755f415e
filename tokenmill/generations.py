"""A growing corpus: sealed outputs one after the other in one folder, and the chain that says which they are.

Comes in: the folder, and claims on its next number. Goes out: `generations/000017.json`, the records of the chain, and all that
is sealed as one manifest. Always holds: of many that begin a generation at once one has the number; a record names all that is
before it by the sha256 of its manifest, so the last one says what the folder holds, whatever becomes of a generation that was
passed over; nothing that was sealed is written again.

    OUTPUT/generations/000017.json          the chain, a record each
    OUTPUT/generations/000017-….parquet     the files that are new or changed
    OUTPUT/generations/000017.index.json    all that is sealed up to it, as one manifest, for readers in other languages
    OUTPUT/2026-11-24/                      a generation: an output like any other
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Literal

from tokenmill import storage
from tokenmill.errors import JobError, TokenmillError, UsageError
from tokenmill.ledger import Ledger
from tokenmill.manifest import Manifest
from tokenmill.record import VERSION, OutputFile, PlainName, Record
from tokenmill.spec import JobSpec
from tokenmill.union import Held, union

FOLDER = "generations"
#: What a generation keeps when its shards go.
RETIRED = "retired.json"


class Sealed(Record):
    """A generation that was sealed, as those after it name it."""

    number: int
    name: PlainName
    #: sha256 of its manifest.json.
    manifest: str
    documents: int
    tokens: int


class Generation(Record):
    """`generations/000017.json`: what a generation is, and what is before it."""

    version: Literal[1] = VERSION
    number: int
    #: Its folder.
    name: PlainName
    #: All that was sealed before, in order.
    previous: tuple[Sealed, ...]
    #: Those that were cancelled before: their files count as never taken.
    passed_over: tuple[PlainName, ...] = ()
    tokenizer_sha256: str
    spec: JobSpec
    #: Its source files, see `producer.incremental`.
    files: OutputFile
    #: Source files that no generation before holds, that one holds in another state, that one holds as they are, and those
    #: that one holds and that are no more.
    new: int
    changed: int
    unchanged: int
    gone: int

    def says(self) -> str:
        """One line for people."""
        said = [f"{self.new:,} new", f"{self.changed:,} changed", f"{self.unchanged:,} unchanged", f"{self.gone:,} gone"]
        return f"generation {self.number} {self.name}: files " + ", ".join(said)

    def warns(self) -> str:
        """What changed files mean, for people."""
        return f"changed: {self.changed:,} files, which earlier generations hold in an older state; both are read"


class Retired(Record):
    """`retired.json` in a generation's folder: its shards are gone, or about to go."""

    version: Literal[1] = VERSION
    #: Unix time.
    at: float


class Chain:
    """The generations of one output folder."""

    def __init__(self, output: str) -> None:
        self.output = storage.absolute(output)

    @classmethod
    def around(cls, generation: str) -> "Chain":
        """The chain that an output folder would be a generation of."""
        return cls(storage.absolute(generation).rpartition("/")[0])

    def url(self, number: int, ending: str) -> str:
        return storage.join(self.output, FOLDER, f"{number:06d}{ending}")

    def ledger(self, name: str) -> Ledger:
        """The output of a generation."""
        return Ledger(storage.join(self.output, name))

    # -- records -------------------------------------------------------------------------------------------------------

    def last(self) -> Generation | None:
        """The generation that began last; None where the folder holds none."""
        names = storage.each_name(storage.join(self.output, FOLDER))
        numbers = [int(name[:6]) for name in names if re.fullmatch(r"\d{6}\.json", name)]
        return self.record(max(numbers)) if numbers else None

    def record(self, number: int) -> Generation:
        url = self.url(number, ".json")
        return Generation.from_json(storage.read(url), url)

    def find(self, name: str, last: Generation | None) -> Generation | None:
        """The generation of a name, if there is one. Raises UsageError if it was cancelled and others went on without it."""
        if last is None or last.name == name:
            return last
        if name in last.passed_over:
            raise UsageError(
                f"generation {name} of {self.output} was cancelled, and those after it count its files as their own. "
                f"Choose another --generation."
            )
        number = next((sealed.number for sealed in last.previous if sealed.name == name), None)
        return None if number is None else self.record(number)

    def claim(self, generation: Generation) -> bool:
        """Begin a generation. False if its number is taken."""
        return storage.claim(self.url(generation.number, ".json"), generation.to_json())

    def abandon(self, ledger: Ledger) -> bool:
        """Cancel the last generation although its job is not on record. False if that is not what the ledger is of."""
        last = self.last()
        if last is None or self.ledger(last.name).output != ledger.output:
            return False
        ledger.cancel(None)
        return True

    # -- what is sealed ------------------------------------------------------------------------------------------------

    def sealed(self, last: Generation | None) -> tuple[Sealed, ...]:
        """All that is sealed, in order; nothing is opened but the last manifest."""
        if last is None:
            return ()
        url = self.ledger(last.name).url("manifest.json")
        found = storage.find(url)
        return last.previous if found is None else (*last.previous, sealed_as(last, Manifest.from_json(found, url), found))

    def is_retired(self, name: str) -> bool:
        return storage.exists(self.ledger(name).url(RETIRED))

    def held(self) -> Iterator[Held]:
        """All sealed generations whose shards are here. Raises JobError if one is not what those after it say."""
        for sealed in self.sealed(self.last()):
            if self.is_retired(sealed.name):
                continue
            ledger = self.ledger(sealed.name)
            url = ledger.url("manifest.json")
            found = storage.find(url)
            if found is None or hashlib.sha256(found).hexdigest() != sealed.manifest:
                what = "is missing" if found is None else "is not what later generations say"
                raise JobError(f"{url} {what}. Run: tokenmill verify {self.output}")
            yield Held(sealed.number, sealed.name, sealed.manifest, ledger.output, Manifest.from_json(found, url))

    def findings(self) -> Iterator[str]:
        """What is wrong with the chain itself: records that name other manifests or files than those that stand here."""
        last = self.last()
        before: tuple[Sealed, ...] = ()
        for sealed in self.sealed(last):
            try:
                record, digest = self.record(sealed.number), storage.find(self.ledger(sealed.name).url("manifest.json"))
            except TokenmillError as error:
                yield str(error)
                continue
            if digest is None or hashlib.sha256(digest).hexdigest() != sealed.manifest:
                yield f"{sealed.name}/manifest.json is missing or not what the chain says"
            if (record.name, record.previous) != (sealed.name, before):
                yield f"{FOLDER}/{sealed.number:06d}.json does not name the generations before it"
            files = storage.find(storage.join(self.output, record.files.path))
            if files is None or hashlib.sha256(files).hexdigest() != record.files.sha256:
                yield f"{record.files.path} is missing or not what the chain says"
            before = (*before, sealed)

    # -- what may go ---------------------------------------------------------------------------------------------------

    def retire(self, keep: int, at: float) -> list[str]:
        """Remove the shards of all sealed generations but the newest; what says which files they hold stays.

        Each is claimed as retired first, so that nobody reads half of one; who is killed after that is made good by the next.

        Args:
            keep: how many stay.
            at: Unix time.

        Returns their names.
        """
        gone = [sealed.name for sealed in self.sealed(self.last())][:-keep]
        for name in gone:
            ledger = self.ledger(name)
            storage.claim(ledger.url(RETIRED), Retired(at=at).to_json())
            manifest = ledger.manifest()
            if manifest is not None:
                files = [*manifest.folder_files, *(file for shard in manifest.shards for file in shard.files)]
                for file in files:
                    storage.delete(ledger.url(file.path))
        return gone

    # -- the index -----------------------------------------------------------------------------------------------------

    def write_index(self, number: int) -> None:
        """Put down what is sealed up to a generation, as one manifest, unless that stands there."""
        url = self.url(number, ".index.json")
        if storage.exists(url):
            return
        held = [one for one in self.held() if one.number <= number]
        if held:
            storage.claim(url, union(held).to_json())


def sealed_as(generation: Generation, manifest: Manifest, content: bytes) -> Sealed:
    """A generation as those after it name it."""
    return Sealed(
        number=generation.number,
        name=generation.name,
        manifest=hashlib.sha256(content).hexdigest(),
        documents=manifest.documents,
        tokens=manifest.tokens,
    )
