"""A tokenizer from the Hugging Face hub: fetched once, by the producer, at a pinned commit, data files only."""

from tokenmill.errors import TransientError, UsageError
from tokenmill.tokenizers.files import CHAT_TEMPLATE, TOKENIZER_CONFIG, TOKENIZER_JSON, TokenizerFiles

#: Only data is ever fetched: no Python file of a repository is downloaded, let alone run.
WANTED = (TOKENIZER_JSON, TOKENIZER_CONFIG, CHAT_TEMPLATE)


def from_hub(name: str, repository: str, revision: str | None) -> TokenizerFiles:
    """Fetch a tokenizer. Raises UsageError if there is none of that name, TransientError if the hub cannot be reached."""
    from huggingface_hub import HfApi, errors, hf_hub_download

    try:
        commit = HfApi().model_info(repository, revision=revision).sha
        files = {}
        for file in WANTED:
            try:
                with open(hf_hub_download(repository, file, revision=commit), "rb") as stream:
                    files[file] = stream.read()
            except errors.EntryNotFoundError:
                if file == TOKENIZER_JSON:
                    raise UsageError(f"{name} has no tokenizer.json on the hub. Name a repository that has one.") from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise UsageError(
            f"{name} is neither a file or folder here nor a repository on the hub (or it needs HF_TOKEN). "
            f"Give a path, org/name[@revision], or package:NAME."
        ) from error
    except (errors.HTTPError, OSError) as error:  # type: ignore[attr-defined]  # httpx's, whichever httpx it is
        raise TransientError(
            f"the hub cannot be reached for {name}: {type(error).__name__}. "
            f"Try again later, or give a path to its tokenizer.json, or put that into TOKENMILL_TOKENIZERS/{repository}/."
        ) from error
    return TokenizerFiles(name=name, revision=commit, files=files)
