"""`rejected/000042.jsonl`: the records of a batch that did not become token ids, and why; one JSON object per line.

Comes in: rejections, in source order. Goes out: the file, if there were any. Always holds: it is written as the batch goes on,
so a batch of nothing but damage takes no memory; nothing is visible under the final name before `publish`.
"""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import msgspec

from tokenmill import storage
from tokenmill.documents.contract import Rejection
from tokenmill.record import FileDigest


class RejectedFile:
    """The rejections of one batch, below an output folder."""

    def __init__(self, output: str, index: int) -> None:
        self._path = f"rejected/{index:06d}.jsonl"
        self._url = storage.join(output, self._path)
        self._file: storage.Writer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.discard()

    def append(self, rejections: list[Rejection]) -> None:
        """Add rejections."""
        if not rejections:
            return
        self._file = self._file or storage.writer(self._url)
        self._file.write(b"".join(msgspec.json.encode(rejection) + b"\n" for rejection in rejections))

    def publish(self) -> tuple[FileDigest, ...]:
        """Give the file its final name; no digest if there is no file."""
        return () if self._file is None else (self._file.publish(self._path),)


def rejections(output: str, index: int) -> Iterator[Rejection]:
    """The rejections of a committed batch, read back; none if it has no file."""
    url = storage.join(output, f"rejected/{index:06d}.jsonl")
    if storage.exists(url):
        with storage.open_input(url) as file:
            for line in file:
                yield msgspec.json.decode(line, type=Rejection)
