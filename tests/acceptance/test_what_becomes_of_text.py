"""Length policies and the shuffle as a user asks for them, against ids that are computed here, without a line of tokenmill."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tokenizers

from tests.acceptance.conftest import JOB, Run, contents
from tests.acceptance.independent_check import shard_documents

EOS, EOS_TOKEN = 1, "<｜end▁of▁sentence｜>"
LIMIT = 200


@pytest.fixture(scope="module")
def corpus(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of its documents, in twelve files: every job here is verified in full, by the reference, which is slow."""
    folder = tmp_path_factory.mktemp("half")
    for part in corpus.glob("*.jsonl"):
        lines = part.read_bytes().splitlines(keepends=True)[::2]
        for number in range(4):
            (folder / f"{part.stem}-{number}.jsonl").write_bytes(b"".join(lines[number::4]))
    return folder


@pytest.fixture(scope="module")
def encoded(corpus: Path) -> list[list[int]]:
    """The ids of every document of the corpus in source order, EOS included, by Hugging Face `tokenizers`."""
    oracle = tokenizers.Tokenizer.from_file(JOB[1])
    oracle.encode_special_tokens = True
    texts = [json.loads(line)["text"] for part in sorted(corpus.glob("*.jsonl")) for line in part.open(encoding="utf-8")]
    found = oracle.encode_batch_fast([text for text in texts if text], add_special_tokens=False)
    return [[*encoding.ids, EOS] for encoding in found]


def cut(document: list[int], rule: str) -> list[list[int]]:
    """What becomes of one document, said in the plainest way."""
    if len(document) <= LIMIT:
        return [document]
    if rule == "drop":
        return []
    body, room, overlap = document[:-1], LIMIT - 1, 20
    if rule == "truncate":
        return [[*body[:room], EOS]]
    pieces = [[*body[:room], EOS]]
    start = 0
    while start + room < len(body):
        start += room - overlap
        pieces.append([*body[start : start + room], EOS])
    return pieces


@pytest.mark.parametrize("rule", ["truncate", "split", "drop"])
def test_documents_that_are_too_long(rule: str, tokenmill: Run, corpus: Path, tmp_path: Path, encoded: list[list[int]]) -> None:
    """The shards hold exactly the pieces that are due, all sums close, and verify applies the same rule."""
    asked = ["--max-tokens", LIMIT, "--over-length", rule, *(["--stride", 20] if rule == "split" else [])]
    done = tokenmill("run", corpus, *JOB, *asked, "--output", "out", "--batch-bytes", 250_000)
    assert done.returncode == 0, done.stderr
    expected = [piece for document in encoded for piece in cut(document, rule)]
    found = [ids.tolist() for ids in shard_documents(tmp_path / "out")]
    assert found == expected

    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    over = [document for document in encoded if len(document) > LIMIT]
    assert len(over) > 100
    assert manifest["tokens"] + manifest["tokens_dropped"] - manifest["tokens_added"] == sum(map(len, encoded))
    read = manifest["documents"] - manifest["pieces"] + manifest["documents_split"] + manifest["rejected"]
    assert read == sum(1 for part in corpus.glob("*.jsonl") for _ in part.open())
    counted = {"truncate": "documents_truncated", "split": "documents_split"}.get(rule)
    assert (manifest[counted] if counted else manifest["rejected_by_reason"]["too_many_tokens"]) == len(over)
    status = json.loads(tokenmill("status", "out", "--json").stdout)
    assert status["tokens_dropped"] == manifest["tokens_dropped"]
    assert "at most 200 tokens: " in tokenmill("inspect", "out").stdout
    assert "at most 200 tokens: " in (tmp_path / "out/report.html").read_text()
    verified = tokenmill("verify", "out", "--full", "--json")
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)["compared"] == len(expected)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["--max-tokens", 9], "--max-tokens 9 does nothing by itself. Give --over-length truncate, split or drop too."),
        (["--over-length", "drop"], "over what? Give --max-tokens."),
        (["--max-tokens", 9, "--over-length", "drop", "--stride", 2], "Give --over-length split too, or leave it out."),
        (["--max-tokens", 1, "--over-length", "truncate"], "--max-tokens 1 leaves no room for text beside BOS and EOS."),
        (["--max-tokens", 9, "--over-length", "split", "--stride", 8], "no room for text beside BOS and EOS and --stride."),
        (["--pack", 256, "--pack-method", "best-fit"], "cuts no document, and one may have more than 256 tokens."),
        (
            ["--pack", 256, "--pack-method", "best-fit", "--max-tokens", 257, "--over-length", "drop"],
            "--max-tokens 256 and --over-length truncate, split or drop; or give --pack-method concatenate.",
        ),
        (["--pad-token", EOS_TOKEN], "--pad-token is for packed rows. Give --pack LENGTH too, or leave it out."),
        (["--pack", 256, "--pad-token", "<nothing>"], "'<nothing>' is no token of "),
    ],
)
def test_options_that_make_no_rule(asked: list[object], says: str, tokenmill: Run, corpus: Path, tmp_path: Path) -> None:
    refused = tokenmill("run", corpus, *JOB, *asked, "--output", "out")
    assert refused.returncode == 2
    assert says in " ".join(refused.stderr.split())
    assert not (tmp_path / "out").exists()


def test_shuffled_by_a_seed(tokenmill: Run, corpus: Path, tmp_path: Path, encoded: list[list[int]]) -> None:
    """Every document once and whole, far from where it stood; the same bytes for 1 and 3 workers, others for another seed."""
    asked = ["run", corpus, *JOB, "--batch-bytes", 250_000]
    for output, seed, workers in (("one", 7, 1), ("three", 7, 3), ("other", 8, 2)):
        done = tokenmill(*asked, "--shuffle", seed, "--workers", workers, "--output", output)
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "one") == contents(tmp_path / "three")
    found, other = ([tuple(map(int, ids)) for ids in shard_documents(tmp_path / name)] for name in ("one", "other"))
    assert found != other
    assert sorted(found) == sorted(other) == sorted(map(tuple, encoded))

    stood = {tuple(document): place for place, document in enumerate(encoded)}
    places = [stood[document] / len(encoded) for document in found]
    assert abs(np.corrcoef(places, np.arange(len(places)))[0, 1]) < 0.5
    following = sum(round((right - left) * len(encoded)) == 1 for left, right in pairwise(places))
    assert following < len(places) / 8  # chance alone leaves about one in each piece of ten
    verified = tokenmill("verify", "one", "--full", "--json")
    assert (verified.returncode, json.loads(verified.stdout)["compared"]) == (0, len(encoded)), verified.stdout
    assert "shuffled by seed 7" in (tmp_path / "one/report.html").read_text()

    assert json.loads((tmp_path / "one/manifest.json").read_text())["shuffle"] == 7
    refused = tokenmill(*asked, "--output", "one")
    assert refused.returncode == 2
    assert "shuffle was 7, is None" in refused.stderr


def test_shuffled_and_split_is_verified_too(tokenmill: Run, corpus: Path, tmp_path: Path, encoded: list[list[int]]) -> None:
    """… and its metadata has a row for each piece, where that piece stands in its shard."""
    asked = ["--shuffle", 3, "--max-tokens", LIMIT, "--over-length", "split", "--stride", 20, "--batch-bytes", 250_000]
    asked += ["--metadata", "text"]
    done = tokenmill("run", corpus, *JOB, *asked, "--output", "out")
    assert done.returncode == 0, done.stderr
    expected = Counter(tuple(piece) for document in encoded for piece in cut(document, "split"))
    assert Counter(tuple(map(int, ids)) for ids in shard_documents(tmp_path / "out")) == expected
    for full in ([], ["--full"]):
        verified = tokenmill("verify", "out", *full)
        assert verified.returncode == 0, verified.stdout
    texts = [json.loads(line)["text"] for part in sorted(corpus.glob("*.jsonl")) for line in part.open(encoding="utf-8")]
    pieces = {text: cut(document, "split") for text, document in zip(filter(None, texts), encoded, strict=True)}
    sidecars = [pq.read_table(path) for path in sorted((tmp_path / "out/metadata").iterdir())]
    assert len(sidecars) > 3
    assert all(table["document"].to_pylist() == list(range(len(table))) for table in sidecars)
    rows = [row for table in sidecars for row in table.select(["text", "piece"]).to_pylist()]
    found = [ids.tolist() for ids in shard_documents(tmp_path / "out")]
    assert found == [pieces[row["text"]][row["piece"]] for row in rows]


def packed_shards(output: Path) -> list[tuple[list[list[int]], list[dict[str, int]], int]]:
    """Rows as Megatron's reader has them, pieces and number of documents of every shard."""
    rows = iter([ids.tolist() for ids in shard_documents(output)])
    found = []
    for shard in json.loads((output / "manifest.json").read_text())["shards"]:
        pieces = pq.read_table(output / f"packing/{shard['index']:06d}.parquet").to_pylist()
        found.append(([next(rows) for _ in range(shard["sequences"])], pieces, shard["documents"]))
    assert next(rows, None) is None
    return found


@pytest.mark.parametrize("method", ["concatenate", "best-fit"])
def test_packed_into_rows(method: str, tokenmill: Run, corpus: Path, tmp_path: Path, encoded: list[list[int]]) -> None:
    """Rows of one length with every token once, documents found again by the sidecar; the same bytes for 1 and 2 workers."""
    asked = ["--pack", LIMIT, "--pack-method", method, "--pad-token", EOS_TOKEN, "--batch-bytes", 250_000]
    if method == "best-fit":
        asked += ["--max-tokens", LIMIT, "--over-length", "split", "--stride", 20]
    for output, workers in (("out", 1), ("two", 2)):
        done = tokenmill("run", corpus, *JOB, *asked, "--workers", workers, "--output", output)
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "out") == contents(tmp_path / "two")
    assert (tmp_path / "out/packing/000000.parquet").read_bytes() == (tmp_path / "two/packing/000000.parquet").read_bytes()

    due = iter(encoded if method == "concatenate" else [piece for document in encoded for piece in cut(document, "split")])
    shards = packed_shards(tmp_path / "out")
    assert len(shards) > 3
    padding = 0
    for rows, pieces, documents in shards:
        found: list[list[int]] = [[] for _ in range(documents)]
        used = [0] * len(rows)
        for piece in pieces:
            row, start = piece["sequence"], used[piece["sequence"]]
            assert piece["start"] == len(found[piece["document"]]) == (0 if method == "best-fit" else piece["start"])
            used[row] += piece["length"]
            found[piece["document"]] += rows[row][start : used[row]]
        assert found == [next(due) for _ in range(documents)]
        assert {len(row) for row in rows} == {LIMIT}
        assert all(row[end:] == [EOS] * (LIMIT - end) for row, end in zip(rows, used, strict=True))
        assert method == "best-fit" or sum(used) > (len(rows) - 1) * LIMIT
        padding += len(rows) * LIMIT - sum(used)
    assert next(due, None) is None

    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["tokens_padding"] == padding > 0
    assert manifest["sequences"] == sum(len(rows) for rows, _, _ in shards)
    assert manifest["tokens"] + padding == manifest["sequences"] * LIMIT
    status = json.loads(tokenmill("status", "out", "--json").stdout)
    assert (status["sequences"], status["tokens_padding"]) == (manifest["sequences"], padding)
    said = f"{manifest['sequences']:,} sequences of {LIMIT} ({method}), {padding / manifest['sequences'] / LIMIT:.2%} padding"
    assert said in tokenmill("inspect", "out").stdout
    assert said in (tmp_path / "out/report.html").read_text()
    verified = tokenmill("verify", "out", "--full", "--json")
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)["compared"] == manifest["documents"]


def test_shuffled_and_packed(tokenmill: Run, corpus: Path, tmp_path: Path, encoded: list[list[int]]) -> None:
    asked = ["--shuffle", 3, "--max-tokens", LIMIT, "--over-length", "drop", "--pack", LIMIT, "--pack-method", "best-fit"]
    done = tokenmill("run", corpus, *JOB, *asked, "--batch-bytes", 250_000, "--output", "out")
    assert done.returncode == 0, done.stderr
    found: Counter[tuple[int, ...]] = Counter()
    places: list[int] = []
    stood = {tuple(document): place for place, document in enumerate(encoded)}
    for rows, pieces, _ in packed_shards(tmp_path / "out"):
        used = [0] * len(rows)
        for piece in pieces:
            start = used[piece["sequence"]]
            used[piece["sequence"]] += piece["length"]
            document = tuple(rows[piece["sequence"]][start : used[piece["sequence"]]])
            found[document] += 1
            places.append(stood[document])
    assert found == Counter(tuple(document) for document in encoded if len(document) <= LIMIT)
    assert abs(np.corrcoef(places, np.arange(len(places)))[0, 1]) < 0.5
    verified = tokenmill("verify", "out", "--full")
    assert verified.returncode == 0, verified.stdout
