"""tokenmill, the library: what a job, a document, an engine and a shard are.

The two programs `producer` and `workers` stand on it; a training job imports `TokenDataset` from `tokenmill.reader`.
"""

__version__ = "0.1.0"
