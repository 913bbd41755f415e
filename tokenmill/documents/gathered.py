"""Texts gathered one by one into a column, for the formats whose records Python itself has to look at."""

import numpy as np
import pyarrow as pa

from tokenmill.documents.contract import Documents, Reason, Rejection, excerpt
from tokenmill.documents.fields import Fields


class Gathered:
    """Documents and rejections of one file, in order."""

    def __init__(self, url: str, fields: Fields, *, named: bool) -> None:
        """Begin with nothing; `named` says whether these documents have ids."""
        self._url, self._fields, self._named = url, fields, named
        self._texts: list[str] = []
        self._positions: list[int] = []
        self._ids: list[str | None] = []
        self._metadata: list[list[str | None]] = []
        self._rejected: list[Rejection] = []
        #: Bytes of the records.
        self.size = 0

    def add(self, position: int, size: int, text: str, name: str | None, metadata: list[str | None]) -> None:
        """Add a document: where its record begins, how long that is, what it says."""
        self._texts.append(text)
        self._positions.append(position)
        self._ids.append(name)
        self._metadata.append(metadata)
        self.size += size

    def refuse(self, position: int, reason: Reason, name: str | None, record: bytes) -> None:
        """Add a record that is no document."""
        shown = excerpt(record)
        self._rejected.append(Rejection(file=self._url, unit="byte", position=position, reason=reason, id=name, excerpt=shown))
        self.size += len(record)

    def documents(self, consumed: int) -> Documents:
        """All of it as a column."""
        return Documents(
            file=self._url,
            text=pa.array(self._texts, pa.large_string()),
            positions=np.array(self._positions, np.int64),
            unit="byte",
            ids=self._ids if self._named else None,
            rejected=self._rejected,
            consumed=consumed,
            metadata=self._fields.columns(self._metadata),
        )
