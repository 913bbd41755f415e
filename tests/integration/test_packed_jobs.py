"""Packed jobs, done in this process: `verify` finds what is broken in them, `convert` leaves their rows as they are."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from producer.request import Request
from tests.inprocess import run_to_seal
from tokenmill import storage
from tokenmill.convert import convert
from tokenmill.ledger import Ledger
from tokenmill.reader import TokenDataset
from tokenmill.shards import FORMATS
from tokenmill.tokenizers import Model
from tokenmill.verify import verify

LENGTH = 256
Run = Callable[..., str]
METHODS = pytest.mark.parametrize("method", ["concatenate", "best-fit"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tokenizer_path: Callable[[str], Path], real_texts: list[str]) -> Run:
    """Runs one small packed job; gives its output."""
    base = tmp_path_factory.mktemp("packed")
    lines = [json.dumps({"text": text[:size], "size": size}) for text in real_texts[:60] for size in (1500, 100, 400)]
    (base / "corpus.jsonl").write_text("\n".join(lines) + "\n")

    def made(method: str, name: str = "megatron", **more: object) -> str:
        request = Request(
            sources=(str(base / "corpus.jsonl"),),
            tokenizer=str(tokenizer_path("bert")),
            output=str(tmp_path_factory.mktemp("out") / "out"),
            eos_token="[SEP]",
            bos_token=False,
            pack=LENGTH,
            pack_method=method,
            pad_token="[PAD]",
            max_tokens=LENGTH if method == "best-fit" else None,
            over_length="truncate" if method == "best-fit" else "keep",
            format=name,
            engine="reference",
            batch_bytes=50_000,
            check_every=0,
            **more,
        )
        return run_to_seal(request).ledger.output

    return made


def quiet(done: int, steps: int) -> None:
    pass


def contents(output: str, folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (Path(output) / folder).iterdir()}


def findings(output: str) -> tuple[str, ...]:
    return verify(output, full=True, advance=quiet).findings


def forge(output: str, path: str) -> None:
    """Let the manifest say of a file what is in it now."""
    data = (Path(output) / path).read_bytes()
    manifest = Path(output) / "manifest.json"
    found = json.loads(manifest.read_text())
    file = next(file for shard in found["shards"] for file in shard["files"] if file["path"] == path)
    file.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    manifest.write_text(json.dumps(found, indent=2) + "\n")


def change_column(output: str, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write a column of the first shard's pieces anew."""
    path = Path(output) / "packing/000000.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index(name)
    values = change(table[name].to_numpy().copy())
    pq.write_table(table.set_column(place, table.schema.field(name), [values]), path)
    forge(output, "packing/000000.parquet")


def change_id(output: str, place: int) -> None:
    path = Path(output) / "shards/000000.bin"
    ids = np.fromfile(path, "<u2")
    ids[place] += 1
    ids.tofile(path)
    forge(output, "shards/000000.bin")


@METHODS
def test_a_broken_row_is_found(method: str, run: Run) -> None:
    output = run(method)
    assert findings(output) == ()
    dataset = TokenDataset(output)
    assert len(dataset.manifest.shards) >= 2
    shard = dataset.opened(0)
    place = 3 * LENGTH + int(shard.used[3]) - 1
    document = int(shard.pieces.document[shard.pieces.sequence == 3][-1])
    change_id(output, place)
    assert findings(output) == (f"shard 000000: the ids of document {document} are not the reference's",)


@METHODS
def test_broken_padding_is_found(method: str, run: Run) -> None:
    output = run(method)
    used = TokenDataset(output).opened(0).used
    row = int(np.flatnonzero(used < LENGTH)[0])
    change_id(output, (row + 1) * LENGTH - 1)
    assert findings(output) == (f"shard 000000: sequence {row} has other ids than 0 in its padding",)


def moved(values: np.ndarray) -> np.ndarray:
    """A piece in the row before its own."""
    values[np.flatnonzero(np.diff(values))[2] + 1] -= 1
    return values


def swapped(values: np.ndarray) -> np.ndarray:
    """Two documents, each in place of the other."""
    values[[0, -1]] = values[[-1, 0]]
    return values


def later(values: np.ndarray) -> np.ndarray:
    """Every piece one token farther on in its document."""
    return values + 1


CHANGES = {"sequence": moved, "length": np.flip, "document": swapped, "start": later}


@METHODS
@pytest.mark.parametrize("name", CHANGES)
def test_pieces_that_are_not_those_of_the_rows_are_found(method: str, name: str, run: Run) -> None:
    output = run(method)
    change_column(output, name, CHANGES[name])
    (found,) = findings(output)
    assert "shard 000000" in found


@METHODS
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "megatron"])
def test_rows_stay_rows_in_every_format(method: str, name: str, run: Run, tmp_path: Path) -> None:
    """Converted is as run with that format; readers see the same rows; back again it is what it was."""
    packed, direct = run(method), run(method, name)
    there, back = str(tmp_path / "there"), str(tmp_path / "back")
    convert(packed, there, name, "auto", quiet)
    convert(there, back, "megatron", "auto", quiet)
    for folder in ("shards", "packing"):
        assert contents(there, folder) == contents(direct, folder)
    for folder in ("shards", "packing", "entries"):
        assert contents(back, folder) == contents(packed, folder)
    assert findings(there) == findings(direct) == ()
    fields = ("input_ids", "document_ids", "position_ids", "attention_mask")
    old, new = (TokenDataset(output, hashes=True).sequences(LENGTH, fields=fields) for output in (packed, there))
    numbers = np.arange(len(old))
    assert len(old) == len(new) > 20
    for field, values in old.gather(numbers).items():
        assert np.array_equal(values, new.gather(numbers)[field])


@METHODS
def test_metadata_goes_with_documents(method: str, run: Run) -> None:
    """Row n of metadata/ is of document n of packing/."""
    output = run(method, metadata=("size",))
    dataset, ledger = TokenDataset(output), Ledger(output)
    model = Model(storage.read(ledger.url("tokenizer/tokenizer.json")), "it").reference()
    lines = Path(ledger.job().spec.sources[0]).read_text().splitlines()
    first = 0
    for position, shard in enumerate(dataset.manifest.shards):
        rows = pq.read_table(f"{output}/metadata/{shard.index:06d}.parquet").to_pylist()
        assert [row["document"] for row in rows] == list(range(shard.documents))
        for row in rows:
            line = json.loads(lines[first + row["document"]])
            assert row["size"] == str(line["size"])
            ids = dataset.shard(position)[row["document"]].tolist()
            assert ids[:-1] == model.encode(line["text"], add_special_tokens=False).ids[: len(ids) - 1]
            assert len(ids) > 10
        first += shard.documents
    assert first == len(lines)
