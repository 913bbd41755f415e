"""Megatron-LM's preprocess_data_fast.py, the way it works: gigatoken reads the files and encodes, the ids go to the builder.

    python megatron_fast.py SOURCE_DIR TOKENIZER_JSON OUTPUT WORKERS EOS

Goes out: one `.bin/.idx`, and the counts as JSON on the last line. One process; gigatoken's own threads are the workers. It
checks nothing: a bad line ends its file without a word, and no id is compared with anything. In its favour: where the script
goes through transformers and Megatron's training arguments, this loads the tokenizer.json, and it adds 100,000 documents at
a time where the script adds 1,000,000 and holds the ids three times over.
"""

import json
import os
import sys
from pathlib import Path

# gigatoken's threads are made when it is first used
os.environ["RAYON_NUM_THREADS"] = sys.argv[4]

import awkward
import gigatoken
import numpy as np
from megatron.core.datasets.indexed_dataset import DType, IndexedDatasetBuilder

#: Documents added at a time.
CHUNK = 100_000


def add_documents(builder: IndexedDatasetBuilder, documents: awkward.Array, end: int) -> int:
    """Write many documents, each followed by `end`; how many ids that were.

    megatron-core 0.16.1 has no batched call yet; a call of `add_document` per document would be slower than the script.
    """
    written = 0
    for start in range(0, len(documents), CHUNK):
        chunk = documents[start : start + CHUNK]
        lengths = np.asarray(awkward.num(chunk, axis=1))
        ids = np.insert(np.asarray(awkward.flatten(chunk), dtype=builder.dtype), np.cumsum(lengths), end)
        builder.data_file.write(ids.tobytes())
        first = len(builder.sequence_lengths)
        builder.sequence_lengths.extend((lengths + 1).tolist())
        builder.document_indices.extend(range(first + 1, first + len(lengths) + 1))
        written += len(ids)
    return written


def main(source: str, tokenizer: str, output: str, eos: str) -> None:
    """Encode and write, and print what was written."""
    os.makedirs(output)
    parsed = json.loads(Path(tokenizer).read_text())
    ids = {**parsed["model"]["vocab"], **{token["content"]: token["id"] for token in parsed["added_tokens"]}}
    files = sorted(map(str, Path(source).glob("*.jsonl")))
    documents = gigatoken.Tokenizer.from_json(json.dumps(parsed)).encode_files(gigatoken.JsonlFileSource(files, field="text"))
    builder = IndexedDatasetBuilder(f"{output}/text_document.bin", dtype=DType.optimal_dtype(len(ids)))
    tokens = add_documents(builder, documents, ids[eos])
    builder.finalize(f"{output}/text_document.idx")
    print(json.dumps({"documents": len(documents), "tokens": tokens}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[5])
