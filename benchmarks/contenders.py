"""Who takes part in the end-to-end benchmark, and the exact command of each.

Comes in: a corpus, the same in other formats and repeated, a tokenizer.json, the folder with the peers' environments. Goes out:
`Contender`s in the order in which they take turns. Always holds: a peer's environment has exactly the pinned versions, or it
is refused.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from corpus import Corpus
from floor import ENGINES

HERE = Path(__file__).parent
#: Their engines run one thread in each worker process, as tokenmill's do.
SINGLE = {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
#: What a contender is, which decides with what it is compared.
JOB, FORMAT, HUGGING_FACE, FAST, FLOOR = "tokenmill", "tokenmill, other", "Hugging Face engine", "Megatron fast path", "floor"
#: Peers that run the Hugging Face engine: name -> environment, script, title.
PEERS = {
    "datatrove": ("datatrove", "datatrove_tokens.py", "datatrove DocumentTokenizer"),
    "datasets": ("datasets", "datasets_map.py", "Hugging Face datasets.map"),
    "litdata": ("litdata", "litdata_optimize.py", "litdata optimize"),
    "megatron": ("megatron", "megatron_pool.py", "Megatron-LM, the way of preprocess_data.py"),
}
FAST_SCRIPT = "megatron_fast.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One command on one corpus; it writes to `output` unless it is a floor."""

    name: str
    title: str
    kind: str
    corpus: Corpus
    command: tuple[str, ...]
    workers: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpora:
    """The text in all the shapes that contenders take."""

    once: Corpus
    repeated: Corpus
    #: Repeated as far as Megatron's fast path, which holds all ids in memory, can take it.
    repeated_for_fast: Corpus
    zstd: Corpus
    parquet: Corpus


def contenders(corpora: Corpora, tokenizer: Path, eos: str, output: Path, cache: Path, envs: Path | None) -> list[Contender]:
    """All of them; those without an environment are left out if `envs` is None."""

    def tokenmill(name: str, title: str, kind: str, corpus: Corpus, workers: int = 2) -> Contender:
        program = str(Path(sys.executable).with_name("tokenmill"))
        options = ["--tokenizer", str(tokenizer), "--eos-token", eos, "--no-bos-token", "--workers", str(workers)]
        return Contender(
            name=name,
            title=f"{title}, {workers} worker{'s' if workers > 1 else ''}",
            kind=kind,
            corpus=corpus,
            command=(program, "run", str(corpus.folder), *options, "--output", str(output)),
            workers=workers,
            # an empty broker means a private one, started and ended by the job
            environment={"TOKENMILL_CACHE": str(cache), "TOKENMILL_BROKER": ""},
        )

    def alone(contender: Contender) -> Contender:
        """On one core, as each of several workers is: with more, its reading ahead would use a second one."""
        core = str(min(os.sched_getaffinity(0)))
        command = ("taskset", "--cpu-list", core, *contender.command)
        return replace(contender, title=f"{contender.title}, 1 core", command=command)

    def floor(engine: str, processes: int) -> Contender:
        copies = round(corpora.repeated.documents / corpora.once.documents)
        repeats = -(-copies // processes)
        arguments = [engine, str(corpora.once.folder), str(tokenizer), str(repeats), str(processes)]
        return Contender(
            name=f"floor-{engine}-{processes}",
            title=f"bare loop around {engine}, {processes} process{'es' if processes > 1 else ''}",
            kind=FLOOR,
            corpus=corpora.repeated,
            command=(sys.executable, str(HERE / "floor.py"), *arguments),
            workers=processes,
        )

    def peer(name: str, env: str, script: str, title: str, kind: str, corpus: Corpus) -> Contender:
        assert envs is not None
        arguments = [str(corpus.folder), str(tokenizer), str(output), "2", eos]
        return Contender(
            name=name,
            title=title,
            kind=kind,
            corpus=corpus,
            command=(str(envs / env / "bin/python"), str(HERE / "peers" / script), *arguments),
            environment=SINGLE,
        )

    found = [
        tokenmill("tokenmill", "tokenmill", JOB, corpora.repeated),
        tokenmill("tokenmill-zst", "tokenmill, .jsonl.zst", FORMAT, corpora.zstd),
        tokenmill("tokenmill-parquet", "tokenmill, Parquet", FORMAT, corpora.parquet),
        alone(tokenmill("tokenmill-1", "tokenmill", FORMAT, corpora.repeated, workers=1)),
        *(floor(engine, processes) for engine in ENGINES for processes in (1, 2)),
    ]
    if envs is not None:
        title = "Megatron-LM, the way of preprocess_data_fast.py"
        found += [
            *(peer(name, *details, HUGGING_FACE, corpora.once) for name, details in PEERS.items()),
            peer("megatron-fast", "megatron", FAST_SCRIPT, title, FAST, corpora.once),
            peer("megatron-fast-repeated", "megatron", FAST_SCRIPT, f"{title}, repeated", FAST, corpora.repeated_for_fast),
        ]
    return found


def pinned(envs: Path) -> dict[str, dict[str, str]]:
    """The versions in each peer's environment. Exits if one is missing or not the pinned one."""
    found: dict[str, dict[str, str]] = {}
    ask = "import sys, importlib.metadata as m; print(*(m.version(name) for name in sys.argv[1:]), sep='\\n')"
    for env in sorted({env for env, _, _ in PEERS.values()}):
        file = HERE / "peers" / f"{env}.txt"
        pins = dict(re.findall(r"^([\w.-]+)(?:\[.*\])?==(.+)$", file.read_text(), re.MULTILINE))
        python = envs / env / "bin/python"
        if not python.exists():
            raise SystemExit(f"there is no {python}: make it from {file} (benchmarks/README.md says how)")
        said = subprocess.run([python, "-c", ask, *pins], capture_output=True, text=True)
        # 2.13.0+cpu is the build, not the version
        there = dict(zip(pins, (line.partition("+")[0] for line in said.stdout.split()), strict=False))
        if there != pins:
            raise SystemExit(f"{python} has {there}, {file} pins {pins}. {said.stderr[-300:]}")
        found[env] = pins
    return found
