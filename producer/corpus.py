"""Sources to source files: paths, URLs, folders and globs in, a sorted list of files with size and modification mark out.

Reads listings and the footers of Parquet and Arrow files only. Always holds: the same files give the same corpus in the same
order, however they were named; a file that is named but cannot be read is an error, a file of another kind inside a folder is
passed over and counted.
"""

import glob
import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tokenmill import documents, storage
from tokenmill.errors import BatchError, UsageError
from tokenmill.job import JobSpec
from tokenmill.storage import FileStatus


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a corpus as the listing saw it."""

    url: str
    size: int
    mark: str


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
    return Corpus(tuple(SourceFile(url, files[url].size, files[url].mark) for url in sorted(files)), passed_over)


def pieces(file: SourceFile, spec: JobSpec) -> tuple[int, ...] | None:
    """The bytes of each row group or record batch of a file, None if it has none. Raises UsageError if it lacks a column."""
    try:
        found = documents.pieces(file.url, spec)
    except BatchError as error:
        raise UsageError(str(error)) from error
    return None if found is None else tuple(found)


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
