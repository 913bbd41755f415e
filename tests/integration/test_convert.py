"""A converted output is, file for file, what a job that was run with that format leaves behind."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from producer.request import Request
from tests.inprocess import run_to_seal
from tokenmill import storage
from tokenmill.convert import convert
from tokenmill.errors import JobError, UsageError
from tokenmill.ledger import Ledger
from tokenmill.reader import TokenDataset
from tokenmill.shards import FORMATS
from tokenmill.verify import verify

Run = Callable[..., str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tokenizer_path: Callable[[str], Path], real_texts: list[str]) -> Run:
    """Runs one small job, with a damaged and an empty record in it, in this process; gives its output."""
    base = tmp_path_factory.mktemp("convert")
    texts = [text[:3000] for text in real_texts[:60]]
    lines = [json.dumps({"text": text}) for text in texts]
    lines[10:10] = ['{"text": 7}', '{"text": ""}', "{"]
    (base / "corpus.jsonl").write_text("\n".join(lines) + "\n")

    def made(output: str, name: str, dtype: str = "auto", *, ends: bool = True) -> str:
        request = Request(
            sources=(str(base / "corpus.jsonl"),),
            tokenizer=str(tokenizer_path("bert")),
            output=output,
            eos_token="[SEP]" if ends else False,
            bos_token=False,
            format=name,
            dtype=dtype,
            engine="reference",
            batch_bytes=50_000,
            max_rejected=0.5,
            check_every=0,
        )
        return run_to_seal(request).ledger.output

    return made


@pytest.fixture(scope="module")
def sealed(run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A job with Megatron's shards."""
    return run(str(tmp_path_factory.mktemp("sealed") / "out"), "megatron")


def contents(output: str, *folders: str) -> dict[str, bytes]:
    """The files of some folders of an output."""
    return {url.removeprefix(output): storage.read(url) for folder in folders for url, _ in storage.walk(f"{output}/{folder}")}


def manifest(output: str) -> dict[str, object]:
    """All but the job's number, which has the format in it."""
    found = json.loads(storage.read(f"{output}/manifest.json"))
    return {name: value for name, value in found.items() if name != "job_id"}


def quiet(done: int, steps: int) -> None:
    pass


CASES = [(name, dtype) for name, found in FORMATS.items() for dtype in ("uint16", found.wide)]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_converted_is_as_run(name: str, dtype: str, run: Run, sealed: str, tmp_path: Path) -> None:
    direct, converted, back = (str(tmp_path / folder) for folder in ("direct", "converted", "back"))
    run(direct, name, dtype)
    totals = convert(sealed, converted, name, dtype, quiet)
    folders = ("shards", "rejected", "tokenizer")
    assert contents(converted, *folders) == contents(direct, *folders)
    assert len(contents(converted, "shards")) >= 3
    assert manifest(converted) == manifest(direct)
    assert totals.job_id == Ledger(sealed).job().job_id
    for output in (direct, converted):
        assert verify(output, full=True, advance=quiet).findings == ()
    old, new = TokenDataset(sealed), TokenDataset(converted, hashes=True)
    assert [ids.tolist() for ids in new] == [ids.tolist() for ids in old]
    convert(converted, back, "megatron", "auto", quiet)
    assert contents(back, *folders, "entries") == contents(sealed, *folders, "entries")
    assert manifest(back) == manifest(sealed)


@pytest.mark.parametrize("name", ["litdata", "arrow", "parquet"])
def test_from_and_to_an_object_store(name: str, sealed: str, tmp_path: Path, prefix: str) -> None:
    here, there, back = str(tmp_path / "here"), f"{prefix}/there", str(tmp_path / "back")
    convert(sealed, here, name, "auto", quiet)
    convert(sealed, there, name, "auto", quiet)
    assert contents(there, "shards", "entries") == contents(here, "shards", "entries")
    assert manifest(there) == manifest(here)
    convert(there, back, "megatron", "auto", quiet)
    assert contents(back, "shards") == contents(sealed, "shards")


def test_interrupted_and_taken_up_again(sealed: str, tmp_path: Path) -> None:
    whole, part = str(tmp_path / "whole"), str(tmp_path / "part")
    convert(sealed, whole, "mds", "auto", quiet)

    def interrupt(done: int, steps: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(sealed, part, "mds", "auto", interrupt)
    assert not Ledger(part).is_sealed()
    first = (tmp_path / "part/shards/000000.mds").stat().st_mtime_ns
    (tmp_path / "part/shards/000001.mds.part-123").write_bytes(b"of one that was killed")
    totals = convert(sealed, part, "mds", "auto", quiet)
    assert contents(part, "") == contents(whole, "") | {"/report.html": storage.read(f"{part}/report.html")}
    assert (tmp_path / "part/shards/000000.mds").stat().st_mtime_ns == first
    assert convert(sealed, part, "mds", "auto", quiet) == totals


@pytest.mark.parametrize("damage", ["a flipped byte", "a short file", "a missing file", "a flipped byte in rejected"])
def test_what_is_not_what_was_sealed_is_not_converted(damage: str, run: Run, tmp_path: Path) -> None:
    output, target = Path(run(str(tmp_path / "out"), "megatron")), tmp_path / "to"
    path = next((output / "rejected").iterdir()) if "rejected" in damage else output / "shards/000000.bin"
    good = path.read_bytes()
    if "flipped" in damage:
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    elif "short" in damage:
        path.write_bytes(good[:-2])
    else:
        path.unlink()
    with pytest.raises(JobError, match=rf"{path.name} is not what was sealed. Run: tokenmill verify {output}"):
        convert(str(output), str(target), "numpy", "auto", quiet)
    assert not (target / "manifest.json").exists()
    assert not list(target.glob(f"entries/{path.name[:6]}.json"))
    assert not list(target.rglob("*.part-*"))
    path.write_bytes(good)
    convert(str(output), str(target), "numpy", "auto", quiet)


def test_what_cannot_be_converted_is_said(run: Run, sealed: str, tmp_path: Path) -> None:
    strange, other, open_job = tmp_path / "strange", str(tmp_path / "other"), tmp_path / "open"
    strange.mkdir()
    (strange / "thesis.txt").write_text("mine")
    convert(sealed, other, "olmo", "auto", quiet)
    endless = run(str(tmp_path / "endless"), "megatron", ends=False)
    open_job.mkdir()
    (open_job / "job.json").write_bytes(storage.read(f"{sealed}/job.json"))
    refusals = [
        (sealed, str(strange), "olmo", "auto", "is not empty and holds no tokenmill job"),
        (sealed, sealed, "olmo", "auto", "is the folder to convert"),
        (sealed, other, "datatrove", "auto", "belongs to another job or another conversion"),
        (sealed, other, "olmo", "uint32", "belongs to another job or another conversion"),
        (sealed, str(tmp_path / "n"), "olmo", "int32", "olmo holds uint16 or uint32"),
        (endless, str(tmp_path / "n"), "llmc", "auto", "no document boundaries"),
        (str(tmp_path / "nothing"), str(tmp_path / "n"), "olmo", "auto", "holds no tokenmill job"),
        (str(open_job), str(tmp_path / "n"), "olmo", "auto", "is not sealed"),
    ]
    for source, output, name, dtype, said in refusals:
        with pytest.raises(JobError, match=said) as caught:
            convert(source, output, name, dtype, quiet)
        assert isinstance(caught.value, UsageError) or said == "is not sealed"
    assert not (tmp_path / "n").exists()
    with pytest.raises(UsageError, match="no document boundaries"):
        run(str(tmp_path / "n"), "llmc", ends=False)


def test_the_commands(tmp_path: Path, tokenizer_path: Callable[[str], Path]) -> None:
    """Through real workers and their dispatcher."""

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = [Path(sys.executable).with_name("tokenmill"), *arguments]
        return subprocess.run(program, capture_output=True, text=True, cwd=tmp_path)

    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps({"text": f"number {n} " * 50}) + "\n" for n in range(500)))
    asked = ("--tokenizer", str(tokenizer_path("bert")), "--eos-token", "[SEP]", "--no-bos-token", "--engine", "reference")
    done = command("run", "corpus.jsonl", *asked, "--format", "litdata", "--output", "tokens", "--batch-bytes", "100000")
    assert done.returncode == 0, done.stderr
    assert "(litdata, uint16)" in done.stdout
    assert json.loads((tmp_path / "tokens/manifest.json").read_text())["folder_files"][0]["path"] == "shards/index.json"
    done = command("convert", "tokens", "--format", "mds", "--output", "to")
    assert done.returncode == 0, done.stderr
    assert "(mds, uint16)" in done.stdout
    assert command("verify", "to").returncode == 0
    shown = command("inspect", "to", "--document", "0", "--json")
    assert json.loads(shown.stdout)["ids"] == TokenDataset(str(tmp_path / "tokens"))[0].tolist()
    assert command("convert", "tokens", "--format", "olmo", "--output", "to").returncode == 2
    index = tmp_path / "to/shards/index.json"
    index.write_bytes(b"[" + index.read_bytes()[1:])
    found = command("verify", "to")
    assert (found.returncode, "shards/index.json" in found.stdout) == (1, True)
