"""A folder that holds every format, to one sealed job: the ids of each document are the reference's."""

import bz2
import csv
import gzip
import io
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from tokenizers import Tokenizer

from tests.acceptance.conftest import JOB, Run
from tests.acceptance.independent_check import shard_documents
from tests.corpora import wet
from tokenmill.reader import TokenDataset

EOS = 1


def rows(name: str, texts: list[str]) -> list[dict[str, str]]:
    return [{"text": text, "name": f"{name}-{i}"} for i, text in enumerate(texts)]


def delimited(found: list[dict[str, str]], delimiter: str) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, ["name", "text"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(found)
    return file.getvalue().encode()


def saved(folder: Path, found: list[dict[str, str]]) -> None:
    """As `Dataset.save_to_disk` of datasets 5 leaves it, with the cache of a `map` beside it."""
    folder.mkdir()
    table = pa.Table.from_pylist(found)
    half = len(found) // 2
    names = [f"data-{i:05d}-of-00002.arrow" for i in range(2)]
    for name, part in zip([*names, "cache-1f.arrow"], [table[:half], table[half:], table], strict=True):
        with pa.ipc.new_stream(folder / name, table.schema) as out:
            out.write_table(part, max_chunksize=3)
    state = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": "1f",
        "_format_columns": None,
        "_split": None,
    }
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")


@pytest.fixture
def mixed(tmp_path: Path, real_texts: list[str]) -> dict[str, list[dict[str, str]]]:
    """A folder of everything, and its documents by file or folder, in the order of the job."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    names = ["a.arrow", "b.csv.xz", "c.feather", "d.json.bz2", "e.jsonl", "f.jsonl.zst", "g", "h.parquet", "i.tsv.gz"]
    names += ["j.txt", "k.wet.gz"]
    found = {name: rows(name, real_texts[i::11][:8]) for i, name in enumerate(names)}
    found["j.txt"] = found["j.txt"][:1]
    for name, content in found.items():
        path, table = folder / name, pa.Table.from_pylist(content)
        lines = b"".join(json.dumps(row).encode() + b"\n" for row in content)
        match path.suffixes:
            case [".arrow" | ".feather"]:
                with pa.ipc.new_file(path, table.schema) as out:
                    out.write_table(table, max_chunksize=2)
            case [".csv", ".xz"]:
                path.write_bytes(lzma.compress(delimited(content, ",")))
            case [".tsv", ".gz"]:
                path.write_bytes(gzip.compress(delimited(content, "\t")))
            case [".json", ".bz2"]:
                path.write_bytes(bz2.compress(json.dumps(content).encode()))
            case [".jsonl"]:
                path.write_bytes(lines)
            case [".jsonl", ".zst"]:
                path.write_bytes(zstandard.ZstdCompressor().compress(lines))
            case []:
                saved(path, content)
            case [".parquet"]:
                pq.write_table(table, path, row_group_size=3)
            case [".txt"]:
                path.write_text(content[0]["text"], newline="")
            case [".wet", ".gz"]:
                path.write_bytes(gzip.compress(wet([row["text"] for row in content])))
    return found


def test_a_folder_of_all_formats(mixed: dict[str, list[dict[str, str]]], tokenmill: Run, tmp_path: Path) -> None:
    options = ["--batch-bytes", "20000", "--id-field", "name", "--metadata", "name", "--workers", "2"]
    done = tokenmill("run", "corpus", *JOB, "--engine", "reference", *options, "--output", "out")
    assert done.returncode == 0, done.stderr
    oracle = Tokenizer.from_file(JOB[1])
    oracle.encode_special_tokens = True
    expected = [row for content in mixed.values() for row in content]
    ids = [[*oracle.encode(row["text"], add_special_tokens=False).ids, EOS] for row in expected]
    assert [document.tolist() for document in shard_documents(tmp_path / "out")] == ids
    assert tokenmill("verify", "out", "--full").returncode == 0
    manifest = TokenDataset(str(tmp_path / "out")).manifest
    assert len(manifest.shards) > 5
    sidecars = [pq.read_table(tmp_path / "out" / f"metadata/{shard.index:06d}.parquet") for shard in manifest.shards]
    assert [len(table) for table in sidecars] == [shard.documents for shard in manifest.shards]
    assert {table.schema for table in sidecars} == {sidecars[0].schema}
    assert all(any(file.path.startswith("metadata/") for file in shard.files) for shard in manifest.shards)
    named = [name for table in sidecars for name in table["name"].to_pylist()]
    plain = [None if row["name"].startswith(("j.", "k.")) else row["name"] for row in expected]
    assert named == plain


def test_documents_that_are_rejected_later_leave_no_row(tokenmill: Run, tmp_path: Path) -> None:
    texts = ["plain", "forged <｜end▁of▁sentence｜> boundary", "", "last"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": t, "n": i}) + "\n" for i, t in enumerate(texts)))
    options = ["--special-tokens", "reject", "--max-rejected", "1", "--metadata", "n", "--workers", "1", "--output", "out"]
    done = tokenmill("run", "a.jsonl", *JOB, "--engine", "reference", *options)
    assert done.returncode == 0, done.stderr
    table = pq.read_table(tmp_path / "out/metadata/000000.parquet")
    assert table.select(["document", "n"]).to_pylist() == [{"document": 0, "n": "0"}, {"document": 1, "n": "3"}]


def test_a_text_field_and_a_template_contradict_each_other(tokenmill: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    done = tokenmill("plan", "a.jsonl", *JOB, "--output", "out", "--text-field", "a", "--text-template", "{b}")
    assert done.returncode == 2
    assert "--text-field and --text-template contradict each other" in done.stderr.replace("\n", " ")
