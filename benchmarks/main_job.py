"""The main job as a user starts it: start-up, an empty job, and MB of text per CPU-second of the whole process tree.

    python benchmarks/main_job.py run SOURCE TOKENIZER     measures, writes benchmarks/results/main_job.json
    python benchmarks/main_job.py readme                   renders the table in README.md from that file

The contenders take turns in every round, each as a fresh process tree with its start included: `tokenmill run` with the engine
that `auto` chooses, the same with the reference engine, and a bare loop around `tokenizers.encode_batch_fast` in one process
that parses the JSON Lines and writes ids, checks nothing and keeps no ledger. Medians over the rounds are stated, and every
round is kept in the results.
"""

import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROUNDS = 3
RESULTS = Path(__file__).parent / "results" / "main_job.json"
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- benchmarks/main_job.py begin -->\n", "<!-- benchmarks/main_job.py end -->\n"
TOKENMILL = str(Path(sys.executable).with_name("tokenmill"))

LOOP = """
import json, sys, numpy, tokenizers
from pathlib import Path
source, tokenizer, output = sys.argv[1:]
oracle = tokenizers.Tokenizer.from_file(tokenizer)
oracle.encode_special_tokens = True
with open(output, "wb") as out:
    for path in sorted(Path(source).glob("*.jsonl")):
        texts = [json.loads(line)["text"] for line in open(path, encoding="utf-8")]
        for start in range(0, len(texts), 256):
            for encoding in oracle.encode_batch_fast(texts[start:start + 256], add_special_tokens=False):
                out.write(numpy.array(encoding.ids, numpy.int32).tobytes())
"""


def measure(command: list[str]) -> dict[str, float]:
    """Run a command; wall and CPU seconds of it and everything below it that it waited for."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.perf_counter() - began, "cpu": cpu}


def run(source: str, tokenizer: str) -> None:
    """Measure all contenders in turn and write the results file."""
    texts = [json.loads(line)["text"] for path in sorted(Path(source).glob("*.jsonl")) for line in path.open(encoding="utf-8")]
    text_bytes = sum(len(text.encode()) for text in texts)
    scratch = Path(tempfile.mkdtemp())
    (scratch / "empty.jsonl").write_text("")
    base = ["--tokenizer", tokenizer, "--no-eos-token", "--no-bos-token", "--workers", "2", "--output"]
    contenders = {
        "tokenmill --help": [TOKENMILL, "--help"],
        "an empty job, start to sealed": [TOKENMILL, "run", str(scratch / "empty.jsonl"), *base, str(scratch / "out")],
        "tokenmill run, 2 workers": [TOKENMILL, "run", source, *base, str(scratch / "out")],
        "the same, --engine reference": [TOKENMILL, "run", source, *base, str(scratch / "out"), "--engine", "reference"],
        "a bare loop around tokenizers, 1 process": [sys.executable, "-c", LOOP, source, tokenizer, str(scratch / "ids")],
    }
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, command in contenders.items():
            shutil.rmtree(scratch / "out", ignore_errors=True)
            rounds[name].append(measure(command))
            print(name, rounds[name][-1], file=sys.stderr)
    shutil.rmtree(scratch)
    results = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": f"{os.cpu_count()} cores, {_processor()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("tokenmill", "tokenizers", "fastokens", "gigatoken", "pyarrow")},
        "corpus": f"{len(texts):,} documents, {text_bytes / 1e6:.1f} MB of text",
        "tokenizer": Path(tokenizer).parent.name,
        "text_bytes": text_bytes,
        "rounds": rounds,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def readme() -> None:
    """Put the table into the README, between its markers."""
    results = json.loads(RESULTS.read_text())
    where = f"{results['hardware']}; Python {results['python']}, {results['date']}"
    lines = [
        f"{results['corpus']}, {results['tokenizer']} tokenizer; {where}; medians of {ROUNDS} interleaved rounds, "
        f"whole process trees with their start:",
        "",
        "| | wall s | CPU s | MB of text per CPU-second |",
        "|---|--:|--:|--:|",
    ]
    for name, measured in results["rounds"].items():
        wall, cpu = (statistics.median(one[kind] for one in measured) for kind in ("wall", "cpu"))
        rate = "" if "empty" in name or "help" in name else f"{results['text_bytes'] / 1e6 / cpu:.1f}"
        lines.append(f"| {name} | {wall:.2f} | {cpu:.2f} | {rate} |")
    text = README.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    README.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after)


def _processor() -> str:
    found = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return found[0].partition(": ")[2] if found else platform.processor()


if __name__ == "__main__":
    readme() if sys.argv[1:] == ["readme"] else run(*sys.argv[2:])
