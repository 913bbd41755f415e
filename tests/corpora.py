"""The same documents in every source format and compression, written and read."""

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from warcio.warcwriter import WARCWriter

from tokenmill import documents
from tokenmill.documents import Rejection
from tokenmill.job import Cut, Span
from tokenmill.spec import JobSpec

TEXTS = ["Hello, world!", "你好\n世界", "", "tab\tand \u2028 separators", "😀" * 50, " ", "null \x00 inside", "x" * 10_000]


def spec(**changes: object) -> JobSpec:
    fixed = {"sources": (), "tokenizer": "t", "eos_token": None, "bos_token": None, "dtype": "int32", "batch_bytes": 1}
    return JobSpec(**{**fixed, "max_document_bytes": 1 << 20, **changes})


def jsonl(texts: list[str]) -> bytes:
    return b"".join(json.dumps({"id": i, "text": t}, ensure_ascii=i % 2 == 0).encode() + b"\n" for i, t in enumerate(texts))


def delimited(texts: list[str], delimiter: str) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows([("id", "text"), *enumerate(texts)])
    return file.getvalue().encode()


def wet(texts: list[str]) -> bytes:
    """As the library of those who archive the web writes it, each record with the id as its URI."""
    file = io.BytesIO()
    writer = WARCWriter(file, gzip=False)
    writer.write_record(writer.create_warcinfo_record("a.wet", {"software": "test"}))
    for i, text in enumerate(texts):
        writer.write_record(
            writer.create_warc_record(str(i), "conversion", payload=io.BytesIO(text.encode()), warc_content_type="text/plain")
        )
    return file.getvalue()


PLAIN: dict[str, Callable[[list[str]], bytes]] = {
    ".jsonl": jsonl,
    ".json": lambda texts: json.dumps([{"id": i, "text": t} for i, t in enumerate(texts)], indent=1).encode(),
    ".csv": lambda texts: delimited(texts, ","),
    ".tsv": lambda texts: delimited(texts, "\t"),
    ".txt": lambda texts: "<|doc|>".join([*texts, ""]).encode(),
    ".wet": wet,
}
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
COLUMNAR = [".parquet", ".arrow", ".feather", "-stream.arrow"]


def write(path: Path, texts: list[str]) -> None:
    """Write the texts in the format that the suffix names."""
    kind = path.name.removeprefix("corpus")
    if kind in COLUMNAR:
        table = pa.table({"id": list(range(len(texts))), "text": pa.array(texts, pa.string())})
        if kind == ".parquet":
            pq.write_table(table, path, row_group_size=3)
        else:
            new = pa.ipc.new_stream if kind.startswith("-stream") else pa.ipc.new_file
            options = pa.ipc.IpcWriteOptions(compression="zstd" if kind == ".feather" else None)
            with new(path, table.schema, options=options) as writer:
                writer.write_table(table, max_chunksize=3)
        return
    plain, compression = next((p, c) for p in PLAIN for c in COMPRESSED if p + c == kind)
    data, compress = PLAIN[plain](texts), COMPRESSED[compression]
    half = len(data) // 2  # two members, as appended logs have them
    path.write_bytes(compress(data[:half]) + compress(data[half:]))


SUFFIXES = [*(plain + c for plain in PLAIN for c in COMPRESSED), *COLUMNAR]


def read(path: Path, job: JobSpec, span: Span | None = None) -> tuple[list[str], list[Rejection], list[str | None]]:
    span = span or Span(url=str(path), cut=Cut.WHOLE, start=0, stop=0, bytes=path.stat().st_size, size=0, mark="")
    texts, rejected, ids = [], [], []
    for found in documents.read(span, job):
        assert len(found.text) == len(found.positions)
        named = job.id_field is not None and not path.name.startswith("corpus.txt")
        assert (found.ids is not None) == (named or path.name.startswith("corpus.wet"))
        assert found.text.type == pa.large_string()
        assert found.positions.tolist() == sorted(set(found.positions.tolist()))
        found.text.validate(full=True)
        texts += found.text.to_pylist()
        rejected += found.rejected
        ids += found.ids or []
    return texts, rejected, ids
