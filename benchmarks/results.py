"""Results files: what was measured, where, with which versions, and when.

Comes in: a key (a tokenizer's name) and its measurements. Goes out: `results/<benchmark>.json`, one object per key, so that
runs with several tokenizers stand side by side. Always holds: a key's value is one run on one machine; a new run replaces it.
"""

import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tokenmill

FOLDER = Path(__file__).parent / "results"
#: The packages that do tokenmill's work.
PACKAGES = ("tokenmill", "tokenizers", "fastokens", "gigatoken", "nanotoken", "splintr-rs", "pyarrow", "celery")


def setting() -> dict[str, Any]:
    """The machine, the date, tokenmill's commit and the versions of what works in it."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": _hardware(),
        "python": platform.python_version(),
        "commit": _commit(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def keep(file: Path, key: str, value: dict[str, Any]) -> None:
    """Put one run into a results file, beside the other keys."""
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(file.read_text()) if file.exists() else {}
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps({**kept, key: value}, indent=1) + "\n")
    unfinished.replace(file)


def median(rounds: Iterable[dict[str, Any]], field: str) -> float:
    """The middle of a field over the rounds."""
    return statistics.median(float(one[field]) for one in rounds)


def _hardware() -> str:
    models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(os.sched_getaffinity(0))} cores, {models[0] if models else platform.processor()}, {memory:.0f} GiB"


def _commit() -> str:
    """The commit of the tokenmill that is measured, which need not be the one that these scripts belong to."""
    where = Path(tokenmill.__file__).parent
    said = subprocess.run(["git", "-C", str(where), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return said.stdout.strip() or "installed"
