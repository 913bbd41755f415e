"""Hugging Face datasets: load_dataset("json") and a batched map, the columns of the source removed.

    python datasets_map.py SOURCE_DIR TOKENIZER_JSON OUTPUT WORKERS EOS

Goes out: Arrow files with an `input_ids` column in the cache folder, and the counts as JSON on the last line.
"""

import json
import os
import sys
from functools import cache, partial
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")

import datasets
import pyarrow.compute
import tokenizers


@cache
def _load(file: str) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(file)


def encode(batch: dict[str, list[str]], file: str, eos: str) -> dict[str, list[list[int]]]:
    """One batch of 1,000 documents, the library's own size; each worker loads the tokenizer once."""
    tokenizer = _load(file)
    end = tokenizer.token_to_id(eos)
    encodings = tokenizer.encode_batch_fast(batch["text"], add_special_tokens=False)
    return {"input_ids": [[*encoding.ids, end] for encoding in encodings]}


def main(source: str, tokenizer: str, output: str, workers: int, eos: str) -> None:
    """Load, map, and print what was written."""
    files = sorted(map(str, Path(source).glob("*.jsonl")))
    loaded = datasets.load_dataset("json", data_files=files, split="train", cache_dir=output, num_proc=workers)
    features = datasets.Features({"input_ids": datasets.List(datasets.Value("int32"))})
    mapped = loaded.map(
        partial(encode, file=tokenizer, eos=eos),
        batched=True,
        num_proc=workers,
        remove_columns=loaded.column_names,
        features=features,
    )
    lengths = pyarrow.compute.list_value_length(mapped.data.column("input_ids"))
    print(json.dumps({"documents": len(lengths), "tokens": pyarrow.compute.sum(lengths).as_py()}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
