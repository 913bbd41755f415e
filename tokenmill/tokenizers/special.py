"""Finds the documents that hold a special token's string, such as `<|endoftext|>` in the text of a web page."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tokenmill.tokenizers.model import Model


class SpecialTokenSearch:
    """A search for all special tokens of one tokenizer in a text column.

    Two steps: a substring scan for the few beginnings that the tokens share (`<|`, `<s`), in C and over the whole column,
    then a regular expression on the few documents that hold one.
    """

    def __init__(self, model: Model) -> None:
        tokens = [token["content"] for token in model.special_tokens if token["content"]]
        self._beginnings = sorted({token[:2] for token in tokens})
        self._any = re.compile("|".join(map(re.escape, sorted(tokens, reverse=True)))) if tokens else None

    def holds(self, text: pa.LargeStringArray) -> NDArray[np.bool_]:
        """For each document, whether it holds one."""
        found = np.zeros(len(text), dtype=np.bool_)
        if self._any is None:
            return found
        for beginning in self._beginnings:
            found |= pc.match_substring(text, beginning).to_numpy(zero_copy_only=False)
        for index in np.flatnonzero(found).tolist():
            found[index] = self._any.search(text[index].as_py() or "") is not None
        return found
