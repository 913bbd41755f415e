"""Plain text: a file is one document, unless a separator cuts it into several."""

from collections.abc import Iterable, Iterator

from tokenmill.documents.compression import Blocks
from tokenmill.documents.contract import EXCERPT, Documents, Reason
from tokenmill.documents.fields import Fields
from tokenmill.documents.gathered import Gathered
from tokenmill.documents.records import BYTE_ORDER_MARK, RawRecord, stretches
from tokenmill.job import Span
from tokenmill.spec import JobSpec


class TextReader:
    """Reads .txt, plain or compressed."""

    def read(self, span: Span, spec: JobSpec) -> Iterator[Documents]:
        fields, limit = Fields.of(spec), spec.max_document_bytes
        if spec.separator is None:
            yield _documents([_whole(span, limit)], span.url, span.bytes, fields)
        else:
            separator = spec.separator.encode()
            for stretch in stretches(span, separator, limit):
                yield _documents(stretch.records(separator, limit), span.url, stretch.consumed, fields)


def _whole(span: Span, limit: int) -> RawRecord:
    parts, size = [], 0
    for block in Blocks(span):
        parts.append(block)
        size += len(block)
        if size > limit:
            return RawRecord(0, parts[0][: 4 * EXCERPT], too_long=True)
    return RawRecord(0, b"".join(parts).removeprefix(BYTE_ORDER_MARK))


def _documents(found: Iterable[RawRecord], url: str, consumed: int, fields: Fields) -> Documents:
    gathered = Gathered(url, fields, named=False)
    for record in found:
        if record.too_long:
            gathered.refuse(record.position, Reason.TOO_LONG, None, record.data)
            continue
        try:
            text = record.data.decode("utf-8")
        except UnicodeDecodeError:
            gathered.refuse(record.position, Reason.INVALID_UTF8, None, record.data)
        else:
            gathered.add(record.position, len(record.data), text, None, [None] * len(fields.metadata))
    return gathered.documents(consumed)
