"""`facts/` says of each shard what its documents are: in any order, packed, cut up, split by a field, and of conversations."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from producer.request import Request
from tests.chatml import CHATML, talk
from tests.inprocess import run_to_seal
from tests.unit.test_facts import flat
from tokenmill.convert import convert
from tokenmill.facts.minhash import signatures
from tokenmill.facts.texts import Ends
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
    (base / "corpus.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")

    def made(**options: Any) -> str:
        given = {
            "eos_token": "<|endoftext|>",
            "bos_token": False,
            "batch_bytes": 40_000,
            "histograms": True,
            "minhash": 16,
            **options,
        }
        output = str(tmp_path_factory.mktemp("out") / "out")
        tokenizer, sources = str(base / "t"), (str(base / "corpus.jsonl"),)
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
    from tokenmill.ledger import Ledger

    return Ledger(output).totals()


def quiet(done: int, steps: int) -> None:
    pass


@pytest.mark.parametrize("name", JOBS)
def test_facts_are_those_of_the_documents(name: str, run: Run) -> None:
    output, seen = run(**JOBS[name]), 0
    ends = Ends(bos=False, eos=_totals(output).eos_id is not None, marked=False)
    for place, documents in shards(output):
        tokens, lengths = pq.read_table(f"{place}.tokens.parquet"), pq.read_table(f"{place}.lengths.parquet")
        counted = Counter(token for document in documents for token in document)
        assert list(zip(*tokens.to_pydict().values(), strict=True)) == sorted(counted.items())
        assert list(zip(*lengths.to_pydict().values(), strict=True)) == sorted(Counter(map(len, documents)).items())
        signed = pq.read_table(f"{place}.minhash.parquet")
        assert signed["document"].to_pylist() == list(range(len(documents)))
        assert signed["signature"].to_pylist() == signatures(flat(documents, ends), 16).tolist()
        seen += len(documents)
    assert seen == _totals(output).documents > 100
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
