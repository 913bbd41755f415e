"""Source format × compression × storage: every cell is listed, planned, cut and read, and gives the same documents."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from producer.corpus import collect
from producer.prepare import planned
from tests.corpora import COLUMNAR, SUFFIXES, TEXTS, spec, write
from tests.webserver import WebServer
from tokenmill import documents, storage
from tokenmill.errors import UsageError
from tokenmill.job import Batch, Cut
from tokenmill.spec import JobSpec

#: Puts a folder of files somewhere; the sources that name what is in it.
Place = Callable[[Path], list[str]]
PLACES = ["path", "s3", "gs", "web"]


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """One kind of storage."""
    with WebServer() as server:

        def put(folder: Path) -> list[str]:
            files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*"))}
            if request.param == "path":
                return [str(folder)]
            if request.param == "web":
                return [server.put(f"/{name}", data) for name, data in files.items()]
            prefix = request.getfixturevalue("prefix" if request.param == "s3" else "google_prefix")
            for name, data in files.items():
                storage.put(f"{prefix}/{name}", data)
            return [prefix]

        yield put


def read(batches: list[Batch], job: JobSpec) -> list[str]:
    return [text for b in batches for span in b.spans for found in documents.read(span, job) for text in found.text.to_pylist()]


def cuts(batches: list[Batch]) -> set[Cut]:
    return {span.cut for batch in batches for span in batch.spans}


def expected(suffix: str, place: str) -> Cut:
    """What a file of several pieces is cut at."""
    if suffix in (".jsonl", ".txt"):
        return Cut.BYTES
    if suffix in (".jsonl.zst", ".txt.zst") and place == "path":
        return Cut.FRAMES
    if suffix in COLUMNAR:
        return {".parquet": Cut.ROW_GROUPS, "-stream.arrow": Cut.WHOLE}.get(suffix, Cut.RECORD_BATCHES)
    return Cut.WHOLE


@pytest.mark.parametrize("place", PLACES, indirect=True)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_documents_from_every_storage(
    suffix: str, place: Place, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    write(folder / f"corpus{suffix}", TEXTS)
    corpus = collect(place(folder))
    job = spec(separator="<|doc|>", batch_bytes=max(1, corpus.bytes // 5))
    batches = list(planned(job, corpus))
    assert read(batches, job) == TEXTS
    assert cuts(batches) == {expected(suffix, request.node.callspec.params["place"])}


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_a_saved_dataset_from_every_storage(place: Place, tmp_path: Path) -> None:
    """Far away from folders, its data files are named one by one."""
    folder, table = tmp_path / "corpus", pa.table({"text": TEXTS})
    folder.mkdir()
    names = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    for name, part in zip(names, [table[:5], table[5:]], strict=True):
        with pa.ipc.new_stream(folder / name, table.schema) as out:
            out.write_table(part)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    sources = [source for source in place(folder) if not source.endswith("state.json")]
    assert read(list(planned(spec(), collect(sources))), spec()) == TEXTS


@pytest.mark.parametrize("place", PLACES, indirect=True)
@pytest.mark.parametrize("suffix", [".csv", ".tsv.gz", ".csv.zst", ".parquet", ".arrow"])
def test_a_column_that_is_not_there_is_refused_before_the_job_begins(suffix: str, place: Place, tmp_path: Path) -> None:
    """Such as a wrong --text-field, which would park every batch."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    write(folder / f"corpus{suffix}", TEXTS)
    sources, wrong = place(folder), spec(text_field="body")
    with pytest.raises(UsageError, match=rf"corpus{suffix} has no columns? 'body'; it has id, text"):
        list(planned(wrong, collect(sources)))
    with pytest.raises(UsageError, match="'lang'"):
        list(planned(spec(metadata=("lang",)), collect(sources)))


def test_a_csv_file_is_read_no_further_than_its_first_row_and_one_without_it_is_left_to_its_worker(tmp_path: Path) -> None:
    job = spec(max_document_bytes=100)
    for content in (b"text\n" + b'"never closed' * 99, b"", b"x" * 1000, b"\x1f\x8b damaged"):
        path = tmp_path / ("a.csv.gz" if b"damaged" in content else "a.csv")
        path.write_bytes(content)
        (batch,) = planned(job, collect([str(path)]))
        assert cuts([batch]) == {Cut.WHOLE}
