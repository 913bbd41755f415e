"""Sources to source files: paths, folders and globs in, a sorted list of files with size and modification mark out.

Reads listings and Parquet footers only. Always holds: the same files give the same corpus in the same order, however they were
named; a file that is named but cannot be read is an error, a file of another kind inside a folder is passed over and counted.
"""

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tokenmill import documents, storage
from tokenmill.errors import TokenmillError, UsageError
from tokenmill.job import Cut, JobSpec


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
    return str(storage.local_path(source))


def collect(sources: Iterable[str]) -> Corpus:
    """List all files that the (absolute) sources name. Raises UsageError if one names nothing, or nothing readable."""
    urls: set[str] = set()
    passed_over: Counter[str] = Counter()
    for source in sources:
        found = _expand(source, passed_over)
        if not found:
            kinds = ", ".join(f"{n} {suffix}" for suffix, n in passed_over.most_common(5))
            raise UsageError(f"{source} holds no file that can be read" + (f"; passed over: {kinds}." if kinds else "."))
        urls.update(found)
    files = []
    for url in sorted(urls):
        documents.format_of(url)
        status = storage.status(url)
        if status is None:
            raise UsageError(f"{url}: there is no such file.")
        files.append(SourceFile(url, status.size, status.mark))
    return Corpus(tuple(files), passed_over)


def row_groups(file: SourceFile, spec: JobSpec) -> tuple[int, ...] | None:
    """The bytes of each row group of a Parquet file, None for other files. Raises UsageError if it lacks the text column."""
    if documents.cut_of(file.url, spec) is not Cut.ROW_GROUPS:
        return None
    try:
        return tuple(documents.parquet_row_groups(file.url, spec.text_field))
    except TokenmillError as error:
        raise UsageError(str(error)) from error


def _expand(source: str, passed_over: Counter[str]) -> list[str]:
    path = Path(source)
    if path.is_dir():
        found = []
        for folder, folders, names in os.walk(path, onerror=_unreadable, followlinks=True):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                if name.startswith("."):
                    continue
                if documents.is_source(name):
                    found.append(os.path.join(folder, name))
                else:
                    passed_over[Path(name).suffix or name] += 1
        return found
    if path.exists():
        return [source]
    if glob.has_magic(source):
        return [match for match in glob.glob(source, recursive=True) if os.path.isfile(match)]
    raise UsageError(f"{source}: there is no such file or folder, and it is no glob.")


def _unreadable(error: OSError) -> None:
    raise UsageError(f"{error.filename} cannot be read: {error.strerror}. Make it readable or name other sources.") from error
