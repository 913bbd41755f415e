"""Fields by path, text from several, metadata beside the shard: the same of every format that has fields."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.corpora import spec
from tokenmill import documents
from tokenmill.documents import Fields, MetadataFile, Reason
from tokenmill.errors import BatchError, UsageError
from tokenmill.job import Cut, Span

ROWS: list[dict[str, Any]] = [
    {"title": "One", "data": {"text": "first", "n": 1}, "lang": "en", "score": 0.5},
    {"title": "{Two}", "data": {"text": "zweiter\nText", "n": None}, "lang": "de", "score": 2.0},
    {"title": None, "data": {"text": "third", "n": 3}, "lang": None, "score": None},
    {"title": "Four", "data": None, "lang": "中文", "score": -1.0},
]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows in the format that the suffix names."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=2))
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        table = pa.Table.from_pylist(rows)
        if path.suffix == ".parquet":
            pq.write_table(table, path)
        else:
            with pa.ipc.new_file(path, table.schema) as out:
                out.write_table(table)


def read(path: Path, **fields: Any) -> tuple[list[str], list[Reason], list[dict[str, str | None]]]:
    span = Span(url=str(path), cut=Cut.WHOLE, start=0, stop=0, bytes=1, size=0, mark="")
    found = list(documents.read(span, spec(**fields)))
    texts = [text for part in found for text in part.text.to_pylist()]
    metadata = [row for part in found if part.metadata is not None for row in part.metadata.to_pylist()]
    return texts, [rejection.reason for part in found for rejection in part.rejected], metadata


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet", ".arrow"])
def test_a_path_a_template_and_metadata(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"corpus{suffix}"
    write(path, ROWS)
    texts, reasons, metadata = read(path, text_field="data.text", metadata=("lang", "score", "data.n"))
    assert texts == ["first", "zweiter\nText", "third"]
    assert reasons == [Reason.NULL_TEXT]
    assert metadata == [
        {"lang": "en", "score": "0.5", "data.n": "1"},
        {"lang": "de", "score": "2.0", "data.n": None},
        {"lang": None, "score": None, "data.n": "3"},
    ]
    texts, reasons, _ = read(path, text_template="{{{title}}}\n\n{data.text}!")
    assert texts == ["{One}\n\nfirst!", "{{Two}}\n\nzweiter\nText!"]
    assert reasons == [Reason.NULL_TEXT] * 2


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet", ".arrow", ".csv"])
def test_a_field_of_that_very_name_wins_over_the_path(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"corpus{suffix}"
    write(path, [{"data": {"text": "by the path"}, "data.text": "by its name", "lang": "en"}])
    assert read(path, text_field="data.text")[0] == ["by its name"]
    texts, _, metadata = read(path, text_template="{lang}: {data.text}{lang}", metadata=("lang",))
    assert (texts, metadata) == (["en: by its nameen"], [{"lang": "en"}])


def test_a_template_that_makes_a_document_too_long_or_lacks_a_field(tmp_path: Path) -> None:
    for suffix in (".jsonl", ".json", ".csv", ".parquet", ".arrow"):
        write(tmp_path / f"a{suffix}", [{"text": "x" * 400}, {"text": "short"}])
        texts, reasons, _ = read(tmp_path / f"a{suffix}", text_template="{text}{text}{text}", max_document_bytes=1000)
        assert (texts, reasons) == (["short" * 3], [Reason.TOO_LONG])
    assert read(tmp_path / "a.jsonl", text_template="{text}{more}")[1] == [Reason.MISSING_FIELD] * 2
    for suffix in (".csv", ".parquet", ".arrow"):
        with pytest.raises(BatchError, match=r"column.* 'more'; it has text. Name one with --text-template"):
            read(tmp_path / f"a{suffix}", text_template="{text}{more}")
        with pytest.raises(BatchError, match=r"'lang'; it has text. Name one with --metadata"):
            read(tmp_path / f"a{suffix}", metadata=("lang",))


def test_metadata_of_lines_read_one_by_one_and_at_once_is_the_same(tmp_path: Path) -> None:
    values = ["1.50", "12345678901234567890123", "-0.0", '"5"', "true", "null", '{"a": [1, "é"]}', "[]", '"\\u4e2d"', "1e3"]
    lines = [f'{{"text": "t", "m": {value}}}\n' for value in values]
    (tmp_path / "quick.jsonl").write_text("".join(lines))
    (tmp_path / "slow.jsonl").write_text("".join(lines) + " \n")
    quick, slow = (read(tmp_path / name, metadata=("m",))[2] for name in ("quick.jsonl", "slow.jsonl"))
    assert quick == slow
    assert [row["m"] for row in quick][:6] == ["1.5", values[1], "-0.0", "5", "true", None]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"text_template": "no field"}, "names no field"),
        ({"text_template": "{a:>3}"}, "its name in braces, and nothing else"),
        ({"text_template": "{}"}, "its name in braces, and nothing else"),
        ({"text_template": "{a"}, "Write a brace that is text twice"),
        ({"metadata": ("file",)}, "has a column of that name already"),
        ({"metadata": ("a", "a")}, "given twice"),
    ],
)
def test_what_means_nothing_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Fields.of(spec(**fields))


def test_the_sidecar_holds_a_row_for_each_document_of_the_shard(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"text": t, "name": f"n{i}", "lang": i} for i, t in enumerate("abcde")])
    job = spec(metadata=("lang",), id_field="name")
    span = Span(url=str(tmp_path / "a.jsonl"), cut=Cut.WHOLE, start=0, stop=0, bytes=1, size=0, mark="")
    (found,) = documents.read(span, job)
    with MetadataFile(str(tmp_path), 7, job) as file:
        file.append(found, np.array([0, 3]), np.array([1, 1]))
        file.append(found, np.array([4]), np.array([1]))
        (digest,) = file.publish()
    assert digest.path == "metadata/000007.parquet"
    table = pq.read_table(tmp_path / digest.path)
    assert table.column_names == ["document", "file", "position", "unit", "id", "lang"]
    assert [(r["document"], r["position"], r["id"], r["lang"]) for r in table.to_pylist()] == [
        (0, 0, "n0", "0"),
        (1, int(found.positions[3]), "n3", "3"),
        (2, int(found.positions[4]), "n4", "4"),
    ]
