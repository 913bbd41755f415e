"""A resolved tokenizer: the very files that decide ids, in memory, with their digests."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from tokenmill.errors import UsageError
from tokenmill.job import TokenizerRef
from tokenmill.record import FileDigest
from tokenmill.roots import leads_out, shown
from tokenmill.tokenizers.model import Model, parts

#: The file every engine loads; other kinds of vocabulary are converted into it.
TOKENIZER_JSON = "tokenizer.json"
#: Carries eos_token, bos_token and whether they are added.
TOKENIZER_CONFIG = "tokenizer_config.json"
#: Writes conversations; older tokenizers have it in their configuration.
CHAT_TEMPLATE = "chat_template.jinja"


@dataclass(frozen=True, kw_only=True)
class TokenizerFiles:
    """What `--tokenizer` was resolved to."""

    #: As the user named it.
    name: str
    revision: str | None
    #: File name -> content; `tokenizer.json` is always among them.
    files: dict[str, bytes]
    #: True when tokenizer.json was made from another kind of vocabulary, which says nothing of BOS or EOS.
    converted: bool = False

    @cached_property
    def model(self) -> Model:
        """The tokenizer.json. Raises UsageError if it is none."""
        return Model(self.files[TOKENIZER_JSON], f"{TOKENIZER_JSON} of {self.name}")

    @cached_property
    def ref(self) -> TokenizerRef:
        """The identity that goes into the job: digests of all files, the size of the vocabulary.

        Raises UsageError if a file's name cannot be taken over into the output.
        """
        if strange := next((name for name in self.files if leads_out(name)), None):
            raise UsageError(f"--tokenizer {self.name}: its file {shown(strange)} needs a plain name. Rename it.")
        digests = tuple(
            FileDigest(path=f"tokenizer/{name}", bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
            for name, data in sorted(self.files.items())
        )
        return TokenizerRef(
            name=self.name,
            revision=self.revision,
            sha256=self.model.sha256,
            vocab_size=self.model.vocab_size,
            files=digests,
        )

    def config(self) -> dict[str, Any]:
        """The tokenizer_config.json as JSON; empty if there is none."""
        data = self.files.get(TOKENIZER_CONFIG)
        found = parts(data, f"{TOKENIZER_CONFIG} of {self.name}") if data else {}
        return {name: msgspec.json.decode(value) for name, value in found.items()}
