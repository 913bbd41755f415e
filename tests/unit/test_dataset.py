"""A dataset refuses what is not the sealed job: damage, another tokenizer, sums that do not close."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sealed import counting, seal
from tokenmill import TokenDataset
from tokenmill.errors import JobError, UsageError

LENGTHS = [[3, 1, 4], [], [1, 5, 9, 2]]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sealed")
    seal(str(folder), counting(*LENGTHS), mask=True)
    return folder


def test_documents_by_number(sealed: Path) -> None:
    dataset = TokenDataset(str(sealed))
    flat = [document for shard in counting(*LENGTHS) for document in shard]
    assert [ids.tolist() for ids in dataset] == flat
    assert [len(dataset), dataset[6].tolist()] == [7, flat[6]]
    for beyond in (-1, 7):
        with pytest.raises(IndexError):
            dataset[beyond]


@settings(deadline=None, max_examples=60)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), name=st.integers(0, 8), data=st.data())
def test_one_flipped_bit_of_any_file_is_found_by_hashes(sealed: Path, where: float, bit: int, name: int, data: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(sealed, Path(folder, "copy")))
        files = [file for file in sorted((copy / "shards").iterdir()) if file.stat().st_size]
        file = files[name % len(files)]
        content = bytearray(file.read_bytes())
        content[int(where * len(content))] ^= 1 << bit
        file.write_bytes(content)
        with pytest.raises(JobError, match=f"{file.name} has changed since the job was sealed"):
            TokenDataset(str(copy), hashes=True)


@settings(deadline=None, max_examples=40)
@given(share=st.floats(0, 1, exclude_max=True), name=st.integers(0, 8))
def test_a_short_file_is_found_at_open(sealed: Path, share: float, name: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(sealed, Path(folder, "copy")))
        files = [file for file in sorted((copy / "shards").iterdir()) if file.stat().st_size]
        file = files[name % len(files)]
        os.truncate(file, int(share * file.stat().st_size))
        with pytest.raises(JobError, match=rf"{file.name} is \d+ bytes long, the manifest says"):
            TokenDataset(str(copy))
        file.unlink()
        with pytest.raises(JobError, match=f"{file.name} is missing"):
            TokenDataset(str(copy))


def test_an_index_that_counts_otherwise_than_the_manifest_is_an_error(sealed: Path, tmp_path: Path) -> None:
    """Of the same size, so that only opening the shard can tell."""
    copy = Path(shutil.copytree(sealed, tmp_path / "copy"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["shards"][0]["documents"], manifest["shards"][2]["documents"] = 2, 5
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(JobError, match="holds 3 documents and 8 tokens, the manifest says 2 and 8"):
        TokenDataset(str(copy)).windows(4)[0]
    manifest["documents"] = 9
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(JobError, match="do not add up to its totals"):
        TokenDataset(str(copy)).windows(4)


def test_the_tokenizer_you_train_with_has_to_be_the_jobs(tmp_path: Path) -> None:
    """By file, folder, digest and object; an object is the same whatever padding or template somebody gave it."""
    own = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    other = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 1, "b": 0}, unk_token="a"))
    output = str(tmp_path / "out")
    (tmp_path / "out/tokenizer").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    own.save(str(tmp_path / "out/tokenizer/tokenizer.json"))
    other.save(str(tmp_path / "other/tokenizer.json"))
    digest = subprocess.run(["sha256sum", tmp_path / "out/tokenizer/tokenizer.json"], capture_output=True, text=True).stdout[
        :64
    ]
    seal(output, counting([3]), sha256=digest)
    own.enable_padding()
    for same in (tmp_path / "out/tokenizer", str(tmp_path / "out/tokenizer/tokenizer.json"), digest, own):
        assert len(TokenDataset(output, tokenizer=same)) == 1
    for another in (tmp_path / "other", str(tmp_path / "other/tokenizer.json"), "1" * 64):
        with pytest.raises(JobError, match=f"sha256 {digest}, you train with [0-9a-f]{{64}}"):
            TokenDataset(output, tokenizer=another)
    with pytest.raises(JobError, match=r"you train with [0-9a-f]{64}"):
        TokenDataset(output, tokenizer=other)
    for nothing in (tmp_path / "nowhere", 7):
        with pytest.raises(UsageError, match=r"tokenizer="):
            TokenDataset(output, tokenizer=nothing)


def test_open_shards_are_few_and_nothing_changes_by_it(sealed: Path) -> None:
    dataset = TokenDataset(str(sealed), open_shards=1)
    windows = dataset.windows(4, fields=("input_ids",))
    assert windows.gather(np.arange(len(windows)))["input_ids"].reshape(-1)[:25].tolist() == list(range(25))
    assert len(dataset._open) == 1


def test_a_spawned_worker_gets_no_tokens_by_pickle(sealed: Path) -> None:
    windows = TokenDataset(str(sealed)).windows(4)
    before = windows[2]["input_ids"].tolist()
    again = pickle.loads(pickle.dumps(windows))
    assert not again.dataset._open
    assert again[2]["input_ids"].tolist() == before


def test_importing_tokenmill_loads_nothing(sealed: Path) -> None:
    """Law 9; and opening a job loads neither torch nor tokenizers."""
    program = (
        "import sys, tokenmill; heavy = {'numpy', 'pydantic', 'torch', 'tokenizers'}\n"
        "assert not heavy & set(sys.modules)\n"
        "len(tokenmill.TokenDataset(sys.argv[1]).windows(4)[0])\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, sealed], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("['numpy', 'pydantic']\n", "")
