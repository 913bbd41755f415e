"""Every source format gives the same documents, whichever way it writes them and wherever it is cut."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.corpora import SUFFIXES, TEXTS, jsonl, read, spec, write
from tokenmill import documents
from tokenmill.job import Cut, Span


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


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.string_view()])
def test_every_arrow_kind_of_text_is_read(kind: pa.DataType, tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"text": pa.array(["a", "b", "a"]).cast(kind)}), path)
    assert read(path, spec())[0] == ["a", "b", "a"]


@pytest.mark.parametrize("deltas", [False, True])
def test_record_batches_of_a_file_find_their_dictionaries(deltas: bool, tmp_path: Path) -> None:
    """Which lie between the record batches where they grow, and where other columns have some."""
    path, words = tmp_path / "corpus.arrow", pa.array([f"word {i}" for i in range(9)])
    schema = pa.schema([("other", pa.dictionary(pa.int8(), pa.int64())), ("text", pa.dictionary(pa.int8(), pa.string()))])
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=deltas, compression="zstd")
    with pa.ipc.new_file(str(path), schema, options=options) as writer:
        for known in (3, 6, 9) if deltas else (9, 9, 9):
            indices = pa.array(range(known - 1, -1, -1), pa.int8())
            arrays = [pa.DictionaryArray.from_arrays(indices, values) for values in (pa.array(range(known)), words[:known])]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    last = Span(url=str(path), cut=Cut.RECORD_BATCHES, start=2, stop=3, bytes=1, size=0, mark="")
    assert [text for found in documents.read(last, spec()) for text in found.text.to_pylist()] == words.to_pylist()[::-1]
    assert len(read(path, spec())[0]) == (18 if deltas else 27)


def test_row_groups_are_read_apart(tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    write(path, [f"text {i}" for i in range(8)])  # row groups of 3, 3, 2
    middle = Span(url=str(path), cut=Cut.ROW_GROUPS, start=1, stop=3, bytes=1, size=0, mark="")
    found = list(documents.read(middle, spec()))
    assert [t for d in found for t in d.text.to_pylist()] == [f"text {i}" for i in range(3, 8)]
    assert [p for d in found for p in d.positions] == [3, 4, 5, 6, 7]


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
