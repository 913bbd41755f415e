"""What MosaicML streaming finds in our shards, run in `.venv-mds`: folders in, a JSON file out. Knows nothing of tokenmill."""

import json
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import transformers  # noqa: F401  # looks for torchvision itself, and must not find the stand-in


def stand_in(name: str, **names: object) -> None:
    module = types.ModuleType(name)
    module.__spec__, module.__path__ = ModuleSpec(name, None), []
    vars(module).update(names)
    sys.modules[name] = module


# `streaming.vision` imports these for images, which we have none of.
for name in ("torchvision", "torchvision.transforms"):
    stand_in(name)
stand_in("torchvision.transforms.functional", to_tensor=None)
stand_in("torchvision.datasets", VisionDataset=object)


def mds(shards: str, golden: list, dtype: str, own: Path) -> dict:
    from streaming import MDSWriter, StreamingDataset

    dataset = StreamingDataset(
        remote=shards, local=str(own / "copy"), validate_hash="sha256", shuffle=False, batch_size=1, num_canonical_nodes=1
    )
    found = [dataset[i]["tokens"] for i in range(dataset.num_samples)]
    columns = {"tokens": f"ndarray:{dtype}"}
    with MDSWriter(columns=columns, out=str(own / "written"), hashes=["sha256"], size_limit=None) as writer:
        for ids in golden[1]:  # those without an empty one, which it refuses to write, though it reads them
            writer.write({"tokens": np.array(ids, dtype)})
    return {"documents": [ids.tolist() for ids in found], "dtype": str(found[0].dtype)}


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    report = {}
    for name, (_, shards, golden, dtype, own) in asked.items():
        Path(own).mkdir(parents=True)
        report[name] = mds(shards, golden, dtype, Path(own))
    Path(sys.argv[2]).write_text(json.dumps(report))
