"""Room 2, engines: an Arrow text column in, a token array and its offsets out.

A new engine is one file here with `name`, `version`, `supports` and `encode`, and one line in `registry.ENGINES`.
"""

from tokenmill.engines.certify import SAMPLE_BYTES, choose
from tokenmill.engines.contract import Engine, Tokens
from tokenmill.engines.encoder import Encoder
from tokenmill.engines.registry import ENGINES

__all__ = ["ENGINES", "SAMPLE_BYTES", "Encoder", "Engine", "Tokens", "choose"]
