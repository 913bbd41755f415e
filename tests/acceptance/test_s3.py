"""Sources and outputs in S3, as a user has them: the same shards as on a disk, and a server that dies in mid-job."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from producer.corpus import collect
from producer.prepare import prepare
from producer.request import Request
from tests.acceptance.cluster import Cluster
from tests.acceptance.conftest import BIN, JOB, Run
from tests.acceptance.faults import Fault, Ledger
from tests.objectserver import ObjectServer
from tokenmill import storage
from tokenmill.errors import UsageError
from tokenmill.ledger import Ledger as OutputLedger
from tokenmill.manifest import Shard
from tokenmill.reader import TokenDataset

OPTIONS = [*JOB, "--engine", "reference", "--batch-bytes", "75000"]


@pytest.fixture(scope="module")
def mixed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of the corpus in a folder of three formats, with files in it that are no sources."""
    folder = tmp_path_factory.mktemp("mixed")
    plain, packed, columns = (_half(corpus / f"part-{number}.jsonl") for number in range(3))
    (folder / "a").mkdir()
    (folder / "a/plain.jsonl").write_bytes(b"".join(plain))
    (folder / "packed.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(b"".join(packed)))
    rows = [json.loads(line) for line in columns]
    pq.write_table(pa.Table.from_pylist(rows), folder / "columns.parquet", row_group_size=200)
    (folder / "_SUCCESS").touch()
    (folder / ".hidden.jsonl").write_text("no JSON")
    return folder


def _half(path: Path) -> list[bytes]:
    lines = path.read_bytes().splitlines(keepends=True)
    return lines[: len(lines) // 2]


@pytest.fixture(scope="module")
def shards_on_disk(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Shard, ...]:
    """What the job makes of the corpus on paths."""
    output = tmp_path_factory.mktemp("disk") / "out"
    run = subprocess.run([BIN / "tokenmill", "run", mixed, *OPTIONS, "--output", output], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return shards(str(output))


@pytest.fixture
def corpus_url(mixed: Path, prefix: str) -> str:
    """The same folder in S3."""
    for path in mixed.rglob("*"):
        if path.is_file():
            storage.put(f"{prefix}/corpus/{path.relative_to(mixed).as_posix()}", path.read_bytes())
    return f"{prefix}/corpus"


def shards(output: str) -> tuple[Shard, ...]:
    manifest = OutputLedger(output).manifest()
    assert manifest is not None
    return manifest.shards


def test_from_s3_to_s3_the_shards_are_those_of_a_disk(
    tokenmill: Run, corpus_url: str, prefix: str, shards_on_disk: tuple[Shard, ...], object_server: ObjectServer
) -> None:
    """Every command that takes an output takes one in S3; a prefix, a list and globs of the same files are the same corpus."""
    output = f"{prefix}/out"
    done = tokenmill("run", f"{corpus_url}/", *OPTIONS, "--output", output)
    assert done.returncode == 0, done.stderr
    assert "passed over" in done.stderr
    assert shards(output) == shards_on_disk
    assert {name.partition("/")[0] for name in storage.names(output)} == {
        "entries", "job.json", "manifest.json", "plan.parquet", "report.html", "shards", "tokenizer",
    }  # fmt: skip

    verified = json.loads(tokenmill("verify", f"{output}/", "--full", "--json").stdout)
    dataset = TokenDataset(output)
    assert (verified["findings"], verified["compared"]) == ([], len(dataset))
    shown = json.loads(tokenmill("inspect", output, "--document", 0, "--json").stdout)
    assert shown["ids"] == dataset[0].tolist()
    assert dataset[len(dataset) - 1].tolist()[-1] == 1
    status = json.loads(tokenmill("status", output, "--json").stdout)
    assert (status["sealed"], status["committed"]) == (True, len(shards_on_disk))

    again = tokenmill("run", corpus_url, *OPTIONS, "--output", output)
    assert (again.returncode, "sealed" in again.stdout) == (0, True)
    whole, globbed, listed = (
        collect(sources)
        for sources in (
            [corpus_url],
            [f"{corpus_url}/**/*.jsonl*", f"{corpus_url}/*.parquet"],
            [f"{corpus_url}/a", f"{corpus_url}/packed.jsonl.zst", f"{corpus_url}/columns.parquet"],
        )
    )
    assert whole.fingerprint() == globbed.fingerprint() == listed.fingerprint()
    assert whole.passed_over == {"_SUCCESS": 1}
    storage.put(f"{corpus_url}/a/more.jsonl", b'{"text": "more"}\n')
    grown = tokenmill("run", corpus_url, *OPTIONS, "--output", output)
    assert grown.returncode == 2
    assert "source files were added, removed or changed" in grown.stderr
    for url, _ in storage.walk(output):
        assert object_server.secret.encode() not in storage.read(url)
        assert object_server.key.encode() not in storage.read(url)


def test_a_server_killed_in_mid_job_and_started_again(
    object_server: ObjectServer,
    corpus_url: str,
    prefix: str,
    tmp_path: Path,
    mixed: Path,
    shards_on_disk: tuple[Shard, ...],
    wait_until: Callable[..., None],
    faults: Ledger,
) -> None:
    """Nobody has to do anything: whoever needs the storage waits, and the job is sealed as if nothing had been."""
    output = f"{prefix}/out"
    command = [BIN / "tokenmill", "run", corpus_url, *OPTIONS, "--output", output, "--workers", "1"]
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
    try:
        wait_until(lambda: len(storage.names(f"{output}/entries")) >= 3, "three committed batches")
        object_server.kill()
        object_server.start()
        object_server.wait()
        before, since = len(storage.names(f"{output}/entries")), time.monotonic()
        wait_until(lambda: len(storage.names(f"{output}/entries")) > before, "work after the server's return")
        recovery = time.monotonic() - since
        assert running.wait(80) == 0, (tmp_path / "log").read_text()
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait()
    assert shards(output) == shards_on_disk
    manifest = TokenDataset(output).manifest
    fault = Fault(
        name="kill -9 of the S3 server, started again",
        times=1,
        documents_in=documents_in(mixed),
        documents_out=manifest.documents,
        rejected=manifest.rejected,
        recovery=recovery,
        same_bytes=True,
    )
    faults.faults.append(fault)
    assert fault.lost == 0


def documents_in(mixed: Path) -> int:
    """The records of the corpus's three files."""
    plain = (mixed / "a/plain.jsonl").read_bytes().count(b"\n")
    packed = zstandard.ZstdDecompressor().decompressobj().decompress((mixed / "packed.jsonl.zst").read_bytes()).count(b"\n")
    return plain + packed + int(pq.read_metadata(mixed / "columns.parquet").num_rows)


def test_a_cluster_whose_jobs_are_registered_in_s3(
    cluster: Cluster,
    tokenmill: Run,
    object_server: ObjectServer,
    corpus_url: str,
    prefix: str,
    shards_on_disk: tuple[Shard, ...],
    wait_until: Callable[..., None],
) -> None:
    cluster.environment |= {**object_server.environment(), "TOKENMILL_HOME": f"{prefix}/home"}
    cluster.start("tokenmill", "dispatch", name="dispatch")
    submitted = tokenmill("submit", corpus_url, *OPTIONS, "--output", f"{prefix}/out", **cluster.environment)
    assert submitted.returncode == 0, submitted.stderr
    assert submitted.stdout.strip() == f"{prefix}/out"
    assert len(storage.names(f"{prefix}/home/jobs")) == 1
    cluster.worker("alpha")
    wait_until(lambda: storage.exists(f"{prefix}/out/manifest.json"), "the seal")
    assert shards(f"{prefix}/out") == shards_on_disk
    wait_until(lambda: not storage.names(f"{prefix}/home/jobs"), "the pointer gone")


@pytest.mark.parametrize(
    ("source", "output", "said"),
    [
        ("s3://no-such-bucket/corpus", "out", "Create the bucket, name another"),
        ("{corpus}", "s3://no-such-bucket/out", "Create the bucket, name another"),
        ("{corpus}/nothing", "out", "corpus/nothing: there is no such file or folder, and it is no glob."),
        ("{corpus}/*.csv", "out", "holds no file that can be read"),
        ("{corpus}/_SUCCESS", "out", "the suffix names no source format"),
        ("s3://", "out", "s3:// names no bucket"),
        ("gcs://bucket/corpus", "out", "gcs:// is not served"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_started(corpus_url: str, source: str, output: str, said: str) -> None:
    asked = Request(sources=(source.format(corpus=corpus_url),), tokenizer=JOB[1], output=output, eos_token=False)
    with pytest.raises(UsageError, match=re.escape(said)):
        prepare(asked)


def test_a_wrong_secret_is_said_and_not_shown(tokenmill: Run, corpus_url: str) -> None:
    wrong = {"AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    refused = tokenmill("run", corpus_url, *OPTIONS, "--output", "out", **wrong)
    assert refused.returncode == 2, refused.stderr
    assert "Set AWS_SECRET_ACCESS_KEY to the secret of AWS_ACCESS_KEY_ID, here and where the workers run." in refused.stderr
    assert "not-the-secret" not in refused.stderr
