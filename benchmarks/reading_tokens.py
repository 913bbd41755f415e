"""Tokens to read: random ids in documents of web-like lengths, and the sealed job of them, without a tokenizer.

Comes in: a folder, how many tokens. Goes out: `ids.npy` (int32, all documents end to end), `lengths.npy`, and `job/`, a sealed
output of eight shards with the ledger's own manifest. Always holds: the same seed gives the same tokens.
"""

from pathlib import Path

import numpy as np

from tokenmill import storage
from tokenmill.job import Counts, TokenizerRef
from tokenmill.manifest import Manifest, Shard
from tokenmill.shards import FORMATS
from tokenmill.spec import SpecialTokens

#: Of Qwen3; ids of more than 16 bits, as most vocabularies have them now.
VOCABULARY = 151_669
SHARDS = 8


def make(folder: Path, tokens: int) -> None:
    """Write the tokens, and the job, unless they are there."""
    if (folder / "job" / "manifest.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    # log-normal with a median of 600 tokens and a mean of 1,100, as pages of the web are
    lengths = np.clip(random.lognormal(6.4, 1.1, 2 * tokens // 1100), 5, 200_000).astype(np.int64)
    lengths = lengths[: int(np.searchsorted(np.cumsum(lengths), tokens))]
    ids = random.integers(0, VOCABULARY, int(lengths.sum()), np.int32)
    np.save(folder / "ids.npy", ids)
    np.save(folder / "lengths.npy", lengths)
    _seal(str(folder / "job"), ids, lengths)


def _seal(output: str, ids: np.ndarray, lengths: np.ndarray) -> None:
    rows, start = [], 0
    for index, part in enumerate(np.array_split(lengths, SHARDS)):
        stop = start + int(part.sum())
        with FORMATS["megatron"].writer(output, index, "int32") as writer:
            writer.append(ids[start:stop].view(np.uint32), part)
            rows.append(Shard(index=index, files=writer.publish(), tokens=stop - start, documents=len(part), rejected=0))
        start = stop
    manifest = Manifest(
        job_id="0" * 16,
        tokenizer=TokenizerRef(name="random", revision=None, sha256="0" * 64, vocab_size=VOCABULARY, files=()),
        format="megatron",
        dtype="int32",
        bos_token=None,
        bos_id=None,
        eos_token=None,
        eos_id=None,
        special_tokens=SpecialTokens.TEXT,
        tokens=len(ids),
        documents=len(lengths),
        rejected=0,
        rejected_by_reason={},
        documents_with_special_tokens=0,
        input_bytes=0,
        text_bytes=0,
        document_lengths=Counts().lengths,
        shards=tuple(rows),
    )
    storage.put(storage.join(output, "manifest.json"), manifest.to_json())
