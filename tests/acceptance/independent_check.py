"""Checks a sealed output against Hugging Face `tokenizers`, without a line of tokenmill.

    python independent_check.py OUTPUT TOKENIZER.json [--eos ID] [--bos ID] SOURCE.jsonl...

Reads the sources with Python's json, encodes every document anew, and compares with what Megatron-LM's own `IndexedDataset`
(pip: megatron-core, torch) reads from the shards; where that is not installed, with the bytes read after its documentation.
Sources must be sound JSON Lines, in the order of the job.
"""

import argparse
import json
import pathlib
import struct
import sys

import numpy as np
import tokenizers

try:
    from megatron.core.datasets.indexed_dataset import IndexedDataset
except ImportError:
    IndexedDataset = None


def shard_documents(output: pathlib.Path):
    """All documents of all shards, in order, as arrays of ids."""
    for index in sorted((output / "shards").glob("*.idx")):
        if IndexedDataset is not None:
            dataset = IndexedDataset(str(index.with_suffix("")))
            yield from (dataset[i] for i in range(len(dataset)))
            continue
        data = index.read_bytes()
        magic, version, code, n, _ = struct.unpack_from("<9sQBQQ", data)
        assert (magic, version) == (b"MMIDIDX\0\0", 1)
        lengths = np.frombuffer(data, "<i4", n, 34)
        pointers = np.frombuffer(data, "<i8", n, 34 + 4 * n)
        tokens = index.with_suffix(".bin").read_bytes()
        for length, pointer in zip(lengths, pointers, strict=True):
            yield np.frombuffer(tokens, {4: "<i4", 8: "<u2"}[code], length, pointer)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("tokenizer")
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--eos", type=int)
    parser.add_argument("--bos", type=int)
    options = parser.parse_args()
    oracle = tokenizers.Tokenizer.from_file(options.tokenizer)
    oracle.no_truncation()
    oracle.no_padding()
    oracle.encode_special_tokens = True
    before = [] if options.bos is None else [options.bos]
    after = [] if options.eos is None else [options.eos]
    found, compared, tokens, wrong = shard_documents(options.output), 0, 0, 0
    for source in options.sources:
        with open(source, encoding="utf-8") as lines:
            texts = [text for text in (json.loads(line)["text"] for line in lines) if text]
        for start in range(0, len(texts), 256):
            for encoding in oracle.encode_batch_fast(texts[start : start + 256], add_special_tokens=False):
                ids = next(found, None)
                expected = before + encoding.ids + after
                wrong += ids is None or not np.array_equal(np.asarray(ids), expected)
                compared += 1
                tokens += len(expected)
    surplus = sum(1 for _ in found)
    reader = "megatron.core IndexedDataset" if IndexedDataset is not None else "plain reading"
    print(f"{compared} documents, {tokens} tokens compared by {reader}: {wrong} differ, {surplus} too many")
    return int(bool(wrong or surplus))


if __name__ == "__main__":
    sys.exit(main())
