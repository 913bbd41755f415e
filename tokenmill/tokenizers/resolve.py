"""`--tokenizer T` resolved to files: a path, `package:NAME`, a name in TOKENMILL_TOKENIZERS, or a hub id.

What is not clear is refused. A path in the present folder comes before a name, and a name of this host's own before a hub.
"""

from pathlib import Path

from tokenmill import storage
from tokenmill.errors import UsageError
from tokenmill.roots import leads_out
from tokenmill.settings import Settings
from tokenmill.tokenizers import hub, package, sentencepiece, tiktoken
from tokenmill.tokenizers.files import CHAT_TEMPLATE, TOKENIZER_CONFIG, TOKENIZER_JSON, TokenizerFiles


def resolve(name: str) -> TokenizerFiles:
    """Find a tokenizer by the name the user gave.

    Raises UsageError if nothing or more than one thing answers to it, TransientError if the hub is away.
    """
    if name.startswith("package:"):
        path, version = package.locate(name.removeprefix("package:"))
        return TokenizerFiles(name=name, revision=version, files=_with_config(path))
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_folder(name, path)
    if path.is_file():
        return _from_file(name, path)
    if path.suffix in (".json", ".model", ".tiktoken") or name.startswith((".", "/", "~")):
        raise UsageError(f"--tokenizer {name}: there is no such file or folder.")
    shelf = Settings.from_environment().tokenizers
    if shelf is not None and not leads_out(name) and (shelf / name).is_dir():
        return _from_folder(name, shelf / name)
    repository, _, revision = name.partition("@")
    return hub.from_hub(name, repository, revision or None)


def _from_folder(name: str, folder: Path) -> TokenizerFiles:
    if (folder / TOKENIZER_JSON).is_file():
        return TokenizerFiles(name=name, revision=None, files=_with_config(folder / TOKENIZER_JSON))
    vocab, merges = folder / "vocab.json", folder / "merges.txt"
    if vocab.is_file() and merges.is_file():
        files = {"vocab.json": _read(vocab), "merges.txt": _read(merges)}
        model = tiktoken.from_gpt2(files["vocab.json"], files["merges.txt"], name)
        return TokenizerFiles(name=name, revision=None, files={**files, TOKENIZER_JSON: model}, converted=True)
    candidates = sorted([*folder.glob("*.model"), *folder.glob("*.tiktoken")])
    if len(candidates) == 1:
        return _from_file(name, candidates[0])
    others = (
        f"several vocabularies: {', '.join(c.name for c in candidates)}. Name one." if candidates else "no other vocabulary."
    )
    raise UsageError(f"--tokenizer {name}: the folder holds no tokenizer.json, and {others}")


def _from_file(name: str, path: Path) -> TokenizerFiles:
    data = _read(path)
    if path.suffix == ".json":
        return TokenizerFiles(name=name, revision=None, files=_with_config(path))
    if path.suffix == ".tiktoken":
        model = tiktoken.from_ranks(data, str(path))
    elif ".model" in path.suffixes:  # Mistral's are called tokenizer.model.v3
        model = sentencepiece.from_sentencepiece(data, str(path))
    else:
        raise UsageError(f"--tokenizer {name}: give a tokenizer.json, a .tiktoken or a SentencePiece .model file.")
    return TokenizerFiles(name=name, revision=None, files={path.name: data, TOKENIZER_JSON: model}, converted=True)


def _with_config(model: Path) -> dict[str, bytes]:
    files = {TOKENIZER_JSON: _read(model)}
    for name in (TOKENIZER_CONFIG, CHAT_TEMPLATE):
        beside = model.with_name(name)
        if beside.is_file():
            files[name] = _read(beside)
    return files


def _read(path: Path) -> bytes:
    return storage.read(str(path.resolve()))
