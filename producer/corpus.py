"""Sources to source files: paths, URLs, folders and globs in, a sorted list of files with size and modification mark out.

Reads listings, footers of Parquet and Arrow files, first rows of CSV, and where frames of archives lie. Always holds: the
same files give the same corpus in the same order, however they were named; a file that is named but cannot be read is an
error, a file of another kind inside a folder is passed over and counted.
"""

import glob
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from producer import sourcelist
from producer.selection import Selection
from tokenmill import documents, storage
from tokenmill.documents import Frames
from tokenmill.errors import BatchError, UsageError
from tokenmill.job import Cut
from tokenmill.spec import JobSpec
from tokenmill.storage import FileStatus
from tokenmill.storage.remote import AT_ONCE, fixed_part

EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a corpus as the listing saw it."""

    url: str
    size: int
    mark: str
    #: Whether any stretch of it can be read by itself.
    ranged: bool = True
    #: Its path below the folder that was named: what stays the same where the corpus lies elsewhere.
    name: str = ""


@dataclass(frozen=True, slots=True)
class Corpus:
    """All files of a job, sorted by URL."""

    files: tuple[SourceFile, ...]
    #: Files in folders that were passed over, by suffix.
    passed_over: Counter[str] = field(default_factory=Counter)
    #: Files that `--include` and `--exclude` left out.
    left_out: int = 0
    #: What is new of a corpus that grows, which may be nothing.
    grows: bool = False

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)

    def fingerprint(self) -> str:
        """sha256 over names, sizes and modification marks: changes when any file may have."""
        lines = "".join(f"{file.url}\t{file.size}\t{file.mark}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()


def absolute(source: str) -> str:
    """A source as it goes into the job: the same from every working directory."""
    return sourcelist.absolute(source) if sourcelist.is_list(source) else storage.absolute(source)


def collect(sources: Iterable[str], selection: Selection = EVERYTHING) -> Corpus:
    """List the files that the (absolute) sources name. Raises UsageError if one names nothing, or nothing readable."""
    files: dict[str, SourceFile] = {}
    passed_over: Counter[str] = Counter()
    with ThreadPoolExecutor(AT_ONCE, "listing") as pool:
        for found, passed in pool.map(_listed, _each(sources)):
            passed_over += passed
            for file in found:
                before = files.get(file.url)
                if before is None or len(file.name) < len(before.name):
                    files[file.url] = file
    kept = tuple(files[url] for url in sorted(files) if selection.takes(url, files[url].name))
    if not kept:
        raise UsageError(f"of {len(files):,} files, {selection.says()} leaves none. Name others.")
    for file in kept:
        documents.format_of(file.url)
    return Corpus(kept, passed_over, len(files) - len(kept))


def _each(sources: Iterable[str]) -> Iterator[tuple[str, str]]:
    """All sources, those in lists too, each with the place that names it."""
    for source in sources:
        if sourcelist.is_list(source):
            yield from sourcelist.sources(source)
        else:
            yield source, ""


def _listed(named: tuple[str, str]) -> tuple[list[SourceFile], Counter[str]]:
    """The files of one source, and those in it that were passed over."""
    source, place = named
    passed_over: Counter[str] = Counter()
    try:
        source = storage.pinned(source)
        found = _expand(source, passed_over)
        if not found:
            kinds = ", ".join(f"{n} {suffix}" for suffix, n in passed_over.most_common(5))
            raise UsageError(f"{source} holds no file that can be read" + (f"; passed over: {kinds}." if kinds else "."))
    except (BatchError, UsageError) as error:
        raise UsageError(f"{place}: {error}" if place else str(error)) from error
    base = source if source not in found else source.rpartition("/")[0]
    if not all(url.startswith(f"{base.rstrip('/')}/") for url in found):  # a glob
        base = fixed_part(source).rpartition("/")[0]
    names = {url: url[len(base) :].lstrip("/") for url in found}
    return [SourceFile(url, status.size, status.mark, status.ranged, names[url]) for url, status in found.items()], passed_over


def pieces(file: SourceFile, spec: JobSpec) -> tuple[int, ...] | None:
    """The bytes of each row group or record batch of a file, None if it has none. Raises UsageError if it lacks a column."""
    if not file.ranged and documents.cut_of(file.url, spec) in (Cut.ROW_GROUPS, Cut.RECORD_BATCHES):
        kind = documents.format_of(file.url).suffix
        raise UsageError(f"{file.url}: its server serves no ranges, and {kind} needs them. Copy it to a folder or a bucket.")
    try:
        found = documents.pieces(file.url, spec)
    except BatchError as error:
        raise UsageError(str(error)) from error
    return None if found is None else tuple(found)


def frames(file: SourceFile, spec: JobSpec) -> Frames | None:
    """Where an archive can be begun in its middle; None if nowhere, or if that is not known.

    Archives far away are not looked through, and none is for a sample, whose choice is the same wherever the corpus lies.
    """
    if not file.ranged or documents.cut_of(file.url, spec) is not Cut.FRAMES:
        return None
    try:
        return documents.frames(file.url, file.size, near=spec.sample is None and storage.is_local(file.url))
    except BatchError as error:
        raise UsageError(str(error)) from error


def _expand(source: str, passed_over: Counter[str]) -> dict[str, FileStatus]:
    """The files that one source names."""
    if storage.is_folder(source):
        found = dict(storage.walk(source))
        left_out = documents.left_out(found)
        for url in [url for url in found if url in left_out or not documents.is_source(url)]:
            passed_over[PurePosixPath(url).suffix or PurePosixPath(url).name] += 1
            del found[url]
        return found
    alone = storage.status(source)
    if alone is not None:
        return {source: alone}
    if glob.has_magic(source):
        return dict(storage.matching(source))
    raise UsageError(f"{source}: there is no such file or folder, and it is no glob.")
