"""tokenmill, the library: what a job, a document, an engine and a shard are.

The two programs `producer` and `workers` stand on it; a training job imports `TokenDataset`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenmill.reader import TokenDataset as TokenDataset

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`TokenDataset`, loaded when it is asked for: what imports it wants NumPy, the command line does not."""
    if name == "TokenDataset":
        from tokenmill.reader import TokenDataset

        return TokenDataset
    raise AttributeError(f"module 'tokenmill' has no attribute {name!r}")
