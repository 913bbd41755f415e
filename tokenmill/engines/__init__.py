"""Room 2, engines: an Arrow text column in, a token array and its offsets out.

A new engine is one file here with `supports` and `encode`, and one line in `registry.ENGINES`.
"""

from tokenmill.engines.choice import choose, on_gpu, trusted
from tokenmill.engines.contract import LEARNED, Engine, Tokens, from_lengths, joined, with_ends
from tokenmill.engines.encoder import Encoder
from tokenmill.engines.registry import ENGINES, GPU, REFERENCE
from tokenmill.engines.spotcheck import Divergence, SpotCheck

__all__ = [
    "ENGINES",
    "GPU",
    "LEARNED",
    "REFERENCE",
    "Divergence",
    "Encoder",
    "Engine",
    "SpotCheck",
    "Tokens",
    "choose",
    "from_lengths",
    "joined",
    "on_gpu",
    "trusted",
    "with_ends",
]
