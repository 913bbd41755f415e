"""The GPU engine: byte-level BPE on a device, exact or not vouched for.

Comes in: a text column. Goes out: ids, and which documents the CPU has to do. `engine` sends batches to a `Device`, on which
the kernels of `kernels/` run as `batch` launches them; `families`, `classes` and `merges` say what those know of a tokenizer.
"""

from tokenmill.engines.cuda.compiled import version
from tokenmill.engines.cuda.engine import CudaEngine
from tokenmill.engines.cuda.gpu import describe, why_not_here

__all__ = ["CudaEngine", "describe", "version", "why_not_here"]
