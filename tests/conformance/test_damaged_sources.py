"""Damage in a source is a counted rejection with a place and a reason, or an error: never a traceback, never silence."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.corpora import COMPRESSED, PLAIN, TEXTS, jsonl, read, spec, wet, write
from tokenmill import documents
from tokenmill.documents import Reason, compression
from tokenmill.errors import BatchError
from tokenmill.job import Cut, Span


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
