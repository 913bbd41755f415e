"""Sources to source files: paths, URLs, folders and globs in, a sorted list of files with size and modification mark out.

Reads listings and Parquet footers only. Always holds: the same files give the same corpus in the same order, however they were
named; a file that is named but cannot be read is an error, a file of another kind inside a folder is passed over and counted.
"""

import glob
import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tokenmill import documents, storage
from tokenmill.errors import BatchError, UsageError
from tokenmill.job import Cut, JobSpec
from tokenmill.storage import FileStatus


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a corpus as the listing saw it."""

    url: str
    size: int
    mark: str
    #: Whether any stretch of it can be read by itself.
    ranged: bool = True


@dataclass(frozen=True, slots=True)
class Corpus:
    """All files of a job, sorted by URL."""

    files: tuple[SourceFile, ...]
    #: Files in folders that were passed over, by suffix.
    passed_over: Counter[str] = field(default_factory=Counter)

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)

    def fingerprint(self) -> str:
        """sha256 over names, sizes and modification marks: changes when any file may have."""
        lines = "".join(f"{file.url}\t{file.size}\t{file.mark}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()


def absolute(source: str) -> str:
    """A source as it goes into the job: the same from every working directory."""
    return storage.absolute(source)


def collect(sources: Iterable[str]) -> Corpus:
    """List all files that the (absolute) sources name. Raises UsageError if one names nothing, or nothing readable."""
    files: dict[str, FileStatus] = {}
    passed_over: Counter[str] = Counter()
    for source in sources:
        try:
            found = _expand(source, passed_over)
        except BatchError as error:
            raise UsageError(str(error)) from error
        if not found:
            kinds = ", ".join(f"{n} {suffix}" for suffix, n in passed_over.most_common(5))
            raise UsageError(f"{source} holds no file that can be read" + (f"; passed over: {kinds}." if kinds else "."))
        files.update(found)
    for url in sorted(files):
        documents.format_of(url)
    listed = (SourceFile(url, found.size, found.mark, found.ranged) for url, found in sorted(files.items()))
    return Corpus(tuple(listed), passed_over)


def row_groups(file: SourceFile, spec: JobSpec) -> tuple[int, ...] | None:
    """The bytes of each row group of a Parquet file, None for other files. Raises UsageError if it lacks the text column."""
    if documents.cut_of(file.url, spec) is not Cut.ROW_GROUPS:
        return None
    if not file.ranged:
        raise UsageError(f"{file.url}: its server serves no ranges, and Parquet needs them. Copy it to a folder or a bucket.")
    try:
        return tuple(documents.parquet_row_groups(file.url, spec.text_field))
    except BatchError as error:
        raise UsageError(str(error)) from error


def _expand(source: str, passed_over: Counter[str]) -> dict[str, FileStatus]:
    """The files that one source names."""
    source = storage.pinned(source)
    if storage.is_folder(source):
        found = {}
        for url, status in storage.walk(source):
            if documents.is_source(url):
                found[url] = status
            else:
                passed_over[PurePosixPath(url).suffix or PurePosixPath(url).name] += 1
        return found
    alone = storage.status(source)
    if alone is not None:
        return {source: alone}
    if glob.has_magic(source):
        return dict(storage.matching(source))
    raise UsageError(f"{source}: there is no such file or folder, and it is no glob.")
