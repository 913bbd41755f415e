"""Plain text: a file is one document, unless a separator cuts it into several."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from tokenmill.documents.compression import Blocks
from tokenmill.documents.contract import EXCERPT, Documents, Reason, Rejection, excerpt
from tokenmill.documents.records import BYTE_ORDER_MARK, RawRecord, stretches
from tokenmill.job import JobSpec, Span


class TextReader:
    """Reads .txt, plain or compressed."""

    def read(self, span: Span, spec: JobSpec) -> Iterator[Documents]:
        if spec.separator is None:
            yield _documents([_whole(span, spec.max_document_bytes)], span.url, span.bytes)
        else:
            separator, limit = spec.separator.encode(), spec.max_document_bytes
            for stretch in stretches(span, separator, limit):
                yield _documents(stretch.records(separator, limit), span.url, stretch.consumed)


def _whole(span: Span, limit: int) -> RawRecord:
    parts, size = [], 0
    for block in Blocks(span):
        parts.append(block)
        size += len(block)
        if size > limit:
            return RawRecord(0, parts[0][: 4 * EXCERPT], too_long=True)
    return RawRecord(0, b"".join(parts).removeprefix(BYTE_ORDER_MARK))


def _documents(found: Iterable[RawRecord], url: str, consumed: int) -> Documents:
    texts: list[str] = []
    positions: list[int] = []
    rejected: list[Rejection] = []
    for record in found:
        reason = Reason.TOO_LONG if record.too_long else None
        if reason is None:
            try:
                texts.append(record.data.decode("utf-8"))
                positions.append(record.position)
            except UnicodeDecodeError:
                reason = Reason.INVALID_UTF8
        if reason is not None:
            shown = excerpt(record.data)
            rejected.append(Rejection(file=url, unit="byte", position=record.position, reason=reason, id=None, excerpt=shown))
    return Documents(
        file=url,
        text=pa.array(texts, pa.large_string()),
        positions=np.array(positions, np.int64),
        unit="byte",
        ids=None,
        rejected=rejected,
        consumed=consumed,
    )
