"""Packing: documents into rows of a fixed length, and back.

`writers` make the rows (the pipeline alone wants them, and imports them from there), `bestfit` says which documents share one,
`pieces` is the sidecar that keeps what the rows no longer say, `unpacked` gives the documents back.
"""

from tokenmill.packing.pieces import Pieces
from tokenmill.packing.unpacked import Unpacked

__all__ = ["Pieces", "Unpacked"]
