"""Folders that `datasets.Dataset.save_to_disk` wrote: which of their files hold the documents.

Comes in: the files found below a source. Goes out: those that are sources. Layout (datasets 5, `Dataset.save_to_disk`): beside
`data-00000-of-00002.arrow` (IPC streams) and `dataset_info.json` stands `state.json`, whose `_data_files` name the streams in
order; a `DatasetDict` is a folder for each split beside `dataset_dict.json`. Always holds: what `state.json` does not name,
such as a `cache-….arrow` that `map` left, is no source.
"""

import json
from collections.abc import Iterable

from tokenmill import storage
from tokenmill.errors import UsageError

STATE = "state.json"
BESIDE = (STATE, "dataset_info.json", "dataset_dict.json")


def left_out(urls: Iterable[str]) -> set[str]:
    """The files that are no sources because a saved dataset does not name them. Raises UsageError if one cannot be read."""
    folders: dict[str, set[str]] = {}
    for url in urls:
        folder, _, name = url.rpartition("/")
        folders.setdefault(folder, set()).add(name)
    out: set[str] = set()
    for folder, names in folders.items():
        if "dataset_dict.json" in names:
            out.add(f"{folder}/dataset_dict.json")
        if names.issuperset(BESIDE[:2]):
            named = _named(f"{folder}/{STATE}")
            missing = sorted(named - names)
            if missing:
                raise UsageError(f"{folder}/{STATE} names {missing[0]}, which is not there. Save the dataset again.")
            out.update(f"{folder}/{name}" for name in names - named)
    return out


def _named(url: str) -> set[str]:
    """The data files that a state names."""
    try:
        state = json.loads(storage.read(url))
        names = [file["filename"] for file in state["_data_files"]]
        indirect = state.get("_indices_data_files") or state.get("_indices_files")
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{url} is no state of a saved dataset: {error!r}. Save the dataset again.") from error
    if indirect:
        raise UsageError(f"{url} selects rows by an index, as old versions of `datasets` did. Save the dataset again.")
    if names != sorted(names):  # files of a job are read in the order of their names
        raise UsageError(f"{url} names its files in another order than that of their names. Save the dataset again.")
    return set(names)
