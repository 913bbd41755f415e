"""What it costs to start: the command's help, and a job without a document, from the command to the seal.

    python benchmarks/startup.py --tokenizer FILE [--rounds K]

Comes in: a tokenizer. Goes out: `results/startup.json`, wall and CPU seconds of whole process trees, every round. Always holds:
two workers and a private broker, as `tokenmill run` starts them; the first empty job of a round finds an empty TOKENMILL_CACHE,
the second finds what the first left there.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import as_json, measure
from results import FOLDER, keep, setting
from tokenizer import as_file

TOKENMILL = str(Path(sys.executable).with_name("tokenmill"))
HELP, FIRST, AGAIN = "tokenmill --help", "an empty job, the first with this tokenizer", "an empty job, again"


def one_round(tokenizer: Path, eos: str, scratch: Path) -> dict[str, dict[str, Any]]:
    """Each start once, with a cache of the round's own."""
    empty, output, cache = scratch / "empty.jsonl", scratch / "output", scratch / "cache"
    empty.write_text("")
    shutil.rmtree(cache, ignore_errors=True)
    job = [TOKENMILL, "run", str(empty), "--tokenizer", str(tokenizer), "--eos-token", eos, "--no-bos-token"]
    job += ["--workers", "2", "--output", str(output)]
    environment = {"TOKENMILL_CACHE": str(cache), "TOKENMILL_BROKER": ""}
    turns = {HELP: as_json(measure([TOKENMILL, "--help"]))}
    for name in (FIRST, AGAIN):
        turns[name] = as_json(measure(job, output, environment))
        if not (output / "manifest.json").exists():
            raise SystemExit(f"{name} was not sealed")
        shutil.rmtree(output)
    return turns


def main() -> None:
    """Parse the command line, measure, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True, help="a tokenizer.json, or a folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--eos", default="<|endoftext|>", help="the token after each document")
    parser.add_argument("--results", type=Path, default=FOLDER / "startup.json")
    arguments = parser.parse_args()
    rounds: dict[str, list[dict[str, Any]]] = {HELP: [], FIRST: [], AGAIN: []}
    with tempfile.TemporaryDirectory(prefix="tokenmill-benchmark-") as folder:
        name, tokenizer = as_file(arguments.tokenizer, Path(folder) / "tokenizer")
        for _ in range(arguments.rounds):
            for start, turn in one_round(tokenizer, arguments.eos, Path(folder)).items():
                rounds[start].append(turn)
                print(f"{start:45} {turn['wall']:6.2f} s {turn['cpu']:6.2f} CPU s", file=sys.stderr)
    keep(arguments.results, name, {**setting(), "rounds": rounds})


if __name__ == "__main__":
    main()
