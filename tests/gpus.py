"""GPUs that are not there: NVML is stood in for, CUDA_VISIBLE_DEVICES is real."""

import json
from pathlib import Path
from typing import Any

STAND_IN = Path(__file__).with_name("stand_in")


def gpu(letter: str, name: str = "NVIDIA H100 80GB HBM3", **more: Any) -> dict[str, Any]:
    """A GPU as `stand_in/pynvml.py` reads it."""
    return {"uuid": f"GPU-{letter * 8}-0000", "name": name, "memory": 80_000_000_000, **more}


def instance(letter: str, name: str = "NVIDIA H100 80GB HBM3 MIG 3g.40gb") -> dict[str, Any]:
    """A MIG instance, likewise."""
    return {"uuid": f"MIG-{letter * 8}-0000", "name": name, "memory": 40_000_000_000}


class Host:
    """The GPUs of a host; changed while a worker runs."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "gpus.json"

    def has(self, *gpus: dict[str, Any]) -> dict[str, str]:
        """From here on these are its GPUs; returns the environment in which NVML says so."""
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps(gpus))
        beside.replace(self.file)
        return {"NVML_STAND_IN": str(self.file)}
