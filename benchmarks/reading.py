"""Readers of token shards: tokens a second, sequential and shuffled, a row at random, start and memory.

    python benchmarks/reading.py --envs FOLDER --scratch FOLDER [--rounds K] [--tokens N]

Comes in: the folder that holds the environments of the readers: `tokenmill` (the project with `torch`), `litdata`, `mds`,
`megatron`, made from `peers/*.txt`. Goes out: `results/reading.json`, every round. Always holds: all read the same tokens, in
one run, in turns, each in a process of its own; each writes its own format once, before the first round; the files were read
before, so the page cache has them.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import reading_tokens
from measure import as_json, measure
from results import FOLDER, keep, setting

READERS = {
    "tokenmill": "tokenmill, TokenDataset",
    "megatron": "Megatron-LM, IndexedDataset",
    "litdata": "litdata, StreamingDataset + TokensLoader",
    "mds": "MosaicML, StreamingDataset",
}
MODES = ("sequential", "shuffled", "random")
HERE = Path(__file__).parent / "peers"


def command(envs: Path, reader: str, *arguments: str) -> list[str]:
    """A reader's script in its own environment."""
    return [str(envs / reader / "bin/python"), str(HERE / f"reading_{reader}.py"), *arguments]


def prepare(envs: Path, reader: str, folder: Path) -> None:
    """Let a reader's own writer write the tokens, unless it has."""
    done = folder / f"{reader}.done"
    if not done.exists():
        subprocess.run(command(envs, reader, "prepare", str(folder)), check=True, stdout=sys.stderr)
        done.touch()


def main() -> None:
    """Parse the command line, measure, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True, help="3 GB for 128 million tokens; kept for the next time")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128_000_000)
    parser.add_argument("--load", default="nothing else ran", help="what else the machine did meanwhile")
    parser.add_argument("--results", type=Path, default=FOLDER / "reading.json")
    arguments = parser.parse_args()
    folder = arguments.scratch.absolute() / str(arguments.tokens)
    reading_tokens.make(folder, arguments.tokens)
    for reader in READERS:
        prepare(arguments.envs.absolute(), reader, folder)
    rounds: dict[str, dict[str, list[dict[str, Any]]]] = {reader: {mode: [] for mode in MODES} for reader in READERS}
    for number in range(arguments.rounds):
        for mode in MODES:
            # whoever comes first finds a colder machine; so they take turns
            turn = list(READERS)[number % len(READERS) :] + list(READERS)[: number % len(READERS)]
            for reader in turn:
                measured = as_json(measure(command(arguments.envs.absolute(), reader, "read", str(folder), mode)))
                rounds[reader][mode].append(measured)
                said = measured["said"]
                print(f"{mode:10} {reader:10} {said} {measured['peak_rss'] / 1e6:.0f} MB", file=sys.stderr)
    peers = {reader: (HERE / f"{reader}.txt").read_text().split() for reader in READERS if reader != "tokenmill"}
    pins = {reader: dict(line.split("==") for line in lines if "==" in line) for reader, lines in peers.items()}
    value = {**setting(), "tokens": arguments.tokens, "load": arguments.load, "peers": pins, "rounds": rounds}
    keep(arguments.results, f"{arguments.tokens / 1e6:,.0f} million tokens", value)


if __name__ == "__main__":
    main()
