"""Megatron-LM's preprocess_data.py, the way it works: one pool task per document, one writer for all ids.

    python megatron_pool.py SOURCE_DIR TOKENIZER_JSON OUTPUT WORKERS EOS

Goes out: one `.bin/.idx`, and the counts as JSON on the last line. Kept from the script, which pip's megatron-core does not
carry: a multiprocessing.Pool whose workers parse a line and encode one document, 32 lines to a message, ids sent back as
lists, `IndexedDatasetBuilder.add_document` in the parent, an end-of-document id appended. In its favour: it calls the
tokenizers library itself, where the script goes through transformers, and it imports nothing of Megatron's training.
"""

import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import tokenizers
from megatron.core.datasets.indexed_dataset import DType, IndexedDatasetBuilder

#: Lines in a message to the pool.
CHUNK = 32


class Encode:
    """What a pool worker holds: the tokenizer, loaded once in the worker."""

    tokenizer: tokenizers.Tokenizer
    end: int

    @classmethod
    def start(cls, file: str, eos: str) -> None:
        """Called once in each worker."""
        cls.tokenizer = tokenizers.Tokenizer.from_file(file)
        cls.end = cls.tokenizer.token_to_id(eos)

    @classmethod
    def line(cls, line: str) -> list[int]:
        """The ids of one line's document."""
        ids: list[int] = cls.tokenizer.encode(json.loads(line)["text"], add_special_tokens=False).ids
        if ids:
            ids.append(cls.end)
        return ids


def _lines(source: str) -> Iterator[str]:
    for path in sorted(Path(source).glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            yield from lines


def main(source: str, tokenizer: str, output: str, workers: int, eos: str) -> None:
    """Encode and write, and print what was written."""
    os.makedirs(output)
    size = tokenizers.Tokenizer.from_file(tokenizer).get_vocab_size()
    builder = IndexedDatasetBuilder(f"{output}/text_document.bin", dtype=DType.optimal_dtype(size))
    documents = tokens = 0
    with multiprocessing.Pool(workers, Encode.start, (tokenizer, eos)) as pool:
        for ids in pool.imap(Encode.line, _lines(source), CHUNK):
            builder.add_document(ids, [len(ids)])
            documents, tokens = documents + 1, tokens + len(ids)
        builder.finalize(f"{output}/text_document.idx")
        pool.close()
        pool.join()
    print(json.dumps({"documents": documents, "tokens": tokens}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
