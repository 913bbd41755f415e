"""Every source format gives the same documents, reports the same damage, and refuses what it cannot read."""

import bz2
import csv
import gzip
import io
import json
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from warcio.warcwriter import WARCWriter

from tokenmill import documents, storage
from tokenmill.documents import Reason, Rejection, compression
from tokenmill.errors import BatchError
from tokenmill.job import Cut, JobSpec, Span

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


SUFFIXES = [*(plain + c for plain in PLAIN for c in COMPRESSED), *COLUMNAR]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_documents_from_every_format(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"corpus{suffix}"
    write(path, TEXTS)
    texts, rejected, ids = read(path, spec(separator="<|doc|>", id_field="id"))
    assert texts == TEXTS
    assert rejected == []
    if ".txt" not in suffix:
        assert ids == [str(i) for i in range(len(TEXTS))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=60), min_size=1, max_size=12))
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst", ".json", ".csv", ".tsv", ".wet", ".parquet", ".arrow"])
def test_any_text_survives_any_format(suffix: str, texts: list[str], tmp_path: Path) -> None:
    path = tmp_path / f"corpus{suffix}"
    write(path, texts)
    assert read(path, spec())[0] == texts


@pytest.mark.parametrize("suffix", [plain + c for plain in PLAIN for c in COMPRESSED if c])
@pytest.mark.parametrize("damage", ["cut off", "flipped"])
def test_a_damaged_archive_is_an_error_and_no_quiet_end(suffix: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / f"corpus{suffix}"
    write(path, TEXTS * 50)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3] if damage == "cut off" else b"\x00\x01\x02\x03" + data[4:])
    with pytest.raises(BatchError, match="cut off" if damage == "cut off" else "damaged"):
        read(path, spec())


BAD_LINES: list[tuple[bytes, Reason]] = [
    (b'{"text": "a"', Reason.BROKEN_JSON),
    (b"not json", Reason.BROKEN_JSON),
    (b'{"text": "a"} {"text": "b"}', Reason.BROKEN_JSON),
    (b'{"text": ' + b"[" * 5000 + b"]" * 5000 + b"}", Reason.BROKEN_JSON),
    (b'["text"]', Reason.NOT_AN_OBJECT),
    (b'{"other": "a"}', Reason.MISSING_FIELD),
    (b'{"text": null}', Reason.NULL_TEXT),
    (b'{"text": 12345}', Reason.NOT_TEXT),
    (b'{"text": ["a"]}', Reason.NOT_TEXT),
    (b'{"text": "caf\xe9"}', Reason.INVALID_UTF8),
    (b'{"text": "\xed\xa0\x80"}', Reason.INVALID_UTF8),
    (b'{"text": "\\ud800"}', Reason.LONE_SURROGATE),
    (b'{"text": "' + b"x" * (1 << 20) + b'"}', Reason.TOO_LONG),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES, ids=[f"{i}-{r}" for i, (_, r) in enumerate(BAD_LINES)])
def test_one_bad_line_is_rejected_and_its_neighbours_kept(line: bytes, reason: Reason, tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(jsonl(["before"]) + line + b"\n" + jsonl(["after"]))
    texts, (rejection,), _ = read(path, spec())
    assert texts == ["before", "after"]
    assert rejection.reason is reason
    assert rejection.position == len(jsonl(["before"]))
    assert rejection.file == str(path)
    assert rejection.excerpt == line.decode("utf-8", "replace")[:200]


GOOD_LINES = [
    b'{"text": "a", "score": NaN}',
    b'{"text": "a", "other": "\\ud800"}',
    b'{"text": "x", "text": "a"}',
    b'{"text": "a"}\r',
    b'  {"text": "a"}  ',
    b'{"text": "\\u0061"}',
]


@pytest.mark.parametrize("line", GOOD_LINES)
def test_only_the_text_field_has_to_be_sound(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\n\n   \n" + line)
    texts, rejected, _ = read(path, spec())
    assert (texts, rejected) == (["a", "a"], [])


@pytest.mark.parametrize(
    "crossing",
    [
        [b'{"text": "a"}{"text": "b"}', b'{"text":', b'"c"}'],
        [b'{"text": "a"} {"text": "b"}', b'{"more": {}', b', "text": "c"}'],
        [b'{"text": "a"}{"text": "b"}', b'{"text": "c", "more": [{}', b",{}]}"],
    ],
)
def test_objects_that_do_not_stand_on_a_line_each_are_rejected_however_they_add_up(
    crossing: list[bytes], tmp_path: Path
) -> None:
    """A parser that takes many lines at once sees three sound objects here, on three lines."""
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(jsonl(["before"]) + b"\n".join(crossing) + b"\n" + jsonl(["after"]))
    texts, rejected, _ = read(path, spec())
    assert texts == ["before", "after"]
    assert [r.reason for r in rejected] == [Reason.BROKEN_JSON] * 3


def test_lines_read_one_by_one_and_at_once_are_the_same_documents(tmp_path: Path) -> None:
    """One blank line sends a block the slow way; texts, positions and ids must not show it."""
    path, texts = tmp_path / "corpus.jsonl", [f"text {i} é中😀\n" * (i % 7) for i in range(500)]
    path.write_bytes(jsonl(texts))
    span = Span(url=str(path), cut=Cut.WHOLE, start=0, stop=0, bytes=path.stat().st_size, size=0, mark="")
    (quick,) = documents.read(span, spec(id_field="id"))
    path.write_bytes(jsonl(texts) + b" \n")
    (slow,) = documents.read(span, spec(id_field="id"))
    assert quick.text.equals(slow.text)
    assert quick.text.to_pylist() == texts
    assert quick.positions.tolist() == slow.positions.tolist()
    assert quick.ids == slow.ids == [str(i) for i in range(500)]


def test_damage_in_text_files(tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes("café".encode("latin-1"))
    texts, (rejection,), _ = read(path, spec())
    assert (texts, rejection.reason, rejection.position) == ([], Reason.INVALID_UTF8, 0)
    path.write_bytes(b"one<|doc|>caf\xe9<|doc|>three")
    texts, (rejection,), _ = read(path, spec(separator="<|doc|>"))
    assert (texts, rejection.reason, rejection.position) == (["one", "three"], Reason.INVALID_UTF8, 10)
    path.write_bytes(b"x" * 3000)
    texts, (rejection,), _ = read(path, spec(max_document_bytes=1000))
    assert (texts, rejection.reason) == ([], Reason.TOO_LONG)


def test_damage_in_parquet_rows(tmp_path: Path) -> None:
    """Parquet does not check that its strings are UTF-8; here one is not."""
    path = tmp_path / "corpus.parquet"
    offsets, data = pa.py_buffer(b"".join(i.to_bytes(4, "little") for i in (0, 1, 3, 4))), pa.py_buffer(b"a\xff\xfeb")
    broken = pa.StringArray.from_buffers(3, offsets, data)
    texts = pa.chunked_array([broken, pa.array([None, "x" * 2000, "c"], pa.string())])
    pq.write_table(pa.table({"more": list(range(6)), "text": texts, "id": list("pqrstu")}), path)
    found, rejected, ids = read(path, spec(max_document_bytes=1000, id_field="id"))
    assert (found, ids) == (["a", "b", "c"], ["p", "r", "u"])
    assert [(r.position, r.reason, r.id) for r in rejected] == [
        (1, Reason.INVALID_UTF8, "q"),
        (3, Reason.NULL_TEXT, "s"),
        (4, Reason.TOO_LONG, "t"),
    ]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"body": ["a"]}, "has no column 'text'; it has body"),
        ({"text": [1]}, "column 'text' holds int64, not text"),
        ({"text": [["a"]]}, "not text"),
    ],
)
def test_a_parquet_file_without_the_text_is_refused(table: dict[str, list[object]], said: str, tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table(table), path)
    with pytest.raises(BatchError, match=said):
        documents.pieces(str(path), spec())


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.string_view()])
def test_every_arrow_kind_of_text_is_read(kind: pa.DataType, tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"text": pa.array(["a", "b", "a"]).cast(kind)}), path)
    assert read(path, spec())[0] == ["a", "b", "a"]


def test_row_groups_are_read_apart(tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    write(path, [f"text {i}" for i in range(8)])  # row groups of 3, 3, 2
    middle = Span(url=str(path), cut=Cut.ROW_GROUPS, start=1, stop=3, bytes=1, size=0, mark="")
    found = list(documents.read(middle, spec()))
    assert [t for d in found for t in d.text.to_pylist()] == [f"text {i}" for i in range(3, 8)]
    assert [p for d in found for p in d.positions] == [3, 4, 5, 6, 7]


def test_a_parquet_file_that_shrank_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    write(path, ["a"])
    planned = Span(url=str(path), cut=Cut.ROW_GROUPS, start=0, stop=4, bytes=1, size=0, mark="")
    with pytest.raises(BatchError, match="it has changed"):
        list(documents.read(planned, spec()))


@pytest.mark.parametrize("remove", [lambda p: p.unlink(), lambda p: p.write_bytes(b"PAR1 no PAR1")])
def test_a_file_that_is_gone_or_no_parquet_is_a_batch_error(remove: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    write(path, ["a"])
    span = Span(url=str(path), cut=Cut.ROW_GROUPS, start=0, stop=1, bytes=1, size=0, mark="")
    remove(path)
    with pytest.raises(BatchError):
        list(documents.read(span, spec()))


@pytest.mark.parametrize("suffix", [*PLAIN, ".jsonl.zst", ".csv.xz", *COLUMNAR])
def test_the_same_documents_from_s3(suffix: str, prefix: str, tmp_path: Path) -> None:
    path = tmp_path / f"corpus{suffix}"
    write(path, TEXTS)
    url, data = storage.join(prefix, path.name), path.read_bytes()
    storage.put(url, data)
    job = spec(separator="<|doc|>")
    for cut in {documents.cut_of(url, job), Cut.WHOLE}:
        stop = len(documents.pieces(url, job) or ()) or (len(data) if cut is Cut.BYTES else 0)
        cut = Cut.WHOLE if not stop else cut
        span = Span(url=url, cut=cut, start=0, stop=stop, bytes=len(data), size=0, mark="")
        assert [t for d in documents.read(span, job) for t in d.text.to_pylist()] == TEXTS


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
def test_pieces_tile_a_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"corpus{suffix}"
    write(path, [f"text {i}" for i in range(20)])
    pieces = documents.pieces(str(path), spec())
    assert pieces is not None
    assert len(pieces) == 7
    assert 0 < sum(pieces) < path.stat().st_size
    texts, positions = [], []
    for start, stop in [(0, 2), (2, 3), (3, 7)]:
        cut = documents.cut_of(str(path), spec())
        span = Span(url=str(path), cut=cut, start=start, stop=stop, bytes=1, size=0, mark="")
        for found in documents.read(span, spec()):
            texts += found.text.to_pylist()
            positions += found.positions.tolist()
    assert texts == [f"text {i}" for i in range(20)]
    assert positions == list(range(20))


@pytest.mark.parametrize("kind", ["-stream.arrow", ".arrow", ".json", ".csv", ".wet"])
def test_a_file_that_is_cut_off_is_an_error_wherever_that_is(kind: str, tmp_path: Path) -> None:
    """A stream of record batches looks whole between two of them, and so would a JSON array without its end."""
    path = tmp_path / f"corpus{kind}"
    write(path, ["one", "two\nlines, and more", "three", "four"])
    data = path.read_bytes().rstrip(b"\r\n")
    inside = data.index(b"lines") if kind == ".csv" else len(data) - 1  # between two rows a cut cannot be seen
    for end in (inside,) if kind == ".csv" else (inside, len(data) // 2, len(data) - 8):
        path.write_bytes(data[:end])
        with pytest.raises(BatchError):
            read(path, spec())


BROKEN_ROWS = [
    (b'7,a"b"\n', None),
    (b'7,"a"b\n', Reason.BROKEN_ROW),
    (b"7,a,b\n", Reason.BROKEN_ROW),
    (b"7\n", Reason.BROKEN_ROW),
    (b"7,caf\xe9\n", Reason.INVALID_UTF8),
    (b'7,"' + b'x""\n,' * 40_000 + b'"\n', Reason.TOO_LONG),
    (b"7," + b'x"' * 100_001 + b"\n", Reason.TOO_LONG),
]


@pytest.mark.parametrize(("row", "reason"), BROKEN_ROWS)
@pytest.mark.parametrize("block", [5, 1 << 19])
def test_one_bad_row_is_rejected_and_its_neighbours_kept(
    row: bytes, reason: Reason | None, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "BLOCK", block if len(row) < 1000 else 1 << 16)
    path, before, after = tmp_path / "corpus.csv", b'\xef\xbb\xbfid,text\n1,"be\nfore"\n', b'2,after\n\n3,"last ""one"""'
    path.write_bytes(before + row + after)
    texts, rejected, ids = read(path, spec(max_document_bytes=100_000, id_field="id"))
    assert texts == ["be\nfore", *(['a"b"'] if reason is None else []), "after", 'last "one"']
    assert [(r.reason, r.position) for r in rejected] == ([] if reason is None else [(reason, len(before))])
    assert ids[0] == "1"


BROKEN_VALUES = [
    (b'{"text": "a" "b"}', Reason.BROKEN_JSON),
    (b"[1, {}]", Reason.NOT_AN_OBJECT),
    (b"12", Reason.NOT_AN_OBJECT),
    (b'"te]xt\\""', Reason.NOT_AN_OBJECT),
    (b'{"a": ["}", "\\\\"]}', Reason.MISSING_FIELD),
    (b'{"text": "' + b'\\"]}{' * 50_000 + b'"}', Reason.TOO_LONG),
    (b'"' + b"\\" * 200_000 + b'"', Reason.TOO_LONG),
]


@pytest.mark.parametrize(("value", "reason"), BROKEN_VALUES)
@pytest.mark.parametrize("array", [True, False])
@pytest.mark.parametrize("block", [1, 7, 1 << 19])
def test_one_bad_value_is_rejected_and_its_neighbours_kept(
    value: bytes, reason: Reason, array: bool, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "BLOCK", block if len(value) < 1000 else 1 << 16)
    before, after = b'\xef\xbb\xbf%s\n{\n"text": "before"}\n', b'{"text":"after"}'
    path = tmp_path / "corpus.json"
    begin = before % (b"[" if array else b"") + (b"," if array else b"")
    path.write_bytes(begin + value + (b" , " if array else b"\n") + after + (b"]\n" if array else b""))
    texts, (rejection,), _ = read(path, spec(max_document_bytes=100_000))
    assert texts == ["before", "after"]
    assert (rejection.reason, rejection.position) == (reason, len(begin))


@pytest.mark.parametrize(
    "content", [b'[{"text": "a"} {"text": "b"}]', b'{"text": "a"}]', b'[{"text": "a"},]', b'[{"text": "a"}', b"["]
)
def test_json_that_is_wrong_between_its_values_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "corpus.json").write_bytes(content)
    with pytest.raises(BatchError, match=r"out of place|cut off"):
        read(tmp_path / "corpus.json", spec())


def test_web_pages_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "corpus.warc"
    path.write_bytes(wet(["<html>"]).replace(b"WARC-Type: conversion", b"WARC-Type: response"))
    with pytest.raises(BatchError, match="holds 1 web pages and no text"):
        read(path, spec())


BOMB = """
import resource, sys
from tokenmill.documents.compression import Blocks
from tokenmill.job import Cut, Span
span = Span(url=sys.argv[1], cut=Cut.WHOLE, start=0, stop=0, bytes=1, size=0, mark="")
next(blocks := iter(Blocks(span)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(max(map(len, blocks)), sum(1 for _ in Blocks(span)), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("packed", [c for c in COMPRESSED if c])
def test_an_archive_that_swells_a_thousandfold_is_unpacked_in_blocks(packed: str, tmp_path: Path) -> None:
    """64 KiB of .zst may hold 2 GiB, and zstandard's own objects hand it out at once."""
    path = tmp_path / f"bomb.txt{packed}"
    path.write_bytes(COMPRESSED[packed](bytes((512 if packed == ".zst" else 96) << 20)))
    done = subprocess.run([sys.executable, "-c", BOMB, path], capture_output=True, text=True, check=True)
    largest, blocks, kilobytes = map(int, done.stdout.split())
    assert largest <= 2 << 20
    assert blocks > 60
    assert kilobytes < 32 << 10
