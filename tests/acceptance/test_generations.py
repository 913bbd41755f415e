"""A growing corpus, as a user has it: each night takes what is new, whoever dies meanwhile, and all nights are read as one."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from producer.incremental import begin
from producer.prepare import prepare
from tests.acceptance.conftest import Run
from tests.growing import EOS, byte_tokenizer, ids, night, texts, write
from tests.inprocess import run_to_seal
from tokenmill import TokenDataset, storage
from tokenmill.convert import convert
from tokenmill.errors import JobError, UsageError
from tokenmill.generations import Chain
from tokenmill.verify import verify


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    return byte_tokenizer(tmp_path)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write(tmp_path / "corpus", "a.jsonl", "first", "second")
    write(tmp_path / "corpus", "b.jsonl", "third")
    return tmp_path / "corpus"


def standing(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with the time of its last change."""
    return {str(file): (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*") if file.is_file()}


def findings(output: object) -> tuple[str, ...]:
    return verify(str(output), full=True, advance=lambda *_: None).findings


def command(corpus: Path, output: Path, tokenizer: Path, generation: str) -> list[str]:
    options = ["--tokenizer", str(tokenizer), "--eos-token", EOS, "--no-bos-token", "--engine", "reference", "--workers", "1"]
    where = ["--output", str(output), "--generation", generation]
    return ["run", str(corpus), *options, *where]


def test_three_nights(tokenmill: Run, corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    """New and changed files alone are taken, a night may bring nothing, and what was sealed stays as it was."""
    output = tmp_path / "out"
    first = tokenmill(*command(corpus, output, tokenizer, "n1"))
    assert first.returncode == 0, first.stderr
    assert "2 new, 0 changed, 0 unchanged, 0 gone" in first.stderr
    before = standing(output)
    empty = tokenmill(*command(corpus, output, tokenizer, "n2"))
    assert empty.returncode == 0, empty.stderr
    assert len(TokenDataset(str(output / "n2"))) == 0
    write(corpus, "b.jsonl", "third, written anew")
    write(corpus, "c.jsonl", "fourth")
    (corpus / "a.jsonl").unlink()
    third = tokenmill(*command(corpus, output, tokenizer, "n3"))
    assert third.returncode == 0, third.stderr
    assert "1 new, 1 changed, 0 unchanged, 1 gone" in third.stderr
    assert "changed: 1 files, which earlier generations hold in an older state" in third.stderr
    again = tokenmill(*command(corpus, output, tokenizer, "n1"))
    assert (again.returncode, "sealed already" in again.stderr) == (0, True)
    assert {name: found for name, found in standing(output).items() if name in before} == before
    assert texts(output) == ["first", "second", "third", "third, written anew", "fourth"]
    assert findings(output) == ()
    shown = tokenmill("status", output)
    assert shown.returncode == 0, shown.stderr
    assert "n3" in shown.stdout
    assert all(len(line) <= 80 for line in shown.stdout.splitlines())
    found = json.loads(tokenmill("status", output, "--json").stdout)["generations"]
    assert [(one["name"], one["state"], one["documents"]) for one in found] == [
        ("n1", "sealed", 3),
        ("n2", "sealed", 0),
        ("n3", "sealed", 2),
    ]


#: Where the producer of the first night dies: the function, and whether it is done before.
DEATHS = {
    "between claim and plan": ("tokenmill.generations:Chain.claim", True),
    "in mid job": ("producer.dispatch:Dispatcher._settle", True),
    "between seal and index": ("tokenmill.generations:Chain.write_index", False),
}
DYING = """
import functools, importlib, os, signal, sys
name, done_before = sys.argv.pop(1), sys.argv.pop(1) == "True"
module, path = name.split(":")
owner, attribute = getattr(importlib.import_module(module), path.split(".")[0]), path.split(".")[1]
original = getattr(owner, attribute)
def dies(*arguments):
    if done_before:
        original(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, attribute, dies)
from producer.cli import main
main()
"""


@pytest.mark.parametrize("where", DEATHS)
def test_the_producer_is_killed(where: str, corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    """The same name goes on with the files it was begun with; what came since is for the next one."""
    output, (name, done_before) = tmp_path / "out", DEATHS[where]
    cut = ["--batch-bytes", "20"]
    arguments = [name, str(done_before), *command(corpus, output, tokenizer, "n1"), *cut]
    killed = subprocess.run([sys.executable, "-c", DYING, *arguments], capture_output=True, timeout=120)
    assert killed.returncode == -9, killed.stderr
    write(corpus, "c.jsonl", "fourth")
    if where != "between seal and index":
        with pytest.raises(UsageError, match=r"n1 .* is unfinished"):
            prepare(night(corpus, output, "n2", tokenizer))
        run_to_seal(night(corpus, output, "n1", tokenizer, batch_bytes=20))
    prepare(night(corpus, output, "n1", tokenizer, batch_bytes=20))
    assert (output / "generations/000001.index.json").exists()
    assert texts(output) == ["first", "second", "third"]
    run_to_seal(night(corpus, output, "n2", tokenizer))
    assert texts(output) == ["first", "second", "third", "fourth"]
    assert findings(output) == ()


def test_two_producers_at_once(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    """Of two names one begins; of one name there is one record, whoever asked."""
    asked = [night(corpus, tmp_path / "out", name, tokenizer) for name in ("n1", "n2") * 4]
    with ThreadPoolExecutor(len(asked)) as pool:
        ends = [pool.submit(begin, request) for request in asked]
    begun = [end.result().generation for end in ends if end.exception() is None]
    refused = [end.exception() for end in ends if end.exception() is not None]
    assert len(begun) == len(refused) == 4
    assert all(one == begun[0] for one in begun)
    assert all(isinstance(error, UsageError) and "is unfinished" in str(error) for error in refused)
    # one record, and the list of files that it names
    assert len(storage.names(f"{tmp_path}/out/generations")) == 2


def test_a_cancelled_generation_is_passed_over(tokenmill: Run, corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    """Its files count as new, even if somebody seals it in the end; before its job is on record it can be cancelled too."""
    output = tmp_path / "out"
    begin(night(corpus, output, "n1", tokenizer))
    assert tokenmill("cancel", output / "n1").returncode == 0
    late = prepare(night(corpus, output, "n1", tokenizer))  # asked for again: it goes on
    assert tokenmill("cancel", output / "n1").returncode == 0
    run_to_seal(night(corpus, output, "n2", tokenizer))
    late.ledger.take_up()
    with pytest.raises(UsageError, match=r"n1 .* was cancelled"):
        prepare(night(corpus, output, "n1", tokenizer))
    assert texts(output) == ["first", "second", "third"]
    assert TokenDataset(str(output)).outputs == (str(output / "n2"),)


def test_what_is_refused(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with pytest.raises(JobError, match="is not sealed"):
        TokenDataset(str(output))
    run_to_seal(night(corpus, output, "n1", tokenizer))
    with pytest.raises(UsageError, match="format was 'megatron', is 'olmo'"):
        prepare(night(corpus, output, "n2", tokenizer, format="olmo"))
    with pytest.raises(UsageError, match=r"eos_token was '</s>', is None"):
        prepare(night(corpus, output, "n2", tokenizer, eos_token=False))
    other = json.loads(tokenizer.read_text())
    other["added_tokens"][0]["rstrip"] = True
    tokenizer.write_text(json.dumps(other))
    with pytest.raises(UsageError, match=r"the tokenizer's sha256 was \w+…, is "):
        prepare(night(corpus, output, "n2", tokenizer))
    for name in ("a/b", "..", "generations", ""):
        with pytest.raises(UsageError, match="is no name of a folder"):
            prepare(night(corpus, output, name, tokenizer))
    with pytest.raises(UsageError, match="is the output of a single job"):
        prepare(night(corpus, output / "n1", "n2", tokenizer))
    with pytest.raises(UsageError, match="is a folder of generations"):
        convert(str(output), str(tmp_path / "converted"), "olmo", "auto", lambda *_: None)
    last = Chain(str(output)).last()
    assert last is not None
    assert last.name == "n1"


def test_a_chain_that_was_tampered_with_is_found(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run_to_seal(night(corpus, output, "n1", tokenizer))
    run_to_seal(night(corpus, output, "n2", tokenizer))
    manifest = output / "n1/manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"rejected": 0', b'"rejected": 0 ', 1))
    assert findings(output) == ("n1/manifest.json is missing or not what the chain says",)
    with pytest.raises(JobError, match="not what later generations say"):
        TokenDataset(str(output))


@pytest.mark.parametrize("place", ["path", "s3"])
def test_old_generations_retire(
    place: str, corpus: Path, tokenizer: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Their shards go, what they hold stays known, and the others are read as before: on a path and in S3."""
    output = str(tmp_path / "out") if place == "path" else f"{request.getfixturevalue('prefix')}/out"
    for number in range(3):
        write(corpus, f"{number}.jsonl", f"of night {number}")
        run_to_seal(night(corpus, output, f"n{number}", tokenizer))
    everything = ids(output)
    chain = Chain(output)
    assert chain.retire(2, at=1.0) == ["n0"]
    assert storage.names(f"{output}/n0/shards") == []
    assert everything[-len(ids(output)) :] == ids(output)
    assert texts(output) == ["of night 1", "of night 2"]
    assert findings(output) == ()
    with pytest.raises(JobError, match="was retired"):
        TokenDataset(f"{output}/n0")
    again = run_to_seal(night(corpus, output, "n3", tokenizer))
    assert again.generation is not None
    assert (again.generation.new, again.generation.unchanged, again.job.batches) == (0, 5, 0)
    # killed after the claim: the next one removes what is left
    storage.put(f"{output}/n1/retired.json", b'{"version": 1, "at": 1.0}')
    assert texts(output) == ["of night 2"]
    assert chain.retire(2, at=2.0) == ["n0", "n1"]
    assert storage.names(f"{output}/n1/shards") == []
