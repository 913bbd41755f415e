"""The kernels with all their threads at once, under the thread sanitizer: where two meet, both do so by an atomic."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cuda.host import KERNELS

#: Encodes with threads at once and one after the other; a table that fills, words of all lengths, documents of several threads.
BOTH = """
import sys
from pathlib import Path
import pyarrow as pa
from tests.cuda.host import HostDevice, ThreadedDevice
from tokenmill.engines.cuda import CudaEngine
from tokenmill.tokenizers import resolve
tokenizer, kernels = sys.argv[1:]
model = resolve(tokenizer).model
prose = Path("README.md").read_text()[:3000]
texts = [prose, "a" * 300, "ab" * 60, "x" * 3000 + " y", "กุ้งผู้ใหญ่ ê " * 20, "", prose]
found = [
    CudaEngine(model, device=device, batch_bytes=7000, entries=1 << 7).encode(pa.array(texts, pa.large_string()))
    for device in (lambda: ThreadedDevice(Path(kernels)), HostDevice)
]
assert found[0].first_difference(found[1]) is None
assert found[0].unsure.tolist() == found[1].unsure.tolist() == [False, True, False, True, False, False, False]
"""
#: What is safe, what would be a race instead, and where; nothing is changed in the first.
RACES = {
    "none": ("", "", ""),
    "bits of two threads in one word": ("atomicOr((unsigned long long*)starts + word, ", "starts[word] |= (", "pretokens.h"),
    "two words in one place": ("atomicCAS(&known.mark, 0u, mark)", "known.mark; if (!found) known.mark = mark", "words.h"),
}


@pytest.mark.parametrize("race", RACES)
def test_threads_that_meet_do_so_by_atomics(race: str, tokenizer_path: Callable[[str], Path], tmp_path: Path) -> None:
    compiler = shutil.which("g++") or "false"
    asked = subprocess.run([compiler, "-print-file-name=libtsan.so"], capture_output=True, text=True, check=False)
    sanitizer = asked.stdout.strip()
    if not Path(sanitizer).is_absolute():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("g++ or its thread sanitizer is missing")
    safe, unsafe, where = RACES[race]
    kernels = shutil.copytree(KERNELS, tmp_path / "kernels") if safe else KERNELS
    if safe:
        source = kernels / where
        assert safe in source.read_text()
        source.write_text(source.read_text().replace(safe, unsafe))
    environment = {**os.environ, "LD_PRELOAD": sanitizer, "TSAN_OPTIONS": "exitcode=0"}
    command = [sys.executable, "-c", BOTH, tokenizer_path("gpt2"), kernels]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, check=False)
    # by name: a library that was compiled out of the same text elsewhere is used again
    found = {line for line in done.stderr.splitlines() if line.startswith("SUMMARY") and f"/{KERNELS.name}/" in line}
    assert found == set() if not safe else any(f"{where}:" in line for line in found), done.stderr[-2000:]
    assert safe or done.returncode == 0, done.stderr[-2000:]
