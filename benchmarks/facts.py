"""What facts about the ids cost: jobs with and without each of their options.

    python benchmarks/facts.py --source DIR --tokenizer FILE [--repeat N] [--rounds K]

Comes in: a folder of JSON Lines. Goes out: `results/facts.json`, CPU seconds of whole process trees, each round. Always holds:
two workers and a private broker; the ways take turns; the first round, in which the engine gets its certificate, is not kept.
The test set is a passage of 600 characters from each of 1,000 documents of the corpus, encoded by the reference within the job.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from corpus import survey
from measure import as_json, measure
from results import FOLDER, keep, setting
from tokenizer import as_file

TOKENMILL = str(Path(sys.executable).with_name("tokenmill"))
NONE = "no facts"


def ways(quiz: Path) -> dict[str, list[str]]:
    """The options that are compared."""
    asked = {"--histograms": [], "--minhash 128": [], "--contamination": [str(quiz)]}
    each = {option: [*option.split(), *more] for option, more in asked.items()}
    return {NONE: [], **each, "all three": [word for words in each.values() for word in words]}


def passages(folder: Path) -> Iterator[str]:
    """From the middle of documents, files in turn."""
    files = [path.open(encoding="utf-8") for path in sorted(folder.glob("*.jsonl"))]
    for lines in zip(*files, strict=False):
        for line in lines:
            text = json.loads(line)["text"]
            if len(text) >= 1800:
                yield text[len(text) // 2 :][:600]


def main() -> None:
    """Measure, and keep every round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder of .jsonl files with a text field")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json, or its folder")
    parser.add_argument("--repeat", type=int, default=6, help="copies of the corpus")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", default="nothing else ran", help="what else the machine did meanwhile")
    parser.add_argument("--scratch", type=Path, help="folder for copies and outputs")
    parser.add_argument("--results", type=Path, default=FOLDER / "facts.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tokenmill-benchmark-", dir=arguments.scratch) as folder:
        scratch = Path(folder)
        name, file = as_file(arguments.tokenizer, scratch)
        source = survey(arguments.source.resolve())
        corpus = source.times(arguments.repeat, scratch / "corpus")
        quiz = scratch / "quiz.jsonl"
        quiz.write_text("".join(json.dumps(text) + "\n" for text in islice(passages(source.folder), 1000)))
        environment = {"TOKENMILL_CACHE": str(scratch / "cache"), "TOKENMILL_BROKER": ""}
        job = [
            TOKENMILL,
            "run",
            str(corpus.folder),
            "--tokenizer",
            str(file),
            "--no-bos-token",
            "--no-eos-token",
            "--workers",
            "2",
        ]
        rounds: dict[str, list[dict[str, Any]]] = {way: [] for way in ways(quiz)}
        totals: dict[str, Any] = {}
        for number in range(arguments.rounds + 1):
            for way, options in ways(quiz).items():
                output = scratch / "output"
                measured = as_json(measure([*job, *options, "--output", str(output)], output, environment))
                print(f"{way:20} {measured['wall']:6.1f} s {measured['cpu']:6.1f} CPU s", file=sys.stderr)
                measured["facts_bytes"] = sum(path.stat().st_size for path in output.glob("facts/*"))
                totals = json.loads((output / "manifest.json").read_text())
                shutil.rmtree(output)
                if number:
                    rounds[way].append(measured)
        kept = {key: totals[key] for key in ("documents", "tokens", "text_bytes")}
        kept["load"] = arguments.load
        keep(arguments.results, name, {**setting(), **kept, "rounds": rounds})


if __name__ == "__main__":
    main()
