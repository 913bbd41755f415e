"""An environment as one trains in: torch, torchdata, accelerate, matplotlib, and tokenmill installed beside them."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
#: Made by `.ci/run`; the project's own environment does without torch.
PYTHON = ROOT / ".venv-torch" / "bin" / "python"


def require() -> None:
    """Skip where there is no such environment; fail in CI."""
    if PYTHON.exists():
        return
    if os.environ.get("CI"):
        pytest.fail(f"{PYTHON} is missing; .ci/run makes it")
    pytest.skip(f"no torch here: make {PYTHON.parent.parent} as .ci/run does")


def start(script: Path, *arguments: Any, **options: Any) -> "subprocess.Popen[str]":
    """Run a script there, on one thread."""
    command = [PYTHON, script, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def output(script: Path, *arguments: Any) -> str:
    """What a script prints. Fails with what it says if it ends with an error."""
    process = start(script, *arguments)
    said, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return said
