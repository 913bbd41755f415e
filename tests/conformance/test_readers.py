"""Every source format gives the same documents, reports the same damage, and refuses what it cannot read."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenmill import documents
from tokenmill.documents import Reason, Rejection
from tokenmill.errors import BatchError
from tokenmill.job import Cut, JobSpec, Span

TEXTS = ["Hello, world!", "你好\n世界", "", "tab\tand \u2028 separators", "😀" * 50, " ", "null \x00 inside", "x" * 10_000]


def spec(**changes: object) -> JobSpec:
    fixed = {"sources": (), "tokenizer": "t", "eos_token": None, "bos_token": None, "dtype": "int32", "batch_bytes": 1}
    return JobSpec(**{**fixed, "max_document_bytes": 1 << 20, **changes})


def jsonl(texts: list[str]) -> bytes:
    return b"".join(json.dumps({"id": i, "text": t}, ensure_ascii=i % 2 == 0).encode() + b"\n" for i, t in enumerate(texts))


def write(path: Path, texts: list[str]) -> None:
    """Write the texts in the format that the suffix names."""
    suffix = "".join(path.suffixes)
    data = jsonl(texts) if ".jsonl" in suffix else "<|doc|>".join([*texts, ""]).encode()
    if suffix.endswith(".parquet"):
        table = pa.table({"id": list(range(len(texts))), "text": pa.array(texts, pa.string())})
        pq.write_table(table, path, row_group_size=3)
    elif suffix.endswith(".gz"):
        half = len(data) // 2  # two members, as appended logs have them
        path.write_bytes(gzip.compress(data[:half]) + gzip.compress(data[half:]))
    elif suffix.endswith(".zst"):
        half = len(data) // 2
        compressor = zstandard.ZstdCompressor()
        path.write_bytes(compressor.compress(data[:half]) + compressor.compress(data[half:]))
    else:
        path.write_bytes(data)


def read(path: Path, job: JobSpec, span: Span | None = None) -> tuple[list[str], list[Rejection], list[str | None]]:
    span = span or Span(url=str(path), cut=Cut.WHOLE, start=0, stop=0, bytes=path.stat().st_size, size=0, mark="")
    texts, rejected, ids = [], [], []
    for found in documents.read(span, job):
        assert len(found.text) == len(found.positions)
        assert (found.ids is not None) == (job.id_field is not None and not path.name.startswith("corpus.txt"))
        assert found.text.type == pa.large_string()
        texts += found.text.to_pylist()
        rejected += found.rejected
        ids += found.ids or []
    return texts, rejected, ids


SUFFIXES = [".jsonl", ".jsonl.gz", ".jsonl.zst", ".txt", ".txt.gz", ".txt.zst", ".parquet"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_documents_from_every_format(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"corpus{suffix}"
    write(path, TEXTS)
    texts, rejected, ids = read(path, spec(separator="<|doc|>", id_field="id"))
    assert texts == TEXTS
    assert rejected == []
    if ".txt" not in suffix:
        assert ids == [str(i) for i in range(len(TEXTS))]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=60), min_size=1, max_size=12))
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst", ".parquet"])
def test_any_text_survives_any_format(suffix: str, texts: list[str], tmp_path: Path) -> None:
    path = tmp_path / f"corpus{suffix}"
    write(path, texts)
    assert read(path, spec())[0] == texts


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst"])
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
        documents.parquet_row_groups(str(path), "text")


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
