"""litdata: `optimize` with a generator over each file's documents, encoded 1,000 at a time, for its TokensLoader.

    python litdata_optimize.py SOURCE_DIR TOKENIZER_JSON OUTPUT WORKERS EOS

Goes out: `chunk-*.bin` and `index.json`, and the counts as JSON on the last line. litdata's unit of work is a file.
"""

import json
import os
import sys
from collections.abc import Iterator
from functools import cache, partial
from itertools import islice
from pathlib import Path

# it asks a registry for its newest version at every import
os.environ["LITDATA_DISABLE_VERSION_CHECK"] = "1"

import tokenizers
import torch
from litdata import TokensLoader, optimize

BATCH = 1000


@cache
def _load(file: str) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(file)


def encode(path: str, file: str, eos: str) -> Iterator[torch.Tensor]:
    """The ids of each document of a file; each worker loads the tokenizer once."""
    tokenizer = _load(file)
    end = tokenizer.token_to_id(eos)
    with open(path, encoding="utf-8") as lines:
        while batch := [json.loads(line)["text"] for line in islice(lines, BATCH)]:
            for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
                yield torch.tensor([*encoding.ids, end], dtype=torch.int32)


def main(source: str, tokenizer: str, output: str, workers: int, eos: str) -> None:
    """Run optimize and print what it wrote."""
    files = sorted(map(str, Path(source).glob("*.jsonl")))
    optimize(
        fn=partial(encode, file=tokenizer, eos=eos),
        inputs=files,
        output_dir=output,
        num_workers=workers,
        chunk_bytes="64MB",
        item_loader=TokensLoader(),
        verbose=False,
    )
    chunks = json.loads(Path(output, "index.json").read_text())["chunks"]
    documents, tokens = (sum(chunk[key] for chunk in chunks) for key in ("chunk_size", "dim"))
    print(json.dumps({"documents": documents, "tokens": tokens}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
