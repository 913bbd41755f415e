"""What to encode with: a name resolved to files, pinned by sha256, settled as to BOS and EOS, cached on the host.

A new kind of vocabulary is one file here that turns it into a tokenizer.json, and one branch in `resolve`.
"""

from tokenmill.tokenizers.cache import cached
from tokenmill.tokenizers.ends import settle, settle_pad
from tokenmill.tokenizers.files import CHAT_TEMPLATE, TokenizerFiles
from tokenmill.tokenizers.model import Model
from tokenmill.tokenizers.probes import SWEPT, in_contexts, probes, token_probes
from tokenmill.tokenizers.resolve import resolve
from tokenmill.tokenizers.search import TextSearch

__all__ = [
    "CHAT_TEMPLATE",
    "SWEPT",
    "Model",
    "TextSearch",
    "TokenizerFiles",
    "cached",
    "in_contexts",
    "probes",
    "resolve",
    "settle",
    "settle_pad",
    "token_probes",
]
