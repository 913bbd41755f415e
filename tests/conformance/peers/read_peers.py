"""What each peer's own reader finds in our shards, run in `.venv-peers`: folders in, one JSON file out.

Knows nothing of tokenmill. Beside reading, it writes the same documents with the peers' own writers, for a comparison of bytes.
"""

import json
import sys
from pathlib import Path

import numpy as np


def megatron(shards: Path, golden: list, dtype: str, own: Path) -> dict:
    import torch
    from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder

    found = []
    for place, documents in enumerate(golden):
        dataset = IndexedDataset(str(shards / f"{place:06d}")) if documents else []
        found.append([dataset[i].tolist() for i in range(len(dataset))])
        builder = IndexedDatasetBuilder(str(own / f"{place:06d}.bin"), dtype=np.dtype(dtype).type)
        for ids in documents:
            builder.add_document(torch.tensor(ids, dtype=torch.int64), [len(ids)])
        builder.finalize(str(own / f"{place:06d}.idx"))
    return {"documents": found, "dtype": str(IndexedDataset(str(shards / "000000"))[0].dtype)}


def parquet(shards: Path, golden: list, dtype: str, own: Path, kind: str = "parquet") -> dict:
    from datasets import load_dataset

    names = [str(shards / f"{place:06d}.{kind}") for place in range(len(golden))]
    dataset = load_dataset(kind, data_files=names, split="train", cache_dir=str(own / "cache"))
    return {"documents": [list(row) for row in dataset["input_ids"]], "features": str(dataset.features)}


def arrow(shards: Path, golden: list, dtype: str, own: Path) -> dict:
    from datasets import load_from_disk

    saved = load_from_disk(str(shards))
    return {**parquet(shards, golden, dtype, own, "arrow"), "saved": [list(row) for row in saved["input_ids"]]}


def olmo(shards: Path, golden: list, dtype: str, own: Path) -> dict:
    from olmo_core.data import NumpyFSLDataset
    from olmo_core.data.utils import iter_document_indices

    paths = [str(shards / f"{place:06d}.{dtype}.npy") for place in range(len(golden))]
    full = [path for path, documents in zip(paths, golden, strict=True) if documents]
    dataset = NumpyFSLDataset(
        *full, sequence_length=50, pad_token_id=0, eos_token_id=0, vocab_size=1 << 31, dtype=np.dtype(dtype).type
    )
    dataset.prepare()
    windows = [dataset[i]["input_ids"].tolist() for i in range(len(dataset))]
    # torch has the ids as it has room for them: 32 signed bits where the file has unsigned ones
    bounds = [list(iter_document_indices(path, use_array_if_local=False)) for path in paths]
    return {"windows": windows, "bounds": bounds}


def datatrove(shards: Path, golden: list, dtype: str, own: Path) -> dict:
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile
    from datatrove.utils.dataset import DatatroveFileDataset

    found, positions, size = [], [], np.dtype(dtype).itemsize
    for place, documents in enumerate(golden):
        tokens = sum(map(len, documents))
        if tokens:
            name = str(shards / f"{place:06d}.ds")
            dataset = DatatroveFileDataset(name, seq_len=tokens - 1, token_size=size, return_positions=True)
            found.append(dataset[0]["input_ids"].tolist())
            positions.append(dataset[0]["positions"].tolist())
        written = TokenizedFile(str(own), f"{place:06d}.ds", save_final_metadata=True, token_size=size)
        for ids in documents:
            written.write(ids, None)
        written.close()
    return {"tokens": found, "positions": positions}


def litdata(shards: Path, golden: list, dtype: str, own: Path) -> dict:
    from litdata import StreamingDataset, TokensLoader

    dataset = StreamingDataset(str(shards), item_loader=TokensLoader(block_size=50), shuffle=False)
    windows = [dataset[i] for i in range(len(dataset))]
    return {"windows": [window.tolist() for window in windows], "dtype": str(windows[0].dtype)}


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    report = {}
    for name, (kind, shards, golden, dtype, own) in asked.items():
        Path(own).mkdir(parents=True)
        report[name] = globals()[kind](Path(shards), golden, dtype, Path(own))
    Path(sys.argv[2]).write_text(json.dumps(report))
