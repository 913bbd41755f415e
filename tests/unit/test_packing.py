"""Packing: every token in exactly one row, rows of one length, no document cut by best-fit, and all of it found again."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmill.errors import JobError, UsageError
from tokenmill.packing import Pieces, Unpacked
from tokenmill.packing.bestfit import best_fit
from tokenmill.packing.pieces import COLUMNS, GROUP, PiecesFile
from tokenmill.packing.writers import packed
from tokenmill.shards import FORMATS, ShardWriter
from tokenmill.shuffle import ShuffledWriter, order
from tokenmill.spec import Packing
from tokenmill.tokenizers import TokenizerFiles, settle_pad

PAD = 7
#: Ids as a loss mask marks them on their way: the uppermost bit has to pass.
LEARN = 1 << 31
METHODS = st.sampled_from(["concatenate", "best-fit"])
LENGTHS = st.lists(st.integers(0, 12), max_size=40)


def pack(
    folder: Path, documents: list[list[int]], length: int, method: str, cuts: list[int], seed: int | None = None
) -> Counter[str]:
    """Pack documents, in as many appends as `cuts` make, into shard 3; returns what was counted."""
    output, tally = str(folder), Counter[str]()
    writer: ShardWriter = FORMATS["llmc"].writer(output, 3, "uint32")
    writer = packed(writer, output, 3, Packing(length=length, method=method, pad_token="p"), PAD, tally)
    with writer if seed is None else ShuffledWriter(writer, output, seed, 3) as writer:
        for start, stop in zip([0, *cuts], [*cuts, len(documents)], strict=True):
            some = documents[start:stop]
            ids = np.array([token for document in some for token in document], np.uint32)
            writer.append(ids, np.array([len(document) for document in some], np.int64))
        files = writer.publish()
    assert [file.path for file in files] == ["shards/000003.bin", "shards/000003.lengths.npy", "packing/000003.parquet"]
    return tally


def made(lengths: list[int]) -> list[list[int]]:
    """Documents of these lengths, no two tokens alike; every third is marked."""
    numbers = iter(range(100, 100 + sum(lengths)))
    return [[token | LEARN if token % 3 == 0 else token for token, _ in zip(numbers, range(n), strict=False)] for n in lengths]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@settings(deadline=None, max_examples=150)  # it waits for the disk
@given(data=st.data(), lengths=LENGTHS, length=st.integers(1, 14), method=METHODS, seed=st.none() | st.integers(0, 99))
def test_every_token_stands_once_and_is_found_again(
    data: st.DataObject,
    lengths: list[int],
    length: int,
    method: str,
    seed: int | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    documents = made([min(n, length) for n in lengths] if method == "best-fit" else lengths)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(documents)), max_size=3)))
    folder, whole = tmp_path_factory.mktemp("cut"), tmp_path_factory.mktemp("whole")
    tally = pack(folder, documents, length, method, cuts, seed)
    assert tally == pack(whole, documents, length, method, [], seed)
    assert files(folder) == files(whole)

    came = documents if seed is None else [documents[i] for i in order(seed, 3, len(documents))]
    stored, pieces = FORMATS["llmc"].reader(str(folder), 3), Pieces.read(str(folder), 3)
    rows = [stored[row].tolist() for row in range(len(stored))]
    assert {len(row) for row in rows} <= {length}
    tokens = sorted(token for document in documents for token in document)
    padding = sum(map(len, rows)) - len(tokens)
    assert sorted(token for row in rows for token in row) == sorted([*tokens, *[PAD] * padding])
    assert (tally["sequences"], tally["tokens_padding"]) == (len(rows), padding)

    unpacked = Unpacked(stored, pieces, length, len(documents), "it")
    assert [unpacked[i].tolist() for i in range(len(unpacked))] == came
    assert unpacked.lengths.tolist() == [len(document) for document in came]
    assert unpacked.span(0, len(came)).tolist() == [token for document in came for token in document]
    if method == "concatenate":
        flat = [token for document in came for token in document]
        assert [token for row in rows for token in row] == [*flat, *[PAD] * padding]
        assert padding < length
    else:
        assert len(set(pieces.document.tolist())) == len(pieces.document) == sum(bool(document) for document in came)


def plainly(lengths: list[int], length: int) -> list[int]:
    """Best-fit decreasing in the plainest way: what each row holds."""
    rows: list[int] = []
    for n in sorted(filter(None, lengths), reverse=True):
        fitting = [row for row, used in enumerate(rows) if used + n <= length]
        if fitting:
            rows[max(fitting, key=rows.__getitem__)] += n
        else:
            rows.append(n)
    return sorted(rows)


@settings(deadline=None, max_examples=300)
@given(length=st.integers(1, 60), data=st.data())
def test_best_fit_is_best_fit(length: int, data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(0, length), max_size=60))
    row, rows = best_fit(np.array(lengths, np.int32), length)
    used = np.bincount(row, lengths, minlength=rows)
    assert sorted(used[:rows].astype(int).tolist()) == plainly(lengths, length)
    # rows stand where their longest documents came
    openers = [max(np.flatnonzero(row == number).tolist(), key=lambda i: (lengths[i], -i)) for number in range(rows)]
    assert openers == sorted(openers)


def fewest(lengths: list[int], length: int, rows: tuple[int, ...] = ()) -> int:
    """The fewest rows there can be, by trying everything."""
    if not lengths:
        return len(rows)
    first, rest = lengths[0], lengths[1:]
    found = [
        fewest(rest, length, (*rows[:i], used + first, *rows[i + 1 :]))
        for i, used in enumerate(rows)
        if used + first <= length and used not in rows[:i]
    ]
    return min([*found, fewest(rest, length, (*rows, first))])


@settings(deadline=None, max_examples=100)
@given(length=st.integers(1, 20), data=st.data())
def test_best_fit_needs_few_rows_more_than_the_fewest(length: int, data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, length), min_size=1, max_size=7))
    _, rows = best_fit(np.array(lengths, np.int32), length)
    assert 9 * rows <= 11 * fewest(sorted(lengths, reverse=True), length) + 6


def test_the_bytes_of_many_pieces_do_not_depend_on_how_they_came(tmp_path: Path) -> None:
    """More pieces than a row group has, in appends that end before and beyond its end."""
    count = 2 * GROUP + 5
    columns = [np.arange(count), np.full(count, 2), np.arange(count)[::-1].copy(), np.zeros(count, np.int64)]
    made: list[bytes] = []
    for name, cuts in (("one", []), ("many", [1, GROUP - 1, GROUP + 7, GROUP + 9, 2 * GROUP + 1])):
        (tmp_path / name).mkdir()
        with PiecesFile(str(tmp_path / name), 0) as file:
            for start, stop in zip([0, *cuts], [*cuts, count], strict=True):
                file.append(*(column[start:stop] for column in columns))
            made.append(file.publish().sha256.encode())
    assert made[0] == made[1]
    read = Pieces.read(str(tmp_path / "many"), 0)
    assert all(np.array_equal(getattr(read, name), column) for name, column in zip(COLUMNS, columns, strict=True))


SOUND = Pieces(*(np.array(values) for values in ([0, 0, 1, 1], [3, 2, 4, 1], [0, 1, 1, 2], [0, 0, 2, 0])))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"sequence": [0, 1, 0, 1]}, "sequences are not 0 to 1 in their order"),
        ({"sequence": [0, 0, 2, 2]}, "sequences are not 0 to 1 in their order"),
        ({"length": [3, 3, 4, 1]}, "do not fit into sequences of 5"),
        ({"length": [3, 0, 4, 1]}, "do not fit into sequences of 5"),
        ({"document": [0, 1, 1, 3]}, "documents are not 0 to 2"),
        ({"document": [0, 1, 2, 2]}, "not all of their documents"),
        ({"start": [0, 0, 1, 0]}, "not all of their documents"),
    ],
)
def test_pieces_that_cannot_be(changed: dict[str, list[int]], says: str) -> None:
    assert SOUND.fault(2, 5, 3) is None
    broken = replace(SOUND, **{name: np.array(values) for name, values in changed.items()})
    assert says in str(broken.fault(2, 5, 3))


@pytest.mark.parametrize("damage", ["missing", "cut off", "no parquet", "another table"])
def test_a_damaged_sidecar_is_an_error_that_says_so(damage: str, tmp_path: Path) -> None:
    pack(tmp_path, made([5, 9]), 4, "concatenate", [])
    path = tmp_path / "packing/000003.parquet"
    if damage == "missing":
        path.unlink()
    elif damage == "cut off":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "no parquet":
        path.write_bytes(b"x" * 100)
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"sequence": [0]}), path)
    with pytest.raises(JobError, match=r"packing/000003.parquet .* Run: tokenmill verify"):
        Pieces.read(str(tmp_path), 3)


@pytest.mark.parametrize(
    ("asked", "config", "padding", "expected"),
    [
        ("</s>", {"pad_token": "<p>"}, None, "</s>"),  # what is asked for goes before everything
        (None, {"pad_token": {"content": "<p>"}}, None, "<p>"),
        (None, {"pad_token": None}, {"pad_token": "<p>", "pad_id": 0}, "<p>"),
        (None, {}, None, "does not settle which token fills packed rows. Give --pad-token TOKEN"),
        ("<q>", {}, None, "'<q>' is no token of t. Its special tokens are <p>, </s>."),
        (None, {"pad_token": "<q>"}, None, "'<q>' is no token of t. Its special tokens are <p>, </s>."),
    ],
)
def test_what_fills_a_row_is_settled_and_never_guessed(asked: str | None, config: Any, padding: Any, expected: str) -> None:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": id_, "content": token, **flags} for id_, token in enumerate(("<p>", "</s>"))]
    model = {"added_tokens": added, "padding": padding, "model": {"type": "BPE", "vocab": {"a": 2}, "merges": []}}
    found = {"tokenizer.json": json.dumps(model).encode(), "tokenizer_config.json": json.dumps(config).encode()}
    files = TokenizerFiles(name="t", revision=None, files=found)
    if " " not in expected:
        assert settle_pad(files, asked) == expected
        return
    with pytest.raises(UsageError) as error:
        settle_pad(files, asked)
    assert expected in str(error.value)


@pytest.mark.parametrize("method", ["concatenate", "best-fit"])
def test_a_batch_of_any_size_takes_the_memory_of_a_column(method: str, tmp_path: Path) -> None:
    """320 MB of ids in 800,000 documents are packed by a process that may grow by 100 MB from where it begins."""
    program = f"""
import resource, numpy as np
from collections import Counter
from tokenmill.spec import Packing
from tokenmill.packing.writers import packed
from tokenmill.shards import FORMATS
ids, lengths = np.arange(1_000_000, dtype=np.uint32), np.tile(np.arange(51, 150), 102)[:10_000]
ids = ids[: lengths.sum()]
import pyarrow.parquet
began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
writer = FORMATS["megatron"].writer({str(tmp_path)!r}, 0, "int32")
packing = Packing(length=2048, method={method!r}, pad_token="p")
with packed(writer, {str(tmp_path)!r}, 0, packing, 0, Counter()) as writer:
    for _ in range(80):
        writer.append(ids, lengths)
    writer.publish()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100
