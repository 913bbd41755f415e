"""Thirty nights over a corpus that grows: each sealed once, and together what one job makes of it all."""

import random
from pathlib import Path

from tests.growing import byte_tokenizer, ids, night, write
from tests.inprocess import run_to_seal
from tokenmill import storage
from tokenmill.generations import Chain
from tokenmill.reader import TokenDataset

NIGHTS = 30


def test_the_union_of_thirty_generations_is_one_job_over_all_of_it(tmp_path: Path) -> None:
    """Files come, change, or nothing happens; every state of a file, copied aside in order, is the corpus of the one job."""
    chance, tokenizer = random.Random(7), byte_tokenizer(tmp_path)
    corpus, output, everything = tmp_path / "corpus", str(tmp_path / "out"), tmp_path / "everything"
    written = 0
    for number in range(NIGHTS):
        touched = set()
        for _ in range(chance.choice((0, 1, 1, 3)) if number else 2):
            name = f"{chance.randrange(20):02d}.jsonl"
            texts = [f"night {number} file {name} document {document} ü 语" for document in range(chance.randint(1, 5))]
            write(corpus, name, *texts)
            touched.add(name)
        for name in sorted(touched):
            everything.mkdir(exist_ok=True)
            (everything / f"{written:04d}.jsonl").write_bytes((corpus / name).read_bytes())
            written += 1
        prepared = run_to_seal(night(corpus, output, f"night-{number:02d}", tokenizer, batch_bytes=200))
        assert prepared.generation is not None
        assert prepared.generation.new + prepared.generation.changed == len(touched)
    chain = Chain(output)
    assert [sealed.name for sealed in chain.sealed(chain.last())] == [f"night-{number:02d}" for number in range(NIGHTS)]
    assert len([name for name in storage.names(f"{output}/generations") if name.endswith(".index.json")]) == NIGHTS - 1
    run_to_seal(night(everything, tmp_path / "one", None, tokenizer, batch_bytes=200))
    assert ids(output) == ids(tmp_path / "one")
    union, one = TokenDataset(output).manifest, TokenDataset(str(tmp_path / "one")).manifest
    for name in ("tokens", "documents", "rejected", "input_bytes", "text_bytes", "document_lengths"):
        assert getattr(union, name) == getattr(one, name)
