"""Sealed jobs without a corpus: real shards of given ids, and the manifest that the ledger would write."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tokenmill import storage
from tokenmill.job import Counts, TokenizerRef
from tokenmill.manifest import Manifest, Shard
from tokenmill.packing.writers import packed
from tokenmill.shards import FORMATS
from tokenmill.spec import Packing, SpecialTokens

#: A job's documents, shard by shard.
Documents = Sequence[Sequence[Sequence[int]]]


def seal(
    output: str,
    shards: Documents,
    *,
    dtype: str = "uint16",
    sha256: str = "0" * 64,
    job_id: str = "0" * 16,
    mask: bool = False,
    format: str = "megatron",  # noqa: A002  # as the manifest calls it
    pack: Packing | None = None,
    pad_id: int | None = None,
) -> Manifest:
    """Write a sealed job; with `mask`, one that learns from odd ids only."""
    rows = []
    for index, documents in enumerate(shards):
        ids = np.array([token for document in documents for token in document], np.uint32)
        tally = Counter[str]()
        with packed(FORMATS[format].writer(output, index, dtype), output, index, pack, pad_id, tally) as writer:
            writer.append(ids, np.array([len(document) for document in documents], np.int64))
            files = writer.publish()
        tokens, reader = len(ids), FORMATS[format].reader(output, index)
        if mask:
            ids = reader.span(0, len(reader))
            path = f"shards/{index:06d}.mask"
            files += (storage.put(storage.join(output, path), (ids % 2).astype(np.uint8).tobytes(), path),)
        rows.append(
            Shard(
                index=index,
                files=files,
                tokens=tokens,
                documents=len(documents),
                rejected=0,
                sequences=None if pack is None else tally["sequences"],
                tokens_padding=tally["tokens_padding"],
            )
        )
    manifest = Manifest(
        job_id=job_id,
        tokenizer=TokenizerRef(name="t", revision=None, sha256=sha256, vocab_size=65_000, files=()),
        format=format,
        dtype=dtype,
        bos_token=None,
        bos_id=None,
        eos_token="</s>",
        eos_id=0,
        special_tokens=SpecialTokens.TEXT,
        tokens=sum(row.tokens for row in rows),
        documents=sum(row.documents for row in rows),
        rejected=0,
        rejected_by_reason={},
        documents_with_special_tokens=0,
        input_bytes=1,
        text_bytes=1,
        document_lengths=Counts().lengths,
        pack=pack,
        pad_id=pad_id,
        sequences=sum(row.sequences or 0 for row in rows),
        tokens_padding=sum(row.tokens_padding for row in rows),
        shards=tuple(rows),
    )
    storage.put(storage.join(output, "manifest.json"), manifest.to_json())
    return manifest


def counting(*lengths: Sequence[int]) -> list[list[list[int]]]:
    """Documents of these lengths, shard by shard, whose ids are 0, 1, 2 … over the whole job: an id is its place."""
    token, shards = 0, []
    for shard in lengths:
        documents = []
        for length in shard:
            documents.append(list(range(token, token + length)))
            token += length
        shards.append(documents)
    return shards
