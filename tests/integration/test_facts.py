"""`facts/` says of each shard what its documents are: in any order, packed, cut up, split by a field, and of conversations."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import tokenizers

from producer import jobfile
from producer.heldout import held_out
from producer.request import Request
from tests.chatml import CHATML, talk
from tests.growing import byte_tokenizer, night, write
from tests.inprocess import run_to_seal
from tests.unit.test_facts import contaminated, flat
from tokenmill.convert import convert
from tokenmill.errors import JobError, UsageError
from tokenmill.facts import known
from tokenmill.facts.minhash import signatures
from tokenmill.facts.texts import Ends
from tokenmill.ledger import Ledger
from tokenmill.reader import TokenDataset
from tokenmill.verify import verify

#: Jobs that documents come out of in other ways.
JOBS: dict[str, dict[str, Any]] = {
    "plain": {},
    "shuffled": {"shuffle": 7},
    "split": {"max_tokens": 50, "over_length": "split", "stride": 8, "shuffle": 1},
    "packed": {"pack": 128, "pad_token": "<|endoftext|>"},
    "best-fit": {
        "pack": 128, "pad_token": "<|endoftext|>", "pack_method": "best-fit", "max_tokens": 100, "over_length": "drop",
        "shuffle": 2,
    },
    "parts": {"partition_by": "kind"},
    "parquet": {"format": "parquet"},
    "no ends": {"eos_token": False},
    "conversations": {"chat": ("messages",), "eos_token": None, "special_tokens": None, "shuffle": 3},
}  # fmt: skip
Run = Callable[..., str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tokenizer_path: Callable[[str], Path], real_texts: list[str]) -> Run:
    """Runs a small job that tells facts, in this process; gives its output."""
    base = tmp_path_factory.mktemp("facts")
    (base / "t").mkdir()
    (base / "t/tokenizer.json").symlink_to(tokenizer_path("qwen3") / "tokenizer.json")
    (base / "t/chat_template.jinja").write_text(CHATML)
    texts = [text[:size] for text in real_texts[:50] for size in (1500, 100, 3)]
    records = [{"text": text, "kind": n % 3, "messages": talk("Say it", text)} for n, text in enumerate(texts)]
    # one test set holds what stands in some of the documents, the other nothing of them
    questions = [{"q": f"{text[200:500]}", "choices": ["yes", text[20:90]], "n": 3} for text in real_texts[:40:7]]
    (base / "quiz.jsonl").write_text("\n".join(map(json.dumps, questions)) + "\n")
    (base / "other.txt").write_text("".join(f"{n} bottles of beer on the wall, {n} bottles of beer!\n" for n in range(99)))
    (base / "corpus.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")

    def made(**options: Any) -> str:
        given = {
            "eos_token": "<|endoftext|>",
            "bos_token": False,
            "batch_bytes": 40_000,
            "histograms": True,
            "minhash": 16,
            "contamination": (str(base / "quiz.jsonl"), str(base / "other.txt")),
            **options,
        }
        output = given.pop("output", None) or str(tmp_path_factory.mktemp("out") / "out")
        tokenizer = str(base / "t" if "chat" in options else tokenizer_path("gpt2"))
        sources = (str(base / "corpus.jsonl"),)
        asked = Request(sources=sources, tokenizer=tokenizer, output=output, engine="reference", check_every=0, **given)
        return run_to_seal(asked).ledger.output

    return made


def shards(output: str) -> Iterator[tuple[str, list[list[int]]]]:
    """Where the facts of each shard begin, and its documents."""
    parts = [f"{output}/{part.path}" for part in _totals(output).parts] or [output]
    for part in parts:
        dataset, first = TokenDataset(part), 0
        for shard in dataset.manifest.shards:
            documents = [dataset[n].tolist() for n in range(first, first + shard.documents)]
            yield f"{part}/facts/{shard.index:06d}", documents
            first += shard.documents


def _totals(output: str) -> Any:
    return Ledger(output).totals()


def texts_of_sets(output: str) -> dict[str, list[list[int]]]:
    """The ids of each test set's texts, as they are and behind a space."""
    base = Path(json.loads((Path(output) / "job.json").read_text())["spec"]["sources"][0]).parent
    encode = tokenizers.Tokenizer.from_file(str(Path(output) / "tokenizer/tokenizer.json")).encode
    quiz = [json.loads(line) for line in (base / "quiz.jsonl").read_text().splitlines()]
    texts = {
        "quiz": [text for record in quiz for text in (record["q"], *record["choices"])],
        "other": (base / "other.txt").read_text().splitlines(),
    }
    return {name: [encode(before + text).ids for text in some for before in ("", " ")] for name, some in texts.items()}


def quiet(done: int, steps: int) -> None:
    pass


@pytest.mark.parametrize("name", JOBS)
def test_facts_are_those_of_the_documents(name: str, run: Run) -> None:
    output, seen, found = run(**JOBS[name]), 0, Counter[str]()
    sets = texts_of_sets(output)
    ends = Ends(bos=False, eos=_totals(output).eos_id is not None, marked=False)
    for place, documents in shards(output):
        tokens, lengths = pq.read_table(f"{place}.tokens.parquet"), pq.read_table(f"{place}.lengths.parquet")
        counted = Counter(token for document in documents for token in document)
        assert list(zip(*tokens.to_pydict().values(), strict=True)) == sorted(counted.items())
        assert list(zip(*lengths.to_pydict().values(), strict=True)) == sorted(Counter(map(len, documents)).items())
        signed = pq.read_table(f"{place}.minhash.parquet")
        assert signed["document"].to_pylist() == list(range(len(documents)))
        assert signed["signature"].to_pylist() == signatures(flat(documents, ends), 16).tolist()
        rows = [tuple(row.values()) for row in pq.read_table(f"{place}.contamination.parquet").to_pylist()]
        assert rows == list(contaminated([document[: len(document) - ends.eos] for document in documents], sets))
        found.update(row[1] for row in rows)
        seen += len(documents)
    assert seen == _totals(output).documents > 100
    assert _totals(output).contaminated == {"quiz": found["quiz"], "other": 0}
    assert 2 < found["quiz"] < seen / 4
    assert verify(output, full=False, advance=quiet).findings == ()


def test_a_fact_that_changed_is_found(run: Run) -> None:
    output = run()
    path = Path(output) / "facts/000000.tokens.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert any(
        "facts/000000.tokens.parquet has changed" in found for found in verify(output, full=False, advance=quiet).findings
    )


def test_facts_go_with_a_converted_job(run: Run, tmp_path: Path) -> None:
    output = run()
    convert(output, str(tmp_path / "numpy"), "numpy", "auto", quiet)
    for path in (Path(output) / "facts").iterdir():
        assert (tmp_path / "numpy/facts" / path.name).read_bytes() == path.read_bytes()
    assert verify(str(tmp_path / "numpy"), full=True, advance=quiet).findings == ()


def test_a_test_set_is_part_of_the_job(run: Run, tmp_path: Path) -> None:
    """What it came to is kept with the job, and known by its hash; another one under its name is another job."""
    quiz = tmp_path / "quiz.txt"
    quiz.write_text("There once was a ship that put to sea, and the name of that ship was the Billy o' Tea.\n")
    output = run(contamination=(str(quiz),))
    for path in (Path(output) / "entries").iterdir():
        path.unlink()
    (Path(output) / "manifest.json").unlink()
    before = {path.name: path.read_bytes() for path in (Path(output) / "facts").iterdir()}
    asked = Ledger(output).job()
    assert run(contamination=(str(quiz),), output=output) == output
    assert {path.name: path.read_bytes() for path in (Path(output) / "facts").iterdir()} == before
    assert Ledger(output).job() == asked
    pinned = Path(output) / "contamination/quiz.npy"
    pinned.write_bytes(pinned.read_bytes()[:-8] + b"another!")
    assert "contamination/quiz.npy has changed" in str(verify(output, full=False, advance=quiet).findings)
    known.cache_clear()
    with pytest.raises(JobError, match=r"quiz\.npy is not what the job was made with"):
        known(output, asked.spec.held_out)
    held_out.cache_clear()  # as a new command finds it
    quiz.write_text("There once was a ship that put to sea, and the name of that ship was another one than this.\n")
    with pytest.raises(UsageError, match="belongs to another job: facts was"):
        run(contamination=(str(quiz),), output=output)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("quiz.csv", b"a,b\n", "a test set is a .jsonl file, or a .txt file"),
        ("quiz.txt", b"too short\n", "none of its 1 texts has 13 tokens"),
        ("quiz.txt", b"\n\xff\n", "line 2: 'utf-8' codec"),
        ("quiz.jsonl", b'"fine"\n{"q": \n', "line 2: Input data was truncated"),
        ("my quiz.txt", b"fine\n", "called as its file is"),
        ("", b"", "is missing"),
    ],
)
def test_what_is_no_test_set(name: str, content: bytes, said: str, run: Run, tmp_path: Path) -> None:
    if name:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(said)):
        run(contamination=(str(tmp_path / (name or "missing.txt")),))


def test_two_test_sets_of_one_name(run: Run, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "quiz.txt").write_text(" ".join(map(str, range(40))) + "\n")
    with pytest.raises(UsageError, match="two test sets are called quiz"):
        run(contamination=tuple(str(tmp_path / folder / "quiz.txt") for folder in ("a", "b")))


def test_a_corpus_that_grows_adds_up(tmp_path: Path) -> None:
    """Of all nights as one it is told what each found."""
    tokenizer, quiz = byte_tokenizer(tmp_path), tmp_path / "quiz.txt"
    quiz.write_text("What is the answer to this question?\n")
    for number, texts in enumerate(
        (["Nothing."], ["What is the answer to it?", "Nothing."], ["the answer to this question? No."])
    ):
        write(tmp_path / "corpus", f"{number}.jsonl", *texts)
        run_to_seal(night(tmp_path / "corpus", tmp_path / "out", f"n{number}", tokenizer, contamination=(str(quiz),)))
    assert TokenDataset(str(tmp_path / "out")).manifest.contaminated == {"quiz": 2}
    assert Ledger(str(tmp_path / "out/n0")).totals().contaminated == {"quiz": 0}


def test_a_job_file_names_test_sets_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(
        'sources = ["a"]\ncontamination = ["sets/quiz.txt"]\nminhash = 32\nhistograms = true\n'
        '[[output]]\ntokenizer = "t"\noutput = "one"\n[[output]]\ntokenizer = "u"\noutput = "two"\nminhash = 64\n'
    )
    one = jobfile.read(str(tmp_path / "job.toml")).request()
    assert (one.contamination, one.minhash, one.histograms) == ((str(tmp_path / "sets/quiz.txt"),), 32, True)
    assert [other.minhash for other in one.beside] == [64]
