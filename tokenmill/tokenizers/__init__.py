"""What to encode with: a name resolved to files, pinned by sha256, settled as to BOS and EOS, cached on the host.

A new kind of vocabulary is one file here that turns it into a tokenizer.json, and one branch in `resolve`.
"""

from tokenmill.tokenizers.cache import cached
from tokenmill.tokenizers.ends import settle
from tokenmill.tokenizers.files import TokenizerFiles
from tokenmill.tokenizers.model import Model
from tokenmill.tokenizers.probes import probes, sweep
from tokenmill.tokenizers.resolve import resolve
from tokenmill.tokenizers.special import SpecialTokenSearch

__all__ = ["Model", "SpecialTokenSearch", "TokenizerFiles", "cached", "probes", "resolve", "settle", "sweep"]
