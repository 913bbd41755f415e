"""The whole job against its peers and against its own engine: MB of text per CPU-second of whole process trees.

    python benchmarks/end_to_end.py run --source DIR --tokenizer FILE --envs FOLDER [--repeat N] [--rounds K] [--only NAME,...]

Comes in: a folder of JSON Lines, a tokenizer.json (or GPT-2's folder), the folder that holds the peers' environments. Goes
out: `results/end_to_end.json`, every round of every contender under the tokenizer's name. Always holds: contenders take turns
in every round, each as a fresh process tree with its start; nothing that is prepared here (repetition, compression, Parquet) is
timed; each contender's count of tokens is kept beside its cost. tokenmill's folder of certificates is empty in the first round
and kept from then on, as on any machine that is used.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contenders import FLOOR, FORMAT, JOB, Contender, Corpora, contenders, pinned
from corpus import Corpus, survey
from measure import as_json, measure
from results import FOLDER, keep, setting
from tokenizer import as_file

#: Bytes of text that tokenmill's runs get at least, and Megatron's fast path at most (it holds every id in memory).
LEAST, MOST_FOR_FAST = 4 * 10**9, 10**9


def prepare(source: Corpus, copies: int, scratch: Path) -> Corpora:
    """The corpus in all shapes, in the scratch folder."""
    for_fast = max(1, min(copies, MOST_FOR_FAST // source.text_bytes))
    return Corpora(
        once=source,
        repeated=source.times(copies, scratch / "repeated"),
        repeated_for_fast=source.times(for_fast, scratch / "repeated-for-fast"),
        zstd=source.as_zstd(scratch / "zstd-once").times(copies, scratch / "zstd"),
        parquet=source.as_parquet(scratch / "parquet-once").times(copies, scratch / "parquet"),
    )


def take_turn(contender: Contender, output: Path) -> dict[str, Any]:
    """Run one contender once, and remove what it wrote."""
    # what the one before left to be written must not be written in this one's time
    os.sync()
    measured = measure(contender.command, output, contender.environment)
    turn = as_json(measured)
    if contender.kind in (JOB, FORMAT):
        manifest, job = (json.loads((output / name).read_text()) for name in ("manifest.json", "job.json"))
        turn["said"] = {"documents": manifest["documents"], "tokens": manifest["tokens"], "engine": job["engine"]}
    if contender.kind == FLOOR:  # it says itself what its loop cost; its start and its reading are no part of a floor
        turn["cpu"], turn["text_bytes"] = measured.said["cpu"], measured.said["text_bytes"]
    else:
        turn["text_bytes"] = contender.corpus.text_bytes
    turn["rate"] = turn["text_bytes"] / 1e6 / turn["cpu"]
    shutil.rmtree(output, ignore_errors=True)
    return turn


def run(arguments: argparse.Namespace) -> None:
    """Measure all contenders in turn; the results file is written after each round."""
    # not resolved: an environment's python is a link, and it is the link that makes it one
    envs = arguments.envs.absolute() if arguments.envs else None
    versions = pinned(envs) if envs else {}
    scratch = Path(tempfile.mkdtemp(prefix="tokenmill-benchmark-", dir=arguments.scratch)).resolve()
    try:
        name, tokenizer = as_file(arguments.tokenizer, scratch / "tokenizer")
        source = survey(arguments.source.resolve())
        copies = arguments.repeat or -(-LEAST // source.text_bytes)
        output = scratch / "output"
        corpora = prepare(source, copies, scratch)
        found = contenders(corpora, tokenizer, arguments.eos, output, arguments.cache or scratch / "cache", envs)
        unknown = set(arguments.only) - {one.name for one in found}
        if unknown:
            raise SystemExit(
                f"no such contender: {', '.join(sorted(unknown))}. There are {', '.join(one.name for one in found)}."
            )
        found = [one for one in found if not arguments.only or one.name in arguments.only]
        rounds: dict[str, list[dict[str, Any]]] = {one.name: [] for one in found}
        failed: dict[str, str] = {}
        for number in range(arguments.rounds):
            for one in [one for one in found if one.name not in failed]:
                try:
                    turn = take_turn(one, output)
                except RuntimeError as error:  # an hour of the others' rounds is not thrown away for it
                    failed[one.name] = str(error)
                    shutil.rmtree(output, ignore_errors=True)
                    print(f"round {number + 1} {one.name:24} FAILED: {error}", file=sys.stderr)
                    continue
                rounds[one.name].append(turn)
                said = f"{turn['rate']:8.2f} MB/CPU-s {turn['cpu']:8.1f} CPU s {turn['wall']:8.1f} s"
                print(
                    f"round {number + 1} {one.name:24} {said} {turn['peak_rss'] / 1e6:6.0f} MB", turn["said"], file=sys.stderr
                )
            keep(arguments.results, name, _run(source, copies, versions, found, rounds, failed))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run(
    source: Corpus,
    copies: int,
    versions: dict[str, dict[str, str]],
    found: Sequence[Contender],
    rounds: dict[str, list[dict[str, Any]]],
    failed: dict[str, str],
) -> dict[str, Any]:
    return {
        **setting(),
        "peers": versions,
        "corpus": source.described(),
        "copies": copies,
        "contenders": {
            one.name: {"title": one.title, "kind": one.kind, "workers": one.workers, "rounds": rounds[one.name]}
            for one in found
            if one.name not in failed
        },
        "failed": failed,
    }


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command = parser.add_subparsers(required=True).add_parser("run")
    command.add_argument("--source", type=Path, required=True, help="folder of .jsonl files with a text field")
    command.add_argument("--tokenizer", type=Path, required=True, help="a tokenizer.json, or a folder")
    command.add_argument("--envs", type=Path, help="folder with the peers' environments; without it no peer takes part")
    command.add_argument("--repeat", type=int, help="copies of the corpus for tokenmill; by default at least 4 GB of text")
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--only", type=lambda text: text.split(","), default=[], help="names of contenders")
    command.add_argument("--eos", default="<|endoftext|>", help="the token after each document")
    command.add_argument("--scratch", type=Path, help="folder for copies and outputs, best on the source's file system")
    command.add_argument("--cache", type=Path, help="tokenmill's cache, to go on with another run's certificates")
    command.add_argument("--results", type=Path, default=FOLDER / "end_to_end.json")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
