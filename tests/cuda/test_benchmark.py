"""`benchmarks/gpu.py --dry-run`: what will be measured on a GPU is known to work before there is one."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What is measured of a kind of text in every round.
MEASURED = {"device", "pinned", "columns_warm", "columns_of_1048576", "cpu_all_cores"}


def test_a_dry_run_measures_everything_and_keeps_nothing(
    tokenizer_path: Callable[[str], Path], real_texts: list[str], tmp_path: Path
) -> None:
    source, kept = tmp_path / "text", tmp_path / "kept.json"
    source.mkdir()
    source.joinpath("mixed.jsonl").write_text("".join(json.dumps({"text": text[:5000]}) + "\n" for text in real_texts[::8]))
    command = [sys.executable, "benchmarks/gpu.py", "--dry-run", "--source", source, "--results", kept]
    done = subprocess.run(
        [*command, "--tokenizers", tokenizer_path("gpt2")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = [line.partition("gpt2 mixed ")[2] for line in done.stderr.splitlines()]
    rounds = [ast.literal_eval(found) for found in said if found]
    assert [found["round"] for found in rounds] == [0, 1]
    for found in rounds:
        assert (found["documents"] > 0, found["unsure"], found["differing_ids"]) == (True, 0, 0)
        assert all(found[name] > 0 for name in MEASURED)
    assert "columns_foreign" in rounds[0]
    assert "columns_cold" in rounds[1]
    assert not kept.exists()
