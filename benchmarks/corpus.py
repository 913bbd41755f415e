"""The text that a benchmark runs on: a folder of JSON Lines with a `text` field, counted, repeated and put into other formats.

Comes in: that folder. Goes out: a `Corpus` with the bytes of text that every rate is stated in, and folders in a scratch
directory. Always holds: a repetition adds no bytes to the disk where hard links work, so the page cache holds all of it.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import zstandard

#: Rows of a Parquet row group; what the Hugging Face hub's own converter writes.
ROW_GROUP = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A folder of files and what is in them."""

    folder: Path
    documents: int
    #: UTF-8 bytes of all texts, without JSON's escapes and quotes: the unit of every rate.
    text_bytes: int

    def times(self, copies: int, scratch: Path) -> "Corpus":
        """The same files several times over, under distinct names."""
        scratch.mkdir(parents=True)
        for path in _files(self.folder):
            stem, _, suffix = path.name.partition(".")
            for copy in range(copies):
                _link(path, scratch / f"{stem}-{copy:04d}.{suffix}")
        return Corpus(folder=scratch, documents=self.documents * copies, text_bytes=self.text_bytes * copies)

    def as_zstd(self, scratch: Path) -> "Corpus":
        """Each file compressed, as one frame at zstd's usual level."""
        scratch.mkdir(parents=True)
        for path in _files(self.folder):
            with path.open("rb") as plain, (scratch / f"{path.name}.zst").open("wb") as packed:
                zstandard.ZstdCompressor(level=3).copy_stream(plain, packed, size=path.stat().st_size)
        return Corpus(folder=scratch, documents=self.documents, text_bytes=self.text_bytes)

    def as_parquet(self, scratch: Path) -> "Corpus":
        """Each file as a Parquet file with one column, `text`."""
        scratch.mkdir(parents=True)
        for path in _files(self.folder):
            table = pa.table({"text": pa.array(texts(path), pa.large_string())})
            pyarrow.parquet.write_table(table, scratch / f"{path.stem}.parquet", row_group_size=ROW_GROUP)
        return Corpus(folder=scratch, documents=self.documents, text_bytes=self.text_bytes)

    def described(self) -> str:
        """For a table's caption."""
        return f"{self.documents:,} documents, {self.text_bytes / 1e6:,.1f} MB of text"


def survey(folder: Path) -> Corpus:
    """Count what is in a folder of JSON Lines; reads it all, which also puts it into the page cache."""
    documents = size = 0
    for path in _files(folder):
        for text in texts(path):
            documents += 1
            size += len(text.encode())
    if not documents:
        raise SystemExit(f"{folder} holds no .jsonl file with documents")
    return Corpus(folder=folder, documents=documents, text_bytes=size)


def texts(path: Path) -> Iterator[str]:
    """The documents of one JSON Lines file."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["text"]


def columns(folder: Path, column_bytes: int, most: int | None = None) -> list[pa.LargeStringArray]:
    """A folder's documents as Arrow columns of about `column_bytes`, as a worker would hand them to an engine.

    Args:
        folder: JSON Lines.
        column_bytes: bytes of text in a column.
        most: bytes of text to take in all, the same share from the beginning of each file.
    """
    files = _files(folder)
    share = 1.0 if most is None else min(1.0, most / sum(path.stat().st_size for path in files))
    made: list[pa.LargeStringArray] = []
    held: list[str] = []
    size = 0
    for path in files:
        left = share * path.stat().st_size
        for text in texts(path):
            if left <= 0:
                break
            length = len(text.encode())
            held.append(text)
            size, left = size + length, left - length
            if size >= column_bytes:
                made.append(pa.array(held, pa.large_string()))
                held, size = [], 0
    return [*made, pa.array(held, pa.large_string())] if held else made


def text_size(column: pa.LargeStringArray) -> int:
    """Bytes of text in a column, without its offsets."""
    return int(pc.sum(pc.binary_length(column)).as_py() or 0)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".jsonl", ".zst", ".parquet"))


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
