"""A document that kills workers, eats their memory or never ends is found, and takes nothing else along."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.conftest import BIN, JOB, Run, contents
from tests.acceptance.faults import Fault, Ledger

#: Loaded by every Python process with this folder on its path: some words are too much for some engines.
POISON = """
import ctypes, os, resource, signal
from tokenmill.engines.fastokens import FastokensEngine
from tokenmill.engines.reference import ReferenceEngine

class PanicException(BaseException):
    pass

def panic():
    raise PanicException("index out of bounds")

def error():
    raise ValueError("what is this?")

def hang():
    while True:
        pass

def eat():
    taken = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + (256 << 20), before[1]))
    try:
        eaten = []
        while True:
            eaten.append(bytearray(16 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)

deeds = {
    "segfault": lambda: ctypes.string_at(0),
    "oomkill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "memory": eat,
    "hang": hang,
    "error": error,
    "panic": panic,
}

def poisoned(honest, name):
    def encode(self, text):
        for document in text.to_pylist():
            for deed, do in deeds.items():
                if f"zyzzyva-{deed}-{name}" in document or f"zyzzyva-{deed}-all" in document:
                    do()
            if f"zyzzyva-{name}" in document or "zyzzyva-all" in document:
                deeds[os.environ["DEED"]]()
        return honest(self, text)
    return encode

FastokensEngine.encode = poisoned(FastokensEngine.encode, "fast")
ReferenceEngine.encode = poisoned(ReferenceEngine.encode, "reference")
"""
#: Four batches; the second is the poisoned one.
CUT = ["--batch-bytes", 1_550_000, "--workers", 1, "--check-every", 0, "--engine", "fastokens"]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(POISON)
    return str(folder)


def with_word(corpus: Path, path: Path, *words: str) -> int:
    """The corpus twice in one file, with documents that hold these words late in the second batch, where no sample comes.

    Returns how many documents it has.
    """
    lines, size = [], 0
    for part in sorted(corpus.glob("*.jsonl")) * 2:
        for line in part.open(encoding="utf-8"):
            if size < 2_900_000 <= size + len(line.encode()):
                lines += [json.dumps({"id": word, "text": f"about the {word}, a weevil"}) + "\n" for word in words]
            lines.append(line)
            size += len(line.encode())
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)


def rejected(output: Path) -> dict[str, str]:
    """The reasons of all rejected documents, by id."""
    lines = [json.loads(line) for path in output.glob("rejected/*.jsonl") for line in path.open()]
    return {line["id"]: line["reason"] for line in lines}


def note(faults: Ledger, name: str, output: Path, documents: int, *, same: bool) -> None:
    manifest = json.loads((output / "manifest.json").read_text())
    fault = Fault(
        name=name, times=1, documents_in=documents, documents_out=manifest["documents"], rejected=manifest["rejected"],
        recovery=None, same_bytes=same,
        attempts=json.loads((output / "entries/000001.json").read_text())["run"]["attempt"],
    )  # fmt: skip
    faults.faults.append(fault)
    assert fault.lost == 0


@pytest.fixture(scope="session")
def honest(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The jobs of both tests below, as the reference does them on a host where nothing is wrong."""
    folder = tmp_path_factory.mktemp("honest")
    for name, words in (("without", []), ("fast", ["zyzzyva-fast"])):
        with_word(corpus, folder / f"{name}.jsonl", *words)
        command = [BIN / "tokenmill", "run", f"{name}.jsonl", *JOB, *map(str, CUT), "--engine", "reference", "--output", name]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("segfault", "killed_worker"),
        pytest.param("oomkill", "killed_worker", marks=pytest.mark.slow),
        ("memory", "out_of_memory"),
        ("hang", "never_ended"),
        ("error", "not_encodable"),
        pytest.param("panic", "not_encodable", marks=pytest.mark.slow),
    ],
)
def test_a_document_that_nobody_can_encode_is_rejected_alone(
    deed: str, reason: str, tokenmill: Run, corpus: Path, site: str, honest: Path, tmp_path: Path, faults: Ledger
) -> None:
    """The rest of its batch is committed, in at most four attempts."""
    documents = with_word(corpus, tmp_path / "corpus.jsonl", "zyzzyva-all")
    options = [*JOB, *CUT, "--id-field", "id", "--output", "out"]
    done = tokenmill("run", "corpus.jsonl", *options, PYTHONPATH=site, DEED=deed, TOKENMILL_STUCK_SECONDS="3")
    assert done.returncode == 0, done.stderr
    assert rejected(tmp_path / "out") == {"zyzzyva-all": reason}
    run = json.loads((tmp_path / "out/entries/000001.json").read_text())["run"]
    assert run["attempt"] <= 4
    assert run["one_by_one"] < documents
    note(faults, f"a document over which every engine {DEEDS[deed]}", tmp_path / "out", documents, same=False)
    for index in (0, 2, 3):
        name = f"shards/{index:06d}.bin"
        assert (tmp_path / "out" / name).read_bytes() == (honest / "without" / name).read_bytes()
    if deed == "segfault":
        verified = tokenmill("verify", "out", "--full", "--json")
        assert verified.returncode == 0, verified.stdout
        assert json.loads(verified.stdout)["compared"] == documents - 1


DEEDS = {
    "segfault": "segfaults",
    "oomkill": "is killed for memory",
    "memory": "eats memory to the limit",
    "hang": "never ends",
    "error": "gives an error",
    "panic": "panics",
}


@pytest.mark.parametrize(
    "deed", ["segfault", *(pytest.param(deed, marks=pytest.mark.slow) for deed in ("hang", "error")), "panic"]
)
def test_what_is_too_much_for_the_fast_engine_alone_is_not_lost(
    deed: str, tokenmill: Run, site: str, honest: Path, tmp_path: Path, faults: Ledger
) -> None:
    """Law 2: the same bytes as those of a job that never met the fast engine."""
    output = tmp_path / "out"
    options = [honest / "fast.jsonl", *JOB, *CUT, "--output", output]
    done = tokenmill("run", *options, PYTHONPATH=site, DEED=deed, TOKENMILL_STUCK_SECONDS="3")
    assert done.returncode == 0, done.stderr
    assert "fastokens" in done.stderr
    run = json.loads((output / "entries/000001.json").read_text())["run"]
    assert run["one_by_one"] > 0
    assert run["attempt"] <= 2
    same = contents(output) == contents(honest / "fast")
    documents = sum(1 for _ in (honest / "fast.jsonl").open(encoding="utf-8"))
    note(faults, f"a document over which the fast engine {DEEDS[deed]}", output, documents, same=same)
    assert same


def test_several_poisonous_documents_in_one_batch(
    tokenmill: Run, corpus: Path, site: str, tmp_path: Path, faults: Ledger
) -> None:
    words = ["zyzzyva-segfault-all", "zyzzyva-oomkill-all", "zyzzyva-memory-all", "zyzzyva-error-fast"]
    documents = with_word(corpus, tmp_path / "corpus.jsonl", *words)
    done = tokenmill("run", "corpus.jsonl", *JOB, *CUT, "--id-field", "id", "--output", "out", PYTHONPATH=site)
    assert done.returncode == 0, done.stderr
    assert rejected(tmp_path / "out") == dict(zip(words, ["killed_worker", "killed_worker", "out_of_memory"], strict=False))
    note(faults, "three poisonous documents in one batch", tmp_path / "out", documents, same=False)


def test_a_batch_of_nothing_but_poison_is_parked_and_can_be_retried(
    tokenmill: Run, corpus: Path, site: str, tmp_path: Path
) -> None:
    """It is then hardly the documents: nobody throws away a batch because the host is ill."""
    words = [f"zyzzyva-memory-all {number}" for number in range(12)]
    with_word(corpus, tmp_path / "corpus.jsonl", *words)
    done = tokenmill("run", "corpus.jsonl", *JOB, *CUT, "--output", "out", PYTHONPATH=site)
    assert done.returncode == 3, done.stderr
    parked = json.loads((tmp_path / "out/parked/000001.json").read_text())
    assert "workers died over 9 of its documents, first" in parked["reason"]
    assert "tokenmill retry" in done.stderr
    well = tokenmill("retry", "out")  # the host is well again
    assert well.returncode == 0, well.stderr
    assert json.loads((tmp_path / "out/manifest.json").read_text())["rejected"] == 0
