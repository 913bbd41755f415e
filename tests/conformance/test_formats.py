"""Every shard format is read by its own peer's reader, id for id, and where the peer has a writer our bytes are its bytes."""

import json
import os
import subprocess
from collections.abc import Callable
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from tests.unit import test_ledger
from tokenmill import storage
from tokenmill.choices import FormatName
from tokenmill.errors import JobError, UsageError
from tokenmill.job import Counts, Job
from tokenmill.ledger import Ledger
from tokenmill.shards import FORMATS
from tokenmill.shards.ids import offsets_32, offsets_of
from tokenmill.shards.llmc import header

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"
#: Environments with the peers in them; `.ci/run` makes them of `peers/*.txt`.
PYTHONS = {"peers": ROOT / ".venv-peers" / "bin" / "python", "mds": ROOT / ".venv-mds" / "bin" / "python"}
MANY = [[n % 997] * (n % 7 + 1) for n in range(2_000)]


def padded(documents: list[list[int]]) -> list[list[int]]:
    """One document more, so that fixed windows of 50 tokens leave no tail, which their readers would drop."""
    return [*documents, [9] * (50 - sum(map(len, documents)) % 50)]


#: What has broken writers: no tokens, one token, more than 65,535 tokens, the largest ids, special tokens only, many documents.
#: One shard with empty documents, one without, one that holds none at all.
NARROW = [
    padded([[], [7], [65_499, 65_535], list(range(1, 65_500)) * 2, [], [0, 1, 2, 2]]),
    padded([[50_256], [65_535, 0], list(range(65_536)), *MANY]),
    [],
]
WIDE = [
    [*padded([[1, 2**31 - 1], [], [65_535, 65_536, 151_668], list(range(70_000)), [0], [151_645, 151_643]]), []],
    padded([[151_643], [2**31 - 1, 0], list(range(65_536)), *MANY]),
    [],
]
GOLDEN = {"uint16": NARROW, "int32": WIDE, "uint32": WIDE}
CASES = [(name, dtype) for name, found in FORMATS.items() for dtype in ("uint16", found.wide)]
each_case = pytest.mark.parametrize(("name", "dtype"), CASES)


def write(name: str, output: str, index: int, dtype: str, documents: list[list[int]], at_once: int = 3) -> Any:
    """A shard, in appends of some documents each."""
    with FORMATS[name].writer(output, index, dtype) as writer:
        for start in range(0, len(documents), at_once):
            some = documents[start : start + at_once]
            ids = np.array([i for document in some for i in document], np.uint32)
            writer.append(ids, np.array([len(document) for document in some], np.int64))
        return writer.publish()


def sealed(name: str, dtype: str, output: str) -> Job:
    """A sealed output that holds the golden documents; its job."""
    ledger, standing = Ledger(output), test_ledger.job(len(GOLDEN[dtype]))
    job = standing.model_copy(update={"spec": standing.spec.model_copy(update={"format": name, "dtype": dtype})})
    ledger.write_job(job)
    for index, documents in enumerate(GOLDEN[dtype]):
        files = write(name, ledger.output, index, dtype, documents)
        counts = Counts(documents=len(documents), tokens=sum(map(len, documents)))
        ledger.commit(test_ledger.entry(index).model_copy(update={"files": files, "counts": counts}))
    ledger.seal(job)
    return job


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Where sealed golden documents lie, by format and type."""
    base = tmp_path_factory.mktemp("golden")
    for name, dtype in CASES:
        (base / f"{name}-{dtype}").mkdir()
        sealed(name, dtype, str(base / f"{name}-{dtype}"))
    return lambda name, dtype: base / f"{name}-{dtype}" / "shards"


@pytest.fixture(scope="session")
def report(shards: Callable[[str, str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Any]:
    """What a peer found in our shards, and where it wrote its own; each environment is started once."""
    work, found = tmp_path_factory.mktemp("peers"), dict[str, Any]()

    def read(name: str, dtype: str) -> Any:
        peer = "mds" if name == "mds" else "peers"
        if not PYTHONS[peer].exists():
            reason = f"{PYTHONS[peer].parents[1].name} is missing; .ci/run makes it of tests/conformance/peers/{peer}.txt"
            pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
        if peer not in found:
            cases = [(n, d) for n, d in CASES if n not in ("llmc", "numpy") and (n == "mds") == (peer == "mds")]
            asked = {f"{n}-{d}": (n, str(shards(n, d)), GOLDEN[d], d, str(work / f"{n}-{d}")) for n, d in cases}
            (work / f"{peer}.json").write_text(json.dumps(asked))
            command = [PYTHONS[peer], PEERS / f"read_{peer}.py", work / f"{peer}.json", work / f"{peer}.found.json"]
            environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(work / "hf"), "TMPDIR": str(work)}
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, cwd=work)
            assert done.returncode == 0, done.stderr[-5000:]
            found[peer] = json.loads((work / f"{peer}.found.json").read_text())
        return {**found[peer][f"{name}-{dtype}"], "own": work / f"{name}-{dtype}"}

    return read


def flat(documents: list[list[int]]) -> list[int]:
    return [i for document in documents for i in document]


def bounds(documents: list[list[int]]) -> list[list[int]]:
    return [list(pair) for pair in pairwise(accumulate(map(len, documents), initial=0))]


def test_every_format_has_a_name_to_ask_for() -> None:
    assert tuple(FORMATS) == get_args(FormatName)


@each_case
def test_written_is_read(name: str, dtype: str, shards: Callable[[str, str], Path]) -> None:
    output = str(shards(name, dtype).parent)
    for index, documents in enumerate(GOLDEN[dtype]):
        reader = FORMATS[name].reader(output, index)
        assert len(reader) == len(documents)
        assert reader.lengths.dtype == np.int32
        assert reader.lengths.tolist() == [len(document) for document in documents]
        assert [reader[i].tolist() for i in range(len(reader))] == documents
        assert reader.span(len(documents) // 2, len(documents)).tolist() == flat(documents[len(documents) // 2 :])
        assert reader.span(0, 0).tolist() == []


@each_case
def test_bytes_depend_on_the_documents_alone(name: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on the columns in which they come, nor on the clock (law 2)."""
    monkeypatch.setattr("tokenmill.shards.ids.GROUP_TOKENS", 1000)  # so that golden documents fill several groups
    documents = GOLDEN[dtype][1]
    found = []
    for at_once in (1, 7, len(documents)):
        files = write(name, str(tmp_path), 0, dtype, documents, at_once)
        found.append({file.path: (tmp_path / file.path).read_bytes() for file in files})
        assert all(FORMATS[name].owns(file.path) for file in files)
    assert found[0] == found[1] == found[2]
    reader = FORMATS[name].reader(str(tmp_path), 0)
    assert [reader[i].tolist() for i in range(len(reader))] == documents


@each_case
def test_in_an_object_store(name: str, dtype: str, shards: Callable[[str, str], Path], prefix: str) -> None:
    sealed(name, dtype, prefix)
    for path in shards(name, dtype).iterdir():
        assert storage.read(f"{prefix}/shards/{path.name}") == path.read_bytes()
    reader = FORMATS[name].reader(prefix, 0)
    assert [reader[i].tolist() for i in range(len(reader))] == GOLDEN[dtype][0]


# -- the peers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_megatron(dtype: str, shards: Callable[[str, str], Path], report: Callable[[str, str], Any]) -> None:
    found = report("megatron", dtype)
    assert found["documents"] == GOLDEN[dtype]
    assert found["dtype"] == dtype
    for own in found["own"].iterdir():
        assert (shards("megatron", dtype) / own.name).read_bytes() == own.read_bytes(), own.name


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
@pytest.mark.parametrize("name", ["parquet", "arrow"])
def test_hugging_face_datasets(name: str, dtype: str, report: Callable[[str, str], Any]) -> None:
    found = report(name, dtype)
    everything = [document for documents in GOLDEN[dtype] for document in documents]
    assert found["documents"] == everything
    assert found["features"] == f"{{'input_ids': List(Value('{dtype}'))}}"
    if name == "arrow":
        assert found["saved"] == everything


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_olmo_core(dtype: str, report: Callable[[str, str], Any]) -> None:
    found = report("olmo", dtype)
    assert flat(found["windows"]) == flat(flat(GOLDEN[dtype]))
    assert found["bounds"] == [bounds(documents) for documents in GOLDEN[dtype]]


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_datatrove(dtype: str, shards: Callable[[str, str], Path], report: Callable[[str, str], Any]) -> None:
    found = report("datatrove", dtype)
    assert found["tokens"] == [flat(documents) for documents in GOLDEN[dtype] if documents]
    # its positions begin anew with each document, but not after an empty one
    assert found["positions"][1] == [place for document in GOLDEN[dtype][1] for place in range(len(document))]
    for own in found["own"].iterdir():
        assert (shards("datatrove", dtype) / own.name).read_bytes() == own.read_bytes(), own.name


@pytest.mark.parametrize(("dtype", "torch_dtype"), [("uint16", "torch.uint16"), ("int32", "torch.int32")])
def test_litdata(dtype: str, torch_dtype: str, report: Callable[[str, str], Any]) -> None:
    found = report("litdata", dtype)
    assert flat(found["windows"]) == flat(flat(GOLDEN[dtype]))
    assert found["dtype"] == torch_dtype


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_mosaicml_streaming(dtype: str, shards: Callable[[str, str], Path], report: Callable[[str, str], Any]) -> None:
    found = report("mds", dtype)
    assert found["documents"] == [document for documents in GOLDEN[dtype] for document in documents]
    assert found["dtype"] == dtype
    assert (shards("mds", dtype) / "000001.mds").read_bytes() == (found["own"] / "written/shard.00000.mds").read_bytes()
    assert json.loads((found["own"] / "written/index.json").read_text())["shards"][0]["column_encodings"] == [
        f"ndarray:{dtype}"
    ]


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_llmc(dtype: str, shards: Callable[[str, str], Path]) -> None:
    """As `_load_data_shard` of llm.c's train_gpt2.py and train_llama3.py have it, which are no package."""
    magic, version = {"uint16": (20240520, 1), "uint32": (20240801, 7)}[dtype]
    for index, documents in enumerate(GOLDEN[dtype]):
        with open(shards("llmc", dtype) / f"{index:06d}.bin", "rb") as file:
            header = np.frombuffer(file.read(256 * 4), dtype=np.int32)
            tokens = np.frombuffer(file.read(), dtype=np.dtype(dtype))
        assert header[:3].tolist() == [magic, version, len(tokens)]
        assert tokens.tolist() == flat(documents)


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_numpy(dtype: str, shards: Callable[[str, str], Path]) -> None:
    for index, documents in enumerate(GOLDEN[dtype]):
        load = partial(np.load, allow_pickle=False)
        ids = load(shards("numpy", dtype) / f"{index:06d}.ids.npy", mmap_mode="r" if documents else None)
        offsets = load(shards("numpy", dtype) / f"{index:06d}.offsets.npy", mmap_mode="r")
        assert ids.dtype == dtype
        assert [ids[a:b].tolist() for a, b in pairwise(offsets)] == documents


# -- what cannot be said ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "vocabulary", "dtype"),
    [
        *(("megatron", size, dtype) for size, dtype in ((65_499, "uint16"), (65_500, "int32"), (151_669, "int32"))),
        *((name, 65_536, "uint16") for name in FORMATS if name != "megatron"),
        *((name, 65_537, "uint32") for name in ("olmo", "datatrove", "llmc")),
        *((name, 65_537, "int32") for name in ("parquet", "arrow", "litdata", "mds", "numpy")),
    ],
)
def test_the_dtype_rule_of_each_peer(name: FormatName, vocabulary: int, dtype: str) -> None:
    assert FORMATS[name].settle(name, "auto", vocabulary, has_ends=True) == dtype
    assert FORMATS[name].settle(name, FORMATS[name].wide, vocabulary, has_ends=True) == FORMATS[name].wide
    if dtype != "uint16":
        with pytest.raises(UsageError, match="too many for 16 bits"):
            FORMATS[name].settle(name, "uint16", vocabulary, has_ends=True)
    other = "int32" if FORMATS[name].wide == "uint32" else "uint32"
    with pytest.raises(UsageError, match=f"{name} holds uint16 or {FORMATS[name].wide}"):
        FORMATS[name].settle(name, other, vocabulary, has_ends=True)


def test_a_format_without_boundaries_is_refused_where_no_token_tells_documents_apart() -> None:
    with pytest.raises(UsageError, match="--eos-token or --bos-token"):
        FORMATS["llmc"].settle("llmc", "auto", 100, has_ends=False)


def test_what_32_bits_cannot_say_is_refused() -> None:
    """Four documents of 1.2 billion tokens are more than litdata, MDS and llm.c can have in one file; pointers keep 64 bits."""
    offsets = offsets_of(np.full(4, 1_200_000_000, np.int32))
    assert offsets.tolist() == [0, 1_200_000_000, 2_400_000_000, 3_600_000_000, 4_800_000_000]
    assert offsets_32(offsets[:4]) == offsets[:4].astype("<u4").tobytes()
    with pytest.raises(JobError, match=r"4,800,000,000 bytes is too long for 32-bit offsets\. Give a smaller --batch-bytes"):
        offsets_32(offsets)
    assert np.frombuffer(header(2**31 - 1, "uint16"), "<i4")[2] == 2**31 - 1
    with pytest.raises(JobError, match=r"more than llm\.c's header can say\. Give a smaller --batch-bytes"):
        header(2**31, "uint16")


@pytest.mark.parametrize("name", list(FORMATS))
def test_an_id_that_does_not_fit_stops_the_job(name: str, tmp_path: Path) -> None:
    with (
        FORMATS[name].writer(str(tmp_path), 0, "uint16") as writer,
        pytest.raises(JobError, match=r"65536 does not fit.*--dtype"),
    ):
        writer.append(np.array([65536], np.uint32), np.array([1], np.int64))
    assert list((tmp_path / "shards").iterdir()) == []


# -- damage ----------------------------------------------------------------------------------------------------------------

DAMAGES = ["one byte short", "one byte long", "half", "empty", "gone", "first byte flipped", "of another shard"]


@pytest.mark.parametrize("damage", DAMAGES)
@each_case
def test_a_damaged_shard_is_refused(
    name: str, dtype: str, damage: str, shards: Callable[[str, str], Path], tmp_path: Path
) -> None:
    """Each file of a shard in turn; where a shard has one file alone, another shard's is a good one."""
    (tmp_path / "shards").mkdir()
    for path in shards(name, dtype).iterdir():
        (tmp_path / "shards" / path.name).write_bytes(path.read_bytes())
    own = sorted(path for path in (tmp_path / "shards").iterdir() if "000000" in path.name)
    for path in own if damage != "of another shard" or len(own) > 1 else ():
        good = path.read_bytes()
        match damage:
            case "one byte short":
                path.write_bytes(good[:-1])
            case "one byte long":
                path.write_bytes(good + b"\0")
            case "half":
                path.write_bytes(good[: len(good) // 2])
            case "empty":
                path.write_bytes(b"")
            case "gone":
                path.unlink()
            case "first byte flipped":
                path.write_bytes(bytes([good[0] ^ 0x80]) + good[1:])
            case "of another shard":
                path.write_bytes((path.parent / path.name.replace("000000", "000001")).read_bytes())
        if damage == "first byte flipped" and (name, path.suffix) in HEADLESS:
            path.write_bytes(good)  # an id like any other: `tokenmill verify` and `TokenDataset(…, hashes=True)` find it
            continue
        with pytest.raises(JobError, match=rf"tokenmill verify {tmp_path}"):
            len(FORMATS[name].reader(str(tmp_path), 0).lengths)
        path.write_bytes(good)


#: Files that begin with ids.
HEADLESS = {("megatron", ".bin"), ("olmo", ".npy"), ("datatrove", ".ds")}
