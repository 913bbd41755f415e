"""Text in web archives: the `conversion` records of WET files, one document each.

Layout (ISO 28500, WARC 1.0 and 1.1): `WARC/1.x`, header lines, an empty line, `Content-Length` bytes, two empty lines. Fields
are the names of headers (`WARC-Date`); the id is `--id-field`'s header, else WARC-Target-URI, else WARC-Record-ID. Records of
web pages (`response`) hold HTML, which is no text: a file of nothing else is an error that says so. Members of .gz need no
attention: they are one stream here, so that an archive that is cut off is noticed.
"""

from collections.abc import Iterator

from tokenmill.documents.compression import Blocks
from tokenmill.documents.contract import COLUMN_BYTES, EXCERPT, Documents, Reason
from tokenmill.documents.fields import Fields
from tokenmill.documents.gathered import Gathered
from tokenmill.errors import BatchError
from tokenmill.job import Span
from tokenmill.spec import JobSpec

#: Longest header of a record; nobody writes one of a hundredth of that.
HEADER = 1 << 20
NAMES = ("warc-target-uri", "warc-record-id")


class WarcReader:
    """Reads .wet and .warc, plain or compressed."""

    def read(self, span: Span, spec: JobSpec) -> Iterator[Documents]:
        fields, blocks = Fields.of(spec), Blocks(span)
        stream, limit = Stream(blocks, span.url), spec.max_document_bytes
        gathered, conversions, pages = Gathered(span.url, fields, named=True), 0, 0
        while header := stream.header():
            kind, length = header.get("warc-type", ""), int(header["content-length"])
            if kind == "conversion":
                body, whole = stream.body(length, limit)
                _add(gathered, stream.position, header, body, whole, fields)
                conversions += 1
            else:
                stream.body(length, 0)
                pages += kind == "response"
            if gathered.size >= COLUMN_BYTES:
                yield gathered.documents(min(blocks.consumed, span.bytes))
                gathered = Gathered(span.url, fields, named=True)
        if pages and not conversions:
            raise BatchError(
                f"{span.url} holds {pages} web pages and no text (no `conversion` records). Extract their text, or take "
                f"the .wet files of the same crawl."
            )
        yield gathered.documents(span.bytes)


class Stream:
    """The records of a WARC file."""

    def __init__(self, blocks: Blocks, url: str) -> None:
        self._blocks, self._url = iter(blocks), url
        self._data, self._at, self._base = b"", 0, 0
        #: Where the record under way begins.
        self.position = 0

    def header(self) -> dict[str, str]:
        """The next record's header, names in small letters; nothing at the end of the file. Raises BatchError if it is none."""
        while self._data[self._at : self._at + 2] == b"\r\n" or (len(self._data) - self._at < 2 and self._more()):
            if self._data[self._at : self._at + 2] == b"\r\n":
                self._at += 2
        self.position = self._base + self._at
        if self._at == len(self._data):
            return {}
        while (end := self._data.find(b"\r\n\r\n", self._at)) < 0 and len(self._data) - self._at <= HEADER:
            if not self._more():
                break
        lines = self._data[self._at : end].decode("utf-8", "replace").split("\r\n")
        found = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if not lines[0].startswith("WARC/"):
            raise BatchError(f"{self._url} is no WARC: no record begins at byte {self.position}. Fetch or leave it.")
        if end < 0:
            raise self._cut_off()
        if not found.get("content-length", "").isdecimal():
            raise BatchError(f"{self._url}: the record at byte {self.position} has no Content-Length. Leave the file out.")
        self._at = end + 4
        return found

    def body(self, length: int, limit: int) -> tuple[bytes, bool]:
        """The content of a record, and whether it is whole: over the limit it is its beginning only."""
        while length <= limit and len(self._data) - self._at < length:
            if not self._more():
                raise self._cut_off()
        if length <= limit:
            self._at += length
            return self._data[self._at - length : self._at], True
        head = self._data[self._at :][: min(length, 4 * EXCERPT)]
        while (left := length - (len(self._data) - self._at)) > 0:
            self._at, length = len(self._data), left
            if not self._more():
                raise self._cut_off()
        self._at += length
        return head, False

    def _more(self) -> bool:
        """Read on; False at the end of the file."""
        block = next(self._blocks, b"")
        self._base += self._at
        self._data, self._at = self._data[self._at :] + block, 0
        return bool(block)

    def _cut_off(self) -> BatchError:
        return BatchError(
            f"{self._url} is cut off: it ends in the middle of the record at byte {self.position}. "
            f"Fetch it again or leave it out, then run the same command again."
        )


def _add(gathered: Gathered, position: int, header: dict[str, str], body: bytes, whole: bool, fields: Fields) -> None:
    """Add a record's text, or say why it is none."""
    name = next((header[key] for key in ((fields.id or "").lower(), *NAMES) if key in header), None)
    if not header.get("content-type", "text/plain").startswith("text/plain"):
        gathered.refuse(position, Reason.NOT_TEXT, name, body[: 4 * EXCERPT])
    elif not whole:
        gathered.refuse(position, Reason.TOO_LONG, name, body)
    else:
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            gathered.refuse(position, Reason.INVALID_UTF8, name, body[: 4 * EXCERPT])
            return
        gathered.add(position, len(body), text, name, [header.get(field.lower()) for field in fields.metadata])
