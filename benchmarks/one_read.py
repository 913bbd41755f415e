"""What it saves to read a corpus once for several outputs: a job with `[[output]]` tables against a job for each of them.

    python benchmarks/one_read.py --source DIR --tokenizers FILE FILE [--repeat N] [--rounds K]

Comes in: a folder of JSON Lines, two tokenizers. Goes out: `results/one_read.json`, wall and CPU seconds of process trees, each
round. Always holds: two workers and a private broker; the ways take turns; each output has the same ids both ways.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from corpus import Corpus, survey
from measure import as_json, measure
from results import FOLDER, keep, setting
from tokenizer import as_file

TOKENMILL = str(Path(sys.executable).with_name("tokenmill"))
TOGETHER, APART = "one job", "a job each"


def job_file(corpora: dict[str, Corpus], tokenizers: dict[str, Path], corpus: str, scratch: Path) -> Path:
    """A job with an output for each tokenizer."""
    lines = [f'sources = ["{corpora[corpus].folder}"]', "workers = 2", "bos_token = false", "eos_token = false"]
    for name, file in tokenizers.items():
        lines += ["", "[[output]]", f'output = "{scratch / "together" / name}"', f'tokenizer = "{file}"']
    made = scratch / f"{corpus.strip('.')}.toml"
    made.write_text("\n".join(lines) + "\n")
    return made


def tokens(output: Path) -> int:
    """How many a sealed output has."""
    return int(json.loads((output / "manifest.json").read_text())["tokens"])


def main() -> None:
    """Parse the command line, measure, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder of .jsonl files with a text field")
    parser.add_argument("--tokenizers", type=Path, nargs=2, required=True, help="two of: a tokenizer.json, or a folder")
    parser.add_argument("--repeat", type=int, default=6, help="copies of the corpus")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="folder for copies and outputs")
    parser.add_argument("--results", type=Path, default=FOLDER / "one_read.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tokenmill-benchmark-", dir=arguments.scratch) as folder:
        scratch = Path(folder)
        tokenizers = dict(as_file(given, scratch / "tokenizers") for given in arguments.tokenizers)
        source = survey(arguments.source.resolve())
        corpora = {
            ".jsonl": source.times(arguments.repeat, scratch / "plain"),
            ".jsonl.zst": source.as_zstd(scratch / "zstd-once").times(arguments.repeat, scratch / "zstd"),
        }
        environment = {"TOKENMILL_CACHE": str(scratch / "cache"), "TOKENMILL_BROKER": ""}
        rounds: dict[str, dict[str, list[dict[str, Any]]]] = {name: {TOGETHER: [], APART: []} for name in corpora}
        for _ in range(arguments.rounds):
            for corpus, ways in rounds.items():
                together, apart = scratch / "together", scratch / "apart"
                job = [TOKENMILL, "run", "--job", str(job_file(corpora, tokenizers, corpus, scratch))]
                ways[TOGETHER].append(as_json(measure(job, together, environment)))
                each = []
                for name, file in tokenizers.items():
                    job = [
                        TOKENMILL,
                        "run",
                        str(corpora[corpus].folder),
                        "--tokenizer",
                        str(file),
                        "--no-bos-token",
                        "--no-eos-token",
                    ]
                    each.append(measure([*job, "--workers", "2", "--output", str(apart / name)], apart / name, environment))
                    if tokens(apart / name) != tokens(together / name):
                        raise SystemExit(f"{name}: the two ways made different numbers of tokens")
                ways[APART].append({"wall": sum(one.wall for one in each), "cpu": sum(one.cpu for one in each)})
                for way, turns in ways.items():
                    print(f"{corpus:12} {way:12} {turns[-1]['wall']:6.1f} s {turns[-1]['cpu']:6.1f} CPU s", file=sys.stderr)
                shutil.rmtree(together)
                shutil.rmtree(apart)
        size = source.text_bytes * arguments.repeat
        keep(arguments.results, " and ".join(tokenizers), {**setting(), "text_bytes": size, "rounds": rounds})


if __name__ == "__main__":
    main()
